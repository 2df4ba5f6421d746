#include "application.hpp"

#include "check_command.hpp"

#include "th/base/bit_flip.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/config/schema.hpp"
#include "th/io/failure_point.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/runtime/observe/watchdog.hpp"
#include "th/runtime/plugin/cuda_plugin.hpp"
#include "th/runtime/transport/launch.hpp"
#include "th/runtime/transport/link_check.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/runtime/transport/self_test.hpp"
#include "th/runtime/transport/watched_collectives.hpp"
#include "th/train/agreement.hpp"
#include "th/train/plan/plan_command.hpp"
#include "th/train/replay/replay.hpp"
#include "th/train/run_device.hpp"
#include "th/train/selfcheck.hpp"
#include "th/train/trainer.hpp"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <map>
#include <new>
#include <optional>
#include <utility>

namespace th::app {

namespace {

const char* environment(const char* name) { return std::getenv(name); }

void print(const std::string& text) {
  std::fputs((text + "\n").c_str(), stdout);
  std::fflush(stdout);
}

std::string version_text() {
  const BuildInfo b = build_info();
  return "th_app " + build_line() + "\nLibTorch " + b.torch + ", HDF5 " + b.hdf5 + ", Boost " +
         b.boost + ", MPI " + b.mpi + "\nProcessor: " + processor_name() + " (" +
         instruction_set() + ")\nDevices: " + runtime::device_list_text();
}

/// "0-3,6".
std::string ranges_text(const std::vector<int>& ascending) {
  std::string out;
  for (std::size_t i = 0; i < ascending.size();) {
    std::size_t end = i;
    while (end + 1 < ascending.size() && ascending[end + 1] == ascending[end] + 1) ++end;
    if (!out.empty()) out += ',';
    out += std::to_string(ascending[i]);
    if (end > i) out.append("-").append(std::to_string(ascending[end]));
    i = end + 1;
  }
  return out;
}

/// "node0 (ranks 0-3) node1 (ranks 4-7)".
std::string hosts_text(const std::vector<std::string>& host_of_rank) {
  std::map<std::string, std::vector<int>> ranks;
  for (std::size_t r = 0; r < host_of_rank.size(); ++r)
    ranks[host_of_rank[r]].push_back(static_cast<int>(r));
  std::string out;
  for (const auto& [host, those] : ranks) {
    if (!out.empty()) out += ' ';
    out.append(host)
        .append(those.size() > 1 ? " (ranks " : " (rank ")
        .append(ranges_text(those))
        .append(")");
  }
  return out;
}

/// "2 (TH_FAKE_NODES=2,2): ranks 0-1; 2-3", empty on real nodes.
std::string pretended_text(const runtime::NodeMap& nodes) {
  const char* set = environment("TH_FAKE_NODES");
  if (set == nullptr || *set == '\0') return "";
  std::string out;
  for (int node = 0; node < nodes.nodes(); ++node)
    out.append(node > 0 ? "; " : "").append(ranges_text(nodes.ranks_of(node)));
  return std::to_string(nodes.nodes()) + " (TH_FAKE_NODES=" + set + "): ranks " + out;
}

/// Tries the transport before anything relies on it. Collective. Throws the same MpiError on every
/// rank.
std::string self_test_text(runtime::Collectives& collectives) {
  std::string_view planted;
  train::run_agreed(collectives.control(), [&] {
    planted = runtime::planted_fault(environment("TH_FAIL_SELF_TEST"), collectives.rank());
  });
  const runtime::SelfTestRates rates = runtime::self_test(collectives, planted);
  if (collectives.size() == 1) return "passed";
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(),
                "passed; exchange %.2f GB/s, all-gather %.2f GB/s that a rank sends",
                rates.exchange * 1e-9, rates.all_gather * 1e-9);
  return text.data();
}

void print_header(const config::LoadedDeck& deck, const std::string& deck_path,
                  const train::RunDevice& device, runtime::Collectives& collectives,
                  const std::string& self_test, Log& log) {
  const std::vector<std::string> hosts = collectives.control().gather_texts(runtime::hostname());
  const std::vector<std::string> sets = collectives.control().gather_texts(instruction_set());
  for (std::size_t r = 1; r < sets.size(); ++r) {
    if (collectives.rank() == 0 && sets[r] != sets[0])
      log.warn("rank " + std::to_string(r) + " on " + hosts[r] + " has the instruction set " +
               sets[r] + ", rank 0 " + sets[0] + ": the bits may differ");
  }
  monitor::HeaderInfo info;
  info.version = "th_app " + build_line();
  info.run_name = deck.name;
  info.deck = deck_path;
  info.output_dir = deck.config.run.output_dir;
  info.mpi_library = runtime::mpi_library_version();
  info.torch_version = build_info().torch;
  info.device = device.kind() + ", " + processor_name();
  if (!device.why_cpu().empty()) info.device += "; run.device=auto: " + device.why_cpu();
  info.stage = std::to_string(deck.config.zero.stage);
  info.ranks = collectives.size();
  info.nodes = collectives.nodes().nodes();
  info.threads = deck.config.run.threads;
  info.cpus = runtime::cpu_mask_text();
  info.more = {{"hosts", hosts_text(hosts)}};
  if (const std::string pretended = pretended_text(collectives.nodes()); !pretended.empty())
    info.more.emplace_back("pretended nodes", pretended);
  info.more.emplace_back("backend", device.collectives().description());
  info.more.emplace_back("self-test", self_test);
  info.more.insert(info.more.end(), device.lines().begin(), device.lines().end());
  log.info(monitor::header_text(info));
  for (const std::string& warning : deck.warnings) {
    if (collectives.rank() == 0) log.warn(warning);  // every rank reads the same deck
  }
  for (const std::string& warning : config::planning_keys(deck)) {
    if (collectives.rank() == 0) log.warn(warning);
  }
  const config::ZeroSection& zero = deck.config.zero;
  for (const auto& [asked, key] : {std::pair(zero.offload_optimizer, "zero.offload_optimizer"),
                                   std::pair(zero.offload_parameters, "zero.offload_parameters")}) {
    const bool idle =
        asked && !device.on_gpu() && deck.config.run.device == config::DeviceKind::kAuto;
    if (idle && collectives.rank() == 0)
      log.warn(std::string(key) + " has no effect: the device is a CPU");
  }
  if (!collectives.shares_memory() && collectives.rank() == 0)
    log.warn(
        "ranks of a node can't share memory, so that everything goes by messages: the same bits, "
        "more memory and time (docs/troubleshooting.md)");
  if (const auto warning =
          runtime::binding_warning(deck.config.run.threads, deck.config.data.num_workers);
      warning && collectives.rank() == 0)
    log.warn(*warning);
}

/// Ranks of two builds may differ in bits, and in what they send. Collective. Throws the same
/// MpiError on every rank. TH_FAIL_BUILD=RANK gives that rank another build (tests).
void compare_builds(runtime::Collectives& collectives) {
  std::string mine = build_line() + ", LibTorch " + build_info().torch;
  const char* planted = environment("TH_FAIL_BUILD");
  if (planted != nullptr && planted == std::to_string(collectives.rank())) mine += ", planted";
  const std::vector<std::string> builds = collectives.control().gather_texts(mine);
  const auto other = std::find_if(builds.begin(), builds.end(),
                                  [&](const std::string& one) { return one != builds.front(); });
  if (other == builds.end()) return;
  const auto rank = static_cast<std::size_t>(other - builds.begin());
  const std::vector<std::string> hosts = collectives.control().gather_texts(runtime::hostname());
  throw MpiError("broken launch: rank " + std::to_string(rank) + " on " + hosts[rank] +
                 " runs th_app " + *other + ", rank 0 on " + hosts[0] + " th_app " +
                 builds.front() + ": install one build on all hosts");
}

/// The transport of a run between host memories. Collective.
std::unique_ptr<runtime::Collectives> make_transport(int ranks) {
  return runtime::make_mpi_collectives(MPI_COMM_WORLD, runtime::TransportChoice::kBest,
                                       runtime::pretended_nodes(environment, ranks));
}

/// The self-test of a transport like `collectives`, which goes with all that it took: the buffers
/// of its large messages would stay in the run's own transport, where no plan counts them.
/// Collective. Throws the same MpiError on every rank.
std::string test_transport(const runtime::Collectives& collectives, runtime::Watchdog& watchdog) {
  const std::unique_ptr<runtime::Collectives> tried = make_transport(collectives.size());
  return self_test_text(*runtime::make_watched_collectives(*tried, watchdog));
}

/// How long an error of this rank waits for the others to have it too.
using Patience = std::chrono::duration<double>;

/// Everything between MPI's start and end. An Error that all ranks throw alike says so, or all get
/// here within `patience`, which the deck can shorten.
int train(const config::CommandLine& line, runtime::Collectives& collectives,
          const runtime::Communicator& node, Log& log, Patience& patience) {
  config::LoadedDeck deck;
  train::BadStep bad;
  const bool replays = line.action == config::Action::kReplay;
  compare_builds(collectives);
  train::run_agreed(collectives.control(), [&] {
    if (replays) bad = train::read_bad_step(line.replay_path);
    deck = replays ? config::load_deck_text(bad.deck, line.replay_path, "/", line.overrides)
                   : config::load_deck(line.deck_path, line.overrides);
  });
  const std::vector<std::string> hashes =
      collectives.control().gather_texts(std::to_string(config::deck_hash(deck)));
  for (std::size_t r = 1; r < hashes.size(); ++r) {
    if (hashes[r] != hashes[0])
      throw DeckError("rank " + std::to_string(r) + " reads another deck than rank 0 from " +
                      line.deck_path);
  }
  train::run_agreed(collectives.control(), [&] {
    io::FailurePoint::arm_from(environment("TH_FAIL_SAVE"), collectives.rank());
    BitFlip::arm_from(environment("TH_FLIP_BIT"), collectives.rank());
  });
  at::set_num_threads(static_cast<int>(deck.config.run.threads));
  if (deck.config.comm.timeout_seconds > 0)
    // Before it is a hang.
    patience = std::min(patience, Patience(deck.config.comm.timeout_seconds / 2));
  std::string token = runtime::make_watchdog_token();
  collectives.control().broadcast(token, 0);
  runtime::Watchdog watchdog(
      {token, collectives.rank(), node.rank(), node.size(), deck.config.comm.timeout_seconds});
  watchdog.enter("self-test", 0);
  const std::string self_test = test_transport(collectives, watchdog);
  watchdog.all_have_come();
  const train::RunDevice device(deck.config, collectives);
  print_header(deck, line.deck_path, device, collectives, self_test, log);
  std::optional<runtime::OrderCheck> order;
  if (deck.config.comm.check_order) order.emplace(MPI_COMM_WORLD);
  const std::unique_ptr<runtime::WatchedCollectives> watched =
      runtime::make_watched_collectives(device.collectives(), watchdog, order ? &*order : nullptr);
  if (line.action == config::Action::kSelfcheck) {
    return static_cast<int>(train::selfcheck(deck, device, *watched, node, log)
                                ? ExitCode::kCompleted
                                : ExitCode::kDiffers);
  }
  if (replays) {
    return static_cast<int>(train::replay(bad, line.replay_path, deck, device, *watched, log)
                                ? ExitCode::kCompleted
                                : ExitCode::kNumerics);
  }
  return train::Trainer(deck, device, *watched, watchdog, node, log).run();
}

}  // namespace

