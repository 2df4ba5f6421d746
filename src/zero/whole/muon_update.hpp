#pragma once

#include "th/model/products/gemm.hpp"
#include "th/zero/whole_update.hpp"

namespace th::zero {

/// Muon's matrices: the direction arrives (momentum, or Nesterov's look ahead), its orthogonalised
/// matrix returns.
class MuonUpdate final : public WholeUpdate {
 public:
  MuonUpdate(const config::RunConfig& config, const FlatLayout& layout, std::int64_t rank,
             StateStore& store);
  void prepare(std::size_t arrival, const StateStore::Slice& shard, float* out) override;
  void compute(std::int64_t unit) override;
  void apply(std::size_t result, const StateStore::Slice& shard,
             std::span<const float* const> of_owner) override;

 private:
  [[nodiscard]] runtime::Muon::Matrix numbers(const WholeMatrix& matrix) const;

  model::Gemm gemm_;
  std::size_t momentum_;  ///< the momentum's number among the states
};

}  // namespace th::zero
