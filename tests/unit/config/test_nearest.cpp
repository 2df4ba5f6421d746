#include "config/nearest.hpp"

#include <gtest/gtest.h>

#include "loading.hpp"

// What a mistyped key or value was probably meant to be.
namespace th::config::test {
namespace {

std::string nearest(const std::string& key, const std::string& text) {
  return nearest_value(*find_key(key), text);
}

TEST(NearestValue, IsWhatOtherProgramsNamesMean) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"model.activation", "silu", "swish"},
      {"model.activation", "SiLU", "swish"},
      {"model.norm_kind", "rmsnorm", "rms"},
      {"model.norm_kind", "RMSNorm", "rms"},
      {"model.norm_kind", "layer_norm", "layer"},
      {"model.position", "rotary", "rope"},
      {"model.encoder_attention", "sliding-window", "local"},
      {"precision.dtype", "bfloat16", "bf16"},
      {"optimizer.state_dtype", "float32", "fp32"},
      {"run.device", "gpu", "cuda"},
      {"schedule.name", "WarmupLR", "warmup_constant"},
      {"schedule.name", "linear", "warmup_linear"},
      {"model.tie_embeddings", "none", "false"}};
  for (const auto& [key, text, expected] : cases)
    EXPECT_EQ(nearest(key, text), expected) << key << " = " << text;
}

TEST(NearestValue, IsTheSameInOtherLetters) {
  EXPECT_EQ(nearest("optimizer.name", "Muon"), "muon");
  EXPECT_EQ(nearest("optimizer.name", "AdamW"), "adamw");
  EXPECT_EQ(nearest("optimizer.muon_scale", "match-rms-adamw"), "match_rms_adamw");
  for (const char* key : {"model.final_norm", "optimizer.nesterov", "checkpoint.async"}) {
    for (const char* yes : {"True", "TRUE", "yes", "on", "1"}) EXPECT_EQ(nearest(key, yes), "true");
    for (const char* no : {"False", "no", "off", "0"}) EXPECT_EQ(nearest(key, no), "false");
  }
}

TEST(NearestValue, IsAMistypedOneAndNoOther) {
  EXPECT_EQ(nearest("optimizer.name", "adamm"), "adam");
  EXPECT_EQ(nearest("optimizer.name", "adafacter"), "adafactor");
  for (const char* other : {"", "lamb", "mid", "nothing"})
    EXPECT_EQ(nearest("model.norm", other), "") << other;
  EXPECT_EQ(nearest("model.d_model", "yes"), "") << "an integer has no words";
  EXPECT_EQ(nearest("model.norm", std::string(1000000, 'p')), "");
}

TEST(NearestValue, OfOtherNamesIsOneOfTheTable) {
  // A name that is mapped to a value of no key would never be found.
  for (const char* value : {"swish", "rms", "rope", "local", "ntk", "halves", "wsd", "unigram"}) {
    bool known = false;
    for (const Key& key : keys()) {
      RunConfig config;
      known = known || (key.type == "choice" && key.name != "checkpoint.resume" &&
                        key.name != "data.vocabulary" && key.set(config, value));
    }
    EXPECT_TRUE(known) << value;
  }
}

TEST(NearestValue, StandsInTheReport) {
  EXPECT_EQ(problems(kSound, {"model.activation=silu"}),
            (Lines{"command line: model.activation: 'silu' is not one of its values; allowed relu, "
                   "gelu, swish, swiglu; nearest swish"}));
  EXPECT_EQ(problems(kSound, {"optimizer.name=lion"}).front().find("nearest"), std::string::npos);
}

TEST(NearestKey, MayBeKnownByItsLastWords) {
  EXPECT_EQ(nearest_key("model.window"), "model.attention_window");
  EXPECT_EQ(nearest_key("window"), "model.attention_window");
  EXPECT_EQ(nearest_key("optimizer.dtype"), "optimizer.state_dtype");
  EXPECT_EQ(nearest_key("model.theta"), "model.rope_theta");
  EXPECT_EQ(nearest_key("schedule.ratio"), "schedule.min_ratio");
  EXPECT_EQ(nearest_key("train.smoothing"), "train.label_smoothing");
}

}  // namespace
}  // namespace th::config::test
