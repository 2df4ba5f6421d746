#include "th/config/schema.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "loading.hpp"

namespace th::config::test {
namespace {

namespace fs = std::filesystem;

bool takes(const std::string& name, const std::string& text) {
  RunConfig config;
  return find_key(name)->set(config, text);
}

Lines words_of(const std::string& allowed) {
  Lines out;
  std::istringstream in(allowed);
  for (std::string word; std::getline(in, word, ',');)
    out.push_back(word.substr(word.find_first_not_of(' ')));
  return out;
}

TEST(KeyTable, NamesAreSectionDotKeyAndComeOnce) {
  std::set<std::string> names;
  for (const Key& key : keys()) {
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    EXPECT_EQ(std::count(key.name.begin(), key.name.end(), '.'), 1) << key.name;
    EXPECT_EQ(key.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_."),
              std::string::npos)
        << key.name;
    EXPECT_FALSE(key.help.empty() || key.allowed.empty()) << key.name;
    EXPECT_EQ((key.help + key.allowed + key.default_value).find('|'), std::string::npos)
        << key.name << " breaks the table of docs/deck.md";
  }
}

TEST(KeyTable, SectionsStandTogether) {
  Lines sections;
  for (const Key& key : keys()) {
    const std::string section = key.name.substr(0, key.name.find('.'));
    if (sections.empty() || sections.back() != section) sections.push_back(section);
  }
  EXPECT_EQ(std::set<std::string>(sections.begin(), sections.end()).size(), sections.size());
}

TEST(KeyTable, DefaultIsThatOfTheStructAndReadsBack) {
  for (const Key& key : keys()) {
    RunConfig config;
    EXPECT_EQ(key.get(config), key.default_value) << key.name;
    if (key.type == "path") continue;
    EXPECT_TRUE(key.set(config, key.default_value)) << key.name;
    EXPECT_EQ(key.get(config), key.default_value) << key.name;
  }
}

/// A choice whose last value is any path.
bool takes_a_path(const Key& key) {
  return key.name == "checkpoint.resume" || key.name == "data.vocabulary";
}

TEST(KeyTable, EachAllowedWordReadsBackAndNoOther) {
  for (const Key& key : keys()) {
    if (takes_a_path(key) || (key.type != "choice" && key.type != "boolean")) continue;
    RunConfig config;
    for (const std::string& word : words_of(key.allowed)) {
      EXPECT_TRUE(key.set(config, word)) << key.name << " = " << word;
      const bool synonym = key.name == "model.tie_embeddings" && word == "true";
      EXPECT_EQ(key.get(config), synonym ? "all" : word) << key.name;
      EXPECT_FALSE(key.set(config, word + " ")) << key.name;
    }
    for (const char* wrong : {"", "1", "True", "yes", "nothing"})
      EXPECT_FALSE(key.set(config, wrong)) << key.name << " = " << wrong;
  }
}

TEST(KeyTable, RefusedValueLeavesTheConfigAsItWas) {
  for (const Key& key : keys()) {
    if (key.type == "path" || key.type == "list of paths" || key.type == "list of words" ||
        key.type == "text" || takes_a_path(key))
      continue;
    RunConfig config;
    EXPECT_FALSE(key.set(config, "12x")) << key.name;
    EXPECT_EQ(key.get(config), key.default_value) << key.name;
  }
}

TEST(KeyTable, SymbolsAreSplitAtCommasAndHoldNoBlanks) {
  const Key& key = *find_key("data.user_symbols");
  for (const char* text : {"", "<2de>", "<2de>,<2fr>", "x", "<0x4>", "<0xZZ>", "<0x41"}) {
    RunConfig config;
    EXPECT_TRUE(key.set(config, text)) << text;
    EXPECT_EQ(key.get(config), text);
  }
  for (const char* text : {",", "a,", ",a", "a,,b", "a,a", "a b", "a, b", "<s>", "a,<pad>", "a#b",
                           "a\tb", "<0x41>", "a,<0xFF>"}) {
    RunConfig config;
    EXPECT_FALSE(key.set(config, text)) << text;
    EXPECT_EQ(key.get(config), "") << text;
  }
}

TEST(KeyTable, SaysWhichValuesAResumeNeedsAgain) {
  const auto row = [page = deck_reference_markdown()](const std::string& key) {
    const auto begin = page.find("| " + key + " |");
    return page.substr(begin, page.find('\n', begin) - begin);
  };
  const std::string kept = " A resume needs the same value. |";
  for (const char* key : {"run.seed", "model.d_model", "data.batch_tokens", "data.vocab_size"})
    EXPECT_TRUE(row(key).ends_with(kept)) << row(key);
  for (const char* key : {"train.epochs", "model.gradient_checkpointing", "run.output_dir"})
    EXPECT_FALSE(row(key).ends_with(kept)) << row(key);
}

constexpr std::pair<const char*, const char*> kDefaultsOfTheContract[] = {
    {"run.seed", "1"},
    {"run.threads", "1"},
    {"run.device", "auto"},
    {"run.gemm", "auto"},
    {"run.task", "translation"},
    {"run.max_minutes", "0"},
    {"run.warmup_steps", "0"},
    {"model.d_model", "512"},
    {"model.num_heads", "8"},
    {"model.num_encoder_layers", "6"},
    {"model.num_decoder_layers", "6"},
    {"model.d_ff", "2048"},
    {"model.dropout", "0.1"},
    {"model.norm", "pre"},
    {"model.position", "sinusoidal"},
    {"model.encoder_attention", "full"},
    {"model.decoder_attention", "full"},
    {"model.cross_attention", "full"},
    {"model.rope_theta", "10000"},
    {"model.rope_scaling", "none"},
    {"model.rope_scaling_factor", "1"},
    {"model.cross_downsample", "1"},
    {"model.norm_kind", "layer"},
    {"model.norm_eps", "1e-05"},
    {"model.final_norm", "true"},
    {"model.embedding_norm", "false"},
    {"model.activation", "relu"},
    {"model.attention_dropout", "model.dropout"},
    {"model.activation_dropout", "model.dropout"},
    {"model.position_layout", "interleaved"},
    {"model.position_frequency", "standard"},
    {"model.start", "symbol"},
    {"model.qk_norm", "false"},
    {"model.depth_scaled_init", "false"},
    {"model.attention_window", "0"},
    {"model.tie_embeddings", "false"},
    {"model.gradient_checkpointing", "none"},
    {"data.synthetic", "none"},
    {"data.tokenizer", "word"},
    {"data.vocab_size", "0"},
    {"data.min_freq", "2"},
    {"data.max_length", "100"},
    {"data.empty_lines", "error"},
    {"data.batch_size", "32"},
    {"data.batch_tokens", "0"},
    {"data.num_workers", "1"},
    {"train.epochs", "5"},
    {"train.max_steps", "0"},
    {"train.micro_batches", "0"},
    {"train.label_smoothing", "0"},
    {"train.gradient_clip", "1"},
    {"train.valid_every_steps", "0"},
    {"optimizer.name", "adam"},
    {"optimizer.lr", "1"},
    {"optimizer.beta1", "0.9"},
    {"optimizer.beta2", "0.98"},
    {"optimizer.eps", "1e-09"},
    {"optimizer.weight_decay", "0"},
    {"optimizer.state_dtype", "fp32"},
    {"optimizer.muon_scale", "original"},
    {"train.ema_decay", "0"},
    {"schedule.warmup_shape", "linear"},
    {"schedule.min_lr", "0"},
    {"decode.parameters", "trained"},
    {"summarization.hierarchical", "true"},
    {"summarization.chunk", "data.max_source_length"},
    {"summarization.overlap", "auto"},
    {"schedule.name", "noam"},
    {"schedule.warmup_steps", "4000"},
    {"schedule.total_steps", "0"},
    {"precision.dtype", "fp32"},
    {"zero.stage", "0"},
    {"zero.offload_optimizer", "false"},
    {"zero.offload_parameters", "false"},
    {"comm.backend", "auto"},
    {"comm.reduction", "exact"},
    {"comm.timeout_seconds", "300"},
    {"checkpoint.every_epochs", "1"},
    {"checkpoint.every_steps", "0"},
    {"checkpoint.keep_last", "0"},
    {"checkpoint.resume", "none"},
    {"checkpoint.init_from", ""},
    {"checkpoint.async", "true"},
    {"decode.beam", "1"},
    {"decode.length_penalty", "1"},
    {"decode.max_length", "100"},
    {"decode.min_length", "0"},
    {"decode.no_repeat_ngram", "0"},
    {"decode.sampling", "false"},
    {"decode.temperature", "1"},
    {"decode.top_k", "0"},
    {"decode.top_p", "1"},
    {"decode.length_normalization", "gnmt"},
    {"decode.sharded", "auto"},
    {"monitor.tensorboard", "true"},
    {"monitor.progress", "auto"},
    {"profile.enabled", "false"},
    {"profile.first_step", "5"},
    {"profile.steps", "5"}};

TEST(KeyTable, DefaultsOfTheContractStand) {
  for (const auto& [name, value] : kDefaultsOfTheContract) {
    ASSERT_NE(find_key(name), nullptr) << name;
    EXPECT_EQ(find_key(name)->default_value, value) << name;
  }
}

TEST(IntegerKey, TakesWholeTokensInItsRangeAlone) {
  for (const char* good : {"0", "1", "3"}) EXPECT_TRUE(takes("zero.stage", good)) << good;
  for (const char* bad : {"", "abc", "1.5", "1.0", "1e0", "1e99", "nan", "inf", "-1", "4", "+1",
                          " 1", "1 ", "0x1", "1_0", "1,0", "9223372036854775808", "٣"})
    EXPECT_FALSE(takes("zero.stage", bad)) << bad;
  EXPECT_TRUE(takes("train.epochs", "9223372036854775807"));
  EXPECT_FALSE(takes("train.epochs", "9223372036854775808"));
  EXPECT_FALSE(takes("train.epochs", "0"));
  EXPECT_FALSE(takes("run.seed", "-1"));
}

TEST(NumberKey, TakesFiniteWholeTokensInItsRangeAlone) {
  for (const char* good : {"0", "0.5", ".5", "5e-1", "0.99999", "1e-300"})
    EXPECT_TRUE(takes("model.dropout", good)) << good;
  for (const char* bad : {"", "abc", "1", "1.0", "1e99", "nan", "inf", "-inf", "-0.1", "0.5f",
                          "0,5", "0.5 ", "0x0.8p0", "1e400", "1e-400", "."})
    EXPECT_FALSE(takes("model.dropout", bad)) << bad;
  EXPECT_TRUE(takes("train.gradient_clip", "1e300"));
  EXPECT_FALSE(takes("train.gradient_clip", "inf"));
}

TEST(NumberKey, LeavesOutAnOpenEnd) {
  for (const char* good : {"1", "0.5", "1e-300"}) EXPECT_TRUE(takes("decode.top_p", good)) << good;
  for (const char* bad : {"0", "0.0", "-0", "-1e-300", "1.0000001", "1e-400", "nan"})
    EXPECT_FALSE(takes("decode.top_p", bad)) << bad;
}

TEST(NumberKey, EndOfItsRangeIsTakenOrItsTextSaysOtherwise) {
  // What --explain allows alone is refused only together with another key, which is named, or by a
  // condition that the key's text tells.
  for (const Key& key : keys()) {
    const auto from = key.allowed.rfind("from ");
    if ((key.type != "integer" && key.type != "number") || from == std::string::npos) continue;
    std::string least = key.allowed.substr(from + 5);
    least = least.substr(0, least.find(' '));
    for (const std::string& line : problems(kSound, {key.name + "=" + least})) {
      bool other = key.help.find("above 0") != std::string::npos;
      for (const Key& another : keys())
        other = other || (another.name != key.name && line.find(another.name) != std::string::npos);
      EXPECT_TRUE(other || line.find("noam") != std::string::npos) << line;
    }
  }
  EXPECT_EQ(problems(kSound, {"model.norm_eps=0"}),
            Lines{"command line: model.norm_eps: '0' is out of range; allowed above 0 to 1"});
}

TEST(WordsKey, TakesWordsWithCommas) {
  for (const char* good : {"", "oui", "oui,non", " oui , non merci", "<unk>"})
    EXPECT_TRUE(takes("decode.forbidden_words", good)) << good;
  for (const char* bad : {",", "oui,", ",oui", "oui,,non", "oui, ,non", "a#b", "a\nb"})
    EXPECT_FALSE(takes("decode.forbidden_words", bad)) << bad;
  RunConfig config;
  const Key* key = find_key("decode.forbidden_words");
  ASSERT_TRUE(key->set(config, " oui , non merci"));
  EXPECT_EQ(config.decode.forbidden_words, (std::vector<std::string>{"oui", "non merci"}));
  EXPECT_EQ(key->get(config), "oui,non merci");
}

TEST(NearestKey, HasTheSameWordsInAnotherOrder) {
  EXPECT_EQ(nearest_key("model.head_num"), "model.num_heads");
  EXPECT_EQ(nearest_key("train.steps_max"), "train.max_steps");
  EXPECT_EQ(nearest_key("data.size_batch"), "data.batch_size");
}

TEST(NearestKey, HasTheFewestEdits) {
  EXPECT_EQ(nearest_key("model.d_modle"), "model.d_model");
  EXPECT_EQ(nearest_key("zero.stge"), "zero.stage");
  EXPECT_EQ(nearest_key("stage"), "zero.stage");
  EXPECT_EQ(nearest_key("checkpoint.resume_from"), "checkpoint.resume");
  EXPECT_NE(find_key(nearest_key("")), nullptr);
  EXPECT_NE(find_key(nearest_key(std::string(1000000, 'x'))), nullptr);
}

TEST(Explain, GivesAKeyASectionOrAll) {
  const std::string one = explain("zero.stage");
  EXPECT_EQ(one.rfind("zero.stage = 0\n", 0), 0U);
  EXPECT_NE(one.find("from 0 to 3"), std::string::npos);
  EXPECT_EQ(one.find("zero.offload"), std::string::npos);
  const std::string section = explain("comm");
  for (const char* name : {"comm.backend", "comm.reduction", "comm.timeout_seconds"})
    EXPECT_NE(section.find(name), std::string::npos) << name;
  EXPECT_EQ(section.find("zero.stage"), std::string::npos);
  for (const Key& key : keys())
    EXPECT_NE(explain("").find(key.name + " = "), std::string::npos) << key.name;
  const std::string task = std::regex_replace(explain("run.task"), std::regex("\n +"), " ");
  for (const char* change :
       {"ROUGE", "data.max_source_length = 400", "data.max_target_length = 100"})
    EXPECT_NE(task.find(change), std::string::npos) << change;
}

TEST(Explain, FitsIntoAHundredColumns) {
  std::istringstream in(explain(""));
  for (std::string line; std::getline(in, line);) EXPECT_LE(line.size(), 100U) << line;
}

/// The keys that --explain shows.
Lines shown(const Lines& names) {
  Lines out;
  std::istringstream in(explain(names));
  for (std::string line; std::getline(in, line);) {
    if (line[0] != ' ') out.push_back(line.substr(0, line.find(' ')));
  }
  return out;
}

TEST(Explain, FindsKeysThatMentionAWord) {
  const Lines muon = shown({"muon"});
  for (const char* key :
       {"optimizer.name", "optimizer.muon_scale", "optimizer.adam_lr", "optimizer.momentum"})
    EXPECT_NE(std::find(muon.begin(), muon.end(), key), muon.end()) << key;
  EXPECT_EQ(std::find(muon.begin(), muon.end(), "zero.stage"), muon.end());
  EXPECT_EQ(shown({"Muon"}), muon);
  EXPECT_EQ(shown({"alibi"}), Lines{"model.position"});
  EXPECT_THROW((void)explain("muo"), DeckError) << "a part of a word";
}

TEST(Explain, TakesSeveralNames) {
  EXPECT_EQ(shown({"train.epochs", "run.seed", "train.epochs"}),
            (Lines{"train.epochs", "run.seed"}));
  EXPECT_EQ(shown({}).size(), keys().size());
  try {
    (void)explain(Lines{"zero.stag", "run.seed", "run.sed"});
    FAIL() << "no error";
  } catch (const DeckError& error) {
    EXPECT_STREQ(error.what(),
                 "zero.stag: unknown key; nearest zero.stage\nrun.sed: unknown key; nearest "
                 "run.seed");
  }
}

TEST(Explain, UnknownKeyIsADeckErrorWithTheNearest) {
  try {
    (void)explain("zero.stag");
    FAIL() << "no error";
  } catch (const DeckError& error) {
    EXPECT_STREQ(error.what(), "zero.stag: unknown key; nearest zero.stage");
  }
}

TEST(DeckReference, DocumentIsThatOfTheKeyTable) {
  const fs::path path = fs::path(TH_SOURCE_DIR) / "docs" / "deck.md";
  const std::string text = deck_reference_markdown();
  for (const Key& key : keys())
    EXPECT_NE(text.find("| " + key.name + " | "), std::string::npos) << key.name;
  if (const char* write = std::getenv("TH_WRITE_DOCS");
      write != nullptr && std::string(write) == "1") {
    std::ofstream out(path, std::ios::binary);
    ASSERT_TRUE(out << text) << path << " can't be written";
  }
  std::ifstream in(path, std::ios::binary);
  const std::string document{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(document == text)
      << path
      << " is not what the key table gives; make it anew: TH_WRITE_DOCS=1 build/bin/th_test_config "
         "--gtest_filter='DeckReference.*'";
}

}  // namespace
}  // namespace th::config::test
