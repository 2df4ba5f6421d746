#include <gtest/gtest.h>
#include <algorithm>
#include <filesystem>

#include "loading.hpp"
#include "th/config/schema.hpp"

// What keys say together: contradictions, keys without effect, values that are not part of the
// build.
namespace th::config::test {
namespace {

/// The one problem, or a text that says how many there are.
std::string problem(const std::string& text, const Overrides& overrides = {}) {
  const Lines lines = problems(text, overrides);
  return lines.size() == 1 ? lines.front()
                           : std::to_string(lines.size()) + " problems" +
                                 (lines.empty() ? "" : ", first " + lines.front());
}

TEST(Checks, SoundDecksHaveNoWarning) {
  EXPECT_EQ(load(kSound).warnings, Lines());
  EXPECT_EQ(load(kSynthetic).warnings, Lines());
}

TEST(Checks, ShippedDecksHaveNoWarning) {
  int decks = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(TH_SOURCE_DIR) / "inputs")) {
    if (entry.path().extension() != ".in") continue;
    ++decks;
    EXPECT_EQ(load_deck(entry.path().string(), {}).warnings, Lines()) << entry.path();
  }
  EXPECT_GE(decks, 8);
}

TEST(Checks, HeadsDivideTheWidth) {
  EXPECT_EQ(
      problem(kSound + "model.num_heads = 3"),
      "a.in:7: model.num_heads: 3 does not divide model.d_model = 512; allowed divisors of it");
  EXPECT_EQ(
      problem(kSound + "\nmodel.d_model = 100"),
      "a.in:8: model.num_heads: 8 does not divide model.d_model = 100; allowed divisors of it");
  EXPECT_EQ(problem(kSound, {"model.num_heads=1024"}),
            "command line: model.num_heads: 1024 does not divide model.d_model = 512; allowed "
            "divisors of it");
}

TEST(Checks, SinusoidalPositionsNeedAnEvenWidth) {
  EXPECT_EQ(problem(kSound + "[model]\nd_model = 33\nnum_heads = 3\n"),
            "a.in:8: model.d_model: 33 is odd, and sinusoidal positions are pairs of a sine and a "
            "cosine; allowed even widths");
}

TEST(Checks, OffloadOfParametersNeedsShardedOnes) {
  for (const std::string stage : {"0", "1", "2"}) {
    EXPECT_EQ(problem(kSound + "zero.offload_parameters = true", {"zero.stage=" + stage}),
              "a.in:7: zero.offload_parameters: true moves this rank's shards of the parameters, "
              "and zero.stage = " +
                  stage + " does not shard them; allowed with zero.stage = 3");
  }
  EXPECT_TRUE(problems(kSound, {"zero.offload_optimizer=true"}).empty());
}

TEST(Checks, NcclNeedsAGpu) {
  EXPECT_EQ(problem(kSound, {"run.device=cpu", "comm.backend=nccl"}),
            "command line: comm.backend: nccl moves tensors of GPUs, and run.device is cpu; "
            "allowed auto, mpi");
  EXPECT_TRUE(problems(kSound, {"run.device=cuda", "comm.backend=nccl"}).empty());
  EXPECT_TRUE(problems(kSound, {"comm.backend=nccl"}).empty());
  EXPECT_EQ(problem(kSound, {"comm.backend=nccl", "train.ema_decay=0.9"}),
            "command line: train.ema_decay: the average is not made on a GPU yet; allowed 0 with "
            "run.device = cuda");
}

TEST(Checks, TheCpusProductsHaveNoEffectOnAGpu) {
  EXPECT_EQ(load(kSound, {"run.device=cuda", "run.gemm=mkl"}).warnings,
            Lines{"command line: run.gemm has no effect: a GPU's matrix products are cuBLAS's; the "
                  "CPU's are those of decoding alone"});
  EXPECT_EQ(load(kSound, {"run.gemm=mkl"}).warnings, Lines());
}

