// The design's columns to the byte: model state by the ledger's events and bytes sent by the
// transport's counters, for N ranks (also such that divide neither the parameters nor the slots),
// one round of slots and several, fp32 and 16-bit types.
#include <gtest/gtest.h>

#include "engine_run.hpp"
#include "mpi_test.hpp"
#include "th/model/memory/torch_memory.hpp"

namespace {

using th::ElementType;
using th::config::ReduceDtype;
using th_test::ranks;

using th_test::between_nodes_in_a_step;
using th_test::EngineRun;

/// Bytes a parameter: [stage] whole + sharded / N, and bytes of an element sent for gradients and
/// for parameters.
struct Column {
  const char* name;
  ElementType dtype;
  ReduceDtype reduced;
  std::int64_t whole[4], sharded[4];
  std::int64_t gradient, parameter;
};

constexpr Column kColumns[] = {
    {"fp32", ElementType::kFp32, ReduceDtype::kFp32, {16, 8, 4, 0}, {0, 8, 12, 16}, 4, 4},
    {"bf16", ElementType::kBf16, ReduceDtype::kFp32, {18, 6, 2, 0}, {0, 12, 16, 18}, 4, 2},
    {"fp16", ElementType::kFp16, ReduceDtype::kFp32, {18, 6, 2, 0}, {0, 12, 16, 18}, 4, 2},
    {"bf16 reduced in 16 bits",
     ElementType::kBf16,
     ReduceDtype::kWorking,
     {16, 4, 2, 0},
     {0, 12, 14, 16},
     2,
     2},
};

th::config::RunConfig make_config(std::int64_t stage, const Column& column) {
  th::config::RunConfig c;
  c.model.d_model = 32;
  c.model.num_heads = 4;
  c.model.num_encoder_layers = 2;
  c.model.num_decoder_layers = 2;
  c.model.d_ff = 48;
  c.zero.stage = stage;
  c.precision.dtype = column.dtype;
  c.precision.reduce_dtype = column.reduced;
  return c;
}

TEST(StateBytes, MeasuredByTheLedgerFollowTheFormulaToTheByte) {
  th::model::observe_torch_memory();
  const std::int64_t n = ranks();
  for (const Column& column : kColumns) {
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      for (const std::int64_t slots : {n, 3 * n + 1}) {
        const EngineRun run(make_config(stage, column), slots);
        const std::int64_t p = run.engine->layout().padded_total();
        const std::int64_t expected = column.whole[stage] * p + column.sharded[stage] * p / n;
#if !defined(__SANITIZE_ADDRESS__)
        EXPECT_EQ(run.ledger.current().model_state(), expected)
            << column.name << ", stage " << stage << ", " << slots << " slots";
#endif
        EXPECT_EQ(run.engine->buffers().use().model_state(), expected)
            << column.name << ", stage " << stage;
      }
    }
  }
}

TEST(BytesSent, FollowTheDesignsColumnWithItsRemainder) {
  const std::int64_t n = ranks();
  for (const Column& column : kColumns) {
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      for (const std::int64_t slots : {n, 3 * n + 1}) {
        const th::config::RunConfig config = make_config(stage, column);
        EngineRun run(config, slots);
        const th::runtime::ByteCounters before = run.collectives->bytes_sent();
        run.step();
        const th::runtime::ByteCounters after = run.collectives->bytes_sent();
        const std::int64_t rounds = run.engine->rounds();
        // P (N-1)/N elements.
        const std::int64_t sent = run.engine->layout().shard_total() * (n - 1);
        // R P of gradients and P of what is gathered: gradients at stage 0, updated parameters at 1
        // and 2; 2 R P of parameters at stage 3, less R of the output unit, which is gathered once
        // a slot.
        const std::int64_t once = run.engine->layout().units().back().shard * (n - 1);
        const std::int64_t gathered = stage == 0  ? sent * column.gradient
                                      : stage < 3 ? sent * column.parameter
                                                  : rounds * (2 * sent - once) * column.parameter;
        EXPECT_EQ(after.exchange - before.exchange, rounds * sent * column.gradient)
            << column.name << ", stage " << stage;
        EXPECT_EQ(after.all_gather - before.all_gather, gathered)
            << column.name << ", stage " << stage;
        // The remainder: fp64 sums of blocks of 256 elements, and a loss a slot.
        EXPECT_EQ(after.control - before.control,
                  (run.engine->layout().shard_total() / 256 + rounds) * 8 * (n - 1))
            << column.name << ", stage " << stage;
        const th::zero::StepTraffic planned = th::zero::step_traffic(
            config, run.engine->layout(), th::zero::unit_use(run.model), slots);
        EXPECT_EQ(planned.total(), after.total() - before.total())
            << column.name << ", stage " << stage;
      }
    }
  }
}

