#include "model/blocks/embedding.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <cmath>
#include <utility>

namespace th::model {

namespace {

/// The dropout block of embeddings; its sites are the sides.
constexpr std::uint64_t kEmbeddingBlock = 1000000;

float scale_of(std::int64_t width) { return std::sqrt(static_cast<float>(width)); }

}  // namespace

at::Tensor sinusoidal_positions(std::int64_t length, std::int64_t width) {
  at::Tensor table = model::empty({length, width}, at::TensorOptions().dtype(at::kFloat));
  float* p = table.data_ptr<float>();
  for (std::int64_t t = 0; t < length; ++t) {
    for (std::int64_t d = 0; d < width; d += 2) {
      const double angle =
          static_cast<double>(t) *
          std::exp(-std::log(10000.0) * static_cast<double>(d) / static_cast<double>(width));
      p[t * width + d] = static_cast<float>(std::sin(angle));
      if (d + 1 < width) p[t * width + d + 1] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

Embedding::Embedding(EmbeddingUnit unit, Side side, at::Tensor positions, std::int64_t longest)
    : unit_(std::move(unit)), side_(side), positions_(std::move(positions)), longest_(longest) {}

const float* Embedding::added() const { return positions_.defined() ? fp32(positions_) : nullptr; }

Dropout Embedding::site(const Pass& pass) const {
  return pass.context.site(kEmbeddingBlock, side_ == Side::kSource ? 0 : 1);
}

at::Tensor Embedding::forward(const Pass& pass, const ParameterSpan& p, const at::Tensor&,
                              Tape&) const {
  const bool source = side_ == Side::kSource;
  const std::int64_t rows = source ? pass.batch.source_tokens : pass.batch.target_tokens;
  const std::int64_t longest = source ? pass.batch.source_length : pass.batch.target_length;
  if (longest > longest_) throw InternalError("a sentence is longer than the model's positions");
  const at::Tensor& weight = p.values[unit_.weight.first];
  const std::int64_t width = weight.size(1);
  at::Tensor y = model::empty({rows, width}, weight.options());
  pass.context.run(weight, [&]<typename T>(const Kernels<T>& k) {
    k(op::Embed<T>{.weight = k.elements(weight),
                   .ids = source ? pass.arrays.source : pass.arrays.target_in,
                   .position = added(),
                   .places = source ? pass.arrays.source_places : pass.arrays.target_places,
                   .y = k.elements(y),
                   .rows = rows,
                   .width = width,
                   .scale = scale_of(width),
                   .dropout = site(pass)});
  });
  return y;
}

at::Tensor Embedding::backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                               const Tape&) const {
  pass.context.run(g_MD, [&]<typename T>(const Kernels<T>& k) {
    k(op::EmbedBackward<T>{
        .g = k.elements(g_MD),
        .ids = side_ == Side::kSource ? pass.arrays.source : pass.arrays.target_in,
        .g_weight = fp32(p.gradients[unit_.weight.first]),
        .rows = g_MD.size(0),
        .width = g_MD.size(1),
        .scale = scale_of(g_MD.size(1)),
        .dropout = site(pass)});
  });
  return {};
}

at::Tensor Embedding::step(const DecodingRows& rows, const ParameterSpan& p, const at::Tensor&,
                           LayerCache&) const {
  const at::Tensor& weight = p.values[unit_.weight.first];
  const std::int64_t width = weight.size(1), count = std::ssize(rows.ids);
  const std::vector<std::int32_t> places(rows.ids.size(), static_cast<std::int32_t>(rows.step));
  at::Tensor y = model::empty({count, width}, weight.options());
  rows.pass.context.run(weight, [&]<typename T>(const Kernels<T>& k) {
    k(op::Embed<T>{.weight = k.elements(weight),
                   .ids = rows.ids.data(),
                   .position = added(),
                   .places = places.data(),
                   .y = k.elements(y),
                   .rows = count,
                   .width = width,
                   .scale = scale_of(width),
                   .dropout = {}});
  });
  return y;
}

}  // namespace th::model
