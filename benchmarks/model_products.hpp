#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::bench {

/// A linear layer of the model: y [M,N] = x [M,K] W^T, and how often it occurs.
struct LinearShape {
  std::string name;
  std::int64_t rows, inputs, outputs, count;
  /// Floating point operations of one of its three products.
  [[nodiscard]] double flops() const { return 2.0 * static_cast<double>(rows * inputs * outputs); }
};

/// The linear layers of one micro-batch of data.batch_size sentences of data.synthetic_length ids
/// each way.
[[nodiscard]] inline std::vector<LinearShape> linear_shapes(const config::RunConfig& config) {
  const config::ModelSection& m = config.model;
  const std::int64_t rows = config.data.batch_size * config.data.synthetic_length,
                     width = m.d_model;
  const std::int64_t layers = m.num_encoder_layers + m.num_decoder_layers;
  return {{"self attention q, k, v", rows, width, 3 * width, layers},
          {"attention out and cross q", rows, width, width, layers + 2 * m.num_decoder_layers},
          {"cross attention k, v", rows, width, 2 * width, m.num_decoder_layers},
          {"feed-forward 1", rows, width, m.d_ff, layers},
          {"feed-forward 2", rows, m.d_ff, width, layers},
          {"output", rows, width, config.data.vocab_size, 1}};
}

/// Operations of all matrix products of a micro-batch, forward and backward: linear layers, and the
/// scores and sums of attention.
[[nodiscard]] inline double product_flops(const config::RunConfig& config) {
  double linear = 0;
  for (const LinearShape& shape : linear_shapes(config))
    linear += static_cast<double>(shape.count) * shape.flops();
  const config::ModelSection& m = config.model;
  const double attentions = static_cast<double>(m.num_encoder_layers + 2 * m.num_decoder_layers);
  const double length = static_cast<double>(config.data.synthetic_length);
  const double attention =
      2 * 2.0 * static_cast<double>(config.data.batch_size * m.d_model) * length * length;
  return 3 * (linear + attentions * attention);
}

[[nodiscard]] inline at::Tensor random_matrix(std::int64_t rows, std::int64_t columns) {
  return at::rand({rows, columns}).sub_(0.5);
}

}  // namespace th::bench
