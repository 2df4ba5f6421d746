#include "train/plan/plan_tables.hpp"

#include "th/config/state_names.hpp"
#include "train/plan/text_format.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace th::train {

namespace {

using config::GradientCheckpointing;
using runtime::MemoryClass;

constexpr std::array<std::pair<GradientCheckpointing, const char*>, 4> kKinds{
    {{GradientCheckpointing::kNone, "none"},
     {GradientCheckpointing::kSelective, "selective"},
     {GradientCheckpointing::kFull, "full"},
     {GradientCheckpointing::kSqrt, "sqrt"}}};

/// What each kind of gradient checkpointing takes and costs, and where sqrt is worth more than
/// full.
std::string by_checkpointing(const Planner& planner) {
  const config::RunConfig& config = planner.config();
  std::string text =
      "\nA rank while it trains, MiB, by gradient checkpointing, and products a step against "
      "none\n";
  const auto training = [&](std::int64_t stage, GradientCheckpointing kind) {
    const zero::MemoryPlan plan = planner.plan(with(config, stage, kind));
    const auto phase = std::find_if(plan.phases.begin(), plan.phases.end(),
                                    [](const auto& p) { return p.name == "training"; });
    return phase->use.total();
  };
  const double least = planner.slot_flops(with(config, 0, GradientCheckpointing::kNone));
  for (const auto& [kind, name] : kKinds) {
    text += format("%-20s", name);
    for (std::int64_t stage = 0; stage < 4; ++stage)
      text += format(" %10.1f", mebibytes(training(stage, kind)));
    text += format("   x %.2f\n", planner.slot_flops(with(config, 0, kind)) / least);
  }
  const std::int64_t full = training(config.zero.stage, GradientCheckpointing::kFull),
                     square_root = training(config.zero.stage, GradientCheckpointing::kSqrt);
  const double saved = 1.0 - static_cast<double>(square_root) / static_cast<double>(full);
  const double slower = planner.slot_flops(with(config, 0, GradientCheckpointing::kSqrt)) /
                        planner.slot_flops(with(config, 0, GradientCheckpointing::kFull));
  text += format(
      "sqrt keeps about 2 sqrt(L) layer inputs where full keeps L: here it takes %.1f %% less than "
      "full for %.2f times its products: %s.\n",
      100 * saved, slower, saved > 0.1 ? "it pays where memory is short" : "too few layers to pay");
  return text;
}

/// Memory and traffic in fp32 and in 16 bits, gradients reduced in fp32 or in the working type.
std::string by_precision(const Planner& planner) {
  constexpr std::array<std::tuple<ElementType, config::ReduceDtype, const char*>, 3> kCases{
      {{ElementType::kFp32, config::ReduceDtype::kFp32, "fp32"},
       {ElementType::kBf16, config::ReduceDtype::kFp32, "bf16, reduced fp32"},
       {ElementType::kBf16, config::ReduceDtype::kWorking, "bf16, reduced bf16"}}};
  std::string text = "\nTotal of a rank + bytes sent a step, MiB, by precision (fp16 as bf16)\n";
  for (const auto& [dtype, reduced, name] : kCases) {
    text += format("%-20s", name);
    for (std::int64_t stage = 0; stage < 4; ++stage) {
      config::RunConfig config =
          with(planner.config(), stage, planner.config().model.gradient_checkpointing);
      config.precision.dtype = dtype;
      config.precision.reduce_dtype = reduced;
      const zero::MemoryPlan plan = planner.plan(config);
      text += format(" %10s", format("%.0f+%.0f", mebibytes(plan.peak().use.total()),
                                     mebibytes(plan.traffic.total()))
                                  .c_str());
    }
    text += "\n";
  }
  return text;
}

/// Where the states lie on a GPU with everything offloaded that can be.
std::string by_offload(const Planner& planner) {
  std::string text =
      "\nOn a GPU with zero.offload_optimizer (and, at stage 3, zero.offload_parameters), MiB of "
      "model state and its staging on device + host\n";
  text += format("%-20s", "device + host");
  for (std::int64_t stage = 0; stage < 4; ++stage) {
    config::RunConfig config =
        with(planner.config(), stage, planner.config().model.gradient_checkpointing);
    config.zero.offload_optimizer = config.zero.offload_parameters = true;
    const zero::MemoryPlan plan = planner.plan(config, runtime::DeviceMemory::kOwn);
    const auto state = [](const runtime::MemoryUse& use) {
      return mebibytes(use.model_state() + use[MemoryClass::kOffloadStaging]);
    };
    text += format(" %10s",
                   format("%.0f+%.0f", state(plan.peak().use), state(plan.peak().host)).c_str());
  }
  return text + "\nOn a CPU the two keys change nothing.\n";
}

/// A line for each memory class that any stage has something of.
std::string class_rows(const std::array<zero::MemoryPlan, 4>& plans, runtime::StateNames states) {
  std::string text;
  for (std::size_t k = 0; k < runtime::kMemoryClasses; ++k) {
    bool any = false;
    std::string line =
        format("%-20s", runtime::memory_class_name(static_cast<MemoryClass>(k), states));
    for (const zero::MemoryPlan& plan : plans) {
      any = any || plan.peak().use.bytes[k] != 0;
      line += format(" %10.2f", mebibytes(plan.peak().use.bytes[k]));
    }
    if (any) text += line + "\n";
  }
  return text;
}

/// What stage 3 takes where it decodes in lock step, and decoding's own peak; empty where nothing
/// is decoded.
std::string in_lock_step(const Planner& planner) {
  config::RunConfig config =
      with(planner.config(), 3, planner.config().model.gradient_checkpointing);
  config.decode.sharded = config::Sharded::kOn;
  const zero::MemoryPlan plan = planner.plan(config);
  const zero::MemoryPlan::Phase* decoding = plan.find("decoding");
  if (decoding == nullptr) return "";
  return format("%-20s %43.2f (reached in %s)\n", "  decode.sharded=on",
                mebibytes(plan.peak().use.total()), plan.peak().name.c_str()) +
         format("%-20s %43.2f\n", "  its decoding", mebibytes(decoding->use.total()));
}

}  // namespace

