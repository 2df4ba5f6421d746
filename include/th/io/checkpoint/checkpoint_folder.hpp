#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "th/base/error.hpp"

namespace th::io {

/// There is no checkpoint at a path, not even a damaged one.
class NoCheckpointError : public CheckpointError {
 public:
  using CheckpointError::CheckpointError;
};

/// fsyncs a file or a folder; throws CheckpointError with path and errno text.
void sync_path(const std::string& path);
/// Creates an empty file. Throws CheckpointError with errno's text if the folder is read-only or
/// full.
void require_creatable(const std::string& path);
/// "step_00001234".
[[nodiscard]] std::string step_name(std::int64_t step);
/// "mean_00001234": an average of checkpoints, of which the last has that step.
[[nodiscard]] std::string mean_name(std::int64_t step);
/// Removes what crashed saves left, makes an empty checkpoints_dir/.tmp_NAME and returns its path.
/// Rank 0 alone. Throws CheckpointError, also if fewer than `bytes` are free after that.
[[nodiscard]] std::string begin_folder(const std::string& checkpoints_dir, const std::string& name,
                                       std::int64_t bytes);
/// The same for a checkpoint of that step.
[[nodiscard]] std::string begin_checkpoint(const std::string& checkpoints_dir, std::int64_t step,
                                           std::int64_t bytes);
/// Gives a temporary folder its name by fsync and rename, and replaces a folder of that name. Rank
/// 0 alone, after every rank's files are written.
void publish_folder(const std::string& checkpoints_dir, const std::string& name);
/// Removes the temporary folder of a failed save, as far as possible. Rank 0 alone, when no rank
/// writes any more.
void discard_checkpoint(const std::string& checkpoints_dir, std::int64_t step) noexcept;
/// The same for any folder that begin_folder() made.
void discard_folder(const std::string& checkpoints_dir, const std::string& name) noexcept;
/// Makes the temporary folder the newest checkpoint: fsync, rename, `latest` by rename. Rank 0
/// alone, after every rank's files are written.
void publish_checkpoint(const std::string& checkpoints_dir, std::int64_t step);
/// The files of a checkpoints folder that hold the bare name of one of its checkpoints, with a
/// newline.
inline constexpr const char *kLatest = "latest", *kBest = "best", *kFinal = "final";
/// Makes such a file name the checkpoint `name`, by rename. Rank 0 alone.
void write_name(const std::string& checkpoints_dir, const std::string& file,
                const std::string& name);
/// The name in such a file; empty if the file is missing.
[[nodiscard]] std::string read_name(const std::string& checkpoints_dir, const std::string& file);
/// Removes such a file. Rank 0 alone.
void remove_name(const std::string& checkpoints_dir, const std::string& file);
/// The checkpoint that `path` stands for. It may be a run's folder or a checkpoints folder that has
/// a `final`, one of the three files, or the name of one below a run's folder. Any other path is
/// returned unchanged. Throws CheckpointError if the named checkpoint is missing.
[[nodiscard]] std::string named_checkpoint(const std::string& path);
/// The same without a look for `final`.
[[nodiscard]] std::string checkpoint_of_name_file(const std::string& path);
/// Tells the folder that a run goes on from `checkpoint`, a path. If that is in this folder,
/// `latest` names it from now on, so that a later resume does not take a checkpoint of the steps
/// that were left behind. Returns whether `latest` changed. Rank 0 alone.
bool go_on_from(const std::string& checkpoints_dir, const std::string& checkpoint);
/// Which checkpoints stay. Names are bare.
struct Retention {
  std::int64_t keep_last = 0;          ///< number of newest checkpoints that stay; 0: all
  std::vector<std::string> damaged{};  ///< not counted in keep_last
  std::vector<std::string> kept{};     ///< these stay, however old
  std::vector<std::string> dropped{};  ///< these are deleted, unless they are among the `newest`
  std::int64_t newest = 1;
};
/// Deletes the checkpoints that need not stay, among the one that `latest` names and those of
/// earlier steps. Checkpoints of later steps stay; they belong to a run that was resumed before
/// them.
void remove_old_checkpoints(const std::string& checkpoints_dir, const Retention& retention);
/// Folders that may hold a checkpoint, newest first: the one that `latest` names, then those of
/// earlier steps. Adds a line to `notes` for everything odd.
[[nodiscard]] std::vector<std::string> checkpoint_candidates(const std::string& checkpoints_dir,
                                                             std::vector<std::string>& notes);
/// The folder of the newest complete checkpoint, judged by sizes, not checksums; nothing if there
/// is none. Adds a line to `notes` for each damaged checkpoint that it skips. Throws
/// CheckpointError if the newest has a format that only a newer program reads.
[[nodiscard]] std::optional<std::string> find_latest(const std::string& checkpoints_dir,
                                                     std::vector<std::string>& notes);
/// The bytes that this user can still write below `dir`.
[[nodiscard]] std::int64_t free_bytes(const std::string& dir);
/// Throws CheckpointError when fewer than `bytes` are free below `dir`.
void require_free_space(const std::string& dir, std::int64_t bytes);

}  // namespace th::io
