#include <gtest/gtest.h>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "loading.hpp"
#include "th/config/schema.hpp"

// What is made of a loaded deck: its text, its hash, the comparison with a checkpoint's deck; and
// that no text breaks the reader.
namespace th::config::test {
namespace {

const LoadedDeck& sound() {
  static const LoadedDeck deck = load(kSound);
  return deck;
}

/// For each key that this build can change, a sound deck in which it has another value.
std::vector<std::pair<std::string, LoadedDeck>> variations() {
  std::vector<std::pair<std::string, LoadedDeck>> out;
  for (const Key& key : keys()) {
    Lines candidates{"1", "2", "3", "0.5", "true", "false", "/other/path"};
    if (key.type == "choice") {
      std::istringstream in(key.allowed);
      for (std::string word; in >> word;) candidates.push_back(word.substr(0, word.find(',')));
    }
    for (const std::string& candidate : candidates) {
      Overrides words{key.name + "=" + candidate};
      if (key.name == "data.valid_source") words.push_back("data.valid_target=/other/target");
      if (key.name == "data.valid_target") words.push_back("data.valid_source=/other/source");
      if (key.name == "data.test_source") words.push_back("data.test_target=/other/target");
      if (key.name == "data.test_target") words.push_back("data.test_source=/other/source");
      if (key.name == "data.format") words.push_back("data.train_target=");
      if (key.name == "data.train_temperature" || key.name == "data.train_weights")
        words.insert(words.end(), {"data.train_source=/a,/b", "data.train_target=/c,/d"});
      if (key.name == "data.train_weights") words[0] = "data.train_weights=1,2.5";
      if (key.name == "data.synthetic")
        words.insert(words.end(), {"data.train_source=", "data.train_target=", "data.vocab_size=9",
                                   "train.max_steps=1"});
      if (key.name == "data.vocab_size") words[0] = "data.vocab_size=8000";
      if (!problems(kSound, words).empty()) continue;
      LoadedDeck deck = load(kSound, words);
      if (value_of(deck, key.name) == value_of(sound(), key.name)) continue;
      out.emplace_back(key.name, std::move(deck));
      break;
    }
  }
  return out;
}

TEST(ResolvedText, ReadsBackToTheSameValuesAndHash) {
  const auto all = variations();
  ASSERT_GT(all.size(), 55U) << "keys of which the test found another value";
  for (const auto& [key, deck] : all) {
    const LoadedDeck again = load_deck_text(resolved_text(deck), "elsewhere.in", "/elsewhere", {});
    EXPECT_EQ(values(again), values(deck)) << key;
    EXPECT_EQ(deck_hash(again), deck_hash(deck)) << key;
    EXPECT_EQ(again.warnings.size(), deck.warnings.size())
        << key << ": a resolved deck asks for no more than the deck did";
  }
}

TEST(ResolvedText, KeepsEveryDigitOfANumber) {
  const LoadedDeck deck =
      load(kSound, {"optimizer.lr=0.1000000000000000055511151231257827", "optimizer.eps=1e-09",
                    "optimizer.beta1=0.30000000000000004", "run.seed=9223372036854775807",
                    "run.max_minutes=1e300"});
  const LoadedDeck again = load(resolved_text(deck));
  EXPECT_EQ(again.config.optimizer.lr, 0.1);
  EXPECT_EQ(again.config.optimizer.eps, 1e-9);
  EXPECT_EQ(again.config.optimizer.beta1, 0.30000000000000004);
  EXPECT_EQ(again.config.run.seed, 9223372036854775807U);
  EXPECT_EQ(again.config.run.max_minutes, 1e300);
}

TEST(ResolvedText, HoldsSectionsAndTheOriginOfEachValue) {
  const std::string text = resolved_text(load(kSound, {"train.epochs=3"}));
  for (const char* line :
       {"\n[data]\ntrain_source = /decks/train.en  # deck:2\n", "\nstage = 2  # deck:5\n",
        "\nepochs = 3  # command line\n", "\nd_model = 512  # default\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line;
}

TEST(ResolvedText, DefaultsInItContradictNothing) {
  // data.batch_size stands in the text with its default; given by hand it would contradict
  // data.batch_tokens.
  const LoadedDeck deck = load(kSound, {"data.batch_tokens=900"});
  const LoadedDeck again = load(resolved_text(deck));
  EXPECT_EQ(again.config.data.batch_tokens, 900);
  EXPECT_EQ(origin_of(again, "data.batch_size"), "default");
  EXPECT_TRUE(again.warnings.empty()) << again.warnings.front();
}

TEST(ResolvedText, LineThatSaysDefaultAndHoldsAnotherValueWasGiven) {
  EXPECT_EQ(problems(kSound + "data.batch_tokens = 900\ndata.batch_size = 31  # default\n"),
            (Lines{"a.in:7: data.batch_tokens: contradicts data.batch_size; give one of them"}));
  EXPECT_EQ(
      problems(kSound + "data.batch_tokens = 900\ndata.batch_size = 32  # as by default\n").size(),
      1U);
  EXPECT_EQ(origin_of(load(kSound + "train.epochs = 6 # default"), "train.epochs"), "deck:7");
}

TEST(DeckHash, ChangesWithEveryKey) {
  std::set<std::uint64_t> seen{deck_hash(sound())};
  for (const auto& [key, deck] : variations())
    EXPECT_TRUE(seen.insert(deck_hash(deck)).second) << key;
}

TEST(DeckHash, LooksAtValuesAlone) {
  EXPECT_EQ(deck_hash(load(kSound, {"zero.stage=2", "train.epochs=5"})), deck_hash(sound()));
  EXPECT_EQ(deck_hash(load("# moved down\n" + kSound)), deck_hash(sound()));
}

/// Keys of the differences, with ! after those that end the resume.
Lines differences(const LoadedDeck& before, const LoadedDeck& given) {
  Lines out;
  for (const KeyDifference& d : compare_for_resume(resolved_text(before), given))
    out.push_back(d.key + (d.fatal ? "!" : ""));
  return out;
}

TEST(CompareForResume, SameDeckHasNoDifference) {
  EXPECT_EQ(differences(sound(), load(kSound)), Lines());
}

TEST(CompareForResume, ModelAndDataAndSeedAndOptimizerAreFatal) {
  const LoadedDeck given =
      load(kSound, {"model.d_model=64", "model.num_heads=4", "model.num_encoder_layers=1",
                    "model.num_decoder_layers=2", "model.d_ff=8", "model.dropout=0",
                    "model.norm=post", "model.tie_embeddings=true", "data.vocab_size=99",
                    "data.min_freq=1", "data.max_length=50", "data.empty_lines=skip",
                    "data.batch_size=7", "data.sort_window=0", "run.seed=2", "optimizer.name=sgd",
                    "data.train_source=/decks/other.en"});
  EXPECT_EQ(differences(sound(), given),
            (Lines{"run.seed!", "model.d_model!", "model.num_heads!", "model.num_encoder_layers!",
                   "model.num_decoder_layers!", "model.d_ff!", "model.dropout!", "model.norm!",
                   "model.tie_embeddings!", "data.train_source", "data.vocab_size!",
                   "data.min_freq!", "data.max_length!", "data.empty_lines!", "data.batch_size!",
                   "data.sort_window!", "optimizer.name!"}));
  EXPECT_EQ(differences(sound(), load(kSound, {"data.batch_tokens=500"})),
            (Lines{"data.batch_tokens!"}));
  const std::string two = "data.train_source = a,b\ndata.train_target = c,d\n";
  EXPECT_EQ(differences(load(two), load(two, {"data.train_weights=1,2", "data.max_ratio=3",
                                              "data.long_lines=drop"})),
            (Lines{"data.train_weights!", "data.long_lines!", "data.max_ratio!"}));
  EXPECT_EQ(differences(load(two), load(two, {"data.train_temperature=5"})),
            (Lines{"data.train_temperature!"}));
}

TEST(CompareForResume, MomentumIsFatalWhereTheStatesAreOthers) {
  const auto sgd = [](const char* momentum) {
    return load(kSound, {"optimizer.name=sgd", std::string("optimizer.momentum=") + momentum});
  };
  EXPECT_EQ(differences(sgd("0"), sgd("0.9")), (Lines{"optimizer.momentum!"}));
  EXPECT_EQ(differences(sgd("0.9"), sgd("auto")), (Lines{"optimizer.momentum!"}));
  EXPECT_EQ(differences(sgd("0.9"), sgd("0.8")), (Lines{"optimizer.momentum"}));
}

TEST(CompareForResume, DropoutRatesThatAreEqualAreNoDifference) {
  const LoadedDeck before = load(kSound, {"model.dropout=0.3"});
  EXPECT_EQ(differences(before, load(kSound, {"model.dropout=0.3", "model.attention_dropout=0.3",
                                              "model.activation_dropout=0.3"})),
            Lines());
  EXPECT_EQ(differences(before, load(kSound, {"model.dropout=0.3", "model.attention_dropout=0.2"})),
            (Lines{"model.attention_dropout!"}));
}

TEST(CompareForResume, OtherKeysAreOnlyNamed) {
  const LoadedDeck given = load(
      kSound, {"zero.stage=3", "train.epochs=9", "optimizer.lr=0.5",
               "model.gradient_checkpointing=full", "data.num_workers=0", "comm.reduction=fast",
               "run.threads=2", "schedule.warmup_steps=10", "checkpoint.every_steps=5"});
  EXPECT_EQ(differences(sound(), given),
            (Lines{"run.threads", "model.gradient_checkpointing", "data.num_workers",
                   "train.epochs", "optimizer.lr", "schedule.warmup_steps", "zero.stage",
                   "comm.reduction", "checkpoint.every_steps"}));
}

TEST(CompareForResume, WhatAResumeChangesByItselfIsNotNamed) {
  EXPECT_EQ(differences(sound(),
                        load(kSound, {"run.output_dir=/new", "checkpoint.resume=latest",
                                      "checkpoint.init_from=/first", "data.index_dir=/elsewhere"})),
            Lines());
}

TEST(CompareForResume, CorpusMayMove) {
  EXPECT_EQ(differences(sound(), load(kSound, {"data.train_source=/scratch/train.en",
                                               "data.train_target=/scratch/train.fr"})),
            (Lines{"data.train_source", "data.train_target"}));
}

TEST(CompareForResume, LengthsOfASideAreComparedAsTheyCount) {
  EXPECT_EQ(differences(sound(), load(kSound, {"data.max_source_length=100"})), Lines());
  EXPECT_EQ(differences(sound(), load(kSound, {"data.max_length=50", "data.max_source_length=100",
                                               "data.max_target_length=100"})),
            Lines());
  EXPECT_EQ(differences(sound(), load(kSound, {"data.max_target_length=50"})),
            (Lines{"data.max_target_length!"}));
}

TEST(CompareForResume, GivesBothValues) {
  const auto found = compare_for_resume(resolved_text(sound()), load(kSound, {"model.d_ff=8"}));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].checkpoint, "2048");
  EXPECT_EQ(found[0].given, "8");
}

TEST(CompareForResume, CheckpointDeckThatCannotBeReadIsTheCheckpointsFault) {
  EXPECT_THROW((void)compare_for_resume("[model]\nkey_of_another_version = 1\n", sound()),
               CheckpointError);
}

/// One change of a text: a byte, a piece, a line, or a word from the key table.
void mutate(std::string& text, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) {
    return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1));
  };
  const std::size_t at = below(text.size()), length = below(40);
  const Key& key = keys()[below(keys().size())];
  static const Lines words{"nan",
                           "-1",
                           "1e99",
                           "99999999999999999999",
                           "0x10",
                           "\"",
                           "[",
                           "]",
                           "[]",
                           "=",
                           "\n=\n",
                           "#",
                           "\r",
                           "\n",
                           "\xef\xbb\xbf",
                           "\xff\xfe",
                           "--",
                           "..",
                           "true"};
  switch (below(7)) {
    case 0:
      text.insert(at, 1, static_cast<char>(random()));
      break;
    case 1:
      text.erase(at, length);
      break;
    case 2:
      text.insert(at, text.substr(below(text.size()), length));
      break;
    case 3:
      text.replace(at, std::min<std::size_t>(1, text.size() - at), 1, static_cast<char>(random()));
      break;
    case 4:
      text.insert(at, words[below(words.size())]);
      break;
    case 5:
      text.insert(std::min(text.find('\n', at), text.size()),
                  "\n" + key.name + " = " + words[below(words.size())]);
      break;
    default:
      text.insert(std::min(text.find('\n', at), text.size()),
                  "\n[" + key.name.substr(0, key.name.find('.')) + "]\n" + key.name + " = " +
                      key.default_value);
      break;
  }
}

TEST(DeckFuzz, MutatedDeckIsReadOrRefusedAsADeck) {
  std::ifstream in(std::filesystem::path(TH_SOURCE_DIR) / "inputs" / "stage2.in");
  const std::string deck{std::istreambuf_iterator<char>(in), {}};
  ASSERT_FALSE(deck.empty());
  ASSERT_EQ(problems(deck), Lines());
  std::mt19937_64 random(20240229);
  int read = 0, refused = 0;
  for (int round = 0; round < 2500; ++round) {
    std::string text = deck;
    for (std::uint64_t changes = 1 + random() % 4; changes > 0; --changes) mutate(text, random);
    try {
      const LoadedDeck loaded = load(
          text, round % 5 == 0 ? Overrides{text.substr(random() % text.size(), 30)} : Overrides{});
      ++read;
      ASSERT_EQ(deck_hash(load(resolved_text(loaded))), deck_hash(loaded)) << text;
    } catch (const DeckError& error) {
      ++refused;
      ASSERT_NE(std::string(error.what()), "") << text;
    } catch (const std::exception& error) {
      FAIL() << "not a DeckError but " << error.what() << " of round " << round << " for\n" << text;
    }
  }
  EXPECT_GT(read, 100);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace th::config::test
