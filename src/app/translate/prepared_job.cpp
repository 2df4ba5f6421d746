#include "app/translate/prepared_job.hpp"

#include "app/decoders/ensemble_decoder.hpp"
#include "app/decoders/lock_step_decoder.hpp"
#include "app/translate/require.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/model/products/gemm.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace th::app {

namespace {

void require_same_vocabulary(const LoadedModel& first, const LoadedModel& other) {
  const auto same = [&](const char* side, const data::Tokenizer& a, const data::Tokenizer& b) {
    require(a.saved() == b.saved(), "--ensemble: " + other.folder() + " has another " + side +
                                        " vocabulary than " + first.folder() +
                                        "; models of an ensemble need the same");
  };
  same("source", *first.tokenizers().source, *other.tokenizers().source);
  same("target", *first.tokenizers().target, *other.tokenizers().target);
}

std::string gib_text(double bytes) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.1f GiB", bytes / (1 << 30));
  return text.data();
}

}  // namespace

PreparedJob::PreparedJob(const Request& request, Parameters parameters) : score_(request.score) {
  for (const std::string& checkpoint : request.checkpoints) {
    models_.push_back(std::make_unique<LoadedModel>(checkpoint));
    require_same_vocabulary(*models_.front(), *models_.back());
    notes_.insert(notes_.end(), models_.back()->notes().begin(), models_.back()->notes().end());
  }
  const config::RunConfig& deck = model().config();
  for (const data::Tokenizer* tokenizer :
       {model().tokenizers().source.get(), model().tokenizers().target.get()}) {
    require(!request.replace_unknown || tokenizer->kind() == config::TokenizerKind::kWord,
            std::string("--replace-unknown is for vocabularies of words, and this model has ") +
                data::kind_name(tokenizer->kind()));
  }
  if (!score_) {
    const bool shows_scores = request.decoding.best || !request.serve.empty();
    search_ = resolve_search(deck, request.decoding, *model().tokenizers().target, shows_scores);
    for (const std::string& warning : search_.warnings) notes_.push_back("warning: " + warning);
    if (!request.serve.empty() && request.decoding.best && !search_.options.sampling)
      notes_.emplace_back("warning: --n-best has no effect: a request's own is at most the beam");
    check_lengths(request);
    check_memory(request);
  }
  for (const auto& model : models_) model->open(search_.options.max_length, request.choice);
  plan_ = TranslatorPlan{
      request.batch,
      request.batch_tokens,
      request.decoding.best.has_value(),
      request.alignment,
      request.replace_unknown,
      search_.options,
      request.decoding.prefix,
      longest_prefix(),
      request.hierarchical ? std::optional(config::summary_window(deck)) : std::nullopt};
  if (!request.shortlist.empty())
    plan_.shortlist = std::make_shared<const data::Shortlist>(data::Shortlist::read(
        request.shortlist, model().tokenizers(), request.checkpoints.front()));
  if (parameters == Parameters::kRead) load();
}

void PreparedJob::load() {
  for (const auto& model : models_) model->load();
  if (models_.size() == 1)
    translate_with(std::make_unique<ResidentDecoder>(model()));
  else
    translate_with(std::make_unique<EnsembleDecoder>(models_));
}

void PreparedJob::load_sharded(runtime::Collectives& collectives) {
  model().load_sharded(collectives);
  translate_with(std::make_unique<LockStepDecoder>(model(), collectives.control()));
}

void PreparedJob::translate_with(std::unique_ptr<BatchDecoder> decoder) {
  decoder_ = std::move(decoder);
  translator_ = std::make_unique<ChunkTranslator>(model(), *decoder_, plan_);
}

void PreparedJob::check_lengths(const Request& request) const {
  for (const auto& model : models_) {
    const std::string why = model->too_long(request.decoding.max_length.value_or(0));
    require(why.empty(), "--max-length: a target of " + why);
  }
}

LongestPrefix PreparedJob::longest_prefix() const {
  const auto ids = [](std::int64_t count) { return std::to_string(count) + " ids"; };
  LongestPrefix longest{search_.options.max_length, ""};
  longest.text = "the longest translation, " + ids(longest.ids) + "; raise --max-length";
  for (const auto& model : models_) {
    if (model->learned() == 0 || model->learned() - 1 > longest.ids) continue;
    longest.ids = model->learned() - 1;
    longest.text = "the longest translation, " + ids(longest.ids) + ", for the model learned " +
                   std::to_string(model->learned()) + " positions (data.max_length); shorten it";
  }
  return longest;
}

void PreparedJob::check_prefixes(const Request& request) const {
  app::check_prefixes(request.decoding.prefix, *models_.front()->tokenizers().target,
                      plan_.longest_prefix);
}

void PreparedJob::check_memory(const Request& request) const {
  constexpr std::int64_t kShortLine = 8;  // ids: a batch by tokens has not more sentences
  const config::RunConfig& deck = models_.front()->config();
  const auto sentences = static_cast<double>(
      request.batch_tokens > 0 ? std::max<std::int64_t>(1, request.batch_tokens / kShortLine)
                               : request.batch);
  const auto& options = search_.options;
  const auto element =
      static_cast<double>(element_size(request.choice.dtype.value_or(deck.precision.dtype)));
  const double cache = sentences * static_cast<double>(options.beam) *
                       static_cast<double>(options.max_length + 1) * 2 * element *
                       static_cast<double>(deck.model.d_model * deck.model.num_decoder_layers);
  const double memory =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  require(cache <= memory, "keys and values of a batch take " + gib_text(cache) +
                               " (batch x beam x max-length), and this machine has " +
                               gib_text(memory) + "; lower --batch, --beam or --max-length");
}

ChunkWork PreparedJob::work() {
  return [this](const Chunk& chunk, const Stop& stop) {
    return score_ ? translator_->score(chunk, stop) : translator_->translate(chunk, stop);
  };
}

std::string PreparedJob::model_identity() const {
  std::string text;
  for (const auto& model : models_) text += (text.empty() ? "" : "; ") + model->identity();
  return text;
}

std::string PreparedJob::arithmetic() const {
  const config::Gemm asked = models_.front()->config().run.gemm;
  return instruction_set() + ", " + model::gemm_name(model::resolve_gemm(asked));
}

std::string PreparedJob::cut_to() const {
  return "the " + std::to_string(models_.front()->learned()) +
         " positions that the model learned (the longer side of its deck's data.max_length)";
}

}  // namespace th::app
