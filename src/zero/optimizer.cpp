#include "th/zero/optimizer.hpp"

#include "th/base/error.hpp"
#include "th/base/half_float.hpp"
#include "th/base/hash.hpp"
#include "th/model/ops/host_ops.hpp"
#include "th/zero/flat_kernels.hpp"
#include "th/zero/flat_layout.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace th::zero {

runtime::StepNumbers numbers_of(const OptimizerStep& step) {
  const double part = step.settings.lr > 0 ? step.lr / step.settings.lr : 0;
  return {step.settings, step.lr, step.step, part};
}

runtime::UpdateFactors update_factors(const OptimizerStep& step) {
  return runtime::optimizer_factors(runtime::chosen_rule(step.settings.name, step.settings),
                                    numbers_of(step), static_cast<float>(step.gradient_factor));
}

namespace {

constexpr std::int64_t kChunk =
    8 * FlatLayout::kBlock;  // elements widened at a time: they stay in the first cache

/// Calls `body` with a value of the 16-bit type.
template <typename Body>
void with_short_element(ElementType type, Body&& body) {
  ensure(type != ElementType::kFp32, "with_short_element: not a 16-bit type");
  if (type == ElementType::kBf16) return body(Bf16{});
  body(Fp16{});
}

/// Calls body(offset, count, fp32 values) for all elements of a buffer of any type, piece by piece.
template <typename Body>
void for_fp32_chunks(const void* x, ElementType type, std::int64_t count, Body&& body) {
  if (type == ElementType::kFp32) return body(std::int64_t{0}, count, static_cast<const float*>(x));
  with_short_element(type, [&](auto element) {
    alignas(64) std::array<float, kChunk> wide;
    for (std::int64_t at = 0; at < count; at += kChunk) {
      const std::int64_t n = std::min(kChunk, count - at);
      using T = decltype(element);
      model::compute(
          op::Widen<T>{.x = static_cast<const T*>(x) + at, .y = wide.data(), .count = n});
      body(at, n, static_cast<const float*>(wide.data()));
    }
  });
}

}  // namespace

void round_elements(const float* from, ElementType type, void* to, std::int64_t count) {
  with_short_element(type, [&](auto element) {
    using T = decltype(element);
    model::compute(op::Narrow<T>{.x = from, .y = static_cast<T*>(to), .count = count});
  });
}

std::uint16_t round_by_draw(float x, std::uint32_t draw) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  constexpr std::uint32_t kExponent = 0x7f800000U, kQuiet = 0x0040U;
  if ((bits & kExponent) == kExponent) {  // no carry into it; a NaN stays one
    const std::uint32_t nan = (bits & 0x007fffffU) != 0 ? kQuiet : 0;
    return static_cast<std::uint16_t>((bits >> 16U) | nan);
  }
  return static_cast<std::uint16_t>((bits + (draw & 0xffffU)) >> 16U);
}

std::uint32_t rounding_draw(std::uint64_t key, std::int64_t element) {
  // Four draws a hash.
  const std::uint64_t four = hash_pair(key, static_cast<std::uint64_t>(element) >> 2U);
  return static_cast<std::uint32_t>(four >> (16U * (static_cast<std::uint64_t>(element) & 3U))) &
         0xffffU;
}

void round_by_draws(std::span<const float> from, std::uint64_t key, std::int64_t first,
                    std::uint16_t* to) {
  for (std::size_t i = 0; i < from.size(); ++i)
    to[i] = round_by_draw(from[i], rounding_draw(key, first + static_cast<std::int64_t>(i)));
}

void widen_elements(const void* from, ElementType type, float* to, std::int64_t count) {
  with_short_element(type, [&](auto element) {
    using T = decltype(element);
    model::compute(op::Widen<T>{.x = static_cast<const T*>(from), .y = to, .count = count});
  });
}

