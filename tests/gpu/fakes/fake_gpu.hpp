#pragma once

#include <functional>

#include <cuda_runtime_api.h>
#include <nccl.h>

// CUDA's runtime and NCCL on host memory, with MPI between the ranks: the calls that src/cuda's
// transport makes, under their own names. Nothing that is enqueued runs before the host asks for a
// result, and then streams run in the order that finds most mistakes: what an event does not hold
// back happens too early (compute first) or too late (communication first).
namespace th::fake {

enum class Order {
  kComputeFirst,
  kCommunicationFirst,
  /// Work runs when it is enqueued: for whole programs, whose LibTorch knows nothing of these
  /// streams.
  kAtOnce,
};
enum class Fault { kNone, kNeverReady, kInitFailsOnLastRank, kPeerDied, kWrongGather };

/// Forgets all streams and faults. `compute` is the stream that counts as the compute stream.
void reset(Order order, cudaStream_t compute);
void set_fault(Fault fault);
/// How many devices there are; one unless it is said.
void set_devices(int count);
/// Enqueues `run` as a kernel would be.
void launch(cudaStream_t stream, std::function<void()> run);
/// The GPU's clock goes on by so many milliseconds; it stands still otherwise, or, where work runs
/// at once, is the host's. Within a launch: while that runs.
void advance(float milliseconds);
/// Communicators that were aborted, and destroyed in the orderly way, since reset().
int aborted();
int destroyed();
/// Host ranges that are pinned now (cudaHostRegister).
int registered();

}  // namespace th::fake
