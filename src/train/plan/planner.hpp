#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "th/config/deck.hpp"
#include "th/config/run_config.hpp"
#include "th/data/dataset.hpp"
#include "th/model/blocks/pass_sizes.hpp"
#include "th/train/overlap.hpp"
#include "th/zero/memory_plan.hpp"

namespace th::train {

/// `config` with another stage and kind of gradient checkpointing.
[[nodiscard]] config::RunConfig with(config::RunConfig config, std::int64_t stage,
                                     config::GradientCheckpointing kind);

/// The deck's plan with some keys changed; those that shape batches but data.batch_size and
/// data.batch_tokens stay. Reads the corpus; not collective.
class Planner {
 public:
  /// Plans for `launched_ranks` ranks unless plan.ranks says otherwise. Throws DeckError where the
  /// deck's slots are fewer than the ranks, and DataError as reading the corpus does.
  Planner(const config::LoadedDeck& deck, std::int64_t launched_ranks);

  /// Sentences in one micro-batch, in the mean.
  [[nodiscard]] double sentences(const config::RunConfig& config) const;
  /// Ids of a sentence's longer side, in the mean.
  [[nodiscard]] double mean_longest() const noexcept { return mean_longest_; }
  /// With comm.dealing=auto resolved by this node's memory.
  [[nodiscard]] zero::MemoryPlan plan(const config::RunConfig& config,
                                      runtime::DeviceMemory memory) const;
  /// Of the deck's own device; auto is taken for the CPU, which a login node is.
  [[nodiscard]] zero::MemoryPlan plan(const config::RunConfig& config) const {
    return plan(config, memory());
  }
  /// How tensors of a GPU travel by comm.backend; empty for a run on the host.
  [[nodiscard]] std::optional<runtime::Transport> transport(
      runtime::DeviceMemory memory) const noexcept {
    if (memory == runtime::DeviceMemory::kHost) return std::nullopt;
    return config_.comm.backend == config::Backend::kMpi ? runtime::Transport::kStaged
                                                         : runtime::Transport::kNccl;
  }
  [[nodiscard]] runtime::DeviceMemory memory() const noexcept {
    return config_.run.device == config::DeviceKind::kCuda ? runtime::DeviceMemory::kOwn
                                                           : runtime::DeviceMemory::kHost;
  }
  /// Floating point operations of one slot's forward and backward pass, in the mean: the products
  /// of linear layers and attention.
  [[nodiscard]] double slot_flops(const config::RunConfig& config) const;

  [[nodiscard]] const config::RunConfig& config() const noexcept { return config_; }
  [[nodiscard]] const OverlapChoice& overlap() const noexcept { return overlap_; }
  [[nodiscard]] bool several_nodes() const noexcept { return request_.nodes->nodes() > 1; }
  [[nodiscard]] const zero::PlanRequest& request() const noexcept { return request_; }
  /// "32 sentences, 510 source + 495 target ids": the micro-batch of most tokens.
  [[nodiscard]] std::string batch_text() const;

 private:
  /// The batches of a batch size that may take most memory.
  struct Shapes {
    std::vector<zero::BatchShape> training, evaluation, decoding;
  };
  /// Made once for a batch size: some fifty plans ask for a few of them.
  [[nodiscard]] const Shapes& shapes(const config::RunConfig& config) const;
  /// Of all slots of the first epoch, those that may take most. Where the corpus does not feed so
  /// many slots: its longest sentences in one.
  [[nodiscard]] std::vector<zero::BatchShape> training_shapes(
      const config::RunConfig& config) const;
  [[nodiscard]] zero::BatchShape longest_sentences(const config::DataSection& data) const;

  /// Sizes of sentence pairs.
  struct Means {
    static constexpr double model::PassSizes::*kSizes[] = {
        &model::PassSizes::source_rows,    &model::PassSizes::target_rows,
        &model::PassSizes::memory_rows,    &model::PassSizes::encoder_scores,
        &model::PassSizes::decoder_scores, &model::PassSizes::cross_scores};
    model::PassSizes sum;
    void add(const model::PassSizes& pair);
    [[nodiscard]] model::PassSizes times(double factor) const;
  };

  config::RunConfig config_;
  zero::PlanRequest request_;
  OverlapChoice overlap_;
  data::Dataset dataset_;
  std::vector<data::SentenceLength> lengths_;  ///< of the training text; none for data.synthetic
  Means mean_;
  double mean_longest_ = 0;
  /// By data.batch_size and data.batch_tokens.
  mutable std::map<std::pair<std::int64_t, std::int64_t>, Shapes> shapes_;
};

}  // namespace th::train
