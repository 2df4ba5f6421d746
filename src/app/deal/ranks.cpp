#include "app/deal/ranks.hpp"

#include "app/deal/messages.hpp"
#include "th/base/error.hpp"

#include <new>

namespace th::app {

std::string current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return packed_error(static_cast<int>(error.exit_code()), error.what());
  } catch (const std::bad_alloc&) {
    return packed_error(static_cast<int>(ExitCode::kMemory),
                        "out of memory; a smaller --batch or --batch-tokens takes less");
  } catch (const std::exception& error) {
    return packed_error(static_cast<int>(ExitCode::kDiffers),
                        std::string("internal error: ") + error.what());
  }
}

void run_on_all(const runtime::Communicator& world, const std::function<void()>& work) {
  std::string error;
  try {
    work();
  } catch (const std::exception&) {
    error = current_error();
  }
  int failed = error.empty() ? world.size() : world.rank();
  runtime::check_mpi(MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MIN, world.get()),
                     "MPI_Allreduce");
  if (failed == world.size()) return;
  auto size = static_cast<std::int64_t>(error.size());
  runtime::check_mpi(MPI_Bcast(&size, 1, MPI_INT64_T, failed, world.get()), "MPI_Bcast");
  error.resize(static_cast<std::size_t>(size));
  runtime::check_mpi(MPI_Bcast(error.data(), static_cast<int>(size), MPI_CHAR, failed, world.get()),
                     "MPI_Bcast");
  const auto [code, text] = unpacked_error(error);
  throw Error(static_cast<ExitCode>(code), text, Error::Thrown::kEverywhere);
}

}  // namespace th::app
