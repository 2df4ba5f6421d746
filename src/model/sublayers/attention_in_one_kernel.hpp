#pragma once

#include "model/sublayers/attention.hpp"

namespace th::model {

/// Attention in one kernel over packed rows (op::Attention): nothing is split into heads, nothing
/// is padded, and no scores are kept.
class AttentionInOneKernel {
 public:
  AttentionInOneKernel(const PassContext& context, const AttentionSite& site, std::int64_t width);

  /// Whether the device has it for rows like these and these lengths.
  [[nodiscard]] bool takes(const at::Tensor& like) const;
  /// The heads' results as packed rows [M, D]; q, k and v are in the tape.
  [[nodiscard]] at::Tensor merged(const AttentionTape& tape) const;
  /// Gradients where q, k and v are in the tape: all three in `g_q` where `g_kv` is undefined.
  void backward(const AttentionTape& tape, const at::Tensor& g_merged, const at::Tensor& g_q,
                const at::Tensor& g_kv) const;

 private:
  /// Room for each thread of the host; undefined on a device.
  [[nodiscard]] at::Tensor scratch() const;
  template <typename T>
  [[nodiscard]] op::AttentionInputs<T> inputs(const Kernels<T>& k, const AttentionTape& tape,
                                              const at::Tensor& scratch) const;

  const PassContext& context_;
  const AttentionSite& site_;
  std::int64_t width_;
  AttentionGroup all_;
};

}  // namespace th::model
