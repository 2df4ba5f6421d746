// Draws against the distributions that they are of, by Pearson's chi-square, and what they may
// depend on.
#include <gtest/gtest.h>

#include "table_decoder.hpp"
#include "unit/model/small_model.hpp"

#include "model/decoding/sampling.hpp"

#include <map>
#include <numeric>
#include <set>
#include <string>

namespace th::model {
namespace {

using test::Ids;
using test::LogitTable;
using test::search_table;

constexpr std::int64_t kDraws = 100'000;

/// The value that chi-square of so many degrees of freedom exceeds once in 1,000 times (Wilson and
/// Hilferty 1931).
double chi_square_limit(double degrees) {
  const double v = 2.0 / (9.0 * degrees);
  return degrees * std::pow(1.0 - v + 3.0902 * std::sqrt(v), 3.0);
}

/// Fails where the counts are not those of the probabilities; ids that are hardly expected count as
/// one.
void expect_distribution(const std::map<std::int32_t, std::int64_t>& counts,
                         const std::map<std::int32_t, double>& want, const std::string& name) {
  std::int64_t total = 0;
  for (const auto& [id, count] : counts) {
    total += count;
    EXPECT_TRUE(want.contains(id)) << name << ": " << id << " was drawn " << count << " times";
  }
  double sum = 0, rare_seen = 0, rare_expected = 0;
  std::int64_t cells = 0;
  const auto add = [&](double seen, double expected) {
    if (expected == 0) return;
    sum += (seen - expected) * (seen - expected) / expected;
    ++cells;
  };
  for (const auto& [id, p] : want) {
    const double expected = p * static_cast<double>(total);
    const auto found = counts.find(id);
    const double seen = found == counts.end() ? 0 : static_cast<double>(found->second);
    if (expected < 10) {
      rare_seen += seen;
      rare_expected += expected;
    } else {
      add(seen, expected);
    }
  }
  add(rare_seen, rare_expected);
  if (cells < 2) return;
  EXPECT_LT(sum, chi_square_limit(static_cast<double>(cells - 1))) << name;
}

struct SamplingKind {
  std::string name;
  double temperature = 1;
  std::int64_t top_k = 0;
  double top_p = 1;
};
std::vector<SamplingKind> kinds() {
  return {{"all"},
          {"temperature", 0.5},
          {"hot", 3.0},
          {"top_k", 1.0, 10},
          {"top_p", 1.0, 0, 0.8},
          {"small top_p", 1.0, 0, 1e-9},
          {"top_k above the vocabulary", 1.0, 1000},
          {"top_k and top_p", 0.7, 30, 0.9},
          {"all of them, hot", 2.0, 12, 0.5}};
}

/// By the definition: softmax(logits / temperature) in fp64 over the ids that are not barred, cut
/// to the top_k likeliest, then to the fewest that hold top_p.
std::map<std::int32_t, double> distribution_of(const std::vector<float>& logits,
                                               const SamplingKind& kind,
                                               const std::set<std::int32_t>& barred) {
  std::vector<std::pair<double, std::int32_t>> all;  // (-weight, id): sorting puts likely ids first
  for (std::size_t v = 0; v < logits.size(); ++v) {
    if (!barred.contains(static_cast<std::int32_t>(v)))
      all.emplace_back(-std::exp(static_cast<double>(logits[v]) / kind.temperature),
                       static_cast<std::int32_t>(v));
  }
  std::sort(all.begin(), all.end());
  if (kind.top_k > 0 && kind.top_k < std::ssize(all))
    all.resize(static_cast<std::size_t>(kind.top_k));
  const auto sum_of = [&] {
    return std::accumulate(all.begin(), all.end(), 0.0,
                           [](double sum, const auto& entry) { return sum - entry.first; });
  };
  const double mass = kind.top_p * sum_of();
  double held = 0;
  std::size_t kept = 0;
  while (kept < all.size() && (kept == 0 || held < mass)) held -= all[kept++].first;
  if (kind.top_p < 1) all.resize(kept);
  const double sum = sum_of();
  std::map<std::int32_t, double> out;
  for (const auto& [weight, id] : all) out[id] = -weight / sum;
  return out;
}

SearchOptions options_of(const SamplingKind& kind) {
  SearchOptions options{.sampling = true};
  options.temperature = kind.temperature;
  options.top_k = kind.top_k;
  options.top_p = kind.top_p;
  return options;
}

TEST(DrawDistribution, HasTheFrequenciesOfItsDefinition) {
  const LogitTable table{300, 8.0};
  const std::vector<float> logits = table.after(4, {});
  at::Tensor row = empty({1, table.vocabulary}, at::kFloat);
  std::copy(logits.begin(), logits.end(), row.data_ptr<float>());
  const StepScores scores(row);
  const Ids barred{0, 2, 3, 17, 140};
  for (const SamplingKind& kind : kinds()) {
    const DrawDistribution distribution(scores, 0, options_of(kind), barred);
    const auto want = distribution_of(logits, kind, {barred.begin(), barred.end()});
    ASSERT_EQ(distribution.size(), std::ssize(want)) << kind.name;
    std::map<std::int32_t, std::int64_t> counts;
    for (std::uint64_t sentence = 0; sentence < kDraws; ++sentence)
      ++counts[distribution.at(uniform_at({7, sentence, 0, 0}))];
    expect_distribution(counts, want, kind.name);
  }
}

TEST(DrawDistribution, CoversTheUnitIntervalById) {
  at::Tensor row = at::zeros({1, 8});
  const StepScores scores(row);
  const Ids barred{0, 2, 5};
  const DrawDistribution distribution(scores, 0, {.sampling = true}, barred);
  const Ids want{1, 3, 4, 6, 7};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(distribution.at(0.2 * static_cast<double>(i) + 0.001), want[i]);
    EXPECT_EQ(distribution.at(0.2 * static_cast<double>(i) + 0.199), want[i]);
  }
  EXPECT_EQ(distribution.at(0.0), 1);
  EXPECT_EQ(distribution.at(1.0 - 0x1p-53), 7);
}

TEST(DrawDistribution, AlmostNoTemperatureDrawsTheLikeliest) {
  const LogitTable table{50};
  const std::vector<float> logits = table.after(1, {});
  at::Tensor row = empty({1, 50}, at::kFloat);
  std::copy(logits.begin(), logits.end(), row.data_ptr<float>());
  const StepScores scores(row);
  const std::vector<Logit> best = scores.best(0, 1, {});
  for (const double temperature : {1e-3, 1e-30, 1e-300, 4e-324}) {
    SearchOptions options{.sampling = true};
    options.temperature = temperature;
    const DrawDistribution distribution(scores, 0, options, {});
    for (const double u : {0.0, 0.3, 0.999}) EXPECT_EQ(distribution.at(u), best[0].id);
  }
}

TEST(UniformAt, IsUniformInEachOfItsPlaces) {
  const std::map<std::string, DrawPlace> steps{{"seed", {1, 0, 0, 0}},
                                               {"sentence", {0, 1, 0, 0}},
                                               {"draw", {0, 0, 1, 0}},
                                               {"position", {0, 0, 0, 1}}};
  std::map<std::int32_t, double> want;
  for (std::int32_t cell = 0; cell < 64; ++cell) want[cell] = 1.0 / 64;
  for (const auto& [name, step] : steps) {
    std::map<std::int32_t, std::int64_t> counts;
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      const auto n = static_cast<std::int64_t>(i);
      const double u = uniform_at(
          {5 + step.seed * i, 6 + step.sentence * i, 7 + step.draw * n, 8 + step.position * n});
      ASSERT_GE(u, 0.0);
      ASSERT_LT(u, 1.0);
      ++counts[static_cast<std::int32_t>(u * 64)];
    }
    expect_distribution(counts, want, name);
  }
}