std::string memory_tables(const Planner& planner) {
  const config::RunConfig& config = planner.config();
  std::array<zero::MemoryPlan, 4> plans;
  for (std::int64_t stage = 0; stage < 4; ++stage)
    plans[static_cast<std::size_t>(stage)] =
        planner.plan(with(config, stage, config.model.gradient_checkpointing));
  std::string text =
      "\nMemory of a rank at its peak, MiB, with the deck's gradient checkpointing\n";
  text +=
      format("%-20s %10s %10s %10s %10s\n", "class", "stage 0", "stage 1", "stage 2", "stage 3");
  text += class_rows(plans, config::state_names(config));
  const auto row = [&](const char* name, auto value) {
    text += format("%-20s", name);
    for (const zero::MemoryPlan& plan : plans) text += value(plan);
    text += "\n";
  };
  row("total",
      [](const zero::MemoryPlan& p) { return format(" %10.2f", mebibytes(p.peak().use.total())); });
  row("reached in",
      [](const zero::MemoryPlan& p) { return format(" %10s", p.peak().name.c_str()); });
  text += in_lock_step(planner);
  if (std::any_of(plans.begin(), plans.end(),
                  [](const zero::MemoryPlan& p) { return p.once_a_node > 0; })) {
    row("once a node",
        [](const zero::MemoryPlan& p) { return format(" %10.2f", mebibytes(p.once_a_node)); });
  }
  row("bytes sent a step",
      [](const zero::MemoryPlan& p) { return format(" %10.2f", mebibytes(p.traffic.total())); });
  const bool exact = config.comm.reduction == config::Reduction::kExact;
  text += format("%-20s", exact ? "  reduction=fast" : "  reduction=exact");
  for (std::int64_t stage = 0; stage < 4; ++stage) {
    config::RunConfig other = with(config, stage, config.model.gradient_checkpointing);
    other.comm.reduction = exact ? config::Reduction::kFast : config::Reduction::kExact;
    text += format(" %10.2f", mebibytes(planner.plan(other).traffic.total()));
  }
  text += "\n";
  if (planner.several_nodes())
    row("between nodes", [](const zero::MemoryPlan& p) {
      return format(" %10.2f", mebibytes(p.between_nodes.total()));
    });
  for (std::size_t stage = 1; stage < plans.size(); ++stage) {
    if (plans[stage].peak().use.total() <= plans[stage - 1].peak().use.total()) continue;
    text += format(
        "Stage %zu takes more memory here than stage %zu: its working buffers outweigh what it "
        "shards.\n",
        stage, stage - 1);
  }
  text += by_checkpointing(planner);
  text += by_precision(planner);
  text += by_offload(planner);
  return text;
}

}  // namespace th::train
