// Audits by exactness: no bit of a run depends on them, every kind of flipped bit is found and the
// rank that has it named, on one node, on several and on a device with memory of its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "exact_run.hpp"
#include "fakes/fake_device.hpp"
#include "fakes/fake_transport.hpp"
#include "mpi_test.hpp"
#include "th/base/bit_flip.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/audit/audit.hpp"

namespace {

using th::BitFlip;
using th::ElementType;
using th::config::GradientCheckpointing;
using th::config::ReduceDtype;
using th::runtime::TransportChoice;
using th_test::rank;
using th_test::ranks;
using th_test::exact::kLongest;
using th_test::exact::kSlots;
using th_test::exact::kVocabulary;
using Place = BitFlip::Place;

/// The slots of exact_run.hpp, of lengths of their own; slot 5 of step 1 is empty.
class Slots final : public th::data::StepSource {
 public:
  explicit Slots(std::int64_t slots) : slots_(slots) {}
  [[nodiscard]] th::data::StepBatches make(std::int64_t, std::int64_t step) const override {
    th::data::StepBatches out;
    out.step_in_epoch = step;
    for (std::int64_t s = 0; s < slots_; ++s) {
      const th::data::Batch batch = make_slot(0, step, s);
      out.target_tokens += batch.target_tokens;
      if (s % ranks() == rank()) out.rounds.push_back(batch);
    }
    return out;
  }
  [[nodiscard]] th::data::Batch make_slot(std::int64_t, std::int64_t step,
                                          std::int64_t slot) const override {
    return th_test::exact::make_slot(step % 4, slot);
  }
  [[nodiscard]] std::int64_t steps(std::int64_t) const override { return 1 << 20; }
  [[nodiscard]] std::vector<th::data::BatchShape> largest_shapes(std::int64_t,
                                                                 SlotsOf) const override {
    return {};
  }
  void deal(const th::SlotDealing&) override {}  // audits are of rounds

 private:
  std::int64_t slots_;
};

th::config::RunConfig make_config(std::int64_t stage, std::int64_t audit_steps) {
  th::config::RunConfig c = th_test::exact::small_config(stage);
  c.train.label_smoothing = 0.1;
  c.run.audit_steps = audit_steps;
  return c;
}

struct TestedRun {
  explicit TestedRun(const th::config::RunConfig& the_config, std::int64_t slots = kSlots,
                     TransportChoice transport = TransportChoice::kBest,
                     const std::vector<int>& nodes = {})
      : config(the_config),
        source(slots),
        collectives(th::runtime::make_mpi_collectives(MPI_COMM_WORLD, transport, nodes)),
        model({config.model, kVocabulary, kVocabulary, kLongest}, th::model::GemmLibrary::kMkl),
        engine(config, model, *collectives, slots),
        audit({config, model, engine, collectives->control(), source, nullptr, "cpu"}) {}

  /// The next step; what its audit found.
  std::string step() {
    const double scale = config.precision.dtype == ElementType::kFp16 ? 0x1p10 : 1.0;
    const std::string found =
        audit.enqueue_step(source.make(0, done), done, {1e-3, done + 1, scale});
    ++done;
    if (!found.empty()) return found;
    const th::zero::StepResult result = engine.result();
    numbers.push_back(result.loss_sum);
    numbers.push_back(result.grad_norm);
    return "";
  }
  /// Steps until an audit finds something, at most so many; what it was.
  std::string steps_until_found(std::int64_t most) {
    std::string found;
    while (found.empty() && done < most) found = step();
    return found;
  }
  [[nodiscard]] std::vector<float> state() const {
    const auto shard = static_cast<std::size_t>(engine.layout().shard_total());
    std::vector<float> all;
    for (const auto& [name, state] : engine.states().named()) {
      all.resize(all.size() + shard);
      engine.states().read(state, std::span(all).last(shard));
    }
    return all;
  }

