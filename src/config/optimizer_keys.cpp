#include "config/key_table.hpp"

// The keys of the deck's section [optimizer].
namespace th::config {

void add_optimizer(std::vector<Key>& t) {
  t.push_back(choice_key("optimizer.name", TH_AT(optimizer.name),
                         Choices<OptimizerKind>{{"adam", OptimizerKind::kAdam},
                                                {"adamw", OptimizerKind::kAdamw},
                                                {"sgd", OptimizerKind::kSgd}},
                         "optimizer"));
  t.push_back(number_key("optimizer.lr", TH_AT(optimizer.lr), {.low = 0},
                         "learning rate; with noam a factor"));
  t.push_back(number_key("optimizer.beta1", TH_AT(optimizer.beta1),
                         {.low = 0, .high = 1, .high_open = true}, "decay of the first moment"));
  t.push_back(number_key("optimizer.beta2", TH_AT(optimizer.beta2),
                         {.low = 0, .high = 1, .high_open = true}, "decay of the second moment"));
  t.push_back(
      number_key("optimizer.eps", TH_AT(optimizer.eps), {.low = 0}, "added to the denominator"));
  t.push_back(number_key("optimizer.weight_decay", TH_AT(optimizer.weight_decay), {.low = 0},
                         "L2 for adam and sgd, decoupled for adamw"));
}

}  // namespace th::config
