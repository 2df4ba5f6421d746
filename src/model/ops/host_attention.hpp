#pragma once

#include "model/ops/attention_head.hpp"
#include "model/ops/attention_long_head.hpp"
#include "model/ops/host_threads.hpp"

// The host's body of attention in one kernel, for one instruction set with fused multiply-adds:
// without the scores of more than a few queries at a time. A sentence and head are taken together,
// so no sentence pays for another's length, and what they take stays in the processor's caches (Dao
// et al. 2022; a row's softmax is taken whole here). Any length and width. fp32 sums in the order
// of keys (or queries), so the same bits for every tile, both arrangements and any number of
// threads.
namespace th::model::TH_ISA {

/// Calls work(head) for every sentence and head, on threads with scratch of their own. A sentence's
/// own lengths say how it is arranged.
template <typename T, typename Work>
void each_head(const op::AttentionInputs<T>& in, const Work& work) {
  struct Context {
    const op::AttentionInputs<T>& in;
    const Work& work;
  } context{in, work};
  on_threads(
      in.batch * in.heads,
      [](void* given, std::int64_t begin, std::int64_t end, std::int64_t thread) {
        const auto& c = *static_cast<const Context*>(given);
        const auto& inputs = c.in;
        float* scratch =
            inputs.scratch + thread * runtime::host_attention_scratch(inputs.rule, inputs.queries,
                                                                      inputs.keys, inputs.width);
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t b = i / inputs.heads;
          if (runtime::takes_blocks(inputs.query_offsets[b + 1] - inputs.query_offsets[b],
                                    inputs.key_offsets[b + 1] - inputs.key_offsets[b])) {
            LongHead<T> head(inputs, i, scratch);
            c.work(head);
          } else {
            Head<T> head(inputs, i, scratch);
            c.work(head);
          }
        }
      },
      &context);
}

template <typename T>
requires(kTile.lanes != 0) void compute(const op::Attention<T>& o) {
  each_head(o.inputs, [&](auto& head) { head.forward(o.out); });
}

template <typename T>
requires(kTile.lanes != 0) void compute(const op::AttentionBackward<T>& o) {
  each_head(o.inputs, [&](auto& head) { head.backward(o); });
}

}  // namespace th::model::TH_ISA