TEST(BytesSent, OfStageThreeCountTheOpeningsOfEachUnitAndKeptOnesOnce) {
  const std::int64_t n = ranks(), slots = 3 * n + 1;
  for (const bool tied : {false, true}) {
    for (const th::config::GradientCheckpointing kind :
         {th::config::GradientCheckpointing::kNone, th::config::GradientCheckpointing::kSqrt}) {
      for (const std::int64_t kept : {0, 2000, 1 << 20}) {
        for (const th::config::Overlap overlap :
             {th::config::Overlap::kOff, th::config::Overlap::kOn}) {
          th::config::RunConfig config = make_config(3, kColumns[1]);
          config.model.tie_embeddings = tied ? th::config::Tying::kAll : th::config::Tying::kNone;
          config.model.num_decoder_layers = 4;
          config.model.gradient_checkpointing = kind;
          config.zero.persistence_threshold = kept;
          config.comm.overlap = overlap;
          EngineRun run(config, slots);
          run.step();  // of kept units the first step and all others gather alike
          const th::runtime::ByteCounters before = run.collectives->bytes_sent();
          run.step();
          const th::runtime::ByteCounters after = run.collectives->bytes_sent();
          const th::zero::StepTraffic planned = th::zero::step_traffic(
              config, run.engine->layout(), th::zero::unit_use(run.model), slots);
          EXPECT_EQ(planned.all_gather, after.all_gather - before.all_gather)
              << tied << " kept " << kept << " kind " << static_cast<int>(kind);
          EXPECT_EQ(planned.total(), after.total() - before.total()) << tied << " kept " << kept;
          // By the formula: with all units kept one gather a step, without any two a round, the
          // output and tied ones one, a stack's restored layers one more.
          const auto& layout = run.engine->layout();
          if (kept == 1 << 20) {
            EXPECT_EQ(planned.all_gather, layout.shard_total() * 2 * (n - 1));
          }
          if (kept != 0) continue;
          std::int64_t elements = 2 * layout.padded_total() - layout.units().back().padded;
          if (tied) elements -= layout.units()[0].padded;
          // Segments of two: the first layer of each is computed again.
          if (kind == th::config::GradientCheckpointing::kSqrt) {
            for (const auto& unit : layout.units()) {
              for (const char* again : {"encoder.layers.0", "decoder.layers.0", "decoder.layers.2"})
                elements += unit.name == again ? unit.padded : 0;
            }
          }
          EXPECT_EQ(planned.all_gather, run.engine->rounds() * elements / n * 2 * (n - 1))
              << tied << " kind " << static_cast<int>(kind);
        }
      }
    }
  }
}

/// Runs with other optimizers than Adam, states in 16 bits, and the parameters' average.
std::vector<th::config::RunConfig> other_optimizers(std::int64_t stage, const Column& column) {
  using th::config::OptimizerKind;
  std::vector<th::config::RunConfig> out;
  for (const OptimizerKind name : {OptimizerKind::kAdam, OptimizerKind::kSgd, OptimizerKind::kMuon,
                                   OptimizerKind::kAdafactor}) {
    for (const bool small : {false, true}) {
      th::config::RunConfig config = make_config(stage, column);
      config.optimizer.name = name;
      if (name == OptimizerKind::kSgd) config.optimizer.momentum = 0.9;
      if (small) {
        config.optimizer.state_dtype = th::ElementType::kBf16;
        config.train.ema_decay = 0.9;
      }
      out.push_back(config);
    }
  }
  return out;
}

