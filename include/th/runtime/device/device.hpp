#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "th/base/element_type.hpp"
#include "th/base/slot_dealing.hpp"
#include "th/runtime/device/device_memory.hpp"
#include "th/runtime/device/step_outcome.hpp"
#include "th/runtime/device/stream.hpp"
#include "th/runtime/optimizers/optimizer_rules.hpp"

namespace th::runtime {

/// The operands of a step's end, in memory of the side that computes it. Every rank has left
/// a record: fp64 sums of squares of its shard's blocks (block_square_sums), unit after unit, and
/// the losses of its slots by pass.
struct StepRecords {
  /// Blocks of a rank's shard of one unit, and this rank's reduced gradient of it.
  struct Unit {
    std::int64_t first = 0, blocks = 0;
    const void* gradient = nullptr;
  };
  std::span<const Unit> units;  ///< a host array, not needed after the call; at most kMaxUnits
  ElementType type = ElementType::kFp32;  ///< of gradients
  const double* records = nullptr;        ///< of all ranks, one after the other in rank order
  std::int64_t record = 0, losses = 0;    ///< doubles in a record, and in it before the losses
  std::int64_t rank = 0, ranks = 1;
  SlotDealing dealing;              ///< which record has the loss of which slot
  double clip = 0, loss_scale = 1;  ///< clip 0: none
  StepOutcome* outcome = nullptr;
};
inline constexpr std::int64_t kMaxUnits = 1024;

/// What an update reads and writes, all in memory of the side that computes it. If `working` is
/// null there is no rounded copy.
struct UpdateOperands {
  float* weights = nullptr;                 ///< fp32
  const void* gradients = nullptr;          ///< `gradient_type`
  float* states[kMaxOptimizerStates] = {};  ///< the optimizer's, in the order of its rule
  void* working = nullptr;                  ///< the new weights in `working_type`
  std::int64_t count = 0;                   ///< elements
  ElementType gradient_type = ElementType::kFp32, working_type = ElementType::kFp32;
  /// States that are stored in bf16, in place of `states`; only in host memory. Each is read
  /// exactly and rounded by a draw from UpdateFactors::draws, the state's number and the element's
  /// number, which counts from `first`.
  std::uint16_t* short_states[kMaxOptimizerStates] = {};
  std::int64_t first = 0;
  /// If it is set, its factor replaces that of the gradients, and nothing is updated unless the
  /// outcome is finite.
  const StepOutcome* outcome = nullptr;
};

/// Levels of the binary counter that sums the slots: slot numbers stay below 2^31.
inline constexpr int kTreeLevels = 31;

/// A contribution to a sum over slots: that of one slot, or the fp32 sum of `slots` slots. These
/// are a whole subtree: their count is a power of two that divides the first slot's number.
struct TreeLeaf {
  const void* data = nullptr;
  std::int64_t slots = 1;
};

/// Feeds the slots of `leaves`, from `first_slot` on, into the tree of zero::SlotTree, element by
/// element. Level l is pending before the call if bit l of first_slot is set, and after it if bit l
/// of the next slot's number is set. The pointers of those levels must not be null. A buffer may
/// serve different levels before and after. If `out` is set the slots are the last ones: their
/// total is written there, in `type`, and nothing stays pending. `out` may be one of the leaves.
/// The array of leaves is in host memory and is not needed after the call.
struct TreeSum {
  std::int64_t first_slot = 0;
  std::int64_t count = 0;                 ///< elements
  ElementType type = ElementType::kFp32;  ///< of contributions and of the total
  std::span<const TreeLeaf> leaves;
  const float* pending_before[kTreeLevels] = {};
  float* pending_after[kTreeLevels] = {};
  void* out = nullptr;
  /// Null, or on the host, with `out`, where the sum of squares of each block of 256 elements of
  /// the total is written, while the block is in the cache.
  double* square_sums = nullptr;
};

/// The memory of a block. For the device of a CPU run both are the same memory. kHost is pinned, so
/// that copies from and to it do not stop the host.
enum class Place { kDevice, kHost };

/// The use of a stream beside compute. A device may give one use priority over another.
enum class StreamUse { kCommunication, kCopies };

/// Where a rank's tensors live and who computes on its flat buffers: the host itself
/// (zero::HostDevice) or a GPU of the CUDA plugin. No call is collective. Failed device calls throw
/// DeviceError, at once or at a later call.
class Device {
 public:
  virtual ~Device() = default;

