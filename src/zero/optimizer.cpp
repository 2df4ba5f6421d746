#include "th/zero/optimizer.hpp"

#include "th/base/error.hpp"
#include "th/base/half_float.hpp"
#include "th/base/target_clones.hpp"
#include "th/model/ops/host_ops.hpp"
#include "th/zero/flat_layout.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace th::zero {

namespace {

using runtime::AdamFactors;
using runtime::ElementType;

TH_CLONES void adam(const AdamFactors& f, float* p, const float* g, float* m, float* v,
                    std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float gradient = g[i] * f.gradient + p[i] * f.l2;
    const float first = m[i] * f.beta1 + gradient * f.one_minus_beta1;
    const float second = v[i] * f.beta2 + gradient * gradient * f.one_minus_beta2;
    const float denominator = std::sqrt(second) * f.inverse_root_correction2 + f.eps;
    m[i] = first;
    v[i] = second;
    p[i] = p[i] * f.decay - f.step_size * (first / denominator);
  }
}

TH_CLONES void sgd(float factor, float decay, float lr, float* p, const float* g, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] -= lr * (g[i] * factor + p[i] * decay);
}

}  // namespace

runtime::UpdateFactors update_factors(const OptimizerStep& step) {
  const config::OptimizerSection& o = step.settings;
  const auto gradient = static_cast<float>(step.gradient_factor),
             decay = static_cast<float>(o.weight_decay);
  runtime::UpdateFactors out;
  out.sgd = o.name == config::OptimizerKind::kSgd;
  out.sgd_step = {gradient, decay, static_cast<float>(step.lr)};
  const double correction1 = 1.0 - std::pow(o.beta1, static_cast<double>(step.step));
  const double correction2 = 1.0 - std::pow(o.beta2, static_cast<double>(step.step));
  const bool decoupled = o.name == config::OptimizerKind::kAdamw;
  out.adam_step = {gradient,
                   static_cast<float>(o.beta1),
                   static_cast<float>(1.0 - o.beta1),
                   static_cast<float>(o.beta2),
                   static_cast<float>(1.0 - o.beta2),
                   static_cast<float>(1.0 / std::sqrt(correction2)),
                   static_cast<float>(o.eps),
                   static_cast<float>(step.lr / correction1),
                   decoupled ? static_cast<float>(1.0 - step.lr * o.weight_decay) : 1.0F,
                   decoupled ? 0.0F : decay};
  return out;
}

ElementType element_type(config::Precision precision) {
  if (precision == config::Precision::kFp32) return ElementType::kFp32;
  return precision == config::Precision::kBf16 ? ElementType::kBf16 : ElementType::kFp16;
}

void apply_optimizer(const OptimizerStep& step, float* parameters, const float* gradients,
                     float* exp_avg, float* exp_avg_sq, std::int64_t count) {
  apply_update(update_factors(step), {parameters, gradients, exp_avg, exp_avg_sq, nullptr, count});
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

void apply_update(const runtime::UpdateFactors& planned, const runtime::UpdateOperands& o) {
  runtime::UpdateFactors factors = planned;
  if (o.outcome != nullptr) {
    if (o.outcome->finite == 0) return;
    factors.adam_step.gradient = factors.sgd_step.gradient = o.outcome->gradient_factor;
  }
  const runtime::SgdFactors& s = factors.sgd_step;
  for_fp32_chunks(o.gradients, o.gradient_type, o.count,
                  [&](std::int64_t at, std::int64_t n, const float* gradients) {
                    if (factors.sgd)
                      return sgd(s.gradient, s.decay, s.lr, o.weights + at, gradients, n);
                    adam(factors.adam_step, o.weights + at, gradients, o.exp_avg + at,
                         o.exp_avg_sq + at, n);
                  });
  if (o.working != nullptr) round_elements(o.weights, o.working_type, o.working, o.count);
}

namespace {

/// Of a block with an element that is not finite: the first of those.
std::int64_t first_not_finite(const void* gradients, ElementType type, std::int64_t block) {
  const std::int64_t begin =
      block * FlatLayout::kBlock * (type == ElementType::kFp32 ? 4 : 2);  // bytes
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
  for (std::int64_t slot = 0; slot < s.slots; ++slot)
    out.loss_sum += s.records[slot % s.ranks * s.record + s.losses + slot / s.ranks];
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

TH_CLONES void block_square_sums(const float* x, std::int64_t blocks, double* out) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    double lanes[8] = {};
    for (std::int64_t i = 0; i < FlatLayout::kBlock; i += 8) {
      for (int l = 0; l < 8; ++l) {
        const double value = static_cast<double>(x[b * FlatLayout::kBlock + i + l]);
        lanes[l] += value * value;
      }
    }
    out[b] = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
             ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
}

}  // namespace th::zero
