#pragma once

#include <algorithm>
#include <cstdint>

namespace th::runtime {

/// The transport of the tensors of a device with memory of its own.
enum class Transport { kNccl, kStaged };

/// The largest calls of a run, in floats: exchange()'s slice, all_gather()'s and shards()' slice,
/// all_reduce_fast()'s count; 0: none.
struct LargestCalls {
  std::int64_t exchange = 0, all_gather = 0, all_reduce = 0;
};

/// Bytes that the plugin's transports hold between calls, beside the buffers that callers asked
/// for.
struct TransportMemory {
  std::int64_t device = 0;  ///< receive buffer
  std::int64_t host = 0;    ///< pinned staging, to send from and to receive in
};

/// Floats of each rank that the staging transport moves at once: 16 MiB.
inline constexpr std::int64_t kStagedPiece = std::int64_t{1} << 22;

/// The bytes of these transports on a rank. A single rank sends nothing.
[[nodiscard]] inline TransportMemory transport_memory(Transport transport, std::int64_t ranks,
                                                      const LargestCalls& calls,
                                                      std::int64_t piece = kStagedPiece) {
  constexpr std::int64_t kFloat = 4;
  TransportMemory out;
  if (ranks == 1) return out;
  out.device = calls.exchange * (ranks - 1) * kFloat;
  if (transport == Transport::kNccl) return out;
  const std::int64_t slice = std::min(piece, std::max(calls.exchange, calls.all_gather));
  const std::int64_t reduced = (std::min(piece, calls.all_reduce) + ranks - 1) / ranks;
  out.host = 2 * std::max(slice, reduced) * ranks * kFloat;
  return out;
}

}  // namespace th::runtime
