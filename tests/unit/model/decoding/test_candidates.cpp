// Candidates of a sentence: logits of some ids against those of all, and searches among them, whose
// bits are the sentence's own.
#include <gtest/gtest.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "model/decoding/step_scores.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/model/decoding/ensemble.hpp"
#include "th/model/products/gemm.hpp"
#include "unit/model/small_model.hpp"

namespace th::model {
namespace {

using Ids = std::vector<std::int32_t>;
using test::make_batch;
using test::normal;
using test::RecordingSource;
using test::relative_error;
using test::same_bits;

/// About every `step`-th id, by a hash; the unknown word and the end always.
Ids some_ids(std::int64_t vocabulary, std::uint64_t key, std::uint64_t step) {
  Ids ids{data::kUnknown, data::kEnd};
  for (std::int32_t id = 4; id < vocabulary; ++id) {
    if (hash_pair(key, static_cast<std::uint64_t>(id)) % step == 0) ids.push_back(id);
  }
  return ids;
}

at::Tensor index_of(const Ids& ids) {
  return at::tensor(std::vector<std::int64_t>(ids.begin(), ids.end()));
}

/// Rows of groups of the given sizes, with ids of their own.
struct Chosen {
  Chosen(const std::vector<std::int64_t>& counts, std::int64_t vocabulary) {
    std::int64_t first = 0;
    for (std::size_t g = 0; g < counts.size(); ++g)
      ids.push_back(some_ids(vocabulary, static_cast<std::uint64_t>(ids.size()), 3));
    for (std::size_t g = 0; g < counts.size(); ++g) {
      groups.push_back({first, counts[g], ids[g]});
      first += counts[g];
    }
  }
  /// Those of whole rows of logits.
  [[nodiscard]] at::Tensor of(const at::Tensor& logits) const {
    std::vector<at::Tensor> parts;
    for (const ChosenRows& group : groups)
      parts.push_back(logits.narrow(0, group.first, group.count)
                          .index_select(1, index_of({group.ids.begin(), group.ids.end()}))
                          .reshape({-1}));
    return at::cat(parts);
  }
  std::vector<Ids> ids;
  std::vector<ChosenRows> groups;
};

class ChosenOutputs : public testing::TestWithParam<at::ScalarType> {
 protected:
  const Gemm gemm = Gemm(GemmLibrary::kMkl).rowwise(WeightLife::kStay);
};
INSTANTIATE_TEST_SUITE_P(Types, ChosenOutputs,
                         testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& p) { return std::string(at::toString(p.param)); });

TEST_P(ChosenOutputs, AreElementsOfTheWholeProduct) {
  for (const auto& [k, n] :
       {std::pair{1L, 9L}, {7L, 64L}, {16L, 65L}, {96L, 300L}, {500L, 1000L}}) {
    const Chosen chosen({1, 3, 2, 1}, n);
    const at::Tensor x = normal({7, k}, 1).to(GetParam()),
                     weight = normal({n, k}, 2).to(GetParam()),
                     bias = normal({n}, 3).to(GetParam());
    const at::Tensor whole =
        at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t()) + bias.to(at::kDouble);
    // fp32 sums, of 16-bit operands too.
    const at::Tensor got = gemm.forward_chosen(x, weight, bias, chosen.groups);
    EXPECT_LT(relative_error(got, chosen.of(whole)), 2e-6) << k << " " << n;
    const at::Tensor without = gemm.forward_chosen(x, weight, {}, chosen.groups);
    EXPECT_LT(relative_error(without, chosen.of(whole - bias.to(at::kDouble))), 2e-6);
  }
}

/// Whether each element is the same bits with other rows, other ids, and more threads.
void expect_own_bits(const Gemm& gemm, at::ScalarType type) {
  constexpr std::int64_t kOutputs = 700, kInputs = 130;
  const at::Tensor x = normal({9, kInputs}, 1).to(type),
                   weight = normal({kOutputs, kInputs}, 2).to(type),
                   bias = normal({kOutputs}, 3).to(type);
  Ids every;
  for (std::int32_t id = 0; id < kOutputs; ++id) every.push_back(id);
  const std::vector<ChosenRows> whole{{0, 9, every}};
  const at::Tensor all = gemm.forward_chosen(x, weight, bias, whole).reshape({9, kOutputs});
  const Chosen chosen({2, 1, 4, 2}, kOutputs);
  EXPECT_TRUE(same_bits(gemm.forward_chosen(x, weight, bias, chosen.groups), chosen.of(all)));
  for (std::int64_t row = 0; row < 9; ++row) {
    const Ids ids = some_ids(kOutputs, static_cast<std::uint64_t>(row) + 50, 9);
    const std::vector<ChosenRows> alone{{0, 1, ids}};
    EXPECT_TRUE(same_bits(gemm.forward_chosen(x.narrow(0, row, 1), weight, bias, alone),
                          all[row].index_select(0, index_of(ids))));
  }
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 5}) {
    at::set_num_threads(count);
    EXPECT_TRUE(same_bits(gemm.forward_chosen(x, weight, bias, chosen.groups), chosen.of(all)));
  }
  at::set_num_threads(threads);
}

