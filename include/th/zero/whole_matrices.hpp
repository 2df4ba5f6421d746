#pragma once

#include <cstdint>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/state_layout.hpp"

// Tensors that an optimizer updates as a whole (Muon, Adafactor), and which rank makes each whole.
namespace th::zero {

/// A tensor that is updated as a whole, row-major; a vector has one row. Muon's are the matrices of
/// the layers, an attention's in_proj_weight by the thirds of its rows; Adafactor's are all
/// tensors.
struct WholeMatrix {
  std::int64_t unit = 0;
  std::int64_t begin = 0;  ///< element of the whole unit
  std::int64_t rows = 0, columns = 0;
  std::int64_t owner = 0;  ///< the rank that makes it whole
  [[nodiscard]] std::int64_t count() const noexcept { return rows * columns; }
  /// Whether Adafactor stores means of rows and columns in place of a mean for each element.
  [[nodiscard]] bool factored() const noexcept { return rows + columns < count(); }
};

/// How many buffers of a unit's whole tensors arrive at their owners, and how many of them, the
/// first ones, return.
struct WholeTraffic {
  std::size_t arrivals = 0, returns = 0;
  [[nodiscard]] std::size_t buffers() const noexcept { return arrivals; }
};
[[nodiscard]] WholeTraffic whole_traffic(const config::RunConfig& config);
/// Whether the run's optimizer updates whole tensors.
[[nodiscard]] bool updates_whole_tensors(const config::RunConfig& config);
/// Floating point operations of the update of one, as far as they are matrix products: Muon's five
/// Newton-Schulz iterations; for Adafactor a few an element.
[[nodiscard]] double whole_operations(const config::RunConfig& config, const WholeMatrix& matrix);

/// The whole tensors of each unit, in its order; none if the optimizer has none. Within a unit
/// tensors go to owners from the costliest on: to the rank with least work of the unit, then with
/// least work of all, then with the lowest number. So every rank finds the same owners.
[[nodiscard]] std::vector<std::vector<WholeMatrix>> whole_matrices(const config::RunConfig& config,
                                                                   const FlatLayout& layout);

/// Operations of a step's update of whole tensors that come one after the other: for each unit,
/// those of the rank that has most.
[[nodiscard]] double update_operations(const config::RunConfig& config, const FlatLayout& layout);

/// The layouts of the run's states, in the order of config::state_names. With whole matrices each
/// state has only the tensors that use it.
[[nodiscard]] std::vector<StateLayout> state_layouts(const config::RunConfig& config,
                                                     const FlatLayout& layout);

/// Runs of a unit's elements that are in none of its matrices.
[[nodiscard]] std::vector<StateLayout::Range> between(const std::vector<WholeMatrix>& matrices,
                                                      std::int64_t padded);

/// Floats of a line, at whose beginnings whole tensors and what is beside them lie.
inline constexpr std::int64_t kWholeAlignment = 16;
[[nodiscard]] constexpr std::int64_t whole_lines(std::int64_t floats) noexcept {
  return (floats + kWholeAlignment - 1) / kWholeAlignment * kWholeAlignment;
}

/// Floats of a rank's own tensors of a unit, in whole lines each, at most.
[[nodiscard]] std::int64_t largest_own(const std::vector<std::vector<WholeMatrix>>& matrices,
                                       std::int64_t rank);
/// Floats that the update of one takes beside it: matrices of Muon's iterations, Adafactor's sums
/// of columns.
[[nodiscard]] std::int64_t floats_beside(const config::RunConfig& config,
                                         const WholeMatrix& matrix);
/// Floats that a rank holds while it updates a unit's whole tensors, at most: its own ones, once
/// for each buffer, and what is beside one of them.
[[nodiscard]] std::int64_t whole_matrix_floats(
    const config::RunConfig& config, const std::vector<std::vector<WholeMatrix>>& matrices,
    std::int64_t rank);

}  // namespace th::zero
