#pragma once

#include <cstdint>
#include <string_view>

#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// Compares what collective each rank is about to call (comm.check_order). A rank that calls none
/// is the watchdog's.
class OrderCheck {
 public:
  /// A call by its name and the sizes that all ranks have to pass alike.
  struct Call {
    std::string_view name;  ///< cut to 39 characters
    std::int64_t first = 0, second = 0;
  };

  /// Has messages of its own. Collective over `world`; MPI runs longer than the result.
  explicit OrderCheck(MPI_Comm world) : comm_(Communicator::duplicate(world)) {}

  /// Collective: every rank before each of its collectives. Throws MpiError on every rank when they
  /// differ; it names rank 0's call, and the first rank whose call differs with its call.
  void agree(const Call& mine);

 private:
  Communicator comm_;
  std::int64_t number_ = 0;  ///< of calls compared
};

}  // namespace th::runtime
