#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace th::io {

/// fsyncs a file or a folder; throws CheckpointError with path and errno text.
void sync_path(const std::string& path);
/// Creates an empty file, so that a read-only or full folder is named with errno's text. Throws
/// CheckpointError.
void require_creatable(const std::string& path);
/// "step_00001234".
[[nodiscard]] std::string step_name(std::int64_t step);
/// Makes an empty checkpoints_dir/.tmp_step_NNNNNNNN and returns its path; what crashed saves left
/// is removed before. Rank 0 alone. Throws CheckpointError, also where less than `bytes` are free
/// then.
[[nodiscard]] std::string begin_checkpoint(const std::string& checkpoints_dir, std::int64_t step,
                                           std::int64_t bytes);
/// Removes the temporary folder of a save that failed, as far as that can be done. Rank 0 alone,
/// when no rank writes any more.
void discard_checkpoint(const std::string& checkpoints_dir, std::int64_t step) noexcept;
/// Makes the temporary folder the newest checkpoint: fsync, rename, `latest` by rename. Rank 0
/// alone, after every rank's files are written.
void publish_checkpoint(const std::string& checkpoints_dir, std::int64_t step);
/// Makes `latest` name a checkpoint of the folder, by rename. Rank 0 alone.
void name_latest(const std::string& checkpoints_dir, const std::string& name);
/// A run goes on from `checkpoint`, a path: where that is one of this folder and not the one that
/// `latest` names, it becomes so, and a later resume takes no checkpoint of what was left behind.
/// Whether that changed. Rank 0 alone.
bool go_on_from(const std::string& checkpoints_dir, const std::string& checkpoint);
/// Of the checkpoint that `latest` names and those of earlier steps deletes all but the `keep_last`
/// newest (0: keeps all). Later steps, of a run that was taken up before them, stay. `damaged`
/// (bare names) are not counted among those that are kept.
void remove_old_checkpoints(const std::string& checkpoints_dir, std::int64_t keep_last,
                            const std::vector<std::string>& damaged = {});
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
