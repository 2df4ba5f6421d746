#pragma once

#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "th/runtime/optimizers/adafactor.hpp"
#include "th/runtime/optimizers/adam.hpp"
#include "th/runtime/optimizers/muon.hpp"
#include "th/runtime/optimizers/sgd.hpp"

// The list of optimizers, and what is made from it: names, states, the numbers of a step, and the
// update of one element for host and GPU. No file beside this one names them all.
namespace th::runtime {

/// The rules, in the order in which the deck's reference names them.
using OptimizerRules = std::tuple<Adam, AdamW, Sgd, SgdMomentum, Adafactor, Muon>;

inline constexpr std::size_t kOptimizers = std::tuple_size_v<OptimizerRules>;

/// A rule's number in the list.
template <typename Rule, std::size_t I = 0>
[[nodiscard]] constexpr std::size_t optimizer_index() {
  if constexpr (std::is_same_v<Rule, std::tuple_element_t<I, OptimizerRules>>)
    return I;
  else
    return optimizer_index<Rule, I + 1>();
}

enum class OptimizerKind : std::size_t {
  kAdam = optimizer_index<Adam>(),
  kAdamw = optimizer_index<AdamW>(),
  kSgd = optimizer_index<Sgd>(),
  kSgdMomentum = optimizer_index<SgdMomentum>(),
  kAdafactor = optimizer_index<Adafactor>(),
  kMuon = optimizer_index<Muon>()
};

/// body(Rule{}) for the rule of a kind.
template <std::size_t I = 0, typename Body>
[[gnu::always_inline]] inline constexpr auto with_rule(OptimizerKind kind, const Body& body) {
  if constexpr (I + 1 < kOptimizers) {
    if (static_cast<std::size_t>(kind) != I) return with_rule<I + 1>(kind, body);
  }
  return body(std::tuple_element_t<I, OptimizerRules>{});
}

[[nodiscard]] constexpr const char* optimizer_name(OptimizerKind kind) {
  return with_rule(kind, [](auto rule) { return decltype(rule)::kName; });
}

/// The first rule of a name, by which the deck knows it.
[[nodiscard]] constexpr OptimizerKind first_of_name(OptimizerKind kind) {
  for (std::size_t i = 0; i < kOptimizers; ++i) {
    const auto other = static_cast<OptimizerKind>(i);
    if (std::string_view(optimizer_name(other)) == optimizer_name(kind)) return other;
  }
  return kind;
}

/// The rule that a run takes: of those that share the deck's name the one that serves its settings
/// (`serves`), so that a setting may decide which states there are.
[[nodiscard]] constexpr OptimizerKind chosen_rule(OptimizerKind named,
                                                  const OptimizerSettings& settings) {
  for (std::size_t i = 0; i < kOptimizers; ++i) {
    const auto kind = static_cast<OptimizerKind>(i);
    if (std::string_view(optimizer_name(kind)) != optimizer_name(named)) continue;
    const bool serves = with_rule(kind, [&](auto rule) {
      if constexpr (requires { rule.serves(settings); })
        return rule.serves(settings);
      else
        return true;
    });
    if (serves) return kind;
  }
  return named;
}

/// Names of its states; none for an optimizer without.
[[nodiscard]] constexpr StateNames optimizer_states(OptimizerKind kind) {
  return with_rule(kind, [](auto rule) {
    static_assert(decltype(rule)::kStates.size() <= kMaxOptimizerStates);
    return StateNames(decltype(rule)::kStates);
  });
}

/// How many of a rule's states, the first ones, are of its element's formula; the others are those
/// of whole tensors (`kElementStates`).
template <typename Rule>
[[nodiscard]] constexpr std::size_t element_states_of() {
  if constexpr (requires { Rule::kElementStates; })
    return Rule::kElementStates;
  else
    return Rule::kStates.size();
}
[[nodiscard]] constexpr std::size_t element_states(OptimizerKind kind) {
  return with_rule(kind, [](auto rule) { return element_states_of<decltype(rule)>(); });
}

/// Whether its step depends on a setting.
template <typename Setting>
[[nodiscard]] constexpr bool optimizer_reads(OptimizerKind kind,
                                             Setting OptimizerSettings::*setting) {
  const auto is_setting = [setting](auto read) {
    if constexpr (std::is_same_v<decltype(read), Setting OptimizerSettings::*>)
      return read == setting;
    else
      return false;
  };
  return with_rule(kind, [&](auto rule) {
    return std::apply([&](auto... read) { return (is_setting(read) || ...); },
                      decltype(rule)::kReads);
  });
}

template <typename Rules>
struct FactorsOf;
template <typename... Rules>
struct FactorsOf<std::tuple<Rules...>> {
  using Type = std::variant<typename Rules::Factors...>;
};

/// The numbers of the step that a run's optimizer takes, the same bits for every device.
struct UpdateFactors {
  float gradient = 1;       ///< multiplies each gradient first: the clip coefficient
  std::uint64_t draws = 0;  ///< key of the step's draws, by which states of 16 bits are rounded
  FactorsOf<OptimizerRules>::Type of_rule;

  [[nodiscard]] OptimizerKind kind() const { return static_cast<OptimizerKind>(of_rule.index()); }
};

[[nodiscard]] inline UpdateFactors optimizer_factors(OptimizerKind kind, const StepNumbers& numbers,
                                                     float gradient) {
  UpdateFactors out;
  out.gradient = gradient;
  with_rule(kind, [&](auto rule) {
    using Rule = decltype(rule);
    out.of_rule.template emplace<optimizer_index<Rule>()>(Rule::factors(numbers));
  });
  return out;
}

/// body(Rule{}, its factors) for the rule of `factors`.
template <typename Body>
[[gnu::always_inline]] inline void with_factors(const UpdateFactors& factors, const Body& body) {
  with_rule(
      factors.kind(), [&](auto rule) __attribute__((always_inline)) {
        body(rule, *std::get_if<optimizer_index<decltype(rule)>()>(&factors.of_rule));
      });
}

/// The update of one weight, with the states at `i`: every host loop and every kernel is made from
/// this. The last argument tells how many of `states` there are.
template <typename Factors, std::size_t... State>
[[gnu::always_inline]] TH_HOST_DEVICE inline void update_element(const Factors& factors,
                                                                 float gradient, float& weight,
                                                                 float* const* states,
                                                                 std::int64_t i,
                                                                 std::index_sequence<State...>) {
  factors.update(gradient, weight, states[State][i]...);
}

/// The indexes of the states of a rule's formula.
template <typename Rule>
using StateIndexes = std::make_index_sequence<element_states_of<Rule>()>;

}  // namespace th::runtime
