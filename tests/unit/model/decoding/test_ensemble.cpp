// Decoding with several models against the mean of their probabilities, spelled out.
#include <gtest/gtest.h>

#include "th/base/error.hpp"
#include "th/model/decoding/ensemble.hpp"
#include "unit/model/small_model.hpp"

#include <limits>

namespace th::model {
namespace {

using test::RecordingSource;

/// The mean of the probabilities of decoder inputs [T, V], fp64.
at::Tensor mean_probabilities(std::span<const EnsembleMember> members, const data::Batch& batch) {
  at::Tensor sum;
  for (const EnsembleMember& member : members) {
    const at::Tensor p = at::softmax(member.model.logits(member.source, batch).to(at::kDouble), 1);
    sum = sum.defined() ? sum + p : p;
  }
  return sum / static_cast<double>(members.size());
}

/// Three models, one of another shape.
struct Ensemble {
  Transformer first = test::make_model(test::small_section());
  Transformer other = test::make_model(test::small_section(config::Norm::kPost, true));
  RecordingSource a{first, 1}, b{first, 2}, c{other, 3};
  std::vector<EnsembleMember> members{{first, a}, {first, b}, {other, c}};
};

TEST(Ensemble, StepsGiveTheLogarithmOfTheMeanOfProbabilities) {
  Ensemble e;
  const data::Batch batch = test::make_batch({6, 3, 8}, {2, 2, 2});
  const auto decoder = make_ensemble(e.members, batch, 1, 2);
  const std::vector<std::int64_t> rows{0, 1, 2};
  const at::Tensor begin =
      decoder->step(std::vector<std::int32_t>(3, data::kBegin), rows).values.to(at::kDouble);
  std::vector<std::int32_t> words;
  for (std::size_t i = 1; i < batch.target_in.size(); i += 2)
    words.push_back(static_cast<std::int32_t>(batch.target_in[i]));
  const at::Tensor next = decoder->step(words, rows).values.to(at::kDouble);
  const at::Tensor want = mean_probabilities(e.members, batch).reshape({3, 2, test::kVocabulary});
  // fp32 logits of three models: relative errors of 1e-5.
  EXPECT_TRUE(at::allclose(begin.exp(), want.select(1, 0), 1e-5, 1e-7));
  EXPECT_TRUE(at::allclose(next.exp(), want.select(1, 1), 1e-5, 1e-7));
}

TEST(Ensemble, ScoresAreSumsOverTheTargetsOfThoseProbabilities) {
  Ensemble e;
  const data::Batch batch = test::usual_batch();
  const std::vector<double> got = score_targets(e.members, batch);
  const at::Tensor log_p = mean_probabilities(e.members, batch).log();
  std::int64_t row = 0;
  for (std::size_t b = 0; b < got.size(); ++b) {
    double want = 0;
    for (std::int64_t t = 0; t < batch.target_lengths[b]; ++t, ++row)
      want += log_p[row][batch.target_out[static_cast<std::size_t>(row)]].item<double>();
    EXPECT_NEAR(got[b], want, 1e-4);
  }
}

TEST(Ensemble, LogitsThatAreNotFiniteAreAnError) {
  Ensemble e;
  e.b.value("output_projection.bias")[5] = std::numeric_limits<float>::infinity();
  EXPECT_THROW((void)score_targets(e.members, test::usual_batch()), NumericsError);
}

}  // namespace
}  // namespace th::model
