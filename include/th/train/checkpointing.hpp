#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

/// Saves the engine's state to checkpoints/step_…. In the background: copies this rank's shard to
/// host buffers, which training waits for, and writes it in a thread of its own; one save is in
/// flight; the thread calls neither MPI nor LibTorch, completion is agreed by the main threads.
/// Else: unit by unit through a buffer of the largest unit's slice.
class CheckpointSaver {
 public:
  /// With kWait save() returns when the checkpoint is complete.
  enum class Mode { kWait, kBackground };
  /// `retention`: what stays until the first save is complete.
  CheckpointSaver(runtime::Collectives& collectives, std::string checkpoints_folder,
                  io::Retention retention, Mode mode);
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Takes the staging buffers of background saves now, touched, so that a later save waits for
  /// copies alone. Throws MemoryError. Not collective.
  void reserve(const zero::ZeroEngine& engine);
  /// Bare names of checkpoints known to be damaged: keep_last does not count them.
  [[nodiscard]] const std::vector<std::string>& damaged() const noexcept {
    return retention_.damaged;
  }
  /// The best checkpoints, bare names.
  struct Best {
    std::vector<std::string> kept;     ///< stay; the first of them that is there becomes `best`
    std::vector<std::string> dropped;  ///< go
  };
  /// Begins to save. Waits for an earlier save first. `best` counts when this one is complete.
  /// Collective.
  void save(const zero::ZeroEngine& engine, io::CheckpointInfo info, Best best);
  /// Makes the file `best` name the first of those that are kept, or removes it. Rank 0 alone.
  void name_best() const;
  /// Waits for the save in flight, and publishes it. Throws the error of any rank's writer on every
  /// rank. Collective.
  void finish();
  /// This rank's writer still runs (not collective); when no rank's does, finish() costs nothing.
  [[nodiscard]] bool busy() const noexcept { return thread_.joinable() && !done_.load(); }
  [[nodiscard]] bool in_flight() const noexcept { return thread_.joinable(); }

 private:
  void write_staged(const zero::FlatLayout& layout, const io::CheckpointInfo& info,
                    const std::string& folder);
  void write_by_units(const zero::ZeroEngine& engine, const io::CheckpointInfo& info,
                      const std::string& folder);
  void complete(const std::string& failure);

  runtime::Collectives& collectives_;
  std::string folder_;
  io::Retention retention_;
  Best next_;  ///< of the save in flight
  Mode mode_;
  std::thread thread_;
  std::atomic<bool> done_{false};
  std::string failure_;
  std::int64_t step_ = 0;
  std::vector<std::vector<float>> staged_;  ///< by state of the engine
};

/// The newest complete checkpoint of a folder, with every checksum checked, the ranks sharing the
/// work; null when there is none. What is damaged and passed over goes to `notes`, a line each, and
/// to `damaged` by its bare name; checkpoints of another run than `run` (rank 0's word; empty: any)
/// are passed over too. Throws where only those are there, or one of a newer format. Collective.
[[nodiscard]] std::unique_ptr<io::CheckpointReader> open_latest(
    runtime::Collectives& collectives, const std::string& checkpoints_folder, std::string run,
    std::vector<std::string>& notes, std::vector<std::string>& damaged);

/// Throws CheckpointError where a state of the engine's optimizer is not in the checkpoint. Not
/// collective.
void require_states(const io::CheckpointReader& reader, const zero::ZeroEngine& engine);

/// The average of the parameters, and of their moving averages, of checkpoints of one run, as
/// th_inspect average makes it, with everything else from the last: as checkpoints/`name`, a shard
/// a rank. `info`: of the last, with what differs for an average. Values are in fp64 and rounded
/// once, so that they are the same at every rank count. The readers' CRCs are checked. Throws
/// CheckpointError on every rank. Collective.
void write_mean(runtime::Collectives& collectives, const zero::FlatLayout& layout,
                const std::vector<std::unique_ptr<io::CheckpointReader>>& readers,
                io::CheckpointInfo info, const std::string& checkpoints_folder);

/// kDecoding: the parameters and, where the engine keeps one, their moving average.
enum class LoadWhat { kParameters, kDecoding, kEverything };
enum class Checksums { kCheck, kCheckedBefore };
/// Loads parameters, or the optimizer's states too, of a checkpoint of any rank count and stage,
/// unit by unit through a buffer of the largest unit's slice. Each file is read once where the rank
/// counts are equal or this is one rank; else its CRC is checked first, by one of the ranks. After
/// an error the engine's state is undefined. Collective.
void load_checkpoint(const io::CheckpointReader& reader, zero::ZeroEngine& engine,
                     runtime::Collectives& collectives, LoadWhat what,
                     Checksums checksums = Checksums::kCheck);

}  // namespace th::train
