#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/state_store.hpp"
#include "th/zero/whole_matrices.hpp"

namespace th::zero {

/// The update of tensors that need all of their elements at once (Muon, Adafactor): one rank, the
/// owner, makes each whole from the exact slices that the ranks hold, and the result goes back
/// slice by slice. A unit's update is prepare() and take() for each buffer that arrives, compute(),
/// then leave() and apply() for each that returns, with the transport's calls in between
/// (src/zero/roles/whole_tensor_update.cpp). An owner's arithmetic does not depend on how many
/// ranks share the tensor, so neither do the bits. Only on the host. Not collective.
class WholeUpdate {
 public:
  /// The update of the run's optimizer; null if it has no such tensors. All arguments outlive it.
  [[nodiscard]] static std::unique_ptr<WholeUpdate> make(const config::RunConfig& config,
                                                         const FlatLayout& layout,
                                                         std::int64_t rank, StateStore& store);
  /// Bytes that a rank's update takes beside whole_matrix_floats(): what the library of products
  /// asks for, which depends on the processor.
  [[nodiscard]] static std::int64_t product_bytes(
      const config::RunConfig& config, const std::vector<std::vector<WholeMatrix>>& matrices,
      std::int64_t rank);
  virtual ~WholeUpdate() = default;
  WholeUpdate(const WholeUpdate&) = delete;
  WholeUpdate& operator=(const WholeUpdate&) = delete;

  [[nodiscard]] const std::vector<WholeMatrix>& matrices(std::int64_t unit) const {
    return matrices_[static_cast<std::size_t>(unit)];
  }
  [[nodiscard]] const WholeTraffic& traffic() const noexcept { return traffic_; }
  /// The numbers of the step to come; `draws`: the key by which 16-bit states are rounded.
  void begin_step(const OptimizerStep& step, std::uint64_t draws) {
    step_ = step;
    draws_ = draws;
  }
  /// Writes what arrives as number `arrival` from this rank's shard of a unit, with its gradients,
  /// to `out`, shard elements, which may be the gradients' own place.
  virtual void prepare(std::size_t arrival, const StateStore::Slice& shard, float* out) = 0;
  /// Copies this rank's own tensors of a unit from every rank's shard of it.
  void take(std::size_t arrival, std::int64_t unit, std::span<const float* const> shards);
  /// Computes what returns.
  virtual void compute(std::int64_t unit) = 0;
  /// Writes the results to their places in a buffer of the whole unit.
  void leave(std::size_t result, std::int64_t unit, float* whole) const;
  /// Frees the memory of the rank's own tensors; the results have left.
  void release();
  /// Takes the results for this rank's shard; `of_owner`: by rank, its results for this shard.
  virtual void apply(std::size_t result, const StateStore::Slice& shard,
                     std::span<const float* const> of_owner) = 0;

 protected:
  WholeUpdate(const config::RunConfig& config, const FlatLayout& layout, std::int64_t rank,
              StateStore& store);

  /// Calls body(matrix, at, count) for the parts of a shard that lie in one matrix each; `at`: from
  /// the shard's begin.
  template <typename Body>
  void for_pieces(const StateStore::Slice& shard, const Body& body) const;
  /// Calls body(matrix, before) for this rank's own of a unit; `before`: floats before it where own
  /// tensors lie, a whole number of lines.
  template <typename Body>
  void for_own(std::int64_t unit, const Body& body) const;
  /// Where the own tensors of a unit lie, one behind the other, each from a whole line on: products
  /// may round otherwise by the alignment of what they read, which must not depend on the deal.
  /// What arrived, and what returns.
  [[nodiscard]] float* own(std::size_t buffer) const {
    return reinterpret_cast<float*>(scratch_.get()) +
           static_cast<std::int64_t>(buffer) * own_floats_;
  }
  /// Behind those: floats_beside() of the costliest.
  [[nodiscard]] float* beside() const { return own(traffic_.buffers()); }
  /// Adds -step to the weights of a part of a shard, shrunk first, and makes its parameters.
  template <typename Step>
  void update_weights(const StateStore::Slice& part, const Step& step);

  const FlatLayout& layout_;
  std::int64_t rank_;
  StateStore& store_;
  WholeTraffic traffic_;
  std::vector<std::vector<WholeMatrix>> matrices_;
  OptimizerStep step_;
  std::uint64_t draws_ = 0;

 private:
  struct alignas(kWholeAlignment * sizeof(float)) Line {
    std::byte at[kWholeAlignment * sizeof(float)];
  };

  std::int64_t own_floats_, scratch_floats_;
  std::unique_ptr<Line[]> scratch_;  ///< while a unit is updated
};

template <typename Body>
void WholeUpdate::for_pieces(const StateStore::Slice& shard, const Body& body) const {
  for (const WholeMatrix& matrix : matrices(shard.unit)) {
    const std::int64_t begin = std::max(matrix.begin, shard.first),
                       end = std::min(matrix.begin + matrix.count(), shard.first + shard.count);
    if (begin < end) body(matrix, begin - shard.first, end - begin);
  }
}

template <typename Body>
void WholeUpdate::for_own(std::int64_t unit, const Body& body) const {
  std::int64_t before = 0;
  for (const WholeMatrix& matrix : matrices(unit)) {
    if (matrix.owner != rank_) continue;
    body(matrix, before);
    before += whole_lines(matrix.count());
  }
}

template <typename Step>
void WholeUpdate::update_weights(const StateStore::Slice& part, const Step& step) {
  float* weights = store_.at(State::kParameters, part);
  for (std::int64_t i = 0; i < part.count; ++i) step(weights[i], i);
  store_.publish(part);
}

}  // namespace th::zero
