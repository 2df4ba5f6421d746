#include "config/key_table.hpp"

// The keys of the deck's section [optimizer]. Names of optimizers and who reads which setting come
// from the rules (th/runtime/optimizers/optimizer_rules.hpp).
namespace th::config {

namespace {

using runtime::OptimizerSettings;

/// The accessor of a setting.
template <typename T>
auto at(T OptimizerSettings::*setting) {
  return [setting](RunConfig& c) -> T& { return c.optimizer.*setting; };
}

/// `key`, which has no effect with an optimizer that does not read `setting`.
template <typename T>
Key of_readers(Key key, T OptimizerSettings::*setting) {
  key.idle = [setting](const RunConfig& c) {
    const OptimizerKind name = c.optimizer.name;
    if (runtime::optimizer_reads(name, setting)) return std::string();
    return std::string("optimizer.name is ") + runtime::optimizer_name(name);
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
  const auto number = [&t](const char* name, double OptimizerSettings::*setting, Interval interval,
                           const char* help) {
    t.push_back(of_readers(number_key(name, at(setting), interval, help), setting));
  };
  t.push_back(choice_key("optimizer.name", TH_AT(optimizer.name), names(), "optimizer"));
  t.push_back(number_key("optimizer.lr", TH_AT(optimizer.lr), {.low = 0},
                         "learning rate; with noam a factor"));
  const Interval below_1{.low = 0, .high = 1, .high_open = true};
  number("optimizer.beta1", &OptimizerSettings::beta1, below_1, "decay of the first moment");
  number("optimizer.beta2", &OptimizerSettings::beta2, below_1, "decay of the second moment");
  number("optimizer.eps", &OptimizerSettings::eps, {.low = 0}, "added to the denominator");
  number("optimizer.weight_decay", &OptimizerSettings::weight_decay, {.low = 0},
         "L2 for adam and sgd, decoupled for adamw");
}

}  // namespace th::config
