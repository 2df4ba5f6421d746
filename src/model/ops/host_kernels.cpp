#include "model/ops/host_attention.hpp"
#include "th/model/ops/kernel_set.hpp"
#include "th/model/ops/kernels.hpp"

#include <ATen/Parallel.h>

// TEMPORARY: replaced by the per-ISA bodies at the merge.
namespace th::model {
namespace {
template <typename T>
void compute(const op::AddDropout<T>& o) {
  add_dropout(o.x, o.s, o.y, o.count, o.dropout);
}
template <typename T>
void compute(const op::ApplyDropout<T>& o) {
  dropout_backward(o.x, o.out, o.count, o.dropout);
}
template <typename T>
void compute(const op::BiasReluDropout<T>& o) {
  bias_relu_dropout(o.h, o.bias, o.rows, o.columns, o.dropout);
}
template <typename T>
void compute(const op::ReluDropoutBackward<T>& o) {
  relu_dropout_backward(o.h, o.g, o.count, o.dropout);
}
template <typename T>
void compute(const op::AddColumnSums<T>& o) {
  add_column_sums(o.x, o.out, o.rows, o.columns);
}
template <typename T>
void compute(const op::AddTo<T>& o) {
  add_to(o.y, o.x, o.count);
}
template <typename T>
void compute(const op::Accumulate<T>& o) {
  accumulate(o.y, o.x, o.count);
}
template <typename T>
void compute(const op::Widen<T>& o) {
  widen(o.x, o.y, o.count);
}
template <typename T>
void compute(const op::Narrow<T>& o) {
  narrow(o.x, o.y, o.count);
}
template <typename T>
void compute(const op::LayerNorm<T>& o) {
  layer_norm(o.x, o.gamma, o.beta, o.y, o.mean, o.rstd, o.rows, o.columns);
}
template <typename T>
void compute(const op::LayerNormBackward<T>& o) {
  layer_norm_backward(o.g, o.x, o.gamma, o.mean, o.rstd, o.g_x, o.g_gamma, o.g_beta, o.rows,
                      o.columns);
}
template <typename T>
void compute(const op::MaskedSoftmax<T>& o) {
  masked_softmax(o.scores, o.batch, o.heads, o.queries, o.keys,
                 {o.key_lengths, o.rule.kind == runtime::ScoreRule::Kind::kCausal});
}
template <typename T>
void compute(const op::SoftmaxDropoutBackward<T>& o) {
  softmax_dropout_backward(o.p, o.g, o.rows, o.keys, o.dropout);
}
template <typename T>
void compute(const op::SplitHeads<T>& o) {
  split_heads(o.x, o.offsets, o.out, o.batch, o.length, o.heads, o.width, o.stride, o.scale);
}
template <typename T>
void compute(const op::MergeHeads<T>& o) {
  merge_heads(o.h, o.offsets, o.x, o.batch, o.length, o.heads, o.width, o.stride, o.scale);
}
template <typename T>
void compute(const op::RotatePositions<T>&) {}
template <typename T>
void compute(const op::Embed<T>& o) {
  embed(o.weight, o.ids, o.position, o.places, o.y, o.rows, o.width, o.scale, o.dropout);
}
template <typename T>
void compute(const op::EmbedBackward<T>& o) {
  embed_backward(o.g, o.ids, o.g_weight, o.rows, o.width, o.scale, o.dropout);
}
template <typename T>
void compute(const op::CrossEntropy<T>& o) {
  for (std::int64_t m = 0; m < o.rows; ++m)
    o.row_losses[m] = cross_entropy(o.logits + m * o.vocabulary, o.labels + m, 1, o.vocabulary,
                                    o.smoothing, o.g_scale, o.bias);
}
template <typename T>
void compute(const op::AddTotal<T>& o) {
  double t = 0;
  for (std::int64_t i = 0; i < o.count; ++i) t += o.x[i];
  *o.out += t;
}
template <typename T>
runtime::AttentionOperands<T> old(const op::AttentionInputs<T>& i) {
  return {i.q,
          i.k,
          i.v,
          i.q_stride,
          i.kv_stride,
          i.query_offsets,
          i.key_offsets,
          i.batch,
          i.heads,
          i.queries,
          i.keys,
          i.width,
          i.rule.kind == runtime::ScoreRule::Kind::kCausal,
          i.scale,
          i.dropout,
          i.scratch};
}
template <typename T, typename Work>
void on_threads(const runtime::AttentionOperands<T>& o, const Work& work) {
  const std::int64_t room = runtime::host_attention_scratch(o.keys, o.width);
  at::parallel_for(0, o.batch * o.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    work(HeadRange{begin, end, o.scratch + at::get_thread_num() * room});
  });
}
template <typename T>
void compute(const op::Attention<T>& o) {
  const auto i = old(o.inputs);
  on_threads(i, [&](HeadRange h) { host_attention(i, o.out, h); });
}
template <typename T>
void compute(const op::AttentionBackward<T>& o) {
  const auto i = old(o.inputs);
  on_threads(i, [&](HeadRange h) { host_attention_backward(i, o.g, o.g_q, o.g_k, o.g_v, h); });
}
struct Host {
  template <typename O>
  static constexpr bool has = true;
  template <typename O>
  static void run(const O& o, void*) {
    compute(o);
  }
};
template <typename T>
runtime::OpTable<T> table() {
  return runtime::OpTable<T>::template of<Host>();
}
}  // namespace

const KernelSet& host_kernels() {
  static const runtime::OpTable<float> kFp32 = table<float>();
  static const runtime::OpTable<Bf16> kBf16 = table<Bf16>();
  static const runtime::OpTable<Fp16> kFp16 = table<Fp16>();
  static const KernelSet kSet{&kFp32, &kBf16, &kFp16};
  return kSet;
}
}  // namespace th::model
