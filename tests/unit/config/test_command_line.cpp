#include "th/config/command_line.hpp"

#include <gtest/gtest.h>

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
  EXPECT_EQ(
      first_line({"a.in", "--chec"}),
      "command line: unknown option --chec; allowed --section.key=value and the options of --help");
  EXPECT_EQ(first_line({"a.in", "--stage=3"}),
            "command line: unknown option --stage=3; allowed --section.key=value and the options "
            "of --help");
  EXPECT_EQ(first_line({"a.in", "--zero.stage"}),
            "command line: unknown option --zero.stage; a key is given as --zero.stage=value");
  EXPECT_EQ(
      first_line({"a.in", "-x"}),
      "command line: unknown option -x; allowed --section.key=value and the options of --help");
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
