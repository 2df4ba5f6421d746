#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace th::runtime {

/// A function that reads an environment variable: std::getenv, or a table in tests. It returns null
/// if the variable is not set.
using Environment = std::function<const char*(const char*)>;

/// The message for a launch in which every process is alone: MPI has one rank (`mpi_size` 1)
/// although the launcher says that it started several. It names the variable that says so and the
/// way out; empty if the launch is sound. A batch shell of Slurm is sound.
[[nodiscard]] std::optional<std::string> broken_launch(int mpi_size, const Environment& env);

/// The number of ranks by the launcher's variables, or the number for which a Slurm job asked; 1
/// without either.
[[nodiscard]] int launched_ranks(const Environment& env);

/// This process's rank by the launcher's variables; 0 without a launcher. By it only one process
/// prints before or without MPI.
[[nodiscard]] int launcher_rank(const Environment& env);

/// Waits until the launcher ends this process, at most 5 seconds. A rank that leaves an error
/// message to rank 0 calls it before it exits with the error's code: a launcher ends all ranks as
/// soon as the first one exits so, and rank 0 may not have written its line by then. Not
/// collective; needs the handlers of StopSignals.
void wait_for_launcher();

/// The node of each of `ranks` ranks by TH_FAKE_NODES, by which tests split the ranks of one
/// machine into pretended nodes: "2,3" is 2 ranks and then 3, "cyclic:2" deals them to 2 nodes in
/// turn. Empty if it is not set. Throws DeckError if it can't be read or does not have `ranks`
/// ranks.
[[nodiscard]] std::vector<int> pretended_nodes(const Environment& env, int ranks);

/// A warning if the affinity mask of this process holds fewer CPUs than `threads` + `workers` need;
/// empty if it is wide enough.
[[nodiscard]] std::optional<std::string> binding_warning(std::int64_t threads,
                                                         std::int64_t workers);

}  // namespace th::runtime
