#include "zero/whole/muon_update.hpp"

#include <array>
#include <cstring>

#include "th/base/hash.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "zero/whole/orthogonalize.hpp"

namespace th::zero {

namespace {

/// x [rows, columns] transposed.
void transpose(const float* x, std::int64_t rows, std::int64_t columns, float* out) {
  constexpr std::int64_t kTile = 32;
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (std::int64_t c0 = 0; c0 < columns; c0 += kTile) {
      for (std::int64_t r = r0; r < std::min(rows, r0 + kTile); ++r) {
        for (std::int64_t c = c0; c < std::min(columns, c0 + kTile); ++c)
          out[c * rows + r] = x[r * columns + c];
      }
    }
  }
}

}  // namespace

MuonUpdate::MuonUpdate(const config::RunConfig& config, const FlatLayout& layout, std::int64_t rank,
                       StateStore& store)
    : WholeUpdate(config, layout, rank, store),
      gemm_(model::resolve_gemm(config.run.gemm)),
      momentum_(runtime::element_states(config.optimizer.name)) {}

runtime::Muon::Matrix MuonUpdate::numbers(const WholeMatrix& matrix) const {
  return runtime::Muon::matrix(numbers_of(step_), static_cast<double>(matrix.rows),
                               static_cast<double>(matrix.columns));
}

void MuonUpdate::prepare(std::size_t /*arrival*/, const StateStore::Slice& shard, float* out) {
  constexpr std::int64_t kChunk = 2048;
  const auto factor = static_cast<float>(step_.gradient_factor);
  const auto* gradients = static_cast<const float*>(shard.gradients);
  std::array<float, kChunk> momentum;
  for_pieces(shard, [&](const WholeMatrix& matrix, std::int64_t at, std::int64_t count) {
    const runtime::Muon::Matrix step = numbers(matrix);
    for (std::int64_t i = at; i < at + count; i += kChunk) {
      const std::int64_t n = std::min(kChunk, at + count - i);
      const StateStore::Slice part = shard.part(i, n);
      const std::span<float> here = std::span(momentum).first(static_cast<std::size_t>(n));
      store_.read(optimizer_state(momentum_), part, here);
      for (std::int64_t j = 0; j < n; ++j)
        step.update(gradients[i + j] * factor, momentum[static_cast<std::size_t>(j)], out[i + j]);
      store_.write_drawn(optimizer_state(momentum_), part, here, hash_pair(draws_, momentum_));
    }
  });
}

void MuonUpdate::compute(std::int64_t unit) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);  // as the matrices
  for_own(unit, [&](const WholeMatrix& matrix, std::int64_t before) {
    float* x = own(0) + before;
    const std::int64_t high = std::max(matrix.rows, matrix.columns),
                       low = std::min(matrix.rows, matrix.columns);
    float* product = beside();
    // A wide matrix as its transpose: the iterations on it are the transposes of its own.
    const auto turn = [&](std::int64_t rows, std::int64_t columns) {
      transpose(x, rows, columns, product);
      std::memcpy(x, product, static_cast<std::size_t>(matrix.count()) * sizeof(float));
    };
    const bool wide = matrix.rows < matrix.columns;
    if (wide) turn(matrix.rows, matrix.columns);
    float* gram = product + whole_lines(matrix.count());
    orthogonalize(gemm_, x, high, low, {product, gram, gram + whole_lines(low * low)});
    if (wide) turn(matrix.columns, matrix.rows);
  });
}

void MuonUpdate::apply(std::size_t /*result*/, const StateStore::Slice& shard,
                       std::span<const float* const> of_owner) {
  for_pieces(shard, [&](const WholeMatrix& matrix, std::int64_t at, std::int64_t count) {
    const runtime::Muon::Matrix step = numbers(matrix);
    const float* orthogonal = of_owner[static_cast<std::size_t>(matrix.owner)] + at;
    update_weights(shard.part(at, count),
                   [&](float& weight, std::int64_t i) { step.apply(weight, orthogonal[i]); });
  });
}

}  // namespace th::zero
