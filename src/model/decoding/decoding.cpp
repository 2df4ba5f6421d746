#include "th/model/decoding/decoding.hpp"

#include "model/blocks/stack.hpp"
#include "model/decoding/sentence_search.hpp"
#include "model/decoding/step_scores.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace th::model {

namespace {

/// The steps that are kept so that each of `steps` steps has itself and those before it that it or
/// a later one sees.
std::int64_t steps_kept(const runtime::ScoreRule& rule, std::int64_t steps) {
  std::int64_t most = 1;
  for (std::int64_t step = 0; step < steps; ++step)
    most = std::max(most, step + 1 - rule.oldest_key(step));
  return most;
}

/// The most keys that one of `steps` steps sees, of `longest`; 0 where all are made at once.
std::int64_t keys_kept(const runtime::ScoreRule& rule, std::int64_t steps, std::int64_t longest) {
  if (!rule.local()) return 0;
  std::int64_t most = 1;
  for (std::int64_t step = 0; step < steps; ++step) {
    const runtime::PositionRange seen = rule.keys(step, longest);
    most = std::max(most, seen.end - seen.begin);
  }
  return most;
}

}  // namespace

/// The walk through the units, and what the rows and layers keep.
struct IncrementalDecoder::State {
  State(const Transformer& model, ParameterSource& source, const data::Batch& batch)
      : pass{.batch = batch, .context = model.inference(), .sides = PackedRows::Sides::kSource},
        walk(source, &pass) {}

  Pass pass;
  UnitWalk walk;
  DecodingRows rows{.pass = pass};
  std::vector<LayerCache> caches;
  std::vector<Candidates> candidates;
};

IncrementalDecoder::IncrementalDecoder(const Transformer& model, ParameterSource& source,
                                       const data::Batch& batch, std::int64_t rows_per_sentence,
                                       std::int64_t steps, std::vector<Candidates> candidates)
    : model_(model), state_(std::make_unique<State>(model, source, batch)) {
  ensure(candidates.empty() || std::ssize(candidates) == batch.sentences,
         "IncrementalDecoder: candidates of other sentences than the batch's");
  ensure(steps <= model.longest(), "IncrementalDecoder: more steps than positions");
  ensure(model.device().memory == runtime::DeviceMemory::kHost,
         "IncrementalDecoder: decoding is the host's");
  State& s = *state_;
  ensure(candidates.empty() || s.pass.context.gemm->computes(),
         "IncrementalDecoder: a plan knows no candidates");
  s.candidates = std::move(candidates);
  for (const Candidates& of_sentence : s.candidates) s.rows.candidates.emplace_back(*of_sentence);
  s.rows.capacity = batch.sentences * rows_per_sentence;
  s.rows.steps = steps;
  const AttentionCuts& cuts = s.pass.context.cuts;
  s.rows.kept_steps = steps_kept(cuts.decoder, steps);
  const std::span<const std::int32_t> lengths = s.pass.rows.memory_lengths();
  const std::int64_t longest =
      lengths.empty() ? 1 : std::max(1, *std::max_element(lengths.begin(), lengths.end()));
  s.rows.kept_keys = keys_kept(cuts.cross, steps, longest);
  s.caches.resize(static_cast<std::size_t>(model.decoder().layers()));
  model.encode(s.walk, nullptr);
  s.rows.make_room(longest, s.pass.memory.size(1));
  model.decoder().prepare(s.walk, &s.rows, s.caches);
  if (s.rows.kept_keys == 0) s.pass.memory = at::Tensor();
  for (LayerCache& cache : s.caches) {
    cache.self = model::empty({s.rows.kept_steps, s.rows.capacity, cache.cross.size(1)},
                              cache.cross.options());
  }
}

IncrementalDecoder::~IncrementalDecoder() { state_->walk.release_forward(); }

StepLogits IncrementalDecoder::step(std::span<const std::int32_t> ids,
                                    std::span<const std::int64_t> parents) {
  State& s = *state_;
  const auto rows = std::ssize(ids);
  ensure(rows == std::ssize(parents) && rows <= s.rows.capacity && s.rows.step < s.rows.steps,
         "IncrementalDecoder: a step of another size than planned");
  follow(parents);
  if (s.pass.context.gemm->computes()) {
    std::copy(ids.begin(), ids.end(), s.rows.ids.data_ptr<std::int64_t>());
    std::fill_n(s.rows.places.data_ptr<std::int32_t>(), rows,
                static_cast<std::int32_t>(s.rows.step));
  }
  at::Tensor logits = model_.step(s.walk, &s.rows, s.caches);
  std::vector<std::span<const std::int32_t>> of_rows;
  for (std::int64_t r = 0; r < rows && !s.rows.candidates.empty(); ++r)
    of_rows.push_back(s.rows.candidates_of_row(r));
  ++s.rows.step;
  return {std::move(logits), std::move(of_rows)};
}