TEST_P(ChosenOutputs, DependOnTheirTwoRowsAlone) { expect_own_bits(gemm, GetParam()); }

TEST(ChosenOutputsInInt8, AreTheBitsOfTheWholeProduct) {
  if (!has_int8_products()) GTEST_SKIP() << "the processor has no AVX-512 with VNNI";
  const Gemm gemm = Gemm(GemmLibrary::kMkl).quantized();
  for (const auto& [k, n] : {std::pair{1L, 9L}, {17L, 65L}, {64L, 64L}, {130L, 300L}}) {
    const Chosen chosen({1, 3, 2, 1}, n);
    at::Tensor x = normal({7, k}, 1);
    const at::Tensor weight = normal({n, k}, 2), bias = normal({n}, 3);
    x[2].zero_();
    EXPECT_TRUE(same_bits(gemm.forward_chosen(x, weight, bias, chosen.groups),
                          chosen.of(gemm.forward(x, weight, bias))))
        << k << " " << n;
    x[4][0].fill_(std::numeric_limits<float>::infinity());
    EXPECT_TRUE(at::isfinite(gemm.forward_chosen(x, weight, bias, chosen.groups))
                    .logical_not()
                    .any()
                    .item<bool>());
  }
  expect_own_bits(gemm, at::kFloat);
}

TEST(StepScoresOfCandidates, AreThoseOfARowThatHasNoOtherIds) {
  const at::Tensor logits = normal({2, 200}, 4);
  const std::vector<Ids> ids{some_ids(200, 1, 2), some_ids(200, 2, 30)};
  const std::vector<at::Tensor> rows{logits[0].index_select(0, index_of(ids[0])),
                                     logits[1].index_select(0, index_of(ids[1]))};
  const StepScores scores(StepLogits(at::cat(rows), {ids[0], ids[1]}));
  const Ids barred{data::kPad, data::kBegin, data::kEnd, 17, 18, 19, 90};
  for (std::int64_t r = 0; r < 2; ++r) {
    const auto& own = ids[static_cast<std::size_t>(r)];
    const at::Tensor& row = rows[static_cast<std::size_t>(r)];
    const at::Tensor want = at::log_softmax(row.to(at::kDouble), 0);
    ASSERT_EQ(scores.columns(r), std::ssize(own));
    for (std::size_t i = 0; i < own.size(); ++i)
      EXPECT_NEAR(scores.log_probability(r, own[i]),
                  want[static_cast<std::int64_t>(i)].item<double>(), 1e-5);
    std::vector<Logit> all;
    scores.append(r, 0, 200, barred, all);
    std::vector<Logit> want_all;
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (!std::binary_search(barred.begin(), barred.end(), own[i]))
        want_all.push_back({row[static_cast<std::int64_t>(i)].item<float>(), own[i]});
    }
    const auto same = [](const Logit& a, const Logit& b) {
      return a.id == b.id && a.value == b.value;
    };
    EXPECT_TRUE(std::equal(all.begin(), all.end(), want_all.begin(), want_all.end(), same));
    std::sort(want_all.begin(), want_all.end(), likelier);
    for (const std::int64_t count : {1, 3, 1000}) {
      std::vector<Logit> best = scores.best(r, count, barred);
      std::sort(best.begin(), best.end(), likelier);
      const auto n = std::min(count, std::ssize(want_all));
      EXPECT_TRUE(
          std::equal(best.begin(), best.end(), want_all.begin(), want_all.begin() + n, same));
    }
  }
  EXPECT_THROW((void)scores.log_probability(0, data::kPad), InternalError);
}

class CandidateSearch : public testing::Test {
 protected:
  Transformer model = test::make_model(test::small_section());
  RecordingSource source{model, 3};
  const data::Batch batch = make_batch({6, 3, 8, 1, 5}, {1, 1, 1, 1, 1});
  std::vector<SentenceOptions> sentences = [] {
    std::vector<SentenceOptions> all;
    for (std::uint64_t b = 0; b < 5; ++b) {
      all.push_back({.number = b, .prefix = {}});
      all.back().candidates = std::make_shared<const Ids>(some_ids(test::kVocabulary, b, 3));
    }
    return all;
  }();
  using Results = std::vector<std::vector<Hypothesis>>;