int answer(const config::CommandLine& line) {
  if (runtime::launcher_rank(environment) != 0)
    return static_cast<int>(ExitCode::kCompleted);  // below mpirun one process answers
  switch (line.action) {
    case config::Action::kHelp:
      print(config::help_text());
      break;
    case config::Action::kVersion:
      print(version_text());
      break;
    case config::Action::kExplain:
      print(config::explain(line.explain_keys));
      break;
    case config::Action::kCheck:
      print(check_text(line, runtime::launched_ranks(environment)));
      break;
    case config::Action::kPlan: {
      const config::LoadedDeck deck = config::load_deck(line.deck_path, line.overrides);
      for (const std::string& warning : deck.warnings) print("warning: " + warning);
      model::observe_torch_memory();
      const train::PlanAnswer plan = train::plan_run(deck, runtime::launched_ranks(environment));
      print(plan.text);
      return static_cast<int>(plan.fits ? ExitCode::kCompleted : ExitCode::kMemory);
    }
    default:
      throw InternalError("answer() was asked to run");
  }
  return static_cast<int>(ExitCode::kCompleted);
}

namespace {

void tell(int rank, const std::string& text) { tell_of_rank(rank, runtime::hostname(), text); }

/// How training ended on this rank.
struct End {
  int code = static_cast<int>(ExitCode::kCompleted);
  std::optional<std::string> here;  ///< an error that may be this rank's alone
};

/// Trains. An error that the other ranks do not know of ends them all, by MPI_Abort.
End train_to_an_end(const config::CommandLine& line, runtime::Collectives& collectives,
                    const runtime::Communicator& node, Log& log, Patience& patience) {
  const int rank = collectives.rank();
  const auto give_up = [rank](const std::string& text, ExitCode code) {
    tell(rank, text);
    MPI_Abort(MPI_COMM_WORLD, static_cast<int>(code));
  };
  End end;
  try {
    end.code = train(line, collectives, node, log, patience);
  } catch (const Error& error) {
    end.code = static_cast<int>(error.exit_code());
    if (rank == 0) log.error(error.what());
    if (error.thrown() == Error::Thrown::kHere) end.here = error.what();
  } catch (const std::bad_alloc&) {
    give_up("error: out of memory; th_app " + line.deck_path +
                " --plan shows what the run takes by class and stage and what to change",
            ExitCode::kMemory);
  } catch (const c10::OutOfMemoryError& error) {
    give_up("error: the GPU is out of memory; th_app " + line.deck_path +
                " --plan run.device=cuda shows what the run takes by class and stage (" +
                error.what_without_backtrace() + ")",
            ExitCode::kMemory);
  } catch (const c10::AcceleratorError& error) {
    give_up(std::string("error: the GPU failed: ") + error.what_without_backtrace(),
            ExitCode::kCommunication);
  } catch (const std::exception& error) {
    give_up(std::string("internal error: ") + error.what(), ExitCode::kDiffers);
  }
  return end;
}

}  // namespace

