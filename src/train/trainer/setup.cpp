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
#include "train/trainer/run_setup.hpp"

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

RunSetup::RunSetup(Session& session, const runtime::Communicator& node)
    : session_(session),
      run_(session.run),
      config_(session.run.config),
      collectives_(session.run.collectives),
      log_(session.run.log),
      state_(session.state),
      node_(node) {}

bool RunSetup::open() {
  log_.hold_warnings();
  run_.identity = make_identity(config_, run_.device);
  collectives_.control().broadcast(run_.identity, 0);
  if (config_.checkpoint.resume != config::Resume::kNone) {
    // A run that ends may still write a checkpoint, so the folder is taken before one is chosen.
    run_agreed(collectives_.control(), [&] {
      if (run_.is_root()) session_.output.take();
    });
    open_checkpoint();
  }
  if (is_complete()) return false;
  resolve_slots();
  run_.watchdog.enter("data", state_.step);
  open_data();
  run_.watchdog.enter("set-up", state_.step);
  const OverlapChoice overlap =
      resolve_overlap(config_, collectives_.control(), node_, run_.device.way());
  session_.facts.overlap = overlap.overlap;
  session_.facts.ranks_here = node_.size();
  session_.facts.cores_here = runtime::cores_of(node_);
  zero::PlanRequest request = plan_engine(overlap.overlap);
  // Nothing can refuse the deck any more: an earlier run's folder is moved for a run that begins.
  prepare_output();
  tell_choices(overlap, request.config);
  build_engine(std::move(request));
  open_audit();
  run_.watchdog.enter("resume", state_.step);
  resume();
  open_saver();
  if (session_.data.dataset.valid)
    session_.validator = std::make_unique<Validator>(session_.parts());
  print_sizes();
  return true;
}

void RunSetup::open_saver() {
  using Mode = CheckpointSaver::Mode;
  io::Retention retention;
  retention.keep_last = config_.checkpoint.keep_last;
  retention.newest = std::max<std::int64_t>(1, config_.checkpoint.average_last);
  if (retention.keep_last > 0)  // a mean to come needs them
    retention.keep_last = std::max(retention.keep_last, config_.checkpoint.average_last);
  retention.damaged = session_.resumed.damaged;
  retention.kept = session_.tracker.kept();
  session_.saver = std::make_unique<CheckpointSaver>(
      collectives_.control(), run_.checkpoints, std::move(retention),
      config_.checkpoint.async ? Mode::kBackground : Mode::kWait);
  run_agreed(collectives_.control(), [&] {
    if (config::writes_checkpoints(config_)) session_.saver->reserve(*session_.engine);
  });
}

