#pragma once

#include <cmath>

#include "gpu/kernels/model_kernel_exam.hpp"

// The ops of local attention, positions and thinned encoder states, as model_kernel_exam.hpp
// compares ops.
namespace th::reference {

template <typename T, typename Memory>
class AttentionOpExam : public ModelKernelExam<T, Memory> {
  using Base = ModelKernelExam<T, Memory>;
  using Side = typename Base::Side;
  template <typename V>
  using Both = typename Base::template Both<V>;

 public:
  using Base::Base;

  /// Softmax over whole sentences and over blocks, with and without slopes.
  void softmax() const {
    using Kind = runtime::ScoreRule::Kind;
    const std::int64_t batch = 3, heads = 2, queries = 19, keys = 37;
    const Both<float> slopes({0.5F, 0.0625F});
    const Both<op::RowSpan> of_queries({{0, 19, 0, 19}, {40, 19, 32, 64}, {96, 7, 64, 71}}),
        of_keys({{0, 30, 0, 30}, {20, 37, 20, 70}, {90, 20, 50, 70}});
    const auto scores = random_elements<T>(batch * heads * queries * keys, 21, 4);
    for (const runtime::ScoreRule rule :
         {runtime::ScoreRule{Kind::kFull}, runtime::ScoreRule{Kind::kCausal},
          runtime::ScoreRule{Kind::kLocal, 4, 4}, runtime::ScoreRule{Kind::kLocal, 9, 0},
          runtime::ScoreRule{Kind::kLocalCross, 6, 6, 2, runtime::ScoreRule::kRatioUnit * 3 / 2}}) {
      for (const bool biased : {false, true}) {
        for (const bool blocks : {false, true}) {
          this->compare("masked_softmax", scores, [&](Side at, T* s) {
            op::MaskedSoftmax<T> o{.scores = s,
                                   .rule = rule,
                                   .batch = batch,
                                   .heads = heads,
                                   .queries = queries,
                                   .keys = keys};
            if (biased) o.rule.slopes = slopes.at(at);
            if (blocks) o.query_spans = of_queries.at(at), o.key_spans = of_keys.at(at);
            return o;
          });
        }
      }
    }
  }

  /// Draws of blocks' scores, forward and backward.
  void draws() const {
    const std::int64_t batch = 3, heads = 2, queries = 19, keys = 37;
    const Both<op::RowSpan> of_queries(
        {{0, 19, 0, 19, 0}, {40, 19, 32, 64, 2}, {96, 7, 64, 71, 5}}),
        of_keys({{0, 30, 0, 30, 0}, {20, 37, 20, 70, 2}, {90, 20, 50, 70, 5}});
    const std::int64_t n = batch * heads * queries * keys;
    const Both<T> p(random_elements<T>(n, 27));
    const auto g = random_elements<T>(n, 28);
    const auto places = [&](Side at) {
      return op::BlockPlaces{.query_spans = of_queries.at(at),
                             .key_spans = of_keys.at(at),
                             .heads = heads,
                             .queries = queries,
                             .all_queries = 71,
                             .all_keys = 70};
    };
    this->compare("drop_scores", g, [&](Side at, T* out) {
      return op::DropScores<T>{.x = p.at(at),
                               .out = out,
                               .rows = batch * heads * queries,
                               .keys = keys,
                               .dropout = {79, 0.3F},
                               .blocks = places(at)};
    });
    this->compare("softmax_dropout_backward", g, [&](Side at, T* out) {
      return op::SoftmaxDropoutBackward<T>{.p = p.at(at),
                                           .g = out,
                                           .rows = batch * heads * queries,
                                           .keys = keys,
                                           .dropout = {79, 0.3F},
                                           .blocks = places(at)};
    });
  }

