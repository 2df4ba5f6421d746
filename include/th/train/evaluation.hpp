#pragma once

#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/corpus.hpp"
#include "th/model/transformer.hpp"
#include "th/runtime/collectives.hpp"
#include "th/zero/engine.hpp"

namespace th::train {

/// Cross entropy per target token of a corpus, without dropout or smoothing: natural logarithm. Batches are dealt to the ranks and their sums
/// added in batch order, so that the value does not depend on the rank count. Collective.
[[nodiscard]] double evaluate_loss(model::Transformer& model, zero::ZeroEngine& engine, runtime::Collectives& collectives,
                                   const data::ParallelCorpus& corpus, const config::DataSection& data);

/// Greedy translations of a corpus' source sentences, in line order, on every rank. Collective.
[[nodiscard]] std::vector<std::string> translate_corpus(model::Transformer& model, zero::ZeroEngine& engine, runtime::Collectives& collectives,
                                                        const data::ParallelCorpus& corpus, const data::Tokenizer& target,
                                                        const config::RunConfig& config);

/// Corpus BLEU-4 of tokenised lines with brevity penalty (Papineni et al. 2002), in percent, tokens split at ASCII white space.
[[nodiscard]] double corpus_bleu(const std::vector<std::string>& hypotheses, const std::vector<std::string>& references);

}  // namespace th::train
