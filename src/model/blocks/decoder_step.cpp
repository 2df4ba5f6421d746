#include "model/blocks/decoder_layer.hpp"

#include "model/ops/decoding/decoding_kernels.hpp"
#include "model/ops/host_threads.hpp"
#include "th/model/memory/tensors.hpp"

#include <algorithm>
#include <cstring>

// One position of a decoder layer: keys and values of earlier positions are kept, those of the
// encoder's result are computed once.
namespace th::model {

namespace {

/// The row of the cache that has key `key` of a sentence whose states are the rows from `first` on.
std::int64_t place_of(const DecodingRows& rows, std::int64_t sentence, std::int64_t first,
                      std::int64_t key) {
  if (rows.kept_keys == 0) return first + key;
  return sentence * rows.kept_keys + key % rows.kept_keys;
}

/// The room of a thread that attends: for the addresses of the keys that a query sees, and scratch.
template <typename T>
struct AttendRoom {
  const T** pairs = nullptr;
  float* scratch = nullptr;
};
template <typename T>
AttendRoom<T> room_of(const DecodingRows& rows, std::int64_t thread) {
  static_assert(sizeof(const T*) == sizeof(std::int64_t));
  return {reinterpret_cast<const T**>(rows.pairs.data_ptr<std::int64_t>() +
                                      thread * rows.pairs.size(1)),
          rows.scratch.data_ptr<float>() + thread * rows.scratch.size(1)};
}

/// Calls attend(row, room) for every row, on threads.
template <typename T, typename Attend>
void over_rows(const DecodingRows& rows, std::int64_t count, const Attend& attend) {
  over_threads(count, [&](std::int64_t begin, std::int64_t end, std::int64_t thread) {
    const AttendRoom<T> room = room_of<T>(rows, thread);
    for (std::int64_t r = begin; r < end; ++r) attend(r, room);
  });
}

}  // namespace

void DecoderLayer::prepare(const DecodingRows& rows, const ParameterSpan& p,
                           LayerCache& cache) const {
  const PassContext& c = rows.pass.context;
  const at::Tensor& memory = rows.pass.memory;
  if (rows.kept_keys == 0) {
    cache.cross = cross_attention_.key_value(p).forward(c, memory);
    cross_attention_.normalize(c, p, cache.cross, 0, Attention::Part::kKeys, nullptr);
    return;
  }
  cache.next_key = 0;
  cache.cross = model::empty({rows.pass.batch.sentences * rows.kept_keys, 2 * memory.size(1)},
                             memory.options());
}

void DecoderLayer::move_on(const DecodingRows& rows, const ParameterSpan& p,
                           LayerCache& cache) const {
  const PassContext& c = rows.pass.context;
  const std::span<const std::int64_t> offsets = rows.pass.rows.memory_offsets();
  const runtime::PositionRange range = keys_seen(cross_rules_.scores, rows.step);
  // Counted by a plan too.
  using Rows = runtime::PlannedVector<std::int64_t>;
  Rows from{Rows::allocator_type(true)}, to{Rows::allocator_type(true)};
  const auto most = static_cast<std::size_t>(rows.pass.batch.sentences *
                                             std::min(rows.kept_keys, range.end - range.begin));
  from.reserve(most);
  to.reserve(most);
  for (std::int64_t b = 0; b < rows.pass.batch.sentences; ++b) {
    const std::int64_t first = offsets[static_cast<std::size_t>(b)];
    const std::int64_t count = offsets[static_cast<std::size_t>(b + 1)] - first;
    for (std::int64_t s = std::max(cache.next_key, range.begin); s < std::min(range.end, count);
         ++s) {
      from.push_back(first + s);
      to.push_back(b * rows.kept_keys + s % rows.kept_keys);
    }
  }
  cache.next_key = range.end;
  if (from.empty()) return;
  const at::Tensor& memory = rows.pass.memory;
  const std::int64_t count = std::ssize(from), width = memory.size(1);
  const at::Tensor states = model::empty({count, width}, memory.options());
  c.run(memory, [&]<typename T>(const Kernels<T>& k) {
    k(op::TakeRows<T>{.x = k.elements(memory),
                      .rows = from.data(),
                      .y = k.elements(states),
                      .count = count,
                      .width = width});
  });
  const at::Tensor made = cross_attention_.key_value(p).forward(c, states);
  cross_attention_.normalize(c, p, made, 0, Attention::Part::kKeys, nullptr);
  c.run(made, [&]<typename T>(const Kernels<T>& k) {
    k(op::SpreadRows<T>{.x = k.elements(made),
                        .rows = to.data(),
                        .y = k.elements(cache.cross),
                        .count = count,
                        .width = 2 * width});
  });
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
  self_attention_.normalize(c, p, qkv, 0, Attention::Part::kQueries, nullptr);
  self_attention_.normalize(c, p, qkv, width, Attention::Part::kKeys, nullptr);
  Attention::rotate(c, self_rules_, rows.places.const_data_ptr<std::int32_t>(), qkv,
                    runtime::RotationRule::Direction::kForward);
  at::Tensor out = model::empty({count, width}, x_RD.options());
  c.run(qkv, [&]<typename T>(const Kernels<T>& k) {
    T* kept = k.elements(cache.self);
    for (std::int64_t r = 0; r < count; ++r) {
      std::memcpy(kept + (rows.step % rows.kept_steps * rows.capacity + r) * pair,
                  k.elements(qkv) + r * 3 * width + width,
                  static_cast<std::size_t>(pair) * sizeof(T));
    }
    const runtime::PositionRange keys = self_rules_.scores.keys(rows.step, rows.step + 1);
    over_rows<T>(rows, count, [&](std::int64_t r, const AttendRoom<T>& room) {
      const std::int32_t* of_steps = rows.line(rows.step, r) + 1;
      for (std::int64_t t = keys.begin; t < keys.end; ++t) {
        const std::int64_t place = t % rows.kept_steps;
        room.pairs[t - keys.begin] = kept + (place * rows.capacity + of_steps[place]) * pair;
      }
      attend_one(AttendOne<T>{.query = k.elements(qkv) + r * 3 * width,
                              .pairs = room.pairs,
                              .first_key = keys.begin,
                              .keys = keys.end - keys.begin,
                              .heads = c.heads,
                              .width = width / c.heads,
                              .rule = self_rules_.scores,
                              .position = rows.step,
                              .scratch = room.scratch,
                              .out = k.elements(out) + r * width});
    });
  });
  return self_attention_.out(p).forward(c, out);
}

at::Tensor DecoderLayer::step_cross(const DecodingRows& rows, const ParameterSpan& p,
                                    const at::Tensor& x_RD, LayerCache& cache) const {
  if (rows.kept_keys > 0) move_on(rows, p, cache);
  const PassContext& c = rows.pass.context;
  const std::int64_t count = x_RD.size(0), width = x_RD.size(1);
  const at::Tensor query = cross_attention_.query(p).forward(c, x_RD);
  cross_attention_.normalize(c, p, query, 0, Attention::Part::kQueries, nullptr);
  at::Tensor out = model::empty({count, width}, x_RD.options());
  c.run(query, [&]<typename T>(const Kernels<T>& k) {
    const T* kept = k.elements(cache.cross);
    const std::span<const std::int64_t> offsets = rows.pass.rows.memory_offsets();
    over_rows<T>(rows, count, [&](std::int64_t r, const AttendRoom<T>& room) {
      const std::int64_t sentence = rows.sentence(r);
      const std::int64_t first = offsets[static_cast<std::size_t>(sentence)];
      const runtime::PositionRange keys = cross_rules_.scores.keys(
          rows.step, offsets[static_cast<std::size_t>(sentence + 1)] - first);
      for (std::int64_t s = keys.begin; s < keys.end; ++s)
        room.pairs[s - keys.begin] = kept + place_of(rows, sentence, first, s) * 2 * width;
      attend_one(AttendOne<T>{.query = k.elements(query) + r * width,
                              .pairs = room.pairs,
                              .first_key = keys.begin,
                              .keys = std::max<std::int64_t>(0, keys.end - keys.begin),
                              .heads = c.heads,
                              .width = width / c.heads,
                              .rule = cross_rules_.scores,
                              .position = rows.step,
                              .scratch = room.scratch,
                              .out = k.elements(out) + r * width});
    });
  });
  return cross_attention_.out(p).forward(c, out);
}

}  // namespace th::model
