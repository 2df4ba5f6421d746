#pragma once

#include <cstdint>
#include <string_view>

#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// Compares the collective that each rank is about to call (comm.check_order). A rank that calls
/// none is found by the watchdog.
class OrderCheck {
 public:
  /// A call's name, and the sizes that must be the same on all ranks.
  struct Call {
    std::string_view name;  ///< cut to 39 characters
    std::int64_t first = 0, second = 0;
  };

  /// Makes a check with a communicator of its own. Collective over `world`; MPI must outlive the
  /// result.
  explicit OrderCheck(MPI_Comm world) : comm_(Communicator::duplicate(world)) {}

  /// Every rank calls this before each of its collectives. If the calls differ, throws MpiError on
  /// every rank; it names rank 0's call, and the first rank whose call differs, with its call.
  /// Collective.
  void agree(const Call& mine);

 private:
  Communicator comm_;
  std::int64_t number_ = 0;  ///< of calls compared
};

}  // namespace th::runtime
