#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::io {

/// Reads a checkpoint of any rank count into any rank count. Not collective. Every failure is a
/// CheckpointError naming file or tensor.
class CheckpointReader {
 public:
  /// `path`: a checkpoint; one of the files latest, best and final, or its name below a run's
  /// folder; or a checkpoints folder or a run's folder, then the newest complete one (see notes()).
  explicit CheckpointReader(const std::string& path);
  [[nodiscard]] const CheckpointInfo& info() const noexcept { return info_; }
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }
  /// What was passed over while the newest complete checkpoint was looked for.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }
  /// The layout of the ranks that wrote it.
  [[nodiscard]] const zero::FlatLayout& layout() const noexcept { return layout_; }

  /// Fills `out` (layout.shard_total() elements) with `rank`'s flat shard of `what` ("parameters"
  /// or a state's name); padding becomes 0. Reads only the ranges needed; the CRC of each shard
  /// that is read whole is checked.
  void read_shard(const zero::FlatLayout& layout, std::int64_t rank, const std::string& what,
                  std::span<float> out) const;
  /// A whole tensor in row-major order, by name or alias.
  [[nodiscard]] std::vector<float> read_tensor(const std::string& what,
                                               const std::string& name) const;
  /// Elements [begin, begin + out.size()) of a tensor in row-major order; reads only the ranges
  /// needed, checks no CRC.
  void read_elements(const std::string& what, const std::string& name, std::int64_t begin,
                     std::span<float> out) const;
  /// Throws when names or shapes differ from `layout`'s, explained tensor by tensor.
  void require_same_tensors(const zero::FlatLayout& layout) const;
  /// Throws when a shard is missing, does not open, or has a wrong size; reads no data.
  void require_complete() const;
  /// Throws where the CRC of `what` in the file of `shard` is wrong; reads it once, through
  /// `buffer`.
  void require_checksums(std::int64_t shard, const std::string& what,
                         std::span<float> buffer) const;
  /// Ranks of `layout` that read their shards unit by unit check every CRC on the way: each file is
  /// read from end to end by one of them.
  [[nodiscard]] bool is_read_whole(const zero::FlatLayout& layout) const;
  /// Checks every shard, every checksum, and that each virtual dataset gives what the shards hold;
  /// a line for each problem.
  [[nodiscard]] std::vector<std::string> verify() const;
  /// "parameters" and the states' names.
  [[nodiscard]] std::vector<std::string> kinds() const;
  /// Index into layout().tensors() of a tensor or alias; throws when there is none.
  [[nodiscard]] std::int64_t tensor_index(const std::string& name) const;

 private:
  /// A run of a tensor in one old rank's file.
  struct Run {
    std::int64_t begin = 0, count = 0, rank = 0, file_offset = 0;
  };
  class Files;
  friend class ShardReader;
  void compare_views(std::vector<std::string>& problems) const;
  void require_shard(std::int64_t rank) const;
  void require_pieces(std::int64_t shard) const;
  void require_place(std::int64_t file, std::int64_t rank) const;
  void read_range(Files& files, std::int64_t tensor, std::int64_t begin,
                  std::span<float> out) const;

  std::vector<std::string> notes_;
  std::string folder_;
  CheckpointInfo info_;
  zero::FlatLayout layout_;
  std::map<std::string, std::int64_t> index_;
  std::vector<std::vector<Run>> runs_;
  std::vector<std::int64_t> totals_;
};

}  // namespace th::io
