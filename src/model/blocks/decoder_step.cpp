#include "model/blocks/decoder_layer.hpp"

#include "model/ops/decoding_kernels.hpp"
#include "th/model/memory/tensors.hpp"

#include <cstring>

// One position of a decoder layer: keys and values of earlier positions are kept, those of the
// encoder's result are computed once.
namespace th::model {

void DecoderLayer::prepare(const DecodingRows& rows, const ParameterSpan& p,
                           LayerCache& cache) const {
  cache.cross = cross_attention_.key_value(p).forward(rows.pass.context, rows.pass.memory);
}

at::Tensor DecoderLayer::step(const DecodingRows& rows, const ParameterSpan& p,
                              const at::Tensor& x_RD, LayerCache& cache) const {
  const PassContext& c = rows.pass.context;
  ResidualTape tape;
  at::Tensor y = self_residual_.forward(
      c, p, x_RD, {}, tape, [&](const at::Tensor& h) { return step_self(rows, p, h, cache); });
  y = cross_residual_.forward(c, p, y, {}, tape,
                              [&](const at::Tensor& h) { return step_cross(rows, p, h, cache); });
  return feed_forward_residual_.forward(c, p, y, {}, tape, [&](const at::Tensor& h) {
    FeedForwardTape hidden;
    return feed_forward_.forward(c, p, h, {}, hidden);
  });
}

at::Tensor DecoderLayer::step_self(const DecodingRows& rows, const ParameterSpan& p,
                                   const at::Tensor& x_RD, LayerCache& cache) const {
  const PassContext& c = rows.pass.context;
  const std::int64_t count = x_RD.size(0), width = x_RD.size(1), pair = 2 * width;
  const at::Tensor qkv = self_attention_.query_key_value(p).forward(c, x_RD);
  const std::vector<std::int32_t> places(static_cast<std::size_t>(count),
                                         static_cast<std::int32_t>(rows.step));
  Attention::rotate(c, self_rules_, places.data(), qkv, runtime::RotationRule::Direction::kForward);
  at::Tensor out = model::empty({count, width}, x_RD.options());
  c.run(qkv, [&]<typename T>(const Kernels<T>& k) {
    T* kept = k.elements(cache.self);
    for (std::int64_t r = 0; r < count; ++r) {
      std::memcpy(kept + (rows.step * rows.capacity + r) * pair,
                  k.elements(qkv) + r * 3 * width + width,
                  static_cast<std::size_t>(pair) * sizeof(T));
    }
    const runtime::PositionRange keys = self_rules_.scores.keys(rows.step, rows.step + 1);
    const std::int64_t head_width = width / c.heads;
    std::vector<float> scratch(
        static_cast<std::size_t>(attend_scratch(keys.end - keys.begin, c.heads, head_width)));
    std::vector<const T*> pairs(static_cast<std::size_t>(keys.end - keys.begin));
    for (std::int64_t r = 0; r < count; ++r) {
      const std::vector<std::int32_t>& line = rows.lineage[static_cast<std::size_t>(r)];
      for (std::int64_t t = keys.begin; t < keys.end; ++t)
        pairs[static_cast<std::size_t>(t - keys.begin)] =
            kept + (t * rows.capacity + line[static_cast<std::size_t>(t)]) * pair;
      attend_one(AttendOne<T>{.query = k.elements(qkv) + r * 3 * width,
                              .pairs = pairs.data(),
                              .first_key = keys.begin,
                              .keys = std::ssize(pairs),
                              .heads = c.heads,
                              .width = head_width,
                              .rule = self_rules_.scores,
                              .position = rows.step,
                              .scratch = scratch.data(),
                              .out = k.elements(out) + r * width});
    }
  });
  return self_attention_.out(p).forward(c, out);
}

at::Tensor DecoderLayer::step_cross(const DecodingRows& rows, const ParameterSpan& p,
                                    const at::Tensor& x_RD, const LayerCache& cache) const {
  const PassContext& c = rows.pass.context;
  const std::int64_t count = x_RD.size(0), width = x_RD.size(1), head_width = width / c.heads;
  const at::Tensor query = cross_attention_.query(p).forward(c, x_RD);
  at::Tensor out = model::empty({count, width}, x_RD.options());
  c.run(query, [&]<typename T>(const Kernels<T>& k) {
    const T* kept = k.elements(cache.cross);
    const std::span<const std::int64_t> offsets = rows.pass.rows.source_offsets();
    std::vector<float> scratch(static_cast<std::size_t>(
        attend_scratch(rows.pass.batch.source_length, c.heads, head_width)));
    std::vector<const T*> pairs;
    for (std::int64_t r = 0; r < count; ++r) {
      const auto sentence = static_cast<std::size_t>(rows.sentence[static_cast<std::size_t>(r)]);
      const std::int64_t first = offsets[sentence];
      const runtime::PositionRange keys =
          cross_rules_.scores.keys(rows.step, offsets[sentence + 1] - first);
      pairs.clear();
      for (std::int64_t s = keys.begin; s < keys.end; ++s)
        pairs.push_back(kept + (first + s) * 2 * width);
      attend_one(AttendOne<T>{.query = k.elements(query) + r * width,
                              .pairs = pairs.data(),
                              .first_key = keys.begin,
                              .keys = std::ssize(pairs),
                              .heads = c.heads,
                              .width = head_width,
                              .rule = cross_rules_.scores,
                              .position = rows.step,
                              .scratch = scratch.data(),
                              .out = k.elements(out) + r * width});
    }
  });
  return cross_attention_.out(p).forward(c, out);
}

}  // namespace th::model
