#include "th/runtime/launch.hpp"

#include <charconv>
#include <cstring>

#include "th/runtime/resource_usage.hpp"

namespace th::runtime {
namespace {

std::optional<int> number_of(const Environment& env, const char* name) {
  const char* text = env(name);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, code] = std::from_chars(text, end, value);
  if (code != std::errc() || rest != end) return std::nullopt;
  return value;
}

// Slurm's batch shell and the shell of salloc are no step of srun: there SLURM_PROCID and the task counts say nothing of this process.
bool in_srun_step(const Environment& env) {
  const char* step = env("SLURM_STEP_ID");
  return step != nullptr && *step != '\0' && env("SLURM_STEP_NUM_TASKS") != nullptr && env("SLURM_PROCID") != nullptr;
}

std::string alone_message(const char* name, int count) {
  return "broken launch: the launcher started " + std::to_string(count) + " processes (" + name + "=" + std::to_string(count) +
         ") but MPI sees 1 rank: each process is alone and would train the whole model by itself into the same output folder. ";
}

}  // namespace

std::optional<std::string> broken_launch(int mpi_size, const Environment& env) {
  if (mpi_size != 1) return std::nullopt;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const auto count = number_of(env, name);
    if (count && *count > 1) {
      return alone_message(name, *count) +
             "The launcher belongs to another MPI than the one this program is linked with: use the mpirun of that MPI "
             "(`ldd` on this program names its libmpi), or rebuild with the MPI of this launcher.";
    }
    if (count) return std::nullopt;  // the innermost launcher agrees: one process
  }
  if (in_srun_step(env)) {
    const auto count = number_of(env, "SLURM_STEP_NUM_TASKS");
    if (count && *count > 1) {
      return alone_message("SLURM_STEP_NUM_TASKS", *count) +
             "srun and MPI share no PMI: start it with `srun --mpi=pmix` (`srun --mpi=list` shows what Slurm offers), "
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

std::optional<std::string> binding_warning(std::int64_t threads, std::int64_t workers) {
  const int cpus = cpus_in_mask();
  const std::int64_t wanted = threads + workers;
  if (cpus == 0 || cpus >= wanted) return std::nullopt;
  return "this rank may run on " + std::to_string(cpus) + " CPU(s) (" + cpu_mask_text() + ") but is to run " + std::to_string(threads) +
         " thread(s) and " + std::to_string(workers) + " worker(s), so they will take turns: start with " +
         "`mpirun --bind-to none` or `mpirun --map-by slot:PE=" + std::to_string(wanted) + "`, or `srun --cpus-per-task=" + std::to_string(wanted) + "`, or ask for fewer threads";
}

}  // namespace th::runtime
