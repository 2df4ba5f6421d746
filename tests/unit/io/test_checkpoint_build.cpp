#include <tuple>

#include "temporary_folder.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_build.hpp"

namespace {
using namespace th::io;

class CheckpointBuild : public TemporaryFolder {
 protected:
  static CheckpointInfo info() {
    CheckpointInfo result;
    result.step = 7;
    result.deck = "[model]\n";
    result.source_tokens = {"<pad>", "un"};
    result.target_tokens = {"<pad>", "one"};
    result.units = {{"a", {{"m", {37, 29}}, {"b", {5}}}}, {"c", {{"w", {100, 7}}}}};
    result.aliases = {{"tied", "w"}};
    result.state_names = {"exp_avg"};
    return result;
  }
  static float value(const std::string& kind, const std::string& tensor, std::int64_t i) {
    return static_cast<float>(tensor[0]) * 10000.0F + static_cast<float>(i) +
           (kind == "parameters" ? 0.0F : 0.25F);
  }
  static void source(const std::string& kind, const std::string& tensor, std::int64_t begin,
                     std::span<float> out) {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = value(kind, tensor, begin + static_cast<std::int64_t>(i));
  }
};

TEST_F(CheckpointBuild, AnyNumberOfShardsHoldsTheSourcesValues) {
  for (const std::int64_t shard_elements :
       {kShardElements, std::int64_t{1000}, std::int64_t{300}}) {
    const std::string path = dir_ + "/c" + std::to_string(shard_elements);
    build_checkpoint(path, Existing::kRefuse, info(), source, shard_elements);
    const CheckpointReader reader(path);
    EXPECT_EQ(reader.info().world_size,
              shard_elements == kShardElements
                  ? 1
                  : (37 * 29 + 5 + 700 + shard_elements - 1) / shard_elements);
    EXPECT_EQ(reader.info().step, 7);
    EXPECT_EQ(reader.info().target_tokens, info().target_tokens);
    EXPECT_TRUE(reader.verify().empty());
    for (const std::string kind : {"parameters", "exp_avg"}) {
      for (const std::string name : {"m", "b", "w", "tied"}) {
        const auto values = reader.read_tensor(kind, name);
        for (std::size_t i = 0; i < values.size(); ++i)
          ASSERT_EQ(values[i],
                    value(kind, name == "tied" ? "w" : name, static_cast<std::int64_t>(i)));
      }
    }
    std::vector<float> middle(40);
    reader.read_elements("exp_avg", "m", 990, middle);
    for (std::size_t i = 0; i < middle.size(); ++i)
      EXPECT_EQ(middle[i], value("exp_avg", "m", 990 + static_cast<std::int64_t>(i)));
  }
}

TEST_F(CheckpointBuild, TokenizersModelsAreKeptAndRaiseTheFormat) {
  const std::string zeros("\0model\n\0", 8);
  for (const auto& [source_model, target_model, version] :
       {std::tuple(std::string(), std::string(), kFormatVersion),
        std::tuple(zeros, zeros, kModelFormatVersion),
        std::tuple(zeros, std::string("other"), kModelFormatVersion),
        std::tuple(std::string(), zeros, kModelFormatVersion)}) {
    CheckpointInfo with = info();
    with.source_model = source_model;
    with.target_model = target_model;
    build_checkpoint(dir_ + "/c", Existing::kReplace, with, source);
    const CheckpointReader reader(dir_ + "/c");
    EXPECT_EQ(reader.info().source(), with.source());
    EXPECT_EQ(reader.info().target(), with.target());
    EXPECT_EQ(reader.info().format_version, version);
    EXPECT_TRUE(reader.verify().empty());
  }
}

TEST_F(CheckpointBuild, SourceThatFailsLeavesNothing) {
  const auto failing = [](const std::string&, const std::string&, std::int64_t, std::span<float>) {
    throw th::CheckpointError("no more");
  };
  EXPECT_THROW(build_checkpoint(dir_ + "/c", Existing::kRefuse, info(), failing),
               th::CheckpointError);
  EXPECT_EQ(entries_in_folder(), 0);
}

TEST_F(CheckpointBuild, WordsAndShapesOfAnotherModelAreNamedTogether) {
  build_checkpoint(dir_ + "/c", Existing::kRefuse, info(), source);
  const CheckpointReader reader(dir_ + "/c");
  auto units = info().units;
  using Saved = th::data::SavedTokenizer;
  const Saved un{{"<pad>", "un"}, ""}, one{{"<pad>", "one"}, ""}, deux{{"<pad>", "deux"}, ""};
  const th::zero::FlatLayout same(units, 3);
  EXPECT_EQ(require_same_model(reader, same, un, one), "");
  // Other tokens in as many rows: the model can go on with them.
  EXPECT_EQ(require_same_model(reader, same, deux, one),
            "\n  vocabulary/source: 2 tokens in the checkpoint, 2 in the corpus; 1 differ, the "
            "first at id 1: 'un' in the checkpoint, 'deux' in the corpus");
  EXPECT_EQ(
      require_same_model(reader, same, {un.tokens, "model"}, one),
      "\n  vocabulary/source: the same tokens, of one tokenizer's model in the checkpoint and "
      "of another in the corpus");
  units[0].tensors[1].shape = {6};
  try {
    (void)require_same_model(reader, th::zero::FlatLayout(units, 3), deux, one);
    FAIL() << "no error";
  } catch (const th::CheckpointError& error) {
    EXPECT_EQ(std::string(error.what()),
              dir_ +
                  "/c is of another model:\n  vocabulary/source: 2 tokens in the checkpoint, 2 in "
                  "the corpus; 1 differ, the "
                  "first at id 1: 'un' in the checkpoint, 'deux' in the corpus\n  b: [5] in the "
                  "checkpoint, [6] in the model");
  }
}

}  // namespace
