#include "model/blocks/pass.hpp"

#include "model/ops/decoding/decoding_kernels.hpp"
#include "th/model/memory/tensors.hpp"

#include <ATen/Parallel.h>

#include <algorithm>

namespace th::model {

at::Tensor Pass::take_memory(const at::Tensor& encoded) const {
  if (context.cuts.memory_step == 1) return encoded;
  const std::int64_t count = std::ssize(rows.memory_rows());
  at::Tensor out = model::empty({count, encoded.size(1)}, encoded.options());
  context.run(encoded, [&]<typename T>(const Kernels<T>& k) {
    k(op::TakeRows<T>{.x = k.elements(encoded),
                      .rows = arrays.memory_rows,
                      .y = k.elements(out),
                      .count = count,
                      .width = encoded.size(1)});
  });
  return out;
}

at::Tensor Pass::spread_memory(at::Tensor g_taken) const {
  if (context.cuts.memory_step == 1) return g_taken;
  at::Tensor out = model::empty({batch.source_tokens, g_taken.size(1)}, g_taken.options());
  if (context.gemm->computes()) out.zero_();
  context.run(out, [&]<typename T>(const Kernels<T>& k) {
    k(op::SpreadRows<T>{.x = k.elements(g_taken),
                        .rows = arrays.memory_rows,
                        .y = k.elements(out),
                        .count = g_taken.size(0),
                        .width = g_taken.size(1)});
  });
  return out;
}

AttentionSite Pass::site(AttentionPlace place, const AttentionRules& rules, Dropout dropout) const {
  AttentionSite out{.groups = rows.target_groups(),
                    .query_offsets = arrays.target_offsets,
                    .key_offsets = arrays.target_offsets,
                    .query_rows = batch.target_tokens,
                    .key_rows = batch.target_tokens,
                    .places = arrays.target_places,
                    .rules = rules,
                    .dropout = dropout,
                    .blocks = rows.target_blocks().groups,
                    .query_spans = arrays.decoder.queries,
                    .key_spans = arrays.decoder.keys};
  if (place == AttentionPlace::kDecoder) return out;
  if (place == AttentionPlace::kCross) {
    out.groups = rows.cross_groups();
    out.key_offsets = arrays.memory_offsets;
    out.key_rows = rows.memory_offsets().back();
    out.key_lengths = arrays.memory_lengths;
    out.blocks = rows.cross_blocks().groups;
    out.query_spans = arrays.cross.queries;
    out.key_spans = arrays.cross.keys;
    return out;
  }
  out.groups = rows.source_groups();
  out.key_offsets = arrays.source_offsets;
  out.key_rows = batch.source_tokens;
  out.key_lengths = arrays.source_lengths;
  out.blocks = rows.source_blocks().groups;
  out.query_spans = arrays.encoder.queries;
  out.key_spans = arrays.encoder.keys;
  out.query_offsets = arrays.source_offsets;
  out.query_rows = batch.source_tokens;
  out.places = arrays.source_places;
  return out;
}

void DecodingRows::make_room(std::int64_t longest, std::int64_t width) {
  const std::int64_t heads = pass.context.heads;
  const std::int64_t keys = std::max(kept_steps, kept_keys > 0 ? kept_keys : longest);
  ids = model::empty({capacity}, at::kLong);
  places = model::empty({capacity}, at::kInt);
  lines = model::empty({2, capacity, 1 + kept_steps}, at::kInt);
  const std::int64_t threads = at::get_num_threads();
  scratch = model::empty({threads, attend_scratch(keys, heads, width / heads)}, at::kFloat);
  pairs = model::empty({threads, keys}, at::kLong);
}

}  // namespace th::model
