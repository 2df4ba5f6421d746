#include "th/train/run_state.hpp"

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"

#include <nlohmann/json.hpp>

#include <limits>

namespace th::train {

namespace {

nlohmann::json json_of(const BestState& best) {
  nlohmann::json kept = nlohmann::json::array();
  for (const BestState::Entry& entry : best.kept)
    kept.push_back({{"step", entry.step}, {"value", entry.value}, {"scheduled", entry.scheduled}});
  nlohmann::json json{{"metric", best.metric},
                      {"step", best.step},
                      {"without_better", best.without_better},
                      {"kept", kept}};
  if (best.value) json["value"] = *best.value;
  if (!best.text.empty()) json["text"] = best.text;
  return json;
}

BestState best_from(const nlohmann::json& json) {
  BestState best;
  json.at("metric").get_to(best.metric);
  best.step = json_integer(json.at("step"));
  best.without_better = json_integer(json.at("without_better"));
  best.text = json.value("text", "");
  if (json.contains("value")) best.value = json.at("value").get<double>();
  for (const nlohmann::json& entry : json.at("kept"))
    best.kept.push_back({json_integer(entry.at("step")), entry.at("value").get<double>(),
                         entry.at("scheduled").get<bool>()});
  return best;
}

}  // namespace

std::string to_json(const RunState& s) {
  nlohmann::json json{{"step", s.step},
                      {"epoch", s.epoch},
                      {"step_in_epoch", s.step_in_epoch},
                      {"epoch_loss_sum", s.epoch_loss_sum},
                      {"epoch_tokens", s.epoch_tokens},
                      {"epoch_seconds", s.epoch_seconds},
                      {"micro_batches", s.micro_batches},
                      {"probe_loss", s.probe_loss},
                      {"identity", s.identity},
                      {"altered", s.altered},
                      {"exit", s.exit},
                      {"skipped_steps", s.skipped_steps},
                      {"probe", s.probe},
                      {"corpus", s.corpus},
                      {"loss_scale", s.loss_scale.scale},
                      {"loss_scale_good_steps", s.loss_scale.good_steps},
                      {"loss_scale_hysteresis", s.loss_scale.hysteresis}};
  if (s.source_per_target > 0) json["source_per_target"] = s.source_per_target;
  if (s.validation_due) json["validation_due"] = true;
  if (!s.run.empty()) json["run"] = s.run;
  if (!s.parent.empty()) json["parent"] = s.parent;
  if (!s.best.metric.empty()) json["best"] = json_of(s.best);
  if (s.best_at_end) json["best_at_end"] = json_of(*s.best_at_end);
  return json_text(json);
}

RunState run_state_from_json(const std::string& text) {
  try {
    const nlohmann::json j = parse_json(text);
    RunState s;
    s.step = json_integer(j.at("step"));
    s.epoch = json_integer(j.at("epoch"));
    s.step_in_epoch = json_integer(j.at("step_in_epoch"));
    j.at("epoch_loss_sum").get_to(s.epoch_loss_sum);
    s.epoch_tokens = json_integer(j.at("epoch_tokens"));
    j.at("epoch_seconds").get_to(s.epoch_seconds);
    s.micro_batches = json_integer(j.at("micro_batches"));
    const nlohmann::json& probe = j.at("probe_loss");  // JSON has no NaN
    s.probe_loss = probe.is_null() ? std::numeric_limits<double>::quiet_NaN() : probe.get<double>();
    j.at("identity").get_to(s.identity);
    s.altered = j.value("altered", "");  // checkpoints of before this field have none
    j.at("exit").get_to(s.exit);
    s.probe = j.value("probe", "");
    s.corpus = j.value("corpus", "");
    s.validation_due = j.value("validation_due", false);
    s.run = j.value("run", "");
    s.parent = j.value("parent", "");
    s.source_per_target = j.value("source_per_target", 0.0);
    if (j.contains("best")) s.best = best_from(j.at("best"));
    if (j.contains("best_at_end")) s.best_at_end = best_from(j.at("best_at_end"));
    // Checkpoints of before 16-bit training have none of these.
    if (j.contains("skipped_steps")) s.skipped_steps = json_integer(j.at("skipped_steps"));
    s.loss_scale.scale = j.value("loss_scale", 0.0);
    if (j.contains("loss_scale_good_steps"))
      s.loss_scale.good_steps = json_integer(j.at("loss_scale_good_steps"));
    if (j.contains("loss_scale_hysteresis"))
      s.loss_scale.hysteresis = json_integer(j.at("loss_scale_hysteresis"));
    return s;
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError(std::string("the checkpoint's run state can't be read: ") + error.what());
  }
}

}  // namespace th::train
