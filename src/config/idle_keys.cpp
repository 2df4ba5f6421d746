#include "config/checker.hpp"
#include "config/meanings.hpp"

#include "th/config/metrics.hpp"
#include "th/config/schema.hpp"
#include "th/config/state_names.hpp"

#include <cstdint>
#include <string>

// Keys that have no effect in a run.
namespace th::config {

namespace {

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

/// The longest line of a side that the model is trained on.
struct LongestLine {
  std::int64_t ids;
  std::string key;  ///< which says so
};
LongestLine longest_line(const DataSection& data, bool source) {
  if (data.synthetic != Synthetic::kNone) return {data.synthetic_length, "data.synthetic_length"};
  const std::int64_t own = source ? data.max_source_length : data.max_target_length;
  if (own == 0) return {data.max_length, "data.max_length"};
  return {own, source ? "data.max_source_length" : "data.max_target_length"};
}

/// Local attention and thinned encoder states by the longest lines.
void find_idle_reach(Checker& k, const RunConfig& c) {
  const ModelSection& model = c.model;
  const LongestLine source = longest_line(c.data, true), target = longest_line(c.data, false);
  const auto told = [](const LongestLine& line) {
    return "the longest line, " + std::to_string(line.ids) + " ids by " + line.key;
  };
  k.warn(model.cross_downsample > 1 && model.cross_downsample >= source.ids,
         {"model.cross_downsample", source.key},
         std::to_string(model.cross_downsample) + " is not below " + told(source) +
             ": cross attention sees the first encoder state alone");
  const auto is_full = [&](Attention attention, const LongestLine& line) {
    return has_window(attention) && model.attention_window > 0 &&
           model.attention_window >= line.ids - 1;
  };
  const bool encoder = is_full(model.encoder_attention, source),
             decoder = is_full(model.decoder_attention, target);
  const std::string places =
      encoder && decoder ? "encoder and decoder" : (encoder ? "the encoder" : "the decoder");
  const LongestLine& line = encoder ? source : target;
  k.warn(encoder || decoder, {"model.attention_window", line.key},
         std::to_string(model.attention_window) + " reaches across " + told(line) +
             ": local attention of " + places + " is full attention in training");
}

void find_idle_of_model(Checker& k, const RunConfig& c) {
  find_idle_reach(k, c);
  k.idle_if(!any_window(c.model), {"model.attention_window"}, "no attention is local");
  k.idle_if(c.model.position != Position::kRope,
            {"model.rope_theta", "model.rope_scaling", "model.rope_scaling_factor"},
            "model.position is not rope");
  k.idle_if(c.model.position == Position::kRope && c.model.rope_scaling == RopeScaling::kNone,
            {"model.rope_scaling_factor"}, "model.rope_scaling is none");
  k.idle_if(c.model.position == Position::kRope && c.model.rope_scaling != RopeScaling::kNone &&
                c.model.rope_scaling_factor == 1,
            {"model.rope_scaling"}, "model.rope_scaling_factor is 1");
  k.idle_if(c.model.position == Position::kRope && c.model.d_model == 2 * c.model.num_heads,
            {"model.rope_theta"}, "a head has one pair of columns, of frequency 1");
  k.idle_if(c.model.position == Position::kLearned, {"model.position_layout"},
            "model.position is learned");
  k.idle_if(c.model.position == Position::kAlibi, {"model.position_layout"},
            "model.position is alibi");
  k.idle_if(c.model.position != Position::kSinusoidal, {"model.position_frequency"},
            "model.position is not sinusoidal");
}

void find_idle_of_data(Checker& k, const RunConfig& c) {
  const bool synthetic = c.data.synthetic != Synthetic::kNone;
  k.idle_if(!synthetic, {"data.synthetic_length"}, "data.synthetic is none");
  k.idle_if(synthetic, {"data.batch_tokens"}, "synthetic batches have data.batch_size sentences");
  k.idle_if(synthetic, {"train.epochs"}, "random ids have no epochs: train.max_steps ends the run");
  k.idle_if(
      synthetic,
      {"data.valid_source", "data.valid_target", "data.test_source", "data.test_target",
       "data.tokenizer", "data.min_freq", "data.max_length", "data.empty_lines", "data.sort_window",
       "data.max_source_length", "data.max_target_length", "data.long_lines", "data.max_ratio",
       "data.train_weights", "data.train_temperature", "data.format", "data.index_dir"},
      "a synthetic run reads no text");
  k.idle_if(synthetic, {"model.start"}, "random ids have no begin symbol");
}

/// Those that say how lines are decoded.
Keys decoding_keys() {
  return {"decode.beam",
          "decode.length_penalty",
          "decode.length_normalization",
          "decode.max_length",
          "decode.min_length",
          "decode.no_repeat_ngram",
          "decode.forbidden_words",
          "decode.sampling",
          "decode.temperature",
          "decode.top_k",
          "decode.top_p"};
}

void find_idle_of_decoding(Checker& k, const DecodeSection& decode) {
  const Keys normalization{"decode.length_penalty", "decode.length_normalization"};
  k.idle_if(decode.sampling, normalization, "decode.sampling is true: draws are not compared");
  k.idle_if(!decode.sampling && decode.beam == 1, normalization, "decode.beam is 1: greedy");
  k.idle_if(decode.beam > 1 && decode.length_penalty == 0, {"decode.length_normalization"},
            "decode.length_penalty is 0");
  k.idle_if(!decode.sampling, {"decode.temperature", "decode.top_k", "decode.top_p"},
            "decode.sampling is false");
}

void find_idle_of_output(Checker& k, const RunConfig& c) {
  const bool synthetic = c.data.synthetic != Synthetic::kNone;
  const bool tests = !synthetic && !c.data.test_source.empty();
  const bool decodes = tests || (validates(c) && translates_in_validation(c));
  k.idle_if(!validates(c),
            {"train.valid_every_steps", "checkpoint.keep_best", "monitor.sample_lines"},
            "there is no validation text");
  k.idle_if(!decodes, decoding_keys(), "there is no test text");
  if (decodes) find_idle_of_decoding(k, c.decode);
  k.idle_if(!decodes, {"decode.sharded"}, "nothing is decoded");
  k.idle_if(decodes && c.zero.stage != 3, {"decode.sharded"},
            "zero.stage is not 3: every rank has all parameters");
  k.idle_if(!writes_checkpoints(c), {"checkpoint.keep_last", "checkpoint.async"},
            "no checkpoints are written");
  k.idle_if(!c.profile.enabled, {"profile.first_step", "profile.steps"},
            "profile.enabled is false");
}

}  // namespace

void find_idle(Checker& k, const RunConfig& c) {
  k.idle_if(c.run.device == DeviceKind::kCpu && c.zero.offload_optimizer,
            {"zero.offload_optimizer"}, "the device is a CPU");
  k.idle_if(c.run.device == DeviceKind::kCpu && c.zero.offload_parameters,
            {"zero.offload_parameters"}, "the device is a CPU");
  k.idle_if(c.run.device == DeviceKind::kCpu, {"plan.gpu_gbytes"}, "the device is a CPU");
  k.idle_if(c.run.device == DeviceKind::kCuda, {"run.gemm"},
            "a GPU's matrix products are cuBLAS's; the CPU's are those of decoding alone");
  k.idle_if(runtime::optimizer_states(optimizer_rule(c)).empty(), {"optimizer.state_dtype"},
            "the optimizer has no states");
  k.idle_if(
      c.optimizer.nesterov == runtime::Nesterov::kFalse && with_meanings(c).optimizer.momentum == 0,
      {"optimizer.nesterov"}, "optimizer.momentum is 0");
  k.idle_if(c.zero.stage != 3,
            {"zero.prefetch_units", "zero.persistence_threshold", "zero.max_live_parameters"},
            "zero.stage is not 3: parameters are not gathered");
  const bool by_node = c.zero.partition == Partition::kNode;
  k.idle_if(c.zero.stage != 3 && by_node, {"zero.partition"}, "zero.stage is not 3");
  k.idle_if(c.zero.stage == 3 && by_node,
            {"zero.prefetch_units", "zero.persistence_threshold", "zero.max_live_parameters",
             "decode.sharded"},
            "zero.partition is node: each node has all parameters");
  k.idle_if(c.zero.stage == 3 && c.comm.overlap == Overlap::kOff, {"zero.prefetch_units"},
            "comm.overlap is off: a unit is gathered when it is needed");
  find_idle_of_schedule(k, c.schedule.name);
  for (const Key& key : keys()) {
    if (!key.idle) continue;
    const std::string why = key.idle(c);
    k.idle_if(!why.empty(), {key.name}, why);
  }
  k.idle_if(c.precision.dtype == ElementType::kFp32, {"precision.reduce_dtype"},
            "precision.dtype is fp32");
  k.idle_if(c.precision.dtype != ElementType::kFp16,
            {"precision.loss_scale", "precision.loss_scale_window",
             "precision.loss_scale_hysteresis", "precision.loss_scale_min"},
            "precision.dtype is not fp16");
  find_idle_of_model(k, c);
  find_idle_of_data(k, c);
  find_idle_of_output(k, c);
}

}  // namespace th::config
