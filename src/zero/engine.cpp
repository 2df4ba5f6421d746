#include "th/zero/engine.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/zero/host_device.hpp"
#include "th/zero/whole_update.hpp"
#include "zero/sizes.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace th::zero {

using runtime::FlightRecord;

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model,
                       runtime::Collectives& collectives, std::int64_t slots,
                       runtime::Device* device)
    : config_(config),
      collectives_(collectives),
      host_(device == nullptr ? std::make_unique<HostDevice>() : nullptr),
      device_(device == nullptr ? *host_ : *device),
      policy_(zero_policy(config)),
      layout_(model.units(), collectives.size()),
      slots_(slots),
      rounds_((slots + collectives.size() - 1) / collectives.size()),
      rank_(collectives.rank()),
      ranks_(collectives.size()),
      tensor_device_(model.device().tensors),
      use_(unit_use(model)),
      buffers_(engine_buffers(config_, layout_, use_, slots,
                              device_.is_host() ? DeviceMemory::kHost : DeviceMemory::kOwn)),
      compute_(device_.compute()),
      own_communication_(config.comm.overlap == config::Overlap::kOn
                             ? device_.make_stream(runtime::StreamUse::kCommunication)
                             : nullptr),
      own_copies_(own_communication_ && buffers_.parameters_on_host
                      ? device_.make_stream(runtime::StreamUse::kCopies)
                      : nullptr),
      communication_(own_communication_ ? *own_communication_ : compute_),
      copies_(own_copies_ ? *own_copies_ : communication_) {
  ensure(slots >= ranks_, "fewer slots than ranks");
  collectives_.use_stream(&communication_);
  allocate();
  lay_out_places();
  initialise(config.run.seed);
}

ZeroEngine::~ZeroEngine() {
  try {
    compute_.drain();       // its tasks use what goes
  } catch (const Error&) {  // the error that ended the run was reported
  }
  own_copies_.reset();
  own_communication_.reset();
  collectives_.use_stream(nullptr);
}

std::byte* ZeroEngine::working_at(runtime::TransportBuffer& buffer, std::int64_t element) const {
  return reinterpret_cast<std::byte*>(buffer.data()) +
         element * element_bytes(buffers_.types.working);
}

std::byte* ZeroEngine::reduced_at(float* buffer, std::int64_t element) const {
  return reinterpret_cast<std::byte*>(buffer) + element * element_bytes(buffers_.types.reduced);
}

std::byte* ZeroEngine::parameter_shard(std::int64_t unit) const {
  if (buffers_.parameters_on_host) return nullptr;
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  return working_at(*parameters_, whole_parameters() ? u.offset + rank_ * u.shard : u.shard_offset);
}

std::byte* ZeroEngine::reduced_gradient(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (policy_.shard_gradients) return reduced_at(shard_gradients_.as<float>(), u.shard_offset);
  return reduced_at(gradients_->data(), u.offset + rank_ * u.shard);
}

void ZeroEngine::begin_step() {
  communication_.run_bodies();  // of a step that was given up
  device_.settle();
  round_ = 0;
  if (audit_) audit_->leave();
  compute_.clear(losses(), rounds_ * kDouble);
  if (pool_) pool_->begin(use_.opens, rounds_);
}

void ZeroEngine::begin_evaluation(std::int64_t rounds) {
  if (pool_) pool_->begin(use_.forward_opens, rounds);
}

void ZeroEngine::begin_decoding() {
  if (pool_) pool_->begin(use_.decoding_opens, 1);
}

void ZeroEngine::begin_decoding_steps(std::int64_t steps) {
  if (pool_) pool_->begin(use_.step_opens, steps);
}

void ZeroEngine::settle() {
  compute_.drain();
  communication_.drain();
  copies_.drain();
  device_.settle();
}

