#pragma once

#include <cstdint>

#include "th/model/parameters/parameter_spec.hpp"

namespace th::model {

/// Writes the initial value of a tensor's elements [begin, begin + count): counter based on (seed,
/// tensor name), so that every rank fills its own shard with what any other rank count would.
/// Xavier uniform (Glorot, Bengio 2010), divided by initial_divisor, for the matrices of encoder
/// and decoder, 0 for biases, 1 and 0 for norms, N(0, d_model^-0.5) for embeddings and learned
/// positions, U(+-d_model^-0.5) for the output projection.
void initialize_elements(const TensorSpec& tensor, std::uint64_t seed, std::int64_t d_model,
                         std::int64_t begin, std::int64_t count, float* out);

}  // namespace th::model
