#include "runtime/transport/message_collectives.hpp"

#include "runtime/transport/transport_buffers.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

#include <algorithm>

namespace th::runtime {

int as_words(std::int64_t bytes) {
  ensure(bytes % 4 == 0, "a transport was asked to move a part of a word");
  return as_count(bytes / 4);
}

MessageCollectives::MessageCollectives(MPI_Comm world, NodeMap nodes)
    : comm_(Communicator::duplicate(world)),
      rank_(comm_.rank()),
      size_(comm_.size()),
      nodes_(std::move(nodes)),
      control_(std::make_unique<MpiControl>(comm_.get(), nodes_)) {}

ByteCounters MessageCollectives::bytes_sent() const noexcept {
  ByteCounters out = sent_;
  out.control = control_->sent();
  return out;
}

ByteCounters MessageCollectives::bytes_between_nodes() const noexcept {
  ByteCounters out = between_;
  out.control = control_->between_nodes();
  return out;
}

std::unique_ptr<TransportBuffer> MessageCollectives::allocate(std::int64_t bytes) {
  return std::make_unique<PlainBuffer>(bytes);
}

std::byte* MessageCollectives::grown(std::unique_ptr<TransportBuffer>& buffer, std::int64_t bytes) {
  if (buffer == nullptr || buffer->bytes() < bytes) {
    const MemoryScope scope(MemoryClass::kCommunication);
    buffer.reset();  // before the larger one: a plan knows of one
    buffer = std::make_unique<PlainBuffer>(bytes);
  }
  return buffer->data();
}

std::vector<Contribution> MessageCollectives::exchange(TransportBuffer& buffer,
                                                       const RankParts& parts,
                                                       const SubtreeSum* sum) {
  const std::byte* received = grown(received_, parts.size * size_);
  const int n = as_words(parts.size);
  check_mpi(MPI_Alltoall(buffer.data() + parts.offset, n, kWordType, received_->data(), n,
                         kWordType, comm_.get()),
            "MPI_Alltoall");
  count(&ByteCounters::exchange, parts.size);
  std::vector<Contribution> pieces;
  for (int r = 0; r < contributors(sum); ++r) pieces.push_back({received + parts.size * r, 1});
  return pieces;
}

void MessageCollectives::all_gather(TransportBuffer& buffer, const RankParts& parts,
                                    std::byte* full, TransportBuffer* /*within*/) {
  const int n = as_words(parts.size);
  if (full == buffer.data() + parts.offset) {
    check_mpi(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, full, n, kWordType, comm_.get()),
              "MPI_Allgather");
  } else {
    check_mpi(MPI_Allgather(buffer.data() + parts.of(rank_), n, kWordType, full, n, kWordType,
                            comm_.get()),
              "MPI_Allgather");
  }
  count(&ByteCounters::all_gather, parts.size);
}

void MessageCollectives::all_reduce_fast(float* data, std::int64_t elements) {
  constexpr std::int64_t kPiece = 1 << 28;
  for (std::int64_t at = 0; at < elements; at += kPiece) {
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, data + at, as_count(std::min(kPiece, elements - at)),
                            MPI_FLOAT, MPI_SUM, comm_.get()),
              "MPI_Allreduce");
  }
  count(&ByteCounters::reduce, 2 * elements / size_ * 4);
}

}  // namespace th::runtime
