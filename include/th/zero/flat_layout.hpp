#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/model/parameters/parameter_spec.hpp"

namespace th::zero {

/// Pure arithmetic of the flat parameter space: names to offsets, padding, shard ranges. No
/// tensors, no MPI, no allocation of data.
///
/// Every tensor starts at a multiple of 32 elements (64 bytes also in 16-bit types) inside its
/// unit. A unit's content is rounded up to a multiple of kBlock elements, independent of the rank
/// count, and then to a multiple of kBlock * ranks, so that each rank owns an equal, block-aligned
/// slice ("shard") of every unit. A rank's flat shard is its slices of all units in unit order.
class FlatLayout {
 public:
  static constexpr std::int64_t kBlock =
      256;  ///< elements of one norm block, and the shard granularity
  static constexpr std::int64_t kAlign =
      32;  ///< elements; every tensor starts at such a multiple (checkpoints of before: 16)

  struct Tensor {
    model::TensorSpec spec;
    std::int64_t unit = 0;
    std::int64_t offset = 0;  ///< elements from the unit's start
    std::int64_t count = 0;
  };

  struct Unit {
    std::string name;
    std::int64_t first_tensor = 0;  ///< index into tensors()
    std::int64_t tensor_count = 0;
    std::int64_t content = 0;  ///< elements, a multiple of kBlock, independent of the rank count
    std::int64_t padded = 0;   ///< elements, a multiple of kBlock * ranks
    std::int64_t shard = 0;    ///< padded / ranks
    std::int64_t offset =
        0;  ///< elements from the start of the flat space of all units (sum of padded)
    std::int64_t shard_offset =
        0;  ///< elements from the start of a rank's flat shard (sum of shard)
    std::int64_t first_block = 0;  ///< index of its first content block among all content blocks
  };

  /// A run of elements of one tensor that lies in one rank's shard.
  struct Piece {
    std::int64_t tensor = 0;        ///< index into tensors()
    std::int64_t tensor_begin = 0;  ///< first element, in the tensor's row-major order
    std::int64_t count = 0;
    std::int64_t shard_offset = 0;  ///< elements from the start of the rank's flat shard
  };

  /// `alignment` other than kAlign is for what older programs wrote.
  FlatLayout(std::vector<model::UnitSpec> units, std::int64_t ranks,
             std::int64_t alignment = kAlign);

  [[nodiscard]] std::int64_t ranks() const noexcept { return ranks_; }
  [[nodiscard]] std::int64_t alignment() const noexcept { return alignment_; }
  [[nodiscard]] const std::vector<Unit>& units() const noexcept { return units_; }
  [[nodiscard]] const std::vector<Tensor>& tensors() const noexcept { return tensors_; }
  [[nodiscard]] std::int64_t padded_total() const noexcept {
    return padded_total_;
  }  ///< P, elements
  [[nodiscard]] std::int64_t shard_total() const noexcept {
    return padded_total_ / ranks_;
  }  ///< P / N, elements
  [[nodiscard]] std::int64_t parameter_count() const noexcept {
    return parameter_count_;
  }  ///< without padding
  [[nodiscard]] std::int64_t block_total() const noexcept {
    return block_total_;
  }  ///< content blocks of all units
  [[nodiscard]] std::int64_t largest_unit() const noexcept {
    return largest_unit_;
  }  ///< padded elements

  /// The tensor runs that `rank` owns, in shard order; padding is in none of them.
  [[nodiscard]] std::vector<Piece> pieces(std::int64_t rank) const;

 private:
  std::int64_t ranks_ = 1;
  std::int64_t alignment_ = kAlign;
  std::vector<Unit> units_;
  std::vector<Tensor> tensors_;
  std::int64_t padded_total_ = 0;
  std::int64_t parameter_count_ = 0;
  std::int64_t block_total_ = 0;
  std::int64_t largest_unit_ = 0;
};

}  // namespace th::zero
