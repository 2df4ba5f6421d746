// Decoding step by step against the whole prefix computed anew, and beam search against searches
// spelled out with Transformer::logits.
#include <gtest/gtest.h>

#include "th/base/error.hpp"
#include "th/model/decoding/decoding.hpp"
#include "unit/model/small_model.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <tuple>

namespace th::model {
namespace {

using Ids = std::vector<std::int32_t>;
using test::make_batch;
using test::make_model;
using test::RecordingSource;
using test::small_section;

constexpr std::int64_t kFew =
    6;  // a vocabulary that can be searched through: two words beside the special ids

data::Batch sources_of(const std::vector<Ids>& sources) {
  data::Batch batch;
  for (const Ids& ids : sources) batch.append(ids, Ids{data::kBegin, data::kEnd});
  return batch;
}

/// Row r: the source of sentence rows[r] and the decoder inputs begin + prefixes[r]; labels:
/// prefixes[r] + end.
data::Batch prefix_batch(const data::Batch& batch, const std::vector<std::size_t>& rows,
                         const std::vector<Ids>& prefixes) {
  data::Batch out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const data::Batch one = test::only(batch, rows[r]);
    Ids target{data::kBegin};
    target.insert(target.end(), prefixes[r].begin(), prefixes[r].end());
    target.push_back(data::kEnd);
    out.append(Ids(one.source.begin(), one.source.end()), target);
  }
  return out;
}

/// log p(ids, end | source of the sentence) in fp64, from the logits of the whole prefix.
std::vector<double> log_probs(Transformer& model, RecordingSource& source, const data::Batch& batch,
                              std::size_t sentence, const std::vector<Ids>& targets) {
  const data::Batch all =
      prefix_batch(batch, std::vector<std::size_t>(targets.size(), sentence), targets);
  const at::Tensor p = at::log_softmax(model.logits(source, all).to(at::kDouble), 1);
  std::vector<double> sums(targets.size(), 0.0);
  std::int64_t row = 0;
  for (std::size_t r = 0; r < targets.size(); ++r) {
    for (std::size_t t = 0; t <= targets[r].size(); ++t, ++row) {
      const std::int64_t id = t < targets[r].size() ? targets[r][t] : data::kEnd;
      sums[r] += p[row][id].item<double>();
    }
  }
  return sums;
}

using Shape = std::tuple<config::Norm, bool>;
class Decoding : public testing::TestWithParam<Shape> {
 protected:
  [[nodiscard]] static config::ModelSection section() {
    return small_section(std::get<0>(GetParam()), std::get<1>(GetParam()));
  }
  [[nodiscard]] static Transformer few_words() {
    return {{section(), kFew, kFew, test::kMaxLength}, GemmLibrary::kOnednn};
  }
};
INSTANTIATE_TEST_SUITE_P(Models, Decoding,
                         testing::Combine(testing::Values(config::Norm::kPre, config::Norm::kPost),
                                          testing::Bool()),
                         [](const auto& p) {
                           return std::string(std::get<0>(p.param) == config::Norm::kPre ? "pre"
                                                                                         : "post") +
                                  (std::get<1>(p.param) ? "_tied" : "_untied");
                         });

/// Largest error of a step's logits over rows that branch, change places and leave; in units of the
/// largest logit.
double error_of_steps(Transformer& model, RecordingSource& source) {
  const data::Batch batch = make_batch({6, 3, 8}, {1, 1, 1});
  const std::vector<std::vector<std::int64_t>> parents{
      {0, 1, 2}, {0, 0, 1, 2, 2}, {1, 0, 2, 4, 3}, {0, 2, 2, 4}, {3, 1}, {0, 0, 1}, {2}};
  double most = 0;
  std::vector<std::size_t> sentences;
  std::vector<Ids> prefixes;
  IncrementalDecoder decoder(model, source, batch, 2, std::ssize(parents));
  for (std::size_t step = 0; step < parents.size(); ++step) {
    std::vector<std::size_t> next_sentences;
    std::vector<Ids> next;
    Ids inputs;
    for (std::size_t r = 0; r < parents[step].size(); ++r) {
      const auto parent = static_cast<std::size_t>(parents[step][r]);
      next_sentences.push_back(step == 0 ? parent : sentences[parent]);
      next.push_back(step == 0 ? Ids() : prefixes[parent]);
      inputs.push_back(step == 0 ? data::kBegin
                                 : static_cast<std::int32_t>(4 + (7 * step + 5 * r) % 19));
      if (step > 0) next.back().push_back(inputs.back());
    }
    sentences = next_sentences;
    prefixes = next;
    const at::Tensor got = decoder.step(inputs, parents[step]).values;
    const auto length = static_cast<std::int64_t>(step) + 1;
    const at::Tensor whole = model.logits(source, prefix_batch(batch, sentences, prefixes));
    const at::Tensor want = whole.reshape({-1, length, whole.size(1)}).select(1, length - 1);
    most = std::max(most, test::relative_error(got, want));
  }
  return most;
}

TEST_P(Decoding, StepsAgreeWithTheWholePrefix) {
  Transformer model = make_model(section());
  RecordingSource source(model);
  EXPECT_LT(error_of_steps(model, source), 1e-5);  // fp32, sums of up to 32 terms in another order
  EXPECT_TRUE(source.all_closed());
}

/// Kinds of attention and of positions, with windows shorter than the steps.
std::vector<TransformerSpec> decoding_kinds() {
  using config::Attention;
  std::vector<TransformerSpec> all;
  const auto add = [&](const auto& change, double ratio = 1) {
    TransformerSpec spec{small_section(), test::kVocabulary, test::kVocabulary, test::kMaxLength,
                         ratio};
    change(spec.model);
    all.push_back(spec);
  };
  const auto local = [](config::ModelSection& m) {
    m.encoder_attention = m.decoder_attention = m.cross_attention = Attention::kLocal;
    m.attention_window = 2;
  };
  add([](config::ModelSection& m) {
    m.decoder_attention = Attention::kLocal;
    m.attention_window = 2;
  });
  for (const double ratio : {0.4, 1.0, 2.5}) add(local, ratio);
  add([](config::ModelSection& m) { m.cross_downsample = 3; });
  add([&](config::ModelSection& m) { local(m), m.cross_downsample = 2; }, 1.25);
  add([](config::ModelSection& m) { m.position = config::Position::kAlibi; });
  add([](config::ModelSection& m) { m.position = config::Position::kRope; });
  add([&](config::ModelSection& m) { local(m), m.position = config::Position::kRope; });
  return all;
}

TEST(DecodingOfKinds, StepsAgreeWithTheWholePrefix) {
  int number = 0;
  for (const TransformerSpec& spec : decoding_kinds()) {
    Transformer model(spec, GemmLibrary::kOnednn);
    RecordingSource source(model);
    EXPECT_LT(error_of_steps(model, source), 1e-5) << number++;
  }
}

TEST_P(Decoding, StepsOfShortTypesAgreeWithTheWholePrefix) {
  // The whole prefix rounds attention scores and weights, a step does not; through three layers
  // that adds up to a few units of the type.
  for (const auto& [type, units] :
       std::map<at::ScalarType, double>{{at::kBFloat16, 0x1p-8}, {at::kHalf, 0x1p-11}}) {
    Transformer model = make_model(section());
    RecordingSource source(model);
    for (UnitTensors& unit : source.units()) {
      for (at::Tensor& value : unit.values) value = value.to(type);
    }
    EXPECT_LT(error_of_steps(model, source), 8 * units) << type;
  }
}

/// Whether a search may choose an id that is not the end: padding and begin are no text.
bool is_text(std::int32_t id) { return id != data::kPad && id != data::kBegin && id != data::kEnd; }

/// Every target of at most `longest` ids that are text.
std::vector<Ids> all_targets(std::size_t longest) {
  std::vector<Ids> all{{}};
  for (std::size_t begin = 0; all[begin].size() < longest; ++begin) {
    for (std::int32_t id = 0; id < kFew; ++id) {
      if (!is_text(id)) continue;
      Ids longer = all[begin];
      longer.push_back(id);
      all.push_back(std::move(longer));
    }
  }
  return all;
}

TEST_P(Decoding, WideBeamFindsWhatAnExhaustiveSearchFinds) {
  Transformer model = few_words();
  const std::vector<Ids> targets = all_targets(3);
  ASSERT_EQ(targets.size(), 40U);  // 1 + 3 + 9 + 27
  const data::Batch batch = sources_of({{4, 5, 5, 3}, {5, 3}});
  for (const double alpha : {0.0, 1.0}) {
    RecordingSource source(model, alpha == 0.0 ? 3 : 4);
    const auto all = translate(model, source, batch, {40, alpha, 3, 40});
    const auto one = translate(model, source, batch, {40, alpha, 3, 1});
    for (std::size_t sentence = 0; sentence < 2; ++sentence) {
      const std::vector<double> p = log_probs(model, source, batch, sentence, targets);
      std::map<Ids, double> want;
      double best = -std::numeric_limits<double>::infinity();
      for (std::size_t i = 0; i < targets.size(); ++i) {
        want[targets[i]] = p[i];
        best = std::max(best, p[i] / length_penalty(std::ssize(targets[i]) + 1, alpha));
      }
      ASSERT_EQ(all[sentence].size(), targets.size());
      double before = 0;
      for (const Hypothesis& h : all[sentence]) {
        ASSERT_TRUE(want.contains(h.ids));
        EXPECT_NEAR(h.log_prob, want.at(h.ids), 1e-4);  // fp32 logits of size 10, four of them
        EXPECT_DOUBLE_EQ(h.score, h.log_prob / length_penalty(std::ssize(h.ids) + 1, alpha));
        EXPECT_LE(h.score, before);
        before = h.score;
        want.erase(h.ids);
      }
      EXPECT_NEAR(all[sentence][0].score, best, 1e-4);
      ASSERT_EQ(one[sentence].size(), 1U);
      EXPECT_EQ(one[sentence][0].ids, all[sentence][0].ids);
    }
  }
}

/// Beam search with whole prefixes, every candidate and no early end. The best finished hypothesis.
Ids plain_beam_search(Transformer& model, RecordingSource& source, const data::Batch& batch,
                      std::size_t sentence, const SearchOptions& o) {
  struct Row {
    Ids ids;
    double p;
  };
  std::vector<Row> live{{{}, 0}}, finished;
  for (std::int64_t length = 0; length <= o.max_length; ++length) {
    std::vector<Ids> prefixes;
    for (const Row& row : live) prefixes.push_back(row.ids);
    const at::Tensor logits = model.logits(
        source, prefix_batch(batch, std::vector<std::size_t>(live.size(), sentence), prefixes));
    const at::Tensor p = at::log_softmax(logits.to(at::kDouble), 1)
                             .reshape({std::ssize(live), length + 1, logits.size(1)})
                             .select(1, length);
    std::vector<Row> candidates;
    for (std::size_t r = 0; r < live.size(); ++r) {
      for (std::int32_t id = 0; id < logits.size(1); ++id) {
        if (!is_text(id) && id != data::kEnd) continue;
        candidates.push_back(
            {live[r].ids, live[r].p + p[static_cast<std::int64_t>(r)][id].item<double>()});
        candidates.back().ids.push_back(id);
      }
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Row& a, const Row& b) { return a.p > b.p; });
    live.clear();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const bool ends = candidates[i].ids.back() == data::kEnd;
      if (ends && (static_cast<std::int64_t>(i) < o.beam || length == o.max_length))
        finished.push_back(candidates[i]);
      if (!ends && std::ssize(live) < o.beam) live.push_back(candidates[i]);
    }
  }
  const auto score = [&](const Row& row) {
    return row.p / length_penalty(std::ssize(row.ids), o.length_penalty);
  };
  Ids best = std::max_element(finished.begin(), finished.end(), [&](const Row& a, const Row& b) {
               return score(a) < score(b);
             })->ids;
  best.pop_back();
  return best;
}

