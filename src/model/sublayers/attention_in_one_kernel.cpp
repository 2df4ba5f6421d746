#include "model/sublayers/attention_in_one_kernel.hpp"

#include "th/model/memory/tensors.hpp"

#include <ATen/Parallel.h>

#include <cmath>

namespace th::model {

AttentionInOneKernel::AttentionInOneKernel(const PassContext& context, const AttentionSite& site,
                                           std::int64_t width)
    : context_(context), site_(site), width_(width), all_(site.all_sentences()) {}

bool AttentionInOneKernel::takes(const at::Tensor& like) const {
  return context_.fuses(like.scalar_type(), all_.queries, all_.keys, width_ / context_.heads);
}

at::Tensor AttentionInOneKernel::merged(const AttentionTape& tape) const {
  at::Tensor out = model::empty({site_.query_rows, width_}, tape.q.options());
  const at::Tensor room = scratch();
  context_.run(out, [&]<typename T>(const Kernels<T>& k) {
    k(op::Attention<T>{.inputs = inputs(k, tape, room), .out = k.elements(out)});
  });
  return out;
}

void AttentionInOneKernel::backward(const AttentionTape& tape, const at::Tensor& g_merged,
                                    const at::Tensor& g_q, const at::Tensor& g_kv) const {
  const at::Tensor room = scratch();
  context_.run(g_q, [&]<typename T>(const Kernels<T>& k) {
    T* of_q = k.elements(g_q);
    T* of_k = g_kv.defined() ? k.elements(g_kv) : of_q + width_;
    k(op::AttentionBackward<T>{.inputs = inputs(k, tape, room),
                               .g = k.elements(g_merged),
                               .g_q = of_q,
                               .g_k = of_k,
                               .g_v = of_k + width_});
  });
}

at::Tensor AttentionInOneKernel::scratch() const {
  if (context_.memory != runtime::DeviceMemory::kHost) return {};
  return model::empty(
      {at::get_num_threads() * runtime::host_attention_scratch(site_.rules.scores, all_.queries,
                                                               all_.keys, width_ / context_.heads)},
      at::kFloat);
}

template <typename T>
op::AttentionInputs<T> AttentionInOneKernel::inputs(const Kernels<T>& k, const AttentionTape& tape,
                                                    const at::Tensor& scratch) const {
  const std::int64_t head_width = width_ / context_.heads;
  const T* keys = tape.k.defined() ? k.elements(tape.k) : k.elements(tape.q) + width_;
  return {.q = k.elements(tape.q),
          .k = keys,
          .v = keys + width_,
          .q_stride = tape.q.size(1),
          .kv_stride = tape.k.defined() ? tape.k.size(1) : tape.q.size(1),
          .query_offsets = site_.query_offsets,
          .key_offsets = site_.key_offsets,
          .batch = all_.sentences,
          .heads = context_.heads,
          .queries = all_.queries,
          .keys = all_.keys,
          .width = head_width,
          .rule = site_.rules.scores,
          .scale = 1.0F / std::sqrt(static_cast<float>(head_width)),
          .dropout = site_.dropout,
          .scratch = scratch.defined() ? fp32(scratch) : nullptr,
          .stop = context_.stop};
}

}  // namespace th::model
