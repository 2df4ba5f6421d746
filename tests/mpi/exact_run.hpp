#pragma once

#include <mpi.h>

#include <cstdint>
#include <vector>

#include "th/base/hash.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/zero/engine/engine.hpp"

// Three optimizer steps on random ids, and the numbers that must have the same bits however they
// are computed.
namespace th_test::exact {

constexpr std::int64_t kSlots = 8;
constexpr std::int64_t kVocabulary = 37, kLongest = 32;

/// A small model with dropout, two layers each.
inline th::config::RunConfig small_config(std::int64_t stage) {
  th::config::RunConfig c;
  c.model.d_model = 32;
  c.model.num_heads = 4;
  c.model.num_encoder_layers = c.model.num_decoder_layers = 2;
  c.model.d_ff = 48;
  c.model.dropout = 0.2;
  c.zero.stage = stage;
  return c;
}

/// Slot `slot` of step `step`: lengths differ from slot to slot; one slot is empty.
inline th::data::Batch make_slot(std::int64_t step, std::int64_t slot) {
  th::data::Batch b;
  if (step == 1 && slot == 5) return b;
  const auto draw = [&](std::int64_t i) {
    return 4 +
           static_cast<std::int64_t>(th::hash_pair(static_cast<std::uint64_t>(step * 100 + slot),
                                                   static_cast<std::uint64_t>(i)) %
                                     (kVocabulary - 4));
  };
  const std::int64_t sentences = slot == 3 ? 18 : 2 + slot % 2;  // slot 3: two groups of attention
  for (std::int64_t s = 0; s < sentences; ++s) {
    std::vector<std::int32_t> source, target;
    for (std::int64_t t = 0; t < 5 + slot % 3 - s % 3; ++t)
      source.push_back(static_cast<std::int32_t>(draw(s * 50 + t)));
    for (std::int64_t t = 0; t < 5 + slot % 4 - s % 3; ++t)
      target.push_back(static_cast<std::int32_t>(draw(1000 + s * 50 + t)));
    b.append(source, target);
  }
  return b;
}

struct Trace {
  std::vector<double> numbers;  ///< losses and norms of the steps
  std::vector<float> parameters;
};

inline Trace run(MPI_Comm comm, const th::config::RunConfig& config, std::int64_t slots,
                 th::runtime::TransportChoice transport = th::runtime::TransportChoice::kBest,
                 const std::vector<int>& pretended_nodes = {}) {
  const auto collectives = th::runtime::make_mpi_collectives(comm, transport, pretended_nodes);
  th::model::Transformer model({config.model, kVocabulary, kVocabulary, kLongest},
                               th::model::GemmLibrary::kMkl);
  th::zero::ZeroEngine engine(config, model, *collectives, slots);
  Trace trace;
  for (std::int64_t step = 0; step < 3; ++step) {
    std::int64_t tokens = 0;
    for (std::int64_t s = 0; s < slots; ++s) tokens += make_slot(step, s).target_tokens;
    engine.begin_step();
    for (std::int64_t round = 0; round < engine.rounds(); ++round) {
      const std::int64_t slot = engine.dealing().slot(collectives->rank(), round);
      const th::data::Batch batch = slot >= 0 ? make_slot(step, slot) : th::data::Batch{};
      engine.accumulate(model, slot >= 0 ? &batch : nullptr, static_cast<std::uint64_t>(step),
                        1.0 / static_cast<double>(tokens), 0.1);
    }
    const th::zero::StepResult result = engine.step({1e-3, step + 1});
    trace.numbers.push_back(result.loss_sum);
    trace.numbers.push_back(result.grad_norm);
  }
  const auto whole = engine.units().gather_all(model);
  for (std::size_t u = 0; u < model.units().size(); ++u) {
    for (const at::Tensor& working : whole->open_forward(static_cast<std::int64_t>(u)).values) {
      const at::Tensor t = working.to(at::kFloat);
      const float* p = t.data_ptr<float>();
      trace.parameters.insert(trace.parameters.end(), p, p + t.numel());
    }
  }
  return trace;
}

}  // namespace th_test::exact
