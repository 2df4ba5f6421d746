#pragma once

#include <string>
#include <vector>

#include "app/report/files/run_data.hpp"
#include "app/report/pictures/picture.hpp"

namespace th::app {

/// Every picture for which one of the runs has numbers, each with a curve a run: loss, valid_loss,
/// a score_METRIC for each metric of validation, rate, lr, grad_norm, loss_scale, memory (planned
/// beside measured), memory_over_steps, time (by phase).
[[nodiscard]] std::vector<Picture> pictures_of(const std::vector<RunData>& runs);

/// Seconds of a run by phase, in the order in which they are shown; phases without time are left
/// out. On a GPU, and without TensorBoard's files, steps are one phase.
struct PhaseSeconds {
  std::string name;
  double seconds = 0;
};
[[nodiscard]] std::vector<PhaseSeconds> phases_of(const RunData& run);

}  // namespace th::app
