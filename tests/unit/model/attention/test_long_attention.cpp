// Attention of the host in one kernel for long sentences and rules of all kinds: against the
// formulas in fp64, and against its own order of sums written down plainly, which is one order for
// sentences that are taken whole and for those in blocks.
#include <cmath>

#include "host_exam.hpp"
#include "th/base/vector_math.hpp"

namespace th::model {
namespace {

using reference::AttentionCase;
using runtime::ScoreRule;
using test::attention_results;
using test::kCausal;
using test::kFull;
using test::Offsets;

constexpr float kSlopes[] = {0.25F, 0.0625F};

ScoreRule biased(ScoreRule rule) {
  rule.slopes = kSlopes;
  return rule;
}

/// Rules of all kinds, some with a bias.
const ScoreRule kWindow{ScoreRule::Kind::kLocal, 70, 70}, kBehind{ScoreRule::Kind::kLocal, 70, 0},
    kAcross{ScoreRule::Kind::kLocalCross, 90, 90, 3, 5 * ScoreRule::kRatioUnit / 4},
    kNarrow{ScoreRule::Kind::kLocal, 1, 0},
    kSparse{ScoreRule::Kind::kLocalCross, 1, 1, 1, 4 * ScoreRule::kRatioUnit};

std::vector<ScoreRule> rules() {
  return {kFull,   kCausal,       kWindow,         kBehind,
          kAcross, biased(kFull), biased(kCausal), biased(kWindow)};
}

std::string words(const AttentionCase& c) {
  return std::to_string(c.query_offsets.back()) + " queries, " +
         std::to_string(c.key_offsets.back()) + " keys, width " + std::to_string(c.width) +
         ", kind " + std::to_string(static_cast<int>(c.rule.kind)) +
         (c.rule.biased() ? ", biased" : "") + ", dropout " + std::to_string(c.rate);
}

template <typename T>
class LongAttention : public testing::Test {
 protected:
  void SetUp() override {
    if (!host_ops<float>().has<op::Attention<float>>())
      GTEST_SKIP() << "this processor has no AVX2";
  }
  static constexpr double kTolerance = std::is_same_v<T, float>  ? 2e-6
                                       : std::is_same_v<T, Bf16> ? 0.01
                                                                 : 0.002;
};
using Elements = testing::Types<float, Bf16, Fp16>;
TYPED_TEST_SUITE(LongAttention, Elements);

/// Runs every instruction set's table and compares their bits.
template <typename T>
void examine(const AttentionCase& c, double tolerance) {
  SCOPED_TRACE(words(c));
  const std::vector<T> narrow = attention_results(c, *host_ops_of<T>("avx2"), tolerance);
  if (const auto* wide = host_ops_of<T>("avx512"))
    reference::expect_same_bits(attention_results(c, *wide, tolerance), narrow, "wide tiles");
}

TYPED_TEST(LongAttention, IsThatOfTheFormulasForAllRules) {
  for (const ScoreRule& rule : rules()) {
    for (const float rate : {0.0F, 0.2F}) {
      examine<TypeParam>(
          {{0, 1, 8, 55, 103, 152, 452}, {0, 1, 8, 55, 103, 152, 452}, 2, 24, rule, rate},
          this->kTolerance);
      examine<TypeParam>({{0, 60, 360}, {0, 420, 710}, 1, 16, rule, rate}, this->kTolerance);
    }
  }
}

TYPED_TEST(LongAttention, HasTheSameBitsForAnyNumberOfThreadsAndAnyCompany) {
  const AttentionCase alone{{0, 290}, {0, 310}, 2, 16, kFull, 0.0F},
      together{{0, 290, 297, 700}, {0, 310, 330, 770}, 2, 16, kFull, 0.0F};
  const std::vector<TypeParam> one =
      attention_results(together, host_ops<TypeParam>(), this->kTolerance);
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  const std::vector<TypeParam> three =
      attention_results(together, host_ops<TypeParam>(), this->kTolerance);
  at::set_num_threads(before);
  reference::expect_same_bits(three, one, "three threads");
  // Random numbers begin alike, so the first sentence's queries are those of `alone`; so are its
  // keys.
  std::vector<TypeParam> first = attention_results(alone, host_ops<TypeParam>(), this->kTolerance),
                         same = one;
  first.resize(290 * 32);
  same.resize(290 * 32);
  reference::expect_same_bits(same, first, "in company");
}

using LongAttentionOfFloats = LongAttention<float>;

TEST_F(LongAttentionOfFloats, IsThatOfTheFormulasAroundTheLimits) {
  for (const std::int64_t length : {256, 257, 2048, 2049}) {
    examine<float>({{0, length}, {0, length}, 1, 16, kFull, 0.1F}, 4e-6);
    examine<float>({{0, length}, {0, length}, 1, 16, kCausal, 0.0F}, 4e-6);
    examine<float>({{0, 47}, {0, length}, 1, 16, kFull, 0.1F}, 4e-6);
  }
}

TEST_F(LongAttentionOfFloats, IsThatOfTheFormulasForFiveThousandKeys) {
  examine<float>({{0, 5000}, {0, 5000}, 1, 16, kBehind, 0.1F}, 4e-6);
  examine<float>({{0, 5000}, {0, 5000}, 1, 16, biased(kWindow), 0.0F}, 4e-6);
  examine<float>({{0, 100}, {0, 5000}, 1, 64, kFull, 0.1F}, 1e-5);
  examine<float>({{0, 5000}, {0, 100}, 1, 64, kFull, 0.0F}, 1e-5);
}

/// One head's results in the order of sums that the host's attention keeps for every length: one
/// fused multiply-add a step along width, keys or queries; maxima in any order; sums of a row in 16
/// lanes from the first key that it sees, joined by halves.
class PlainOrder {
 public:
  PlainOrder(const AttentionCase& c, std::vector<float> q, std::vector<float> kv,
             std::vector<float> g)
      : c_(c),
        q_(std::move(q)),
        kv_(std::move(kv)),
        g_(std::move(g)),
        out_(q_.size()),
        g_q_(q_.size()),
        g_kv_(kv_.size()) {
    for (std::int64_t t = 0; t < c.query_offsets.back(); ++t) query(t);
  }
  /// As AttentionExam::compare() returns them.
  [[nodiscard]] std::vector<float> results() const {
    std::vector<float> all = out_;
    all.insert(all.end(), g_q_.begin(), g_q_.end());
    all.insert(all.end(), g_kv_.begin(), g_kv_.end());
    return all;
  }