TEST_P(Decoding, NarrowBeamsWithEarlyEndsFindWhatAPlainSearchFinds) {
  Transformer model = make_model(section());
  const data::Batch batch = make_batch({6, 3, 8}, {1, 1, 1});
  std::size_t unlike_greedy = 0;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    RecordingSource source(model, seed, 0.15);
    test::data(source.value("output_projection.bias"))[data::kEnd] += 1.0F;
    const auto greedy = translate(model, source, batch, {1, 1.0, 7, 1});
    for (const std::int64_t beam : {2, 5}) {
      for (const double alpha : {0.0, 0.6, 2.0}) {
        const SearchOptions options{beam, alpha, 7, 1};
        const auto got = translate(model, source, batch, options);
        for (std::size_t i = 0; i < got.size(); ++i) {
          EXPECT_EQ(got[i].at(0).ids, plain_beam_search(model, source, batch, i, options))
              << "seed " << seed << " beam " << beam << " alpha " << alpha;
          unlike_greedy += got[i][0].ids != greedy[i][0].ids ? 1 : 0;
        }
      }
    }
    EXPECT_TRUE(source.all_closed());
  }
  EXPECT_GT(unlike_greedy, 0U);  // else the test shows nothing about beams
}

TEST_P(Decoding, SentencesAreSearchedAsIfTheyWereAlone) {
  Transformer model = make_model(section());
  RecordingSource source(model, 5, 0.2);
  const data::Batch batch = make_batch({6, 3, 8, 1, 5}, {1, 1, 1, 1, 1});
  const SearchOptions options{4, 1.0, 9, 4};
  const auto together = translate(model, source, batch, options);
  for (std::size_t i = 0; i < together.size(); ++i) {
    data::Batch one = prefix_batch(batch, {i}, {{}});
    const auto alone = translate(model, source, one, options);
    ASSERT_EQ(together[i].size(), 4U);
    for (std::size_t h = 0; h < 4; ++h) {
      EXPECT_EQ(together[i][h].ids, alone[0][h].ids) << "sentence " << i;
      EXPECT_NEAR(together[i][h].score, alone[0][h].score,
                  1e-5);  // fp32 products of another row count
    }
  }
}

