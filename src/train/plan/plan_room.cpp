#include "train/plan/plan_room.hpp"

#include "th/monitor/header.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "train/plan/text_format.hpp"

namespace th::train {

using config::GradientCheckpointing;

zero::MemoryPlan plan_for(const Planner& planner, const config::RunConfig& config,
                          const Room& room) {
  const auto memory = room.gpu ? runtime::DeviceMemory::kOwn : runtime::DeviceMemory::kHost;
  zero::MemoryPlan plan = planner.plan(config, memory);
  if (config.decode.sharded != config::Sharded::kAuto ||
      !zero::zero_policy(config).shard_parameters || room.holds(need_of(plan, room)))
    return plan;
  config::RunConfig sharded = config;
  sharded.decode.sharded = config::Sharded::kOn;
  return planner.plan(sharded, memory);
}

Need need_of(const zero::MemoryPlan& plan, const Room& room) {
  const std::int64_t peak = plan.peak().use.total(), host = plan.host_peak().host.total();
  return room.gpu ? Need{peak, host, host} : Need{0, plan.of_node(peak, room.ranks_here), peak};
}

namespace {

Need need_of(const Planner& planner, const config::RunConfig& config, const Room& room) {
  return need_of(plan_for(planner, config, room), room);
}

}  // namespace

Room room_of(const Planner& planner) {
  // The program, LibTorch and MPI take this before the model, measured.
  constexpr double kProcess = 200.0 * kMebi;
  const config::PlanSection& asked = planner.config().plan;
  Room room;
  room.gpu = asked.gpu_gbytes > 0 || planner.memory() == runtime::DeviceMemory::kOwn;
  if (asked.gpu_gbytes > 0) room.device = asked.gpu_gbytes * 1e9;
  room.ranks_here = planner.request().nodes->node_size(0);
  const auto available = static_cast<double>(runtime::available_memory_bytes());
  room.host = available > 0 ? available / static_cast<double>(room.ranks_here) - kProcess
                            : std::numeric_limits<double>::infinity();
  if (const auto left = runtime::address_space_left()) room.mapped = static_cast<double>(*left);
  return room;
}

std::int64_t largest_batch_tokens(const Planner& planner, const Room& room) {
  const auto fits = [&](std::int64_t tokens) {
    config::RunConfig config = planner.config();
    config.data.batch_tokens = tokens;
    return room.holds(need_of(planner, config, room));
  };
  std::int64_t low = 0, high = 256;
  for (; high < kMostTokens && fits(high); high *= 2) low = high;
  if (low >= kMostTokens / 2) return kMostTokens;
  while (high - low > std::max<std::int64_t>(64, low / 64)) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

std::string advice(const Planner& planner, const Room& room) {
  std::string text = "It does not fit. In this order, each with those before it:\n";
  config::RunConfig config = planner.config();
  Need least = need_of(planner, config, room);
  const auto take = [&](const std::string& change, const config::RunConfig& changed) {
    if (room.holds(least)) return;
    const Need need = need_of(planner, changed, room);
    if (room.excess(need) >= room.excess(least)) return;
    config = changed;
    least = need;
    text += "  " + change + ": ";
    text += room.gpu ? monitor::bytes_text(need.device) + " of the GPU and " +
                           monitor::bytes_text(need.host) + " of the host"
                     : monitor::bytes_text(need.host);
    text += std::string(" a rank") + (room.holds(need) ? ", fits" : "") + "\n";
  };
  const bool by_tokens = config.data.batch_tokens > 0;
  for (int halvings = 0; !room.holds(least) && halvings < 4; ++halvings) {
    config::RunConfig smaller = config;
    std::int64_t& size = by_tokens ? smaller.data.batch_tokens : smaller.data.batch_size;
    if (size < 2) break;
    size /= 2;
    take((by_tokens ? "data.batch_tokens=" : "data.batch_size=") + std::to_string(size), smaller);
  }
  take("model.gradient_checkpointing=full",
       with(config, config.zero.stage, GradientCheckpointing::kFull));
  for (std::int64_t stage = planner.config().zero.stage + 1; stage <= 3; ++stage) {
    take("zero.stage=" + std::to_string(stage),
         with(config, stage, config.model.gradient_checkpointing));
  }
  config::RunConfig waiting = config;
  waiting.checkpoint.async = false;
  take("checkpoint.async=false", waiting);
  if (room.gpu) {
    config::RunConfig offloaded = config;
    offloaded.zero.offload_optimizer = true;
    take("zero.offload_optimizer=true", offloaded);
    offloaded = config;
    offloaded.zero.offload_parameters = config.zero.stage == 3;
    take("zero.offload_parameters=true", offloaded);
  }
  if (room.holds(least)) return text;
  if (!room.gpu)
    text += "  zero.offload_optimizer=true moves optimizer state to the host, on a GPU only\n";
  text += "  more nodes: fewer ranks share a node's memory (plan.ranks_per_node)\n";
  return text;
}

}  // namespace th::train
