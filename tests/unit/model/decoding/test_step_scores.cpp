// The choice of the likeliest ids by blocks against a sort of the whole row, and log p against
// LibTorch's.
#include <gtest/gtest.h>

#include "unit/model/tensors.hpp"

#include "model/decoding/step_scores.hpp"
#include "th/base/error.hpp"
#include "th/data/tokenizer/special_ids.hpp"

#include <algorithm>
#include <limits>

namespace th::model {
namespace {

using Ids = std::vector<std::int32_t>;

/// The choice from all logits, sorted.
Ids choice_of(const at::Tensor& row, std::int64_t count, const Ids& barred) {
  std::vector<Logit> all;
  for (std::int32_t id = 0; id < row.size(0); ++id) {
    if (std::find(barred.begin(), barred.end(), id) == barred.end())
      all.push_back({row[id].item<float>(), id});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Logit& a, const Logit& b) { return a.value > b.value; });
  Ids ids;
  for (std::size_t i = 0; i < all.size() && std::ssize(ids) < count; ++i) ids.push_back(all[i].id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

Ids ids_of(const std::vector<Logit>& logits) {
  Ids ids;
  for (const Logit& logit : logits) ids.push_back(logit.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

/// Every `step`-th id and the two that no text shows.
Ids barred_ids(std::int64_t vocabulary, std::int64_t step) {
  Ids ids{data::kPad, data::kBegin};
  for (std::int64_t id = 4; id < vocabulary; id += step) ids.push_back(static_cast<int>(id));
  return ids;
}

TEST(StepScores, ChooseTheFirstIdsOfTheSortedRow) {
  for (const std::int64_t vocabulary : {5, 63, 64, 65, 200, 1000}) {
    for (const bool ties : {false, true}) {
      at::Tensor logits = test::normal({3, vocabulary}, static_cast<std::uint64_t>(vocabulary));
      if (ties) logits = at::round(logits * 2);
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
        const at::Tensor typed = logits.to(type);
        const StepScores scores(typed);
        for (const std::int64_t step : {3, 64, 2000}) {
          const Ids barred = barred_ids(vocabulary, step);
          for (const std::int64_t count : {1, 2, 10, 300}) {
            for (std::int64_t row = 0; row < 3; ++row) {
              EXPECT_EQ(ids_of(scores.best(row, count, barred)),
                        choice_of(typed[row].to(at::kFloat), count, barred))
                  << vocabulary << " ids, " << count << " of them, every " << step << ". barred";
            }
          }
          std::vector<Logit> all;
          scores.append(1, 0, vocabulary + 9, barred, all);
          EXPECT_EQ(ids_of(all), choice_of(typed[1].to(at::kFloat), vocabulary, barred));
        }
      }
    }
  }
}

TEST(StepScores, ABlockWithoutAnIdToChooseIsPassedOver) {
  at::Tensor logits = at::zeros({1, 192});
  logits[0].slice(0, 64, 128).fill_(50.0);
  Ids barred{0, 2};
  for (std::int32_t id = 64; id < 128; ++id) barred.push_back(id);
  const StepScores scores(logits);
  EXPECT_EQ(ids_of(scores.best(0, 2, barred)), (Ids{1, 3}));
}

TEST(StepScores, LogPIsThatOfTheWholeRow) {
  for (const std::int64_t vocabulary : {7, 64, 130, 5000}) {
    const at::Tensor logits = test::normal({2, vocabulary}, 5) * 4;
    const at::Tensor want = at::log_softmax(logits.to(at::kDouble), 1);
    const StepScores scores(logits);
    for (std::int64_t id = 0; id < vocabulary; ++id)
      EXPECT_NEAR(scores.log_probability(1, id), want[1][id].item<double>(), 2e-6);
  }
}

TEST(StepScores, ALogitThatIsNoNumberIsFoundAnywhere) {
  for (const std::int64_t vocabulary : {10, 64, 150}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
      for (std::int64_t at = 0; at < vocabulary; at += 9) {
        at::Tensor logits = test::normal({1, vocabulary}, 1);
        logits[0][at] = bad;
        EXPECT_THROW(StepScores{logits}, NumericsError) << at << " of " << vocabulary;
      }
    }
  }
}

}  // namespace
}  // namespace th::model