TEST_P(Decoding, GreedyDoesNotDependOnTheLengthPenalty) {
  Transformer model = make_model(section());
  RecordingSource source(model, 2);
  const data::Batch batch = make_batch({6, 3}, {1, 1});
  const auto a = translate(model, source, batch, {1, 0.0, 9, 1}),
             b = translate(model, source, batch, {1, 5.0, 9, 1});
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].at(0).ids, b[i].at(0).ids);
}

TEST_P(Decoding, ScoresOfTargetsAreThoseOfTheHypotheses) {
  Transformer model = make_model(section());
  RecordingSource source(model, 7);
  const data::Batch batch = make_batch({6, 3, 8}, {1, 1, 1});
  const auto results = translate(model, source, batch, {3, 1.0, 9, 1});
  std::vector<Ids> targets;
  for (const auto& hypotheses : results) targets.push_back(hypotheses.at(0).ids);
  const std::vector<double> scores =
      score_targets(model, source, prefix_batch(batch, {0, 1, 2}, targets));
  for (std::size_t i = 0; i < targets.size(); ++i) {
    EXPECT_NEAR(scores[i], results[i][0].log_prob, 1e-4);  // fp32 logits, ten of them
    EXPECT_NEAR(scores[i], log_probs(model, source, batch, i, {targets[i]})[0], 1e-5);
  }
}

