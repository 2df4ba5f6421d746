#pragma once

#include <memory>
#include <span>
#include <vector>

#include "th/model/decoding/decoding.hpp"

namespace th::model {

/// A model of an ensemble with its parameters. All have the same vocabularies.
struct EnsembleMember {
  Transformer& model;
  ParameterSource& source;
};

/// Decodes with several models: logits are the logarithm of the mean of their probabilities, fp32.
/// `batch` and the members are used until its end. Rows, steps and candidates as those of
/// IncrementalDecoder.
[[nodiscard]] std::unique_ptr<StepDecoder> make_ensemble(
    std::span<const EnsembleMember> members, const data::Batch& batch,
    std::int64_t rows_per_sentence, std::int64_t steps,
    const std::vector<Candidates>& candidates = {});

/// score_targets() by the same probabilities.
[[nodiscard]] std::vector<double> score_targets(std::span<const EnsembleMember> members,
                                                const data::Batch& batch);

}  // namespace th::model
