#include "config/checks.hpp"

#include "th/config/schema.hpp"
#include "th/config/state_names.hpp"

#include <algorithm>

namespace th::config {

namespace {

using Keys = std::vector<std::string>;

class Checker {
 public:
  Checker(const Origins& origins, const std::string& file, const std::set<std::string>& unsure,
          std::vector<std::string>& problems, std::vector<std::string>& warnings)
      : origins_(origins), file_(file), unsure_(unsure), problems_(problems), warnings_(warnings) {}

  [[nodiscard]] bool given(const std::string& key) const { return origins_.contains(key); }

  /// `keys`: the one to put right, then those that it disagrees with; the first that was given
  /// tells the line.
  void require(bool fine, const Keys& keys, const std::string& what) {
    const bool known = std::none_of(keys.begin(), keys.end(),
                                    [&](const std::string& key) { return unsure_.contains(key); });
    if (!fine && known) problems_.push_back(where(keys) + ": " + keys.front() + ": " + what);
  }
  void warn(bool doubtful, const Keys& keys, const std::string& what) {
    if (doubtful) warnings_.push_back(where(keys) + ": " + keys.front() + ": " + what);
  }
  void idle_if(bool idle, const Keys& keys, const std::string& why) {
    for (const std::string& key : keys) {
      if (idle && given(key))
        warnings_.push_back(origins_.at(key) + ": " + key + " has no effect: " + why);
    }
  }

 private:
  [[nodiscard]] std::string where(const Keys& keys) const {
    const auto found =
        std::find_if(keys.begin(), keys.end(), [&](const std::string& key) { return given(key); });
    return found == keys.end() ? file_ + ":1" : origins_.at(*found);
  }

