#pragma once

#include <cstddef>
#include <cstdint>

#include "th/base/half_float.hpp"
#include "th/runtime/device/device.hpp"
#include "th/runtime/device/matrix_product.hpp"
#include "th/runtime/ops/operands.hpp"
#include "th/runtime/transport/collectives.hpp"

// What th_app and libth_cuda.so agree on. No CUDA types: the program is built without the toolkit's
// headers and never links CUDA. A number of the bytes of this header and of all that it includes
// (cmake/ThPluginAbi.cmake) tells a plugin of other headers, which is refused.
namespace th::runtime {

/// Most pieces in one sum over slots: ranks of a run.
inline constexpr int kMaxTreePieces = 1024;

/// Kernels on device memory, enqueued on `stream` (a cudaStream_t); the same bits as the CPU code
/// they stand for. They throw DeviceError when the launch fails, InternalError on wrong arguments.
struct CudaKernels {
  void (*update)(const UpdateFactors& factors, const UpdateOperands& operands, void* stream);
  /// Leaves of one slot each.
  void (*tree_sum)(const TreeSum& sum, void* stream);
  /// fp64 sums of squares of `blocks` blocks of 256 elements each.
  void (*block_square_sums)(const void* x, ElementType type, std::int64_t blocks, double* out,
                            void* stream);
  const OpTable<float>* fp32;
  const OpTable<Bf16>* bf16;
  const OpTable<Fp16>* fp16;
  /// Matrix products, and the name of their library for a run's identity, "cublaslt-13.1.0" (throws
  /// DeviceError where it cannot be loaded). Null for a stand-in, whose tensors are the CPU's.
  MultiplyFn* multiply;
  const char* (*product_library)();
  /// Bytes of the current device that are free; 0: unknown.
  std::int64_t (*free_memory)();
};

/// Whose bytes a buffer of a transport is: of the class that its caller allocates for, or the
/// transport's own.
enum class CountedAs { kCallers, kCommunication };

/// How the plugin tells the program's ledger of transport buffers
/// (th/runtime/memory/memory_ledger.hpp); null: not at all.
struct LedgerCalls {
  void (*taken)(void* memory, std::size_t bytes, Place place, CountedAs kind) = nullptr;
  void (*given)(void* memory) = nullptr;
  /// `control.allocate(bytes)` of the class kCommunication, owned by the caller. Collective.
  TransportBuffer* (*allocate)(Collectives& control, std::int64_t bytes) = nullptr;
};

}  // namespace th::runtime

// The entry points. Each writes text, cut to `capacity` bytes with its zero: an answer, or the
// reason of a failure.
extern "C" {
/// kCudaPluginAbi of the plugin's build.
using th_cuda_plugin_abi_fn = int();
/// "0.1.0, CUDA 13.0, NCCL 2.28.9".
using th_cuda_plugin_version_fn = const char*();
/// Whom transports tell of their buffers from here on.
using th_cuda_set_ledger_fn = void(const th::runtime::LedgerCalls* calls);
/// How many devices there are, one line each in `text`; -1: the reason why none can be used.
using th_cuda_devices_fn = int(char* text, std::size_t capacity);
/// Collective over `control` (a th::runtime::Collectives*): gives each rank its device, makes it
/// the current one and returns its number; `text` is the map of all ranks, a line each. -1: the
/// reason, the same on every rank. `allow_sharing` not 0: ranks may share a device.
using th_cuda_select_device_fn = int(void* control, const char* host, int allow_sharing, char* text,
                                     std::size_t capacity);
/// Collective over `control`, which must outlive the result: a th::runtime::Collectives* over NCCL
/// on the current device, to be deleted by the caller; null with the reason in `text`, on every
/// rank. `compute_stream` is a cudaStream_t, null for the default stream: what the transport moves
/// goes there until Collectives::use_stream() names another.
using th_cuda_make_nccl_collectives_fn = void*(void* control, double timeout_seconds,
                                               void* compute_stream, char* text,
                                               std::size_t capacity);
/// A th::runtime::Collectives* for tensors on the current device that travel through pinned host
/// memory and `control`, which must outlive it; to be deleted by the caller. Null: the reason is in
/// `text`.
using th_cuda_make_staged_collectives_fn = void*(void* control, void* compute_stream, char* text,
                                                 std::size_t capacity);
/// Collective: one call of each kind with a known answer; 0 with the measured rates in `text`, -1
/// with the reason.
using th_cuda_nccl_self_test_fn = int(void* collectives, char* text, std::size_t capacity);
/// A th::runtime::Device* of the current device whose compute queue is `compute_stream`, which must
/// outlive it; to be deleted by the caller. Null: the reason is in `text`.
using th_cuda_make_device_fn = void*(void* compute_stream, char* text, std::size_t capacity);
/// What LibTorch's tensors over this plugin's memory are: 0 CUDA tensors, 1 CPU tensors (a stand-in
/// for tests, whose device memory is the host's).
using th_cuda_tensors_fn = int();
using th_cuda_kernels_fn = const th::runtime::CudaKernels*();
}
