#include "th/runtime/transport/launch.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>
#include <thread>

#include "th/base/error.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/runtime/observe/signals.hpp"

namespace th::runtime {
namespace {

std::optional<int> number_in(std::string_view text) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, value);
  if (code != std::errc() || rest != end) return std::nullopt;
  return value;
}

std::optional<int> number_of(const Environment& env, const char* name) {
  const char* text = env(name);
  return text == nullptr ? std::nullopt : number_in(text);
}

// Slurm's batch shell and the shell of salloc are no step of srun: there SLURM_PROCID and the task
// counts say nothing of this process.
bool in_srun_step(const Environment& env) {
  const char* step = env("SLURM_STEP_ID");
  return step != nullptr && *step != '\0' && env("SLURM_STEP_NUM_TASKS") != nullptr &&
         env("SLURM_PROCID") != nullptr;
}

std::string alone_message(const char* name, int count) {
  return "broken launch: the launcher started " + std::to_string(count) + " processes (" + name +
         "=" + std::to_string(count) +
         ") but MPI sees 1 rank: each process is alone and would train the whole model by itself "
         "into the same output folder. ";
}

}  // namespace

std::optional<std::string> broken_launch(int mpi_size, const Environment& env) {
  if (mpi_size != 1) return std::nullopt;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const auto count = number_of(env, name);
    if (count && *count > 1) {
      return alone_message(name, *count) +
             "The launcher belongs to another MPI than the one this program is linked with: use "
             "the mpirun of that MPI "
             "(`ldd` on this program names its libmpi), or rebuild with the MPI of this launcher.";
    }
    if (count) return std::nullopt;  // the innermost launcher agrees: one process
  }
  if (in_srun_step(env)) {
    const auto count = number_of(env, "SLURM_STEP_NUM_TASKS");
    if (count && *count > 1) {
      return alone_message("SLURM_STEP_NUM_TASKS", *count) +
             "srun and MPI share no PMI: start it with `srun --mpi=pmix` (`srun --mpi=list` shows "
             "what Slurm offers), "
             "or with mpirun inside the allocation.";
    }
  }
  return std::nullopt;
}

int launched_ranks(const Environment& env) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (const auto count = number_of(env, name)) return *count;
  }
  if (in_srun_step(env)) return number_of(env, "SLURM_STEP_NUM_TASKS").value_or(1);
  return number_of(env, "SLURM_NTASKS").value_or(1);
}

int launcher_rank(const Environment& env) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"}) {
    if (const auto rank = number_of(env, name)) return *rank;
  }
  if (in_srun_step(env)) return number_of(env, "SLURM_PROCID").value_or(0);
  return 0;
}

void wait_for_launcher() {
  using std::chrono::steady_clock;
  const steady_clock::time_point latest = steady_clock::now() + std::chrono::seconds(5);
  while (StopSignals::stop_requested() == 0 && steady_clock::now() < latest)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

std::vector<int> pretended_nodes(const Environment& env, int ranks) {
  constexpr std::string_view kCyclic = "cyclic:";
  const char* set = env("TH_FAKE_NODES");
  std::vector<int> out;
  if (set == nullptr || *set == '\0') return out;
  std::string_view text = set;
  const auto refuse = [&](const std::string& why) {
    throw DeckError("TH_FAKE_NODES=" + std::string(set) + ": " + why +
                    "; allowed are the rank counts of the nodes, as in 2,2, or cyclic:2 for two "
                    "nodes in turn; unset it on a real machine");
  };
  if (text.substr(0, kCyclic.size()) == kCyclic) {
    const std::optional<int> nodes = number_in(text.substr(kCyclic.size()));
    if (!nodes || *nodes < 1 || *nodes > ranks)
      refuse("no number of nodes from 1 to the " + std::to_string(ranks) + " ranks");
    for (int r = 0; r < ranks; ++r) out.push_back(r % *nodes);
    return out;
  }
  for (int node = 0; !text.empty(); ++node) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::optional<int> count = number_in(text.substr(0, comma));
    if (!count || *count < 1 || *count > ranks)
      refuse("no rank count from 1 to " + std::to_string(ranks));
    out.insert(out.end(), static_cast<std::size_t>(*count), node);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  if (std::ssize(out) != ranks)
    refuse("it has " + std::to_string(out.size()) + " ranks, the launch " + std::to_string(ranks));
  return out;
}

std::optional<std::string> binding_warning(std::int64_t threads, std::int64_t workers) {
  const int cpus = cpus_in_mask();
  const std::int64_t wanted = threads + workers;
  if (cpus == 0 || cpus >= wanted) return std::nullopt;
  return "this rank may run on " + std::to_string(cpus) + " CPU(s) (" + cpu_mask_text() +
         ") but is to run " + std::to_string(threads) + " thread(s) and " +
         std::to_string(workers) + " worker(s), so they will take turns: start with " +
         "`mpirun --bind-to none` or `mpirun --map-by slot:PE=" + std::to_string(wanted) +
         "`, or `srun --cpus-per-task=" + std::to_string(wanted) + "`, or ask for fewer threads";
}

}  // namespace th::runtime
