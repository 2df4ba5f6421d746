#include "th/train/audit/audit.hpp"

#include "th/base/bit_flip.hpp"
#include "th/base/hash.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/training_data.hpp"
#include "train/audit/verdict.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace th::train {

Audit::Audit(Parts parts) : parts_(std::move(parts)), steps_(parts_.config.run.audit_steps) {}

Audit::Draw Audit::draw(std::uint64_t seed, std::int64_t step, std::int64_t slots, int ranks) {
  constexpr std::uint64_t kAuditStream = 0x6175646974;
  const std::uint64_t key =
      hash_pair(hash_pair(seed, kAuditStream), static_cast<std::uint64_t>(step));
  const auto below = [key](std::uint64_t what, std::int64_t end) {
    return static_cast<std::int64_t>(hash_pair(key, what) % static_cast<std::uint64_t>(end));
  };
  Draw out;
  out.slot = below(0, slots);
  out.owner = static_cast<int>(out.slot % ranks);
  out.witness = out.owner;
  if (ranks == 1) return out;
  const std::int64_t steps = 1 + below(1, ranks - 1);  // from the owner on
  out.witness = static_cast<int>((out.owner + steps) % ranks);
  if (ranks == 2) return out;
  const std::int64_t others = 1 + below(2, ranks - 2);
  out.arbiter = static_cast<int>((out.owner + others + (others >= steps ? 1 : 0)) % ranks);
  return out;
}

std::string Audit::enqueue_step(const data::StepBatches& batches, std::int64_t step,
                                const zero::StepRequest& request) {
  if (BitFlip::here(BitFlip::Place::kCopy)) parts_.engine.audit().spoil_parameters();
  if (!due(step + 1)) {
    train::enqueue_step(parts_.config, parts_.model, parts_.engine, batches, step, request);
    return "";
  }
  zero::ZeroEngine& engine = parts_.engine;
  const Step audited{batches, step, request,
                     draw(parts_.config.run.seed, step, engine.slots(), parts_.control.size())};
  AuditReport mine;
  engine.begin_step();
  engine.audit().begin(audited.draw.slot);
  mine.parameters = engine.audit().parameter_hashes();
  mine.again = compute(audited, audited.draw.witness);
  accumulate_rounds(parts_.config, parts_.model, engine, batches, step, request);
  zero::AuditedSlot found = engine.audit().found();
  mine.computed = std::move(found.computed);
  mine.arrived = found.arrived;
  std::string verdict = compare(audited, mine);
  if (!verdict.empty()) return verdict;
  engine.end_step(request);
  agreed_ = step + 1;
  return "";
}

zero::SlotHashes Audit::compute(const Step& step, int rank) {
  std::optional<data::Batch> batch;
  if (rank == parts_.control.rank()) {
    const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
    batch = parts_.source.make_slot(step.batches.epoch, step.batches.step_in_epoch, step.draw.slot);
    if (parts_.memory != nullptr) parts_.memory->saw_audit(*batch);
  }
  return parts_.engine.audit().compute_again(
      parts_.model, batch ? &*batch : nullptr, dropout_key(parts_.config, step.number),
      gradient_scale(step.batches, step.request), parts_.config.train.label_smoothing);
}

std::string Audit::compare(const Step& step, const AuditReport& mine) {
  runtime::ControlCalls& control = parts_.control;
  const auto gather = [&](const AuditReport& report) {
    std::vector<AuditReport> all;
    for (const std::string& text : control.gather_texts(packed(report)))
      all.push_back(unpacked(text));
    return all;
  };
  std::vector<AuditReport> reports = gather(mine);
  AuditNames names;
  for (int r = 0; r < control.size(); ++r) names.ranks.push_back("rank " + std::to_string(r));
  for (const model::UnitSpec& unit : parts_.model.units()) names.units.push_back(unit.name);
  const Draw& draw = step.draw;
  const bool copies_agree = verdict_on_copies(reports, names).empty();
  const bool agree = verdict_on_slot(reports, draw.owner, draw.witness, -1, names).empty();
  if (copies_agree && agree && verdict_on_messages(reports, draw.owner, names).empty()) return "";
  if (copies_agree && !agree && draw.arbiter >= 0) {
    const zero::SlotHashes third = compute(step, draw.arbiter);
    AuditReport of_arbiter = mine;
    if (draw.arbiter == control.rank()) of_arbiter.again = third;
    reports = gather(of_arbiter);
  }
  const std::vector<std::string> places =
      control.gather_texts(" (" + runtime::hostname() + ", " + parts_.place + ")");
  for (std::size_t r = 0; r < places.size(); ++r) names.ranks[r] += places[r];
  const std::string of_copies = verdict_on_copies(reports, names);
  std::string what = of_copies;
  if (what.empty() && !agree)
    what = verdict_on_slot(reports, draw.owner, draw.witness, draw.arbiter, names);
  if (what.empty()) what = verdict_on_messages(reports, draw.owner, names);
  const std::string before =
      agreed_ > 0 ? "the audit before, of step " + std::to_string(agreed_) + ", found nothing"
                  : "this was the first audit of the run";
  return "step " + std::to_string(step.number + 1) + ": the audit" +
         (of_copies.empty() ? " of micro-batch " + std::to_string(draw.slot) : "") +
         " found that " + what + ". Nothing was updated; " + before + ". " +
         (of_copies.empty()
              ? "Go on with checkpoint.resume=latest, without that host"
              : "Later checkpoints may hold it: go on with checkpoint.resume from one of before, "
                "without that host") +
         " (docs/audit.md).";
}

}  // namespace th::train