void ZeroEngine::compute_slot(model::Transformer& model, const data::Batch* batch,
                              std::int64_t slot, const model::SlotTarget& target, double* loss) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  idle_ = batch == nullptr || batch->sentences == 0;
  if (idle_) return model.idle_slot(*this);
  slot_ = slot;
  const FlightRecord::HostScope event(*flight_, FlightRecord::What::kSlot, slot_);
  model.train_slot(*this, *batch, target, loss);
  slot_ = FlightRecord::kNone;
}

void ZeroEngine::accumulate(model::Transformer& model, const data::Batch* batch,
                            std::uint64_t step_key, double gradient_scale, double label_smoothing) {
  ensure(round_ < rounds_, "ZeroEngine: more rounds than the step has");
  const std::int64_t slot = round_ * ranks_ + rank_;
  const bool audited = audit_ && audit_->is_of(round_, rank_);
  if (audit_) audit_->enter(audited ? SlotAudit::Pass::kOwn : SlotAudit::Pass::kOther);
  const BitFlip::Computing flips(audited && batch != nullptr && batch->sentences > 0);
  compute_slot(
      model, batch, slot,
      {hash_pair(step_key, static_cast<std::uint64_t>(slot)), gradient_scale, label_smoothing},
      losses() + round_);
  ++round_;
  device_.settle();
}

void ZeroEngine::sum_squares(double* record) {
  if (reduction_sums_squares()) return;
  const config::Precision reduced = buffers_.types.reduced;
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    const std::int64_t blocks = unit.shard / FlatLayout::kBlock;
    const std::byte* gradient = reduced_gradient(static_cast<std::int64_t>(u));
    double* out = record + unit.shard_offset / FlatLayout::kBlock;
    compute_.enqueue("norm",
                     [=, this] {
                       device_.block_square_sums(compute_, gradient, element_type(reduced), blocks,
                                                 out);
                     },
                     {runtime::reads(gradient, unit.shard * element_bytes(reduced)),
                      runtime::writes(out, blocks * kDouble)});
  }
}

const double* ZeroEngine::gather_records() {
  if (ranks_ == 1) return reinterpret_cast<const double*>(record_->data());
  const std::int64_t bytes = buffers_.record * kDouble;
  communication_.wait(compute_.record());
  communication_.enqueue(
      "gather of records",
      [this] {
        collectives_.all_gather(*record_, 0, 0, buffers_.record * kWordsOfDouble,
                                records_.as<float>());
      },
      {runtime::reads(record_->data(), bytes), runtime::writes(records_.data(), bytes * ranks_)});
  compute_.wait(communication_.record());
  communication_.run_bodies();
  return records_.as<double>();
}

void ZeroEngine::conclude(const StepRequest& request, const double* records,
                          runtime::StepOutcome* outcome) {
  const auto units = std::make_shared<std::vector<runtime::StepRecords::Unit>>();
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    const std::byte* gradient = reduced_gradient(static_cast<std::int64_t>(u));
    units->push_back(
        {unit.shard_offset / FlatLayout::kBlock, unit.shard / FlatLayout::kBlock, gradient});
    compute_.touch("end of a step",
                   {runtime::reads(gradient, unit.shard * element_bytes(buffers_.types.reduced))});
  }
  runtime::StepRecords all;
  all.type = element_type(buffers_.types.reduced);
  all.records = records;
  all.record = buffers_.record;
  all.losses = buffers_.shard_blocks;
  all.rank = rank_;
  all.ranks = ranks_;
  all.slots = slots_;
  all.clip = config_.train.gradient_clip;
  all.loss_scale = request.loss_scale;
  all.outcome = outcome;
  compute_.enqueue("end of a step",
                   [this, all, units]() mutable {
                     all.units = *units;
                     device_.end_step(compute_, all);
                   },
                   {runtime::reads(records, buffers_.record * ranks_ * kDouble),
                    runtime::writes(outcome, sizeof(runtime::StepOutcome))});
}

