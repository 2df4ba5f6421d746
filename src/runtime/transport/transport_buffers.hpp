#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <mpi.h>

#include "th/runtime/transport/collectives.hpp"

namespace th::runtime {

inline constexpr std::int64_t kBufferAlignment = 64;  ///< bytes

/// A buffer of `elements` floats of each rank of a node, which all of them can read, or one of all
/// of them.
class WindowBuffer final : public TransportBuffer {
 public:
  enum class Copies { kOneARank, kOneANode };
  /// Collective over `node`; `elements` is the same on all its ranks. `counted`: see
  /// Collectives::allocate_shared().
  WindowBuffer(MPI_Comm node, std::int64_t elements)
      : WindowBuffer(node, elements, Copies::kOneARank, elements) {}
  WindowBuffer(MPI_Comm node, std::int64_t elements, Copies copies, std::int64_t counted);
  ~WindowBuffer() override;
  [[nodiscard]] float* data() noexcept override { return data_; }
  [[nodiscard]] std::int64_t elements() const noexcept override { return elements_; }
  /// The buffer of the node's rank at `place`.
  [[nodiscard]] const float* at_place(int place) const {
    return bases_[static_cast<std::size_t>(place)];
  }
  [[nodiscard]] bool one_a_node() const noexcept override { return copies_ == Copies::kOneANode; }
  void forget(std::int64_t offset, std::int64_t count) noexcept override;

 private:
  /// The pages that lie within these floats: where, bytes.
  [[nodiscard]] std::pair<void*, std::size_t> whole_pages(std::int64_t offset,
                                                          std::int64_t count) const noexcept;

  std::int64_t elements_;
  Copies copies_;
  bool forgets_ = false;  ///< what is forgotten comes back as it was
  MPI_Win window_ = MPI_WIN_NULL;
  float* data_ = nullptr;
  std::vector<float*> bases_;
};

/// Memory of this rank alone.
class PlainBuffer final : public TransportBuffer {
 public:
  explicit PlainBuffer(std::int64_t elements)
      : storage_(
            static_cast<std::size_t>((elements * 4 + kBufferAlignment - 1) / kBufferAlignment)),
        elements_(elements) {}
  [[nodiscard]] float* data() noexcept override {
    return storage_.empty() ? nullptr : storage_.front().values;
  }
  [[nodiscard]] std::int64_t elements() const noexcept override { return elements_; }

 private:
  struct alignas(kBufferAlignment) Line {
    float values[kBufferAlignment / 4] = {};
  };
  std::vector<Line> storage_;
  std::int64_t elements_;
};

}  // namespace th::runtime
