#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "th/model/ops/host_ops.hpp"

// What the tests of the model layer share: tensors from a seed, and comparisons.
namespace th::model::test {

/// N(0, 1), fp32, from `seed` alone.
inline at::Tensor normal(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed),
                   at::TensorOptions().dtype(at::kFloat));
}

inline float* data(const at::Tensor& t) { return t.data_ptr<float>(); }

/// A leaf in fp64 that asks for its gradient: the oracle's side of a comparison.
inline at::Tensor leaf(const at::Tensor& t) {
  return t.detach().to(at::kDouble).clone().set_requires_grad(true);
}

/// Largest |got - want|, in units of the largest |want|.
inline double relative_error(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor w = want.detach().to(at::kDouble);
  const double scale = w.abs().max().item<double>();
  const double error = (got.to(at::kDouble).reshape_as(w) - w).abs().max().item<double>();
  return error / (scale > 0 ? scale : 1.0);
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return x.numel() == y.numel() && std::memcmp(x.const_data_ptr(), y.const_data_ptr(),
                                               static_cast<std::size_t>(x.nbytes())) == 0;
}

inline constexpr runtime::ScoreRule kFull{runtime::ScoreRule::Kind::kFull},
    kCausal{runtime::ScoreRule::Kind::kCausal};

/// Whether the rule lets a query see a key, of `count` keys.
[[nodiscard]] inline bool sees(runtime::ScoreRule rule, std::int64_t query, std::int64_t key,
                               std::int64_t count) {
  const runtime::PositionRange seen = rule.keys(query, count);
  return key >= seen.begin && key < seen.end && rule.sees(query, key);
}

/// The sum of the rows' losses, in their order.
template <typename T>
double loss_of(op::CrossEntropy<T> o) {
  std::vector<double> losses(static_cast<std::size_t>(o.rows), -1.0);
  o.row_losses = losses.data();
  compute(o);
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace th::model::test
