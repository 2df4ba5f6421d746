#include "th/train/run_state.hpp"

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"

#include <nlohmann/json.hpp>

#include <limits>

namespace th::train {

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
  if (!s.run.empty()) json["run"] = s.run;
  if (!s.parent.empty()) json["parent"] = s.parent;
  return json_text(json);
}

RunState run_state_from_json(const std::string& text) {
  try {
    const nlohmann::json j = parse_json(text);
    RunState s;
    j.at("step").get_to(s.step);
    j.at("epoch").get_to(s.epoch);
    j.at("step_in_epoch").get_to(s.step_in_epoch);
    j.at("epoch_loss_sum").get_to(s.epoch_loss_sum);
    j.at("epoch_tokens").get_to(s.epoch_tokens);
    j.at("epoch_seconds").get_to(s.epoch_seconds);
    j.at("micro_batches").get_to(s.micro_batches);
    const nlohmann::json& probe = j.at("probe_loss");  // JSON has no NaN
    s.probe_loss = probe.is_null() ? std::numeric_limits<double>::quiet_NaN() : probe.get<double>();
    j.at("identity").get_to(s.identity);
    s.altered = j.value("altered", "");  // checkpoints of before this field have none
    j.at("exit").get_to(s.exit);
    s.probe = j.value("probe", "");
    s.corpus = j.value("corpus", "");
    s.run = j.value("run", "");
    s.parent = j.value("parent", "");
    s.source_per_target = j.value("source_per_target", 0.0);
    // Checkpoints of before 16-bit training have none of these.
    s.skipped_steps = j.value("skipped_steps", std::int64_t{0});
    s.loss_scale.scale = j.value("loss_scale", 0.0);
    s.loss_scale.good_steps = j.value("loss_scale_good_steps", std::int64_t{0});
    s.loss_scale.hysteresis = j.value("loss_scale_hysteresis", LossScaleState::kHysteresis);
    return s;
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError(std::string("the checkpoint's run state can't be read: ") + error.what());
  }
}

}  // namespace th::train
