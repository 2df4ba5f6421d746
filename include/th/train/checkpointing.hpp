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
#include "th/runtime/transport/control_calls.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

/// Saves the engine's state to checkpoints/step_…. A background save copies this rank's shard to
/// host buffers while training waits, and writes it in a thread of its own. At most one save is in
/// flight. The thread calls neither MPI nor LibTorch, and the main threads agree when the save is
/// complete. Any other save writes unit by unit, through a buffer of the largest unit's slice.
class CheckpointSaver {
 public:
  /// With kWait save() returns when the checkpoint is complete.
  enum class Mode { kWait, kBackground };
  /// `retention`: which checkpoints stay until the first save is complete.
  CheckpointSaver(runtime::ControlCalls& control, std::string checkpoints_folder,
                  io::Retention retention, Mode mode);
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Allocates and touches the staging buffers of background saves now, so that a later save waits
  /// only for copies. Throws MemoryError. Not collective.
  void reserve(const zero::ZeroEngine& engine);
  /// Bare names of checkpoints known to be damaged: keep_last does not count them.
  [[nodiscard]] const std::vector<std::string>& damaged() const noexcept {
    return retention_.damaged;
  }
  /// The best checkpoints, bare names.
  struct Best {
    std::vector<std::string> kept;     ///< these stay; the first that exists becomes `best`
    std::vector<std::string> dropped;  ///< these are deleted
  };
  /// Waits for an earlier save and begins one. `best` takes effect when this save is complete.
  /// Collective.
  void save(const zero::ZeroEngine& engine, io::CheckpointInfo info, Best best);
  /// Makes the file `best` name the best checkpoint, or removes it. Rank 0 alone.
  void name_best() const;
  /// Waits for the save in flight and publishes it. An error of any rank's writer is thrown on
  /// every rank. Collective.
  void finish();
  /// Whether this rank's writer still runs; when no rank's does, finish() costs nothing. Not
  /// collective.
  [[nodiscard]] bool busy() const noexcept { return thread_.joinable() && !done_.load(); }
  [[nodiscard]] bool in_flight() const noexcept { return thread_.joinable(); }

 private:
  void write_staged(const zero::FlatLayout& layout, const io::CheckpointInfo& info,
                    const std::string& folder);
  void write_by_units(const zero::ZeroEngine& engine, const io::CheckpointInfo& info,
                      const std::string& folder);
  void complete(const std::string& failure);

  runtime::ControlCalls& control_;
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

/// The newest complete checkpoint of a folder; null if there is none. The ranks share the work of
/// checking every checksum. For each damaged checkpoint that is skipped, `notes` gets a line and
/// `damaged` its bare name. Checkpoints of another run than `run` (rank 0's value counts; empty:
/// any run) are skipped too. Throws if there are only such ones, or if one has a newer format.
/// Collective.
[[nodiscard]] std::unique_ptr<io::CheckpointReader> open_latest(
    runtime::ControlCalls& control, const std::string& checkpoints_folder, std::string run,
    std::vector<std::string>& notes, std::vector<std::string>& damaged);

/// Throws CheckpointError if the checkpoint lacks a state of the engine's optimizer. Not
/// collective.
void require_states(const io::CheckpointReader& reader, const zero::ZeroEngine& engine);

/// Writes the average of the parameters, and of their moving averages, of checkpoints of one run,
/// as th_inspect average makes it, with one shard for each rank. Everything else comes from the
/// last checkpoint; `info` is that of the last one with the changes that an average needs. Values
/// are added in fp64 and rounded once, so they are the same at every rank count. The readers' CRCs
/// are checked. Throws CheckpointError on every rank. Collective.
void write_mean(runtime::ControlCalls& control, const zero::FlatLayout& layout,
                const std::vector<std::unique_ptr<io::CheckpointReader>>& readers,
                io::CheckpointInfo info, const std::string& checkpoints_folder);

/// kDecoding: the parameters and, if the engine has one, their moving average.
enum class LoadWhat { kParameters, kDecoding, kEverything };
enum class Checksums { kCheck, kCheckedBefore };
/// Loads parameters, or the optimizer's states too, of a checkpoint of any rank count and stage,
/// unit by unit through a buffer of the largest unit's slice. If the rank counts are equal, or this
/// is one rank, each file is read once; otherwise one of the ranks checks its CRC first. After an
/// error the engine's state is undefined. Collective.
void load_checkpoint(const io::CheckpointReader& reader, zero::ZeroEngine& engine,
                     runtime::ControlCalls& control, LoadWhat what,
                     Checksums checksums = Checksums::kCheck);

}  // namespace th::train
