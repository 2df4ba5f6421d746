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
/// Creates an empty file, so that a read-only or full folder is named with errno's text. Throws
/// CheckpointError.
void require_creatable(const std::string& path);
/// "step_00001234".
[[nodiscard]] std::string step_name(std::int64_t step);
/// "mean_00001234": an average of checkpoints, the last of them of that step.
[[nodiscard]] std::string mean_name(std::int64_t step);
/// Makes an empty checkpoints_dir/.tmp_NAME and returns its path; what crashed saves left is
/// removed before. Rank 0 alone. Throws CheckpointError, also where less than `bytes` are free
/// then.
[[nodiscard]] std::string begin_folder(const std::string& checkpoints_dir, const std::string& name,
                                       std::int64_t bytes);
/// The same for a checkpoint of that step.
[[nodiscard]] std::string begin_checkpoint(const std::string& checkpoints_dir, std::int64_t step,
                                           std::int64_t bytes);
/// Gives a temporary folder its name, in the place of one that has it: fsync, rename. Rank 0 alone,
/// after every rank's files are written.
void publish_folder(const std::string& checkpoints_dir, const std::string& name);
/// Removes the temporary folder of a save that failed, as far as that can be done. Rank 0 alone,
/// when no rank writes any more.
void discard_checkpoint(const std::string& checkpoints_dir, std::int64_t step) noexcept;
/// The same of any folder that begin_folder() made.
void discard_folder(const std::string& checkpoints_dir, const std::string& name) noexcept;
/// Makes the temporary folder the newest checkpoint: fsync, rename, `latest` by rename. Rank 0
/// alone, after every rank's files are written.
void publish_checkpoint(const std::string& checkpoints_dir, std::int64_t step);
/// The files of a checkpoints folder that name one of its checkpoints, bare, with a newline.
inline constexpr const char *kLatest = "latest", *kBest = "best", *kFinal = "final";
/// Makes such a file name a checkpoint of the folder, by rename. Rank 0 alone.
void write_name(const std::string& checkpoints_dir, const std::string& file,
                const std::string& name);
/// What it names; empty where it is missing.
[[nodiscard]] std::string read_name(const std::string& checkpoints_dir, const std::string& file);
/// Removes it. Rank 0 alone.
void remove_name(const std::string& checkpoints_dir, const std::string& file);
/// Where `path` is a run's or a checkpoints folder that has a `final`, or one of the three files,
/// or one of their names below a run's folder: the checkpoint that is named. Else `path` as it is.
/// Throws CheckpointError where the file names what is not there.
[[nodiscard]] std::string named_checkpoint(const std::string& path);
/// The same without a look for `final`.
[[nodiscard]] std::string checkpoint_of_name_file(const std::string& path);
/// A run goes on from `checkpoint`, a path: where that is one of this folder and not the one that
/// `latest` names, it becomes so, and a later resume takes no checkpoint of what was left behind.
/// Whether that changed. Rank 0 alone.
bool go_on_from(const std::string& checkpoints_dir, const std::string& checkpoint);
/// Which checkpoints stay. Names are bare.
struct Retention {
  std::int64_t keep_last = 0;          ///< so many of the newest; 0: all
  std::vector<std::string> damaged{};  ///< are not counted among those
  std::vector<std::string> kept{};     ///< stay, however old
  std::vector<std::string> dropped{};  ///< go, unless they are among the `newest`
  std::int64_t newest = 1;
};
/// Of the checkpoint that `latest` names and those of earlier steps deletes what need not stay.
/// Later steps, of a run that was taken up before them, stay.
void remove_old_checkpoints(const std::string& checkpoints_dir, const Retention& retention);
/// Folders that may hold a checkpoint, newest first: the one that `latest` names, then those of
/// earlier steps. What is odd goes to `notes`, a line each.
[[nodiscard]] std::vector<std::string> checkpoint_candidates(const std::string& checkpoints_dir,
                                                             std::vector<std::string>& notes);
/// The newest complete checkpoint's folder, by sizes, not checksums; damage that was passed over
/// goes to `notes`, a line each. Empty when there is none. Throws CheckpointError where the newest
/// has a format that only a newer program reads.
[[nodiscard]] std::optional<std::string> find_latest(const std::string& checkpoints_dir,
                                                     std::vector<std::string>& notes);
/// Bytes that this user may still write below `dir`.
[[nodiscard]] std::int64_t free_bytes(const std::string& dir);
/// Throws CheckpointError when fewer than `bytes` are free below `dir`.
void require_free_space(const std::string& dir, std::int64_t bytes);

}  // namespace th::io