TEST(Sampling, TranslationsHaveTheFrequenciesOfTheModel) {
  // The whole translations of up to two ids, of 100 sentences with the same source.
  Transformer model = test::make_model(test::small_section());
  test::RecordingSource source(model, 3, 0.2);
  data::Batch batch;
  for (int i = 0; i < 100; ++i) batch.append(Ids{4, 9, 5, 3}, Ids{});
  data::Batch one;
  one.append(Ids{4, 9, 5, 3}, Ids{data::kBegin, data::kEnd});
  const at::Tensor first = model.logits(source, one).to(at::kFloat).contiguous();
  const std::vector<float> logits(first.data_ptr<float>(), first.data_ptr<float>() + first.size(1));
  for (const SamplingKind& kind :
       {SamplingKind{"all"}, SamplingKind{"top_k", 0.8, 6}, SamplingKind{"top_p", 1.5, 0, 0.6}}) {
    SearchOptions options = options_of(kind);
    options.beam = options.best = kDraws / 100;
    options.max_length = 1;
    std::map<std::int32_t, std::int64_t> counts;
    for (const auto& draws : translate(model, source, batch, options)) {
      ASSERT_EQ(std::ssize(draws), options.beam);
      for (const Hypothesis& h : draws) ++counts[h.ids.empty() ? data::kEnd : h.ids[0]];
    }
    expect_distribution(counts, distribution_of(logits, kind, {data::kPad, data::kBegin}),
                        kind.name);
  }
}