  /// kHost: compute() is the calling thread.
  [[nodiscard]] virtual DeviceMemory memory() const noexcept = 0;

  /// Allocates `bytes` of memory, 64-byte aligned, not initialised; give() takes it back with the
  /// same place. Throws MemoryError, on the host std::bad_alloc. DeviceBlock owns such memory.
  [[nodiscard]] virtual void* take(Place place, std::int64_t bytes) = 0;
  virtual void give(Place place, void* memory) noexcept = 0;

  /// The calling thread as a stream: its tasks run at once, and it waits for events itself. Streams
  /// on which it enqueues afterwards see what it has done.
  [[nodiscard]] virtual Stream& host() = 0;
  /// The stream of the model's kernels.
  [[nodiscard]] virtual Stream& compute() = 0;
  /// A further stream, for collectives or for copies. The device outlives it.
  [[nodiscard]] virtual std::unique_ptr<Stream> make_stream(StreamUse use) = 0;
  /// Calls the stamps that have passed with their times (Stream::stamp). Does not wait.
  virtual void settle() {}

  // Kernels. They run within a task of `stream` or as a task of their own; `stream` is compute(),
  // or one that this device made. Every pointer is device memory. They give the same bits on every
  // device.
  virtual void update(Stream& stream, const UpdateFactors& factors,
                      const UpdateOperands& operands) = 0;
  /// fp64 sums of squares of `blocks` blocks of 256 elements each, into `out`.
  virtual void block_square_sums(Stream& stream, const void* x, ElementType type,
                                 std::int64_t blocks, double* out) = 0;
  /// Makes loss, norm and the update's factor. The order of the norm's sum over blocks is the
  /// device's own and does not depend on the rank count.
  virtual void end_step(Stream& stream, const StepRecords& records) = 0;
  virtual void tree_sum(Stream& stream, const TreeSum& sum) = 0;
  /// y += x.
  virtual void accumulate(Stream& stream, float* y, const float* x, std::int64_t count) = 0;
  /// `count` elements rounded to 16 bits.
  virtual void round(Stream& stream, const float* from, ElementType type, void* to,
                     std::int64_t count) = 0;
};

/// Owned memory of a device, zeroed. It is counted, in this thread's class, in
/// MemoryLedger::device(), or in MemoryLedger::process() if the host can read it.
class DeviceBlock {
 public:
  DeviceBlock() = default;
  /// 0 bytes: no memory. Throws as Device::take.
  DeviceBlock(Device& device, Place place, std::int64_t bytes);
  ~DeviceBlock() { release(); }
  DeviceBlock(DeviceBlock&& other) noexcept { *this = std::move(other); }
  DeviceBlock& operator=(DeviceBlock&& other) noexcept;
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  [[nodiscard]] std::byte* data() const noexcept { return memory_; }
  template <typename T>
  [[nodiscard]] T* as() const noexcept {
    return reinterpret_cast<T*>(memory_);
  }
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }

 private:
  void release() noexcept;

  Device* device_ = nullptr;
  Place place_ = Place::kDevice;
  std::byte* memory_ = nullptr;
  std::int64_t bytes_ = 0;
};

/// Copies after what compute() holds, and waits until it is done.
void copy_now(Device& device, void* to, const void* from, std::int64_t bytes);

}  // namespace th::runtime