namespace {

/// An update of at most kChunk elements whose states are kept in bf16.
void update_short_states(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& o,
                         const float* gradients, std::int64_t at, std::int64_t n) {
  const std::size_t states = runtime::element_states(factors.kind());
  alignas(64) std::array<std::array<float, kChunk>, runtime::kMaxOptimizerStates> wide;
  float* here[runtime::kMaxOptimizerStates] = {};
  for (std::size_t s = 0; s < states; ++s) {
    here[s] = wide[s].data();
    widen_elements(o.short_states[s] + at, ElementType::kBf16, here[s], n);
  }
  update_elements(factors, o.weights + at, gradients, here, n);
  for (std::size_t s = 0; s < states; ++s) {
    round_by_draws({here[s], static_cast<std::size_t>(n)}, hash_pair(factors.draws, s),
                   o.first + at, o.short_states[s] + at);
  }
}

}  // namespace

void apply_update(const runtime::UpdateFactors& planned, const runtime::UpdateOperands& o) {
  runtime::UpdateFactors factors = planned;
  if (o.outcome != nullptr) {
    if (o.outcome->finite == 0) return;
    factors.gradient = o.outcome->gradient_factor;
  }
  const std::size_t states = runtime::element_states(factors.kind());
  for_fp32_chunks(o.gradients, o.gradient_type, o.count,
                  [&](std::int64_t at, std::int64_t n, const float* gradients) {
                    if (o.short_states[0] != nullptr) {
                      for (std::int64_t i = 0; i < n; i += kChunk)
                        update_short_states(factors, o, gradients + i, at + i,
                                            std::min(kChunk, n - i));
                      return;
                    }
                    float* here[runtime::kMaxOptimizerStates] = {};
                    for (std::size_t s = 0; s < states; ++s) here[s] = o.states[s] + at;
                    update_elements(factors, o.weights + at, gradients, here, n);
                  });
  if (o.working != nullptr) round_elements(o.weights, o.working_type, o.working, o.count);
}

namespace {

/// Of a block with an element that is not finite: the first of those.
std::int64_t first_not_finite(const void* gradients, ElementType type, std::int64_t block) {
  const std::int64_t begin = block * FlatLayout::kBlock * element_size(type);  // bytes
  std::int64_t found = -1;
  for_fp32_chunks(static_cast<const std::byte*>(gradients) + begin, type, FlatLayout::kBlock,
                  [&](std::int64_t, std::int64_t n, const float* values) {
                    const float* first =
                        std::find_if(values, values + n, [](float x) { return !std::isfinite(x); });
                    if (first != values + n) found = first - values;
                  });
  return found;
}

}  // namespace

void end_step(const runtime::StepRecords& s) {
  runtime::StepOutcome out;
  for (std::int64_t slot = 0; slot < s.dealing.slots; ++slot) {
    const SlotDealing::Place place = s.dealing.place(slot);
    out.loss_sum += s.records[place.rank * s.record + s.losses + place.pass];
  }
  double sum = 0;
  for (std::int64_t u = 0; u < std::ssize(s.units); ++u) {
    const runtime::StepRecords::Unit& unit = s.units[static_cast<std::size_t>(u)];
    for (std::int64_t r = 0; r < s.ranks; ++r) {
      for (std::int64_t b = 0; b < unit.blocks; ++b) {
        const double squares = s.records[r * s.record + unit.first + b];
        sum += squares;
        if (std::isfinite(squares) || out.bad_unit >= 0) continue;
        out.bad_unit = u;
        const std::int64_t element = r == s.rank ? first_not_finite(unit.gradient, s.type, b) : -1;
        if (element >= 0) out.bad_element = (r * unit.blocks + b) * FlatLayout::kBlock + element;
      }
    }
  }
  conclude(out, sum, s.clip, s.loss_scale);
  *s.outcome = out;
}

void block_square_sums(const void* x, ElementType type, std::int64_t blocks, double* out) {
  for_fp32_chunks(x, type, blocks * FlatLayout::kBlock,
                  [&](std::int64_t at, std::int64_t n, const float* values) {
                    block_square_sums(values, n / FlatLayout::kBlock,
                                      out + at / FlatLayout::kBlock);
                  });
}

}  // namespace th::zero
