#include "config/key_table.hpp"

#include <limits>

// The keys of the deck's section [optimizer]. Names of optimizers and who reads which setting come
// from the rules (th/runtime/optimizers/optimizer_rules.hpp).
namespace th::config {

namespace {

using runtime::OptimizerSettings;

constexpr double kUnbounded = std::numeric_limits<double>::infinity();

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

std::vector<std::pair<std::string, OptimizerKind>> names() {
  std::vector<std::pair<std::string, OptimizerKind>> out;
  for (std::size_t i = 0; i < runtime::kOptimizers; ++i) {
    const auto kind = static_cast<OptimizerKind>(i);
    out.emplace_back(runtime::optimizer_name(kind), kind);
  }
  return out;
}

}  // namespace

void add_optimizer(std::vector<Key>& t) {
  const auto number = [&t](const char* name, double OptimizerSettings::*setting, double high,
                           bool high_open, const char* help) {
    t.push_back(of_readers(number_key(name, at(setting), 0, high, high_open, help), setting));
  };
  t.push_back(choice_key(
      "optimizer.name", [](RunConfig & c) -> auto& { return c.optimizer.name; }, names(),
      "optimizer"));
  t.push_back(number_key(
      "optimizer.lr", [](RunConfig & c) -> auto& { return c.optimizer.lr; }, 0, kUnbounded, false,
      "learning rate; with noam a factor"));
  number("optimizer.beta1", &OptimizerSettings::beta1, 1, true, "decay of the first moment");
  number("optimizer.beta2", &OptimizerSettings::beta2, 1, true, "decay of the second moment");
  number("optimizer.eps", &OptimizerSettings::eps, kUnbounded, false, "added to the denominator");
  number("optimizer.weight_decay", &OptimizerSettings::weight_decay, kUnbounded, false,
         "L2 for adam and sgd, decoupled for adamw");
}

}  // namespace th::config
