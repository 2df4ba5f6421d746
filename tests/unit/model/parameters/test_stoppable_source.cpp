// Passes of decoding that are given up between two units.
#include <gtest/gtest.h>

#include "th/model/decoding/decoding.hpp"
#include "th/model/parameters/stoppable_source.hpp"
#include "unit/model/small_model.hpp"

namespace th::model {
namespace {

using test::make_batch;
using test::make_model;
using test::RecordingSource;
using test::small_section;

class Stoppable : public ::testing::Test {
 protected:
  /// Calls work(source) with a source that says stop when it is asked for the time number `at`.
  template <typename Work>
  auto stopped_at(std::int64_t at, const Work& work) {
    asked_ = 0;
    const std::function<bool()> stop = [this, at] { return ++asked_ == at; };  // once
    StoppableSource stoppable(source_, stop);
    return unless_given_up([&] { return work(stoppable); });
  }

  Transformer model_ = make_model(small_section());
  RecordingSource source_{model_};
  data::Batch batch_ = test::usual_batch();
  std::int64_t asked_ = 0;  ///< so many times was stop() called
};

TEST_F(Stoppable, TranslationsEndBeforeTheUnitThatAsked) {
  const auto work = [&](ParameterSource& source) {
    return translate(model_, source, batch_, {2, 1.0, 6, 1});
  };
  const auto whole = stopped_at(-1, work);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->size(), 3U);
  const std::int64_t all = asked_;
  const std::int64_t units = std::ssize(model_.units());
  EXPECT_GT(all, units) << "encoding and several steps";
  for (const std::int64_t at : {std::int64_t{1}, std::int64_t{2}, units + 1, all}) {
    EXPECT_FALSE(stopped_at(at, work));
    EXPECT_EQ(asked_, at) << "it goes on after it was told to stop";
  }
}

TEST_F(Stoppable, LongSentencesEndWithinALayer) {
  const Transformer model{{small_section(), test::kVocabulary, test::kVocabulary, 210},
                          GemmLibrary::kOnednn};
  RecordingSource source(model);
  const data::Batch batch = make_batch({200}, {3});
  const auto asked = [&](std::int64_t at) {
    asked_ = 0;
    const std::function<bool()> stop = [this, at] { return ++asked_ == at; };
    StoppableSource stoppable(source, stop);
    return unless_given_up([&] { return translate(model, stoppable, batch, {1, 1.0, 1, 1}); });
  };
  ASSERT_TRUE(asked(-1));
  const std::int64_t all = asked_;
  // Two encoder layers, 4 heads, queries in blocks of 96.
  EXPECT_GE(all, std::ssize(model.units()) + 2 * 4 * 3);
  for (std::int64_t at = 1; at <= all; ++at) {
    EXPECT_FALSE(asked(at)) << at;
    EXPECT_EQ(asked_, at) << "it asks again when it was told to stop";
  }
}

TEST_F(Stoppable, ScoresToo) {
  const auto work = [&](ParameterSource& source) { return score_targets(model_, source, batch_); };
  const auto whole = stopped_at(-1, work);
  ASSERT_TRUE(whole);
  const std::int64_t all = asked_;
  for (const std::int64_t at : {std::int64_t{1}, all}) {
    EXPECT_FALSE(stopped_at(at, work));
    EXPECT_EQ(asked_, at);
  }
}

}  // namespace
}  // namespace th::model
