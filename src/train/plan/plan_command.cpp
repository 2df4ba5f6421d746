#include "th/train/plan/plan_command.hpp"

#include "th/base/error.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/observe/resource_usage.hpp"
#include "th/train/overlap.hpp"
#include "th/zero/memory_plan.hpp"
#include "train/plan/planner.hpp"
#include "train/plan/speed_probe.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

namespace th::train {

namespace {

using config::GradientCheckpointing;
using runtime::MemoryClass;

constexpr std::array<std::pair<GradientCheckpointing, const char*>, 4> kKinds{
    {{GradientCheckpointing::kNone, "none"},
     {GradientCheckpointing::kSelective, "selective"},
     {GradientCheckpointing::kFull, "full"},
     {GradientCheckpointing::kSqrt, "sqrt"}}};
constexpr double kMebi = 1024.0 * 1024.0;

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

double mebibytes(std::int64_t bytes) { return static_cast<double>(bytes) / kMebi; }

config::RunConfig with(config::RunConfig config, std::int64_t stage, GradientCheckpointing kind) {
  config.zero.stage = stage;
  config.model.gradient_checkpointing = kind;
  return config;
}

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
  constexpr std::array<std::tuple<config::Precision, config::ReduceDtype, const char*>, 3> kCases{
      {{config::Precision::kFp32, config::ReduceDtype::kFp32, "fp32"},
       {config::Precision::kBf16, config::ReduceDtype::kFp32, "bf16, reduced fp32"},
       {config::Precision::kBf16, config::ReduceDtype::kWorking, "bf16, reduced bf16"}}};
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

std::string precision_text(const config::PrecisionSection& precision) {
  constexpr std::array<const char*, 3> kNames{"fp32", "bf16", "fp16"};
  std::string text = kNames[static_cast<std::size_t>(precision.dtype)];
  if (precision.dtype == config::Precision::kFp32) return text;
  return text + (precision.reduce_dtype == config::ReduceDtype::kFp32
                     ? ", gradients reduced in fp32"
                     : ", gradients reduced in " + text);
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
    const zero::MemoryPlan plan = planner.plan(config, zero::DeviceMemory::kOwn);
    const auto state = [](const runtime::MemoryUse& use) {
      return mebibytes(use.model_state() + use[MemoryClass::kOffloadStaging]);
    };
    text += format(" %10s",
                   format("%.0f+%.0f", state(plan.peak().use), state(plan.peak().host)).c_str());
  }
  return text + "\nOn a CPU the two keys change nothing.\n";
}

std::string memory_tables(const Planner& planner) {
  const config::RunConfig& config = planner.config();
  const runtime::StateNames states = runtime::optimizer_states(config.optimizer.name);
  std::array<zero::MemoryPlan, 4> plans;
  for (std::int64_t stage = 0; stage < 4; ++stage)
    plans[static_cast<std::size_t>(stage)] =
        planner.plan(with(config, stage, config.model.gradient_checkpointing));
  std::string text =
      "\nMemory of a rank at its peak, MiB, with the deck's gradient checkpointing\n";
  text +=
      format("%-20s %10s %10s %10s %10s\n", "class", "stage 0", "stage 1", "stage 2", "stage 3");
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
  const auto row = [&](const char* name, auto value) {
    text += format("%-20s", name);
    for (const zero::MemoryPlan& plan : plans) text += value(plan);
    text += "\n";
  };
  row("total",
      [](const zero::MemoryPlan& p) { return format(" %10.2f", mebibytes(p.peak().use.total())); });
  row("reached in",
      [](const zero::MemoryPlan& p) { return format(" %10s", p.peak().name.c_str()); });
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

/// What a rank takes at its peaks: of its GPU's memory, and of its node's. On a CPU all is the
/// node's.
struct Need {
  std::int64_t device = 0, host = 0;
  std::int64_t mapped = 0;  ///< of its address space
};

/// What it may take, bytes.
struct Room {
  bool gpu = false;  ///< the run is planned for GPUs
  std::int64_t ranks_here = 1;
  double device = std::numeric_limits<double>::infinity(), host = 0,
         mapped = std::numeric_limits<double>::infinity();
  [[nodiscard]] bool holds(const Need& need) const { return excess(need) <= 0; }
  /// By how much a need is beyond it, on the side where it is worse.
  [[nodiscard]] double excess(const Need& need) const {
    return std::max({static_cast<double>(need.device) - device,
                     static_cast<double>(need.host) - host,
                     static_cast<double>(need.mapped) - mapped});
  }
};

zero::MemoryPlan plan_for(const Planner& planner, const config::RunConfig& config,
                          const Room& room) {
  return planner.plan(config, room.gpu ? zero::DeviceMemory::kOwn : zero::DeviceMemory::kHost);
}

Need need_of(const zero::MemoryPlan& plan, const Room& room) {
  const std::int64_t peak = plan.peak().use.total(), host = plan.host_peak().host.total();
  return room.gpu ? Need{peak, host, host} : Need{0, plan.of_node(peak, room.ranks_here), peak};
}

Need need_of(const Planner& planner, const config::RunConfig& config, const Room& room) {
  return need_of(plan_for(planner, config, room), room);
}

/// Beside the program itself. Not known: no limit.
Room room_of(const Planner& planner) {
  constexpr double kProcess =
      200.0 * kMebi;  // the program, LibTorch and MPI before the model, measured
  const config::PlanSection& asked = planner.config().plan;
  Room room;
  room.gpu = asked.gpu_gbytes > 0 || planner.memory() == zero::DeviceMemory::kOwn;
  if (asked.gpu_gbytes > 0) room.device = asked.gpu_gbytes * 1e9;
  room.ranks_here = planner.request().nodes->node_size(0);
  const auto available = static_cast<double>(runtime::available_memory_bytes());
  room.host = available > 0 ? available / static_cast<double>(room.ranks_here) - kProcess
                            : std::numeric_limits<double>::infinity();
  if (const auto left = runtime::address_space_left()) room.mapped = static_cast<double>(*left);
  return room;
}

constexpr std::int64_t kMostTokens = std::int64_t{1} << 20;  ///< no deck asks for more

/// The largest data.batch_tokens whose plan has room; 0: none has, kMostTokens: memory is no limit.
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

/// What to change, in the order of least harm: a smaller batch, gradient checkpointing, a higher
/// stage, no staging copy, offload. Each step is taken on top of those before it that helped, until
/// the run fits.
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

std::string time_text(const Planner& planner) {
  if (planner.memory() == zero::DeviceMemory::kOwn)
    return "\nThe time of a step on a GPU is not estimated: a plan needs no GPU and measures "
           "none.\n";
  const config::RunConfig& config = planner.config();
  const model::Gemm gemm(model::resolve_gemm(config.run.gemm));
  const SpeedProbe probe =
      probe_speed(gemm, std::min<std::int64_t>(config.model.d_model, 1024),
                  std::min<std::int64_t>(config.model.d_ff, 4096), config.precision.dtype);
  const std::int64_t ranks = planner.request().ranks;
  const double rounds = static_cast<double>((planner.request().slots + ranks - 1) / ranks);
  const double threads = static_cast<double>(config.run.threads);
  const double link =
      config.plan.link_gbytes > 0 ? config.plan.link_gbytes * 1e9 : probe.copy_bytes;
  const double compute = rounds * planner.slot_flops(config) / (probe.gemm_flops * threads * 0.8);
  const zero::MemoryPlan plan = planner.plan(config);
  // A node's ranks share its link; what stays on a node goes at the memory's bandwidth.
  const int here = planner.request().nodes->node_size(0);
  const double sent = static_cast<double>(plan.traffic.total()),
               crossing = static_cast<double>(plan.between_nodes.total());
  const double staying =
      ranks > 1 ? sent * static_cast<double>(here - 1) / static_cast<double>(ranks - 1) : 0;
  const double sending =
      planner.several_nodes() ? staying / probe.copy_bytes + crossing * here / link : sent / link;
  std::string text = format(
      "\nA step takes about %.2f s: %.2f s of products (%.0f GFLOP/s a thread measured here, 0.8 "
      "of it reached), %.3f s of communication",
      compute + sending, compute, probe.gemm_flops / 1e9, sending);
  text += config.plan.link_gbytes > 0
              ? format(" at plan.link_gbytes=%g.\n", config.plan.link_gbytes)
              : format(
                    " at %.1f GB/s, this node's memory bandwidth: an assumption, set "
                    "plan.link_gbytes.\n",
                    link / 1e9);
  if (planner.several_nodes())
    text += format("Between nodes a rank sends %s a step, the %d ranks of a node share its link.\n",
                   monitor::bytes_text(plan.between_nodes.total()).c_str(), here);
  text += "The time holds where every rank has its own cores.\n";
  return text;
}

std::string disk_text(const Planner& planner, const zero::MemoryPlan& plan) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::path folder = fs::absolute(planner.config().run.output_dir, ignored);
  while (!folder.empty() && folder != folder.root_path() && !fs::exists(folder, ignored))
    folder = folder.parent_path();
  const fs::space_info space = fs::space(folder, ignored);
  std::string text = "A checkpoint takes " + monitor::bytes_text(plan.checkpoint_bytes);
  if (ignored) return text + "\n";
  text += ", " + monitor::bytes_text(static_cast<std::int64_t>(space.available)) +
          " are free below " + folder.string() + "\n";
  const std::int64_t room =
      static_cast<std::int64_t>(space.available) / std::max<std::int64_t>(1, plan.checkpoint_bytes);
  if (room < 2)
    text += "warning: room for " + std::to_string(room) +
            " checkpoints there; a new one is written before an old one goes\n";
  return text;
}

}  // namespace

