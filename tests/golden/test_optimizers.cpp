#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "th/zero/optimizer.hpp"
#include "zero/whole/adafactor_update.hpp"
#include "zero/whole/orthogonalize.hpp"

// Optimizers against torch.optim's, by numbers that tests/golden/optimizers/make_optimizers.py
// made.
namespace th::zero {
namespace {

using Floats = std::vector<float>;
using Json = nlohmann::json;

Json golden() {
  std::ifstream file(std::string(TH_GOLDEN_DIR) + "/optimizers/optimizers.json");
  return Json::parse(file);
}

Floats floats(const Json& values) { return values.get<Floats>(); }

double largest_difference(const Floats& got, const Json& want) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(got[i]) - want.at(i).get<double>()));
  return most;
}

/// Root of the mean square.
double mean_difference(const Floats& got, const Json& want) {
  double sum = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = static_cast<double>(got[i]) - want.at(i).get<double>();
    sum += difference * difference;
  }
  return std::sqrt(sum / static_cast<double>(got.size()));
}

TEST(GoldenOptimizers, SgdWithMomentumIsTorchs) {
  int steps = 0;
  const Json all = golden();
  for (const Json& one : all.at("cases")) {
    for (const Json& variant : one.at("sgd")) {
      Floats weights = floats(one.at("start")), buffer(weights.size());
      for (std::size_t s = 0; s < one.at("gradients").size(); ++s, ++steps) {
        OptimizerStep step;
        step.settings.name = config::OptimizerKind::kSgd;
        step.settings.momentum = variant.at("momentum");
        step.settings.weight_decay = variant.at("weight_decay");
        step.settings.nesterov =
            variant.at("nesterov") ? runtime::Nesterov::kTrue : runtime::Nesterov::kFalse;
        step.lr = 0.1;
        step.step = static_cast<std::int64_t>(s) + 1;
        const Floats gradients = floats(one.at("gradients").at(s));
        apply_update(update_factors(step), {.weights = weights.data(),
                                            .gradients = gradients.data(),
                                            .states = {buffer.data()},
                                            .count = std::ssize(weights)});
        EXPECT_LT(largest_difference(weights, variant.at("after").at(s)), 1e-6);
      }
    }
  }
  EXPECT_EQ(steps, 4 * 2 * 3);
}

/// Orthogonalises a matrix of any shape, as WholeUpdate does.
Floats orthogonal(Floats x, std::int64_t rows, std::int64_t columns) {
  const model::Gemm gemm(model::resolve_gemm(config::Gemm::kAuto));
  const std::int64_t low = std::min(rows, columns);
  Floats product(x.size()), gram(static_cast<std::size_t>(low * low)), square(gram.size());
  const auto turn = [&](std::int64_t r, std::int64_t c) {
    Floats out(x.size());
    for (std::int64_t i = 0; i < r; ++i) {
      for (std::int64_t j = 0; j < c; ++j)
        out[static_cast<std::size_t>(j * r + i)] = x[static_cast<std::size_t>(i * c + j)];
    }
    x = out;
  };
  if (rows < columns) turn(rows, columns);
  orthogonalize(gemm, x.data(), std::max(rows, columns), low,
                {product.data(), gram.data(), square.data()});
  if (rows < columns) turn(columns, rows);
  return x;
}

TEST(GoldenOptimizers, MuonIsTheAlgorithmInFp64AndTorchsUpToItsBf16) {
  int steps = 0;
  const Json all = golden();
  for (const Json& one : all.at("cases")) {
    for (const Json& variant : one.at("muon")) {
      const std::int64_t rows = one.at("shape").at(0), columns = one.at("shape").at(1);
      Floats weights = floats(one.at("start")), momentum(weights.size()), direction(weights.size());
      for (std::size_t s = 0; s < one.at("gradients").size(); ++s, ++steps) {
        runtime::StepNumbers numbers;
        numbers.lr = 1;  // so that a difference is one of the step itself
        numbers.settings.weight_decay = variant.at("weight_decay");
        numbers.settings.nesterov =
            variant.at("nesterov") ? runtime::Nesterov::kAuto : runtime::Nesterov::kFalse;
        numbers.settings.muon_scale = variant.at("scale") == "original"
                                          ? runtime::MuonScale::kOriginal
                                          : runtime::MuonScale::kMatchRmsAdamw;
        const runtime::Muon::Matrix step =
            runtime::Muon::matrix(numbers, static_cast<double>(rows), static_cast<double>(columns));
        const Floats gradients = floats(one.at("gradients").at(s));
        for (std::size_t i = 0; i < weights.size(); ++i)
          step.update(gradients[i], momentum[i], direction[i]);
        const Floats result = orthogonal(direction, rows, columns);
        for (std::size_t i = 0; i < weights.size(); ++i) step.apply(weights[i], result[i]);
        EXPECT_LT(largest_difference(weights, variant.at("exact").at(s)), 1e-5);
        // A single element of torch's differs by up to 0.035 from its own algorithm in fp64.
        EXPECT_LT(mean_difference(weights, variant.at("torch").at(s)), 2e-2);
      }
    }
  }
  EXPECT_EQ(steps, 3 * 2 * 3);
}

TEST(GoldenOptimizers, AdafactorIsTorchs) {
  int steps = 0;
  const Json all = golden();
  for (const Json& one : all.at("cases")) {
    for (const Json& variant : one.at("adafactor")) {
      const bool vector = one.at("shape").size() == 1;
      const std::int64_t rows = one.at("shape").at(0),
                         columns = vector ? 0 : one.at("shape").at(1).get<std::int64_t>();
      Floats weights = floats(one.at("start")), state(weights.size());
      for (std::size_t s = 0; s < one.at("gradients").size(); ++s, ++steps) {
        runtime::StepNumbers numbers;
        numbers.lr = 0.05;
        numbers.step = static_cast<std::int64_t>(s) + 1;
        numbers.settings.weight_decay = variant.at("weight_decay");
        numbers.settings.update_clip = variant.at("d");
        numbers.settings.beta2_decay = variant.at("beta2_decay");
        const runtime::Adafactor::Tensor tensor = runtime::Adafactor::tensor(numbers);
        Floats step = floats(one.at("gradients").at(s));
        std::vector<double> of_columns(static_cast<std::size_t>(columns));
        adafactor_step(tensor, {.rows = rows,
                                .columns = columns,
                                .weights = weights.data(),
                                .gradient = step.data(),
                                .state = state.data(),
                                .of_columns = of_columns.data()});
        for (std::size_t i = 0; i < weights.size(); ++i)
          weights[i] = weights[i] * static_cast<float>(tensor.decay) - step[i];
        EXPECT_LT(largest_difference(weights, variant.at("after").at(s)), 1e-6);
      }
    }
  }
  EXPECT_EQ(steps, 4 * 2 * 3);
}

}  // namespace
}  // namespace th::zero