TEST(StateBytes, OfEveryOptimizerAreThoseOfTheBuffersAndOfTheirFormula) {
  const std::int64_t n = ranks();
  for (const Column* column : {&kColumns[0], &kColumns[1]}) {
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      for (const th::config::RunConfig& config : other_optimizers(stage, *column)) {
        const EngineRun run(config, n);
        const th::runtime::MemoryUse use = run.engine->buffers().use();
        const std::string where = std::string(th::runtime::optimizer_name(config.optimizer.name)) +
                                  " " + column->name + ", stage " + std::to_string(stage);
#if !defined(__SANITIZE_ADDRESS__)
        EXPECT_EQ(run.ledger.current().model_state(), use.model_state()) << where;
#endif
        const std::int64_t p = run.engine->layout().padded_total();
        const bool small = config.train.ema_decay > 0;
        const std::int64_t each = small ? 2 : 4, average = small ? 4 : 0,
                           share = stage == 0 ? p : p / n;
        if (config.optimizer.name == th::config::OptimizerKind::kSgd) {
          EXPECT_EQ(use.optimizer_states(), share * (each + average)) << where;
        }
        if (config.optimizer.name == th::config::OptimizerKind::kAdam) {
          EXPECT_EQ(use.optimizer_states(), share * (2 * each + average)) << where;
        }
        if (n > 1) continue;  // every rank has room for what one of them has most of
        // Between one and two states an element, and a fraction of one.
        if (config.optimizer.name == th::config::OptimizerKind::kMuon) {
          EXPECT_LT(use.optimizer_states(), p / n * (2 * each + average)) << where;
        }
        if (config.optimizer.name == th::config::OptimizerKind::kAdafactor) {
          EXPECT_LT(use.optimizer_states() - p / n * average, p / n * each / 2) << where;
        }
      }
    }
  }
}

TEST(BytesSent, OfWholeTensorsAreThoseOfTheirFormulaAndOfThePlan) {
  const std::int64_t n = ranks(), slots = 3 * n + 1;
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    EngineRun plain(make_config(stage, kColumns[0]), slots);
    const th::runtime::ByteCounters start = plain.collectives->bytes_sent();
    plain.step();
    const th::runtime::ByteCounters adam = plain.collectives->bytes_sent() - start;
    for (const th::config::RunConfig& config : other_optimizers(stage, kColumns[0])) {
      EngineRun run(config, slots);
      const th::runtime::ByteCounters before = run.collectives->bytes_sent();
      run.step();
      const th::runtime::ByteCounters sent = run.collectives->bytes_sent() - before;
      const auto& layout = run.engine->layout();
      const th::zero::StepTraffic planned =
          th::zero::step_traffic(config, layout, th::zero::unit_use(run.model), slots);
      const std::string where = std::string(th::runtime::optimizer_name(config.optimizer.name)) +
                                ", stage " + std::to_string(stage);
      EXPECT_EQ(planned.total(), sent.total()) << where;
      EXPECT_EQ(planned.all_gather, sent.all_gather) << where;
      std::int64_t layers = 0;  // elements of a rank's shards of them
      for (const auto& unit : layout.units())
        layers += unit.name.find("layers") != std::string::npos ? unit.shard : 0;
      const bool muon = config.optimizer.name == th::config::OptimizerKind::kMuon,
                 adafactor = config.optimizer.name == th::config::OptimizerKind::kAdafactor;
      const std::int64_t returning = muon        ? layers * 4
                                     : adafactor ? 2 * layout.shard_total() * 4
                                                 : 0;
      EXPECT_EQ(sent.exchange, adam.exchange + returning * (n - 1)) << where;
    }
  }
}

TEST(BytesBetweenNodes, OfWholeTensorsAreWhatWasPlannedForEveryPlacement) {
  const std::int64_t slots = 3 * ranks() + 1;
  for (const std::vector<int>& placement : th_test::node_placements(ranks())) {
    for (const std::int64_t stage : {0, 1, 3}) {
      for (const th::config::RunConfig& config : other_optimizers(stage, kColumns[0])) {
        EngineRun run(config, slots, placement);
        const th::runtime::ByteCounters before = run.collectives->bytes_between_nodes();
        run.step();
        const th::runtime::ByteCounters seen = run.collectives->bytes_between_nodes() - before;
        const th::zero::StepTraffic planned = th::zero::traffic_between_nodes(
            config, run.engine->layout(), th::zero::unit_use(run.model), slots,
            th::runtime::NodeMap(placement), run.collectives->rank());
        EXPECT_EQ(seen.exchange, planned.exchange);
        EXPECT_EQ(seen.all_gather, planned.all_gather);
      }
    }
  }
}

