#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "th/data/batch.hpp"
#include "th/model/blocks/transformer.hpp"

// Decoding with a Transformer's parameters on one rank. Nothing here is collective, and ranks may
// take different numbers of steps, so the source must hold all parameters
// (zero/resident_source.hpp). B sentences, R rows: the live hypotheses of all sentences, D width, V
// target vocabulary.
namespace th::model {

/// The ids that a sentence's translation may have, ascending, each once; null: all ids.
using Candidates = std::shared_ptr<const std::vector<std::int32_t>>;

/// The logits of the next ids of R rows: [R, V], or for each row those of some ids.
struct StepLogits {
  // NOLINTNEXTLINE(google-explicit-constructor)
  StepLogits(at::Tensor of_all) : values(std::move(of_all)) {}
  StepLogits(at::Tensor chosen, std::vector<std::span<const std::int32_t>> of)
      : values(std::move(chosen)), ids(std::move(of)) {}

  at::Tensor values;  ///< [R, V] of any element type; of some ids fp32, row after row
  /// The ids of each row, ascending; empty: all. They live as long as the decoder.
  std::vector<std::span<const std::int32_t>> ids;
};

/// Gives a search its logits, a position at a time.
class StepDecoder {
 public:
  virtual ~StepDecoder() = default;
  /// Row r has the decoder input ids[r]. It continues row parents[r] of the step before, or in the
  /// first step begins sentence parents[r]. Returns the logits of the next ids.
  [[nodiscard]] virtual StepLogits step(std::span<const std::int32_t> ids,
                                        std::span<const std::int64_t> parents) = 0;
};

/// The decoder, one position at a time. Keys and values of cross attention are computed once from
/// the encoder's result; those of self attention are stored step by step. Rows may leave, branch
/// and change places from step to step: a row names the row from which it goes on, and stored keys
/// are looked up along that line and never moved. It computes in the parameters' type, with
/// attention sums in fp32.
class IncrementalDecoder final : public StepDecoder {
 public:
  /// Encodes the batch's sources. At most `rows_per_sentence` * B rows a step and `steps` steps, at
  /// most model.longest(): memory is taken for all of them at once. `source` and `batch` are used
  /// until the decoder's end. `candidates`, by sentence: logits are only those of the row's
  /// sentence's candidates; empty: of all ids.
  IncrementalDecoder(const Transformer& model, ParameterSource& source, const data::Batch& batch,
                     std::int64_t rows_per_sentence, std::int64_t steps,
                     std::vector<Candidates> candidates = {});
  ~IncrementalDecoder() override;
  IncrementalDecoder(const IncrementalDecoder&) = delete;
  IncrementalDecoder& operator=(const IncrementalDecoder&) = delete;

  /// Without data (Arithmetic::kShapesOnly) it allocates and frees the same tensors.
  [[nodiscard]] StepLogits step(std::span<const std::int32_t> ids,
                                std::span<const std::int64_t> parents) override;

  /// For a plan, without data: skips to the later step that makes most keys of encoder states, as
  /// if the steps before it had been taken. False if no later step makes any, because the rule of
  /// cross attention is full or the sources are at their ends.
  [[nodiscard]] bool skip_to_most_keys();

 private:
  struct State;
  /// Encoder states of which a step makes keys, of all sentences.
  [[nodiscard]] std::int64_t keys_of_step(std::int64_t step) const;
  /// Gives each row the sentence and the line of its parent.
  void follow(std::span<const std::int64_t> parents);

