#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "th/runtime/device/stream.hpp"
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
  std::int64_t words = 0;       ///< floats of the sum of one slice
  /// Adds the slices of a whole subtree (a power of two of them, in slot order) into `out`, `words`
  /// floats, halves first.
  std::function<void(std::span<const float* const> slices, float* out)> add;
};

/// What an owner receives: a rank's slice, or the sum that SubtreeSum::add makes of the slices of
/// `ranks` consecutive ranks.
struct Contribution {
  const float* data = nullptr;
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
  [[nodiscard]] virtual float* data() noexcept = 0;
  [[nodiscard]] virtual std::int64_t elements() const noexcept = 0;
  /// Whether data() names the same memory on all ranks of a node.
  [[nodiscard]] virtual bool one_a_node() const noexcept { return false; }
  /// Says that this rank does not read these floats for now. Pages of shared memory then stop
  /// counting as its resident set; their values stay.
  virtual void forget(std::int64_t /*offset*/, std::int64_t /*count*/) noexcept {}
};

/// The transport: collective calls on fp32 buffers, without tensors. Every call is collective over
/// all ranks, in the same order. Errors of MPI or of a peer are thrown as MpiError.
class Collectives {
 public:
  virtual ~Collectives() = default;
  Collectives() = default;
  Collectives(const Collectives&) = delete;
  Collectives& operator=(const Collectives&) = delete;

  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;

  /// A transport of a device's memory enqueues what exchange(), exchange_sums(), all_gather(),
  /// shards() and all_reduce_fast() move, and the zeros of new buffers, on `stream` from here on: a
  /// stream of its device that lives until another takes its place; null: the one that it was made
  /// with. Memory that their results and arguments name is touched in that stream's order. A
  /// transport of host memory moves data in the call. Not collective.
  virtual void use_stream(Stream* /*stream*/) {}

  /// A buffer of `elements` floats for exchange() and all_gather(). Collective; all ranks ask for
  /// the same size.
  [[nodiscard]] virtual std::unique_ptr<TransportBuffer> allocate(std::int64_t elements) = 0;
  /// A buffer for data that is equal on all ranks, of which a node holds one copy: data() names the
  /// same memory on all its ranks. A rank writes its own shards in it; the others' arrive by
  /// all_gather() in place or by all_gather_shared(). `counted`: floats that the memory ledger
  /// counts as this rank's. Null on all ranks if memory can't be shared, or is too little.
  /// Collective.
  [[nodiscard]] virtual std::unique_ptr<TransportBuffer> allocate_shared(std::int64_t /*elements*/,
                                                                         std::int64_t /*counted*/) {
    return nullptr;
  }

  /// Rank r's `buffer[offset + o*slice, +slice)` is its contribution to owner o. Returns, for this
  /// rank as owner, one pointer a rank to the contributions, readable until finish_exchange();
  /// nobody may write the exchanged range of `buffer` before that, except each owner its own slice
  /// in its own buffer.
  [[nodiscard]] virtual std::vector<const float*> exchange(TransportBuffer& buffer,
                                                           std::int64_t offset,
                                                           std::int64_t slice) = 0;
  /// The same for the `sum.present` ranks that have a slot, in rank order; if there are several
  /// nodes, the slices of ranks of one node that hold a whole subtree of the round's slots may
  /// arrive as their sum. Readable until finish_exchange(). Counted as exchange().
  [[nodiscard]] virtual std::vector<Contribution> exchange_sums(TransportBuffer& buffer,
                                                                std::int64_t offset,
                                                                std::int64_t slice,
                                                                const SubtreeSum& sum) {
    std::vector<Contribution> out;
    for (const float* piece : exchange(buffer, offset, slice)) out.push_back({piece, 1});
    out.resize(static_cast<std::size_t>(sum.present));
    return out;
  }
  /// Ends the reading that exchange(), exchange_sums() or shards() began. Collective.
  virtual void finish_exchange() = 0;

  /// Rank r's `buffer[offset + r*stride, +slice)` is its shard (stride = slice in a full buffer, 0
  /// in a buffer of shards); afterwards `full[0, slice*size)` holds all shards in rank order on
  /// every rank. `full` may be `buffer + offset` where stride = slice.
  virtual void all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                          std::int64_t slice, float* full) = 0;

  /// The same into `to[at, +slice*size)` of allocate_shared(). The call writes there when no rank
  /// reads there any more, that is, when all have called.
  virtual void all_gather_shared(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                                 std::int64_t slice, TransportBuffer& to, std::int64_t at) {
    all_gather(buffer, offset, stride, slice, to.data() + at);
  }

  /// Every rank's shard of a full buffer, rank r's `buffer[offset + r*slice, +slice)`, one pointer
  /// a rank, readable until finish_exchange(). If peers' memory can be read in place nothing is
  /// copied; otherwise the shards are gathered into the buffer. Nobody may write the shards before
  /// finish_exchange(). Counted as all_gather().
  [[nodiscard]] virtual std::vector<const float*> shards(TransportBuffer& buffer,
                                                         std::int64_t offset, std::int64_t slice) {
    all_gather(buffer, offset, slice, slice, buffer.data() + offset);
    std::vector<const float*> pointers;
    for (int r = 0; r < size(); ++r) pointers.push_back(buffer.data() + offset + slice * r);
    return pointers;
  }

  /// Sums doubles in place over the ranks, in rank order, so every rank has the same bits.
  virtual void sum_in_rank_order(std::span<double> values) = 0;
  /// Concatenates `mine` of each rank in rank order. Every rank passes the same count.
  virtual void all_gather_doubles(std::span<const double> mine, std::span<double> all) = 0;
  /// Sums floats in place in the backend's own order (comm.reduction=fast).
  virtual void all_reduce_fast(float* data, std::int64_t count) = 0;
  /// Whether ranks of a node can share memory. If not, everything is sent by messages, and
  /// description() says why.
  [[nodiscard]] virtual bool shares_memory() const noexcept { return true; }
  /// The largest value over the ranks.
  [[nodiscard]] virtual std::int64_t maximum(std::int64_t value) = 0;
  /// Sends the root's bytes to everyone; other ranks' text is replaced.
  virtual void broadcast(std::string& text, int root) = 0;
  /// Every rank's text, in rank order, on every rank.
  [[nodiscard]] virtual std::vector<std::string> gather_texts(const std::string& text) = 0;
  virtual void barrier() = 0;

  [[nodiscard]] virtual const ByteCounters& bytes_sent() const noexcept = 0;
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
};

}  // namespace th::runtime