  const Origins& origins_;
  const std::string& file_;
  const std::set<std::string>& unsure_;
  std::vector<std::string>& problems_;
  std::vector<std::string>& warnings_;
};

bool any_local(const ModelSection& model) {
  return model.encoder_attention == Attention::kLocal ||
         model.decoder_attention == Attention::kLocal || model.cross_attention == Attention::kLocal;
}

void check_attention(Checker& k, const ModelSection& model) {
  k.require(!any_local(model) || model.attention_window > 0,
            {"model.attention_window", "model.encoder_attention", "model.decoder_attention",
             "model.cross_attention"},
            "0, and local attention sees so many places on each side; allowed from 1");
  k.require(
      model.position != Position::kRope || model.d_model % model.num_heads != 0 ||
          model.d_model / model.num_heads % 2 == 0,
      {"model.position", "model.num_heads", "model.d_model"},
      "rope turns pairs of a head's columns, and a head of model.d_model / model.num_heads = " +
          std::to_string(model.d_model / model.num_heads) +
          " columns has an odd one; allowed even widths of a head");
  k.warn(model.cross_attention == Attention::kLocal &&
             model.attention_window < model.cross_downsample - 1,
         {"model.attention_window", "model.cross_downsample"},
         std::to_string(model.attention_window) + " is below model.cross_downsample - 1 = " +
             std::to_string(model.cross_downsample - 1) +
             ": some target positions see no encoder state");
}

void check_model(Checker& k, const ModelSection& model) {
  const std::string width = std::to_string(model.d_model);
  k.require(model.d_model % model.num_heads == 0, {"model.num_heads", "model.d_model"},
            std::to_string(model.num_heads) + " does not divide model.d_model = " + width +
                "; allowed divisors of it");
  k.require(model.position != Position::kSinusoidal || model.d_model % 2 == 0,
            {"model.d_model", "model.position"},
            width +
                " is odd, and sinusoidal positions are pairs of a sine and a cosine; allowed even "
                "widths");
  k.require(model.position != Position::kSinusoidal ||
                model.position_frequency == PositionFrequency::kStandard || model.d_model > 2,
            {"model.position_frequency", "model.d_model"},
            "marian spreads frequencies over pairs of columns, and model.d_model = " + width +
                " has one; allowed standard");
  k.require(static_cast<float>(model.norm_eps) > 0, {"model.norm_eps"},
            "is 0 in single precision, and a row of equal numbers would become 0/0; allowed from "
            "1e-45");
  check_attention(k, model);
}

/// Learned positions end where their table ends.
void check_positions(Checker& k, const RunConfig& c) {
  if (c.model.position != Position::kLearned || c.data.synthetic != Synthetic::kNone) return;
  const std::string rows = std::to_string(c.data.max_length);
  k.require(!k.given("decode.max_length") || c.decode.max_length < c.data.max_length,
            {"decode.max_length", "model.position", "data.max_length"},
            std::to_string(c.decode.max_length) + " ids and the begin symbol need " +
                std::to_string(c.decode.max_length + 1) +
                " positions, and model.position = " + "learned has data.max_length = " + rows +
                " of them; allowed up to " + std::to_string(c.data.max_length - 1));
}

void check_pair(Checker& k, const std::string& part, const std::string& source,
                const std::string& target) {
  const Keys keys{"data." + part + "_source", "data." + part + "_target"};
  const std::string what = "missing; " + keys[0] + " and " + keys[1] + " come together";
  k.require(!source.empty() || target.empty(), keys, what);
  k.require(!target.empty() || source.empty(), {keys[1], keys[0]}, what);
}

void check_data(Checker& k, const DataSection& data) {
  const bool synthetic = data.synthetic != Synthetic::kNone;
  check_pair(k, "train", data.train_source, data.train_target);
  check_pair(k, "valid", data.valid_source, data.valid_target);
  check_pair(k, "test", data.test_source, data.test_target);
  k.require(synthetic || !data.train_source.empty() || !data.train_target.empty(),
            {"data.train_source", "data.synthetic", "data.train_target"},
            "missing; give the training text, or data.synthetic = random_ids");
  k.require(!synthetic || (data.train_source.empty() && data.train_target.empty()),
            {"data.synthetic", "data.train_source"},
            "random_ids and data.train_source contradict each other; give one of them");
  k.require(data.vocab_size > 4 || (data.vocab_size == 0 && !synthetic),
            {"data.vocab_size", "data.synthetic"},
            synthetic ? "random_ids needs the vocabulary's size, the four special tokens counted; "
                        "allowed from 5"
                      : "the four special tokens count; allowed 0 or from 5");
  k.require(!k.given("data.batch_size") || data.batch_tokens == 0,
            {"data.batch_tokens", "data.batch_size"},
            "contradicts data.batch_size; give one of them");
}

/// Whether a schedule falls to its least rate at a step that is known at its beginning.
bool ends(ScheduleKind name) {
  return name == ScheduleKind::kCosine || name == ScheduleKind::kWarmupLinear ||
         name == ScheduleKind::kWsd;
}

void check_schedule(Checker& k, const RunConfig& c) {
  const ScheduleSection& s = c.schedule;
  k.require(
      s.warmup_steps > 0 || (s.name != ScheduleKind::kNoam && s.name != ScheduleKind::kInverseSqrt),
      {"schedule.warmup_steps", "schedule.name"},
      "0, and noam and inverse_sqrt fall from the end of the warm-up; allowed from 1");
  k.require(!ends(s.name) || s.total_steps == 0 || s.warmup_steps < s.total_steps,
            {"schedule.warmup_steps", "schedule.total_steps", "schedule.name"},
            std::to_string(s.warmup_steps) + " is not below schedule.total_steps = " +
                std::to_string(s.total_steps) + ": no step is left after the warm-up");
  const bool decays = s.name == ScheduleKind::kWsd && s.total_steps > s.warmup_steps;
  k.require(!decays || s.decay_steps <= s.total_steps - s.warmup_steps,
            {"schedule.decay_steps", "schedule.total_steps", "schedule.warmup_steps"},
            std::to_string(s.decay_steps) + " is more than the " +
                std::to_string(s.total_steps - s.warmup_steps) +
                " steps that schedule.total_steps leaves after the warm-up");
  k.require(!ends(s.name) || c.data.synthetic == Synthetic::kNone || s.total_steps > 0,
            {"schedule.total_steps", "schedule.name", "data.synthetic"},
            "random_ids has no epochs to take the schedule's end from; allowed from 1");
  k.require(s.name != ScheduleKind::kWarmupConstant || s.min_lr <= c.optimizer.lr,
            {"schedule.min_lr", "optimizer.lr"},
            "is above optimizer.lr, to which the warm-up rises from it");
  k.warn(s.name != ScheduleKind::kNoam && !k.given("optimizer.lr"),
         {"optimizer.lr", "schedule.name"},
         "left at its default 1, which is a factor for noam; another schedule takes it as the rate "
         "itself");
}

void check_optimizer(Checker& k, const OptimizerSection& optimizer) {
  // Rows of an embedding that no token of the batch uses have gradient 0 and moments 0: 0 /
  // (sqrt(0) + eps).
  const bool reads_eps = runtime::optimizer_reads(optimizer.name, &runtime::OptimizerSettings::eps);
  k.require(!reads_eps || static_cast<float>(optimizer.eps) > 0,
            {"optimizer.eps", "optimizer.name"},
            "is 0 in single precision, and a parameter without gradient would become 0/0; allowed "
            "from 1e-45");
  k.require(optimizer.name != OptimizerKind::kSgd || optimizer.momentum > 0 ||
                optimizer.nesterov != runtime::Nesterov::kTrue,
            {"optimizer.nesterov", "optimizer.momentum"},
            "true needs a momentum to look ahead along, and sgd has none; allowed with "
            "optimizer.momentum above 0");
}

/// Whether the run cannot fall back to the CPU.
bool needs_gpu(const RunConfig& c) {
  return c.run.device == DeviceKind::kCuda || c.comm.backend == Backend::kNccl;
}

void check_training(Checker& k, const RunConfig& c) {
  const bool synthetic = c.data.synthetic != Synthetic::kNone;
  check_schedule(k, c);
  check_optimizer(k, c.optimizer);
  k.require(!synthetic || c.train.max_steps > 0, {"train.max_steps", "data.synthetic"},
            "random_ids needs a number of steps; allowed from 1");
  k.require(c.decode.parameters == DecodeParameters::kTrained || c.train.ema_decay > 0,
            {"decode.parameters", "train.ema_decay"},
            "ema, and train.ema_decay is 0: the run keeps no average; allowed with a decay");
  k.require(c.optimizer.state_dtype == runtime::StateType::kFp32 || !needs_gpu(c),
            {"optimizer.state_dtype", "run.device", "comm.backend"},
            "bf16 states are not updated on a GPU yet; allowed fp32 with run.device = cuda");
  const std::string optimizer = runtime::optimizer_name(c.optimizer.name);
  const bool whole = runtime::element_states(optimizer_rule(c)) <
                     runtime::optimizer_states(optimizer_rule(c)).size();
  k.require(!whole || !needs_gpu(c), {"optimizer.name", "run.device", "comm.backend"},
            optimizer +
                " is not computed on a GPU yet; allowed adam, adamw, sgd with run.device = "
                "cuda");
  k.require(!whole || c.precision.reduce_dtype == ReduceDtype::kFp32,
            {"precision.reduce_dtype", "optimizer.name"},
            "working contradicts optimizer.name = " + optimizer +
                ", whose tensors travel in fp32; allowed fp32");
  k.require(c.train.ema_decay == 0 || !needs_gpu(c),
            {"train.ema_decay", "run.device", "comm.backend"},
            "the average is not made on a GPU yet; allowed 0 with run.device = cuda");
  k.require(!c.checkpoint.branch || c.checkpoint.resume == Resume::kPath,
            {"checkpoint.branch", "checkpoint.resume"},
            "branch begins a run of its own from a checkpoint: checkpoint.resume must be its path");
  k.require(c.checkpoint.resume != Resume::kPath || c.checkpoint.init_from.empty(),
            {"checkpoint.init_from", "checkpoint.resume"},
            "contradicts checkpoint.resume with a path; give one of them");
  k.require(c.precision.reduce_dtype == ReduceDtype::kFp32 || c.comm.reduction == Reduction::kExact,
            {"precision.reduce_dtype", "comm.reduction"},
            "working contradicts comm.reduction = fast, which sums fp32 alone; allowed fp32");
  k.require(c.comm.backend != Backend::kNccl || c.run.device != DeviceKind::kCpu,
            {"comm.backend", "run.device"},
            "nccl moves tensors of GPUs, and run.device is cpu; allowed auto, mpi");
  k.require(!c.zero.offload_parameters || c.zero.stage == 3,
            {"zero.offload_parameters", "zero.stage"},
            "true moves this rank's shards of the parameters, and zero.stage = " +
                std::to_string(c.zero.stage) + " does not shard them; allowed with zero.stage = 3");
  k.warn(c.train.max_steps > 0 && c.run.warmup_steps >= c.train.max_steps,
         {"run.warmup_steps", "train.max_steps"},
         std::to_string(c.run.warmup_steps) + " leaves none of train.max_steps = " +
             std::to_string(c.train.max_steps) + " steps for tokens_per_second");
}

void find_idle_of_schedule(Checker& k, ScheduleKind name) {
  k.idle_if(name == ScheduleKind::kConstant, {"schedule.warmup_steps"},
            "schedule.name is constant");
  k.idle_if(!ends(name), {"schedule.total_steps"}, "only cosine, warmup_linear and wsd end");
  k.idle_if(name != ScheduleKind::kWarmupConstant, {"schedule.warmup_shape", "schedule.min_lr"},
            "schedule.name is not warmup_constant");
  k.idle_if(name == ScheduleKind::kConstant || name == ScheduleKind::kWarmupConstant,
            {"schedule.min_ratio"}, "the schedule does not fall");
  k.idle_if(name != ScheduleKind::kWsd, {"schedule.decay_steps"}, "schedule.name is not wsd");
}

/// Keys that were given and that this run does not look at.
void find_idle(Checker& k, const RunConfig& c) {
  const bool synthetic = c.data.synthetic != Synthetic::kNone;
  const bool saves = c.checkpoint.every_epochs > 0 || c.checkpoint.every_steps > 0;
  k.idle_if(c.run.device == DeviceKind::kCpu && c.zero.offload_optimizer,
            {"zero.offload_optimizer"}, "the device is a CPU");
  k.idle_if(c.run.device == DeviceKind::kCpu && c.zero.offload_parameters,
            {"zero.offload_parameters"}, "the device is a CPU");
  k.idle_if(c.run.device == DeviceKind::kCpu, {"plan.gpu_gbytes"}, "the device is a CPU");
  k.idle_if(c.run.device == DeviceKind::kCuda, {"run.gemm"},
            "a GPU's matrix products are cuBLAS's; the CPU's are those of decoding alone");
  k.idle_if(runtime::optimizer_states(optimizer_rule(c)).empty(), {"optimizer.state_dtype"},
            "the optimizer has no states");
  k.idle_if(!any_local(c.model), {"model.attention_window"}, "no attention is local");
  k.idle_if(c.model.position != Position::kRope,
            {"model.rope_theta", "model.rope_scaling", "model.rope_scaling_factor"},
            "model.position is not rope");
  k.idle_if(c.model.position == Position::kRope && c.model.rope_scaling == RopeScaling::kNone,
            {"model.rope_scaling_factor"}, "model.rope_scaling is none");
  k.idle_if(c.zero.stage != 3,
            {"zero.prefetch_units", "zero.persistence_threshold", "zero.max_live_parameters"},
            "zero.stage is not 3: parameters are not gathered");
  k.idle_if(c.zero.stage == 3 && c.comm.overlap == Overlap::kOff, {"zero.prefetch_units"},
            "comm.overlap is off: a unit is gathered when it is needed");
  find_idle_of_schedule(k, c.schedule.name);
  for (const Key& key : keys()) {
    if (!key.idle) continue;
    const std::string why = key.idle(c);
    k.idle_if(!why.empty(), {key.name}, why);
  }
  k.idle_if(c.precision.dtype == Precision::kFp32, {"precision.reduce_dtype"},
            "precision.dtype is fp32");
  k.idle_if(c.precision.dtype != Precision::kFp16,
            {"precision.loss_scale", "precision.loss_scale_window"}, "precision.dtype is not fp16");
  k.idle_if(!synthetic, {"data.synthetic_length"}, "data.synthetic is none");
  k.idle_if(synthetic, {"data.batch_tokens"}, "synthetic batches have data.batch_size sentences");
  k.idle_if(synthetic,
            {"data.valid_source", "data.valid_target", "data.test_source", "data.test_target",
             "data.tokenizer", "data.min_freq", "data.max_length", "data.empty_lines",
             "data.sort_window"},
            "a synthetic run reads no text");
  k.idle_if(synthetic, {"model.start"}, "random ids have no begin symbol");
  k.idle_if(c.model.position == Position::kLearned, {"model.position_layout"},
            "model.position is learned");
  k.idle_if(c.model.position == Position::kAlibi, {"model.position_layout"},
            "model.position is alibi");
  k.idle_if(c.model.position != Position::kSinusoidal, {"model.position_frequency"},
            "model.position is not sinusoidal");
  k.idle_if(synthetic || c.data.valid_source.empty(), {"train.valid_every_steps"},
            "there is no validation text");
  k.idle_if(synthetic || c.data.test_source.empty(),
            {"decode.beam", "decode.length_penalty", "decode.max_length"}, "there is no test text");
  k.idle_if(!synthetic && !c.data.test_source.empty() && c.decode.beam == 1,
            {"decode.length_penalty"}, "decode.beam is 1: greedy");
  k.idle_if(!saves, {"checkpoint.keep_last", "checkpoint.async"}, "no checkpoints are written");
  k.idle_if(!c.profile.enabled, {"profile.first_step", "profile.steps"},
            "profile.enabled is false");
}

}  // namespace

void check(const RunConfig& config, const Origins& origins, const std::string& file,
           const std::set<std::string>& unsure, std::vector<std::string>& problems,
           std::vector<std::string>& warnings) {
  Checker k(origins, file, unsure, problems, warnings);
  check_model(k, config.model);
  check_positions(k, config);
  check_data(k, config.data);
  check_training(k, config);
  find_idle(k, config);
}

}  // namespace th::config
