#include "config/key_table.hpp"

// The keys of the deck's section [optimizer]. Names of optimizers and who reads which setting come
// from the rules (th/runtime/optimizers/optimizer_rules.hpp).
namespace th::config {

namespace {

using runtime::MuonScale;
using runtime::Nesterov;
using runtime::OptimizerSettings;

/// A key of a setting, which has no effect with an optimizer that does not read it.
template <auto Setting>
Key read_by_rules(Key key) {
  key.idle = [](const RunConfig& c) {
    const OptimizerKind chosen = c.optimizer.name;
    if (runtime::optimizer_reads(chosen, Setting)) return std::string();
    return std::string("optimizer.name is ") + runtime::optimizer_name(chosen);
  };
  return key;
}

/// A number of the rules.
template <double OptimizerSettings::*Setting>
Key setting_key(const char* name, Interval interval, const char* help) {
  const Place<double> place = [](RunConfig& c) -> double& { return c.optimizer.*Setting; };
  return read_by_rules<Setting>(number_key(name, place, interval, help));
}

Choices<OptimizerKind> names() {
  Choices<OptimizerKind> out;
  for (std::size_t i = 0; i < runtime::kOptimizers; ++i) {
    const auto kind = static_cast<OptimizerKind>(i);
    if (runtime::first_of_name(kind) == kind) out.emplace_back(runtime::optimizer_name(kind), kind);
  }
  return out;
}

}  // namespace

void add_optimizer(std::vector<Key>& t) {
  t.push_back(
      fixed(choice_key("optimizer.name", TH_AT(optimizer.name), names(), "The optimizer.")));
  t.push_back(number_key("optimizer.lr", TH_AT(optimizer.lr), {.low = 0},
                         "The learning rate; with noam a factor of it."));
  const Interval below_1{.low = 0, .high = 1, .high_open = true};
  t.push_back(setting_key<&OptimizerSettings::beta1>("optimizer.beta1", below_1,
                                                     "Decay of the first moment."));
  t.push_back(setting_key<&OptimizerSettings::beta2>("optimizer.beta2", below_1,
                                                     "Decay of the second moment."));
  t.push_back(setting_key<&OptimizerSettings::eps>(
      "optimizer.eps", {.low = 0},
      "The denominator adds this number, which is above 0 where the optimizer reads it."));
  t.push_back(setting_key<&OptimizerSettings::weight_decay>(
      "optimizer.weight_decay", {.low = 0},
      "Weight decay: L2 for adam and sgd, decoupled for adamw, adafactor and muon."));
  t.push_back(read_by_rules<&OptimizerSettings::momentum>(
      number_key("optimizer.momentum", TH_AT(optimizer.momentum), below_1, {"auto", -1},
                 "Decay of the momentum. auto: 0 for sgd, 0.95 for muon.")));
  t.push_back(read_by_rules<&OptimizerSettings::nesterov>(choice_key(
      "optimizer.nesterov", TH_AT(optimizer.nesterov),
      Choices<Nesterov>{
          {"auto", Nesterov::kAuto}, {"true", Nesterov::kTrue}, {"false", Nesterov::kFalse}},
      "Nesterov's momentum is used. auto: false for sgd, true for muon with a momentum.")));
  t.push_back(
      choice_key("optimizer.state_dtype", TH_AT(optimizer.state_dtype),
                 Choices<ElementType>{{"fp32", ElementType::kFp32}, {"bf16", ElementType::kBf16}},
                 "Type in which the optimizer's states are stored. bf16 takes half the "
                 "bytes and rounds up or down by draws."));
  t.push_back(setting_key<&OptimizerSettings::adam_lr>(
      "optimizer.adam_lr", {.low = 0},
      "muon: learning rate of the tensors that adamw updates (embeddings, output, biases, norms). "
      "The schedule moves it as it moves optimizer.lr. 0: they take optimizer.lr."));
  t.push_back(read_by_rules<&OptimizerSettings::muon_scale>(
      choice_key("optimizer.muon_scale", TH_AT(optimizer.muon_scale),
                 Choices<MuonScale>{{"original", MuonScale::kOriginal},
                                    {"match_rms_adamw", MuonScale::kMatchRmsAdamw}},
                 "muon: factor of a matrix's step. match_rms_adamw, 0.2 sqrt(max(rows, columns)), "
                 "makes it as large as AdamW's, so that AdamW's rate and decay serve. original, "
                 "sqrt(max(1, rows / columns)), needs a larger rate, such as 0.02.")));
  t.push_back(setting_key<&OptimizerSettings::beta2_decay>(
      "optimizer.beta2_decay", {.low = -8, .high = 0},
      "adafactor: at step t the second moment decays by 1 - t^beta2_decay."));
  t.push_back(setting_key<&OptimizerSettings::eps_scale>(
      "optimizer.eps_scale", {.low = 0},
      "adafactor: a tensor's rate is scaled by its root mean square, or by this number if that is "
      "larger."));
  t.push_back(setting_key<&OptimizerSettings::update_clip>(
      "optimizer.update_clip", {.low = 1e-6},
      "adafactor: a tensor's update is scaled down to this root mean square."));
}

}  // namespace th::config
