#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace th::io {

/// fsyncs a file or a folder; throws CheckpointError with path and errno text.
void sync_path(const std::string& path);
/// Creates an empty file, so that a read-only or full folder is named with errno's text. Throws CheckpointError.
void require_creatable(const std::string& path);
/// "step_00001234".
[[nodiscard]] std::string step_name(std::int64_t step);
/// Makes (and empties) checkpoints_dir/.tmp_step_NNNNNNNN and returns its path. Rank 0 alone. Throws CheckpointError.
[[nodiscard]] std::string begin_checkpoint(const std::string& checkpoints_dir, std::int64_t step);
/// Makes the temporary folder the newest checkpoint: fsync, rename, `latest` by rename. Rank 0 alone, after every rank's files are written.
void publish_checkpoint(const std::string& checkpoints_dir, std::int64_t step);
/// Deletes all but the `keep_last` newest steps (0: keeps all); never the one that `latest` names.
void remove_old_checkpoints(const std::string& checkpoints_dir, std::int64_t keep_last);
enum class Depth { kSizes, kChecksums };
/// The newest complete checkpoint's folder; damage that was passed over goes to `notes`, a line each. Empty when there is none.
[[nodiscard]] std::optional<std::string> find_latest(const std::string& checkpoints_dir, std::vector<std::string>& notes, Depth depth = Depth::kSizes);
/// Bytes that this user may still write below `dir`.
[[nodiscard]] std::int64_t free_bytes(const std::string& dir);
/// Throws CheckpointError when fewer than `bytes` are free below `dir`.
void require_free_space(const std::string& dir, std::int64_t bytes);

}  // namespace th::io
