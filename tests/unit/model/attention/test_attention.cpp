// Multi-head attention against at::scaled_dot_product_attention in fp64, forward and every
// gradient.
#include <gtest/gtest.h>

#include "model/sublayers/attention.hpp"
#include "th/model/ops/host_ops.hpp"
#include "unit/model/block_parameters.hpp"

#include <cmath>
#include <string>
#include <vector>

namespace th::model {
namespace {

using test::leaf;
using test::normal;
using test::relative_error;
using test::same_bits;

// fp32 chains of four products with sums of up to 48 terms and a softmax, relative to the largest
// element.
constexpr double kAttentionTolerance = 5e-6;
constexpr std::int64_t kWidth = 24, kHeads = 3;

struct Case {
  std::string name;
  bool cross, causal, padded;
  std::int64_t queries, keys;
  float dropout;
  bool groups = false;  ///< two of them, in place of one
};

/// Three sentences; with `padded` of unlike numbers of keys (for self attention, of rows).
struct Problem {
  explicit Problem(const Case& c)
      : Problem(c, c.padded ? std::vector<std::int32_t>{static_cast<std::int32_t>(c.keys), 1,
                                                        static_cast<std::int32_t>(c.keys / 2 + 1)}
                            : std::vector<std::int32_t>(3, static_cast<std::int32_t>(c.keys))) {}
  Problem(const Case& c, std::vector<std::int32_t> key_lengths)
      : cross(c.cross),
        causal(c.causal),
        queries(c.queries),
        keys(c.keys),
        lengths(std::move(key_lengths)) {
    for (std::size_t b = 0; b < 3; ++b) {
      key_offsets.push_back(key_offsets.back() + lengths[b]);
      query_offsets.push_back(cross ? query_offsets.back() + queries : key_offsets.back());
    }
    const auto group = [&](std::int64_t first, std::int64_t count) {
      const std::int64_t longest =
          *std::max_element(lengths.begin() + first, lengths.begin() + first + count);
      groups.push_back({first, count, cross ? queries : longest, longest});
    };
    if (c.groups) {
      group(0, 1);
      group(1, 2);
    } else {
      groups.push_back({0, 3, queries, keys});
    }
    site = {groups,
            query_offsets.data(),
            key_offsets.data(),
            query_offsets.back(),
            key_offsets.back(),
            c.padded ? lengths.data() : nullptr,
            nullptr,
            {{c.causal ? runtime::ScoreRule::Kind::kCausal : runtime::ScoreRule::Kind::kFull}, {}},
            {99, c.dropout}};
    x = normal({site.query_rows, kWidth}, 50);
    if (cross) memory = normal({site.key_rows, kWidth}, 51);
    g = normal({site.query_rows, kWidth}, 52);
    g_memory = at::full({site.key_rows, kWidth}, kBefore);
  }
  Problem(const Problem&) = delete;  // the site points into the vectors
  Problem& operator=(const Problem&) = delete;
  ~Problem() = default;
  void forward(const PassContext& context) {
    y = Attention().forward(context, p.span(), {x, memory, site}, tape);
  }
  void backward(const PassContext& context) {
    g_x = Attention().backward(context, p.span(), g, {x, memory, site}, tape,
                               cross ? &g_memory : nullptr);
  }
  [[nodiscard]] at::Tensor allowed() const {
    at::Tensor m = at::zeros({3, 1, queries, keys}, at::kBool);
    for (std::int64_t b = 0; b < 3; ++b) {
      at::Tensor rows = m[b][0].narrow(1, 0, lengths[static_cast<std::size_t>(b)]);
      rows.fill_(true);
    }
    return causal ? m.logical_and(at::ones({queries, keys}, at::kBool).tril()) : m;
  }
  static constexpr float kBefore = 0.5F;
  bool cross, causal;
  std::int64_t queries, keys;
  std::vector<std::int32_t> lengths;
  std::vector<std::int64_t> query_offsets{0}, key_offsets{0};
  std::vector<AttentionGroup> groups;
  AttentionSite site;
  AttentionTape tape;
  at::Tensor x, memory, g, y, g_x, g_memory;
  test::BlockParameters p{{{3 * kWidth, kWidth}, {3 * kWidth}, {kWidth, kWidth}, {kWidth}}, 60};
};

/// Where packed rows lie in [3, length].
at::Tensor places(const std::vector<std::int64_t>& offsets, std::int64_t length) {
  std::vector<std::int64_t> rows;
  for (std::size_t b = 0; b + 1 < offsets.size(); ++b) {
    for (std::int64_t t = 0; t < offsets[b + 1] - offsets[b]; ++t)
      rows.push_back(static_cast<std::int64_t>(b) * length + t);
  }
  return at::tensor(rows, at::kLong);
}

/// The same block in fp64 over padded matrices from LibTorch's functions; `memory` is x for self
/// attention.
at::Tensor oracle(const Problem& problem, const at::Tensor& x, const at::Tensor& memory) {
  const auto& w = problem.p.leaves;
  const auto heads_of = [&](const at::Tensor& in, std::int64_t part,
                            const std::vector<std::int64_t>& offsets, std::int64_t length) {
    const at::Tensor y = at::linear(in, w[0].narrow(0, part * kWidth, kWidth),
                                    w[1].narrow(0, part * kWidth, kWidth));
    const at::Tensor padded =
        at::zeros({3 * length, kWidth}, at::kDouble).index_copy(0, places(offsets, length), y);
    return padded.view({3, length, kHeads, kWidth / kHeads}).transpose(1, 2);
  };
  const at::Tensor q = heads_of(x, 0, problem.query_offsets, problem.queries),
                   k = heads_of(memory, 1, problem.key_offsets, problem.keys),
                   v = heads_of(memory, 2, problem.key_offsets, problem.keys);
  at::Tensor out;
  if (problem.site.dropout.rate == 0.0F) {
    out = at::scaled_dot_product_attention(q, k, v, problem.allowed(), 0.0, false);
  } else {
    const at::Tensor scores =
        at::matmul(q, k.transpose(-1, -2)) / std::sqrt(static_cast<double>(kWidth / kHeads));
    const at::Tensor p =
        at::softmax(scores.masked_fill(problem.allowed().logical_not(), -INFINITY), -1);
    out = at::matmul(
        p * test::factors({3, kHeads, problem.queries, problem.keys}, problem.site.dropout), v);
  }
  const at::Tensor rows = out.transpose(1, 2)
                              .reshape({-1, kWidth})
                              .index_select(0, places(problem.query_offsets, problem.queries));
  return at::linear(rows, w[2], w[3]);
}

class AttentionBlocks : public testing::TestWithParam<std::tuple<GemmLibrary, Case, bool>> {
 protected:
  static PassContext context(const Gemm& gemm, bool keep_cheap) {
    PassContext out{&gemm, kHeads, true, std::get<1>(GetParam()).dropout, 1, keep_cheap};
    out.fused_attention = std::get<2>(GetParam());
    return out;
  }
};

TEST_P(AttentionBlocks, ForwardAndEveryGradientAgreeWithLibTorch) {
  const auto& [library, c, fused] = GetParam();
  Problem problem(c);
  const Gemm gemm(library);
  const PassContext pass = context(gemm, true);
  problem.forward(pass);
  problem.backward(pass);
  EXPECT_EQ(problem.tape.v.defined(), !(fused && host_ops<float>().has<op::Attention<float>>()));

  const at::Tensor x = leaf(problem.x), memory = c.cross ? leaf(problem.memory) : x;
  const at::Tensor want = oracle(problem, x, memory);
  want.backward(problem.g.to(at::kDouble));
  EXPECT_LT(relative_error(problem.y, want), kAttentionTolerance);
  EXPECT_LT(relative_error(problem.g_x, x.grad()), kAttentionTolerance);
  if (c.cross) {
    EXPECT_LT(
        relative_error(problem.g_memory, memory.grad() + static_cast<double>(Problem::kBefore)),
        kAttentionTolerance)
        << "added to what is there";
  }
  EXPECT_LT(problem.p.gradient_error(), kAttentionTolerance);
}

TEST_P(AttentionBlocks, KeepsOrComputesAgainWithTheSameBits) {
  const auto& [library, c, fused] = GetParam();
  const Gemm gemm(library);
  Problem keeping(c), sparing(c);
  for (Problem* problem : {&keeping, &sparing}) {
    const PassContext pass = context(gemm, problem == &keeping);
    problem->forward(pass);
    problem->backward(pass);
  }
  EXPECT_EQ(keeping.tape.probabilities.defined(),
            !(fused && host_ops<float>().has<op::Attention<float>>()));
  EXPECT_FALSE(sparing.tape.probabilities.defined())
      << "selective checkpointing keeps no matrix of T by S";
  EXPECT_TRUE(same_bits(keeping.y, sparing.y));
  EXPECT_TRUE(same_bits(keeping.g_x, sparing.g_x));
  EXPECT_TRUE(same_bits(keeping.g_memory, sparing.g_memory));
  for (std::size_t i = 0; i < keeping.p.gradients.size(); ++i)
    EXPECT_TRUE(same_bits(keeping.p.gradients[i], sparing.p.gradients[i])) << i;
}

const Case kCases[] = {{"self", false, false, false, 7, 7, 0.0F},
                       {"self_padded", false, false, true, 9, 9, 0.0F},
                       {"self_causal", false, true, false, 8, 8, 0.0F},
                       {"self_causal_padded", false, true, true, 8, 8, 0.0F},
                       {"self_one_token", false, true, false, 1, 1, 0.0F},
                       {"cross", true, false, false, 5, 11, 0.0F},
                       {"cross_padded", true, false, true, 17, 6, 0.0F},
                       {"cross_one_query", true, false, true, 1, 16, 0.0F},
                       {"self_dropout", false, true, false, 8, 8, 0.2F},
                       {"cross_dropout_padded", true, false, true, 5, 11, 0.2F},
                       {"self_groups", false, false, true, 9, 9, 0.0F, true},
                       {"self_causal_groups", false, true, true, 8, 8, 0.0F, true},
                       {"cross_groups", true, false, true, 17, 6, 0.0F, true}};

INSTANTIATE_TEST_SUITE_P(LibTorch, AttentionBlocks,
                         testing::Combine(testing::Values(GemmLibrary::kOnednn, GemmLibrary::kMkl),
                                          testing::ValuesIn(kCases), testing::Bool()),
                         [](const auto& p) {
                           return std::string(gemm_name(std::get<0>(p.param))) + "_" +
                                  std::get<1>(p.param).name +
                                  (std::get<2>(p.param) ? "_fused" : "_products");
                         });

class AttentionMasks : public testing::Test {
 protected:
  Gemm gemm_{GemmLibrary::kOnednn};
  PassContext context_{&gemm_, kHeads, true, 0, 1, true};
};

TEST_F(AttentionMasks, ASentenceWithoutKeysGivesTheOutputBiasAndNoNan) {
  Problem problem({"", true, false, true, 4, 6, 0.0F}, {6, 0, 4});
  problem.g_memory.zero_();
  problem.forward(context_);
  problem.backward(context_);
  EXPECT_TRUE(same_bits(problem.y.narrow(0, 4, 4), problem.p.values[3].expand({4, kWidth})));
  for (const at::Tensor& t : {problem.y, problem.g_x, problem.g_memory})
    EXPECT_TRUE(t.isfinite().all().item<bool>());
  for (const at::Tensor& t : problem.p.gradients) EXPECT_TRUE(t.isfinite().all().item<bool>());
}

TEST_F(AttentionMasks, GroupsDrawTheirOwnDropout) {
  Problem problem({"", false, false, true, 9, 9, 0.5F, true});
  EXPECT_EQ(problem.site.group_dropout(0).key, problem.site.dropout.key);
  EXPECT_NE(problem.site.group_dropout(1).key, problem.site.dropout.key);
  EXPECT_EQ(problem.site.group_dropout(1).rate, problem.site.dropout.rate);
}

/// With dropout the gradient of groups is that of each group's sentences alone, with that group's
/// draws.
TEST_F(AttentionMasks, AGroupIsAsIfItWereAlone) {
  const Case both{"", false, true, true, 9, 9, 0.3F, true};
  Problem all(both);
  context_.fused_attention = false;
  all.forward(context_);
  all.backward(context_);
  const std::int64_t first = all.query_offsets[1], rows = all.site.query_rows - first;
  const std::vector<std::int64_t> offsets{0, all.query_offsets[2] - first, rows};
  const std::vector<AttentionGroup> group{{0, 2, all.groups[1].queries, all.groups[1].keys}};
  const AttentionSite site{group,
                           offsets.data(),
                           offsets.data(),
                           rows,
                           rows,
                           all.lengths.data() + 1,
                           nullptr,
                           {{runtime::ScoreRule::Kind::kCausal}, {}},
                           all.site.group_dropout(1)};
  AttentionTape tape;
  const at::Tensor x = all.x.narrow(0, first, rows).contiguous(),
                   g = all.g.narrow(0, first, rows).contiguous();
  const AttentionRows rows_of_x{x, {}, site};
  const at::Tensor y = Attention().forward(context_, all.p.span(), rows_of_x, tape);
  const at::Tensor g_x = Attention().backward(context_, all.p.span(), g, rows_of_x, tape, nullptr);
  EXPECT_LT(relative_error(y, all.y.narrow(0, first, rows)), kAttentionTolerance);
  EXPECT_LT(relative_error(g_x, all.g_x.narrow(0, first, rows)), kAttentionTolerance);
}

TEST_F(AttentionMasks, LaterTokensDoNotChangeEarlierOnes) {
  Problem problem({"", false, true, false, 9, 9, 0.0F});
  problem.forward(context_);
  const at::Tensor before = problem.y.clone();
  problem.x.view({3, 9, kWidth}).narrow(1, 5, 4).add_(3);
  problem.forward(context_);
  EXPECT_TRUE(same_bits(before.view({3, 9, kWidth}).narrow(1, 0, 5),
                        problem.y.view({3, 9, kWidth}).narrow(1, 0, 5)));
  EXPECT_FALSE(same_bits(before, problem.y));
}

}  // namespace
}  // namespace th::model