TEST(Checks, OffloadHasNoEffectOnACpu) {
  EXPECT_EQ(load(kSound, {"run.device=cuda", "zero.offload_optimizer=true"}).warnings, Lines());
  EXPECT_EQ(load(kSound, {"zero.offload_optimizer=true"}).warnings, Lines())
      << "auto is told at the start";
  EXPECT_EQ(load(kSound, {"run.device=cpu", "zero.offload_optimizer=true"}).warnings,
            Lines{"command line: zero.offload_optimizer has no effect: the device is a CPU"});
  EXPECT_EQ(load(kSound, {"run.device=cpu", "zero.stage=3", "zero.offload_parameters=true",
                          "zero.offload_optimizer=true"})
                .warnings,
            (Lines{"command line: zero.offload_optimizer has no effect: the device is a CPU",
                   "command line: zero.offload_parameters has no effect: the device is a CPU"}));
  EXPECT_EQ(load(kSound, {"run.device=cpu", "zero.offload_optimizer=false"}).warnings, Lines());
}

TEST(Checks, SourceAndTargetComeTogether) {
  EXPECT_EQ(
      problem(kSound + "data.valid_source = v.en"),
      "a.in:7: data.valid_target: missing; data.valid_source and data.valid_target come together");
  EXPECT_EQ(
      problem(kSound + "data.test_target = t.fr"),
      "a.in:7: data.test_source: missing; data.test_source and data.test_target come together");
  EXPECT_EQ(
      problem("data.train_target = t.fr"),
      "a.in:1: data.train_source: missing; data.train_source and data.train_target come together");
  EXPECT_EQ(problem(kSound, {"data.train_target="}),
            "command line: data.train_target: missing; data.train_source and data.train_target "
            "come together");
}

TEST(Checks, TrainingTextOrSyntheticDataIsNeeded) {
  EXPECT_EQ(
      problem(""),
      "a.in:1: data.train_source: missing; give the training text, or data.synthetic = random_ids");
  EXPECT_EQ(problem(kSynthetic + "data.train_source = a\ndata.train_target = b\n"),
            "a.in:2: data.synthetic: random_ids and data.train_source contradict each other; give "
            "one of them");
}

TEST(Checks, SyntheticDataNeedsAVocabularyAndSteps) {
  EXPECT_EQ(problem("[data]\nsynthetic = random_ids\ntrain.max_steps = 1\n"),
            "a.in:2: data.vocab_size: random_ids needs the vocabulary's size, the four special "
            "tokens counted; allowed from 5");
  EXPECT_EQ(problem("[data]\nsynthetic = random_ids\nvocab_size = 4\ntrain.max_steps = 1\n")
                .substr(0, 24),
            "a.in:3: data.vocab_size:");
  EXPECT_EQ(problem("[data]\nsynthetic = random_ids\nvocab_size = 5\n"),
            "a.in:2: train.max_steps: random_ids needs a number of steps; allowed from 1");
  EXPECT_EQ(problem(kSynthetic + "schedule.name = cosine\noptimizer.lr = 1e-3"),
            "a.in:6: schedule.total_steps: random_ids has no epochs to take the schedule's end "
            "from; allowed from 1");
  EXPECT_EQ(load(kSynthetic, {"schedule.name=warmup_linear", "schedule.total_steps=5",
                              "schedule.warmup_steps=1", "optimizer.lr=1e-3"})
                .warnings,
            Lines());
}

TEST(Checks, WordVocabularyHoldsTheSpecialTokens) {
  EXPECT_EQ(problem(kSound, {"data.vocab_size=4"}),
            "command line: data.vocab_size: the four special tokens count; allowed 0 or from 5");
  EXPECT_EQ(load(kSound, {"data.vocab_size=5"}).config.data.vocab_size, 5);
}

