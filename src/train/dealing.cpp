#include "th/train/dealing.hpp"

#include "th/zero/engine_buffers.hpp"

namespace th::train {

using config::Dealing;

DealingChoice choose_dealing(const config::RunConfig& config, std::int64_t slots,
                             const runtime::NodeMap& nodes, const std::function<bool()>& fits) {
  if (config.comm.dealing != Dealing::kAuto) return {config.comm.dealing, "as the deck says"};
  const auto rounds = [](const char* why) {
    return DealingChoice{Dealing::kRounds, std::string("auto: ") + why};
  };
  if (nodes.nodes() == 1) return rounds("one node");
  if (slots < 2 * nodes.ranks()) return rounds("some rank has one micro-batch a step");
  if (config.comm.reduction != config::Reduction::kExact)
    return rounds("comm.reduction is not exact");
  if (zero::buffer_types(config).short_gradients())
    return rounds("gradients are reduced in 16 bits");
  if (config.run.audit_steps > 0) return rounds("audits compare single micro-batches");
  if (zero::zero_policy(config).shard_gradients)
    return rounds("the stage keeps no whole gradients");
  if (!fits()) return rounds("there is no memory for the sums");
  return {Dealing::kBlocks, "auto: fewer bytes between nodes"};
}

}  // namespace th::train
