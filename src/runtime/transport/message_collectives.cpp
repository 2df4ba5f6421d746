#include "runtime/transport/message_collectives.hpp"

#include "runtime/transport/transport_buffers.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

#include <algorithm>

namespace th::runtime {

int as_count(std::int64_t n) {
  if (n > INT32_MAX)
    throw InternalError("an MPI call was asked to move more than 2^31 elements at once");
  return static_cast<int>(n);
}

MessageCollectives::MessageCollectives(MPI_Comm world, NodeMap nodes)
    : comm_(Communicator::duplicate(world)),
      rank_(comm_.rank()),
      size_(comm_.size()),
      nodes_(std::move(nodes)) {}

std::unique_ptr<TransportBuffer> MessageCollectives::allocate(std::int64_t elements) {
  return std::make_unique<PlainBuffer>(elements);
}

float* MessageCollectives::grown(std::unique_ptr<TransportBuffer>& buffer, std::int64_t elements) {
  if (buffer == nullptr || buffer->elements() < elements) {
    const MemoryScope scope(MemoryClass::kCommunication);
    buffer.reset();  // before the larger one: a plan knows of one
    buffer = std::make_unique<PlainBuffer>(elements);
  }
  return buffer->data();
}

std::vector<const float*> MessageCollectives::exchange(TransportBuffer& buffer, std::int64_t offset,
                                                       std::int64_t slice) {
  const float* received = grown(received_, slice * size_);
  const int n = as_count(slice);
  check_mpi(MPI_Alltoall(buffer.data() + offset, n, MPI_FLOAT, received_->data(), n, MPI_FLOAT,
                         comm_.get()),
            "MPI_Alltoall");
  count(&ByteCounters::exchange, slice * 4);
  std::vector<const float*> pieces;
  for (int r = 0; r < size_; ++r) pieces.push_back(received + slice * r);
  return pieces;
}

void MessageCollectives::all_gather(TransportBuffer& buffer, std::int64_t offset,
                                    std::int64_t stride, std::int64_t slice, float* full) {
  const int n = as_count(slice);
  const float* mine = buffer.data() + offset + stride * rank_;
  if (full == buffer.data() + offset) {
    check_mpi(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, full, n, MPI_FLOAT, comm_.get()),
              "MPI_Allgather");
  } else {
    check_mpi(MPI_Allgather(mine, n, MPI_FLOAT, full, n, MPI_FLOAT, comm_.get()), "MPI_Allgather");
  }
  count(&ByteCounters::all_gather, slice * 4);
}

void MessageCollectives::sum_in_rank_order(std::span<double> values) {
  std::vector<double> all(values.size() * static_cast<std::size_t>(size_));
  MessageCollectives::all_gather_doubles(values, all);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double sum = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(size_); ++r)
      sum += all[r * values.size() + i];
    values[i] = sum;
  }
}

void MessageCollectives::all_gather_doubles(std::span<const double> mine, std::span<double> all) {
  ensure(all.size() == mine.size() * static_cast<std::size_t>(size_),
         "all_gather_doubles: the result has the wrong size");
  const int n = as_count(static_cast<std::int64_t>(mine.size()));
  check_mpi(MPI_Allgather(mine.data(), n, MPI_DOUBLE, all.data(), n, MPI_DOUBLE, comm_.get()),
            "MPI_Allgather");
  count(&ByteCounters::control, static_cast<std::int64_t>(mine.size_bytes()));
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

std::int64_t MessageCollectives::maximum(std::int64_t value) {
  std::int64_t result = value;
  check_mpi(MPI_Allreduce(&value, &result, 1, MPI_INT64_T, MPI_MAX, comm_.get()), "MPI_Allreduce");
  count(&ByteCounters::control, 8);
  return result;
}

void MessageCollectives::broadcast(std::string& text, int root) {
  std::int64_t length = static_cast<std::int64_t>(text.size());
  check_mpi(MPI_Bcast(&length, 1, MPI_INT64_T, root, comm_.get()), "MPI_Bcast");
  text.resize(static_cast<std::size_t>(length));
  check_mpi(MPI_Bcast(text.data(), as_count(length), MPI_BYTE, root, comm_.get()), "MPI_Bcast");
  if (rank_ == root) count(&ByteCounters::control, length);
}

std::vector<std::string> MessageCollectives::gather_texts(const std::string& text) {
  const auto ranks = static_cast<std::size_t>(size_);
  const int mine = as_count(static_cast<std::int64_t>(text.size()));
  const auto lengths = std::make_unique<int[]>(ranks), starts = std::make_unique<int[]>(ranks);
  check_mpi(MPI_Allgather(&mine, 1, MPI_INT, lengths.get(), 1, MPI_INT, comm_.get()),
            "MPI_Allgather");
  for (std::size_t r = 1; r < ranks; ++r) starts[r] = starts[r - 1] + lengths[r - 1];
  std::string all(static_cast<std::size_t>(starts[ranks - 1] + lengths[ranks - 1]), '\0');
  check_mpi(MPI_Allgatherv(text.data(), mine, MPI_BYTE, all.data(), lengths.get(), starts.get(),
                           MPI_BYTE, comm_.get()),
            "MPI_Allgatherv");
  count(&ByteCounters::control, mine);
  std::vector<std::string> out;
  for (std::size_t r = 0; r < ranks; ++r)
    out.push_back(
        all.substr(static_cast<std::size_t>(starts[r]), static_cast<std::size_t>(lengths[r])));
  return out;
}

}  // namespace th::runtime
