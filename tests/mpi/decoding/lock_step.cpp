// Decoding in lock step with sharded parameters: ids, log p and scores are those of stage 0 with
// all parameters, bit for bit, at every rank count, whatever gathers the units; ranks without a
// batch, a stop in the middle, and an error that one rank alone meets.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "exact_run.hpp"
#include "mpi_test.hpp"
#include "th/base/error.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/zero/sharded_source.hpp"

namespace {

using th::ElementType;
using th::config::Overlap;
using th::config::Tying;
using th::model::Hypothesis;
using th::train::LockStep;
using th_test::exact::kLongest;
using th_test::exact::kVocabulary;

constexpr std::int32_t kBadWord = kVocabulary - 1;  // that no batch has by itself

struct Case {
  const char* name;
  Tying tying = Tying::kNone;
  ElementType dtype = ElementType::kFp32;
  Overlap overlap = Overlap::kOff;
  std::int64_t kept = 0;
  bool messages = false;  ///< without windows, through gather slots
};

constexpr Case kCases[] = {
    {"plain"},
    {"all_tied", Tying::kAll},
    {"decoder_tied", Tying::kDecoder, ElementType::kBf16},
    {"embeddings_tied_messages", Tying::kEmbeddings, ElementType::kFp32, Overlap::kOff, 0, true},
    {"ahead", Tying::kNone, ElementType::kFp32, Overlap::kOn},
    {"all_tied_ahead_kept_messages", Tying::kAll, ElementType::kFp16, Overlap::kOn, 3000, true}};

th::config::RunConfig make_config(const Case& c, std::int64_t stage) {
  th::config::RunConfig config;
  config.model.d_model = 32;
  config.model.num_heads = 4;
  config.model.num_encoder_layers = 2;
  config.model.num_decoder_layers = 3;
  config.model.d_ff = 48;
  config.model.tie_embeddings = c.tying;
  config.precision.dtype = c.dtype;
  config.zero.stage = stage;
  config.zero.prefetch_units = 2;
  config.zero.persistence_threshold = stage == 3 ? c.kept : 0;
  config.comm.overlap = stage == 3 ? c.overlap : Overlap::kOff;
  return config;
}

/// Sentences of unlike lengths, batches of unlike sizes.
th::data::Batch make_batch(std::int64_t number, bool bad = false) {
  th::data::Batch batch;
  for (std::int64_t s = 0; s < 2 + number % 3; ++s) {
    std::vector<std::int32_t> source;
    for (std::int64_t t = 0; t < 3 + (number * 5 + s * 3) % 8; ++t)
      source.push_back(
          static_cast<std::int32_t>(4 + th::hash_pair(static_cast<std::uint64_t>(number),
                                                      static_cast<std::uint64_t>(s * 50 + t)) %
                                            (kVocabulary - 5)));
    if (bad) source[1] = kBadWord;
    std::vector<std::int32_t> target{th::data::kBegin};
    target.insert(target.end(), source.begin() + 1, source.end());
    target.push_back(th::data::kEnd);
    batch.append(source, target);
  }
  return batch;
}

/// Initial values, twice as large: likelier ids differ more, and sentences end at unlike steps.
void sharpen(th::zero::ZeroEngine& engine) {
  for (std::int64_t u = 0; u < std::ssize(engine.layout().units()); ++u) {
    std::vector<float> values(
        static_cast<std::size_t>(engine.layout().units()[static_cast<std::size_t>(u)].shard));
    engine.states().read_unit(th::zero::State::kParameters, u, values);
    for (float& value : values) value *= 2;
    engine.states().write_unit(th::zero::State::kParameters, u, values);
  }
}

/// A model, and an engine with sharpened parameters.
struct Trained {
  Trained(const Case& c, std::int64_t stage, th::runtime::Collectives& collectives)
      : config(make_config(c, stage)),
        model({config.model, kVocabulary, kVocabulary, kLongest}, th::model::GemmLibrary::kMkl),
        engine(config, model, collectives, collectives.size()) {
    sharpen(engine);
  }
  th::config::RunConfig config;
  th::model::Transformer model;
  th::zero::ZeroEngine engine;
};

/// One rank by itself, stage 0.
struct Alone {
  explicit Alone(const Case& c)
      : collectives(th::runtime::make_mpi_collectives(MPI_COMM_SELF)),
        run(c, 0, *collectives),
        source(run.engine.units().gather_all(run.model)) {}
  std::unique_ptr<th::runtime::Collectives> collectives;
  Trained run;
  std::unique_ptr<th::model::ParameterSource> source;
};

th::model::SearchOptions search(std::int64_t beam) {
  th::model::SearchOptions options;
  options.beam = options.best = beam;
  options.max_length = 20;
  return options;
}

void expect_same(const LockStep::Results& seen, const LockStep::Results& expected,
                 const std::string& where) {
  ASSERT_EQ(seen.size(), expected.size()) << where;
  for (std::size_t s = 0; s < seen.size(); ++s) {
    ASSERT_EQ(seen[s].size(), expected[s].size()) << where;
    for (std::size_t h = 0; h < seen[s].size(); ++h) {
      EXPECT_EQ(seen[s][h].ids, expected[s][h].ids) << where;
      EXPECT_EQ(seen[s][h].log_prob, expected[s][h].log_prob) << where << ": not to the bit";
      EXPECT_EQ(seen[s][h].score, expected[s][h].score) << where << ": not to the bit";
    }
  }
}

class LockSteps : public testing::TestWithParam<Case> {
 protected:
  static std::unique_ptr<th::runtime::Collectives> transport(const std::vector<int>& nodes = {}) {
    return th::runtime::make_mpi_collectives(MPI_COMM_WORLD,
                                             GetParam().messages
                                                 ? th::runtime::TransportChoice::kMpi
                                                 : th::runtime::TransportChoice::kBest,
                                             nodes);
  }
};

/// Three rounds, in the last of which rank 0 alone has a batch; what this rank finds is that of
/// stage 0. Returns the lengths of this rank's translations.
std::set<std::size_t> expect_rounds(const Trained& run, th::zero::DecodingSource& source,
                                    th::runtime::Collectives& collectives, const Alone& alone,
                                    const std::string& where) {
  const std::int64_t ranks = collectives.size(), count = 2 * ranks + 1;
  std::set<std::size_t> lengths;
  for (const std::int64_t beam : {1, 4}) {
    LockStep together(run.model, source, collectives.control(), search(beam), {});
    for (std::int64_t round = 0; round * ranks < count; ++round) {
      const std::int64_t number = round * ranks + collectives.rank();
      const th::data::Batch batch = make_batch(number);
      const auto seen = together.translate(number < count ? &batch : nullptr);
      EXPECT_TRUE(seen.has_value());
      const LockStep::Results expected =
          number < count ? th::model::translate(alone.run.model, *alone.source, batch, search(beam))
                         : LockStep::Results{};
      expect_same(seen.value_or(LockStep::Results{}), expected,
                  where + ", beam " + std::to_string(beam));
      for (const auto& sentence : expected) lengths.insert(sentence.front().ids.size());
    }
  }
  return lengths;
}

TEST_P(LockSteps, FindWhatStage0Finds) {
  const auto collectives = transport();
  const Alone alone(GetParam());
  for (const std::int64_t stage : {3, 0}) {
    Trained run(GetParam(), stage, *collectives);
    const auto source = run.engine.units().decoding_source(run.model);
    (void)expect_rounds(run, *source, *collectives, alone, "stage " + std::to_string(stage));
    // The engine goes on as it was: a round of training opens its units in their order.
    const th::data::Batch batch = make_batch(7);
    run.engine.begin_step();
    run.engine.accumulate(run.model, &batch, 7, 0.01, 0.1);
    EXPECT_TRUE(std::isfinite(run.engine.step({1e-3, 1}).loss_sum));
  }
}

TEST_P(LockSteps, AStopLeavesAllAsItWas) {
  const auto collectives = transport();
  const Alone alone(GetParam());
  Trained run(GetParam(), 3, *collectives);
  const auto source = run.engine.units().decoding_source(run.model);
  const th::data::Batch batch = make_batch(collectives->rank());
  int asked = 0;
  LockStep stopped(run.model, *source, collectives->control(), search(4),
                   [&] { return ++asked == 3; });
  EXPECT_FALSE(stopped.translate(&batch).has_value());
  EXPECT_EQ(asked, 3) << "it is asked between the positions of a batch";
  (void)expect_rounds(run, *source, *collectives, alone, "after a stop");
}

INSTANTIATE_TEST_SUITE_P(Ways, LockSteps, testing::ValuesIn(kCases),
                         [](const auto& p) { return std::string(p.param.name); });

TEST(LockStepNodes, EveryPlacementOfRanksFindsTheSame) {
  const Case plain{"nodes", Tying::kAll};
  const Alone alone(plain);
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  constexpr std::size_t kWaysOfMany = 3;  // many ranks on few cores take their time
  std::vector<std::vector<int>> placements = th_test::node_placements(ranks);
  if (ranks > 4) placements.resize(std::min(placements.size(), kWaysOfMany));
  for (const std::vector<int>& nodes : placements) {
    const auto collectives = th::runtime::make_mpi_collectives(
        MPI_COMM_WORLD, th::runtime::TransportChoice::kBest, nodes);
    Trained run(plain, 3, *collectives);
    const auto source = run.engine.units().decoding_source(run.model);
    (void)expect_rounds(run, *source, *collectives, alone, testing::PrintToString(nodes));
  }
}

/// This rank's shards of what `alone` has, with a row of the source embedding spoiled.
void write_shards(th::zero::ShardedSource& source, const Alone& alone, int rank, bool spoiled) {
  const th::zero::FlatLayout& whole = alone.run.engine.layout();
  for (std::size_t u = 0; u < whole.units().size(); ++u) {
    const auto unit = static_cast<std::int64_t>(u);
    std::vector<float> values(static_cast<std::size_t>(whole.units()[u].shard));
    alone.run.engine.states().read_unit(th::zero::State::kParameters, unit, values);
    const std::int64_t shard = source.layout().units()[u].shard;
    values.resize(static_cast<std::size_t>(shard * source.layout().ranks()));
    const auto width = static_cast<std::ptrdiff_t>(alone.run.config.model.d_model);
    if (u == 0 && spoiled) {
      std::fill_n(values.begin() + kBadWord * width, width,
                  std::numeric_limits<float>::quiet_NaN());
    }
    source.write_unit(unit, std::span(values).subspan(static_cast<std::size_t>(rank * shard),
                                                      static_cast<std::size_t>(shard)));
  }
  source.written();
}

TEST(ShardedSource, TranslatesAndScoresAsAllParametersDo) {
  std::set<std::size_t> lengths;
  for (const Case& c : kCases) {
    const auto collectives = th::runtime::make_mpi_collectives(
        MPI_COMM_WORLD,
        c.messages ? th::runtime::TransportChoice::kMpi : th::runtime::TransportChoice::kBest);
    Alone alone(c);
    Trained& run = alone.run;
    th::zero::ShardedSource source(run.config, run.model, *collectives);
    write_shards(source, alone, collectives->rank(), false);
    lengths.merge(expect_rounds(run, source, *collectives, alone, c.name));
    LockStep together(run.model, source, collectives->control(), search(1), {});
    const bool last = collectives->rank() + 1 == collectives->size();
    const th::data::Batch batch = make_batch(5);
    const std::vector<double> expected = th::model::score_targets(run.model, *alone.source, batch);
    EXPECT_EQ(together.score(run.model, last ? &batch : nullptr),
              last ? expected : std::vector<double>{});
  }
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  EXPECT_GT(collectives->control().maximum(std::ssize(lengths)), 1)
      << "batches end at unlike steps";
}

TEST(ShardedSource, WhatOneRankFindsNotFiniteIsToldToAll) {
  for (const bool messages : {false, true}) {
    const auto collectives = th::runtime::make_mpi_collectives(
        MPI_COMM_WORLD,
        messages ? th::runtime::TransportChoice::kMpi : th::runtime::TransportChoice::kBest);
    const Case plain{"bad"};
    const Alone alone(plain);
    th::zero::ShardedSource source(alone.run.config, alone.run.model, *collectives);
    write_shards(source, alone, collectives->rank(), true);
    LockStep together(alone.run.model, source, collectives->control(), search(4), {});
    const bool last = collectives->rank() + 1 == collectives->size();
    const th::data::Batch bad = make_batch(3, last);
    try {
      (void)together.translate(&bad);
      FAIL() << "accepted";
    } catch (const th::Error& error) {
      EXPECT_EQ(error.exit_code(), th::ExitCode::kNumerics);
      EXPECT_EQ(error.thrown(), th::Error::Thrown::kEverywhere);
      EXPECT_NE(std::string(error.what()).find("not finite"), std::string::npos) << error.what();
    }
    const th::data::Batch fine = make_batch(3);
    const auto seen = together.translate(&fine);
    ASSERT_TRUE(seen.has_value());
    expect_same(*seen, th::model::translate(alone.run.model, *alone.source, fine, search(4)),
                "after an error");
  }
}

}  // namespace

TH_MPI_TEST_MAIN
