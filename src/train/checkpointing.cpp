#include "th/train/checkpointing.hpp"

#include "th/base/error.hpp"
#include "th/config/state_names.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_writer.hpp"
#include "th/io/checkpoint/mean.hpp"
#include "th/io/checkpoint/shard_reader.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/observe/flight_record.hpp"
#include "th/train/agreement.hpp"

#include <algorithm>
#include <filesystem>
#include <new>
#include <span>
#include <sstream>
#include <string_view>
#include <utility>

namespace th::train {

using runtime::FlightRecord;

namespace {

/// Names of the engine's states but for the first, the parameters.
std::vector<std::string> names_of_optimizer_states(const zero::ZeroEngine& engine) {
  std::vector<std::string> out;
  for (const auto& [name, state] : engine.states().named())
    if (state != zero::State::kParameters) out.emplace_back(name);
  return out;
}

std::size_t largest_slice(const zero::FlatLayout& layout) {
  std::int64_t largest = 1;
  for (const zero::FlatLayout::Unit& unit : layout.units()) largest = std::max(largest, unit.shard);
  return static_cast<std::size_t>(largest);
}

/// The shards of a checkpoint are dealt to the ranks: each is checked by one.
void require_my_checksums(const io::CheckpointReader& reader, const runtime::ControlCalls& control,
                          std::span<const std::string> kinds, std::span<float> buffer) {
  for (std::int64_t shard = control.rank(); shard < reader.layout().ranks();
       shard += control.size()) {
    for (const std::string& kind : kinds) reader.require_checksums(shard, kind, buffer);
  }
}

}  // namespace

CheckpointSaver::CheckpointSaver(runtime::ControlCalls& control, std::string checkpoints_folder,
                                 io::Retention retention, Mode mode)
    : control_(control),
      folder_(std::move(checkpoints_folder)),
      retention_(std::move(retention)),
      mode_(mode) {}

CheckpointSaver::~CheckpointSaver() {
  if (thread_.joinable()) thread_.join();
}

void CheckpointSaver::name_best() const {
  for (const std::string& name : retention_.kept) {
    if (!std::filesystem::exists(folder_ + "/" + name + "/model.h5")) continue;
    if (io::read_name(folder_, io::kBest) != name) io::write_name(folder_, io::kBest, name);
    return;
  }
  io::remove_name(folder_, io::kBest);
}

void CheckpointSaver::reserve(const zero::ZeroEngine& engine) {
  if (mode_ == Mode::kWait) return;
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  const auto shard = static_cast<std::size_t>(engine.layout().shard_total());
  try {
    staged_.resize(engine.states().named().size());
    for (std::vector<float>& buffer : staged_) buffer.resize(shard);
  } catch (const std::bad_alloc&) {
    throw MemoryError(
        "no memory for the copy that checkpoint.async=true writes from; checkpoint.async=false "
        "does without");
  }
}

void CheckpointSaver::save(const zero::ZeroEngine& engine, io::CheckpointInfo info, Best best) {
  finish();
  next_ = std::move(best);
  step_ = info.step;
  info.state_names = names_of_optimizer_states(engine);
  for (std::size_t s = 0; s < info.state_names.size(); ++s) {
    if (engine.buffers().state_element(s) == 2) info.short_states.push_back(info.state_names[s]);
  }
  run_agreed(control_, [&] {
    reserve(engine);
    if (control_.rank() != 0) return;
    // There are more than that only where keep_last was lowered.
    io::remove_old_checkpoints(folder_, retention_);
    (void)io::begin_checkpoint(
        folder_, step_,
        engine.layout().parameter_count() *
            (4 * std::ssize(engine.states().named()) - 2 * std::ssize(info.short_states)));
  });
  const std::string temporary = folder_ + "/.tmp_" + io::step_name(step_);
  if (mode_ == Mode::kWait) {
    std::string failure;
    try {
      const FlightRecord::StepScope event(engine.flight_record(), FlightRecord::What::kWrite,
                                          FlightRecord::On::kSaves, step_);
      write_by_units(engine, info, temporary);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    return complete(failure);
  }
  for (std::size_t i = 0; const zero::NamedState& named : engine.states().named())
    engine.states().read(named.state, staged_[i++]);
  done_ = false;
  failure_.clear();
  thread_ = std::thread([this, layout = engine.layout(), info = std::move(info), temporary,
                         record = engine.flight_record()] {
    const FlightRecord::StepScope event(record, FlightRecord::What::kWrite,
                                        FlightRecord::On::kSaves, info.step);
    write_staged(layout, info, temporary);
  });
}

void CheckpointSaver::write_staged(const zero::FlatLayout& layout, const io::CheckpointInfo& info,
                                   const std::string& folder) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  try {
    std::vector<io::NamedShard> states;
    for (std::size_t i = 0; i < info.state_names.size(); ++i)
      states.push_back({info.state_names[i], staged_[i + 1]});
    io::write_shard(folder, control_.rank(), layout, staged_[0], states, info.short_states);
    if (control_.rank() == 0) io::write_model_file(folder, layout, info);
  } catch (const std::exception& error) {
    failure_ = error.what();
  }
  done_ = true;
}

void CheckpointSaver::write_by_units(const zero::ZeroEngine& engine, const io::CheckpointInfo& info,
                                     const std::string& folder) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  const zero::FlatLayout& layout = engine.layout();
  std::vector<float> slice(largest_slice(layout));
  io::ShardWriter writer(folder, control_.rank(), layout, info);
  for (const auto& [name, state] : engine.states().named()) {
    for (std::int64_t unit = 0; unit < std::ssize(layout.units()); ++unit) {
      const std::span<float> mine = std::span(slice).first(
          static_cast<std::size_t>(layout.units()[static_cast<std::size_t>(unit)].shard));
      engine.states().read_unit(state, unit, mine);
      writer.write_unit(name, unit, mine);
    }
  }
  writer.finish();
  if (control_.rank() == 0) io::write_model_file(folder, layout, info);
}

