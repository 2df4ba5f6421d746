#include "th/model/decoding/decoding.hpp"

#include "model/blocks/pass.hpp"
#include "model/decoding/decoding_kernels.hpp"
#include "th/base/error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace th::model {

IncrementalDecoder::IncrementalDecoder(const Transformer& model, ParameterSource& source,
                                       const data::Batch& batch, std::int64_t rows_per_sentence,
                                       std::int64_t steps)
    : model_(model),
      source_(source),
      pass_(new Transformer::Pass{.batch = batch, .context = model.context(0.0, 0, false)}),
      capacity_(batch.sentences * rows_per_sentence),
      steps_(steps) {
  ensure(steps <= model.longest(), "IncrementalDecoder: more steps than positions");
  ensure(model.device().memory == ComputeDevice::Memory::kHost,
         "IncrementalDecoder: decoding is the host's");
  const std::int64_t width = model_.model_.d_model;
  model_.open_tied(source_, *pass_);
  {
    const at::Tensor memory = model_.encode(source_, *pass_);
    for (std::int64_t l = 0; l < model_.model_.num_decoder_layers; ++l) {
      const ParameterSpan p =
          ParameterSpan{source_.open_forward(model_.first_decoder_ + l).values, {}}.part(
              kCross, kAttention);
      cross_.push_back(linear(pass_->context, memory, p.values[0].narrow(0, width, 2 * width),
                              p.values[1].narrow(0, width, 2 * width)));
      source_.close_forward(model_.first_decoder_ + l);
    }
  }
  for (const at::Tensor& cross : cross_)
    self_.push_back(at::empty({steps, capacity_, 2 * width}, cross.options()));
}

IncrementalDecoder::~IncrementalDecoder() {
  if (model_.model_.tie_embeddings) source_.close_forward(model_.source_unit_);
}

at::Tensor IncrementalDecoder::step(std::span<const std::int32_t> ids,
                                    std::span<const std::int64_t> parents) {
  const auto rows = std::ssize(ids);
  ensure(rows == std::ssize(parents) && rows <= capacity_ && step_ < steps_,
         "IncrementalDecoder: a step of another size than planned");
  follow(parents);
  const std::int64_t width = model_.model_.d_model;
  const std::vector<std::int64_t> inputs(ids.begin(), ids.end());
  const std::vector<std::int32_t> places(ids.size(), static_cast<std::int32_t>(step_));
  const UnitTensors& target = source_.open_forward(model_.target_unit_);
  at::Tensor x = at::empty({rows, width}, target.values[0].options());
  pass_->context.run(x, [&]<typename T>(const Kernels<T>& k) {
    k(op::Embed<T>{.weight = k.elements(target.values[0]),
                   .ids = inputs.data(),
                   .position = model_.positions_.data_ptr<float>(),
                   .places = places.data(),
                   .y = k.elements(x),
                   .rows = rows,
                   .width = width,
                   .scale = std::sqrt(static_cast<float>(width))});
  });
  source_.close_forward(model_.target_unit_);
  for (std::int64_t l = 0; l < model_.model_.num_decoder_layers; ++l) {
    x = layer(l, source_.open_forward(model_.first_decoder_ + l), x);
    source_.close_forward(model_.first_decoder_ + l);
  }
  LayerNormTape tape;
  at::Tensor logits = model_.project(*pass_, source_, x, tape);
  ++step_;
  return logits;
}

void IncrementalDecoder::follow(std::span<const std::int64_t> parents) {
  std::vector<std::int64_t> sentence;
  std::vector<std::vector<std::int32_t>> lineage;
  for (const std::int64_t parent : parents) {
    const auto p = static_cast<std::size_t>(parent);
    const bool first = step_ == 0;
    ensure(p < (first ? static_cast<std::size_t>(pass_->batch.sentences) : sentence_.size()),
           "IncrementalDecoder: a row continues none");
    std::vector<std::int32_t> line;
    line.reserve(static_cast<std::size_t>(step_ + 1));
    if (!first) line = lineage_[p];
    line.push_back(static_cast<std::int32_t>(lineage.size()));
    sentence.push_back(first ? parent : sentence_[p]);
    lineage.push_back(std::move(line));
  }
  sentence_ = std::move(sentence);
  lineage_ = std::move(lineage);
}

