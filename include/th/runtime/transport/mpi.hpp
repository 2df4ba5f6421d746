#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <mpi.h>

namespace th::runtime {

/// Throws MpiError with the call's name and MPI's own text, unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

/// Whether resources that were made collectively may be freed collectively: MPI is running, and no
/// error unwinds this rank. After an error the peers, which do not know of it, would never call the
/// same function, and the error could not be reported. MPI_Finalize or the end of the process then
/// frees the resources.
[[nodiscard]] bool frees_together() noexcept;

/// MPI_Init_thread and MPI_Finalize as one object; the first object made in main, the last
/// destroyed. Asks for MPI_THREAD_MULTIPLE.
class MpiSession {
 public:
  MpiSession(int& argc, char**& argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  [[nodiscard]] int provided_threads() const noexcept { return provided_; }

 private:
  int provided_ = 0;
};

/// An owned duplicate of a communicator whose errors are returned, never aborted on.
class Communicator {
 public:
  /// Collective over `parent`.
  [[nodiscard]] static Communicator duplicate(MPI_Comm parent);
  /// The ranks that share memory with this one. Collective over `parent`.
  [[nodiscard]] static Communicator split_shared(MPI_Comm parent);
  /// The ranks of this one that pass the same color, in rank order. Collective.
  [[nodiscard]] Communicator split(int color) const;
  Communicator(Communicator&& other) noexcept : comm_(other.comm_) { other.comm_ = MPI_COMM_NULL; }
  Communicator& operator=(Communicator&& other) noexcept {
    std::swap(comm_, other.comm_);
    return *this;
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator();
  [[nodiscard]] MPI_Comm get() const noexcept { return comm_; }
  /// Waits, without occupying a core, until all ranks have called it or `limit` is over, and
  /// returns whether they did. If not, this rank must not use the communicator again. Collective.
  [[nodiscard]] bool meet(std::optional<std::chrono::duration<double>> limit) const;
  [[nodiscard]] int rank() const;
  [[nodiscard]] int size() const;

 private:
  explicit Communicator(MPI_Comm comm);
  MPI_Comm comm_ = MPI_COMM_NULL;
};

/// MPI library version text, first line.
[[nodiscard]] std::string mpi_library_version();

}  // namespace th::runtime
