#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <mpi.h>

#include "th/runtime/transport/collectives.hpp"

namespace th::runtime {

inline constexpr std::int64_t kBufferAlignment = 64;  ///< bytes

/// Memory that all ranks of a node can read: a buffer for each rank, or one for all.
class WindowBuffer final : public TransportBuffer {
 public:
  enum class Copies { kOneARank, kOneANode };
  /// Collective over `node`; `bytes` is the same on all its ranks. `counted`: see
  /// Collectives::allocate_shared().
  WindowBuffer(MPI_Comm node, std::int64_t bytes)
      : WindowBuffer(node, bytes, Copies::kOneARank, bytes) {}
  WindowBuffer(MPI_Comm node, std::int64_t bytes, Copies copies, std::int64_t counted);
  ~WindowBuffer() override;
  [[nodiscard]] std::byte* data() noexcept override { return data_; }
  [[nodiscard]] std::int64_t bytes() const noexcept override { return bytes_; }
  /// The buffer of the node's rank at `place`.
  [[nodiscard]] const std::byte* at_place(int place) const {
    return bases_[static_cast<std::size_t>(place)];
  }
  [[nodiscard]] bool one_a_node() const noexcept override { return copies_ == Copies::kOneANode; }
  void forget(std::int64_t offset, std::int64_t size) noexcept override;

 private:
  /// The pages that lie within these bytes: where, how many bytes.
  [[nodiscard]] std::pair<void*, std::size_t> whole_pages(std::int64_t offset,
                                                          std::int64_t size) const noexcept;

  std::int64_t bytes_;
  Copies copies_;
  bool forgets_ = false;  ///< what is forgotten comes back as it was
  MPI_Win window_ = MPI_WIN_NULL;
  std::byte* data_ = nullptr;
  std::vector<std::byte*> bases_;
};

/// Memory of this rank alone.
class PlainBuffer final : public TransportBuffer {
 public:
  explicit PlainBuffer(std::int64_t bytes)
      : storage_(static_cast<std::size_t>((bytes + kBufferAlignment - 1) / kBufferAlignment)),
        bytes_(bytes) {}
  [[nodiscard]] std::byte* data() noexcept override {
    return storage_.empty() ? nullptr : storage_.front().values;
  }
  [[nodiscard]] std::int64_t bytes() const noexcept override { return bytes_; }

 private:
  struct alignas(kBufferAlignment) Line {
    std::byte values[kBufferAlignment] = {};
  };
  std::vector<Line> storage_;
  std::int64_t bytes_;
};

}  // namespace th::runtime
