#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/stream/journal.hpp"
#include "app/translate/chunk_translator.hpp"
#include "app/translate/request.hpp"

namespace th::app {

/// What every rank of a job has: the models, and what translates chunks with them.
class PreparedJob {
 public:
  /// Opens the checkpoints and reads their parameters. Throws CheckpointError; DeckError for what
  /// the command line and a deck can't do together, and for models of unlike vocabularies.
  explicit PreparedJob(const Request& request) : PreparedJob(request, Parameters::kRead) {}
  /// kLater: load() or load_sharded() follows.
  enum class Parameters { kRead, kLater };
  PreparedJob(const Request& request, Parameters parameters);
  void load();
  /// The one model's, over the ranks; its work is then collective. Collective.
  void load_sharded(runtime::Collectives& collectives);

  /// Translation, or --score.
  [[nodiscard]] ChunkWork work();
  /// What has to be said once on standard error.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }
  /// Throws what app::check_prefixes() throws of --prefix.
  void check_prefixes(const Request& request) const;
  [[nodiscard]] std::string model_identity() const;
  /// "avx512, mkl": instruction set and library of products.
  [[nodiscard]] std::string arithmetic() const;
  /// "the 100 positions that the model learned (…)".
  [[nodiscard]] std::string cut_to() const;
  /// Hypotheses of a line that were asked for.
  [[nodiscard]] std::int64_t best() const noexcept { return search_.options.best; }
  [[nodiscard]] ChunkTranslator& translator() noexcept { return *translator_; }
  [[nodiscard]] LoadedModel& model() noexcept { return *models_.front(); }

 private:
  void translate_with(std::unique_ptr<BatchDecoder> decoder);
  void check_lengths(const Request& request) const;
  [[nodiscard]] LongestPrefix longest_prefix() const;
  void check_memory(const Request& request) const;

  bool score_;
  std::vector<std::unique_ptr<LoadedModel>> models_;
  std::vector<std::string> notes_;
  ResolvedSearch search_;
  TranslatorPlan plan_;
  std::unique_ptr<BatchDecoder> decoder_;
  std::unique_ptr<ChunkTranslator> translator_;
};

}  // namespace th::app
