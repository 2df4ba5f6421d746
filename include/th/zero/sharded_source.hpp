#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/decoding_source.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/gather_pool.hpp"
#include "th/zero/host_device.hpp"

namespace th::zero {

/// Parameters without an engine, sharded over the ranks in host memory as at stage 3, for programs
/// that translate with a model that no rank could hold. Each unit is gathered when it is opened; on
/// one node whose ranks share memory it is read in place.
class ShardedSource final : public DecodingSource {
 public:
  /// Allocates parameters of precision.dtype; all values are 0. `collectives` outlives this object.
  /// Collective.
  ShardedSource(const config::RunConfig& config, const model::Transformer& model,
                runtime::Collectives& collectives);
  ~ShardedSource() override;

  [[nodiscard]] const FlatLayout& layout() const noexcept { return layout_; }
  /// Writes this rank's shard of a unit from layout().units()[unit].shard fp32 values, rounded to
  /// the type. Call it before the first opening; not collective.
  void write_unit(std::int64_t unit, std::span<const float> values);
  /// Says that this rank has written its shards, and waits for the others. Collective.
  void written() { collectives_.barrier(); }
  /// Bytes of this rank's shards and of gathered units, as the memory ledger counts them.
  [[nodiscard]] std::int64_t bytes() const noexcept;

  void begin_batch() override {}  // nothing is gathered ahead
  void begin_steps(std::int64_t) override {}
  const model::UnitTensors& open_forward(std::int64_t unit) override;
  void close_forward(std::int64_t unit) override;

 private:
  [[nodiscard]] std::byte* at(std::byte* base, std::int64_t element) const {
    return base + element * element_size(buffers_.types.working);
  }
  [[nodiscard]] std::byte* shards() const { return parameters_->data(); }
  [[nodiscard]] std::byte* place_of(std::int64_t unit, std::size_t place) const;
  void gather(std::int64_t unit, std::byte* to);

  runtime::Collectives& collectives_;
  HostDevice device_;
  FlatLayout layout_;
  EngineBuffers buffers_;
  std::unique_ptr<runtime::TransportBuffer> parameters_;  ///< shards; on one node whole, once
  std::unique_ptr<runtime::TransportBuffer> shared_;      ///< gathered units, once a node
  at::Tensor own_;                                        ///< those, where memory is not shared
  std::unique_ptr<GatherPool> pool_;
  std::vector<int> open_;  ///< how often a unit is open
  std::vector<model::UnitTensors> units_;
};

}  // namespace th::zero
