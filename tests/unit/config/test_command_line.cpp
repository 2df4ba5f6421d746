#include "th/config/command_line.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "loading.hpp"

namespace th::config::test {
namespace {

CommandLine parse(const Lines& words) {
  std::vector<const char*> argv{"th_app"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

/// The message of the DeckError; empty where the line is read.
std::string refusal(const Lines& words) {
  try {
    (void)parse(words);
  } catch (const DeckError& error) {
    return error.what();
  }
  return "";
}

std::string first_line(const Lines& words) {
  const std::string text = refusal(words);
  return text.substr(0, text.find('\n'));
}

TEST(CommandLine, DeckAloneIsARun) {
  const CommandLine line = parse({"inputs/stage2.in"});
  EXPECT_EQ(line.action, Action::kRun);
  EXPECT_EQ(line.deck_path, "inputs/stage2.in");
  EXPECT_TRUE(line.overrides.empty());
}

TEST(CommandLine, OverridesStandAnywhereAndKeepTheirOrder) {
  const CommandLine line =
      parse({"--zero.stage=3", "a.in", "train.epochs=2", "--check", "run.output_dir=/a b=c"});
  EXPECT_EQ(line.action, Action::kCheck);
  EXPECT_EQ(line.deck_path, "a.in");
  EXPECT_EQ(line.overrides, (Lines{"--zero.stage=3", "train.epochs=2", "run.output_dir=/a b=c"}));
}

TEST(CommandLine, OverrideMayHaveAnEmptyOrNegativeValue) {
  EXPECT_EQ(parse({"a.in", "data.test_source=", "zero.stage=-1"}).overrides,
            (Lines{"data.test_source=", "zero.stage=-1"}));
}

TEST(CommandLine, DeckPathWithAnEqualsSignIsADeck) {
  EXPECT_EQ(parse({"./lr=0.5/a.in"}).deck_path, "./lr=0.5/a.in");
  EXPECT_EQ(parse({"/runs/zero.stage=1"}).deck_path, "/runs/zero.stage=1");
}

TEST(CommandLine, ReplayTakesItsDeckFromTheFile) {
  const CommandLine line = parse({"--replay", "bad.json", "zero.stage=3"});
  EXPECT_EQ(line.action, Action::kReplay);
  EXPECT_EQ(line.replay_path, "bad.json");
  EXPECT_EQ(line.overrides, Lines{"zero.stage=3"});
  EXPECT_EQ(first_line({"a.in", "--replay", "bad.json"}),
            "command line: --replay takes its deck from the file; 'a.in' is more");
  EXPECT_NE(refusal({"--replay"}), "");
}

TEST(CommandLine, DataBelongsToCheck) {
  EXPECT_TRUE(parse({"a.in", "--check", "--data"}).reads_data);
  EXPECT_TRUE(parse({"--data", "a.in", "--check"}).reads_data);
  EXPECT_FALSE(parse({"a.in", "--check"}).reads_data);
  for (const Lines& words :
       {Lines{"a.in", "--data"}, Lines{"a.in", "--plan", "--data"}, Lines{"--version", "--data"}})
    EXPECT_EQ(first_line(words), "command line: --data belongs to --check");
}

TEST(CommandLine, EachOptionIsItsAction) {
  EXPECT_EQ(parse({"a.in", "--check"}).action, Action::kCheck);
  EXPECT_EQ(parse({"--plan", "a.in", "--plan.ranks=64"}).action, Action::kPlan);
  EXPECT_EQ(parse({"a.in", "--selfcheck"}).action, Action::kSelfcheck);
  EXPECT_EQ(parse({"--help"}).action, Action::kHelp);
  EXPECT_EQ(parse({"-h"}).action, Action::kHelp);
  EXPECT_EQ(parse({"--version"}).action, Action::kVersion);
  EXPECT_EQ(parse({"--explain"}).action, Action::kExplain);
}

TEST(CommandLine, ExplainTakesAKeyInEveryForm) {
  EXPECT_EQ(parse({"--explain"}).explain_keys, Lines());
  EXPECT_EQ(parse({"--explain", "zero.stage"}).explain_keys, Lines{"zero.stage"});
  EXPECT_EQ(parse({"--explain=zero.stage"}).explain_keys, Lines{"zero.stage"});
  EXPECT_EQ(parse({"--explain", "zero"}).explain_keys, Lines{"zero"});
  const Lines both{"zero.stage", "train.epochs"};
  EXPECT_EQ(parse({"--explain", both[0], both[1]}).explain_keys, both);
  EXPECT_EQ(parse({"--explain=zero.stage", both[1]}).explain_keys, both);
}

TEST(CommandLine, HelpWinsOverAnythingElse) {
  EXPECT_EQ(parse({"a.in", "--check", "--help"}).action, Action::kHelp);
}

TEST(CommandLine, TwoActionsAreRefused) {
  EXPECT_EQ(first_line({"a.in", "--check", "--plan"}),
            "command line: --check and --plan ask for different things; allowed one of them");
}

TEST(CommandLine, DeckIsNeededOnce) {
  EXPECT_EQ(first_line({}), "command line: no deck given");
  EXPECT_EQ(first_line({"--check"}), "command line: no deck given");
  EXPECT_EQ(first_line({"a.in", "b.in"}),
            "command line: more than one deck: 'a.in' and 'b.in'; allowed one (an override is "
            "section.key=value)");
  EXPECT_EQ(first_line({"a.in", "zero.stage"}),
            "command line: more than one deck: 'a.in' and 'zero.stage'; allowed one (an override "
            "is section.key=value)");
}

TEST(CommandLine, UnknownOptionsAreNamedAndNotGuessed) {
  const std::string unknown = "command line: unknown option ";
  const std::string allowed = "; allowed --section.key=value and the options of --help";
  EXPECT_EQ(first_line({"a.in", "--chec"}), unknown + "--chec" + allowed + "; nearest --check");
  EXPECT_EQ(first_line({"a.in", "--zero.stage"}),
            unknown + "--zero.stage; a key is given as --zero.stage=value");
  EXPECT_EQ(first_line({"a.in", "--zero.stage", "3"}),
            unknown + "--zero.stage; a key is given as --zero.stage=3");
  EXPECT_EQ(first_line({"a.in", "-x"}), unknown + "-x" + allowed);
  EXPECT_EQ(first_line({"a.in", "--frobnicate"}), unknown + "--frobnicate" + allowed);
}

TEST(CommandLine, KeyWithoutItsSectionIsNamed) {
  const std::pair<Lines, const char*> cases[] = {
      {{"--epochs", "3"}, "write train.epochs=3"},
      {{"--epochs=3"}, "write train.epochs=3"},
      {{"epochs=5"}, "'epochs=5' lacks the key's section; write train.epochs=5"},
      {{"--batch_size=16"}, "write data.batch_size=16"},
      {{"--batch-size", "16"}, "write data.batch_size=16"},
      {{"--stage=3"}, "write zero.stage=3"},
      {{"--stage=9"}, "write zero.stage=VALUE (from 0 to 3)"},
      {{"--lr", "1e-3"}, "write optimizer.lr=1e-3"},
      {{"--learning_rate=1e-3"}, "write optimizer.lr=1e-3"},
      {{"--warmup_steps=10"}, "write schedule.warmup_steps=10"},
      {{"--max_length", "50"}, "write data.max_length=50 or decode.max_length=50"},
      {{"--resume_from", "latest"}, "write checkpoint.resume=latest"},
      {{"--enable_profiler"}, "write profile.enabled=true"},
      {{"--mode", "ddp"}, "write zero.stage=VALUE (from 0 to 3)"},
      {{"--use_checkpoint"}, "write model.gradient_checkpointing=VALUE (none, selective, full, "},
      {{"-np", "4"}, "mpirun -np N th_app DECK"},
      {{"--nproc_per_node=4"}, "mpirun -np N th_app DECK"},
      {{"--deepspeed", "ds.json"}, "tools/deepspeed2deck.py"},
      {{"--model", "out.pt"}, "run.output_dir=FOLDER is where a model is written"},
      {{"--config", "ds.yaml"}, "the deck stands alone"}};
  for (const auto& [words, expected] : cases) {
    Lines all{"a.in"};
    all.insert(all.end(), words.begin(), words.end());
    const std::string text = refusal(all);
    EXPECT_NE(text.find(expected), std::string::npos) << words.front() << ": " << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << "a problem and the usage: " << text;
    Lines before = words;
    before.emplace_back("a.in");
    EXPECT_EQ(refusal(before), text) << "wherever the deck stands";
  }
}

TEST(CommandLine, WordBehindAnUnknownOptionIsNoDeckOfItsOwn) {
  EXPECT_EQ(refusal({"--epochs", "deck"}).find("no deck given"), std::string::npos);
  EXPECT_NE(refusal({"--epochs=3"}).find("no deck given"), std::string::npos);
  EXPECT_EQ(parse({"lr=0.5.in"}).deck_path, "lr=0.5.in");
  EXPECT_EQ(parse({"frobnicate=3"}).deck_path, "frobnicate=3");
}

TEST(CommandLine, AllProblemsComeTogetherWithTheUsage) {
  const std::string text = refusal({"--one", "--two", "--check", "--plan"});
  for (const char* part :
       {"--one", "--two", "--check and --plan", "no deck given", "\nusage: th_app DECK"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(CommandLine, StrangeWordsAreDeckErrors) {
  for (const Lines& words : std::vector<Lines>{{"a.in", "--check=yes"},
                                               {"a.in", "--check", "--check"},
                                               {"a.in", "--"},
                                               {"a.in", ""},
                                               {"", ""},
                                               {"a.in", "-"},
                                               {"--="},
                                               {"a.in", "--=x"},
                                               {"a.in", "=x"},
                                               {"a.in", "\xff\xfe"},
                                               {"a.in", "-check"},
                                               {"a.in", "--help=1"}}) {
    try {
      (void)parse(words);
    } catch (const DeckError& error) {
      EXPECT_NE(std::string(error.what()).find("usage: "), std::string::npos) << error.what();
    } catch (const std::exception& error) {
      ADD_FAILURE() << words.back() << ": not a DeckError but " << error.what();
    }
  }
}

TEST(HelpText, NamesEveryOptionAndExitCode) {
  const std::string text = help_text();
  for (const char* part : {"--check", "--plan", "--selfcheck", "--explain", "--help", "--version",
                           "section.key=value", "Exit codes: 0", " 75 "})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

}  // namespace
}  // namespace th::config::test