  th::config::RunConfig config;
  Slots source;
  std::unique_ptr<th::runtime::Collectives> collectives;
  th::model::Transformer model;
  th::zero::ZeroEngine engine;
  th::train::Audit audit;
  std::int64_t done = 0;
  std::vector<double> numbers;
};

/// What a flip of one rank's gives, from a run that has one from its `nth` time on.
std::string found_with(const BitFlip::Plan& plan, int victim, TestedRun& run,
                       std::int64_t most = 40) {
  if (rank() == victim) BitFlip::arm(plan);
  std::string found = run.steps_until_found(most);
  BitFlip::disarm();
  return found;
}

std::string named(int number) { return "rank " + std::to_string(number) + " ("; }

/// Whether what was found begins with the rank.
bool blames(const std::string& found, int number) {
  return found.find("found that " + named(number)) != std::string::npos;
}

struct Case {
  const char* name;
  std::int64_t stage;
  GradientCheckpointing recompute = GradientCheckpointing::kNone;
  ElementType dtype = ElementType::kFp32;
  ReduceDtype reduced = ReduceDtype::kFp32;
  bool overlap = false, tied = false;
  std::int64_t kept = 0;  ///< zero.persistence_threshold
};

th::config::RunConfig config_of(const Case& c, std::int64_t audit_steps) {
  th::config::RunConfig config = make_config(c.stage, audit_steps);
  config.model.gradient_checkpointing = c.recompute;
  config.precision.dtype = c.dtype;
  config.precision.reduce_dtype = c.reduced;
  if (c.tied) config.model.tie_embeddings = th::config::Tying::kAll;
  if (c.overlap) config.comm.overlap = th::config::Overlap::kOn;
  config.zero.persistence_threshold = c.kept;
  config.zero.prefetch_units = 2;
  return config;
}

class AuditedRun : public testing::TestWithParam<Case> {};

TEST_P(AuditedRun, HasTheBitsOfOneThatIsNotAudited) {
  for (const std::int64_t slots : {kSlots, std::int64_t{13}}) {
    TestedRun plain(config_of(GetParam(), 0), slots), audited(config_of(GetParam(), 1), slots);
    for (int step = 0; step < 6; ++step) {
      EXPECT_EQ(plain.step(), "");
      EXPECT_EQ(audited.step(), "") << "a false alarm";
    }
    EXPECT_EQ(plain.numbers, audited.numbers) << slots << " slots";
    EXPECT_EQ(plain.state(), audited.state()) << slots << " slots";
  }
}

TEST_P(AuditedRun, FindsAFlippedBitOfTheGradientAndNamesItsRank) {
  for (int victim = 0; victim < ranks(); ++victim) {
    TestedRun run(config_of(GetParam(), 1));
    const std::string found =
        found_with({Place::kGradient, 1, static_cast<std::uint64_t>(victim)}, victim, run);
    ASSERT_NE(found, "");
    EXPECT_NE(found.find(named(victim)), std::string::npos) << found;
    EXPECT_TRUE(ranks() == 2 || blames(found, victim)) << found;
  }
}

constexpr auto kBf16 = ElementType::kBf16, kFp16 = ElementType::kFp16;
constexpr auto kShort = ReduceDtype::kWorking, kLong = ReduceDtype::kFp32;
INSTANTIATE_TEST_SUITE_P(
    Cases, AuditedRun,
    testing::Values(
        Case{"stage0", 0}, Case{"stage1_selective", 1, GradientCheckpointing::kSelective},
        Case{"stage2_full", 2, GradientCheckpointing::kFull},
        Case{"stage3_sqrt", 3, GradientCheckpointing::kSqrt},
        Case{"stage0_bf16_overlap", 0, GradientCheckpointing::kFull, kBf16, kShort, true},
        Case{"stage1_fp16_tied", 1, GradientCheckpointing::kNone, kFp16, kLong, false, true},
        Case{"stage2_overlap", 2, GradientCheckpointing::kSqrt, ElementType::kFp32, kLong, true,
             true},
        Case{"stage2_fp16_short", 2, GradientCheckpointing::kNone, kFp16, kShort, true},
        Case{"stage3_overlap", 3, GradientCheckpointing::kFull, ElementType::kFp32, kLong, true},
        Case{"stage3_bf16_kept_tied", 3, GradientCheckpointing::kNone, kBf16, kLong, true, true,
             2000}),
    [](const auto& p) { return std::string(p.param.name); });

TEST(Audit, ARunThatIsAuditedNowAndThenHasTheSameBits) {
  TestedRun plain(make_config(2, 0)), audited(make_config(2, 4));
  for (int step = 0; step < 9; ++step) {
    EXPECT_EQ(plain.step(), "");
    EXPECT_EQ(audited.step(), "");
  }
  EXPECT_EQ(plain.numbers, audited.numbers);
  EXPECT_EQ(plain.state(), audited.state());
}

TEST(Audit, FindsEveryKindOfPlaceOnEveryRank) {
  for (const Place place :
       {Place::kWeights, Place::kActivations, Place::kGradient, Place::kMessage}) {
    for (int victim = 0; victim < ranks(); ++victim) {
      for (std::uint64_t draw = 0; draw < 4; ++draw) {
        TestedRun run(make_config(static_cast<std::int64_t>(draw), 1));
        const std::string found =
            found_with({place, 1 + static_cast<std::int64_t>(draw % 2), draw}, victim, run);
        const std::string where =
            "place " + std::to_string(static_cast<int>(place)) + ", draw " + std::to_string(draw);
        ASSERT_NE(found, "") << where << " was not found";
        EXPECT_NE(found.find(named(victim)), std::string::npos) << where << ": " << found;
        if (ranks() == 1) {
          EXPECT_TRUE(found.find("computed two ") != std::string::npos ||
                      found.find("arrived changed") != std::string::npos)
              << found;
        } else if (ranks() > 2) {
          EXPECT_TRUE(blames(found, victim)) << where << ": " << found;
        } else if (found.find("arrived changed") == std::string::npos) {
          EXPECT_NE(found.find("one of the two is wrong"), std::string::npos) << found;
          EXPECT_NE(found.find(named(1 - victim)), std::string::npos) << found;
        }
      }
    }
  }
}

TEST(Audit, FindsThemWhereRanksAreOnSeveralNodes) {
  for (const std::vector<int>& nodes : th_test::node_placements(ranks())) {
    for (const Place place : {Place::kMessage, Place::kActivations}) {
      const int victim = static_cast<int>(nodes.size()) - 1;
      TestedRun plain(make_config(2, 0), 13, TransportChoice::kBest, nodes),
          audited(make_config(2, 1), 13, TransportChoice::kBest, nodes);
      for (int step = 0; step < 4; ++step) {
        EXPECT_EQ(plain.step(), "");
        EXPECT_EQ(audited.step(), "") << testing::PrintToString(nodes);
      }
      EXPECT_EQ(plain.numbers, audited.numbers) << testing::PrintToString(nodes);
      EXPECT_EQ(plain.state(), audited.state()) << testing::PrintToString(nodes);
      const std::string found = found_with({place, 1, nodes.size()}, victim, audited);
      EXPECT_NE(found.find(named(victim)), std::string::npos)
          << testing::PrintToString(nodes) << ": " << found;
      EXPECT_TRUE(ranks() == 2 || blames(found, victim)) << found;
    }
  }
}

TEST(Audit, FindsALastingFlipInACopyOfTheParametersAtTheNextAudit) {
  if (ranks() == 1) GTEST_SKIP() << "there is one copy";
  struct Flip {
    std::int64_t stage, step;
    ElementType dtype;
  };
  // At stages 1 and 2 the next update brings most of a copy anew.
  for (const Flip& flip : {Flip{0, 2, ElementType::kFp32}, Flip{0, 1, kBf16}, Flip{0, 3, kFp16},
                           Flip{1, 4, ElementType::kFp32}, Flip{2, 4, kBf16}}) {
    for (int victim = 0; victim < ranks(); ++victim) {
      th::config::RunConfig config = make_config(flip.stage, 4);
      config.precision.dtype = flip.dtype;
      TestedRun run(config, kSlots, TransportChoice::kMpi);
      const std::string found =
          found_with({Place::kCopy, flip.step, static_cast<std::uint64_t>(victim)}, victim, run, 8);
      EXPECT_EQ(run.done, 4) << "the next audit";
      EXPECT_NE(found.find("parameters"), std::string::npos) << found;
      EXPECT_NE(found.find(named(victim)), std::string::npos) << found;
      EXPECT_TRUE(ranks() == 2 || blames(found, victim)) << found;
    }
  }
}

TEST(Audit, SaysWhichAuditAgreedBefore) {
  if (ranks() == 1) GTEST_SKIP() << "there is one copy";
  TestedRun run(make_config(0, 3), kSlots, TransportChoice::kMpi);
  const std::string found = found_with({Place::kCopy, 5, 1}, 0, run);
  EXPECT_EQ(found.rfind("step 6: the audit found that ", 0), 0U) << found;
  EXPECT_NE(found.find("the audit before, of step 3, found nothing"), std::string::npos) << found;
  EXPECT_EQ(found.find('\n'), std::string::npos);
}

/// An audited step of an engine on a device, whose memory the host reaches in a kernel alone; a
/// flip of the weights on rank 0 changes what it computes again.
class OnADevice : public testing::TestWithParam<bool> {};

TEST_P(OnADevice, HashesWhatTheDeviceHas) {
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    th::config::RunConfig config = make_config(stage, 1);
    if (GetParam()) config.comm.overlap = th::config::Overlap::kOn;
    config.zero.offload_optimizer = stage == 1;
    const auto host = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
    th_test::FakeDevice device(th_test::FakeDevice::Pace::kLatest);
    th_test::FakeTransport transport(*host, device);
    th::model::Transformer model({config.model, kVocabulary, kVocabulary, kLongest},
                                 th::model::GemmLibrary::kMkl);
    th::zero::ZeroEngine engine(config, model, transport, kSlots, &device);
    EXPECT_GT(engine.buffers().audit.arrivals, 0);
    EXPECT_EQ(device.bytes(th::runtime::Place::kHost), engine.buffers().host_use().total());
    const Slots source(kSlots);
    for (std::int64_t step = 0; step < 3; ++step) {
      const bool flips = step == 2 && rank() == 0;
      const th::train::Audit::Draw draw = {step, static_cast<int>(step) % ranks(), 0, -1};
      const th::data::StepBatches batches = source.make(0, step);
      const double scale = 1.0 / static_cast<double>(batches.target_tokens);
      if (flips) BitFlip::arm({Place::kWeights, 1, 0});
      engine.begin_step();
      engine.audit().begin(draw.slot);
      const std::vector<std::uint64_t> copy = engine.audit().parameter_hashes();
      EXPECT_EQ(copy.empty(), stage == 3 || ranks() == 1);
      th::zero::SlotHashes again;
      {
        const th::data::Batch batch = source.make_slot(0, step, draw.slot);
        const th_test::FakeDevice::Kernel kernel(device);
        again = engine.audit().compute_again(model, rank() == 0 ? &batch : nullptr, 7, scale, 0.1);
      }
      BitFlip::disarm();
      for (std::int64_t round = 0; round < engine.rounds(); ++round) {
        const th_test::FakeDevice::Kernel kernel(device);
        const bool mine = round < std::ssize(batches.rounds);
        engine.accumulate(model, mine ? &batches.rounds[static_cast<std::size_t>(round)] : nullptr,
                          7, scale, 0.1);
      }
      const th::zero::AuditedSlot found = engine.audit().found();
      const std::vector<std::string> arrived =
          transport.control().gather_texts(std::to_string(found.arrived));
      const auto text = [](const th::zero::SlotHashes& h) {
        std::string out;
        for (const std::uint64_t hash : h.gradients) out += std::to_string(hash) + " ";
        return out.empty() ? out : std::to_string(h.loss) + ": " + out;
      };
      const std::string of_owner = transport.control()
                                       .gather_texts(text(found.computed))
                                       .at(static_cast<std::size_t>(draw.owner));
      const std::string of_witness = transport.control().gather_texts(text(again)).front();
      ASSERT_NE(of_owner, "");
      EXPECT_EQ(of_owner == of_witness, step < 2) << "stage " << stage << ", step " << step;
      for (const std::string& hash : arrived)
        EXPECT_NE(of_owner.find(" " + hash + " "), std::string::npos) << "stage " << stage;
      engine.end_step({1e-3, step + 1});
      (void)engine.result();
      EXPECT_EQ(device.streams().violations(), std::vector<std::string>{}) << "stage " << stage;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Overlap, OnADevice, testing::Values(false, true), [](const auto& p) {
  return p.param ? std::string("on") : std::string("off");
});

}  // namespace

TH_MPI_TEST_MAIN
