#include "zero/whole/adafactor_update.hpp"

#include <algorithm>
#include <cmath>

#include "th/base/hash.hpp"
#include "zero/sizes.hpp"

namespace th::zero {

namespace {

enum Arrival : std::size_t { kGradient, kState, kWeights };  // those that return come first

double root_mean_square(const float* x, std::int64_t count) {
  double lanes[8] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(x[i]);
    lanes[i % 8] += value * value;
  }
  const double sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
                     ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  return std::sqrt(sum / static_cast<double>(count));
}

float moved(float state, double to, double part) {
  const auto from = static_cast<double>(state);
  return static_cast<float>(from + (to - from) * part);
}

/// The means of squares of rows and columns go into the state.
void average_squares(const AdafactorTensor& t, double part) {
  std::fill_n(t.of_columns, t.columns, 0.0);
  for (std::int64_t r = 0; r < t.rows; ++r) {
    double of_row = 0;
    for (std::int64_t c = 0; c < t.columns; ++c) {
      const auto value = static_cast<double>(t.gradient[r * t.columns + c]);
      of_row += value * value;
      t.of_columns[c] += value * value;
    }
    t.state[r] = moved(t.state[r], of_row / static_cast<double>(t.columns), part);
  }
  float* columns = t.state + t.rows;
  for (std::int64_t c = 0; c < t.columns; ++c)
    columns[c] = moved(columns[c], t.of_columns[c] / static_cast<double>(t.rows), part);
}

}  // namespace

void adafactor_step(const runtime::Adafactor::Tensor& numbers, const AdafactorTensor& tensor) {
  constexpr double kEps = runtime::Adafactor::Tensor::kEps;
  const std::int64_t rows = tensor.rows, columns = tensor.columns;
  float *gradient = tensor.gradient, *state = tensor.state;
  const std::int64_t count = columns == 0 ? rows : rows * columns;
  const auto scaled = [gradient](std::int64_t i, double variance) {
    gradient[i] = static_cast<float>(static_cast<double>(gradient[i]) /
                                     std::sqrt(std::max(variance, kEps * kEps)));
  };
  if (columns == 0) {
    for (std::int64_t i = 0; i < count; ++i) {
      const auto value = static_cast<double>(gradient[i]);
      state[i] = moved(state[i], value * value, numbers.one_minus_beta2);
      scaled(i, static_cast<double>(state[i]));
    }
  } else {
    average_squares(tensor, numbers.one_minus_beta2);
    double mean = 0;
    for (std::int64_t r = 0; r < rows; ++r) mean += static_cast<double>(state[r]);
    mean = std::max(mean / static_cast<double>(rows), kEps);
    for (std::int64_t r = 0; r < rows; ++r) {
      const double of_row = static_cast<double>(state[r]) / mean;
      for (std::int64_t c = 0; c < columns; ++c)
        scaled(r * columns + c, of_row * static_cast<double>(state[rows + c]));
    }
  }
  const double rate =
      std::max(numbers.least_scale, root_mean_square(tensor.weights, count)) * numbers.rate;
  const double clip = std::max(1.0, root_mean_square(gradient, count) / numbers.clip);
  const auto factor = static_cast<float>(rate / clip);
  for (std::int64_t i = 0; i < count; ++i) gradient[i] *= factor;
}

void AdafactorUpdate::prepare(std::size_t arrival, const StateStore::Slice& shard, float* out) {
  const auto factor = static_cast<float>(step_.gradient_factor);
  const auto* gradients = static_cast<const float*>(shard.gradients);
  for_pieces(shard, [&](const WholeMatrix&, std::int64_t at, std::int64_t count) {
    const StateStore::Slice part = shard.part(at, count);
    if (arrival == kState) return store_.read(optimizer_state(0), part, {out + at, index(count)});
    if (arrival == kWeights) {
      std::copy_n(store_.at(State::kParameters, part), count, out + at);
      return;
    }
    for (std::int64_t i = at; i < at + count; ++i) out[i] = gradients[i] * factor;
  });
}

void AdafactorUpdate::compute(std::int64_t unit) {
  const runtime::Adafactor::Tensor numbers = runtime::Adafactor::tensor(numbers_of(step_));
  for_own(unit, [&](const WholeMatrix& tensor, std::int64_t before) {
    const bool factored = tensor.factored();
    adafactor_step(numbers, {.rows = factored ? tensor.rows : tensor.count(),
                             .columns = factored ? tensor.columns : 0,
                             .weights = own(kWeights) + before,
                             .gradient = own(kGradient) + before,
                             .state = own(kState) + before,
                             .of_columns = reinterpret_cast<double*>(beside())});
  });
}

void AdafactorUpdate::apply(std::size_t result, const StateStore::Slice& shard,
                            std::span<const float* const> of_owner) {
  const runtime::Adafactor::Tensor numbers = runtime::Adafactor::tensor(numbers_of(step_));
  const auto decay = static_cast<float>(numbers.decay);
  for_pieces(shard, [&](const WholeMatrix& tensor, std::int64_t at, std::int64_t count) {
    const float* from = of_owner[index(tensor.owner)] + at;
    const StateStore::Slice part = shard.part(at, count);
    if (result == kState)
      return store_.write_drawn(optimizer_state(0), part, {from, index(count)},
                                hash_pair(draws_, 0));
    update_weights(part, [&](float& weight, std::int64_t i) { weight = weight * decay - from[i]; });
  });
}

}  // namespace th::zero