 private:
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
  template <typename F>
  static float lanes(std::int64_t n, const F& value) {
    float sums[16] = {};
    for (std::int64_t i = 0; i < n; ++i) sums[i % 16] += value(at(i));
    for (int half = 8; half > 0; half /= 2) {
      for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
    }
    return sums[0];
  }
  float product(const std::vector<float>& x, std::int64_t row, std::int64_t key,
                std::int64_t column) const {
    float sum = 0;
    for (std::int64_t d = 0; d < c_.width; ++d)
      sum = std::fma(x[at(row + d)], kv_[at(key * 2 * c_.width + column + d)], sum);
    return sum;
  }
  void add(std::vector<float>& to, std::int64_t row, float factor, const std::vector<float>& from,
           std::int64_t other) const {
    for (std::int64_t d = 0; d < c_.width; ++d)
      to[at(row + d)] = std::fma(factor, from[at(other + d)], to[at(row + d)]);
  }

  void query(std::int64_t t) {
    const DropoutDraws draws({91, c_.rate});
    const std::int64_t keys = c_.key_offsets.back(), w = c_.width, row = t * w;
    const runtime::PositionRange seen = c_.rule.keys(t, keys);
    const std::int64_t n = seen.end - seen.begin;
    if (n <= 0) return;
    std::vector<float> p(at(n)), factor(at(n), 1.0F), g(at(n));
    for (std::int64_t i = 0; i < n; ++i) {
      p[at(i)] = product(q_, row, seen.begin + i, 0) * 0.25F;
      if (c_.rule.biased()) p[at(i)] += c_.rule.bias(0, t, seen.begin + i);
      if (c_.rate != 0.0F) factor[at(i)] = draws.factor(t * keys + seen.begin + i);
    }
    const float top = *std::max_element(p.begin(), p.end());
    for (float& x : p) x = exp_fixed(x - top);
    const float inverse = 1.0F / lanes(n, [&](std::size_t i) { return p[i]; });
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t key = (seen.begin + i) * 2 * w;
      p[at(i)] = c_.rule.sees(t, seen.begin + i) ? p[at(i)] * inverse : 0.0F;
      const float dropped = p[at(i)] * factor[at(i)];
      add(out_, row, dropped, kv_, key + w);
      add(g_kv_, key + w, dropped, g_, row);
      g[at(i)] = product(g_, row, seen.begin + i, w) * factor[at(i)];
    }
    const float dot = lanes(n, [&](std::size_t i) { return p[i] * g[i]; });
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t key = (seen.begin + i) * 2 * w;
      const float g_score = p[at(i)] * (g[at(i)] - dot) * 0.25F;
      add(g_q_, row, g_score, kv_, key);
      add(g_kv_, key, g_score, q_, row);
    }
  }

