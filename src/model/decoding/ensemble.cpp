#include "th/model/decoding/ensemble.hpp"

#include "model/decoding/step_scores.hpp"
#include "model/ops/decoding/decoding_kernels.hpp"
#include "model/ops/host_threads.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace th::model {

namespace {

/// Adds nothing to `best` and `sum` that could overflow: log of the sum of exp over models, one
/// after the other.
void add_log(double value, double& best, double& sum) {
  if (value <= best) {
    sum += std::exp(value - best);
    return;
  }
  sum = sum * std::exp(best - value) + 1;
  best = value;
}

/// The logarithms of the mean of probabilities of a row, whose logits are so many elements of each
/// model's from `first` on.
void write_mean(std::span<const at::Tensor> logits, std::int64_t first, std::int64_t columns,
                float* out) {
  std::vector<double> best(static_cast<std::size_t>(columns), -INFINITY), sum(best.size(), 0.0);
  std::vector<float> maxima(static_cast<std::size_t>(logit_blocks(columns)));
  for (const at::Tensor& of_model : logits) {
    with_element(of_model, [&](auto element) {
      using T = decltype(element);
      const T* x = elements<T>(of_model) + first;
      const RowNormalizer normalizer = normalizer_of(x, columns, maxima.data());
      if (!normalizer.finite)
        throw NumericsError(
            "decoding: the logits of a model of the ensemble are not finite; its parameters have "
            "overflowed or are damaged");
      for (std::size_t v = 0; v < best.size(); ++v)
        add_log(normalizer.log_probability(to_float(x[v])), best[v], sum[v]);
    });
  }
  const double models = std::log(static_cast<double>(logits.size()));
  for (std::size_t v = 0; v < best.size(); ++v)
    out[v] = static_cast<float>(best[v] + std::log(sum[v]) - models);
}

/// Of logits of the same ids.
StepLogits mean_of(std::span<const at::Tensor> logits,
                   std::vector<std::span<const std::int32_t>> ids) {
  const RowPlaces rows(logits.front(), ids);
  at::Tensor mean = model::empty(logits.front().sizes(), at::kFloat);
  float* out = mean.data_ptr<float>();
  over_threads(rows.size(), [&](std::int64_t begin, std::int64_t end, std::int64_t) {
    for (std::int64_t r = begin; r < end; ++r)
      write_mean(logits, rows.first(r), rows.columns(r), out + rows.first(r));
  });
  return {std::move(mean), std::move(ids)};
}

class Ensemble final : public StepDecoder {
 public:
  Ensemble(std::span<const EnsembleMember> members, const data::Batch& batch,
           std::int64_t rows_per_sentence, std::int64_t steps,
           const std::vector<Candidates>& candidates) {
    for (const EnsembleMember& member : members)
      decoders_.push_back(std::make_unique<IncrementalDecoder>(
          member.model, member.source, batch, rows_per_sentence, steps, candidates));
  }
  [[nodiscard]] StepLogits step(std::span<const std::int32_t> ids,
                                std::span<const std::int64_t> parents) override {
    std::vector<at::Tensor> logits;
    std::vector<std::span<const std::int32_t>> of_rows;
    for (const auto& decoder : decoders_) {
      StepLogits of_model = decoder->step(ids, parents);
      logits.push_back(std::move(of_model.values));
      of_rows = std::move(of_model.ids);
    }
    return mean_of(logits, std::move(of_rows));
  }

 private:
  std::vector<std::unique_ptr<IncrementalDecoder>> decoders_;
};

}  // namespace

std::unique_ptr<StepDecoder> make_ensemble(std::span<const EnsembleMember> members,
                                           const data::Batch& batch, std::int64_t rows_per_sentence,
                                           std::int64_t steps,
                                           const std::vector<Candidates>& candidates) {
  ensure(!members.empty(), "make_ensemble: no models");
  c10::InferenceMode no_grad;
  return std::make_unique<Ensemble>(members, batch, rows_per_sentence, steps, candidates);
}

std::vector<double> score_targets(std::span<const EnsembleMember> members,
                                  const data::Batch& batch) {
  c10::InferenceMode no_grad;
  std::vector<at::Tensor> logits;
  for (const EnsembleMember& member : members)
    logits.push_back(member.model.logits(member.source, batch));
  return target_scores(StepScores(mean_of(logits, {})), batch);
}

}  // namespace th::model
