#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace th::app {

struct CheckpointLine {
  std::string name;   ///< "step_00001234", "mean_00001234"
  std::string marks;  ///< "latest, best": the files that name it
  std::string written;
  std::int64_t bytes = 0, shards = 0;
  bool complete = false;  ///< model.h5 is there
};

/// The checkpoints of a run, oldest first, and what the newest one says of the run that wrote it;
/// empty texts and zero counts where it can't be read.
struct CheckpointList {
  std::vector<CheckpointLine> lines;
  std::string read;  ///< the checkpoint that is spoken of below
  std::string build, identity, run, parent;
  std::int64_t step = 0, world_size = 0, zero_stage = -1;
  std::string trouble;  ///< why it can't be read
};

/// Of the folder `checkpoints` of a run; one that is missing gives an empty list.
[[nodiscard]] CheckpointList read_checkpoints(const std::string& folder);

}  // namespace th::app
