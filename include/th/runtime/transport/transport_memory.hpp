#pragma once

#include <algorithm>
#include <cstdint>

namespace th::runtime {

/// The transport of the tensors of a device with memory of its own.
enum class Transport { kNccl, kStaged };

/// The largest calls of a run, in bytes: a part of exchange(), of all_gather() and shards(), all of
/// all_reduce_fast(); 0: none.
struct LargestCalls {
  std::int64_t exchange = 0, all_gather = 0, all_reduce = 0;
};

/// Bytes that the plugin's transports hold between calls, beside the buffers that callers asked
/// for.
struct TransportMemory {
  std::int64_t device = 0;  ///< receive buffer
  std::int64_t host = 0;    ///< pinned staging, to send from and to receive in
};

/// Bytes of each rank that the staging transport moves at once.
inline constexpr std::int64_t kStagedPiece = std::int64_t{16} << 20;

/// The bytes of these transports on a rank. A single rank sends nothing.
[[nodiscard]] inline TransportMemory transport_memory(Transport transport, std::int64_t ranks,
                                                      const LargestCalls& calls,
                                                      std::int64_t piece = kStagedPiece) {
  constexpr std::int64_t kFloat = 4;  // what is reduced
  TransportMemory out;
  if (ranks == 1) return out;
  out.device = calls.exchange * (ranks - 1);
  if (transport == Transport::kNccl) return out;
  const std::int64_t slice = std::min(piece, std::max(calls.exchange, calls.all_gather));
  const std::int64_t floats = std::min(piece, calls.all_reduce) / kFloat;
  const std::int64_t reduced = (floats + ranks - 1) / ranks * kFloat;
  out.host = 2 * std::max(slice, reduced) * ranks;
  return out;
}

}  // namespace th::runtime
