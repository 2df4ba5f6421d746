#include "config/key_table.hpp"

// The keys of the deck's section [optimizer]. Names of optimizers and who reads which setting come
// from the rules (th/runtime/optimizers/optimizer_rules.hpp).
namespace th::config {

namespace {

using runtime::OptimizerSettings;

/// A number of the rules, which has no effect with an optimizer that does not read it.
template <double OptimizerSettings::*Setting>
Key setting_key(const char* name, Interval interval, const char* help) {
  const Place<double> place = [](RunConfig& c) -> double& { return c.optimizer.*Setting; };
  Key key = number_key(name, place, interval, help);
  key.idle = [](const RunConfig& c) {
    const OptimizerKind chosen = c.optimizer.name;
    if (runtime::optimizer_reads(chosen, Setting)) return std::string();
    return std::string("optimizer.name is ") + runtime::optimizer_name(chosen);
  };
  return key;
}

Choices<OptimizerKind> names() {
  Choices<OptimizerKind> out;
  for (std::size_t i = 0; i < runtime::kOptimizers; ++i) {
    const auto kind = static_cast<OptimizerKind>(i);
    out.emplace_back(runtime::optimizer_name(kind), kind);
  }
  return out;
}

}  // namespace

void add_optimizer(std::vector<Key>& t) {
  t.push_back(choice_key("optimizer.name", TH_AT(optimizer.name), names(), "optimizer"));
  t.push_back(number_key("optimizer.lr", TH_AT(optimizer.lr), {.low = 0},
                         "learning rate; with noam a factor"));
  const Interval below_1{.low = 0, .high = 1, .high_open = true};
  t.push_back(setting_key<&OptimizerSettings::beta1>("optimizer.beta1", below_1,
                                                     "decay of the first moment"));
  t.push_back(setting_key<&OptimizerSettings::beta2>("optimizer.beta2", below_1,
                                                     "decay of the second moment"));
  t.push_back(setting_key<&OptimizerSettings::eps>("optimizer.eps", {.low = 0},
                                                   "added to the denominator"));
  t.push_back(setting_key<&OptimizerSettings::weight_decay>(
      "optimizer.weight_decay", {.low = 0}, "L2 for adam and sgd, decoupled for adamw"));
}

}  // namespace th::config