  static void expect_same(const std::vector<Hypothesis>& a, const std::vector<Hypothesis>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].ids, b[i].ids);
      EXPECT_EQ(a[i].log_prob, b[i].log_prob);
      EXPECT_EQ(a[i].score, b[i].score);
    }
  }
  /// log p of ids and end over a sentence's candidates, by whole logits.
  double log_prob_of(std::size_t b, const Ids& ids) {
    data::Batch forced;
    const data::Batch one = test::only(batch, b);
    Ids target{data::kBegin};
    target.insert(target.end(), ids.begin(), ids.end());
    target.push_back(data::kEnd);
    forced.append(Ids(one.source.begin(), one.source.end()), target);
    const Ids& own = *sentences[b].candidates;
    const at::Tensor all = at::log_softmax(
        model.logits(source, forced).index_select(1, index_of(own)).to(at::kDouble), 1);
    double sum = 0;
    for (std::size_t t = 1; t < target.size(); ++t) {
      const auto place = std::lower_bound(own.begin(), own.end(), target[t]) - own.begin();
      sum += all[static_cast<std::int64_t>(t - 1)][place].item<double>();
    }
    return sum;
  }
};

TEST_F(CandidateSearch, WritesCandidatesAloneAndCountsProbabilityOverThem) {
  for (const std::int64_t beam : {1, 4}) {
    const Results found =
        translate(model, source, batch, {.beam = beam, .max_length = 9, .best = beam}, sentences);
    for (std::size_t b = 0; b < found.size(); ++b) {
      const Ids& own = *sentences[b].candidates;
      for (const Hypothesis& h : found[b]) {
        for (const std::int32_t id : h.ids)
          EXPECT_TRUE(std::binary_search(own.begin(), own.end(), id));
        EXPECT_NEAR(h.log_prob, log_prob_of(b, h.ids), 1e-4);
      }
    }
  }
  EXPECT_TRUE(source.all_closed());
}

TEST_F(CandidateSearch, WithAllIdsFindsWhatASearchWithoutThemFinds) {
  Ids every;
  for (std::int32_t id = 0; id < test::kVocabulary; ++id) every.push_back(id);
  for (SentenceOptions& s : sentences) s.candidates = std::make_shared<const Ids>(every);
  const SearchOptions options{.beam = 4, .max_length = 9, .best = 4};
  const Results want = translate(model, source, batch, options);
  const Results got = translate(model, source, batch, options, sentences);
  for (std::size_t b = 0; b < want.size(); ++b) {
    ASSERT_EQ(got[b].size(), want[b].size());
    for (std::size_t i = 0; i < want[b].size(); ++i) {
      EXPECT_EQ(got[b][i].ids, want[b][i].ids);
      EXPECT_NEAR(got[b][i].log_prob, want[b][i].log_prob, 1e-4);
    }
  }
}

TEST_F(CandidateSearch, IsTheSameBitsAloneGreedyBeamAndSampled) {
  SearchOptions drawn{.beam = 3, .max_length = 9, .best = 3};
  drawn.sampling = true;
  drawn.top_p = 0.9;
  for (const SearchOptions& options :
       {SearchOptions{.max_length = 9}, SearchOptions{.beam = 4, .max_length = 9, .best = 4},
        drawn}) {
    const Results together = translate(model, source, batch, options, sentences);
    for (std::size_t b = 0; b < together.size(); ++b)
      expect_same(translate(model, source, test::only(batch, b), options,
                            std::span(sentences).subspan(b, 1))
                      .at(0),
                  together[b]);
  }
}

TEST_F(CandidateSearch, FollowsAPrefixAndEndsWhereNothingElseIsLeft) {
  sentences[1].candidates = std::make_shared<const Ids>(Ids{data::kUnknown, data::kEnd, 7, 9});
  sentences[1].prefix = {9, 7};
  SearchOptions options{.max_length = 9};
  options.min_length = 5;
  options.forbidden = {{data::kUnknown}, {7}, {9}};
  const Results found = translate(model, source, batch, options, sentences);
  EXPECT_EQ(found[1].at(0).ids, (Ids{9, 7}));
  sentences[1].prefix = {5};
  EXPECT_THROW((void)translate(model, source, batch, options, sentences), InternalError);
  sentences[2].candidates = nullptr;
  EXPECT_THROW((void)translate(model, source, batch, options, sentences), InternalError);
}

TEST_F(CandidateSearch, AnEnsembleOfTwoAlikeIsOneOfThem) {
  const std::vector<EnsembleMember> members{{model, source}, {model, source}};
  const SearchOptions options{.beam = 3, .max_length = 9, .best = 3};
  const Results want = translate(model, source, batch, options, sentences);
  BatchSearch search(make_ensemble(members, batch, 3, 10, candidates_of(sentences)), 5, 9, options,
                     sentences);
  while (!search.done()) search.step();
  const Results got = std::move(search).results();
  for (std::size_t b = 0; b < want.size(); ++b) {
    EXPECT_EQ(got[b].at(0).ids, want[b].at(0).ids);
    EXPECT_NEAR(got[b].at(0).log_prob, want[b].at(0).log_prob, 1e-4);
  }
}

}  // namespace
}  // namespace th::model