void RunSetup::resolve_slots() {
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

void RunSetup::open_data() {
  session_.data = config::naming_keys(run_.deck, [&] {
    return open_training_data(config_, state_.micro_batches, collectives_.control(), node_,
                              session_.resumed.reader.get());
  });
  const data::Dataset& dataset = session_.data.dataset;
  run_agreed(collectives_.control(), [&] {
    if (session_.resumed.reader && dataset.train)
      io::require_same_tokenizers(config_, *session_.resumed.reader);
    // A forbidden word that the vocabulary does not have is told now, not after the training.
    if (dataset.target_tokenizer)
      (void)model::search_options(config_.decode, config_.run.seed, *dataset.target_tokenizer);
  });
  require_same_corpus();
  if (dataset.valid && !session_.finished()) {
    const std::string other =
        session_.tracker.compare_text(std::to_string(dataset.valid->content_hash()));
    if (!other.empty()) log_.info(other);
  }
  open_initial();
  resolve_ratio();
  if (dataset.valid || dataset.train)
    session_.probe.batch =
        make_probe_batch(dataset.valid ? *dataset.valid : *dataset.train, config_.data);
  session_.probe.hash = hash_of(session_.probe.batch);
  if (run_.is_root() && !session_.stopping.requests.warning().empty())
    log_.warn(session_.stopping.requests.warning());
  for (const std::string& warning : dataset.warnings) {
    if (run_.is_root()) log_.warn(warning);
  }
  session_.total_steps = schedule_steps(config_, *session_.data.source);
  require_schedule_fits(config_, session_.total_steps);
}

void RunSetup::require_same_corpus() {
  const data::Dataset& dataset = session_.data.dataset;
  const std::string corpus = dataset.train ? corpus_identity(*dataset.train, config_.data) : "";
  run_agreed(collectives_.control(), [&] {
    if (state_.corpus.empty() || state_.corpus == corpus) return;
    throw DeckError(
        "data.train_source and data.train_target have other lines than when the checkpoint was "
        "written; give the same files, or start a new run "
        "from its parameters with checkpoint.init_from");
  });
  state_.corpus = corpus;
}

void RunSetup::resolve_ratio() {
  if (!config::has_window(config_.model.cross_attention)) return;
  if (initial_ && state_.source_per_target == 0)
    state_.source_per_target = run_state_from_json(initial_->info().state_json).source_per_target;
  if (state_.source_per_target == 0) state_.source_per_target = session_.data.source_per_target;
  session_.data.source_per_target = state_.source_per_target;
}

void RunSetup::prepare_output() {
  run_agreed(collectives_.control(), [&] {
    if (!run_.is_root()) return;
    const fs::path folder = config_.run.output_dir;
    session_.output.prepare(state_,
                            session_.resumed.reader ? session_.resumed.reader->folder() : "");
    std::error_code code;
    if (config::writes_checkpoints(config_)) fs::create_directories(run_.checkpoints, code);
    errno = 0;
    std::ofstream out(folder / "resolved.in");
    out << config::resolved_text(run_.deck);
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
  run_agreed(collectives_.control(), [&] {
    if (!fs::exists(fs::path(config_.run.output_dir) / "resolved.in")) {
      throw DeckError("run.output_dir: " + config_.run.output_dir + " is not shared: " +
                      runtime::hostname() + " does not see what rank 0 wrote there");
    }
  });
  collectives_.control().broadcast(state_.run, 0);
  collectives_.control().broadcast(state_.parent, 0);
  run_.watchdog.report_also_to((fs::absolute(config_.run.output_dir) / "run.log").string());
}

void RunSetup::build_engine(zero::PlanRequest request) {
  const std::string transport = collectives_.description();
  session_.rss_before_model = runtime::rss_bytes();
  runtime::MemoryLedger::process().restart();
  runtime::MemoryLedger::device().restart();
  const runtime::MemoryScope tables(runtime::MemoryClass::kActivations);
  session_.model = std::make_unique<model::Transformer>(
      model::TransformerSpec{config_.model, session_.data.source_vocabulary,
                             session_.data.target_vocabulary, session_.data.longest,
                             session_.data.source_per_target},
      run_.device.gemm(), model::Arithmetic::kCompute, run_.device.compute());
  session_.engine = std::make_unique<zero::ZeroEngine>(
      request.config, *session_.model, collectives_, state_.micro_batches, run_.device.device());
  if (run_.is_root() && collectives_.description() != transport)
    log_.warn("Transport: " + collectives_.description());
  session_.model->record_on(session_.engine->flight_record());
  watch_engine();
  session_.memory = std::make_unique<MemoryWatch>(std::move(request));
}

void RunSetup::open_audit() {
  const std::int64_t every = config_.run.audit_steps;
  session_.audit = std::make_unique<Audit>(
      Audit::Parts{config_, *session_.model, *session_.engine, collectives_.control(),
                   *session_.data.source, session_.memory.get(), run_.device.place()});
  if (every == 0) return;
  log_.info("Audits: every " + (every == 1 ? "" : std::to_string(every) + " ") +
            (every == 1 ? "step" : "steps") + " one of " + std::to_string(state_.micro_batches) +
            " micro-batches is computed " +
            (collectives_.size() == 1 ? "twice" : "by a second rank as well"));
}

void RunSetup::watch_engine() {
  collectives_.follow(&session_.engine->communication());
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "flight_record.%05d.jsonl", collectives_.rank());
  const std::string path = (fs::absolute(config_.run.output_dir) / name.data()).string();
  std::vector<std::string> units;
  for (const model::UnitSpec& unit : session_.model->units()) units.push_back(unit.name);
  run_.watchdog.name_units(units);
  session_.engine->flight_record()->show_in(run_.watchdog.activity());
  run_.watchdog.set_dump(path.substr(0, path.rfind('.', path.size() - 7)) + ".*.jsonl",
                         [&engine = *session_.engine, path, units] {
                           std::ofstream out(path);
                           out << engine.flight_record()->text(units);
                           if (!out.flush()) throw CommunicationError(path + " can't be written");
                         });
  session_.engine_watch = std::shared_ptr<void>(nullptr, [&session = session_](void*) {
    session.run.watchdog.set_dump({}, {});
    session.engine->flight_record()->show_in(nullptr);
    session.run.collectives.follow(nullptr);
  });
}

void RunSetup::print_sizes() {
  const data::Dataset& dataset = session_.data.dataset;
  const zero::ZeroEngine& engine = *session_.engine;
  if (dataset.train) {
    log_.info("Dataset: " + std::to_string(dataset.train->size()) + " training pairs" +
              (dataset.valid ? ", " + std::to_string(dataset.valid->size()) + " for validation"
                             : std::string()) +
              (dataset.test ? ", " + std::to_string(dataset.test->size()) + " for the test"
                            : std::string()));
    for (const std::string& note : dataset.notes) log_.info(note);
    log_.info("Vocabulary: source " + std::to_string(dataset.source_tokenizer->size()) +
              ", target " + std::to_string(dataset.target_tokenizer->size()));
    if (dataset.valid && config_.train.label_smoothing > 0)
      log_.info(
          "The training loss holds label smoothing (train.label_smoothing), the validation "
          "loss does not: compare each with itself.");
  }
  log_.info("Parameters: " + std::to_string(engine.layout().parameter_count()));
  log_.info("ZeRO stage " + std::to_string(config_.zero.stage) + ", " +
            std::to_string(state_.micro_batches) + " slots a step in " +
            std::to_string(engine.rounds()) + " rounds, model state " +
            monitor::bytes_text(engine.buffers().use().model_state()) + " a rank");
  if (const zero::UnitPlaces& gathered = engine.buffers().gathered; !gathered.own.empty()) {
    log_.info("Stage 3: " + std::to_string(gathered.shared - 1) +
              " units gathered ahead, at most " + std::to_string(gathered.total) +
              " elements at a time");
  }
  if (zero::shares_by_node(config_))
    log_.info("Stage 3 by node: each node has all parameters once");
  log_.info("Identity: " + run_.identity);
}

}  // namespace th::train