PlanAnswer plan_run(const config::LoadedDeck& deck, std::int64_t launched_ranks) {
  const Planner planner(deck, launched_ranks);
  const config::RunConfig& config = planner.config();
  const zero::MemoryPlan plan = planner.plan(config);
  const std::int64_t ranks = planner.request().ranks;
  PlanAnswer answer;
  answer.text = "Plan of " + deck.name + ": " + std::to_string(ranks) + " ranks, stage " +
                std::to_string(config.zero.stage) + ", " + std::to_string(planner.request().slots) +
                " slots a step, " + std::to_string(plan.parameters) + " parameters, " +
                precision_text(config.precision) + "\n" +
                "Largest micro-batch: " + planner.batch_text() + "\n" +
                "Communication beside compute: " +
                (config.comm.overlap == config::Overlap::kOn ? "on" : "off") + " (" +
                planner.overlap().reason + ")\n";
  answer.text += memory_tables(planner);
  answer.text += '\n';
  answer.text += disk_text(planner, plan);
  answer.text += time_text(planner);
  const Room room = room_of(planner);
  const zero::MemoryPlan run = plan_for(planner, config, room);
  const Need need = need_of(run, room);
  const zero::MemoryPlan::Phase& most = room.gpu ? run.host_peak() : run.peak();
  answer.text += format(
      "\nThis node has %s to give, for the %lld ranks on it %s each beside the program itself; the "
      "deck's run takes %s a rank (%s)%s.\n",
      monitor::bytes_text(runtime::available_memory_bytes()).c_str(),
      static_cast<long long>(room.ranks_here),
      std::isinf(room.host)
          ? "any number of bytes"
          : monitor::bytes_text(static_cast<std::int64_t>(std::max(0.0, room.host))).c_str(),
      monitor::bytes_text(need.host).c_str(), most.name.c_str(),
      !room.gpu && run.once_a_node > 0 && room.ranks_here > 1
          ? ", what is there once a node divided among them"
          : "");
  if (const auto left = runtime::address_space_left()) {
    answer.text += "ulimit -v leaves " + monitor::bytes_text(*left) +
                   " to a process: it counts above where it is less.\n";
  }
  answer.fits = room.holds(need);
  if (room.gpu && std::isinf(room.device)) {
    answer.text += "Of a GPU a rank takes " + monitor::bytes_text(need.device) + " (" +
                   run.peak().name + "); plan.gpu_gbytes says what it has.\n";
    answer.text += answer.fits ? "It fits beside the GPU.\n"
                               : "The host has not enough memory beside the GPU: fewer ranks share "
                                 "a node, or less is offloaded.\n";
    return answer;
  }
  if (room.gpu) {
    answer.text +=
        format("On a GPU of %g GB a rank takes %s of it, the rest is the host's: %s.\n",
               config.plan.gpu_gbytes, monitor::bytes_text(need.device).c_str(),
               static_cast<double>(need.device) <= room.device ? "it fits" : "it does not fit");
  }
  const std::int64_t tokens = largest_batch_tokens(planner, room);
  if (tokens >= kMostTokens) {
    answer.text += "Any data.batch_tokens up to " + std::to_string(kMostTokens) + " fits.\n";
  } else if (tokens > 0) {
    answer.text +=
        "The largest data.batch_tokens that fits is about " + std::to_string(tokens) +
        ", or data.batch_size " +
        std::to_string(std::max<std::int64_t>(
            1, static_cast<std::int64_t>(static_cast<double>(tokens) / planner.mean_longest()))) +
        ".\n";
  } else {
    answer.text += "No data.batch_tokens fits.\n";
  }
  answer.text += answer.fits ? "It fits.\n" : advice(planner, room);
  return answer;
}

}  // namespace th::train
