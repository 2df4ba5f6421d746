#pragma once

#include <cstdint>

#include "th/model/parameters/parameter_spec.hpp"

namespace th::model {

/// Writes the initial values of a tensor's elements [begin, begin + count). They are draws by
/// (seed, tensor name), so every rank fills its shard with the same values at any rank count.
/// Xavier uniform (Glorot, Bengio 2010), divided by initial_divisor, for the matrices of encoder
/// and decoder, 0 for biases, 1 and 0 for norms, N(0, d_model^-0.5) for embeddings and learned
/// positions, U(+-d_model^-0.5) for the output projection.
void initialize_elements(const TensorSpec& tensor, std::uint64_t seed, std::int64_t d_model,
                         std::int64_t begin, std::int64_t count, float* out);

}  // namespace th::model
