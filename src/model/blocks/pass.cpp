#include "model/blocks/pass.hpp"

namespace th::model {

AttentionSite Pass::site(AttentionPlace place, const AttentionRules& rules, Dropout dropout) const {
  AttentionSite out{.groups = rows.target_groups(),
                    .query_offsets = arrays.target_offsets,
                    .key_offsets = arrays.target_offsets,
                    .query_rows = batch.target_tokens,
                    .key_rows = batch.target_tokens,
                    .places = arrays.target_places,
                    .rules = rules,
                    .dropout = dropout};
  if (place == AttentionPlace::kDecoder) return out;
  out.key_offsets = arrays.source_offsets;
  out.key_rows = batch.source_tokens;
  out.key_lengths = arrays.source_lengths;
  if (place == AttentionPlace::kCross) {
    out.groups = rows.cross_groups();
    return out;
  }
  out.groups = rows.source_groups();
  out.query_offsets = arrays.source_offsets;
  out.query_rows = batch.source_tokens;
  out.places = arrays.source_places;
  return out;
}

}  // namespace th::model