std::string ZeroEngine::first_not_finite(const runtime::StepOutcome& outcome) {
  constexpr std::int64_t kNone = std::int64_t{1} << 62;
  std::int64_t found = kNone;  // tensor, in the layout's order
  if (outcome.bad_element >= 0) {
    for (std::int64_t t = 0; t < std::ssize(layout_.tensors()); ++t) {
      const FlatLayout::Tensor& tensor = layout_.tensors()[index(t)];
      if (tensor.unit == outcome.bad_unit && tensor.offset <= outcome.bad_element) found = t;
    }
  }
  const std::int64_t first = -collectives_.maximum(-found);
  return first == kNone ? std::string("the gradient's norm")
                        : layout_.tensors()[index(first)].spec.name;
}

StepResult ZeroEngine::step(const StepRequest& request) {
  end_step(request);
  return result();
}

void ZeroEngine::end_step(const StepRequest& request) {
  ensure(round_ == rounds_, "ZeroEngine: the end of a step before its last round");
  ensure(std::ssize(ended_) < EngineBuffers::kOutcomes,
         "ZeroEngine: too many results wait to be taken");
  const FlightRecord::HostScope event(*flight_, FlightRecord::What::kOptimizer);
  compute_.wait(communication_.record());
  communication_.run_bodies();
  Ended ended = find_outcome(request);
  ++ends_;
  if (runs_ahead()) {
    update(request, 1.0, outcome_.as<runtime::StepOutcome>());
  } else {
    arrive(ended);
    if (ended.outcome.finite != 0) {
      update(request, ended.outcome.gradient_factor, nullptr);
    } else {
      store_->leave_gradients();
    }
  }
  ended_.push_back(ended);
}

ZeroEngine::Ended ZeroEngine::find_outcome(const StepRequest& request) {
  const FlightRecord::Scope event(flight_, compute_, FlightRecord::What::kNorm,
                                  FlightRecord::On::kCompute, FlightRecord::kNone);
  Ended ended;
  if (device_.is_host()) {
    const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
    std::vector<double> all(index(buffers_.records));
    sum_squares(record());
    compute_.touch("record", {runtime::reads(record(), buffers_.record * kDouble)});
    collectives_.all_gather_doubles({record(), index(buffers_.record)}, all);
    conclude(request, all.data(), &ended.outcome);
  } else {
    sum_squares(record());
    conclude(request, gather_records(), outcome_.as<runtime::StepOutcome>());
    auto* to = read_outcomes_.as<runtime::StepOutcome>() + ends_ % EngineBuffers::kOutcomes;
    compute_.copy(to, outcome_.data(), sizeof(runtime::StepOutcome));
    ended.arriving = to;
    ended.arrived = compute_.record();
  }
  return ended;
}

void ZeroEngine::arrive(Ended& ended) {
  if (ended.arriving == nullptr) return;
  const FlightRecord::HostScope event(*flight_, FlightRecord::What::kResult);
  device_.host().wait(ended.arrived);
  device_.host().touch("read an outcome",
                       {runtime::reads(ended.arriving, sizeof(runtime::StepOutcome))});
  ended.outcome = *std::exchange(ended.arriving, nullptr);
}

StepResult ZeroEngine::result() {
  ensure(!ended_.empty(), "ZeroEngine: no step has ended");
  Ended ended = ended_.front();
  ended_.pop_front();
  arrive(ended);
  StepResult result{ended.outcome.loss_sum, ended.outcome.grad_norm, {}};
  if (!std::isfinite(result.grad_norm)) result.not_finite = first_not_finite(ended.outcome);
  return result;
}

void ZeroEngine::update(const StepRequest& request, double gradient_factor,
                        const runtime::StepOutcome* outcome) {
  constexpr std::uint64_t kRoundingStream = 0x726f756e64;
  const std::uint64_t draws = hash_pair(hash_pair(config_.run.seed, kRoundingStream),
                                        static_cast<std::uint64_t>(request.optimizer_step));
  runtime::UpdateFactors factors =
      update_factors({config_.optimizer, request.lr, gradient_factor, request.optimizer_step});
  if (whole_update_) {
    whole_update_->begin_step(
        {config_.optimizer, request.lr, gradient_factor, request.optimizer_step}, draws);
  }
  factors.draws = draws;
  average_rate_ = request.optimizer_step == 1 ? 1.0 : 1.0 - config_.train.ema_decay;
  const auto units = static_cast<std::int64_t>(layout_.units().size());
  for (std::int64_t u = 0; u < units && updates_own_part() && !whole_update_; ++u)
    store_->announce(slice_of(u));
  for (std::int64_t u = 0; u < units; ++u) update_unit(u, factors, outcome);
  communication_.run_bodies();
  if (pool_) pool_->updated();
}

