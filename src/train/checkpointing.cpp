#include "th/train/checkpointing.hpp"

#include "th/base/error.hpp"
#include "th/io/checkpoint_folder.hpp"
#include "th/io/checkpoint_writer.hpp"
#include "th/runtime/memory_ledger.hpp"
#include "th/train/agreement.hpp"

#include <filesystem>

namespace th::train {

using State = zero::ZeroEngine::State;

CheckpointSaver::CheckpointSaver(runtime::Collectives& collectives, std::string checkpoints_folder, std::int64_t keep_last, bool background)
    : collectives_(collectives), folder_(std::move(checkpoints_folder)), keep_last_(keep_last), background_(background) {}

CheckpointSaver::~CheckpointSaver() {
  if (thread_.joinable()) thread_.join();
}

void CheckpointSaver::reserve(std::int64_t elements, bool moments) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  for (std::vector<float>* buffer : {&parameters_, &exp_avg_, &exp_avg_sq_}) {
    if (buffer == &parameters_ || moments) buffer->resize(static_cast<std::size_t>(elements));
  }
}

void CheckpointSaver::save(const zero::ZeroEngine& engine, io::CheckpointInfo info) {
  finish();
  step_ = info.step;
  run_agreed(collectives_, [&] {
    if (collectives_.rank() != 0) return;
    const std::int64_t states = engine.has_moments() ? 3 : 1;
    std::error_code ignored;  // a folder that can't be made is reported by the next call
    std::filesystem::create_directories(folder_, ignored);
    io::require_free_space(folder_, engine.layout().parameter_count() * 4 * states);
    (void)io::begin_checkpoint(folder_, step_);
  });
  const std::string temporary = folder_ + "/.tmp_" + io::step_name(step_);
  const auto shard = static_cast<std::size_t>(engine.layout().shard_total());
  reserve(static_cast<std::int64_t>(shard), engine.has_moments());
  engine.read_state(State::kParameters, parameters_);
  if (engine.has_moments()) {
    engine.read_state(State::kExpAvg, exp_avg_);
    engine.read_state(State::kExpAvgSq, exp_avg_sq_);
    info.state_names = {"exp_avg", "exp_avg_sq"};
  }
  done_ = false;
  failure_.clear();
  thread_ = std::thread([this, layout = engine.layout(), info = std::move(info), temporary] { write(layout, info, temporary); });
  if (background_) return;
  finish();
  for (std::vector<float>* buffer : {&parameters_, &exp_avg_, &exp_avg_sq_}) std::vector<float>().swap(*buffer);
}

void CheckpointSaver::write(const zero::FlatLayout& layout, const io::CheckpointInfo& info, const std::string& folder) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  try {
    std::vector<io::NamedShard> states;
    if (!info.state_names.empty()) states = {{"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}};
    io::write_shard(folder, collectives_.rank(), layout, parameters_, states);
    if (collectives_.rank() == 0) io::write_model_file(folder, layout, info);
  } catch (const std::exception& error) {
    failure_ = error.what();
  }
  done_ = true;
}

void CheckpointSaver::finish() {
  if (!thread_.joinable()) return;
  thread_.join();
  run_agreed(collectives_, [&] {
    if (!failure_.empty()) throw CheckpointError("step " + std::to_string(step_) + " could not be saved: " + failure_);
  });
  run_agreed(collectives_, [&] {
    if (collectives_.rank() != 0) return;
    io::publish_checkpoint(folder_, step_);
    if (keep_last_ > 0) io::remove_old_checkpoints(folder_, keep_last_);
  });
}

void load_checkpoint(const io::CheckpointReader& reader, zero::ZeroEngine& engine, runtime::Collectives& collectives, bool optimizer_state) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  const auto shard = static_cast<std::size_t>(engine.layout().shard_total());
  std::vector<float> parameters(shard), exp_avg, exp_avg_sq;
  run_agreed(collectives, [&] {
    reader.require_same_tensors(engine.layout());
    if (collectives.rank() == 0) {
      const std::vector<std::string> damage = reader.verify();
      if (!damage.empty()) throw CheckpointError(reader.folder() + " is damaged: " + damage.front());
    }
    reader.read_shard(engine.layout(), collectives.rank(), "parameters", parameters);
    if (!optimizer_state || !engine.has_moments()) return;
    exp_avg.resize(shard);
    exp_avg_sq.resize(shard);
    reader.read_shard(engine.layout(), collectives.rank(), "exp_avg", exp_avg);
    reader.read_shard(engine.layout(), collectives.rank(), "exp_avg_sq", exp_avg_sq);
  });
  engine.write_state(State::kParameters, parameters);
  if (exp_avg.empty()) return;
  engine.write_state(State::kExpAvg, exp_avg);
  engine.write_state(State::kExpAvgSq, exp_avg_sq);
}

}  // namespace th::train
