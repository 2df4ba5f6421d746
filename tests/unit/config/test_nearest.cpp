#include "config/nearest.hpp"

#include "config/foreign_keys.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <sstream>

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

TEST(NearestKey, IsWhatOtherProgramsNamesMean) {
  const std::pair<const char*, const char*> cases[] = {
      {"train.lr", "optimizer.lr"},
      {"train.learning_rate", "optimizer.lr"},
      {"train.batch_size", "data.batch_size"},
      {"data.epochs", "train.epochs"},
      {"train.num_workers", "data.num_workers"},
      {"model.hidden_size", "model.d_model"},
      {"model.nhead", "model.num_heads"},
      {"model.dim_feedforward", "model.d_ff"},
      {"train.max_grad_norm", "train.gradient_clip"},
      {"train.output_dir", "run.output_dir"},
      {"train.gradient_accumulation_steps", "train.micro_batches"},
      {"train.seed", "run.seed"},
      {"model.use_checkpoint", "model.gradient_checkpointing"},
      {"train.fp16", "precision.dtype"},
      {"decode.num_beams", "decode.beam"},
      {"decoding.max_length", "decode.max_length"}};
  for (const auto& [asked, expected] : cases) EXPECT_EQ(nearest_key(asked), expected) << asked;
  EXPECT_EQ(nearest_key("modle.dropout"), "model.dropout") << "a mistyped section";
}

TEST(KeysMeant, AreThoseOfOneNameOrAMistypedOne) {
  EXPECT_EQ(keys_meant("max_length"), (Lines{"data.max_length", "decode.max_length"}));
  EXPECT_EQ(keys_meant("dropuot"), Lines{"model.dropout"});
  EXPECT_EQ(keys_meant("WarmUp-Steps"), Lines{"schedule.warmup_steps"});
  for (const char* none : {"", "frobnicate", "xy", "x"})
    EXPECT_EQ(keys_meant(none), Lines{}) << none;
  EXPECT_EQ(keys_meant(std::string(1000000, 'p')), Lines{});
}

/// The names of a row of the table.
Lines names_of(const ForeignName& row) {
  std::istringstream in{std::string(row.names)};
  return {std::istream_iterator<std::string>(in), {}};
}

TEST(ForeignKeys, LeadToKeysThatAreThere) {
  std::set<std::string> seen;
  for (const auto table : {foreign_keys(), foreign_options()}) {
    for (const ForeignName& row : table) {
      EXPECT_TRUE(row.names.starts_with(' ') && row.names.ends_with(' ')) << row.names;
      for (const std::string& name : names_of(row)) {
        EXPECT_EQ(name, plain_name(name));
        EXPECT_EQ(meaning_of(name, table), row.here) << name;
        EXPECT_TRUE(seen.insert(name).second) << name << " stands twice";
      }
    }
  }
  EXPECT_GT(seen.size(), 200U);
  for (const ForeignName& row : foreign_keys())
    EXPECT_NE(find_key(std::string(row.here)), nullptr) << row.here;
  EXPECT_EQ(meaning_of("", foreign_keys()), "");
  EXPECT_EQ(meaning_of("frobnicate", foreign_keys()), "");
}

}  // namespace
}  // namespace th::config::test