std::int64_t IncrementalDecoder::keys_of_step(std::int64_t step) const {
  const PassContext& c = state_->pass.context;
  const runtime::PositionRange range = keys_seen(c.cuts.cross, step);
  const std::int64_t made = step == 0 ? 0 : keys_seen(c.cuts.cross, step - 1).end;
  std::int64_t sum = 0;
  for (const std::int64_t count : state_->pass.rows.memory_lengths()) {
    sum += std::max<std::int64_t>(0, std::min(range.end, count) - std::max(made, range.begin));
  }
  return sum;
}

bool IncrementalDecoder::skip_to_most_keys() {
  DecodingRows& rows = state_->rows;
  if (rows.kept_keys == 0) return false;
  std::int64_t most = 0, at = rows.step;
  for (std::int64_t step = rows.step; step < rows.steps; ++step) {
    const std::int64_t keys = keys_of_step(step);
    if (keys > most) most = keys, at = step;
  }
  if (most == 0) return false;
  rows.step = at;
  if (at > 0) {
    const std::int64_t made = keys_seen(state_->pass.context.cuts.cross, at - 1).end;
    for (LayerCache& cache : state_->caches) cache.next_key = made;
  }
  return true;
}

void IncrementalDecoder::follow(std::span<const std::int64_t> parents) {
  DecodingRows& rows = state_->rows;
  const bool first = rows.step == 0;
  const std::int64_t before = first ? rows.pass.batch.sentences : rows.count;
  for (const std::int64_t parent : parents)
    ensure(parent >= 0 && parent < before, "IncrementalDecoder: a row continues none");
  rows.count = std::ssize(parents);
  if (!rows.pass.context.gemm->computes()) return;
  const std::int64_t kept = std::min(rows.step, rows.kept_steps);
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const std::int64_t parent = parents[static_cast<std::size_t>(r)];
    std::int32_t* line = rows.line(rows.step, r);
    if (first) {
      line[0] = static_cast<std::int32_t>(parent);
    } else {
      std::copy_n(rows.line(rows.step - 1, parent), 1 + kept, line);
    }
    line[1 + rows.step % rows.kept_steps] = static_cast<std::int32_t>(r);
  }
}

void plan_decoding(const Transformer& model, ParameterSource& source, const data::Batch& batch,
                   const SearchOptions& options) {
  const std::int64_t longest = std::min(batch.target_length, model.longest() - 1);
  IncrementalDecoder decoder(model, source, batch, options.beam, longest + 1);
  using Bytes = runtime::PlannedVector<std::byte>;
  Bytes searches{Bytes::allocator_type(true)};
  searches.reserve(static_cast<std::size_t>(batch.sentences) * sizeof(SentenceSearch));
  const auto take = [&](std::int64_t of_each) {
    using Ids = runtime::PlannedVector<std::int32_t>;
    using Parents = runtime::PlannedVector<std::int64_t>;
    const auto rows = static_cast<std::size_t>(batch.sentences * of_each);
    const Ids ids(rows, data::kBegin, Ids::allocator_type(true));
    Parents parents(rows, 0, Parents::allocator_type(true));
    for (std::size_t r = 0; r < rows; ++r) parents[r] = static_cast<std::int64_t>(r) / of_each;
    const at::Tensor logits = decoder.step(ids, parents).values;
    const ScoreRoom scores(RowPlaces(logits, {}));
    const SentenceSearch::Bytes each = SentenceSearch::bytes(options, logits.size(1), longest);
    Bytes search{Bytes::allocator_type(true)};
    search.reserve(static_cast<std::size_t>(batch.sentences * each.kept + each.of_step));
  };
  // First each sentence is one row; then all rows are there, where most keys are made beside them.
  take(1);
  if (longest < 1) return;
  (void)decoder.skip_to_most_keys();
  take(options.beam);
}

}  // namespace th::model