at::Tensor IncrementalDecoder::layer(std::int64_t index, const UnitTensors& unit,
                                     const at::Tensor& x_RD) {
  const PassContext& c = pass_->context;
  const ParameterSpan p{unit.values, {}};
  ResidualTape tape;
  at::Tensor y = residual_forward(
      c, p.part(kDecoderNorm1, kNorm), x_RD, {}, tape,
      [&](const at::Tensor& h) { return self_attention(index, p.part(0, kAttention), h); });
  y = residual_forward(c, p.part(kDecoderNorm2, kNorm), y, {}, tape, [&](const at::Tensor& h) {
    return cross_attention(index, p.part(kCross, kAttention), h);
  });
  return residual_forward(c, p.part(kDecoderNorm3, kNorm), y, {}, tape, [&](const at::Tensor& h) {
    FeedForwardTape hidden;
    return feed_forward(c, p.part(kDecoderFeedForward, kFeedForward), h, {}, hidden);
  });
}

at::Tensor IncrementalDecoder::self_attention(std::int64_t index, const ParameterSpan& p,
                                              const at::Tensor& x_RD) {
  const PassContext& c = pass_->context;
  const std::int64_t rows = x_RD.size(0), width = x_RD.size(1), heads = c.heads, keys = step_ + 1;
  const at::Tensor qkv = linear(c, x_RD, p.values[0], p.values[1]);
  at::Tensor out = at::empty({rows, width}, x_RD.options());
  c.run(qkv, [&]<typename T>(const Kernels<T>& k) {
    auto* cache = k.elements(self_[static_cast<std::size_t>(index)]);
    const std::int64_t pair = 2 * width;
    for (std::int64_t r = 0; r < rows; ++r) {
      std::memcpy(cache + (step_ * capacity_ + r) * pair, k.elements(qkv) + r * 3 * width + width,
                  static_cast<std::size_t>(pair) * sizeof(*cache));
    }
    std::vector<float> scratch(
        static_cast<std::size_t>(attend_scratch(keys, heads, width / heads)));
    std::vector<std::add_const_t<std::remove_pointer_t<decltype(cache)>>*> pairs(
        static_cast<std::size_t>(keys));
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::vector<std::int32_t>& line = lineage_[static_cast<std::size_t>(r)];
      for (std::size_t t = 0; t < pairs.size(); ++t)
        pairs[t] = cache + (static_cast<std::int64_t>(t) * capacity_ + line[t]) * pair;
      attend_one(AttendOne<T>{.query = k.elements(qkv) + r * 3 * width,
                              .pairs = pairs.data(),
                              .keys = keys,
                              .heads = heads,
                              .width = width / heads,
                              .rule = {runtime::ScoreRule::Kind::kCausal},
                              .position = step_,
                              .scratch = scratch.data(),
                              .out = k.elements(out) + r * width});
    }
  });
  return linear(c, out, p.values[2], p.values[3]);
}

at::Tensor IncrementalDecoder::cross_attention(std::int64_t index, const ParameterSpan& p,
                                               const at::Tensor& x_RD) {
  const PassContext& c = pass_->context;
  const data::Batch& batch = pass_->batch;
  const std::int64_t rows = x_RD.size(0), width = x_RD.size(1), heads = c.heads;
  const at::Tensor query =
      linear(c, x_RD, p.values[0].narrow(0, 0, width), p.values[1].narrow(0, 0, width));
  at::Tensor out = at::empty({rows, width}, x_RD.options());
  c.run(query, [&]<typename T>(const Kernels<T>& k) {
    const auto* cache = k.elements(cross_[static_cast<std::size_t>(index)]);
    std::vector<float> scratch(
        static_cast<std::size_t>(attend_scratch(batch.source_length, heads, width / heads)));
    std::vector<decltype(cache)> pairs;
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t sentence = sentence_[static_cast<std::size_t>(r)];
      const auto rows_of =
          pass_->rows.source_offsets().subspan(static_cast<std::size_t>(sentence), 2);
      const std::int64_t keys = rows_of[1] - rows_of[0];
      pairs.clear();
      for (std::int64_t row = rows_of[0]; row < rows_of[1]; ++row)
        pairs.push_back(cache + row * 2 * width);
      attend_one(AttendOne<T>{.query = k.elements(query) + r * width,
                              .pairs = pairs.data(),
                              .keys = keys,
                              .heads = heads,
                              .width = width / heads,
                              .position = step_,
                              .scratch = scratch.data(),
                              .out = k.elements(out) + r * width});
    }
  });
  return linear(c, out, p.values[2], p.values[3]);
}

void plan_decoding(const Transformer& model, ParameterSource& source, const data::Batch& batch,
                   std::int64_t beam) {
  const std::int64_t longest = std::min(batch.target_length, model.longest() - 1);
  IncrementalDecoder decoder(model, source, batch, beam, longest + 1);
  std::vector<std::int64_t> parents(static_cast<std::size_t>(batch.sentences * beam));
  for (std::size_t r = 0; r < parents.size(); ++r) parents[r] = static_cast<std::int64_t>(r) / beam;
  (void)decoder.step(std::vector<std::int32_t>(parents.size(), data::kBegin), parents);
}

}  // namespace th::model
