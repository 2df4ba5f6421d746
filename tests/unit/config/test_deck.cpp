#include "th/config/deck.hpp"

#include <gtest/gtest.h>
#include <unistd.h>
#include <filesystem>
#include <fstream>

#include "loading.hpp"
#include "th/config/file_keys.hpp"

namespace th::config::test {
namespace {

namespace fs = std::filesystem;

/// A folder of its own that is the working directory while it lives.
class InFolder {
 public:
  InFolder()
      : before_(fs::current_path()),
        path_(fs::temp_directory_path() / ("th_test_config." + std::to_string(::getpid()))) {
    fs::create_directories(path_);
    fs::current_path(path_);
    path_ = fs::current_path();
  }
  ~InFolder() {
    fs::current_path(before_);
    fs::remove_all(path_);
  }
  InFolder(const InFolder&) = delete;
  InFolder& operator=(const InFolder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path before_, path_;
};

TEST(Deck, SectionsAndDottedKeysAndCommentsAreRead) {
  const LoadedDeck deck = load(
      "# a whole comment\n"
      "zero.stage = 3\n"
      "\n"
      "  [ data ]  # the corpus\n"
      "\ttrain_source=train.en\n"
      "  train_target  =  train.fr  # with a comment\n"
      "[model]\n"
      "d_model = 64#no blank before\n"
      "[model]\n"
      "model.num_heads = 4\n");
  EXPECT_EQ(deck.config.zero.stage, 3);
  EXPECT_EQ(deck.config.data.train_source, "/decks/train.en");
  EXPECT_EQ(deck.config.data.train_target, "/decks/train.fr");
  EXPECT_EQ(deck.config.model.d_model, 64);
  EXPECT_EQ(deck.config.model.num_heads, 4);
  EXPECT_EQ(origin_of(deck, "zero.stage"), "deck:2");
  EXPECT_EQ(origin_of(deck, "model.num_heads"), "deck:10");
  EXPECT_EQ(origin_of(deck, "model.d_ff"), "default");
}

TEST(Deck, ByteOrderMarkAndWindowsLineEndsAreIgnored) {
  const LoadedDeck deck = load(
      "\xef\xbb\xbf[data]\r\ntrain_source = train.en\r\ntrain_target = train.fr # "
      "c\r\n\r\n[zero]\r\nstage = 1\r\n");
  EXPECT_EQ(
      values(deck),
      values(load("[data]\ntrain_source = train.en\ntrain_target = train.fr\n[zero]\nstage = 1")));
  EXPECT_EQ(origin_of(deck, "zero.stage"), "deck:6");
}

TEST(Deck, LastLineNeedsNoLineEnd) {
  EXPECT_EQ(load(kSound + "[train]\nepochs = 9").config.train.epochs, 9);
}

TEST(Deck, LineThatIsNeitherSectionNorKeyIsRefused) {
  EXPECT_EQ(problems(kSound + "[train]\nepochs 9\n= 9\n[]\n[ ]\n"),
            (Lines{"a.in:8: epochs 9: a line is written key = value",
                   "a.in:9: = 9: a line is written key = value",
                   "a.in:10: []: a section is written [name]",
                   "a.in:11: [ ]: a section is written [name]"}));
}

TEST(Deck, SectionWithoutItsEndStillNamesTheKeysBelow) {
  EXPECT_EQ(problems(kSound + "[train\nepochs = 0\n"),
            (Lines{"a.in:7: [train: a section is written [name]",
                   "a.in:8: train.epochs: '0' is out of range; allowed from 1"}));
}

TEST(Deck, UnknownKeyIsNamedWithTheNearest) {
  EXPECT_EQ(problems(kSound + "[model]\nd_modell = 64\n[trian]\nepochs = 3\n"),
            (Lines{"a.in:8: model.d_modell: unknown key; nearest model.d_model",
                   "a.in:10: trian.epochs: unknown key; nearest train.epochs"}));
}

TEST(Deck, KeyWithoutSectionIsUnknown) {
  EXPECT_EQ(problems("stage = 1\n" + kSound),
            (Lines{"a.in:1: stage: unknown key; nearest zero.stage"}));
}

TEST(Deck, SecondValueOfAKeyNamesTheFirst) {
  EXPECT_EQ(problems(kSound + "[zero]\nstage = 2\n"),
            (Lines{"a.in:8: zero.stage: given before at a.in:5"}));
  EXPECT_EQ(problems("zero.stage = 1\n" + kSound),
            (Lines{"a.in:6: zero.stage: given before at a.in:1"}));
}

TEST(Deck, OverrideStandsInPlaceOfTheDeck) {
  for (const std::string word : {"zero.stage=3", "--zero.stage=3", "zero.stage= 3 "}) {
    const LoadedDeck deck = load(kSound, {word});
    EXPECT_EQ(deck.config.zero.stage, 3) << word;
    EXPECT_EQ(origin_of(deck, "zero.stage"), "command line") << word;
  }
  EXPECT_EQ(load("[zero]\nstage = wrong\n",
                 {"zero.stage=1", "data.train_source=/a", "data.train_target=/b"})
                .config.zero.stage,
            1);
}

TEST(Deck, BadOverridesAreNamed) {
  EXPECT_EQ(problems(kSound, {"zero.stage=1", "--zero.stage=1"}),
            (Lines{"command line: zero.stage: given twice"}));
  EXPECT_EQ(problems(kSound, {"zero.stag=1"}),
            (Lines{"command line: zero.stag: unknown key; nearest zero.stage"}));
  EXPECT_EQ(problems(kSound, {"zero.stage"}),
            (Lines{"command line: zero.stage: an override is written section.key=value"}));
  EXPECT_EQ(problems(kSound, {"--"}),
            (Lines{"command line: --: an override is written section.key=value"}));
  EXPECT_EQ(problems(kSound, {"zero.stage="}),
            (Lines{"command line: zero.stage: '' is not a valid integer; allowed from 0 to 3"}));
}

TEST(Deck, AllProblemsComeInOneReport) {
  const Lines lines = problems(kSound +
                                   "[model]\nd_model = 63\nnum_head = 4\ndropout = "
                                   "1\n[train]\nepochs\n[data]\nvalid_source = v.en\n",
                               {"zero.stage=4", "trane.epochs=1"});
  EXPECT_EQ(lines, (Lines{"a.in:9: model.num_head: unknown key; nearest model.num_heads",
                          "a.in:12: epochs: a line is written key = value",
                          "command line: trane.epochs: unknown key; nearest train.epochs",
                          "a.in:10: model.dropout: '1' is out of range; allowed from 0 to below 1",
                          "command line: zero.stage: '4' is out of range; allowed from 0 to 3",
                          "a.in:8: model.d_model: 63 is odd, and sinusoidal positions are pairs of "
                          "a sine and a cosine; allowed even widths",
                          "a.in:14: data.valid_target: missing; data.valid_source and "
                          "data.valid_target come together"}));
}

TEST(Deck, PathsAreRelativeToTheDeckOrOnTheCommandLineToTheWorkingDirectory) {
  const InFolder folder;
  const std::string here = folder.path().string();
  const LoadedDeck deck = load(
      "[data]\ntrain_source = ../text/a b.en\ntrain_target = /abs/t.fr\n[checkpoint]\nresume = "
      "runs/x\ninit_from =\n[run]\noutput_dir = "
      "out\n",
      {"data.valid_source=v.en", "--data.valid_target=./sub/../v.fr"});
  EXPECT_EQ(deck.config.data.train_source, "/text/a b.en");
  EXPECT_EQ(deck.config.data.train_target, "/abs/t.fr");
  EXPECT_EQ(deck.config.data.valid_source, here + "/v.en");
  EXPECT_EQ(deck.config.data.valid_target, here + "/v.fr");
  EXPECT_EQ(deck.config.checkpoint.resume, Resume::kPath);
  EXPECT_EQ(deck.config.checkpoint.resume_path, "/decks/runs/x");
  EXPECT_EQ(deck.config.checkpoint.init_from, "");
  EXPECT_EQ(deck.config.run.output_dir, here + "/out");
  EXPECT_EQ(load(kSound, {"checkpoint.resume=old/run"}).config.checkpoint.resume_path,
            here + "/old/run");
  EXPECT_EQ(load(kSound, {"run.output_dir=deep/out"}).config.run.output_dir, here + "/deep/out");
}

TEST(Deck, ResumeWordsAreNoPaths) {
  EXPECT_EQ(load(kSound + "checkpoint.resume = latest").config.checkpoint.resume, Resume::kLatest);
  EXPECT_EQ(load(kSound + "checkpoint.resume = none").config.checkpoint.resume, Resume::kNone);
  EXPECT_EQ(problems(kSound + "checkpoint.resume =").size(), 1U);
}

TEST(Deck, OutputFolderIsNamedAfterTheDeck) {
  const InFolder folder;
  const auto output_of = [](const std::string& name) {
    return load_deck_text(kSound, name, "/decks", {}).config.run.output_dir;
  };
  EXPECT_EQ(output_of("/far/away/stage2.in"), (folder.path() / "runs" / "stage2").string());
  EXPECT_EQ(output_of("my.first.in"), (folder.path() / "runs" / "my.first").string());
  EXPECT_EQ(output_of("deck"), (folder.path() / "runs" / "deck").string());
}

TEST(Deck, AKeySetToNothingIsNotGiven) {
  const std::string text =
      "[data]\nsynthetic = random_ids\nvocab_size = 100\n[train]\nmax_steps = 5\n";
  const auto warnings = [&](const std::string& word) {
    return load_deck_text(text, "a.in", "/decks", {word}).warnings;
  };
  EXPECT_EQ(warnings("data.index_dir="), Lines{});
  EXPECT_EQ(warnings("data.index_dir=/x").size(), 1U);
}

TEST(Deck, AKeySetToNothingKeepsItsLine) {
  // In the report of problems, ...
  EXPECT_EQ(problems("[data]\ntrain_target = t.fr\n\ntrain_source =\n"),
            (Lines{"a.in:4: data.train_source: missing; data.train_source and data.train_target "
                   "come together"}));
  // ... and in the resolved deck, which reads back to the same.
  const std::string resolved = resolved_text(load(kSound + "[checkpoint]\ninit_from =\n"));
  EXPECT_NE(resolved.find("\ninit_from =   # deck:8\n"), std::string::npos) << resolved;
  EXPECT_EQ(resolved.find("index_dir"), std::string::npos) << resolved;
  EXPECT_EQ(values(load(resolved)), values(load(kSound)));
}

TEST(Deck, FileInTheWorkingDirectoryIsReadByItsBareName) {
  const InFolder folder;
  std::ofstream("bare.in") << kSound;
  const LoadedDeck deck = load_deck("bare.in", {});
  EXPECT_EQ(deck.name, "bare");
  EXPECT_EQ(deck.config.data.train_source, (folder.path() / "train.en").string());
  fs::create_directories("below");
  fs::rename("bare.in", "below/bare.in");
  EXPECT_EQ(load_deck("below/bare.in", {}).config.data.train_source,
            (folder.path() / "below/train.en").string());
}

TEST(Deck, EmptyFileIsADeck) {
  const InFolder folder;
  std::ofstream("empty.in").flush();
  EXPECT_EQ(load_deck("empty.in", {"data.train_source=a", "data.train_target=b"})
                .config.data.train_source,
            (folder.path() / "a").string());
}

TEST(Deck, AbsentFileAndFolderAreDeckErrors) {
  const InFolder folder;
  EXPECT_THROW((void)load_deck("absent.in", {}), DeckError);
  EXPECT_THROW((void)load_deck(folder.path().string(), {}), DeckError);
  EXPECT_THROW((void)load_deck("", {}), DeckError);
  EXPECT_THROW((void)load_deck(std::string(5000, 'x'), {}), DeckError);
}

TEST(Deck, BinaryFileIsOneProblemWithItsLine) {
  EXPECT_EQ(problems(kSound + "\n" + std::string("\x89HDF\0\0\x01", 7) + "\nmore = 1\n").front(),
            "a.in:8: holds a zero byte, so it is no deck");
}

TEST(Deck, StrangeBytesAreNotPrinted) {
  EXPECT_EQ(problems(kSound + "\x1b[31mred\n"),
            (Lines{"a.in:7: ?[31mred: a line is written key = value"}));
  const std::string line = problems(kSound + std::string(100000, 'x') + "\n").front();
  EXPECT_LT(line.size(), 200U) << "a line of a wrong file, printed whole";
}

TEST(Deck, PathThatADeckCannotHoldIsRefused) {
  for (const std::string word :
       {"data.valid_source=/data/c#/v.en", "run.output_dir=/out\nstage = 1",
        "checkpoint.init_from=runs#1", "checkpoint.resume=/runs/#1"}) {
    const Lines lines = problems(kSound, {word});
    ASSERT_FALSE(lines.empty()) << word;
    EXPECT_NE(lines.front().find("command line: " + word.substr(0, word.find('=')) + ": '"),
              std::string::npos)
        << lines.front();
    EXPECT_NE(lines.front().find("has a #"), std::string::npos) << lines.front();
  }
  EXPECT_EQ(load_deck_text(kSound, "odd#name.in", "/decks", {"run.output_dir=/out"})
                .config.run.output_dir,
            "/out");
  EXPECT_THROW((void)load_deck_text(kSound, "odd#name.in", "/decks", {}), DeckError);
}

TEST(DeckText, AnotherFormatIsNamedInOneLine) {
  const std::string deck = ", and a deck has lines of [section] and key = value";
  for (const char* json : {"{\"train_batch_size\": 8}", "\n # a comment\n  {\n\"a\": 1\n}\n"}) {
    const Lines lines = problems(json);
    ASSERT_EQ(lines.size(), 1U) << json;
    EXPECT_NE(lines[0].find(": this is JSON" + deck), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find("tools/deepspeed2deck.py"), std::string::npos) << lines[0];
  }
  for (const char* yaml : {"---\nmodel:\n", "model:\n  d_model: 512\n", "# c\nepochs: 5\nlr: 1\n",
                           "%YAML 1.2\n", "model:\r\n  d_model: 512\r\n"}) {
    const Lines lines = problems(yaml);
    ASSERT_EQ(lines.size(), 1U) << yaml;
    EXPECT_NE(lines[0].find(": this is YAML" + deck), std::string::npos) << lines[0];
  }
  EXPECT_EQ(problems("\n\n---\n").front().substr(0, 7), "a.in:3:");
  // A line with a colon is one problem of a deck, and a colon of a value is none.
  EXPECT_EQ(problems(kSound + "model.d_model: 64\n").front(),
            "a.in:7: model.d_model: 64: a line is written key = value");
  EXPECT_EQ(problems("train.epochs = a: b\n" + kSound).front().substr(0, 20),
            "a.in:1: train.epochs");
  EXPECT_EQ(problems("#!/usr/bin/env th_app\n" + kSound), Lines{});
}

TEST(FileOfAMessage, IsToldWithItsKeyAndPlace) {
  const LoadedDeck deck = load("[data]\ntrain_source = a.en,b.en\ntrain_target = a.fr, b.fr\n",
                               {"data.valid_source=/v.en", "data.valid_target=/v.fr"});
  EXPECT_EQ(with_key_of_file(deck, "/decks/b.en: can't be read"),
            "a.in:2: data.train_source: /decks/b.en: can't be read");
  EXPECT_EQ(with_key_of_file(deck, "/v.fr: is empty"),
            "command line: data.valid_target: /v.fr: is empty");
  for (const char* other : {"/decks/b.en.gz: can't be read", "no memory", ""})
    EXPECT_EQ(with_key_of_file(deck, other), other);
  try {
    naming_keys(deck, []() -> int { throw DataError("/v.en: is a folder"); });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "command line: data.valid_source: /v.en: is a folder");
    EXPECT_EQ(error.exit_code(), ExitCode::kData);
  }
  EXPECT_EQ(naming_keys(deck, [] { return 3; }), 3);
}

}  // namespace
}  // namespace th::config::test
