#include <gtest/gtest.h>

#include "th/model/decoding/decoding.hpp"
#include "unit/model/small_model.hpp"

#include <limits>
#include <string>

namespace th::model {
namespace {

using Ids = std::vector<std::int32_t>;
using test::make_batch;
using test::make_model;
using test::only;
using test::RecordingSource;
using test::small_section;

/// Greedy decoding of one sentence, spelled out with logits(): the most probable next word of the
/// whole prefix, padding and begin left out, until the end id.
Ids decode_alone(Transformer& model, RecordingSource& source, const data::Batch& batch,
                 std::int64_t limit) {
  Ids out;
  const Ids source_ids(batch.source.begin(), batch.source.end());
  while (std::ssize(out) < limit) {
    Ids target;
    target.reserve(out.size() + 2);
    target.push_back(data::kBegin);
    target.insert(target.end(), out.begin(), out.end());
    target.push_back(data::kEnd);
    data::Batch prefix;
    prefix.append(source_ids, target);
    const at::Tensor last =
        model.logits(source, prefix).select(0, prefix.target_length - 1).clone();
    for (const std::int32_t hidden : {data::kPad, data::kBegin})
      last[hidden].fill_(-std::numeric_limits<float>::infinity());
    const auto id = static_cast<std::int32_t>(last.argmax(0).item<std::int64_t>());
    if (id == data::kEnd) break;
    out.push_back(id);
  }
  return out;
}

std::vector<Ids> greedy(const Transformer& model, RecordingSource& source, const data::Batch& batch,
                        std::int64_t limit) {
  std::vector<Ids> out;
  for (const auto& hypotheses : translate(model, source, batch, {.max_length = limit}))
    out.push_back(hypotheses.at(0).ids);
  return out;
}

void raise(RecordingSource& source, std::int32_t id, float by) {
  test::data(source.value("output_projection.bias"))[id] += by;
}

class Greedy : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Embeddings, Greedy, testing::Bool(),
                         [](const auto& p) { return std::string(p.param ? "tied" : "untied"); });

TEST_P(Greedy, EachSentenceIsDecodedAsIfItWereAlone) {
  Transformer model = make_model(small_section(config::Norm::kPre, GetParam()));
  std::size_t shortest = 100, longest = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    RecordingSource source(model, seed);
    raise(source, data::kEnd, 1.0F);  // so that sentences end at unlike lengths
    const data::Batch batch = make_batch({6, 3, 8, 1, 5}, {1, 1, 1, 1, 1});
    const auto outputs = greedy(model, source, batch, 12);
    ASSERT_EQ(outputs.size(), 5U);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(outputs[i], decode_alone(model, source, only(batch, i), 12))
          << "sentence " << i << " seed " << seed;
      shortest = std::min(shortest, outputs[i].size());
      longest = std::max(longest, outputs[i].size());
    }
    EXPECT_TRUE(source.all_closed());
  }
  EXPECT_LT(shortest, 12U);  // else the test shows nothing about ends
  EXPECT_GT(longest, shortest);
}

TEST_P(Greedy, EndsAtTheEndIdAndLeavesItOut) {
  Transformer model = make_model(small_section(config::Norm::kPre, GetParam()));
  RecordingSource source(model);
  raise(source, data::kEnd, 1000.0F);
  for (const Ids& ids : greedy(model, source, make_batch({4, 2}, {1, 1}), 12))
    EXPECT_TRUE(ids.empty());
}

TEST_P(Greedy, StopsAtTheLongestLengthWithoutAnEnd) {
  Transformer model = make_model(small_section(config::Norm::kPre, GetParam()));
  RecordingSource source(model);
  raise(source, 9, 1000.0F);
  for (const Ids& ids : greedy(model, source, make_batch({4, 2}, {1, 1}), 5))
    EXPECT_EQ(ids, Ids(5, 9));
  // The position table ends the sentence where max_length does not.
  for (const Ids& ids : greedy(model, source, make_batch({4, 2}, {1, 1}), 1000))
    EXPECT_LT(std::ssize(ids), test::kMaxLength + 1);
}

TEST_P(Greedy, IgnoresTheBatchsTargetsAndDropout) {
  config::ModelSection m = small_section(config::Norm::kPre, GetParam());
  Transformer plain = make_model(m);
  m.dropout = 0.5;
  Transformer dropping = make_model(m);
  RecordingSource a(plain), b(dropping);
  EXPECT_EQ(greedy(plain, a, make_batch({6, 3}, {1, 1}), 8),
            greedy(dropping, b, make_batch({6, 3}, {7, 4}), 8));
}

}  // namespace
}  // namespace th::model