void CheckpointSaver::finish() {
  if (!thread_.joinable()) return;
  thread_.join();
  complete(failure_);
}

void CheckpointSaver::complete(const std::string& failure) {
  try {
    run_agreed(control_, [&] {
      if (!failure.empty())
        throw CheckpointError("step " + std::to_string(step_) + " could not be saved: " + failure);
    });
  } catch (const Error&) {
    if (control_.rank() == 0) io::discard_checkpoint(folder_, step_);
    throw;
  }
  run_agreed(control_, [&] {
    if (control_.rank() != 0) return;
    io::publish_checkpoint(folder_, step_);
    std::erase(retention_.damaged, io::step_name(step_));  // saved anew
    retention_.kept = std::move(next_.kept);
    retention_.dropped = std::move(next_.dropped);
    name_best();
    io::remove_old_checkpoints(folder_, retention_);
  });
}

std::unique_ptr<io::CheckpointReader> open_latest(runtime::ControlCalls& control,
                                                  const std::string& checkpoints_folder,
                                                  std::string run, std::vector<std::string>& notes,
                                                  std::vector<std::string>& damaged) {
  std::string candidates;  // a line each: what rank 0 sees
  if (control.rank() == 0) {
    for (const std::string& path : io::checkpoint_candidates(checkpoints_folder, notes))
      candidates += path + "\n";
  }
  control.broadcast(candidates, 0);
  control.broadcast(run, 0);
  std::istringstream lines(candidates);
  for (std::string path; std::getline(lines, path);) {
    std::unique_ptr<io::CheckpointReader> reader;
    bool newer_format = false;
    try {
      run_agreed(control, [&] {
        try {
          const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
          reader = std::make_unique<io::CheckpointReader>(path);
          std::vector<float> buffer(1 << 18);
          require_my_checksums(*reader, control, reader->kinds(), buffer);
        } catch (const NewerFormatError&) {
          newer_format = true;  // on every rank: all read the same file
          throw;
        }
      });
      const std::string of = reader->info().run;
      if (run.empty() || of.empty() || of == run) return reader;
      notes.push_back(path + " is of another run (" + of + ") than the folder's (" + run +
                      "): passed over");
    } catch (const Error& error) {
      if (error.exit_code() != ExitCode::kCheckpoint || newer_format) throw;
      notes.push_back(path + " is damaged: " + error.what());
      damaged.push_back(std::filesystem::path(path).filename().string());
    }
  }
  run_agreed(control, [&] {
    if (control.rank() != 0 || notes.empty()) return;
    std::string text = "checkpoint.resume=latest: " + checkpoints_folder +
                       " holds no complete checkpoint; move it away to start anew";
    for (const std::string& note : notes) text += "\n  " + note;
    throw CheckpointError(text);
  });
  return nullptr;
}

void require_states(const io::CheckpointReader& reader, const zero::ZeroEngine& engine) {
  const io::CheckpointInfo& there = reader.info();
  for (const std::string& name : names_of_optimizer_states(engine)) {
    if (name == config::kAverageName) continue;  // it can begin with the parameters
    if (there.has_state(name)) continue;
    throw CheckpointError(reader.folder() + " holds " +
                          (there.state_names.empty()
                               ? "parameters alone, no optimizer state"
                               : "no state " + name + " of the run's optimizer") +
                          ": checkpoint.init_from starts a new run from it");
  }
}

