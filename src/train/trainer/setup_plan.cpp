#include "th/monitor/header.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/agreement.hpp"
#include "th/train/dealing.hpp"
#include "th/train/evaluation.hpp"
#include "th/train/overlap.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/train/watch/memory_watch.hpp"
#include "train/trainer/run_setup.hpp"

#include <algorithm>
#include <string>

// What the engine will take, and the choices that depend on it.
namespace th::train {

zero::PlanRequest RunSetup::plan_engine(config::Overlap overlap) {
  const int ranks_of_node = node_.size();
  zero::PlanRequest request;
  request.config = config_;
  request.config.comm.overlap = overlap;
  request.source_vocabulary = session_.data.source_vocabulary;
  request.target_vocabulary = session_.data.target_vocabulary;
  request.longest = session_.data.longest;
  request.source_per_target = session_.data.source_per_target;
  request.ranks = collectives_.size();
  request.slots = state_.micro_batches;
  request.saves = config::writes_checkpoints(config_);
  request.nodes = collectives_.nodes();
  request.shared_room = zero::agreed_shared_room(collectives_.control());
  request.messages = !collectives_.shares_memory();
  request.rank = collectives_.rank();
  request.memory = run_.device.memory();
  request.transport = run_.device.way();
  request.gemm = run_.device.gemm();
  request.fused_attention = run_.device.compute().fused_attention;
  const std::int64_t available = runtime::available_memory_bytes();
  zero::PlanRequest first = request;
  deal_slots(first, request);
  session_.decoding = choose_sharded_decoding(first, session_.data.dataset, collectives_.control(),
                                              ranks_of_node, available);
  for (zero::PlanRequest* of : {&first, &request}) {
    of->config.decode.sharded = session_.decoding.sharded;
    of->decoded_together = session_.decoding.together;
  }
  run_agreed(collectives_.control(),
             [&] { require_room(first, ranks_of_node, available, run_.device.free_memory()); });
  return request;
}

void RunSetup::deal_slots(zero::PlanRequest& first, zero::PlanRequest& request) {
  // Before the first step the batches of this epoch are known.
  const auto whose = config_.run.audit_steps > 0 ? data::StepSource::SlotsOf::kAllRanks
                                                 : data::StepSource::SlotsOf::kThisRank;
  const auto deal = [&](config::Dealing dealing) {
    first.config.comm.dealing = request.config.comm.dealing = dealing;
    session_.data.source->deal(
        zero::slot_dealing(first.config, state_.micro_batches, collectives_.size()));
    run_agreed(collectives_.control(),
               [&] { first.training = session_.data.source->largest_shapes(state_.epoch, whose); });
  };
  const DealingChoice choice = choose_dealing(config_, state_.micro_batches, *request.nodes, [&] {
    deal(config::Dealing::kBlocks);
    std::int64_t lacking = 0;
    run_agreed(collectives_.control(), [&] {
      lacking = bytes_without_room(first, node_.size(), runtime::available_memory_bytes());
    });
    return collectives_.control().maximum(lacking) == 0;
  });
  if (first.training.empty() || first.config.comm.dealing != choice.dealing) deal(choice.dealing);
  if (request.nodes->nodes() > 1 || config_.comm.dealing != config::Dealing::kAuto)
    log_.info(std::string("Micro-batches are dealt in ") +
              (choice.dealing == config::Dealing::kBlocks ? "blocks (" : "rounds (") +
              choice.reason + ")");
}

void RunSetup::tell_choices(const OverlapChoice& choice, const config::RunConfig& config) {
  log_.info(std::string("Communication beside compute: ") +
            (choice.overlap == config::Overlap::kOn ? "on (" : "off (") + choice.reason + ")");
  if (!session_.decoding.reason.empty()) {
    log_.info(std::string("Stage 3 decodes ") +
              (session_.decoding.sharded == config::Sharded::kOn
                   ? "in lock step, parameters sharded ("
                   : "with all parameters on every rank (") +
              session_.decoding.reason + ")");
  }
  const bool asked_ahead = std::any_of(
      run_.deck.entries.begin(), run_.deck.entries.end(),
      [](const auto& e) { return e.key == "zero.prefetch_units" && e.origin != "default"; });
  if (run_.is_root() && asked_ahead && zero::zero_policy(config).shard_parameters &&
      config_.comm.overlap == config::Overlap::kAuto && choice.overlap == config::Overlap::kOff) {
    log_.warn(
        "zero.prefetch_units has no effect: communication has no core of its own, so a unit is "
        "gathered when it is needed");
  }
}

}  // namespace th::train