TEST(Checks, SentencesAndTokensOfABatchContradictEachOther) {
  EXPECT_EQ(problem(kSound + "[data]\nbatch_size = 32\nbatch_tokens = 4000\n"),
            "a.in:9: data.batch_tokens: contradicts data.batch_size; give one of them");
  EXPECT_EQ(load(kSound, {"data.batch_tokens=4000"}).config.data.batch_tokens, 4000);
  const std::string sized = kSound + "[data]\nbatch_size = 31\n",
                    counted = kSound + "[data]\nbatch_tokens = 4000\n";
  EXPECT_EQ(load(sized, {"data.batch_tokens=900"}).config.data.batch_tokens, 900)
      << "the command line's takes the place of the deck's";
  EXPECT_EQ(load(counted, {"data.batch_size=16"}).config.data.batch_tokens, 0);
  EXPECT_EQ(load(counted, {"data.batch_size=16"}).config.data.batch_size, 16);
  EXPECT_EQ(load(sized, {"data.batch_tokens=0"}).config.data.batch_size, 31);
  EXPECT_EQ(problems(kSound, {"data.batch_tokens=900", "data.batch_size=16"}).size(), 1U);
}

TEST(Checks, ScheduleNeedsItsWarmUp) {
  for (const std::string name : {"noam", "inverse_sqrt"})
    EXPECT_EQ(
        problem(kSound, {"schedule.name=" + name, "schedule.warmup_steps=0", "optimizer.lr=0.1"}),
        "command line: schedule.warmup_steps: 0, and schedule.name = " + name +
            " falls from the end of the warm-up; allowed from 1");
  for (const std::string name : {"cosine", "warmup_linear"})
    EXPECT_EQ(load(kSound, {"schedule.name=" + name, "schedule.warmup_steps=0", "optimizer.lr=0.1"})
                  .warnings,
              Lines())
        << name;
}

TEST(Checks, WarmUpEndsBeforeTheSchedule) {
  for (const std::string name : {"cosine", "warmup_linear"}) {
    const Overrides words{"schedule.name=" + name, "optimizer.lr=0.1", "schedule.total_steps=10"};
    Overrides equal = words, below = words;
    equal.push_back("schedule.warmup_steps=10");
    below.push_back("schedule.warmup_steps=9");
    EXPECT_EQ(problem(kSound, equal),
              "command line: schedule.warmup_steps: 10 is not below schedule.total_steps = 10: no "
              "step is left after the warm-up");
    EXPECT_EQ(load(kSound, below).config.schedule.warmup_steps, 9);
  }
}

TEST(Checks, EpsilonIsNotZeroInSinglePrecision) {
  EXPECT_EQ(problem(kSound, {"optimizer.eps=0"}).substr(0, 32), "command line: optimizer.eps: is ");
  EXPECT_EQ(problem(kSound, {"optimizer.eps=1e-60"}).substr(0, 32),
            "command line: optimizer.eps: is ");
  EXPECT_EQ(load(kSound, {"optimizer.eps=1e-40"}).config.optimizer.eps, 1e-40);
  EXPECT_TRUE(problems(kSound, {"optimizer.eps=0", "optimizer.name=sgd"}).empty());
}

TEST(Checks, LocalAttentionHasAWindow) {
  for (const char* place : {"encoder", "decoder", "cross"}) {
    const std::string key = std::string("model.") + place + "_attention=local";
    EXPECT_EQ(problem(kSound, {key}).substr(0, 41), "command line: model.attention_window: 0, ");
    EXPECT_TRUE(problems(kSound, {key, "model.attention_window=1"}).empty());
  }
}

TEST(Checks, RotaryPositionsArePairsOfAHeadsColumns) {
  EXPECT_EQ(problem(kSound, {"model.d_model=36", "model.num_heads=4", "model.position=rope"})
                .substr(0, 32),
            "command line: model.position: ro");
  EXPECT_TRUE(
      problems(kSound, {"model.d_model=36", "model.num_heads=6", "model.position=rope"}).empty());
}

