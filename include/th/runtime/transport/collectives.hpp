#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "th/runtime/device/stream.hpp"
#include "th/runtime/transport/control_calls.hpp"
#include "th/runtime/transport/node_map.hpp"

namespace th::runtime {

/// Payload bytes that this rank sent through the collectives, by the algorithm's volume: n elements
/// to each of the other ranks.
struct ByteCounters {
  std::int64_t exchange = 0;    ///< gradient slices sent to their owners
  std::int64_t all_gather = 0;  ///< shards sent to the other ranks
  std::int64_t reduce = 0;      ///< sums in the backend's own order (comm.reduction=fast)
  std::int64_t control = 0;     ///< scalars, agreements, broadcasts
  [[nodiscard]] std::int64_t total() const noexcept {
    return exchange + all_gather + reduce + control;
  }
  friend ByteCounters operator-(const ByteCounters& a, const ByteCounters& b) noexcept {
    return {a.exchange - b.exchange, a.all_gather - b.all_gather, a.reduce - b.reduce,
            a.control - b.control};
  }
};

/// How a node may add its ranks' slices of an exchange before they leave it, so that the sum stays
/// the same tree over slot numbers.
struct SubtreeSum {
  std::int64_t first_slot = 0;  ///< slot number of rank 0 in this round; rank r has first_slot + r
  int present = 0;              ///< ranks that have a slot in this round, from rank 0 on
  std::int64_t floats = 0;      ///< fp32 elements of the sum of one slice
  /// Adds the slices of a whole subtree (a power of two of them, in slot order) into `out`,
  /// `floats` elements, halves first.
  std::function<void(std::span<const std::byte* const> slices, float* out)> add;
};

/// What an owner receives: a rank's slice, or the sum (fp32) that SubtreeSum::add makes of the
/// slices of `ranks` consecutive ranks.
struct Contribution {
  const std::byte* data = nullptr;
  int ranks = 1;
};

/// Memory that the peers of a transport can read quickly (a shared-memory window, if ranks share a
/// node), 64-byte aligned, zeroed.
class TransportBuffer {
 public:
  virtual ~TransportBuffer() = default;
  TransportBuffer() = default;
  TransportBuffer(const TransportBuffer&) = delete;
  TransportBuffer& operator=(const TransportBuffer&) = delete;
  [[nodiscard]] virtual std::byte* data() noexcept = 0;
  [[nodiscard]] virtual std::int64_t bytes() const noexcept = 0;
  template <typename T>
  [[nodiscard]] T* as() noexcept {
    return reinterpret_cast<T*>(data());
  }
  /// Whether data() names the same memory on all ranks of a node.
  [[nodiscard]] virtual bool one_a_node() const noexcept { return false; }
  /// Says that this rank does not read these bytes for now. Pages of shared memory then stop
  /// counting as its resident set; their values stay.
  virtual void forget(std::int64_t /*offset*/, std::int64_t /*size*/) noexcept {}
};

/// Equal parts of a buffer, one a rank, in bytes: rank r's is [offset + r * stride, +size). In a
/// full buffer they lie side by side; with stride 0 each rank's buffer holds its own part alone.
/// Offsets and sizes are multiples of 4.
struct RankParts {
  std::int64_t offset = 0, size = 0, stride = size;
  [[nodiscard]] std::int64_t of(std::int64_t rank) const noexcept { return offset + rank * stride; }
};

/// The transport of a run's data, in bytes, without tensors. Every call is collective over all
/// ranks, in the same order, and so are the calls of control(), in one order with them. Errors of
/// MPI or of a peer are thrown as MpiError.
class Collectives {
 public:
  virtual ~Collectives() = default;
  Collectives() = default;
  Collectives(const Collectives&) = delete;
  Collectives& operator=(const Collectives&) = delete;

  /// How the same ranks agree.
  [[nodiscard]] virtual ControlCalls& control() const noexcept = 0;
  [[nodiscard]] int rank() const noexcept { return control().rank(); }
  [[nodiscard]] int size() const noexcept { return control().size(); }

  /// A transport of a device's memory enqueues what exchange(), all_gather(), shards() and
  /// all_reduce_fast() move, and the zeros of new buffers, on `stream` from here on: a stream of
  /// its device that lives until another takes its place; null: the one that it was made with.
  /// Memory that their results and arguments name is touched in that stream's order. A transport of
  /// host memory moves data in the call. Not collective.
  virtual void use_stream(Stream* /*stream*/) {}

