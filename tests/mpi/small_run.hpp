#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "th/base/hash.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/engine/engine.hpp"

/// A small model that trains on a fixed batch, and its state as bits: what the tests of checkpoints
/// save and load.
struct SmallRun {
  static constexpr std::int64_t kVocabulary = 40, kSlots = 4;

  SmallRun(const th::config::RunConfig& the_config, th::runtime::Collectives& the_collectives,
           th::runtime::Device* device = nullptr, const th::model::ComputeDevice* compute = nullptr)
      : config(the_config),
        collectives(the_collectives),
        model({config.model, kVocabulary, kVocabulary, 16}, th::model::GemmLibrary::kMkl,
              th::model::Arithmetic::kCompute,
              compute == nullptr ? th::model::host_compute(config.run) : *compute),
        engine(config, model, collectives, kSlots, device) {}
  static th::config::RunConfig make_config(std::int64_t width, std::int64_t stage) {
    th::config::RunConfig c;
    c.model.d_model = width;
    c.model.num_heads = 2;
    c.model.num_encoder_layers = c.model.num_decoder_layers = 1;
    c.model.d_ff = 2 * width;
    c.zero.stage = stage;
    return c;
  }

  /// Optimizer step `number`, from 1; its loss. Collective.
  double train(std::int64_t number) {
    return train(number, [](const auto& accumulate) { accumulate(); });
  }
  /// The same with the model's passes run by `compute`.
  template <typename Compute>
  double train(std::int64_t number, const Compute& compute) {
    return step(number, 1.0 / 48.0, compute).loss_sum;
  }
  /// The batch of a step.
  static th::data::Batch make_batch(std::int64_t number) {
    th::data::Batch b;
    b.sentences = 2;
    b.source_length = b.target_length = 6;
    for (std::int64_t i = 0; i < b.sentences * b.source_length; ++i) {
      const std::uint64_t draw =
          th::hash_pair(static_cast<std::uint64_t>(number), static_cast<std::uint64_t>(i));
      b.source.push_back(4 + static_cast<std::int64_t>(draw % (kVocabulary - 4)));
    }
    b.target_in = b.target_out = b.source;
    b.source_lengths.assign(2, 6);
    b.target_lengths = b.source_lengths;
    b.source_tokens = b.target_tokens = 12;
    return b;
  }
  template <typename Compute>
  th::zero::StepResult step(std::int64_t number, double gradient_scale, const Compute& compute) {
    enqueue(number, gradient_scale, compute);
    return engine.result();
  }
  template <typename Compute>
  void enqueue(std::int64_t number, double gradient_scale, const Compute& compute) {
    const th::data::Batch b = make_batch(number);
    engine.begin_step();
    for (std::int64_t round = 0; round < engine.rounds(); ++round) {
      const bool mine = engine.dealing().slot(collectives.rank(), round) >= 0;
      compute([&] {
        engine.accumulate(model, mine ? &b : nullptr, static_cast<std::uint64_t>(number),
                          gradient_scale, 0.1);
      });
    }
    engine.end_step({1e-2, number});
  }

  /// `rounds` batches without dropout, as validation runs them; the sum of their losses.
  /// Collective.
  template <typename Compute>
  double evaluate(std::int64_t rounds, const Compute& compute) {
    double sum = 0;
    engine.units().begin_evaluation(rounds);
    for (std::int64_t round = 0; round < rounds; ++round) {
      const th::data::Batch b = make_batch(round);
      compute([&] { sum += model.evaluate(engine.units(), b).loss_sum; });
    }
    return sum;
  }

  /// This rank's shard of parameters and the optimizer's states.
  [[nodiscard]] std::vector<float> state() const {
    const auto shard = static_cast<std::size_t>(engine.layout().shard_total());
    std::vector<float> all;
    for (const auto& [name, state] : engine.states().named()) {
      all.resize(all.size() + shard);
      engine.states().read(state, std::span(all).last(shard));
    }
    return all;
  }

  [[nodiscard]] th::io::CheckpointInfo info(std::int64_t step) const {
    th::io::CheckpointInfo out;
    out.step = step;
    out.world_size = collectives.size();
    out.zero_stage = config.zero.stage;
    out.deck = "[run]\n";
    out.source_tokens = out.target_tokens = {"<pad>"};
    out.units = model.units();
    return out;
  }

  th::config::RunConfig config;
  th::runtime::Collectives& collectives;
  th::model::Transformer model;
  th::zero::ZeroEngine engine;
};

/// A folder that rank 0 makes and removes. Collective.
class SharedFolder {
 public:
  explicit SharedFolder(th::runtime::Collectives& collectives) : collectives_(collectives) {
    if (collectives_.rank() == 0) {
      path_ = (std::filesystem::temp_directory_path() / "th_mpi_XXXXXX").string();
      if (mkdtemp(path_.data()) == nullptr) path_.clear();
    }
    collectives_.control().broadcast(path_, 0);
  }
  ~SharedFolder() {
    collectives_.barrier();
    if (collectives_.rank() == 0) std::filesystem::remove_all(path_);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  th::runtime::Collectives& collectives_;
  std::string path_;
};
