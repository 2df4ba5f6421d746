#pragma once

#include "model/ops/attention/attention_head.hpp"
#include "model/ops/attention/attention_long_head.hpp"
#include "model/ops/host_threads.hpp"

// The host's body of attention in one kernel, for one instruction set with fused multiply-adds:
// without the scores of more than a few queries at a time. A sentence and head are taken together,
// so no sentence pays for another's length, and what they take stays in the processor's caches (Dao
// et al. 2022; a row's softmax is taken whole here). Any length and width. fp32 sums in the order
// of keys (or queries), so the same bits for every tile, both arrangements and any number of
// threads.
namespace th::model::TH_ISA {

/// Work for every sentence and head of `in`.
template <typename T, typename Work>
struct HeadsWork {
  const op::AttentionInputs<T>& in;
  const Work& work;

  /// RangeWork. A sentence's own lengths say how it is arranged.
  [[gnu::flatten]] static void run(void* given, std::int64_t begin, std::int64_t end,
                                   std::int64_t thread) {
    const auto& [in, work] = *static_cast<const HeadsWork*>(given);
    float* scratch = in.scratch + thread * runtime::host_attention_scratch(in.rule, in.queries,
                                                                           in.keys, in.width);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i / in.heads;
      if (runtime::takes_blocks(in.query_offsets[b + 1] - in.query_offsets[b],
                                in.key_offsets[b + 1] - in.key_offsets[b])) {
        LongHead<T> head(in, i, scratch);
        work(head);
      } else {
        Head<T> head(in, i, scratch);
        work(head);
      }
    }
  }
};

/// Calls work(head) for every sentence and head, on threads with scratch of their own.
template <typename T, typename Work>
void each_head(const op::AttentionInputs<T>& in, const Work& work) {
  HeadsWork<T, Work> all{in, work};
  on_threads(in.batch * in.heads, HeadsWork<T, Work>::run, &all);
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
