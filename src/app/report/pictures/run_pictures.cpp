#include "app/report/pictures/run_pictures.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "app/report/parts/text_form.hpp"

namespace th::app {

namespace {

constexpr std::size_t kMostBands = 3;  // more of them hide each other
constexpr double kMinute = 60, kHour = 3600;

using Choice = std::function<const Series*(const RunData&)>;

Picture curves_of(const std::vector<RunData>& runs, Picture picture, const Choice& choice) {
  double width = 1;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Series* const series = choice(runs[i]);
    if (series == nullptr || series->empty()) continue;
    Curve curve;
    curve.label = runs[i].name;
    curve.color = static_cast<int>(i);
    curve.band = runs.size() <= kMostBands && series->thinned();
    curve.bins = series->bins();
    if (series->thinned()) width = std::max(width, series->width());
    picture.curves.push_back(std::move(curve));
  }
  if (width > 1)
    picture.note +=
        (picture.note.empty() ? "" : " ") +
        std::string(
            "Thinned: a point is the mean "
            "of up to ") +
        count_form(static_cast<std::int64_t>(width)) + " steps" +
        (runs.size() <= kMostBands ? ", the band goes from the lowest to the highest." : ".");
  return picture;
}

Picture over_steps(const char* name, const std::string& title, const char* y_label) {
  Picture picture;
  picture.name = name;
  picture.title = title;
  picture.x_label = "step";
  picture.y_label = y_label;
  return picture;
}

bool smooths_labels(const RunData& run) {
  const std::string value = run.deck.value("train.label_smoothing");
  return !value.empty() && value != "0";
}

Picture loss_picture(const std::vector<RunData>& runs) {
  Picture picture = over_steps("loss", "Training loss", "loss a target token");
  if (std::any_of(runs.begin(), runs.end(), smooths_labels))
    picture.note =
        "With label smoothing the training loss holds more than cross entropy: compare "
        "it with itself.";
  return curves_of(runs, std::move(picture), [](const RunData& run) { return &run.metrics.loss; });
}

/// Of one run without label smoothing the epochs' training losses stand beside.
Picture valid_picture(const std::vector<RunData>& runs) {
  Picture picture =
      curves_of(runs, over_steps("valid_loss", "Validation loss", "cross entropy a target token"),
                [](const RunData& run) { return &run.metrics.valid_loss; });
  if (runs.size() == 1 && !picture.empty() && !smooths_labels(runs[0]) &&
      !runs[0].metrics.epoch_loss.empty()) {
    picture.curves.front().label = "validation";
    Curve training;
    training.label = "training, mean of an epoch";
    training.color = 1;
    training.dashed = true;
    training.bins = runs[0].metrics.epoch_loss.bins();
    picture.curves.push_back(std::move(training));
  }
  return picture;
}

std::string score_title(const std::string& metric) {
  static const std::vector<std::pair<std::string, std::string>> kNames{
      {"bleu", "BLEU"},         {"chrf", "chrF"},
      {"rouge1", "ROUGE-1"},    {"rouge2", "ROUGE-2"},
      {"rougeL", "ROUGE-L"},    {"rougeLsum", "ROUGE-Lsum"},
      {"exact", "exact lines"}, {"script", "valid.script's number"}};
  for (const auto& [key, name] : kNames)
    if (key == metric) return name;
  return metric;
}

/// "score_" and what of a metric's name can stand in an id.
std::string score_name(const std::string& metric) {
  std::string name = "score_";
  for (const char c : metric) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += plain ? c : '_';
  }
  return name;
}

std::vector<Picture> score_pictures(const std::vector<RunData>& runs) {
  std::set<std::string> metrics;
  for (const RunData& run : runs)
    for (const auto& [metric, series] : run.metrics.valid_scores) metrics.insert(metric);
  std::vector<Picture> pictures;
  for (const std::string& metric : metrics) {
    const std::string title = score_title(metric);
    pictures.push_back(curves_of(
        runs, over_steps(score_name(metric).c_str(), "Validation: " + title, title.c_str()),
        [&](const RunData& run) -> const Series* {
          const auto found = run.metrics.valid_scores.find(metric);
          return found == run.metrics.valid_scores.end() ? nullptr : &found->second;
        }));
  }
  return pictures;
}

Picture rate_picture(const std::vector<RunData>& runs) {
  Picture picture = over_steps("rate", "Rate", "source and target tokens a second");
  picture.from_zero = true;
  return curves_of(runs, std::move(picture), [](const RunData& run) { return &run.metrics.rate; });
}

Picture grad_norm_picture(const std::vector<RunData>& runs) {
  Picture picture =
      curves_of(runs, over_steps("grad_norm", "Norm of the gradients, before clipping", "norm"),
                [](const RunData& run) { return &run.metrics.grad_norm; });
  double low = HUGE_VAL, high = 0;
  for (const RunData& run : runs) {
    if (run.metrics.grad_norm.empty()) continue;
    low = std::min(low, run.metrics.grad_norm.lowest().y);
    high = std::max(high, run.metrics.grad_norm.highest().y);
  }
  picture.logarithmic = low > 0 && high > 50 * low;
  return picture;
}

Picture loss_scale_picture(const std::vector<RunData>& runs) {
  Picture picture = curves_of(runs, over_steps("loss_scale", "Loss scale (fp16)", "loss scale"),
                              [](const RunData& run) { return &run.metrics.loss_scale; });
  picture.logarithmic = std::all_of(runs.begin(), runs.end(), [](const RunData& run) {
    return run.metrics.loss_scale.empty() || run.metrics.loss_scale.lowest().y > 0;
  });
  return picture;
}