int run(const config::CommandLine& line, int& argc, char**& argv) {
  // Read before MPI begins, which sets such variables for a process of its own.
  const int launcher_rank = runtime::launcher_rank(environment);
  const std::optional<std::string> alone = runtime::broken_launch(1, environment);
  model::observe_torch_memory();
  const model::DeviceMemoryObserver devices;
  const runtime::MpiSession session(argc, argv);
  runtime::require_links(MPI_COMM_WORLD, environment);
  int ranks = 1;
  runtime::check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &ranks), "MPI_Comm_size");
  const std::unique_ptr<runtime::Collectives> collectives = make_transport(ranks);
  const runtime::Communicator node = runtime::Communicator::split_shared(MPI_COMM_WORLD);
  const runtime::Communicator leaving = runtime::Communicator::duplicate(MPI_COMM_WORLD);
  const int rank = collectives->rank();
  End end;
  Patience patience(5);
  {
    Log log(rank, runtime::hostname());
    if (alone && collectives->size() == 1) {
      if (launcher_rank == 0)
        log.error(*alone);
      else
        runtime::wait_for_launcher();
      return static_cast<int>(ExitCode::kCommunication);
    }
    end = train_to_an_end(line, *collectives, node, log, patience);
  }
  std::fflush(stdout);
  std::fflush(stderr);
  // A launcher kills the slower ranks once one has left with an error.
  if (leaving.meet(end.here ? std::optional(patience) : std::nullopt)) return end.code;
  if (rank > 0) tell(rank, "error: " + *end.here);  // rank 0 has told its own
  MPI_Abort(MPI_COMM_WORLD, end.code);
  return end.code;
}

}  // namespace th::app
