// What decoding in lock step takes is planned to the byte: all classes where no sentence finishes
// early, at most as much where some do, without a copy of the parameters, and no more than a step
// of training.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "measured_memory.hpp"
#include "mpi_test.hpp"
#include "th/model/decoding/search_options.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/zero/sharded_source.hpp"

namespace {

using th::ElementType;
using th::config::RunConfig;
using th::config::Sharded;
using th::config::Tying;
using th::runtime::MemoryScope;
using th::zero::MemoryPlan;
using namespace th_test;

using DecodingMemory = OnTheLedger<testing::Test>;

/// Of training.
constexpr Size kSize{64, 2, 8, 24};
/// Where LibTorch's own oneDNN multiplies, whose scratch no plan can ask for (told_scratch()).
constexpr double kUntold = 0.05;

/// Sentences to decode, one by one as long as the longest or as they come.
struct Sources {
  std::int64_t sentences, longest;
  bool uneven;
};

struct Case {
  const char* name;
  ElementType dtype = ElementType::kFp32;
  std::int64_t beam = 1;
  Sources sources{kSize.sentences, kSize.length, false};
  std::int64_t decoded = 20;  ///< ids, the longest translation
  void (*change)(RunConfig&) = [](RunConfig&) {};
  std::int64_t vocabulary = kVocabulary;
};

void make_local(RunConfig& config) {
  th::config::ModelSection& m = config.model;
  m.encoder_attention = m.decoder_attention = m.cross_attention = th::config::Attention::kLocal;
  m.attention_window = 3;
}

void draw(RunConfig& config) {
  config.decode.sampling = true;
  config.decode.temperature = 1.5;
}

constexpr Case kCases[] = {
    {.name = "greedy"},
    {.name = "a beam, all embeddings tied",
     .beam = 4,
     .change = [](RunConfig& c) { c.model.tie_embeddings = Tying::kAll; }},
    {.name = "a beam of bf16, tied",
     .dtype = ElementType::kBf16,
     .beam = 4,
     .change = [](RunConfig& c) { c.model.tie_embeddings = Tying::kDecoder; }},
};

constexpr Case kMoreCases[] = {
    {.name = "fp16 greedy", .dtype = ElementType::kFp16},
    {.name = "bf16 greedy, one whole block of rows",
     .dtype = ElementType::kBf16,
     .sources = {32, 11, false}},
    {.name = "fp32, odd and uneven", .beam = 5, .sources = {7, 13, true}, .decoded = 9},
    {.name = "bf16, odd and uneven",
     .dtype = ElementType::kBf16,
     .beam = 5,
     .sources = {7, 13, true},
     .decoded = 9},
    {.name = "fp16, odd and uneven",
     .dtype = ElementType::kFp16,
     .beam = 5,
     .sources = {7, 13, true},
     .decoded = 9},
    {.name = "one id to one id", .beam = 5, .sources = {1, 1, false}, .decoded = 1},
    {.name = "rings", .beam = 5, .sources = {9, 31, true}, .decoded = 23, .change = make_local},
    {.name = "rings of bf16, every second state",
     .dtype = ElementType::kBf16,
     .beam = 3,
     .sources = {11, 37, true},
     .decoded = 21,
     .change =
         [](RunConfig& c) {
           make_local(c);
           c.model.cross_downsample = 2;
         }},
    {.name = "every third state",
     .beam = 2,
     .sources = {6, 29, true},
     .change = [](RunConfig& c) { c.model.cross_downsample = 3; }},
    {.name = "learned positions of fp16, norms of heads",
     .dtype = ElementType::kFp16,
     .beam = 2,
     .change =
         [](RunConfig& c) {
           c.model.position = th::config::Position::kLearned;
           c.model.qk_norm = true;
         }},
    {.name = "rotations of bf16, gates",
     .dtype = ElementType::kBf16,
     .beam = 2,
     .change =
         [](RunConfig& c) {
           c.model.position = th::config::Position::kRope;
           c.model.norm_kind = th::config::NormKind::kRms;
           c.model.activation = th::config::Activation::kSwiglu;
         }},
    {.name = "draws", .beam = 3, .sources = {5, 17, true}, .decoded = 12, .change = draw},
    {.name = "draws of the likeliest, bf16",
     .dtype = ElementType::kBf16,
     .sources = {33, 17, true},
     .decoded = 12,
     .change =
         [](RunConfig& c) {
           draw(c);
           c.decode.top_k = 9;
         }},
    // Lists of rows and of sentences are counted from here on.
    {.name = "many sentences", .beam = 5, .sources = {611, 6, true}, .decoded = 4},
    {.name = "a wide beam", .beam = 41, .sources = {3, 6, true}, .decoded = 4},
};

RunConfig make_config(const Case& c, Sharded sharded) {
  RunConfig config = th_test::make_config(3, GradientCheckpointing::kNone, kSize);
  config.precision.dtype = c.dtype;
  config.decode.beam = c.beam;
  config.decode.max_length = c.decoded;
  config.decode.sharded = sharded;
  config.data.max_length = kLongest;  // of learned positions
  c.change(config);
  return config;
}

/// Sources with translations of other lengths than those that are found: decoding looks at none.
th::data::Batch make_sources(const Case& c) {
  const auto ids = [&](std::int64_t length, std::int64_t salt) {
    std::vector<std::int32_t> out;
    for (std::int64_t i = 0; i < length; ++i) {
      const std::uint64_t key = th::mix64(static_cast<std::uint64_t>(1000 * salt + i));
      out.push_back(4 +
                    static_cast<std::int32_t>(key % static_cast<std::uint64_t>(c.vocabulary - 4)));
    }
    return out;
  };
  th::data::Batch batch;
  for (std::int64_t b = 0; b < c.sources.sentences; ++b) {
    const std::int64_t length =
        c.sources.uneven ? 1 + (7 * b + 3) % c.sources.longest : c.sources.longest;
    batch.append(ids(length, 2 * b), ids(2 + b * 5 % 27, 2 * b + 1));
  }
  return batch;
}

th::zero::PlanRequest request_of(const Case& c, const RunConfig& config) {
  th::zero::PlanRequest request = plan_request(config, kSize, false);
  request.source_vocabulary = request.target_vocabulary = c.vocabulary;
  const std::vector<std::int32_t> sources = make_sources(c).source_lengths;
  request.decoding = {
      {sources, std::vector<std::int32_t>(sources.size(), static_cast<std::int32_t>(c.decoded))}};
  request.decodes = true;
  return request;
}

/// One node, and of one case all ways to lay ranks onto nodes.
std::vector<std::vector<int>> placements(const RunConfig& config) {
  if (config.model.tie_embeddings == Tying::kAll) return node_placements(ranks());
  return {std::vector<int>(static_cast<std::size_t>(ranks()), 0)};
}

/// What the engine holds after a step of training, with it the peak of a batch that is decoded in
/// lock step, on rank 0 by going along, and what was found.
struct Measured {
  MemoryUse held, peak;
  th::train::LockStep::Results found;
};
Measured measure_decoding(const Case& c, const RunConfig& config, const std::vector<int>& nodes,
                          std::span<const th::model::SentenceOptions> sentences = {}) {
  const auto collectives =
      th::runtime::make_mpi_collectives(MPI_COMM_WORLD, TransportChoice::kBest, nodes);
  const th::data::Batch batch = make_batch(kSize, c.vocabulary), sources = make_sources(c);
  MemoryLedger::process().restart();
  const MemoryScope scope(MemoryClass::kActivations);
  th::model::Transformer model({config.model, c.vocabulary, c.vocabulary, kLongest},
                               th::model::resolve_gemm(config.run.gemm),
                               th::model::Arithmetic::kCompute,
                               th::model::host_compute(config.run));
  th::zero::ZeroEngine engine(config, model, *collectives, slots_of_a_step());
  engine.begin_step();  // buffers of what crosses nodes come with it
  for (std::int64_t round = 0; round < engine.rounds(); ++round) {
    const bool mine = round * collectives->size() + collectives->rank() < slots_of_a_step();
    engine.accumulate(model, mine ? &batch : nullptr, 7, 0.01, 0.1);
  }
  (void)engine.step({1e-3, 1});
  Measured out{MemoryLedger::process().current(), {}, {}};
  MemoryLedger::process().restart();  // counts from here on
  const auto source = engine.units().decoding_source(model);
  const bool mine = collectives->rank() > 0 || collectives->size() == 1;
  th::train::LockStep together(model, *source, collectives->control(),
                               th::model::search_options(config.decode), {});
  auto found = together.translate(mine ? &sources : nullptr, mine ? sentences : sentences.first(0));
  EXPECT_TRUE(found.has_value());
  out.peak = MemoryLedger::process().at_peak();
  for (std::size_t k = 0; k < out.peak.bytes.size(); ++k) out.peak.bytes[k] += out.held.bytes[k];
  out.found = std::move(found).value_or(th::train::LockStep::Results{});
  return out;
}

/// Whether the library of the case's products tells what it takes: all but LibTorch's copy of
/// oneDNN, which bf16 has where there is no other.
bool told_scratch(const Case& c) {
  const std::string name = th::model::Gemm(th::model::resolve_gemm(RunConfig{}.run.gemm),
                                           th::model::Arithmetic::kShapesOnly)
                               .identity(c.dtype);
  return name.find("+bf16") == std::string::npos || name.find("onednn-torch") == std::string::npos;
}

/// Plan and measurement of the ranks that have a batch, all classes; of one that goes along the
/// engine's.
void expect_exact(const Case& c, const std::vector<int>& nodes) {
  SCOPED_TRACE(std::string(c.name) + ", nodes " + testing::PrintToString(nodes));
  RunConfig config = make_config(c, Sharded::kOn);
  config.decode.min_length = c.decoded;  // none finishes early
  th::zero::PlanRequest request = request_of(c, config);
  request.nodes = th::runtime::NodeMap(nodes);
  MPI_Comm_rank(MPI_COMM_WORLD, &request.rank);
  const MemoryPlan plan = th::zero::plan_memory(request);
  const MemoryUse planned = plan.find("decoding")->use, training = plan.find("training")->use;
  const Measured measured = measure_decoding(c, config, nodes);
  const bool mine = request.rank > 0 || ranks() == 1;
  for (std::size_t k = 0; k < th::runtime::kMemoryClasses; ++k) {
    const auto kind = static_cast<MemoryClass>(k);
    const std::string name = th::runtime::memory_class_name(kind);
    if (kind != MemoryClass::kActivations) {
      EXPECT_EQ(planned[kind], training[kind]) << name;
      EXPECT_EQ(measured.held[kind], measured.peak[kind]) << "decoding takes more of " << name;
    }
    if (!mine && kind == MemoryClass::kActivations) {
      EXPECT_LT(measured.peak[kind], planned[kind]) << name;
    } else if (kind == MemoryClass::kActivations && !told_scratch(c)) {
      EXPECT_NEAR(static_cast<double>(measured.peak[kind]) / static_cast<double>(planned[kind]), 1,
                  kUntold);
    } else {
      EXPECT_EQ(planned[kind], measured.peak[kind]) << name;
    }
  }
  ASSERT_EQ(std::ssize(measured.found), mine ? c.sources.sentences : 0);
  for (const auto& best : measured.found) EXPECT_EQ(std::ssize(best.front().ids), c.decoded);
}

TEST_F(DecodingMemory, LockStepTakesWhatIsPlannedAndNoMoreThanTraining) {
  for (const Case& c : kCases) {
    const RunConfig config = make_config(c, Sharded::kOn);
    for (const std::vector<int>& nodes : placements(config)) expect_exact(c, nodes);
    const MemoryPlan plan = th::zero::plan_memory(request_of(c, config));
    EXPECT_EQ(plan.peak().name, "training") << c.name;
    EXPECT_LE(plan.find("decoding")->use.total(), plan.find("training")->use.total());
  }
}

TEST_F(DecodingMemory, EveryKindOfSearchAndModelIsPlannedToTheByte) {
  for (const Case& c : kMoreCases) {
    if (!told_scratch(c)) continue;
    for (const std::vector<int>& nodes : placements(make_config(c, Sharded::kOn)))
      expect_exact(c, nodes);
  }
}

/// Few ids, of which the end is one, and begins that are forced.
TEST_F(DecodingMemory, SentencesThatFinishEarlyTakeNoMore) {
  constexpr std::int64_t kFew = 12;
  for (const ElementType dtype : {ElementType::kFp32, ElementType::kBf16, ElementType::kFp16}) {
    for (const bool local : {false, true}) {
      Case c{.name = "early",
             .dtype = dtype,
             .beam = 4,
             .sources = {24, 19, true},
             .decoded = 30,
             .change = draw,
             .vocabulary = kFew};
      if (local) {
        c.change = [](RunConfig& config) {
          draw(config);
          make_local(config);
          config.decode.top_p = 0.95;
        };
      }
      if (!told_scratch(c)) continue;
      const RunConfig config = make_config(c, Sharded::kOn);
      std::vector<th::model::SentenceOptions> sentences;
      for (std::uint64_t b = 0; b < 24; ++b)
        sentences.push_back({b, std::vector<std::int32_t>(b % 5, 7)});
      const std::vector<int> nodes(static_cast<std::size_t>(ranks()), 0);
      const Measured measured = measure_decoding(c, config, nodes, sentences);
      const MemoryPlan plan = th::zero::plan_memory(request_of(c, config));
      EXPECT_LE(measured.peak.total(), plan.find("decoding")->use.total());
      std::int64_t early = 0;
      for (const auto& best : measured.found)
        early += std::ssize(best.front().ids) < c.decoded ? 1 : 0;
      EXPECT_TRUE(early > 0 || measured.found.empty()) << "none finished early";
    }
  }
}

TEST_F(DecodingMemory, AllParametersOnEveryRankAreAPeakOfTheirOwn) {
  for (const Case& c : kCases) {
    const auto plan_of = [&](Sharded sharded) {
      return th::zero::plan_memory(request_of(c, make_config(c, sharded)));
    };
    const MemoryPlan whole = plan_of(Sharded::kOff), open = plan_of(Sharded::kAuto),
                     sharded = plan_of(Sharded::kOn);
    const auto slots = [](const MemoryPlan& plan) {
      return plan.find("decoding")->use[MemoryClass::kGatherSlots];
    };
    const th::model::Transformer model(
        {make_config(c, Sharded::kOn).model, kVocabulary, kVocabulary, 1},
        th::model::GemmLibrary::kMkl, th::model::Arithmetic::kShapesOnly);
    EXPECT_EQ(slots(whole) - slots(sharded),
              th::zero::FlatLayout(model.units(), 1).padded_total() * th::element_size(c.dtype));
    EXPECT_EQ(open.peak().use.total(), whole.peak().use.total()) << "auto counts as off";
  }
}

/// Long translations of short sentences: keys and values outweigh what training takes.
TEST_F(DecodingMemory, SoManySentencesAreDecodedTogetherAsTrainingHasRoomFor) {
  for (const Case& c : kCases) {
    th::zero::PlanRequest request = request_of(c, make_config(c, Sharded::kOn));
    EXPECT_EQ(th::zero::sentences_in_lock_step(request), kSize.sentences);
    request.longest = 4000;
    request.decoding = {th::data::BatchShape::uniform(kSize.sentences, kSize.length, 2000)};
    EXPECT_EQ(th::zero::plan_memory(request).peak().name, "decoding");
    request.decoded_together = th::zero::sentences_in_lock_step(request);
    EXPECT_LT(request.decoded_together, kSize.sentences);
    EXPECT_GE(request.decoded_together, 1);
    const MemoryPlan plan = th::zero::plan_memory(request);
    if (request.decoded_together > 1) {
      EXPECT_EQ(plan.peak().name, "training");
    }
    request.training.clear();
    EXPECT_EQ(th::zero::sentences_in_lock_step(request), kSize.sentences);
  }
  const auto parts = th::zero::parts_of({{{3, 4, 5, 6, 7}, {1, 1, 1, 1, 1}}}, 2);
  ASSERT_FALSE(parts.empty());
  for (const auto& part : parts) EXPECT_LE(part.sentences(), 2);
}

TEST_F(DecodingMemory, AnEngineOfParametersAloneTakesItsShards) {
  for (const Case& c : kCases) {
    const RunConfig config = make_config(c, Sharded::kOn);
    for (const std::vector<int>& nodes : placements(config)) {
      const auto collectives =
          th::runtime::make_mpi_collectives(MPI_COMM_WORLD, TransportChoice::kBest, nodes);
      const th::model::Transformer model({config.model, kVocabulary, kVocabulary, kLongest},
                                         th::model::resolve_gemm(config.run.gemm));
      MemoryLedger::process().restart();
      const MemoryUse before = MemoryLedger::process().current();
      const th::zero::ShardedSource source(config, model, *collectives);
      const MemoryUse after = MemoryLedger::process().current();
      const auto grown = [&](MemoryClass kind) { return after[kind] - before[kind]; };
      EXPECT_EQ(grown(MemoryClass::kParameters),
                source.layout().shard_total() * th::element_size(c.dtype));
      EXPECT_EQ(grown(MemoryClass::kParameters) + grown(MemoryClass::kGatherSlots), source.bytes())
          << testing::PrintToString(nodes);
      if (*std::max_element(nodes.begin(), nodes.end()) == 0) {
        EXPECT_EQ(grown(MemoryClass::kGatherSlots), 0) << "on one node units are read in place";
      }
    }
  }
}

}  // namespace

TH_MPI_TEST_MAIN