  /// Heads of blocks, whose rows lie apart and are added to what is there.
  void heads() const {
    const std::int64_t heads = 2, length = 11, width = 8, stride = 2 * heads * width;
    const Both<op::RowSpan> spans({{3, 11, 0, 20}, {20, 4, 17, 20}, {30, 0, 0, 0}});
    const Both<T> packed(random_elements<T>(38 * stride, 22)),
        split(random_elements<T>(3 * heads * length * width, 23));
    this->compare("split_heads", std::vector<T>(split.values().size()), [&](Side at, T* out) {
      return op::SplitHeads<T>{.x = packed.at(at) + 16,
                               .out = out,
                               .batch = 3,
                               .length = length,
                               .heads = heads,
                               .width = width,
                               .stride = stride,
                               .scale = 0.3F,
                               .spans = spans.at(at)};
    });
    for (const bool add : {false, true}) {
      this->compare("merge_heads", packed.values(), [&](Side at, T* x) {
        return op::MergeHeads<T>{.h = split.at(at),
                                 .x = x + 16,
                                 .batch = 3,
                                 .length = length,
                                 .heads = heads,
                                 .width = width,
                                 .stride = stride,
                                 .scale = 0.3F,
                                 .spans = spans.at(at),
                                 .add = add};
      });
    }
  }

  void rotations() const {
    const std::int64_t heads = 3, width = 10, rows = 23, positions = 7, stride = 2 * heads * width;
    std::vector<float> table;
    for (std::int64_t i = 0; i < positions * width / 2; ++i) {
      table.push_back(static_cast<float>(std::cos(0.7 * static_cast<double>(i))));
      table.push_back(static_cast<float>(std::sin(0.7 * static_cast<double>(i))));
    }
    std::vector<std::int32_t> numbers;
    for (std::int32_t m = 0; m < rows; ++m) numbers.push_back(m * 5 % positions);
    const Both<float> angles(table);
    const Both<std::int32_t> places(numbers);
    using Rule = runtime::RotationRule;
    for (const auto kind : {Rule::Kind::kInterleaved, Rule::Kind::kHalves}) {
      for (const auto direction : {Rule::Direction::kForward, Rule::Direction::kBackward}) {
        this->compare("rotate_positions", random_elements<T>(rows * stride, 24),
                      [&](Side at, T* x) {
                        return op::RotatePositions<T>{.x = x + heads * width,
                                                      .places = places.at(at),
                                                      .rule = {kind, angles.at(at)},
                                                      .direction = direction,
                                                      .rows = rows,
                                                      .heads = heads,
                                                      .width = width,
                                                      .stride = stride};
                      });
      }
    }
  }

  void rows(std::int64_t width) const {
    const Both<std::int64_t> which({0, 1, 5, 9, 10});
    const Both<T> few(random_elements<T>(5 * width, 25)), many(random_elements<T>(11 * width, 26));
    this->compare("take_rows", few.values(), [&](Side at, T* y) {
      return op::TakeRows<T>{
          .x = many.at(at), .rows = which.at(at), .y = y, .count = 5, .width = width};
    });
    this->compare("spread_rows", many.values(), [&](Side at, T* y) {
      return op::SpreadRows<T>{
          .x = few.at(at), .rows = which.at(at), .y = y, .count = 5, .width = width};
    });
  }

  /// Rows without positions.
  void embedding(float rate) const {
    const std::int64_t rows = 9, width = 24;
    const Both<T> weight(random_elements<T>(4 * width, 27));
    const Both<std::int64_t> ids({0, 3, 1, 1, 2, 0, 3, 2, 1});
    this->compare("embed", std::vector<T>(static_cast<std::size_t>(rows * width)),
                  [&](Side at, T* y) {
                    return op::Embed<T>{.weight = weight.at(at),
                                        .ids = ids.at(at),
                                        .y = y,
                                        .rows = rows,
                                        .width = width,
                                        .scale = 4.5F,
                                        .dropout = {80, rate}};
                  });
  }
};

template <typename T, typename Memory>
void examine_attention_ops(const runtime::OpTable<T>& ops, const runtime::OpTable<T>& reference) {
  const AttentionOpExam<T, Memory> exam(ops, reference, Sums::kSame);
  exam.softmax();
  exam.heads();
  exam.draws();
  exam.rotations();
  for (const std::int64_t width : {9, 64}) exam.rows(width);
  for (const float rate : {0.0F, 0.2F}) exam.embedding(rate);
}

}  // namespace th::reference
