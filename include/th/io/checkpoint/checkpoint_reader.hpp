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
/// CheckpointError that names file or tensor.
class CheckpointReader {
 public:
  /// `path` is a checkpoint; or one of the files latest, best and final, or its name below a run's
  /// folder; or a checkpoints folder or a run's folder, which stands for its newest complete
  /// checkpoint (see notes()).
  explicit CheckpointReader(const std::string& path);
  [[nodiscard]] const CheckpointInfo& info() const noexcept { return info_; }
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }
  /// The checkpoints that were skipped in the search for the newest complete one.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }
  /// The layout at the rank count that wrote the checkpoint.
  [[nodiscard]] const zero::FlatLayout& layout() const noexcept { return layout_; }

  /// Fills `out` (layout.shard_total() elements) with `rank`'s flat shard of `what` ("parameters"
  /// or a state's name); padding becomes 0. Reads only the ranges that it needs, and checks the CRC
  /// of each shard that it reads whole.
  void read_shard(const zero::FlatLayout& layout, std::int64_t rank, const std::string& what,
                  std::span<float> out) const;
  /// A whole tensor in row-major order, by name or alias.
  [[nodiscard]] std::vector<float> read_tensor(const std::string& what,
                                               const std::string& name) const;
  /// Elements [begin, begin + out.size()) of a tensor in row-major order. Reads only the ranges
  /// that it needs, and checks no CRC.
  void read_elements(const std::string& what, const std::string& name, std::int64_t begin,
                     std::span<float> out) const;
  /// Throws if names or shapes differ from those of `layout`; the message explains it tensor by
  /// tensor.
  void require_same_tensors(const zero::FlatLayout& layout) const;
  /// Throws when a shard is missing, does not open, or has a wrong size; reads no data.
  void require_complete() const;
  /// Reads `what` in the file of `shard` once, through `buffer`. Throws if its CRC is wrong.
  void require_checksums(std::int64_t shard, const std::string& what,
                         std::span<float> buffer) const;
  /// Whether ranks of `layout` that read their shards unit by unit check every CRC on the way,
  /// because one of them reads each file from end to end.
  [[nodiscard]] bool is_read_whole(const zero::FlatLayout& layout) const;
  /// Checks every shard, every checksum, and that each virtual dataset gives what the shards hold.
  /// Returns a line for each problem.
  [[nodiscard]] std::vector<std::string> verify() const;
  /// "parameters" and the states' names.
  [[nodiscard]] std::vector<std::string> kinds() const;
  /// Index into layout().tensors() of a tensor or alias; throws when there is none.
  [[nodiscard]] std::int64_t tensor_index(const std::string& name) const;

 private:
  /// A run of a tensor's elements in the file of one rank that wrote them.
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
