#include "app/deal/ranks.hpp"
#include "app/serve/server.hpp"
#include "app/translate/job.hpp"
#include "app/translate/request.hpp"
#include "th/base/error.hpp"
#include "th/base/leave.hpp"
#include "th/runtime/observe/signals.hpp"
#include "th/runtime/transport/launch.hpp"
#include "th/runtime/transport/link_check.hpp"

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <tuple>

#include <malloc.h>

// th_translate CHECKPOINT [--input F] [--output G]: one source line in, one target line out, in
// order, by one process or by the ranks of a launch. docs/translate.md.
namespace {

const char* environment(const char* name) { return std::getenv(name); }

/// What happened to a rank alone ends them all.
int end_all(const std::string& error) {
  const auto [code, text] = th::unpacked_error(error);
  std::cerr << "th_translate: " + text + "\n" << std::flush;
  MPI_Abort(MPI_COMM_WORLD, code);
  return code;
}

int run_launched(const th::app::Request& request, int& argc, char**& argv) {
  // Read before MPI begins, which sets such variables for a process of its own.
  const std::optional<std::string> alone = th::runtime::broken_launch(1, environment);
  const th::runtime::MpiSession session(argc, argv);
  th::runtime::require_links(MPI_COMM_WORLD, environment);
  const auto world = th::runtime::Communicator::duplicate(MPI_COMM_WORLD);
  const auto node = th::runtime::Communicator::split_shared(MPI_COMM_WORLD);
  if (world.size() == 1 && alone) throw th::CommunicationError(*alone);
  int code = 0;
  try {
    code = th::app::run_on_ranks(request, world, node);
  } catch (const th::Error& error) {
    if (error.thrown() != th::Error::Thrown::kEverywhere) return end_all(th::app::current_error());
    code = static_cast<int>(error.exit_code());
    if (world.rank() == 0) std::cerr << "th_translate: " << error.what() << "\n";
  } catch (const std::exception&) {
    return end_all(th::app::current_error());
  }
  std::cerr.flush();
  // A launcher kills the slower ranks once one has left with an error.
  (void)world.meet(std::nullopt);
  return code;
}

int run(int argc, char** argv) {
  const th::app::Request request = th::app::parse_request(argc, argv);
  const bool launched = th::runtime::launched_ranks(environment) > 1;
  if (!request.serve.empty()) {
    if (launched) throw th::DeckError("--serve is of one process: start it without mpirun or srun");
    return th::app::serve(request);
  }
  if (launched) return run_launched(request, argc, argv);
  return th::app::run_alone(request);
}

/// Batches take and give back the same memory again and again: the system would have to clear it
/// each time.
void keep_freed_memory() {
#if defined(__GLIBC__)
  constexpr int kMostOfHeap = 32 << 20, kKept = 1 << 30;  // the first is the most that glibc takes
  mallopt(M_MMAP_THRESHOLD, kMostOfHeap);
  mallopt(M_TRIM_THRESHOLD, kKept);
#endif
}

int act(int argc, char** argv) {
  th::runtime::StopSignals::install();
  std::signal(SIGPIPE, SIG_IGN);  // a write fails in its place
  int code = 0;
  std::string text;
  try {
    return run(argc, argv);
  } catch (const th::Error& error) {
    code = static_cast<int>(error.exit_code());
    text = error.what();
  } catch (const std::exception&) {
    std::tie(code, text) = th::unpacked_error(th::app::current_error());
  }
  // Every rank of a launch fails alike here: one of them speaks.
  if (th::runtime::launcher_rank(environment) == 0)
    std::cerr << "th_translate: " << text << "\n";
  else
    th::runtime::wait_for_launcher();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  th::leave(act(argc, argv));
}
