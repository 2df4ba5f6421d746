#include "th/train/plan/plan_command.hpp"

#include "th/base/counted.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "train/plan/plan_room.hpp"
#include "train/plan/plan_tables.hpp"
#include "train/plan/planner.hpp"
#include "train/plan/speed_probe.hpp"
#include "train/plan/text_format.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

namespace th::train {

namespace {

std::string precision_text(const config::PrecisionSection& precision) {
  constexpr std::array<const char*, 3> kNames{"fp32", "bf16", "fp16"};
  std::string text = kNames[static_cast<std::size_t>(precision.dtype)];
  if (precision.dtype == ElementType::kFp32) return text;
  return text + (precision.reduce_dtype == config::ReduceDtype::kFp32
                     ? ", gradients reduced in fp32"
                     : ", gradients reduced in " + text);
}

std::string time_text(const Planner& planner) {
  if (planner.memory() == runtime::DeviceMemory::kOwn)
    return "\nThe time of a step on a GPU is not estimated: a plan needs no GPU and measures "
           "none.\n";
  const config::RunConfig& config = planner.config();
  const model::Gemm gemm(model::resolve_gemm(config.run.gemm));
  const SpeedProbe probe =
      probe_speed(gemm, std::min<std::int64_t>(config.model.d_model, 1024),
                  std::min<std::int64_t>(config.model.d_ff, 4096), config.precision.dtype);
  const std::int64_t ranks = planner.request().ranks;
  const double audits =  // rounds of a step, in the mean
      config.run.audit_steps > 0 ? 1.0 / static_cast<double>(config.run.audit_steps) : 0;
  const double rounds = static_cast<double>((planner.request().slots + ranks - 1) / ranks) + audits;
  const double threads = static_cast<double>(config.run.threads);
  const double link =
      config.plan.link_gbytes > 0 ? config.plan.link_gbytes * 1e9 : probe.copy_bytes;
  const double compute = rounds * planner.slot_flops(config) / (probe.gemm_flops * threads * 0.8);
  const zero::MemoryPlan plan = planner.plan(config);
  const double update = plan.update_operations / (probe.gemm_flops * threads * 0.8);
  // A node's ranks share its link; what stays on a node goes at the memory's bandwidth.
  const int here = planner.request().nodes->node_size(0);
  const double sent = static_cast<double>(plan.traffic.total()),
               crossing = static_cast<double>(plan.between_nodes.total());
  const double staying =
      ranks > 1 ? sent * static_cast<double>(here - 1) / static_cast<double>(ranks - 1) : 0;
  const double sending =
      planner.several_nodes() ? staying / probe.copy_bytes + crossing * here / link : sent / link;
  std::string text =
      format("\nA step takes about %.2f s: %.2f s of products (%.0f GFLOP/s a thread ",
             compute + update + sending, compute, probe.gemm_flops / 1e9);
  text += measured_text(probe.core_share);
  text += format(", 0.8 of it reached), %.3f s of communication", sending);
  if (plan.update_operations > 0)
    text += format(", %.2f s of the update of whole tensors (%.0f GFLOP of the busiest ranks)",
                   update, plan.update_operations / 1e9);
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

std::string heading(const config::LoadedDeck& deck, const Planner& planner,
                    const zero::MemoryPlan& plan) {
  const config::RunConfig& config = planner.config();
  return "Plan of " + deck.name + ": " + counted(planner.request().ranks, "rank") + ", stage " +
         std::to_string(config.zero.stage) + ", " + counted(planner.request().slots, "slot") +
         " a step, " + std::to_string(plan.parameters) + " parameters, " +
         precision_text(config.precision) + "\n" + "Largest micro-batch: " + planner.batch_text() +
         "\n" + "Communication beside compute: " +
         (config.comm.overlap == config::Overlap::kOn ? "on" : "off") + " (" +
         planner.overlap().reason + ")\n";
}

/// What this node has beside what the deck's run takes of it.
std::string node_text(const Room& room, const zero::MemoryPlan& run, const Need& need) {
  const zero::MemoryPlan::Phase& most = room.gpu ? run.host_peak() : run.peak();
  std::string text = format(
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
    text += "ulimit -v leaves " + monitor::bytes_text(*left) +
            " to a process: it counts above where it is less.\n";
  }
  return text;
}

/// The verdict where plan.gpu_gbytes does not say what a GPU has: the host's side alone.
std::string unknown_gpu_text(const zero::MemoryPlan& run, const Need& need, bool fits) {
  return "Of a GPU a rank takes " + monitor::bytes_text(need.device) + " (" + run.peak().name +
         "); plan.gpu_gbytes says what it has.\n" +
         (fits ? "It fits beside the GPU.\n"
               : "The host has not enough memory beside the GPU: fewer ranks share "
                 "a node, or less is offloaded.\n");
}

std::string batch_tokens_text(const Planner& planner, const Room& room) {
  const std::int64_t tokens = largest_batch_tokens(planner, room);
  if (tokens >= kMostTokens)
    return "Any data.batch_tokens up to " + std::to_string(kMostTokens) + " fits.\n";
  if (tokens == 0) return "No data.batch_tokens fits.\n";
  const auto sentences =
      static_cast<std::int64_t>(static_cast<double>(tokens) / planner.mean_longest());
  return "The largest data.batch_tokens that fits is about " + std::to_string(tokens) +
         ", or data.batch_size " + std::to_string(std::max<std::int64_t>(1, sentences)) + ".\n";
}

}  // namespace

PlanAnswer plan_run(const config::LoadedDeck& deck, std::int64_t launched_ranks) {
  const Planner planner(deck, launched_ranks);
  const zero::MemoryPlan plan = planner.plan(planner.config());
  PlanAnswer answer;
  answer.text = heading(deck, planner, plan);
  answer.text += memory_tables(planner);
  answer.text += '\n';
  answer.text += disk_text(planner, plan);
  answer.text += time_text(planner);
  const Room room = room_of(planner);
  const zero::MemoryPlan run = plan_for(planner, planner.config(), room);
  const Need need = need_of(run, room);
  answer.text += node_text(room, run, need);
  answer.fits = room.holds(need);
  if (room.gpu && std::isinf(room.device)) {
    answer.text += unknown_gpu_text(run, need, answer.fits);
    return answer;
  }
  if (room.gpu) {
    answer.text +=
        format("On a GPU of %g GB a rank takes %s of it, the rest is the host's: %s.\n",
               planner.config().plan.gpu_gbytes, monitor::bytes_text(need.device).c_str(),
               static_cast<double>(need.device) <= room.device ? "it fits" : "it does not fit");
  }
  answer.text += batch_tokens_text(planner, room);
  answer.text += answer.fits ? "It fits.\n" : advice(planner, room);
  return answer;
}

}  // namespace th::train
