#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "mpi_test.hpp"
#include "th/base/hash.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/zero/engine/engine.hpp"
#include "th/zero/memory_plan.hpp"

// One optimizer step of a model on random ids: the memory that it takes by the ledger, and the plan
// of it. What the tests of plans share.
namespace th_test {

using th::config::GradientCheckpointing;
using th::runtime::MemoryClass;
using th::runtime::MemoryLedger;
using th::runtime::MemoryUse;
using th::runtime::TransportChoice;

/// Tests that look at the ledger: testing::Test, or one with a parameter.
template <typename Base>
class OnTheLedger : public Base {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
    th::model::observe_torch_memory();
  }
};

constexpr std::int64_t kVocabulary = 1000, kLongest = 64;

struct Size {
  std::int64_t width, layers, sentences, length;
};
constexpr Size kSizes[] = {{64, 2, 16, 24}, {128, 4, 6, 36}};
/// For 16-bit types, whose products are widened on most processors.
constexpr Size kDeep{128, 3, 4, 24};

inline th::config::RunConfig make_config(std::int64_t stage, GradientCheckpointing kind,
                                         const Size& size) {
  th::config::RunConfig c;
  c.model.d_model = size.width;
  c.model.num_heads = 4;
  c.model.num_encoder_layers = c.model.num_decoder_layers = size.layers;
  c.model.d_ff = 4 * size.width;
  c.model.gradient_checkpointing = kind;
  c.zero.stage = stage;
  return c;
}

inline th::data::Batch make_batch(const Size& size, std::int64_t vocabulary = kVocabulary) {
  th::data::Batch b;
  b.sentences = size.sentences;
  b.source_length = b.target_length = size.length;
  for (std::int64_t i = 0; i < size.sentences * size.length; ++i) {
    b.source.push_back(
        4 + static_cast<std::int64_t>(th::mix64(static_cast<std::uint64_t>(i)) % (vocabulary - 4)));
  }
  b.target_in = b.target_out = b.source;
  b.source_lengths.assign(static_cast<std::size_t>(size.sentences),
                          static_cast<std::int32_t>(size.length));
  b.target_lengths = b.source_lengths;
  b.source_tokens = b.target_tokens = size.sentences * size.length;
  return b;
}

/// Two rounds, the second a ragged one where that can be: partial sums wait between them. In
/// blocks of 4, 2 and 1 slots, and one slot: sums of a rank and of all ranks wait.
inline std::int64_t slots_of_a_step(const th::config::RunConfig& config = {}) {
  return config.comm.dealing == th::config::Dealing::kBlocks ? 7 * ranks() + 1
                                                             : 2 * ranks() - (ranks() > 2 ? 1 : 0);
}

/// Bytes of all ranks' records of a step's end: norms of blocks, losses of slots.
inline std::int64_t record_bytes(const th::zero::FlatLayout& layout,
                                 const th::config::RunConfig& config = {}) {
  const std::int64_t rounds = (slots_of_a_step(config) + ranks() - 1) / ranks();
  return (layout.shard_total() / 256 + rounds) * ranks() * 8;
}

/// Peak use of one optimizer step, the engine's making included, with `planted` bytes that nobody
/// plans.
inline MemoryUse measure(
    const th::config::RunConfig& config, const th::data::Batch& batch, std::int64_t planted,
    TransportChoice transport, const std::function<void()>& at_end = [] {},
    const std::vector<int>& pretended_nodes = {}) {
  const std::int64_t slots = slots_of_a_step(config);
  const auto collectives =
      th::runtime::make_mpi_collectives(MPI_COMM_WORLD, transport, pretended_nodes);
  MemoryLedger::process().restart();
  const auto table = std::make_unique<th::runtime::MemoryScope>(MemoryClass::kActivations);
  th::model::Transformer model(
      {config.model, kVocabulary, kVocabulary, std::max(kLongest, batch.source_length)},
      th::model::resolve_gemm(config.run.gemm), th::model::Arithmetic::kCompute,
      th::model::host_compute(config.run));
  th::zero::ZeroEngine engine(config, model, *collectives, slots);
  const th::runtime::MemoryScope outside(MemoryClass::kUntagged);
  const at::Tensor stowaway = at::empty({planted});
  engine.begin_step();
  if (config.run.audit_steps > 0) {
    engine.audit().begin(1 % slots);
    (void)engine.audit().parameter_hashes();
    (void)engine.audit().compute_again(model, collectives->rank() == 0 ? &batch : nullptr, 7, 0.01,
                                       0.1);
  }
  for (std::int64_t round = 0; round < engine.rounds(); ++round) {
    const bool mine = engine.dealing().slot(collectives->rank(), round) >= 0;
    engine.accumulate(model, mine ? &batch : nullptr, 7, 0.01, 0.1);
  }
  if (config.run.audit_steps > 0) (void)engine.audit().found();
  (void)engine.step({1e-3, 1});
  at_end();
  return MemoryLedger::process().at_peak();
}

inline MemoryUse measure(
    const th::config::RunConfig& config, const Size& size, std::int64_t planted,
    TransportChoice transport, const std::function<void()>& at_end = [] {},
    const std::vector<int>& pretended_nodes = {}) {
  return measure(config, make_batch(size), planted, transport, at_end, pretended_nodes);
}

inline th::zero::PlanRequest plan_request(const th::config::RunConfig& config, const Size& size,
                                          bool messages) {
  th::zero::PlanRequest request;
  request.config = config;
  request.source_vocabulary = request.target_vocabulary = kVocabulary;
  request.longest = std::max(kLongest, size.length);
  request.ranks = ranks();
  request.slots = slots_of_a_step(config);
  request.training = {th::data::BatchShape::uniform(size.sentences, size.length, size.length)};
  request.messages = messages;
  return request;
}

inline MemoryUse plan(const th::config::RunConfig& config, const Size& size, bool messages) {
  return th::zero::plan_memory(plan_request(config, size, messages)).peak().use;
}

/// The layout of the measured model.
inline th::zero::FlatLayout layout_of(const th::config::RunConfig& config) {
  const th::model::Transformer model({config.model, kVocabulary, kVocabulary, 1},
                                     th::model::GemmLibrary::kMkl);
  return {model.units(), ranks()};
}

/// What a rank holds while it updates, and behind a step: no batches and no activations.
struct PlannedAndSeen {
  MemoryUse planned, seen;
};
/// Of a step of `config` on pretended nodes. Collective.
inline PlannedAndSeen plan_and_measure(const th::config::RunConfig& config,
                                       const std::vector<int>& nodes) {
  th::zero::PlanRequest request = plan_request(config, kSizes[0], false);
  request.nodes = th::runtime::NodeMap(nodes);
  MPI_Comm_rank(MPI_COMM_WORLD, &request.rank);
  PlannedAndSeen out;
  out.planned = th::zero::plan_memory(request).phases.front().use;
  (void)measure(
      config, kSizes[0], 0, TransportChoice::kBest,
      [&] { out.seen = MemoryLedger::process().current(); }, nodes);
  return out;
}

/// Communication memory behind a step of `config`, by the ledger and by the plan. Collective.
inline void expect_communication_as_planned(const th::config::RunConfig& config,
                                            const std::vector<int>& nodes) {
  const PlannedAndSeen update = plan_and_measure(config, nodes);
  // All ranks' records are gone at the step's end.
  EXPECT_EQ(update.planned[MemoryClass::kCommunication] - record_bytes(layout_of(config), config),
            update.seen[MemoryClass::kCommunication])
      << "stage " << config.zero.stage << ", nodes " << testing::PrintToString(nodes);
}

}  // namespace th_test
