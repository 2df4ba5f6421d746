#include "th/config/state_names.hpp"

namespace th::config {

OptimizerKind optimizer_rule(const RunConfig& config) {
  return runtime::chosen_rule(config.optimizer.name, config.optimizer);
}

std::vector<const char*> state_names(const RunConfig& config) {
  const runtime::StateNames of_rule = runtime::optimizer_states(optimizer_rule(config));
  std::vector<const char*> names(of_rule.begin(), of_rule.end());
  if (config.train.ema_decay > 0) names.push_back(kAverageName);
  return names;
}

}  // namespace th::config
