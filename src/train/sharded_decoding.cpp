#include "th/train/sharded_decoding.hpp"

#include "th/base/error.hpp"
#include "th/model/decoding/idle_decoding.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/agreement.hpp"
#include "th/train/validation.hpp"
#include "th/train/watch/memory_watch.hpp"

#include <array>
#include <exception>
#include <utility>

namespace th::train {

namespace {

/// Positions between two agreements: units are gathered ahead over so many, and a rank goes along
/// idle for at most one less than so many after all are done.
constexpr std::int64_t kStepsBetweenLooks = 4;

}  // namespace

LockStep::LockStep(const model::Transformer& model, zero::DecodingSource& source,
                   runtime::ControlCalls& control, model::SearchOptions options, StopCheck stop)
    : model_(model),
      source_(source),
      control_(control),
      options_(std::move(options)),
      stop_(std::move(stop)) {}

LockStep::Next LockStep::look(bool live, const std::exception_ptr& failure) {
  std::vector<double> all(2 * static_cast<std::size_t>(control_.size()));
  control_.all_gather_doubles(std::array{live ? 1.0 : 0.0, failure ? 1.0 : 0.0}, all);
  bool any_live = false, any_failed = false;
  for (std::size_t r = 0; r < all.size(); r += 2) {
    any_live = any_live || all[r] != 0;
    any_failed = any_failed || all[r + 1] != 0;
  }
  if (any_failed) {
    run_agreed(
        control_,
        [&] {
          if (failure) std::rethrow_exception(failure);
        },
        "a smaller batch takes less");
  }
  if (!any_live) return Next::kEnd;
  return stop_ && stop_() ? Next::kStop : Next::kSteps;
}

std::optional<LockStep::Results> LockStep::translate(
    const data::Batch* batch, std::span<const model::SentenceOptions> sentences) {
  // They leave what is open, on a way out by an error too.
  std::optional<model::BatchSearch> search;
  std::optional<model::IdleDecoding> idle;
  source_.begin_batch();
  if (batch != nullptr && batch->sentences > 0) {
    search.emplace(model_, source_, *batch, options_, sentences);
  } else {
    idle.emplace(model_, source_);
  }
  std::exception_ptr failure;
  const auto live = [&] { return search && !failure && !search->done(); };
  for (Next next = look(live(), failure); next != Next::kEnd; next = look(live(), failure)) {
    if (next == Next::kStop) return std::nullopt;
    source_.begin_steps(kStepsBetweenLooks);
    for (std::int64_t step = 0; step < kStepsBetweenLooks; ++step) {
      if (!live()) {
        model::IdleDecoding::step(model_, source_);
        continue;
      }
      try {
        search->step();
      } catch (const NumericsError&) {  // of the logits: the step's units were all opened
        failure = std::current_exception();
      }
    }
  }
  return search ? std::move(*search).results() : Results{};
}

std::vector<double> LockStep::score(model::Transformer& model, const data::Batch* batch) {
  std::vector<double> scores;
  std::exception_ptr failure;
  if (batch != nullptr && batch->sentences > 0) {
    try {
      scores = model::score_targets(model, source_, *batch);
    } catch (const NumericsError&) {
      failure = std::current_exception();
    }
  } else {
    model.idle(source_, model::IdlePass::kForward);
  }
  (void)look(false, failure);
  return scores;
}

std::vector<zero::BatchShape> decoding_shapes(const config::RunConfig& config,
                                              const data::Dataset& dataset) {
  std::vector<zero::BatchShape> all;
  const auto keep = [&](const EvaluationBatches& batches) {
    for (const zero::BatchShape& shape : batches.shapes())
      data::keep_largest(all, decoding_shape(shape, config.decode.max_length));
  };
  if (dataset.valid) {
    const auto lines = translated_in_validation(config, dataset.valid->size());
    keep(EvaluationBatches(*dataset.valid, config.data, 0, 1, lines));
  }
  if (dataset.test) keep(EvaluationBatches(*dataset.test, config.data, 0, 1));
  return all;
}

ShardedChoice choose_sharded_decoding(const zero::PlanRequest& request,
                                      const data::Dataset& dataset, runtime::ControlCalls& control,
                                      std::int64_t ranks_here, std::int64_t available) {
  using config::Sharded;
  const Sharded asked = request.config.decode.sharded;
  if (!zero::zero_policy(request.config).shard_parameters) return {};
  const std::vector<zero::BatchShape> shapes = decoding_shapes(request.config, dataset);
  if (shapes.empty()) return {asked == Sharded::kOn ? Sharded::kOn : Sharded::kOff, "", 0};
  std::int64_t bytes = 0;  // of a rank, where they are too many
  std::int64_t together = 0;
  run_agreed(control, [&] {
    if (asked == Sharded::kOff) return;
    zero::PlanRequest sharded = request;
    sharded.decoding = shapes;
    together = zero::sentences_in_lock_step(sharded);
  });
  together = -control.maximum(-together);
  if (asked != Sharded::kAuto) return {asked, "as the deck says", together};
  run_agreed(control, [&] {
    zero::PlanRequest whole = request;
    whole.config.decode.sharded = Sharded::kOff;
    whole.training.clear();
    whole.decodes = true;
    whole.decoding = shapes;
    bytes = bytes_without_room(whole, ranks_here, available);
  });
  bytes = control.maximum(bytes);
  if (bytes == 0) return {Sharded::kOff, "auto: they fit", 0};
  return {Sharded::kOn,
          "auto: with all of them a rank would take " + monitor::bytes_text(bytes) +
              ", more than there is",
          together};
}

}  // namespace th::train
