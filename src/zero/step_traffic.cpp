#include "th/base/error.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/whole_matrices.hpp"
#include "zero/sizes.hpp"

#include <algorithm>

// What a step sends, and the buffers of what crosses nodes: by the arithmetic that the transport
// goes by (runtime/transport/node_map).
namespace th::zero {

using runtime::NodeMap;
using runtime::SlotBlock;

namespace {

/// Elements that stage 3 gathers in a step, whole units.
std::int64_t gathered_elements(const config::RunConfig& config, const FlatLayout& layout,
                               const UnitUse& use, std::int64_t rounds) {
  const std::vector<bool> kept = kept_units(config, layout);
  std::int64_t elements = 0;
  for (const std::int64_t u : use.opens) {
    if (!kept[static_cast<std::size_t>(u)])
      elements += rounds * layout.units()[static_cast<std::size_t>(u)].padded;
  }
  for (std::size_t u = 0; u < kept.size(); ++u) elements += kept[u] ? layout.units()[u].padded : 0;
  return elements;
}

/// Bytes of this rank's shards of the units with matrices that are updated as a whole: they travel
/// to the matrices' owners, and the results back.
std::int64_t bytes_for_matrices(const config::RunConfig& config, const FlatLayout& layout) {
  const auto matrices = whole_matrices(config, layout);
  std::int64_t bytes = 0;
  for (std::size_t u = 0; u < matrices.size(); ++u)
    bytes += matrices[u].empty() ? 0 : layout.units()[u].shard * kFloat;
  return bytes;
}

/// Payload elements of a step in multiples of P/N, the same for every receiver.
StepTraffic per_receiver(const config::RunConfig& config, const FlatLayout& layout,
                         const UnitUse& use, std::int64_t slots) {
  const ZeroPolicy policy = zero_policy(config);
  const BufferTypes types = buffer_types(config);
  const bool exact = config.comm.reduction == config::Reduction::kExact;
  const SlotDealing dealing = slot_dealing(config, slots, layout.ranks());
  const std::int64_t rounds = dealing.passes();
  const std::int64_t working = layout.shard_total() * element_size(types.working);
  const std::int64_t reduced = layout.shard_total() * element_size(types.reduced);
  StepTraffic t;
  if (exact) {
    t.exchange = std::ssize(dealing.exchanges()) * reduced;
  } else {
    t.reduce = 2 * reduced * (policy.shard_gradients ? rounds : 1);
  }
  if (policy.shard_parameters) {
    t.all_gather = gathered_elements(config, layout, use, rounds) / layout.ranks() *
                   element_size(types.working);
  } else if (policy.shard_optimizer) {
    t.all_gather = working;
  } else if (exact) {
    t.all_gather = reduced;
  }
  const WholeTraffic whole = whole_traffic(config);
  t.all_gather += static_cast<std::int64_t>(whole.arrivals) * bytes_for_matrices(config, layout);
  t.exchange += static_cast<std::int64_t>(whole.returns) * bytes_for_matrices(config, layout);
  t.remainder = (layout.shard_total() / FlatLayout::kBlock + rounds) * kDouble;
  return t;
}

/// Calls `visit` with the blocks of every exchange.
template <typename Visit>
void for_each_exchange(const SlotDealing& dealing, const NodeMap& nodes, const Visit& visit) {
  for (const SlotDealing::Exchange& one : dealing.exchanges())
    visit(runtime::slot_blocks(nodes, dealing.first_leaf(one), dealing.present(one)));
}

bool holds(const SlotBlock& block, int rank) {
  return block.first <= rank && rank < block.first + block.count;
}

}  // namespace

StepTraffic step_traffic(const config::RunConfig& config, const FlatLayout& layout,
                         const UnitUse& use, std::int64_t slots) {
  StepTraffic t = per_receiver(config, layout, use, slots);
  for (std::int64_t* bytes : {&t.exchange, &t.all_gather, &t.reduce, &t.remainder})
    *bytes *= layout.ranks() - 1;
  return t;
}

StepTraffic traffic_between_nodes(const config::RunConfig& config, const FlatLayout& layout,
                                  const UnitUse& use, std::int64_t slots, const NodeMap& nodes,
                                  int rank) {
  ensure(nodes.ranks() == layout.ranks(),
         "traffic_between_nodes: the layout has another rank count");
  StepTraffic t = per_receiver(config, layout, use, slots);
  t.all_gather *= nodes.nodes() - 1;
  t.reduce *= nodes.outsiders(rank);
  t.remainder *= nodes.outsiders(rank);
  t.exchange = static_cast<std::int64_t>(whole_traffic(config).returns) * nodes.outsiders(rank) *
               bytes_for_matrices(config, layout);
  if (config.comm.reduction != config::Reduction::kExact) return t;
  const std::int64_t slice = layout.shard_total() * element_size(buffer_types(config).reduced),
                     sum = layout.shard_total() * kFloat;
  for_each_exchange(slot_dealing(config, slots, layout.ranks()), nodes,
                    [&](const std::vector<SlotBlock>& blocks) {
                      for (const SlotBlock& block : blocks) {
                        if (holds(block, rank))
                          t.exchange += runtime::sends_of(nodes, block, rank) *
                                        (block.count > 1 ? sum : slice);
                      }
                    });
  return t;
}

NodeBuffers node_buffers(const config::RunConfig& config, const FlatLayout& layout,
                         std::int64_t slots, const NodeMap& nodes, int rank) {
  ensure(nodes.ranks() == layout.ranks(), "node_buffers: the layout has another rank count");
  NodeBuffers out;
  if (nodes.nodes() == 1) return out;
  const BufferTypes types = buffer_types(config);
  const std::int64_t shard = layout.largest_unit() / layout.ranks();
  const std::int64_t peers = nodes.node_size(rank);
  out.gather = (nodes.outsiders(rank) + peers - 1) / peers * shard * element_size(types.working);
  const std::int64_t matrices =
      bytes_for_matrices(config, layout) > 0 ? nodes.outsiders(rank) * shard * kFloat : 0;
  out.exchange = matrices;
  if (config.comm.reduction != config::Reduction::kExact) return out;
  const std::int64_t slice = shard * element_size(types.reduced), sum = shard * kFloat;
  std::int64_t arriving = 0, leaving = 0;
  for_each_exchange(slot_dealing(config, slots, layout.ranks()), nodes,
                    [&](const std::vector<SlotBlock>& blocks) {
                      std::int64_t arrives = 0;
                      for (const SlotBlock& block : blocks) {
                        if (!nodes.share(block.first, rank))
                          arrives += block.count > 1 ? sum : slice;
                        if (holds(block, rank) && block.count > 1)
                          leaving = std::max(leaving, runtime::sends_of(nodes, block, rank) * sum);
                      }
                      arriving = std::max(arriving, arrives);
                    });
  // The round of an audited slot comes slot by slot; in other steps it is another round.
  if (config.run.audit_steps > 0) arriving = std::max(arriving, nodes.outsiders(rank) * slice);
  out.exchange = std::max(arriving, matrices) + leaving;
  return out;
}

}  // namespace th::zero
