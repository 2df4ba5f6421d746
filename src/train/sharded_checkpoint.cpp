#include "th/train/sharded_checkpoint.hpp"

#include "th/io/checkpoint/shard_reader.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/agreement.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

namespace th::train {

namespace {

/// For th_app and th_translate alike.
constexpr const char* kMoreRanks = "more ranks hold less each";

}  // namespace

std::unique_ptr<zero::ShardedSource> load_sharded(const io::CheckpointReader& reader,
                                                  const std::string& what,
                                                  const config::RunConfig& config,
                                                  const model::Transformer& model,
                                                  runtime::Collectives& collectives) {
  run_agreed(
      collectives.control(),
      [&] { reader.require_same_tensors(zero::FlatLayout(model.units(), collectives.size())); },
      kMoreRanks);
  auto source = std::make_unique<zero::ShardedSource>(config, model, collectives);
  const runtime::MemoryScope scope(runtime::MemoryClass::kCheckpointStaging);
  const auto read = [&] {
    const zero::FlatLayout& layout = source->layout();
    io::ShardReader shard(reader, layout, collectives.rank());
    std::int64_t largest = 0;
    for (const zero::FlatLayout::Unit& unit : layout.units())
      largest = std::max(largest, unit.shard);
    std::vector<float> buffer(static_cast<std::size_t>(largest));
    // Else the ranks check on their way.
    for (std::int64_t file = collectives.rank();
         !reader.is_read_whole(layout) && file < reader.layout().ranks();
         file += collectives.size())
      reader.require_checksums(file, what, buffer);
    for (std::int64_t unit = 0; unit < std::ssize(layout.units()); ++unit) {
      const std::span<float> slice = std::span(buffer).first(
          static_cast<std::size_t>(layout.units()[static_cast<std::size_t>(unit)].shard));
      shard.read_unit(what, unit, slice);
      source->write_unit(unit, slice);
    }
  };
  run_agreed(collectives.control(), read, kMoreRanks);
  source->written();
  return source;
}

bool too_large_for_a_rank(const model::Transformer& model, ElementType type,
                          runtime::Collectives& collectives) {
  constexpr std::int64_t kFloat = 4;
  const zero::FlatLayout whole(model.units(), 1);
  const std::int64_t kept = type == ElementType::kFp32 ? 0 : element_size(type);
  const std::int64_t here = collectives.nodes().node_size(collectives.rank());
  const std::int64_t needed = whole.padded_total() * (kFloat + kept);
  const std::int64_t available = runtime::available_memory_bytes();
  const std::optional<std::int64_t> mapped = runtime::address_space_left();
  const bool fits =
      (available == 0 || needed * here <= available) && (!mapped || needed <= *mapped);
  return collectives.control().maximum(fits ? 0 : 1) == 1;
}

}  // namespace th::train