  const AttentionCase& c_;
  std::vector<float> q_, kv_, g_, out_, g_q_, g_kv_;
};

TEST_F(LongAttentionOfFloats, KeepsOneOrderOfSumsAtEveryLength) {
  std::vector<AttentionCase> cases;
  for (const std::int64_t length : {49, 255, 256, 257, 300, 500})
    cases.push_back({{0, length}, {0, length}, 1, 16, kFull, 0.2F});
  for (const ScoreRule& rule : rules()) cases.push_back({{0, 270}, {0, 290}, 1, 24, rule, 0.2F});
  for (const std::int64_t length : {2048, 2049, 5000})
    cases.push_back({{0, 50}, {0, length}, 1, 16, kFull, 0.2F});
  cases.push_back({{0, 48}, {0, 2048}, 1, 64, kFull, 0.0F});
  // More keys than are laid out at a time, some of which no query sees.
  for (const ScoreRule& rule : {kWindow, kBehind, kNarrow, kSparse})
    cases.push_back({{0, 900}, {0, 4300}, 1, 24, rule, 0.2F});
  cases.push_back({{0, 2900}, {0, 2900}, 1, 16, kWindow, 0.0F});
  for (const AttentionCase& c : cases) {
    SCOPED_TRACE(words(c));
    const PlainOrder plain(c,
                           reference::random_elements<float>(c.query_offsets.back() * c.width, 5),
                           reference::random_elements<float>(c.key_offsets.back() * 2 * c.width, 6),
                           reference::random_elements<float>(c.query_offsets.back() * c.width, 7));
    reference::expect_same_bits(attention_results(c, host_ops<float>(), 1e-5), plain.results(),
                                "the plain order");
  }
}

TEST(ScratchOfAttention, DoesNotGrowWithTheLengthForALocalRule) {
  const auto of = [](std::int64_t length) {
    return runtime::host_attention_scratch(kWindow, length, length, 64);
  };
  EXPECT_EQ(of(131072), of(4096));
  // Five arrays of keys, of which 1,024 lie ahead of the 208 that 48 queries see.
  EXPECT_LT(runtime::long_attention_scratch(kWindow, 131072, 131072, 64),
            5 * 64 * (1024 + 208) + 96 * 1024);
}

TEST(ScratchOfAttention, IsEnoughForShorterSentences) {
  for (const ScoreRule& rule : rules()) {
    std::int64_t before = 0;
    for (const std::int64_t length : {1, 47, 48, 49, 256, 257, 1232, 1233, 2048, 2049, 5000}) {
      const std::int64_t room = runtime::host_attention_scratch(rule, length, length, 24);
      EXPECT_GE(room, before) << length;
      EXPECT_GE(room, runtime::host_attention_scratch(rule, 1, length, 24)) << length;
      before = room;
    }
  }
}

}  // namespace
}  // namespace th::model
