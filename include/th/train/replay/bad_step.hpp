#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/data/batch.hpp"

namespace th::train {

/// A step that ended its run, saved for th_app --replay: its micro-batches, and the path of the
/// parameters before it.
struct BadStep {
  std::int64_t step = 0;            ///< from 1
  std::int64_t optimizer_step = 0;  ///< the step's number for the optimizer, from 1
  double loss = 0, grad_norm = 0;   ///< those of the run; null in the file if they are not finite
  double loss_scale = 1;
  double source_per_target = 1;  ///< TransformerSpec::source_per_target
  std::string not_finite;        ///< the first tensor with such a gradient; empty: not known
  std::string deck;              ///< the resolved deck
  std::string checkpoint;        ///< the parameters, relative to the file's folder
  std::vector<data::Batch> slots;
};

/// JSON of some slots, for bad_step_json(): "[{…},…]".
[[nodiscard]] std::string slots_json(const std::vector<data::Batch>& slots);
/// The file's text. `slots` are in the order of their numbers, each as slots_json() gives it.
[[nodiscard]] std::string bad_step_json(const BadStep& bad, const std::vector<std::string>& slots);
/// Splits "[{…},{…}]" into the texts of its objects.
[[nodiscard]] std::vector<std::string> slots_of(const std::string& json);
/// Reads such a file. Throws DataError if it is no such file.
[[nodiscard]] BadStep read_bad_step(const std::string& path);

}  // namespace th::train