void ZeroEngine::update_unit(std::int64_t unit, const runtime::UpdateFactors& factors,
                             const runtime::StepOutcome* outcome) {
  if (updates_own_part()) return update_shard(unit, factors, outcome);
  update_whole(unit, factors,
               outcome);  // everything is updated here, and each rank has the sum of its own shard
}

void ZeroEngine::average(const StateStore::Slice& slice) {
  if (buffers_.averages) store_->average(slice, average_rate_);
}

void ZeroEngine::update_shard(std::int64_t unit, const runtime::UpdateFactors& factors,
                              const runtime::StepOutcome* outcome) {
  {
    const FlightRecord::Scope scope(flight_, store_->updating(), FlightRecord::What::kUpdate,
                                    updates_on(), unit);
    if (whole_update_) {
      for (const StateStore::Slice& part : parts_of(slice_of(unit))) {
        store_->announce(part);
        store_->update_next(factors, outcome);
      }
      update_matrices(unit);
    } else {
      store_->update_next(factors, outcome);
    }
    average(slice_of(unit));
  }
  updated_[index(unit)] = whole_[index(unit)] = store_->updated();
  if (policy_.shard_parameters || !policy_.shard_optimizer) return;
  gather_unit(unit, working_at(*parameters_, layout_.units()[index(unit)].offset));
  whole_[index(unit)] = communication_.record();
}

void ZeroEngine::update_whole(std::int64_t number, const runtime::UpdateFactors& factors,
                              const runtime::StepOutcome* outcome) {
  const config::Precision reduced = buffers_.types.reduced;
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const runtime::Access gradient = runtime::writes(reduced_at(gradients_->data(), unit.offset),
                                                   unit.padded * element_bytes(reduced));
  const auto shards = std::make_shared<std::vector<const float*>>();
  communication_.wait(compute_.record());
  communication_.enqueue("gather",
                         [this, number, shards, offset = words(unit.offset, reduced),
                          shard = words(unit.shard, reduced)] {
                           const FlightRecord::Scope scope(
                               flight_, communication_, FlightRecord::What::kGather,
                               FlightRecord::On::kCommunication, number);
                           *shards = collectives_.shards(*gradients_, offset, shard);
                         },
                         {gradient});
  compute_.wait(communication_.record());
  communication_.run_bodies();
  std::vector<StateStore::Slice> slices;
  for (std::int64_t r = 0; r < ranks_; ++r) {
    if (!updates(r)) continue;
    slices.push_back({number, r * unit.shard, unit.shard, (*shards)[index(r)],
                      working_at(*parameters_, unit.offset + r * unit.shard), r * unit.shard});
    store_->announce(slices.back());
  }
  {
    const FlightRecord::Scope scope(flight_, store_->updating(), FlightRecord::What::kUpdate,
                                    updates_on(), number);
    for (const StateStore::Slice& slice : slices) {
      store_->update_next(factors, outcome);
      average(slice);
    }
  }
  updated_[index(number)] = whole_[index(number)] = store_->updated();
  communication_.wait(store_->updating().record());
  // From here on the owners may write again what was read here.
  const bool others = std::ssize(slices) < ranks_;  // have updated what this rank did not
  communication_.enqueue(
      "end of a gather", [this] { collectives_.finish_exchange(); },
      {gradient,
       runtime::writes(working_at(*parameters_, unit.offset),
                       others ? unit.padded * element_bytes(buffers_.types.working) : 0)});
  gradient_free_[gradient_place_[index(number)]] = communication_.record();
  if (others) whole_[index(number)] = communication_.record();
}

}  // namespace th::zero
