#include "config/meanings.hpp"

#include "th/config/metrics.hpp"
#include "th/config/summarization.hpp"

// What words in a deck stand for.
namespace th::config {

double usual_momentum(OptimizerKind name) {
  if (name == OptimizerKind::kMuon) return 0.95;
  return runtime::optimizer_reads(name, &runtime::OptimizerSettings::momentum) ? 0 : -1;
}

runtime::Nesterov usual_nesterov(OptimizerKind name, double momentum) {
  if (name == OptimizerKind::kMuon)
    return momentum > 0 ? runtime::Nesterov::kTrue : runtime::Nesterov::kFalse;
  return runtime::optimizer_reads(name, &runtime::OptimizerSettings::nesterov)
             ? runtime::Nesterov::kFalse
             : runtime::Nesterov::kAuto;
}

RunConfig with_meanings(RunConfig config) {
  ModelSection& model = config.model;
  for (double* rate : {&model.attention_dropout, &model.activation_dropout}) {
    if (*rate < 0) *rate = model.dropout;
  }
  const SummaryWindow window = summary_window(config);
  config.summarization.chunk = window.chunk;
  config.summarization.overlap = window.overlap;
  DataSection& data = config.data;
  data.joint_vocabulary =
      joint_vocabulary(config) ? JointVocabulary::kTrue : JointVocabulary::kFalse;
  const std::int64_t source = data.source_length(), target = data.target_length();
  data.max_source_length = source;
  data.max_target_length = target;
  OptimizerSection& optimizer = config.optimizer;
  if (optimizer.momentum < 0) optimizer.momentum = usual_momentum(optimizer.name);
  if (optimizer.nesterov == runtime::Nesterov::kAuto)
    optimizer.nesterov = usual_nesterov(optimizer.name, optimizer.momentum);
  if (optimizer.adam_lr == 0) optimizer.adam_lr = optimizer.lr;
  config.valid.best_metric = best_metric(config.valid);
  return config;
}

}  // namespace th::config
