#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/decoders/batch_decoder.hpp"
#include "app/decoders/loaded_model.hpp"
#include "app/stream/chunk.hpp"
#include "app/translate/prefixes.hpp"
#include "th/config/summarization.hpp"
#include "th/data/shortlist/shortlist.hpp"

namespace th::app {

using Ids = std::vector<std::int32_t>;

/// How the lines of a chunk are put together, and what is written of them.
struct TranslatorPlan {
  std::int64_t batch = 32;        ///< sentences of a batch
  std::int64_t batch_tokens = 0;  ///< source ids of a batch in its place
  bool numbered = false;          ///< --n-best: LINE<TAB>SCORE<TAB>TEXT
  bool alignment = false;
  bool replace_unknown = false;  ///< of word vocabularies: <unk> by the source word it looks at
  model::SearchOptions options;
  std::string prefix_name;  ///< of the file of prefixes; empty: lines have none
  LongestPrefix longest_prefix{};
  std::optional<config::SummaryWindow> window{};       ///< of --hierarchical
  std::shared_ptr<const data::Shortlist> shortlist{};  ///< null: all ids are candidates
};

/// Translates chunks, or scores them: lines to ids, batches of like length over all of the chunk,
/// and ids to lines.
class ChunkTranslator {
 public:
  /// `model` gives the tokenizers and aligns; `decoder` decodes. Both outlive it.
  ChunkTranslator(LoadedModel& model, BatchDecoder& decoder, const TranslatorPlan& plan);

  /// Ids of a line with its end, and whether they were cut to the positions that the model learned.
  struct Source {
    Ids ids;
    bool cut = false;
  };
  [[nodiscard]] Source source_of(const std::string& line) const;
  /// ChunkWork of translation, and of --hierarchical.
  [[nodiscard]] std::optional<ChunkResult> translate(const Chunk& chunk, const Stop& stop);
  /// ChunkWork of --score, whose targets are the lines beside the sources. Throws DataError for a
  /// target that the model has no positions for.
  [[nodiscard]] std::optional<ChunkResult> score(const Chunk& chunk, const Stop& stop);
  /// The hypotheses of sources, which end with kEnd, in their order; none of an empty one.
  /// `sentences`: one a source. Empty where stop() said so. `options`: those of the plan, or with a
  /// smaller beam and shorter translations.
  [[nodiscard]] std::optional<std::vector<std::vector<model::Hypothesis>>> decode(
      const std::vector<Ids>& sources, const std::vector<model::SentenceOptions>& sentences,
      const model::SearchOptions& options, const Stop& stop);
  [[nodiscard]] const TranslatorPlan& plan() const noexcept { return plan_; }

 private:
  /// ChunkWork of --hierarchical.
  [[nodiscard]] std::optional<ChunkResult> summarize(const Chunk& chunk, const Stop& stop);
  /// The same of a chunk's line; the result gets its number where it was cut.
  [[nodiscard]] Ids source_ids(const Chunk& chunk, std::size_t line, ChunkResult& result) const;
  /// Of a line's hypotheses.
  [[nodiscard]] std::string text_of(std::int64_t number, const std::string& source,
                                    const std::vector<model::Hypothesis>& hypotheses,
                                    std::span<const Ids> aligned) const;
  /// Of each hypothesis of each line the source tokens that its tokens look at, as
  /// model::align_targets() has them; nothing where they are not needed.
  [[nodiscard]] std::vector<std::vector<Ids>> align(
      const std::vector<Ids>& sources,
      const std::vector<std::vector<model::Hypothesis>>& hypotheses);
  /// Of sorted places, cut into batches.
  [[nodiscard]] std::vector<std::span<const std::size_t>> batches(
      std::span<const std::size_t> order, const std::vector<std::int64_t>& lengths) const;
  /// Places of what is not empty, by length.
  [[nodiscard]] static std::vector<std::size_t> by_length(const std::vector<std::int64_t>& lengths);

  LoadedModel& model_;
  BatchDecoder& decoder_;
  TranslatorPlan plan_;
};

}  // namespace th::app