TEST(Checks, ScalingByNtkNeedsMoreThanOnePair) {
  const Overrides pairs{"model.position=rope", "model.rope_scaling=ntk",
                        "model.rope_scaling_factor=2", "model.d_model=16"};
  const auto with_heads = [&](const char* heads) {
    Overrides words = pairs;
    words.push_back(std::string("model.num_heads=") + heads);
    return problems(kSound, words);
  };
  EXPECT_EQ(with_heads("8"),
            Lines{"command line: model.rope_scaling: ntk takes theta * s^(d/(d-2)), and a head of "
                  "model.d_model / model.num_heads = 2 columns makes that s^(2/0); allowed none, "
                  "linear"});
  EXPECT_EQ(with_heads("4"), Lines());
}

TEST(Checks, NesterovNeedsAMomentum) {
  for (const std::string name : {"sgd", "muon"}) {
    EXPECT_EQ(problem(kSound, {"optimizer.name=" + name, "optimizer.momentum=0",
                               "optimizer.nesterov=true"}),
              "command line: optimizer.nesterov: true needs a momentum to look ahead along, and " +
                  name + " has none; allowed with optimizer.momentum above 0");
    EXPECT_TRUE(problems(kSound, {"optimizer.name=" + name, "optimizer.momentum=0"}).empty());
  }
  EXPECT_TRUE(problems(kSound, {"optimizer.name=muon", "optimizer.nesterov=true"}).empty());
  EXPECT_EQ(problems(kSound, {"optimizer.name=sgd", "optimizer.nesterov=true"}).size(), 1U);
}

TEST(Checks, FineTuningAndResumeOfAPathContradictEachOther) {
  EXPECT_EQ(problem(kSound, {"checkpoint.init_from=/a", "checkpoint.resume=/b"}),
            "command line: checkpoint.init_from: contradicts checkpoint.resume with a path; give "
            "one of them");
  EXPECT_TRUE(problems(kSound, {"checkpoint.init_from=/a", "checkpoint.resume=latest"}).empty());
}

TEST(Checks, NothingIsSaidAboutKeysWhoseValueIsNotKnown) {
  EXPECT_EQ(problems(kSound + "[model]\nd_model = 10x\nnum_heads = 7\n").size(), 1U);
  EXPECT_EQ(problems("[data]\ntrain_sorce = a.en\ntrain_target = a.fr\n"),
            (Lines{"a.in:2: data.train_sorce: unknown key; nearest data.train_source"}));
}

TEST(Checks, OutsideTheRangeAndOfAnotherKindReadDifferently) {
  EXPECT_EQ(problem(kSound, {"zero.stage=4"}),
            "command line: zero.stage: '4' is out of range; allowed from 0 to 3");
  EXPECT_EQ(problem(kSound, {"zero.stage=two"}),
            "command line: zero.stage: 'two' is not a valid integer; allowed from 0 to 3");
  EXPECT_EQ(problem(kSound, {"train.epochs=1.5"}),
            "command line: train.epochs: '1.5' is not a valid integer; allowed from 1");
  EXPECT_EQ(problem(kSound, {"train.epochs=1e99"}),
            "command line: train.epochs: '1e99' is not a valid integer; allowed from 1");
  EXPECT_EQ(problem(kSound, {"model.dropout=nan"}),
            "command line: model.dropout: 'nan' is not a valid number; allowed from 0 to below 1");
  EXPECT_EQ(problem(kSound, {"model.dropout=1e99"}),
            "command line: model.dropout: '1e99' is out of range; allowed from 0 to below 1");
  EXPECT_EQ(problem(kSound, {"model.norm=mid"}),
            "command line: model.norm: 'mid' is not one of its values; allowed pre, post");
  EXPECT_EQ(problem(kSound, {"checkpoint.async=1"}),
            "command line: checkpoint.async: '1' is not a valid boolean; allowed true, false; "
            "nearest true");
}

TEST(Checks, NoDefaultIsRefused) {
  for (const Key& key : keys()) {
    const bool in_deck = key.name == "data.train_source" || key.name == "data.train_target";
    if (!in_deck) {
      EXPECT_EQ(problems(kSound, {key.name + "=" + key.default_value}), Lines()) << key.name;
    }
  }
}

}  // namespace
}  // namespace th::config::test
