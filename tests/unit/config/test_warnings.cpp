#include <gtest/gtest.h>

#include "loading.hpp"

// Keys without effect, and those that do less than they say.
namespace th::config::test {
namespace {

/// The keys that the warnings say have no effect.
Lines idle(const std::string& text, const Overrides& overrides) {
  Lines out;
  for (const std::string& line : load(text, overrides).warnings) {
    const auto end = line.find(" has no effect: ");
    if (end == std::string::npos) continue;
    const auto begin = line.rfind(' ', end - 1) + 1;
    out.push_back(line.substr(begin, end - begin));
  }
  return out;
}

TEST(Warnings, NameTheLineAndTheReason) {
  EXPECT_EQ(load(kSound + "profile.steps = 3").warnings,
            (Lines{"a.in:7: profile.steps has no effect: profile.enabled is false"}));
  EXPECT_EQ(load(kSound, {"schedule.total_steps=9"}).warnings,
            (Lines{"command line: schedule.total_steps has no effect: only cosine, warmup_linear "
                   "and wsd end"}));
}

TEST(Warnings, KeysWithoutEffectAreNamed) {
  EXPECT_EQ(
      idle(kSound, {"schedule.name=constant", "schedule.warmup_steps=3", "optimizer.lr=1e-3"}),
      (Lines{"schedule.warmup_steps"}));
  EXPECT_EQ(idle(kSound, {"optimizer.name=sgd", "optimizer.beta1=0.5", "optimizer.beta2=0.5",
                          "optimizer.eps=1e-8", "optimizer.weight_decay=0.1"}),
            (Lines{"optimizer.beta1", "optimizer.beta2", "optimizer.eps"}));
  EXPECT_EQ(idle(kSound, {"optimizer.momentum=0.9", "optimizer.nesterov=true"}),
            (Lines{"optimizer.momentum", "optimizer.nesterov"}));
  EXPECT_EQ(idle(kSound, {"optimizer.name=sgd", "optimizer.momentum=0.9"}), Lines());
  EXPECT_EQ(
      idle(kSound, {"schedule.warmup_shape=log", "schedule.min_lr=1e-5", "schedule.decay_steps=3"}),
      (Lines{"schedule.warmup_shape", "schedule.min_lr", "schedule.decay_steps"}));
  EXPECT_EQ(idle(kSound, {"schedule.name=warmup_constant", "optimizer.lr=1e-3",
                          "schedule.min_lr=1e-5", "schedule.min_ratio=0.1"}),
            (Lines{"schedule.min_ratio"}));
  EXPECT_EQ(idle(kSound,
                 {"checkpoint.every_epochs=0", "checkpoint.keep_last=2", "checkpoint.async=false"}),
            (Lines{"checkpoint.keep_last", "checkpoint.async"}));
  EXPECT_EQ(idle(kSound, {"checkpoint.every_epochs=0", "checkpoint.every_steps=5",
                          "checkpoint.keep_last=2"}),
            Lines());
  EXPECT_EQ(
      idle(kSound, {"train.valid_every_steps=5", "decode.max_length=9", "data.synthetic_length=8"}),
      (Lines{"data.synthetic_length", "train.valid_every_steps", "decode.max_length"}));
  const Lines test_text{"data.test_source=/t", "data.test_target=/t", "decode.length_penalty=0.6"};
  EXPECT_EQ(idle(kSound, test_text), (Lines{"decode.length_penalty"}));
  EXPECT_EQ(idle(kSound, {test_text[0], test_text[1], test_text[2], "decode.beam=4"}), Lines());
  EXPECT_EQ(idle(kSound, {test_text[2], "decode.beam=4"}),
            (Lines{"decode.beam", "decode.length_penalty"}));
  const Lines gathered{"zero.prefetch_units=2", "zero.persistence_threshold=1000",
                       "zero.max_live_parameters=100000"};
  const auto gathered_at = [&](const Lines& more) {
    Lines all = gathered;
    all.insert(all.end(), more.begin(), more.end());
    return idle(kSound, all);
  };
  EXPECT_EQ(
      gathered_at({"zero.stage=2"}),
      (Lines{"zero.prefetch_units", "zero.persistence_threshold", "zero.max_live_parameters"}));
  EXPECT_EQ(gathered_at({"zero.stage=3"}), Lines());
  EXPECT_EQ(gathered_at({"zero.stage=3", "comm.overlap=on"}), Lines());
  EXPECT_EQ(gathered_at({"zero.stage=3", "comm.overlap=off"}), (Lines{"zero.prefetch_units"}));
  EXPECT_EQ(idle(kSound, {"model.attention_window=4", "model.rope_theta=500"}),
            (Lines{"model.attention_window", "model.rope_theta"}));
  EXPECT_EQ(idle(kSound, {"model.attention_window=4", "model.cross_attention=local"}), Lines());
  EXPECT_EQ(idle(kSound, {"model.position=rope", "model.rope_scaling_factor=2"}),
            (Lines{"model.rope_scaling_factor"}));
  EXPECT_EQ(idle(kSynthetic, {"data.min_freq=3", "data.max_length=7", "data.valid_source=/v",
                              "data.valid_target=/v", "data.synthetic_length=8"}),
            (Lines{"data.valid_source", "data.valid_target", "data.min_freq", "data.max_length"}));
}

TEST(Warnings, OptionsThatChangeNothingAreNamed) {
  EXPECT_EQ(idle(kSound, {"model.position=rope", "model.rope_scaling=linear"}),
            Lines{"model.rope_scaling"});
  EXPECT_EQ(idle(kSound,
                 {"model.position=rope", "model.rope_scaling=ntk", "model.rope_scaling_factor=1"}),
            Lines{"model.rope_scaling"});
  EXPECT_EQ(idle(kSound, {"model.position=rope", "model.rope_scaling=none"}), Lines());
  EXPECT_EQ(idle(kSound, {"model.position=rope", "model.rope_theta=500", "model.d_model=16"}),
            Lines{"model.rope_theta"});
  EXPECT_EQ(idle(kSound, {"optimizer.name=sgd", "optimizer.nesterov=false"}),
            Lines{"optimizer.nesterov"});
  EXPECT_EQ(idle(kSound, {"optimizer.name=muon", "optimizer.nesterov=false"}), Lines());
}

TEST(Warnings, WindowThatReachesAcrossEveryLineIsNamed) {
  const auto warnings = [](const std::string& text, const Overrides& more) {
    return load(text, more).warnings;
  };
  const Overrides both{"model.encoder_attention=local", "model.decoder_attention=local"};
  const auto at = [&](const std::string& window) {
    Overrides words = both;
    words.push_back("model.attention_window=" + window);
    return warnings(kSound, words);
  };
  EXPECT_EQ(at("98"), Lines());
  EXPECT_EQ(at("99"), Lines{"command line: model.attention_window: 99 reaches across the longest "
                            "line, 100 ids by data.max_length: local attention of encoder and "
                            "decoder is full attention in training"});
  EXPECT_EQ(warnings(kSound, {"model.decoder_attention=local", "model.attention_window=60",
                              "data.max_target_length=50"}),
            Lines{"command line: model.attention_window: 60 reaches across the longest line, 50 "
                  "ids by data.max_target_length: local attention of the decoder is full attention "
                  "in training"});
  EXPECT_EQ(warnings(kSound, {"model.cross_attention=local", "model.attention_window=500"}),
            Lines())
      << "where its centre is depends on the corpus";
  EXPECT_EQ(warnings(kSynthetic, {"model.encoder_attention=local", "model.attention_window=31"}),
            Lines{"command line: model.attention_window: 31 reaches across the longest line, 32 "
                  "ids by data.synthetic_length: local attention of the encoder is full attention "
                  "in training"});
}

TEST(Warnings, EncoderStatesThinnedToOneAreNamed) {
  EXPECT_EQ(load(kSound, {"model.cross_downsample=99"}).warnings, Lines());
  EXPECT_EQ(load(kSound, {"model.cross_downsample=100"}).warnings,
            Lines{"command line: model.cross_downsample: 100 is not below the longest line, 100 "
                  "ids by data.max_length: cross attention sees the first encoder state alone"});
}

TEST(Warnings, WarmUpOfFewerStepsThanDeepSpeedsIsNamed) {
  const auto warnings = [](const char* name, const char* steps) {
    return load(kSound, {std::string("schedule.name=") + name, "optimizer.lr=0.1",
                         std::string("schedule.warmup_steps=") + steps})
        .warnings;
  };
  for (const std::string steps : {"0", "1"})
    EXPECT_EQ(warnings("warmup_constant", steps.c_str()),
              Lines{"command line: schedule.warmup_steps: " + steps +
                    " warms up as 2 does, since DeepSpeed's WarmupLR takes max(2, n) steps; "
                    "schedule.name = constant has no warm-up"});
  EXPECT_EQ(warnings("warmup_constant", "2"), Lines());
  for (const char* name : {"cosine", "warmup_linear", "wsd"})
    EXPECT_EQ(warnings(name, "0"), Lines());
}

TEST(Warnings, RateThatWasMeantForNoamIsNamed) {
  EXPECT_EQ(load(kSound + "schedule.name = cosine").warnings,
            (Lines{"a.in:7: optimizer.lr: left at its default 1, which is a factor for noam; "
                   "another schedule takes it as the rate itself"}));
  EXPECT_EQ(load(kSound, {"schedule.name=cosine", "optimizer.lr=1"}).warnings, Lines());
}

TEST(Warnings, StepsThatLeaveNothingToTimeAreNamed) {
  EXPECT_EQ(load(kSound, {"run.warmup_steps=5", "train.max_steps=5"}).warnings,
            (Lines{"command line: run.warmup_steps: 5 leaves none of train.max_steps = 5 steps for "
                   "tokens_per_second"}));
  EXPECT_EQ(load(kSound, {"run.warmup_steps=4", "train.max_steps=5"}).warnings, Lines());
}

}  // namespace
}  // namespace th::config::test