void load_checkpoint(const io::CheckpointReader& reader, zero::ZeroEngine& engine,
                     runtime::ControlCalls& control, LoadWhat what, Checksums checksums) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  const zero::FlatLayout& layout = engine.layout();
  std::vector<zero::NamedState> states = engine.states().named();
  if (what == LoadWhat::kParameters) states.resize(1);
  if (what == LoadWhat::kDecoding) {
    std::erase_if(states, [](const auto& state) {
      return state.state != zero::State::kParameters &&
             state.name != std::string_view(config::kAverageName);
    });
  }
  const bool averages = states.back().name == std::string_view(config::kAverageName) &&
                        !reader.info().has_state(config::kAverageName);
  if (averages) states.pop_back();
  std::vector<float> slice(largest_slice(layout));
  std::unique_ptr<io::ShardReader> shard;
  run_agreed(control, [&] {
    shard = std::make_unique<io::ShardReader>(reader, layout, control.rank());
    if (checksums == Checksums::kCheckedBefore || reader.is_read_whole(layout)) return;
    std::vector<std::string> kinds;
    for (const zero::NamedState& entry : states) kinds.emplace_back(entry.name);
    require_my_checksums(reader, control, kinds, slice);
  });
  std::exception_ptr failure;  // told at the end: the ranks go through the units together
  for (const auto& [name, state] : states) {
    for (std::int64_t unit = 0; unit < std::ssize(layout.units()); ++unit) {
      const std::span<float> mine = std::span(slice).first(
          static_cast<std::size_t>(layout.units()[static_cast<std::size_t>(unit)].shard));
      try {
        if (!failure) shard->read_unit(name, unit, mine);
      } catch (const std::exception&) {
        failure = std::current_exception();
      }
      engine.states().write_unit(state, unit, mine);
    }
  }
  run_agreed(control, [&] {
    if (failure) std::rethrow_exception(failure);
  });
  if (averages || what == LoadWhat::kParameters) engine.states().start_average();
}

namespace {

/// One rank's slices of a mean, unit by unit.
class MeanShards {
 public:
  MeanShards(const std::vector<std::unique_ptr<io::CheckpointReader>>& readers,
             const zero::FlatLayout& layout, std::int64_t rank)
      : layout_(layout), slice_(largest_slice(layout)) {
    for (const auto& reader : readers)
      shards_.push_back(std::make_unique<io::ShardReader>(*reader, layout, rank));
  }

  void write(io::ShardWriter& writer, const std::string& kind) {
    const bool mean = kind == "parameters" || kind == config::kAverageName;
    for (std::int64_t unit = 0; unit < std::ssize(layout_.units()); ++unit) {
      const auto size =
          static_cast<std::size_t>(layout_.units()[static_cast<std::size_t>(unit)].shard);
      const std::span<float> slice = std::span(slice_).first(size);
      if (mean)
        average(kind, unit, slice);
      else
        shards_.back()->read_unit(kind, unit, slice);
      writer.write_unit(kind, unit, slice);
    }
  }

 private:
  void average(const std::string& kind, std::int64_t unit, std::span<float> slice) {
    mean_.begin(slice.size());
    for (const auto& shard : shards_) {
      shard->read_unit(kind, unit, slice);
      mean_.add(slice);
    }
    mean_.write(slice);
  }

  const zero::FlatLayout& layout_;
  std::vector<float> slice_;
  io::Mean mean_;
  std::vector<std::unique_ptr<io::ShardReader>> shards_;
};

}  // namespace

void write_mean(runtime::ControlCalls& control, const zero::FlatLayout& layout,
                const std::vector<std::unique_ptr<io::CheckpointReader>>& readers,
                io::CheckpointInfo info, const std::string& checkpoints_folder) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  const std::string name = io::mean_name(info.step);
  const std::string temporary = checkpoints_folder + "/.tmp_" + name;
  const bool root = control.rank() == 0;
  info.world_size = control.size();
  info.alignment = layout.alignment();
  run_agreed(control, [&] {
    std::vector<float> buffer(largest_slice(layout));
    for (const auto& reader : readers)
      require_my_checksums(*reader, control, reader->kinds(), buffer);
    if (root)
      (void)io::begin_folder(checkpoints_folder, name,
                             layout.parameter_count() * (4 + 4 * std::ssize(info.state_names)));
  });
  try {
    run_agreed(control, [&] {
      MeanShards shards(readers, layout, control.rank());
      io::ShardWriter writer(temporary, control.rank(), layout, info);
      shards.write(writer, "parameters");
      for (const std::string& kind : info.state_names) shards.write(writer, kind);
      writer.finish();
      if (root) io::write_model_file(temporary, layout, info);
    });
  } catch (const Error&) {
    if (root) io::discard_folder(checkpoints_folder, name);
    throw;
  }
  run_agreed(control, [&] {
    if (root) io::publish_folder(checkpoints_folder, name);
  });
}

}  // namespace th::train
