#include "application.hpp"

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/config/schema.hpp"
#include "th/io/failure_point.hpp"
#include "th/model/torch_memory.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/cuda_plugin.hpp"
#include "th/runtime/launch.hpp"
#include "th/runtime/mpi_collectives.hpp"
#include "th/runtime/resource_usage.hpp"
#include "th/runtime/watchdog.hpp"
#include "th/runtime/watched_collectives.hpp"
#include "th/train/agreement.hpp"
#include "th/train/plan_command.hpp"
#include "th/train/selfcheck.hpp"
#include "th/train/trainer.hpp"

#include <ATen/Parallel.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <set>

namespace th::app {

namespace {

const char* environment(const char* name) { return std::getenv(name); }

void print(const std::string& text) {
  std::fputs((text + "\n").c_str(), stdout);
  std::fflush(stdout);
}

std::string version_text() {
  const BuildInfo b = build_info();
  return "th_app " + build_line() + "\nLibTorch " + b.torch + ", HDF5 " + b.hdf5 + ", Boost " + b.boost + ", MPI " + b.mpi + "\nProcessor: " +
         processor_name() + " (" + instruction_set() + ")\nDevices: " + runtime::device_list_text();
}

void print_header(const config::LoadedDeck& deck, const std::string& deck_path, runtime::Collectives& collectives, Log& log) {
  const std::vector<std::string> hosts = collectives.gather_texts(runtime::hostname());
  const std::vector<std::string> sets = collectives.gather_texts(instruction_set());
  for (std::size_t r = 1; r < sets.size(); ++r) {
    if (collectives.rank() == 0 && sets[r] != sets[0]) log.warn("rank " + std::to_string(r) + " on " + hosts[r] + " has the instruction set " + sets[r] + ", rank 0 " + sets[0] + ": the bits may differ");
  }
  monitor::HeaderInfo info;
  info.version = "th_app " + build_line();
  info.run_name = deck.name;
  info.deck = deck_path;
  info.output_dir = deck.config.run.output_dir;
  info.mpi_library = runtime::mpi_library_version();
  info.torch_version = build_info().torch;
  info.device = "cpu, " + processor_name();
  info.stage = std::to_string(deck.config.zero.stage);
  info.ranks = collectives.size();
  info.nodes = static_cast<int>(std::set<std::string>(hosts.begin(), hosts.end()).size());
  info.threads = deck.config.run.threads;
  info.cpus = runtime::cpu_mask_text();
  std::string names;
  for (const std::string& host : std::set<std::string>(hosts.begin(), hosts.end())) names += (names.empty() ? "" : " ") + host;
  info.more = {{"hosts", names}, {"backend", collectives.description()}};
  log.info(monitor::header_text(info));
  for (const std::string& warning : deck.warnings) {
    if (collectives.rank() == 0) log.warn(warning);  // every rank reads the same deck
  }
  if (const auto warning = runtime::binding_warning(deck.config.run.threads, deck.config.data.num_workers); warning && collectives.rank() == 0) log.warn(*warning);
}

/// Everything between MPI's start and end. Throws the same Error on every rank.
int train(const config::CommandLine& line, runtime::Collectives& collectives, const runtime::Communicator& node, Log& log) {
  config::LoadedDeck deck;
  train::run_agreed(collectives, [&] { deck = config::load_deck(line.deck_path, line.overrides); });
  const std::vector<std::string> hashes = collectives.gather_texts(std::to_string(config::deck_hash(deck)));
  for (std::size_t r = 1; r < hashes.size(); ++r) {
    if (hashes[r] != hashes[0]) throw DeckError("rank " + std::to_string(r) + " reads another deck than rank 0 from " + line.deck_path);
  }
  train::run_agreed(collectives, [&] { io::FailurePoint::arm_from(environment("TH_FAIL_SAVE"), collectives.rank()); });
  at::set_num_threads(static_cast<int>(deck.config.run.threads));
  print_header(deck, line.deck_path, collectives, log);
  if (line.action == config::Action::kSelfcheck) {
    return static_cast<int>(train::selfcheck(deck, collectives, node, log) ? ExitCode::kCompleted : ExitCode::kDiffers);
  }
  std::string token = runtime::make_watchdog_token();
  collectives.broadcast(token, 0);
  runtime::Watchdog watchdog({token, collectives.rank(), node.rank(), node.size(), deck.config.comm.timeout_seconds});
  const std::unique_ptr<runtime::WatchedCollectives> watched = runtime::make_watched_collectives(collectives, watchdog);
  return train::Trainer(deck, *watched, watchdog, node, log).run();
}

}  // namespace

int answer(const config::CommandLine& line) {
  switch (line.action) {
    case config::Action::kHelp: print(config::help_text()); break;
    case config::Action::kVersion: print(version_text()); break;
    case config::Action::kExplain: print(config::explain(line.explain_key)); break;
    case config::Action::kCheck: {
      const config::LoadedDeck deck = config::load_deck(line.deck_path, line.overrides);
      for (const std::string& warning : deck.warnings) print("# warning: " + warning);
      print(config::resolved_text(deck));
      break;
    }
    case config::Action::kPlan: {
      if (runtime::launcher_rank(environment) != 0) break;  // below mpirun one process answers
      const config::LoadedDeck deck = config::load_deck(line.deck_path, line.overrides);
      for (const std::string& warning : deck.warnings) print("warning: " + warning);
      model::observe_torch_memory();
      const train::PlanAnswer plan = train::plan_run(deck, runtime::launched_ranks(environment));
      print(plan.text);
      return static_cast<int>(plan.fits ? ExitCode::kCompleted : ExitCode::kMemory);
    }
    default: throw InternalError("answer() was asked to run");
  }
  return static_cast<int>(ExitCode::kCompleted);
}

int run(const config::CommandLine& line, int& argc, char**& argv) {
  model::observe_torch_memory();
  const model::DeviceMemoryObserver devices;
  const runtime::MpiSession session(argc, argv);
  const std::unique_ptr<runtime::Collectives> collectives = runtime::make_mpi_collectives(MPI_COMM_WORLD);
  const runtime::Communicator node = runtime::Communicator::split_shared(MPI_COMM_WORLD);
  const int rank = collectives->rank();
  int code = static_cast<int>(ExitCode::kCompleted);
  {
    Log log(rank, runtime::hostname());
    if (const auto message = runtime::broken_launch(collectives->size(), environment)) {
      if (runtime::launcher_rank(environment) == 0) log.error(*message);
      return static_cast<int>(ExitCode::kCommunication);
    }
    try {
      code = train(line, *collectives, node, log);
    } catch (const Error& error) {
      code = static_cast<int>(error.exit_code());
      if (rank == 0) log.error(error.what());
    } catch (const std::bad_alloc&) {
      std::fprintf(stderr, "[rank %d %s] error: out of memory; th_app %s --plan shows what the run takes by class and stage and what to change\n", rank,
                   runtime::hostname().c_str(), line.deck_path.c_str());
      std::fflush(stderr);
      MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::kMemory));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "[rank %d %s] internal error: %s\n", rank, runtime::hostname().c_str(), error.what());
      std::fflush(stderr);
      MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::kDiffers));
    }
  }
  std::fflush(stdout);
  std::fflush(stderr);
  collectives->barrier();  // a launcher kills the slower ranks once one has left with an error
  return code;
}

}  // namespace th::app
