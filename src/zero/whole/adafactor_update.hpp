#pragma once

#include "th/zero/whole_update.hpp"

namespace th::zero {

/// A whole tensor, row-major; columns 0: a vector of `rows` elements.
struct AdafactorTensor {
  std::int64_t rows = 0, columns = 0;
  const float* weights = nullptr;
  float* gradient = nullptr;
  float* state = nullptr;        ///< rows + columns means of squares, or one an element of a vector
  double* of_columns = nullptr;  ///< room for `columns` sums
};

/// One step of Adafactor. The gradient, clipped, becomes what is subtracted from the weights after
/// their decay. Sums in fp64, each in one order.
void adafactor_step(const runtime::Adafactor::Tensor& numbers, const AdafactorTensor& tensor);

/// Every tensor of Adafactor: its gradient, weights and state arrive, step and state return.
class AdafactorUpdate final : public WholeUpdate {
 public:
  AdafactorUpdate(const config::RunConfig& config, const FlatLayout& layout, std::int64_t rank,
                  StateStore& store)
      : WholeUpdate(config, layout, rank, store) {}
  void prepare(std::size_t arrival, const StateStore::Slice& shard, float* out) override;
  void compute(std::int64_t unit) override;
  void apply(std::size_t result, const StateStore::Slice& shard,
             std::span<const float* const> of_owner) override;
};

}  // namespace th::zero
