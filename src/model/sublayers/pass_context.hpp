#pragma once

#include <functional>
#include <span>

#include "model/parameters/model_units.hpp"
#include "th/model/memory/compute_device.hpp"
#include "th/model/memory/packed_rows.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/ops/kernel_set.hpp"
#include "th/model/parameters/parameters.hpp"
#include "th/model/products/gemm.hpp"

namespace th::model {

/// What every block of one pass over one micro-batch shares.
struct PassContext {
  const Gemm* gemm = nullptr;
  std::int64_t heads = 1;
  bool pre_norm = true;
  float dropout = 0;              ///< 0 outside of training
  std::uint64_t dropout_key = 0;  ///< hash of (seed, step, slot)
  /// False (selective checkpointing): what is cheap to compute again is not kept.
  bool keep_cheap = true;
  const KernelSet* kernels = &host_kernels();  ///< of the device that the tensors are on
  runtime::DeviceMemory memory = runtime::DeviceMemory::kHost;
  bool fused_attention = true;  ///< ComputeDevice::fused_attention
  config::NormKind norm_kind = config::NormKind::kLayer;
  float norm_eps = 1e-5F;
  config::Activation activation = config::Activation::kRelu;
  float attention_dropout = 0, activation_dropout = 0;  ///< 0 outside of training
  AttentionCuts cuts{};
  const std::function<bool()>* stop = nullptr;  ///< ParameterSource::stop() of a walk

  /// Whether attention of up to `queries` by `keys` is one kernel: on the host any, where the
  /// processor has the instructions; on a GPU what runtime::fuses_attention takes.
  [[nodiscard]] bool fuses(at::ScalarType type, std::int64_t queries, std::int64_t keys,
                           std::int64_t head_width) const;
  /// Calls `work` with the ops of the element type of `like`, or not when the pass is only planned.
  template <typename Work>
  void run(const at::Tensor& like, Work&& work) const {
    if (gemm->computes()) with_kernels(*kernels, like, static_cast<Work&&>(work));
  }
  /// The dropout site `site_number` of block `block`, of attention's probabilities, of what a
  /// feed-forward layer's activation gives, or elsewhere.
  [[nodiscard]] Dropout site(std::uint64_t block, std::uint64_t site_number) const;
  [[nodiscard]] Dropout attention_site(std::uint64_t block, std::uint64_t site_number) const;
  [[nodiscard]] Dropout activation_site(std::uint64_t block, std::uint64_t site_number) const;
};

/// The parameters of a unit, or of one of its sublayers: values, and gradients in the backward
/// pass.
struct ParameterSpan {
  std::span<const at::Tensor> values;
  std::span<at::Tensor> gradients;
  Write write = Write::kAdd;  ///< UnitTensors::product_gradients
  [[nodiscard]] ParameterSpan part(ParameterRange range) const;
};

/// Of gradients of parameters and of statistics, which are fp32 always.
[[nodiscard]] inline float* fp32(const at::Tensor& t) { return t.data_ptr<float>(); }

}  // namespace th::model