  /// A buffer for the calls below. Collective; all ranks ask for the same size.
  [[nodiscard]] virtual std::unique_ptr<TransportBuffer> allocate(std::int64_t bytes) = 0;
  /// A buffer for data that is equal on all ranks, of which a node holds one copy: data() names the
  /// same memory on all its ranks. A rank writes its own parts in it; the others' arrive by
  /// all_gather() in place or within it. `counted`: bytes that the memory ledger counts as this
  /// rank's. Null on all ranks if memory can't be shared, or is too little. Collective.
  [[nodiscard]] virtual std::unique_ptr<TransportBuffer> allocate_shared(std::int64_t /*bytes*/,
                                                                         std::int64_t /*counted*/) {
    return nullptr;
  }

  /// Part o of rank r's buffer is its contribution to owner o. Returns, for this rank as owner, the
  /// contributions in rank order, readable until finish_exchange(); nobody may write the exchanged
  /// parts before that, except each owner its own part in its own buffer. With `sum`, those of the
  /// `present` ranks that have a slot; if there are several nodes, the slices of ranks of one node
  /// that hold a whole subtree of the round's slots may arrive as their sum.
  [[nodiscard]] virtual std::vector<Contribution> exchange(TransportBuffer& buffer,
                                                           const RankParts& parts,
                                                           const SubtreeSum* sum = nullptr) = 0;
  /// Ends the reading that exchange() or shards() began. Collective.
  virtual void finish_exchange() = 0;

  /// Part r of rank r's buffer is its shard; afterwards `full` holds all shards in rank order on
  /// every rank. `full` may be the buffer's own memory at its parts, where these lie side by side.
  /// `within`: the buffer of allocate_shared() in which `full` lies. The call then writes there
  /// when no rank reads there any more, that is, when all have called.
  virtual void all_gather(TransportBuffer& buffer, const RankParts& parts, std::byte* full,
                          TransportBuffer* within = nullptr) = 0;
  /// Every rank's shard of a full buffer, readable until finish_exchange(). If peers' memory can be
  /// read in place nothing is copied; otherwise the shards are gathered into the buffer. Nobody may
  /// write the shards before finish_exchange(). Counted as all_gather().
  [[nodiscard]] virtual std::vector<const std::byte*> shards(TransportBuffer& buffer,
                                                             const RankParts& parts) {
    all_gather(buffer, parts, buffer.data() + parts.offset);
    std::vector<const std::byte*> pointers;
    for (int r = 0; r < size(); ++r) pointers.push_back(buffer.data() + parts.of(r));
    return pointers;
  }
  /// Sums fp32 elements in place in the backend's own order (comm.reduction=fast).
  virtual void all_reduce_fast(float* data, std::int64_t count) = 0;

  /// Returns when all ranks have called it, and this rank's device has done its work.
  virtual void barrier() { control().barrier(); }

  /// Whether ranks of a node can share memory. If not, everything is sent by messages, and
  /// description() says why.
  [[nodiscard]] virtual bool shares_memory() const noexcept { return true; }
  [[nodiscard]] virtual ByteCounters bytes_sent() const noexcept = 0;
  /// Bytes that this rank sent to ranks of other nodes: of exchanges and gathers what its messages
  /// held, of the others (whose way is MPI's choice) the algorithm's volume for those ranks.
  [[nodiscard]] virtual ByteCounters bytes_between_nodes() const noexcept { return {}; }
  /// The nodes of the ranks, as this transport sees them.
  [[nodiscard]] virtual NodeMap nodes() const = 0;
  /// Bytes of this rank's receive buffers, which stay between calls; 0 if peers' memory is read in
  /// place.
  [[nodiscard]] virtual std::int64_t communication_bytes() const noexcept = 0;
  /// "shared-memory window", "shared-memory windows on 2 nodes, messages between them", or "MPI".
  [[nodiscard]] virtual std::string description() const = 0;

 protected:
  /// How many ranks an exchange() has contributions of.
  [[nodiscard]] int contributors(const SubtreeSum* sum) const noexcept {
    return sum != nullptr ? sum->present : size();
  }
};

}  // namespace th::runtime