TEST(Sampling, ASentencesDrawsDependOnItsNumberAlone) {
  const LogitTable table{40, 6.0, 1.0};
  SearchOptions options{.beam = 5, .max_length = 12, .best = 5, .sampling = true};
  options.top_k = 15;
  options.top_p = 0.95;
  const std::vector<std::uint64_t> sentences{11, 12, 13, 11};
  std::vector<SentenceOptions> of(4);
  for (std::size_t i = 0; i < 4; ++i) of[i].number = 100 + i * i;
  const auto together = search_table(table, sentences, options, of);
  const std::vector<std::vector<std::size_t>> orders{{3, 1, 0, 2}, {2, 0}, {1}, {3, 3}};
  for (const std::vector<std::size_t>& order : orders) {
    std::vector<std::uint64_t> names;
    std::vector<SentenceOptions> numbers;
    for (const std::size_t i : order) {
      names.push_back(sentences[i]);
      numbers.push_back(of[i]);
    }
    const auto again = search_table(table, names, options, numbers);
    for (std::size_t i = 0; i < order.size(); ++i) {
      ASSERT_EQ(again[i].size(), 5U);
      for (std::size_t h = 0; h < 5; ++h) {
        EXPECT_EQ(again[i][h].ids, together[order[i]][h].ids);
        EXPECT_EQ(again[i][h].log_prob, together[order[i]][h].log_prob);
      }
    }
  }
  EXPECT_NE(together[0][0].ids, together[3][0].ids) << "one source with two numbers";
  const SearchOptions before = options;
  options.seed = 2;
  EXPECT_NE(search_table(table, sentences, options, of)[0][0].ids, together[0][0].ids);
  options = before;
  options.beam = options.best = 2;  // the first draws of five
  const auto fewer = search_table(table, sentences, options, of);
  ASSERT_EQ(fewer[1].size(), 2U);
  for (const Hypothesis& h : fewer[1]) {
    const bool found = std::any_of(together[1].begin(), together[1].end(),
                                   [&](const Hypothesis& other) { return other.ids == h.ids; });
    EXPECT_TRUE(found);
  }
}

TEST(Sampling, DrawsAreSortedByTheModelsLogPAndFollowTheRules) {
  const LogitTable table{12, 6.0, 2.0};
  SearchOptions options{.beam = 40, .max_length = 8, .best = 40, .sampling = true};
  options.min_length = 2;
  options.no_repeat_ngram = 2;
  options.forbidden = {{7}, {4, 5}};
  options.temperature = 2;
  const SentenceOptions of{0, {6, 8}};
  const auto draws = search_table(table, {5}, options, std::span(&of, 1)).at(0);
  ASSERT_EQ(draws.size(), 40U);
  std::set<Ids> unlike;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    double log_prob = 0;
    Ids before;
    Ids ids = draws[i].ids;
    unlike.insert(ids);
    ids.push_back(data::kEnd);
    for (const std::int32_t id : ids) {
      const Ids allowed = test::continuations(before, options, of.prefix, table.vocabulary);
      ASSERT_NE(std::find(allowed.begin(), allowed.end(), id), allowed.end());
      log_prob += table.log_probabilities(5, before)[static_cast<std::size_t>(id)];
      before.push_back(id);
    }
    EXPECT_NEAR(draws[i].log_prob, log_prob, 1e-5);
    EXPECT_EQ(draws[i].score, draws[i].log_prob);
    if (i > 0) {
      EXPECT_LE(draws[i].score, draws[i - 1].score);
    }
  }
  EXPECT_GT(unlike.size(), 20U);
}

}  // namespace
}  // namespace th::model
