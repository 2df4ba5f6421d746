#include "th/zero/whole_update.hpp"

#include <cstring>

#include "th/runtime/memory/memory_ledger.hpp"
#include "zero/whole/adafactor_update.hpp"
#include "zero/whole/muon_update.hpp"
#include "zero/whole/orthogonalize.hpp"

namespace th::zero {

namespace {

/// Calls body(rank, within, done, n) for runs of `count` elements from `at` on of what lies in
/// shards of `shard` elements, one behind the other.
template <typename Body>
void for_shards(std::int64_t at, std::int64_t count, std::int64_t shard, const Body& body) {
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t r = (at + done) / shard, within = (at + done) % shard;
    const std::int64_t n = std::min(count - done, shard - within);
    body(r, within, done, n);
    done += n;
  }
}

}  // namespace

WholeUpdate::WholeUpdate(const config::RunConfig& config, const FlatLayout& layout,
                         std::int64_t rank, StateStore& store)
    : layout_(layout),
      rank_(rank),
      store_(store),
      traffic_(whole_traffic(config)),
      matrices_(whole_matrices(config, layout)),
      own_floats_(largest_own(matrices_, rank)),
      scratch_floats_(whole_matrix_floats(config, matrices_, rank)) {}

std::unique_ptr<WholeUpdate> WholeUpdate::make(const config::RunConfig& config,
                                               const FlatLayout& layout, std::int64_t rank,
                                               StateStore& store) {
  if (config.optimizer.name == config::OptimizerKind::kMuon)
    return std::make_unique<MuonUpdate>(config, layout, rank, store);
  if (config.optimizer.name == config::OptimizerKind::kAdafactor)
    return std::make_unique<AdafactorUpdate>(config, layout, rank, store);
  return nullptr;
}

std::int64_t WholeUpdate::product_bytes(const config::RunConfig& config,
                                        const std::vector<std::vector<WholeMatrix>>& matrices,
                                        std::int64_t rank) {
  if (config.optimizer.name != config::OptimizerKind::kMuon) return 0;
  const model::Gemm gemm(model::resolve_gemm(config.run.gemm), model::Arithmetic::kShapesOnly);
  runtime::MemoryLedger ledger;
  const runtime::PlanningScope planning(ledger);
  for (const std::vector<WholeMatrix>& unit : matrices) {
    for (const WholeMatrix& m : unit) {
      if (m.owner == rank)
        orthogonalize(gemm, nullptr, std::max(m.rows, m.columns), std::min(m.rows, m.columns), {});
    }
  }
  return ledger.at_peak().total();
}

void WholeUpdate::take(std::size_t arrival, std::int64_t unit,
                       std::span<const float* const> shards) {
  const std::int64_t shard = layout_.units()[static_cast<std::size_t>(unit)].shard;
  if (!scratch_) {
    const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
    scratch_ = std::make_unique_for_overwrite<Line[]>(
        static_cast<std::size_t>(scratch_floats_ / kWholeAlignment));
  }
  for_own(unit, [&](const WholeMatrix& matrix, std::int64_t before) {
    float* to = own(arrival) + before;
    for_shards(matrix.begin, matrix.count(), shard,
               [&](std::int64_t r, std::int64_t within, std::int64_t done, std::int64_t n) {
                 std::memcpy(to + done, shards[static_cast<std::size_t>(r)] + within,
                             static_cast<std::size_t>(n) * sizeof(float));
               });
  });
}

void WholeUpdate::leave(std::size_t result, std::int64_t unit, float* whole) const {
  for_own(unit, [&](const WholeMatrix& matrix, std::int64_t before) {
    std::memcpy(whole + matrix.begin, own(result) + before,
                static_cast<std::size_t>(matrix.count()) * sizeof(float));
  });
}

void WholeUpdate::release() { scratch_.reset(); }

}  // namespace th::zero
