#include "runtime/transport/mpi_control.hpp"

#include "th/base/error.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

int as_count(std::int64_t n) {
  if (n > INT32_MAX)
    throw InternalError("an MPI call was asked to move more than 2^31 elements at once");
  return static_cast<int>(n);
}

MpiControl::MpiControl(MPI_Comm comm, const NodeMap& nodes) : comm_(comm), nodes_(nodes) {
  check_mpi(MPI_Comm_rank(comm, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm, &size_), "MPI_Comm_size");
}

void MpiControl::count(std::int64_t bytes) {
  sent_ += bytes * (size_ - 1);
  between_ += bytes * nodes_.outsiders(rank_);
}

void MpiControl::sum_in_rank_order(std::span<double> values) {
  std::vector<double> all(values.size() * static_cast<std::size_t>(size_));
  all_gather_doubles(values, all);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double sum = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(size_); ++r)
      sum += all[r * values.size() + i];
    values[i] = sum;
  }
}

void MpiControl::all_gather_doubles(std::span<const double> mine, std::span<double> all) {
  ensure(all.size() == mine.size() * static_cast<std::size_t>(size_),
         "all_gather_doubles: the result has the wrong size");
  const int n = as_count(static_cast<std::int64_t>(mine.size()));
  check_mpi(MPI_Allgather(mine.data(), n, MPI_DOUBLE, all.data(), n, MPI_DOUBLE, comm_),
            "MPI_Allgather");
  count(static_cast<std::int64_t>(mine.size_bytes()));
}

std::int64_t MpiControl::maximum(std::int64_t value) {
  std::int64_t result = value;
  check_mpi(MPI_Allreduce(&value, &result, 1, MPI_INT64_T, MPI_MAX, comm_), "MPI_Allreduce");
  count(8);
  return result;
}

void MpiControl::broadcast(std::string& text, int root) {
  std::int64_t length = static_cast<std::int64_t>(text.size());
  check_mpi(MPI_Bcast(&length, 1, MPI_INT64_T, root, comm_), "MPI_Bcast");
  text.resize(static_cast<std::size_t>(length));
  check_mpi(MPI_Bcast(text.data(), as_count(length), MPI_BYTE, root, comm_), "MPI_Bcast");
  if (rank_ == root) count(length);
}

std::vector<std::string> MpiControl::gather_texts(const std::string& text) {
  const auto ranks = static_cast<std::size_t>(size_);
  const int mine = as_count(static_cast<std::int64_t>(text.size()));
  const auto lengths = std::make_unique<int[]>(ranks), starts = std::make_unique<int[]>(ranks);
  check_mpi(MPI_Allgather(&mine, 1, MPI_INT, lengths.get(), 1, MPI_INT, comm_), "MPI_Allgather");
  for (std::size_t r = 1; r < ranks; ++r) starts[r] = starts[r - 1] + lengths[r - 1];
  std::string all(static_cast<std::size_t>(starts[ranks - 1] + lengths[ranks - 1]), '\0');
  check_mpi(MPI_Allgatherv(text.data(), mine, MPI_BYTE, all.data(), lengths.get(), starts.get(),
                           MPI_BYTE, comm_),
            "MPI_Allgatherv");
  count(mine);
  std::vector<std::string> out;
  for (std::size_t r = 0; r < ranks; ++r)
    out.push_back(
        all.substr(static_cast<std::size_t>(starts[r]), static_cast<std::size_t>(lengths[r])));
  return out;
}

void MpiControl::barrier() { check_mpi(MPI_Barrier(comm_), "MPI_Barrier"); }

}  // namespace th::runtime
