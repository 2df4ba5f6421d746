#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "th/io/checkpoint_info.hpp"
#include "th/io/checkpoint_reader.hpp"
#include "th/runtime/collectives.hpp"
#include "th/zero/engine.hpp"

namespace th::train {

/// Saves the engine's state to checkpoints/step_…: copies this rank's shard to host buffers, which training waits for, and writes it in a
/// thread of its own. One save is in flight. The thread calls neither MPI nor LibTorch; completion is agreed by the main threads.
class CheckpointSaver {
 public:
  /// `background` false: save() returns when the checkpoint is complete.
  CheckpointSaver(runtime::Collectives& collectives, std::string checkpoints_folder, std::int64_t keep_last, bool background);
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Takes the staging buffers now, touched, for a shard of `elements` and its moments: a later save waits for copies alone. Not collective.
  void reserve(std::int64_t elements, bool moments);
  /// Begins to save. Waits for an earlier save first. Collective.
  void save(const zero::ZeroEngine& engine, io::CheckpointInfo info);
  /// Waits for the save in flight, and publishes it. Throws its error on every rank. Collective.
  void finish();
  /// This rank's writer still runs (not collective); when no rank's does, finish() costs nothing.
  [[nodiscard]] bool busy() const noexcept { return thread_.joinable() && !done_.load(); }
  [[nodiscard]] bool in_flight() const noexcept { return thread_.joinable(); }

 private:
  void write(const zero::FlatLayout& layout, const io::CheckpointInfo& info, const std::string& folder);

  runtime::Collectives& collectives_;
  std::string folder_;
  std::int64_t keep_last_;
  bool background_;
  std::thread thread_;
  std::atomic<bool> done_{false};
  std::string failure_;
  std::int64_t step_ = 0;
  std::vector<float> parameters_, exp_avg_, exp_avg_sq_;
};

/// Loads parameters (and, with `optimizer_state`, the moments) of a checkpoint of any rank count and stage. Collective.
void load_checkpoint(const io::CheckpointReader& reader, zero::ZeroEngine& engine, runtime::Collectives& collectives, bool optimizer_state);

}  // namespace th::train
