#include "pass.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

namespace th::model {

at::Tensor Transformer::next_scores(ParameterSource& source, Pass& pass, const at::Tensor& memory) const {
  const std::int64_t length = pass.batch.target_length;
  const std::int64_t width = model_.d_model;
  const at::Tensor hidden = decode(source, pass, memory);
  at::Tensor last = at::empty({pass.batch.sentences, width}, hidden.options());
  pass.context.run(hidden, [&](auto element) {
    using T = decltype(element);
    for (std::int64_t b = 0; b < pass.batch.sentences; ++b) {
      std::memcpy(elements<T>(last) + b * width, elements<T>(hidden) + ((b + 1) * length - 1) * width, static_cast<std::size_t>(width) * sizeof(T));
    }
  });
  LayerNormTape tape;
  return project(pass, source, last, tape);
}

void Transformer::plan_decoding(ParameterSource& source, const data::Batch& batch) {
  Pass pass{batch, context(0.0, 0, false), false, false, {}, {}, {}, {}, {}};
  open_tied(source, pass);
  const at::Tensor memory = encode(source, pass);
  (void)next_scores(source, pass, memory);
}

std::vector<std::vector<std::int32_t>> Transformer::greedy(ParameterSource& source, const data::Batch& batch, std::int64_t max_length) {
  c10::InferenceMode no_grad;
  data::Batch work = batch;
  Pass pass{work, context(0.0, 0, false), false, false, {}, {}, {}, {}, {}};
  open_tied(source, pass);
  const at::Tensor memory = encode(source, pass);
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(batch.sentences));
  std::vector<bool> finished(out.size(), false);
  const std::int64_t limit = std::min(max_length, positions_.size(0) - 1);
  for (std::int64_t length = 1; length <= limit; ++length) {
    work.target_length = length;
    work.target_in.assign(static_cast<std::size_t>(batch.sentences * length), data::kBegin);
    for (std::size_t b = 0; b < out.size(); ++b) {
      for (std::size_t t = 0; t < out[b].size() && t + 1 < static_cast<std::size_t>(length); ++t) work.target_in[b * static_cast<std::size_t>(length) + t + 1] = out[b][t];
    }
    const at::Tensor best = next_scores(source, pass, memory).argmax(1);
    bool all = true;
    for (std::size_t b = 0; b < out.size(); ++b) {
      const std::int64_t id = best.data_ptr<std::int64_t>()[b];
      if (id == data::kEnd) finished[b] = true;
      if (!finished[b]) out[b].push_back(static_cast<std::int32_t>(id));
      all = all && finished[b];
    }
    if (all) break;
  }
  if (model_.tie_embeddings) source.close_forward(source_unit_);
  return out;
}

}  // namespace th::model
