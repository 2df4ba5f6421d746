#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "th/model/blocks/transformer.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/zero/engine/engine.hpp"

// An engine whose steps are counted: the same small batch in every slot.
namespace th_test {

inline th::data::Batch make_batch() {
  th::data::Batch b;
  b.sentences = 1;
  b.source_length = b.target_length = 3;
  b.source = b.target_in = b.target_out = {5, 6, 7};
  b.source_lengths = b.target_lengths = {3};
  b.source_tokens = b.target_tokens = 3;
  return b;
}

struct EngineRun {
  explicit EngineRun(const th::config::RunConfig& config, std::int64_t slot_count,
                     const std::vector<int>& pretended_nodes = {})
      : slots(slot_count),
        collectives(th::runtime::make_mpi_collectives(
            MPI_COMM_WORLD, th::runtime::TransportChoice::kBest, pretended_nodes)),
        model({config.model, 37, 37, 32}, th::model::GemmLibrary::kMkl) {
    ledger.restart();
    engine = std::make_unique<th::zero::ZeroEngine>(config, model, *collectives, slots);
  }
  void step() {
    const th::data::Batch batch = make_batch();
    engine->begin_step();
    for (std::int64_t round = 0; round < engine->rounds(); ++round) {
      const bool mine = engine->dealing().slot(collectives->rank(), round) >= 0;
      engine->accumulate(model, mine ? &batch : nullptr, 0, 0.01, 0.0);
    }
    (void)engine->step({1e-3, 1});
  }
  std::int64_t slots;
  th::runtime::MemoryLedger& ledger = th::runtime::MemoryLedger::process();
  std::unique_ptr<th::runtime::Collectives> collectives;
  th::model::Transformer model;
  std::unique_ptr<th::zero::ZeroEngine> engine;
};

/// Bytes that a step sends. Collective.
inline th::runtime::ByteCounters sent_in_a_step(EngineRun& run) {
  const th::runtime::ByteCounters before = run.collectives->bytes_sent();
  run.step();
  return run.collectives->bytes_sent() - before;
}

/// Bytes that a step sends to other nodes. Collective.
inline th::runtime::ByteCounters between_nodes_in_a_step(EngineRun& run) {
  const th::runtime::ByteCounters before = run.collectives->bytes_between_nodes();
  run.step();
  return run.collectives->bytes_between_nodes() - before;
}

}  // namespace th_test