  const Transformer& model_;
  std::unique_ptr<State> state_;
};

/// The options of a search, for every sentence (docs/decoding.md).
struct SearchOptions {
  std::int64_t beam = 1;          ///< N, live hypotheses a sentence; 1: greedy
  double length_penalty = 1.0;    ///< alpha, at least 0
  std::int64_t max_length = 100;  ///< ids of the longest translation, the end not counted
  std::int64_t best = 1;          ///< hypotheses to return, at most N
  config::LengthNormalization length_normalization = config::LengthNormalization::kGnmt;
  std::int64_t min_length = 0;       ///< ids before the end may come
  std::int64_t no_repeat_ngram = 0;  ///< ids of an n-gram that comes once at most; 0: any
  /// Sequences of ids, each of at least one and without the end, that never come.
  std::vector<std::vector<std::int32_t>> forbidden = {};
  bool sampling = false;     ///< N independent draws in place of a search
  double temperature = 1.0;  ///< logits are divided by it, above 0
  std::int64_t top_k = 0;    ///< draws are of the k likeliest ids; 0: of all
  double top_p = 1.0;        ///< ... of the fewest likeliest that hold so much probability together
  std::uint64_t seed = 1;
};

/// The options of one sentence.
struct SentenceOptions {
  std::uint64_t number = 0;  ///< of the sentence in its corpus, by which draws are made
  /// Ids with which its translation begins, at most options.max_length and without the end. No rule
  /// applies to them, but their n-grams count for later ids.
  std::vector<std::int32_t> prefix = {};
  /// Only these ids have logits, and probability is over them. The end and the ids of the prefix
  /// must be among them. Either all sentences of a batch have candidates, or none has.
  Candidates candidates = nullptr;
};

/// The candidates by sentence; empty if no sentence has any.
[[nodiscard]] std::vector<Candidates> candidates_of(std::span<const SentenceOptions> sentences);

/// One translation: its ids without begin and end, log p of ids and end (natural logarithm), and
/// log p divided by the length penalty; of a draw, log p itself.
struct Hypothesis {
  std::vector<std::int32_t> ids;
  double log_prob = 0, score = 0;
};

/// kGnmt: ((5 + length) / 6)^alpha (Wu et al. 2016, equation 14); kPower: length^alpha. `length` in
/// ids, the end counted, from 1.
[[nodiscard]] double length_penalty(
    std::int64_t length, double alpha,
    config::LengthNormalization kind = config::LengthNormalization::kGnmt);

/// Beam search over the batch's sources (its targets are not looked at): the options.best
/// translations of each sentence, best first; fewer where there are not so many, one at least. Of a
/// sentence's N live hypotheses all continuations are ordered by log p; ties go to the better
/// hypothesis, then the smaller id. Those among the first N that end are finished, and kept by
/// score = log p / length_penalty(length); equal scores in the order of finishing. The first N that
/// do not end live on. At max_length ids (or those of the position table) the end is the only
/// continuation.
///
/// A live hypothesis leaves as soon as log p / length_penalty(longest) is no better than the last
/// of the options.best finished ones. log p only falls, the penalty of either kind only grows with
/// the length, as alpha is not negative, and rules only take continuations away: none of its
/// continuations could enter. A sentence ends when none is live: its result is what a search to
/// the longest length would give. With N = 1 the first end ends the sentence: greedy decoding.
/// Sentences and hypotheses that ended are no rows of the following steps.
///
/// Padding and the begin symbol, which no text shows, are never chosen, nor what the options bar: a
/// forbidden sequence's last id after the others, the end before min_length ids, the last id of an
/// n-gram that was there. A hypothesis that nothing may follow ends, whatever its length. log p
/// stays the model's own, over all tokens: it is what score_targets() gives for the same ids. Of a
/// sentence with candidates it is over those, whatever the other sentences of the batch have.
///
/// With options.sampling the N hypotheses of a sentence are independent draws: the id at position t
/// of draw d is that at u = hash(seed, number of the sentence, d, t) of the distribution that
/// temperature, top_k and top_p leave of what may follow. They are sorted by log p; equal ones may
/// be among them. One hypothesis stands for all draws up to the first id that is drawn.
///
/// Throws NumericsError for logits that are not finite. On the host a sentence's result is the same
/// bits whatever batch it stands in (Gemm::rowwise), where the processor has attention in one
/// kernel.
[[nodiscard]] std::vector<std::vector<Hypothesis>> translate(
    const Transformer& model, ParameterSource& source, const data::Batch& batch,
    const SearchOptions& options, std::span<const SentenceOptions> sentences = {});

/// translate(), a position at a time. `source` and `batch` are used until the search's end.
class BatchSearch {
 public:
  /// `sentences`: one a sentence of the batch; empty: numbered from 0, without a prefix.
  BatchSearch(const Transformer& model, ParameterSource& source, const data::Batch& batch,
              const SearchOptions& options, std::span<const SentenceOptions> sentences = {});
  /// The same over any decoder of `count` sentences, which takes options.beam rows a sentence and
  /// `longest` + 1 steps: a translation has at most `longest` ids.
  BatchSearch(std::unique_ptr<StepDecoder> decoder, std::int64_t count, std::int64_t longest,
              const SearchOptions& options, std::span<const SentenceOptions> sentences = {});
  ~BatchSearch();
  BatchSearch(const BatchSearch&) = delete;
  BatchSearch& operator=(const BatchSearch&) = delete;
  /// Whether no sentence has a live hypothesis.
  [[nodiscard]] bool done() const;
  /// Takes the next position by one walk through the decoder's units. Must not be called when
  /// done().
  void step();
  /// The results, as those of translate(); call it after the last step.
  [[nodiscard]] std::vector<std::vector<Hypothesis>> results() &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// log p of each sentence's target: the sum over the first target_lengths ids of target_out,
/// natural logarithm, by one pass over the given decoder inputs (teacher forcing). Throws
/// NumericsError for logits that are not finite.
[[nodiscard]] std::vector<double> score_targets(Transformer& model, ParameterSource& source,
                                                const data::Batch& batch);

/// Takes what translate() takes at its peak, for a plan: a model with Arithmetic::kShapesOnly, the
/// batch's sizes, target_length as max_length. To the byte where no hypothesis ends before the
/// last step but one, none is forced, and the search's own lists are below what a ledger counts:
/// all below a beam of 256, a vocabulary of 2^17 and translations of 4,000 ids, without top_p.
/// Else no less, but for forbidden sequences by the thousand.
void plan_decoding(const Transformer& model, ParameterSource& source, const data::Batch& batch,
                   const SearchOptions& options);

}  // namespace th::model
