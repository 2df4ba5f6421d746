#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/config/file_keys.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"
#include "th/model/decoding/search_options.hpp"
#include "th/monitor/header.hpp"
#include "th/monitor/log_tail.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/runtime/transport/free_cores.hpp"
#include "th/train/agreement.hpp"
#include "th/train/audit/audit.hpp"
#include "th/train/evaluation.hpp"
#include "th/train/overlap.hpp"
#include "th/train/trainer.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <system_error>

// What happens before the first step: data, output folder, model, engine.
namespace th::train {

namespace fs = std::filesystem;

namespace {

/// The run's identity (contract.md): what the bits depend on beside the deck.
std::string make_identity(const config::RunConfig& config, const RunDevice& device) {
  std::string gemm = device.product_library();
  if (gemm.empty()) gemm = model::Gemm(device.gemm()).identity(config.precision.dtype);
  return "isa=" + instruction_set() + " gemm=" + gemm +
         " threads=" + std::to_string(config.run.threads) + " device=" + device.kind() +
         " torch=" + build_info().torch + " numerics=" + std::to_string(kNumericsRevision) +
         (config.run.attention == config::AttentionKernels::kProducts ? " attention=products" : "");
}

/// The first sentences of the first evaluation batch, as many as have kProbeTokens with their
/// padding, at least one: every layer takes part in their loss, and training waits for it at each
/// save.
data::Batch make_probe_batch(const data::ParallelCorpus& corpus,
                             const config::DataSection& config) {
  constexpr std::int64_t kProbeTokens = 128;
  const std::vector<std::int64_t> first = data::first_eval_sentences(corpus, config);
  const data::Batch batch = data::make_batch(corpus, first);
  const std::int64_t length = batch.source_length + batch.target_length;
  const std::int64_t sentences =
      std::clamp<std::int64_t>(kProbeTokens / length, 1, batch.sentences);
  return data::make_batch(corpus, std::span(first).first(static_cast<std::size_t>(sentences)));
}

/// Of the training lines, and where files are mixed by weights, of how many each has: a run goes on
/// with these alone.
std::string corpus_identity(const data::ParallelCorpus& corpus, const config::DataSection& config) {
  std::uint64_t hash = corpus.content_hash();
  if (!config.train_weights.empty() || config.train_temperature != 1) {
    for (const std::int64_t pairs : corpus.info().file_pairs)
      hash = hash_pair(hash, static_cast<std::uint64_t>(pairs));
  }
  return std::to_string(hash);
}

/// Of a batch's ids, which it depends on alone.
std::string hash_of(const data::Batch& batch) {
  const auto of = [](const auto& values) { return hash_bytes(std::as_bytes(std::span(values))); };
  return std::to_string(
      hash_pair(hash_pair(of(batch.source), of(batch.target_in)), of(batch.target_out)));
}

}  // namespace

Trainer::Trainer(const config::LoadedDeck& deck, const RunDevice& device,
                 runtime::WatchedCollectives& collectives, runtime::Watchdog& watchdog,
                 const runtime::Communicator& node, Log& log)
    : deck_(deck),
      config_(deck_.config),
      device_(device),
      collectives_(collectives),
      watchdog_(watchdog),
      log_(log),
      output_(config_, log),
      tracker_(config_),
      pace_(config_.monitor.log_every_steps),
      stop_(config_.run, collectives.rank() == 0),
      loss_scale_(config_.precision) {
  log_.hold_warnings();
  checkpoints_ = config_.run.output_dir + "/checkpoints";
  identity_ = make_identity(config_, device_);
  collectives_.broadcast(identity_, 0);
  if (config_.checkpoint.resume != config::Resume::kNone) {
    // A run that ends may still write a checkpoint, so the folder is taken before one is chosen.
    run_agreed(collectives_, [&] {
      if (is_root()) output_.take();
    });
    open_checkpoint();
  }
  completed_ = completed();
  if (completed_) return;
  resolve_slots();
  watchdog_.enter("data", state_.step);
  open_data(node);
  watchdog_.enter("set-up", state_.step);
  const OverlapChoice overlap = resolve_overlap(config_, collectives_, node, device_.way());
  facts_.overlap = overlap.overlap;
  facts_.ranks_here = node.size();
  facts_.cores_here = runtime::cores_of(node);
  zero::PlanRequest request = plan_engine(overlap.overlap, node.size());
  // Nothing can refuse the deck any more: an earlier run's folder is moved for a run that begins.
  prepare_output();
  build_engine(overlap, std::move(request));
  open_audit();
  watchdog_.enter("resume", state_.step);
  resume();
  open_saver();
  if (dataset_.valid) validator_ = std::make_unique<Validator>(parts());
  print_sizes();
}

void Trainer::open_saver() {
  using Mode = CheckpointSaver::Mode;
  io::Retention retention;
  retention.keep_last = config_.checkpoint.keep_last;
  retention.newest = std::max<std::int64_t>(1, config_.checkpoint.average_last);
  if (retention.keep_last > 0)  // a mean to come needs them
    retention.keep_last = std::max(retention.keep_last, config_.checkpoint.average_last);
  retention.damaged = damaged_;
  retention.kept = tracker_.kept();
  saver_ =
      std::make_unique<CheckpointSaver>(collectives_, checkpoints_, std::move(retention),
                                        config_.checkpoint.async ? Mode::kBackground : Mode::kWait);
  run_agreed(collectives_, [&] {
    if (config::writes_checkpoints(config_)) saver_->reserve(*engine_);
  });
}

void Trainer::resolve_slots() {
  const std::int64_t asked = config_.train.micro_batches;
  if (state_.micro_batches == 0) state_.micro_batches = asked > 0 ? asked : collectives_.size();
  if (asked > 0 && asked != state_.micro_batches) {
    throw DeckError("train.micro_batches is " + std::to_string(asked) +
                    ", the checkpoint's run has " + std::to_string(state_.micro_batches) +
                    " slots a step; keep it, or leave the key at 0");
  }
  if (state_.micro_batches < collectives_.size()) {
    throw DeckError("train.micro_batches: " + std::to_string(state_.micro_batches) +
                    " slots a step are fewer than the " + std::to_string(collectives_.size()) +
                    " ranks; start at most " + std::to_string(state_.micro_batches) +
                    " ranks or raise train.micro_batches");
  }
}

void Trainer::open_data(const runtime::Communicator& node) {
  data_ = config::naming_keys(deck_, [&] {
    return open_training_data(config_, state_.micro_batches, collectives_, node, reader_.get());
  });
  dataset_ = data_.dataset;
  source_ = data_.source;
  run_agreed(collectives_, [&] {
    if (reader_ && dataset_.train) io::require_same_tokenizers(config_, *reader_);
    // A forbidden word that the vocabulary does not have is told now, not after the training.
    if (dataset_.target_tokenizer)
      (void)model::search_options(config_.decode, config_.run.seed, *dataset_.target_tokenizer);
  });
  const std::string corpus = dataset_.train ? corpus_identity(*dataset_.train, config_.data) : "";
  run_agreed(collectives_, [&] {
    if (state_.corpus.empty() || state_.corpus == corpus) return;
    throw DeckError(
        "data.train_source and data.train_target have other lines than when the checkpoint was "
        "written; give the same files, or start a new run "
        "from its parameters with checkpoint.init_from");
  });
  state_.corpus = corpus;
  if (dataset_.valid && !finished()) {
    const std::string other = tracker_.compare_text(std::to_string(dataset_.valid->content_hash()));
    if (!other.empty()) log_.info(other);
  }
  open_initial();
  resolve_ratio();
  if (dataset_.valid || dataset_.train)
    probe_batch_ =
        make_probe_batch(dataset_.valid ? *dataset_.valid : *dataset_.train, config_.data);
  probe_hash_ = hash_of(probe_batch_);
  if (is_root() && !stop_.warning().empty()) log_.warn(stop_.warning());
  for (const std::string& warning : dataset_.warnings) {
    if (is_root()) log_.warn(warning);
  }
  total_steps_ = schedule_steps(config_, *source_);
  require_schedule_fits(config_, total_steps_);
}

void Trainer::resolve_ratio() {
  if (!config::has_window(config_.model.cross_attention)) return;
  if (initial_ && state_.source_per_target == 0)
    state_.source_per_target = run_state_from_json(initial_->info().state_json).source_per_target;
  if (state_.source_per_target == 0) state_.source_per_target = data_.source_per_target;
  data_.source_per_target = state_.source_per_target;
}

void Trainer::prepare_output() {
  run_agreed(collectives_, [&] {
    if (!is_root()) return;
    const fs::path folder = config_.run.output_dir;
    output_.prepare(state_, reader_ ? reader_->folder() : "");
    std::error_code code;
    if (config::writes_checkpoints(config_)) fs::create_directories(checkpoints_, code);
    errno = 0;
    std::ofstream out(folder / "resolved.in");
    out << config::resolved_text(deck_);
    if (!out.flush() && !code) code.assign(errno, std::generic_category());
    if (code)
      throw DeckError("run.output_dir: " + folder.string() +
                      " can't be written: " + code.message() +
                      "; give a folder that can, as in run.output_dir=/scratch/run1");
    const std::string log = (folder / "run.log").string();
    const std::int64_t torn = monitor::cut_torn_tail(log);
    log_.open_file(log);
    if (torn > 0)
      log_.warn(log + ": " + std::to_string(torn) +
                " bytes at its end were zero or a line that was not written whole; they are cut");
  });
  run_agreed(collectives_, [&] {
    if (!fs::exists(fs::path(config_.run.output_dir) / "resolved.in")) {
      throw DeckError("run.output_dir: " + config_.run.output_dir + " is not shared: " +
                      runtime::hostname() + " does not see what rank 0 wrote there");
    }
  });
  collectives_.broadcast(state_.run, 0);
  collectives_.broadcast(state_.parent, 0);
  watchdog_.report_also_to((fs::absolute(config_.run.output_dir) / "run.log").string());
}

zero::PlanRequest Trainer::plan_engine(config::Overlap overlap, int ranks_of_node) {
  zero::PlanRequest request;
  request.config = config_;
  request.config.comm.overlap = overlap;
  request.source_vocabulary = data_.source_vocabulary;
  request.target_vocabulary = data_.target_vocabulary;
  request.longest = data_.longest;
  request.source_per_target = data_.source_per_target;
  request.ranks = collectives_.size();
  request.slots = state_.micro_batches;
  request.saves = config::writes_checkpoints(config_);
  request.nodes = collectives_.nodes();
  request.shared_room = zero::agreed_shared_room(collectives_);
  request.messages = !collectives_.shares_memory();
  request.rank = collectives_.rank();
  request.memory = device_.memory();
  request.transport = device_.way();
  request.gemm = device_.gemm();
  request.fused_attention = device_.compute().fused_attention;
  const std::int64_t available = runtime::available_memory_bytes();
  zero::PlanRequest first = request;
  // Before the first step the batches of this epoch are known.
  const auto whose = config_.run.audit_steps > 0 ? data::StepSource::SlotsOf::kAllRanks
                                                 : data::StepSource::SlotsOf::kThisRank;
  run_agreed(collectives_, [&] { first.training = source_->largest_shapes(state_.epoch, whose); });
  decoding_ = choose_sharded_decoding(first, data_.dataset, collectives_, ranks_of_node, available);
  for (zero::PlanRequest* of : {&first, &request}) {
    of->config.decode.sharded = decoding_.sharded;
    of->decoded_together = decoding_.together;
  }
  run_agreed(collectives_,
             [&] { require_room(first, ranks_of_node, available, device_.free_memory()); });
  return request;
}

void Trainer::build_engine(const OverlapChoice& choice, zero::PlanRequest request) {
  log_.info(std::string("Communication beside compute: ") +
            (choice.overlap == config::Overlap::kOn ? "on (" : "off (") + choice.reason + ")");
  if (!decoding_.reason.empty()) {
    log_.info(std::string("Stage 3 decodes ") +
              (decoding_.sharded == config::Sharded::kOn ? "in lock step, parameters sharded ("
                                                         : "with all parameters on every rank (") +
              decoding_.reason + ")");
  }
  const config::RunConfig& config = request.config;
  const bool asked_ahead = std::any_of(
      deck_.entries.begin(), deck_.entries.end(),
      [](const auto& e) { return e.key == "zero.prefetch_units" && e.origin != "default"; });
  if (is_root() && asked_ahead && config.zero.stage == 3 &&
      config_.comm.overlap == config::Overlap::kAuto && choice.overlap == config::Overlap::kOff) {
    log_.warn(
        "zero.prefetch_units has no effect: communication has no core of its own, so a unit is "
        "gathered when it is needed");
  }
  const std::string transport = collectives_.description();
  rss_before_model_ = runtime::rss_bytes();
  runtime::MemoryLedger::process().restart();
  runtime::MemoryLedger::device().restart();
  const runtime::MemoryScope tables(runtime::MemoryClass::kActivations);
  model_ = std::make_unique<model::Transformer>(
      model::TransformerSpec{config_.model, data_.source_vocabulary, data_.target_vocabulary,
                             data_.longest, data_.source_per_target},
      device_.gemm(), model::Arithmetic::kCompute, device_.compute());
  engine_ = std::make_unique<zero::ZeroEngine>(config, *model_, collectives_, state_.micro_batches,
                                               device_.device());
  if (is_root() && collectives_.description() != transport)
    log_.warn("Transport: " + collectives_.description());
  model_->record_on(engine_->flight_record());
  watch_engine();
  memory_ = std::make_unique<MemoryWatch>(std::move(request));
}

void Trainer::open_audit() {
  const std::int64_t every = config_.run.audit_steps;
  audit_ = std::make_unique<Audit>(Audit::Parts{config_, *model_, *engine_, collectives_, *source_,
                                                memory_.get(), device_.place()});
  if (every == 0) return;
  log_.info("Audits: every " + (every == 1 ? "" : std::to_string(every) + " ") +
            (every == 1 ? "step" : "steps") + " one of " + std::to_string(state_.micro_batches) +
            " micro-batches is computed " +
            (collectives_.size() == 1 ? "twice" : "by a second rank as well"));
}

void Trainer::watch_engine() {
  collectives_.follow(&engine_->communication());
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "flight_record.%05d.jsonl", collectives_.rank());
  const std::string path = (fs::absolute(config_.run.output_dir) / name.data()).string();
  std::vector<std::string> units;
  for (const model::UnitSpec& unit : model_->units()) units.push_back(unit.name);
  watchdog_.name_units(units);
  engine_->flight_record()->show_in(watchdog_.activity());
  watchdog_.set_dump(path.substr(0, path.rfind('.', path.size() - 7)) + ".*.jsonl",
                     [this, path, units] {
                       std::ofstream out(path);
                       out << engine_->flight_record()->text(units);
                       if (!out.flush()) throw CommunicationError(path + " can't be written");
                     });
  engine_watch_ = std::shared_ptr<void>(nullptr, [this](void*) {
    watchdog_.set_dump({}, {});
    engine_->flight_record()->show_in(nullptr);
    collectives_.follow(nullptr);
  });
}

}  // namespace th::train