TEST(BytesBetweenNodes, AreWhatWasPlannedForEveryPlacement) {
  const std::int64_t n = ranks();
  for (const Column& column : kColumns) {
    for (const std::vector<int>& placement : th_test::node_placements(ranks())) {
      for (const std::int64_t stage : {0, 1, 3}) {
        const std::int64_t slots = 3 * n + 1;
        const th::config::RunConfig config = make_config(stage, column);
        EngineRun run(config, slots, placement);
        const th::runtime::ByteCounters seen = between_nodes_in_a_step(run);
        const th::zero::StepTraffic planned = th::zero::traffic_between_nodes(
            config, run.engine->layout(), th::zero::unit_use(run.model), slots,
            th::runtime::NodeMap(placement), run.collectives->rank());
        const std::string where = std::string(column.name) + ", stage " + std::to_string(stage) +
                                  ", nodes " + testing::PrintToString(placement);
        EXPECT_EQ(seen.exchange, planned.exchange) << where;
        EXPECT_EQ(seen.all_gather, planned.all_gather) << where;
        EXPECT_EQ(seen.control, planned.remainder) << where;
      }
    }
  }
}

TEST(BytesBetweenNodes, FollowTheFormulaWhereNodesAreEvenSubtrees) {
  // M nodes of K ranks, K a power of two, every round whole: a rank sends R P (M-1)/N elements of
  // gradients, fp32 sums, and (M-1) shards a gather; alone on its node, the slices themselves.
  const std::int64_t n = ranks();
  for (const std::int64_t k : {1, 2, 4}) {
    if (n % k != 0) continue;
    const std::int64_t nodes = n / k, slots = 2 * n;
    std::vector<int> placement;
    for (int r = 0; r < ranks(); ++r) placement.push_back(r / static_cast<int>(k));
    for (const Column& column : kColumns) {
      for (std::int64_t stage = 0; stage <= 3; ++stage) {
        EngineRun run(make_config(stage, column), slots, placement);
        const th::runtime::ByteCounters seen = between_nodes_in_a_step(run);
        const std::int64_t sent = run.engine->layout().padded_total() / n * (nodes - 1);
        // The output unit, once a round.
        const std::int64_t once = run.engine->layout().units().back().padded / n * (nodes - 1);
        // The others twice a round.
        const std::int64_t gathered = stage == 3 ? 4 * sent - 2 * once : sent;
        const std::string where = std::string(column.name) + ", stage " + std::to_string(stage) +
                                  ", " + std::to_string(k) + " ranks a node";
        EXPECT_EQ(seen.exchange, 2 * sent * (k > 1 ? 4 : column.gradient)) << where;
        EXPECT_EQ(seen.all_gather, gathered * (stage == 0 ? column.gradient : column.parameter))
            << where;
      }
    }
  }
}

TEST(BytesBetweenNodes, TheChoiceOfTransportShowsInThem) {
  // By messages alone every slice and shard goes to every rank of other nodes by itself: (N-K) in
  // place of (N-K)/K and M-1.
  const std::int64_t n = ranks();
  if (n % 2 != 0) GTEST_SKIP() << "two even nodes need an even rank count";
  std::vector<int> placement;
  for (int r = 0; r < ranks(); ++r) placement.push_back(r < ranks() / 2 ? 0 : 1);
  const auto messages = th::runtime::make_mpi_collectives(
      MPI_COMM_WORLD, th::runtime::TransportChoice::kMpi, placement);
  constexpr std::int64_t kSlice = 1024;
  const auto buffer = messages->allocate(kSlice * n);
  (void)messages->exchange(*buffer, {0, kSlice});
  messages->finish_exchange();
  messages->all_gather(*buffer, {0, kSlice}, buffer->data());
  EXPECT_EQ(messages->bytes_between_nodes().exchange, n / 2 * kSlice);
  EXPECT_EQ(messages->bytes_between_nodes().all_gather, n / 2 * kSlice);
  EXPECT_EQ(messages->bytes_sent().exchange, (n - 1) * kSlice);
}

}  // namespace

TH_MPI_TEST_MAIN