TEST_P(Decoding, PaddingAndBeginAreNeverChosenAndLogPStaysTheModels) {
  Transformer model = make_model(section());
  RecordingSource source(model, 7);
  for (const std::int32_t id : {data::kPad, data::kBegin})
    test::data(source.value("output_projection.bias"))[id] += 20.0F;
  const data::Batch batch = make_batch({6, 3, 8}, {1, 1, 1});
  for (const std::int64_t beam : {1, 4}) {
    const auto results = translate(model, source, batch, {beam, 1.0, 9, beam});
    for (std::size_t i = 0; i < results.size(); ++i) {
      for (const Hypothesis& h : results[i]) {
        EXPECT_TRUE(std::all_of(h.ids.begin(), h.ids.end(), is_text));
        EXPECT_LT(h.log_prob, -10.0);  // nearly all probability is with the two
        EXPECT_NEAR(h.log_prob, log_probs(model, source, batch, i, {h.ids})[0], 1e-3);
      }
    }
  }
}

TEST(DecodingErrors, LogitsThatAreNoNumbersAreAnError) {
  Transformer model = make_model(small_section());
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    RecordingSource source(model);
    test::data(source.value("output_projection.bias"))[7] = bad;
    EXPECT_THROW((void)translate(model, source, make_batch({4}, {1}), {2, 1.0, 5, 1}),
                 NumericsError);
  }
}

TEST(DecodingErrors, NoSentencesGiveNoTranslations) {
  Transformer model = make_model(small_section());
  RecordingSource source(model);
  EXPECT_TRUE(translate(model, source, data::Batch{}, {2, 1.0, 5, 1}).empty());
}

TEST(LengthPenalty, IsThatOfWuEtAl) {
  EXPECT_EQ(length_penalty(1, 0.7), 1.0);
  EXPECT_EQ(length_penalty(20, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(length_penalty(7, 1.0), 2.0);
  EXPECT_DOUBLE_EQ(length_penalty(19, 0.5), 2.0);
}

}  // namespace
}  // namespace th::model