struct PlannedMeasured {
  std::string label;
  double planned = 0, measured = 0;
};

/// Of one run the classes of its log, of several the largest rank of each.
std::vector<PlannedMeasured> memory_rows(const std::vector<RunData>& runs) {
  std::vector<PlannedMeasured> rows;
  for (const RunData& run : runs) {
    if (run.planned_bytes() > 0 || run.measured_bytes() > 0)
      rows.push_back({runs.size() == 1 ? "largest rank" : run.name, run.planned_bytes(),
                      run.measured_bytes()});
    if (runs.size() > 1) continue;
    for (std::size_t i = 1; i < run.log.memory.size(); ++i)
      rows.push_back(
          {run.log.memory[i].name, run.log.memory[i].planned, run.log.memory[i].measured});
  }
  return rows;
}

Picture memory_picture(const std::vector<RunData>& runs) {
  const std::vector<PlannedMeasured> rows = memory_rows(runs);
  double most = 0;
  for (const PlannedMeasured& row : rows) most = std::max({most, row.planned, row.measured});
  const bool large = most >= 1 << 30;
  const double unit = large ? 1 << 30 : 1 << 20;
  Picture picture;
  picture.name = "memory";
  picture.title = runs.size() == 1 ? "Memory of a rank by class, planned beside measured"
                                   : "Peak memory of the largest rank, planned beside measured";
  picture.x_label = large ? "GiB" : "MiB";
  Curve planned, measured;
  planned.label = "planned";
  measured.label = "measured";
  planned.color = 0;
  measured.color = 1;
  for (const PlannedMeasured& row : rows) {
    const auto place = static_cast<double>(picture.rows.size() + 1);
    picture.rows.emplace_back(place, row.label);
    planned.boxes.push_back({0, row.planned / unit, place - 0.36, place});
    measured.boxes.push_back({0, row.measured / unit, place, place + 0.36});
  }
  picture.curves = {std::move(planned), std::move(measured)};
  return picture;
}

Picture memory_over_steps(const std::vector<RunData>& runs) {
  Picture picture =
      over_steps("memory_over_steps", "Memory of rank 0 while the run went on", "GiB");
  picture.from_zero = true;
  picture.note = "Resident memory of the process; on a GPU what the ledger of its memory counts.";
  return curves_of(runs, std::move(picture), [](const RunData& run) { return &run.events.memory; });
}

constexpr std::array<const char*, 8> kPhases{"compute",    "communication", "waiting",
                                             "data",       "steps",         "validation",
                                             "checkpoint", "ends of epochs"};

Picture time_picture(const std::vector<RunData>& runs) {
  Picture picture;
  picture.name = "time";
  picture.title = "Time by phase";
  double most = 0;
  for (const RunData& run : runs) {
    double sum = 0;
    for (const PhaseSeconds& phase : phases_of(run)) sum += phase.seconds;
    most = std::max(most, sum);
  }
  const double unit = most >= 2 * kHour ? kHour : most >= 2 * kMinute ? kMinute : 1;
  picture.x_label = unit == kHour ? "hours" : unit == kMinute ? "minutes" : "seconds";
  for (std::size_t i = 0; i < kPhases.size(); ++i) {
    picture.curves.emplace_back();
    picture.curves.back().label = kPhases[i];
    picture.curves.back().color = static_cast<int>(i);
  }
  for (const RunData& run : runs) {
    const std::vector<PhaseSeconds> phases = phases_of(run);
    if (phases.empty()) continue;
    const auto place = static_cast<double>(picture.rows.size() + 1);
    picture.rows.emplace_back(place, run.name);
    double begin = 0;
    for (const PhaseSeconds& phase : phases) {
      const auto at = std::find(kPhases.begin(), kPhases.end(), phase.name) - kPhases.begin();
      const double end = begin + phase.seconds / unit;
      picture.curves[static_cast<std::size_t>(at)].boxes.push_back(
          {begin, end, place - 0.36, place + 0.36});
      begin = end;
    }
  }
  return picture;
}

}  // namespace

std::vector<PhaseSeconds> phases_of(const RunData& run) {
  const std::map<std::string, double>& seconds = run.events.seconds;
  const bool divided = seconds.contains("compute");
  const bool timed = seconds.contains("validation") || seconds.contains("checkpoint");
  std::vector<PhaseSeconds> out;
  for (const char* phase : kPhases) {
    const std::string name = phase;
    double value = 0;
    if (const auto found = seconds.find(name); found != seconds.end()) value = found->second;
    if (name == "steps" && !divided) value = run.metrics.step_seconds;
    if (name == "ends of epochs" && !timed) value = run.metrics.epoch_end_seconds;
    if (value > 0) out.push_back({name, value});
  }
  return out;
}

std::vector<Picture> pictures_of(const std::vector<RunData>& runs) {
  std::vector<Picture> all{loss_picture(runs), valid_picture(runs)};
  for (Picture& picture : score_pictures(runs)) all.push_back(std::move(picture));
  all.push_back(rate_picture(runs));
  all.push_back(curves_of(runs, over_steps("lr", "Learning rate", "learning rate"),
                          [](const RunData& run) { return &run.metrics.lr; }));
  all.push_back(grad_norm_picture(runs));
  all.push_back(loss_scale_picture(runs));
  all.push_back(memory_picture(runs));
  all.push_back(memory_over_steps(runs));
  all.push_back(time_picture(runs));
  std::erase_if(all, [](const Picture& picture) { return picture.empty(); });
  return all;
}

}  // namespace th::app
