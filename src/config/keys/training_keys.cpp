#include "config/key_table.hpp"

// The keys of the deck's sections [train], [schedule] and [precision].
namespace th::config {

void add_train(std::vector<Key>& t) {
  t.push_back(integer_key("train.epochs", TH_AT(train.epochs), 1, kMost, "passes over the corpus"));
  t.push_back(integer_key("train.max_steps", TH_AT(train.max_steps), 0, kMost,
                          "optimizer steps since step 0, across resumes; 0: no limit"));
  t.push_back(integer_key(
      "train.micro_batches", TH_AT(train.micro_batches), 0, 1 << 20,
      "micro-batches (slots) in one optimizer step over all ranks; 0: the rank count at step 0"));
  t.push_back(number_key("train.label_smoothing", TH_AT(train.label_smoothing),
                         {.low = 0, .high = 1, .high_open = true}, "label smoothing"));
  t.push_back(number_key("train.gradient_clip", TH_AT(train.gradient_clip), {.low = 0},
                         "largest global gradient norm; 0: no clipping"));
  t.push_back(integer_key("train.valid_every_steps", TH_AT(train.valid_every_steps), 0, kMost,
                          "0: once an epoch"));
  t.push_back(number_key("train.ema_decay", TH_AT(train.ema_decay),
                         {.low = 0, .high = 1, .high_open = true},
                         "decay of the moving average of the parameters; 0: none"));
  t.push_back(
      choice_key("train.on_not_finite", TH_AT(train.on_not_finite),
                 Choices<OnNotFinite>{{"stop", OnNotFinite::kStop}, {"skip", OnNotFinite::kSkip}},
                 "when a loss or gradients are not finite: stop ends the run with exit 6; "
                 "skip leaves the parameters as they are and goes on; fp16's overflows "
                 "lower the loss scale instead"));
}

void add_schedule(std::vector<Key>& t) {
  t.push_back(choice_key("schedule.name", TH_AT(schedule.name),
                         Choices<ScheduleKind>{{"noam", ScheduleKind::kNoam},
                                               {"warmup_linear", ScheduleKind::kWarmupLinear},
                                               {"cosine", ScheduleKind::kCosine},
                                               {"constant", ScheduleKind::kConstant},
                                               {"inverse_sqrt", ScheduleKind::kInverseSqrt},
                                               {"warmup_constant", ScheduleKind::kWarmupConstant},
                                               {"wsd", ScheduleKind::kWsd}},
                         "learning rate schedule"));
  t.push_back(integer_key(
      "schedule.warmup_steps", TH_AT(schedule.warmup_steps), 0, kMost,
      "steps of warm-up; 0: none, but noam and inverse_sqrt need 1, and warmup_constant "
      "takes 2 at least, as DeepSpeed's WarmupLR"));
  t.push_back(integer_key("schedule.total_steps", TH_AT(schedule.total_steps), 0, kMost,
                          "0: from train.epochs, never from max_steps"));
  t.push_back(choice_key(
      "schedule.warmup_shape", TH_AT(schedule.warmup_shape),
      Choices<WarmupShape>{{"linear", WarmupShape::kLinear}, {"log", WarmupShape::kLog}},
      "warmup_constant: how the rate rises from schedule.min_lr to optimizer.lr: linear, by "
      "the same amount each step; log, fast at first, then ever slower"));
  t.push_back(number_key("schedule.min_lr", TH_AT(schedule.min_lr), {.low = 0},
                         "warmup_constant: the rate of the first step"));
  t.push_back(number_key("schedule.min_ratio", TH_AT(schedule.min_ratio), {.low = 0, .high = 1},
                         "least rate after the warm-up, as a part of the highest"));
  t.push_back(integer_key("schedule.decay_steps", TH_AT(schedule.decay_steps), 0, kMost,
                          "wsd: steps of the decay at the end; 0: a tenth of all"));
}

void add_precision(std::vector<Key>& t) {
  t.push_back(choice_key(
      "precision.dtype", TH_AT(precision.dtype),
      Choices<Precision>{
          {"fp32", Precision::kFp32}, {"bf16", Precision::kBf16}, {"fp16", Precision::kFp16}},
      "type of activations and working weights; bf16 and fp16 keep fp32 master weights, fp16 a "
      "dynamic loss scale"));
  t.push_back(choice_key(
      "precision.reduce_dtype", TH_AT(precision.reduce_dtype),
      Choices<ReduceDtype>{{"fp32", ReduceDtype::kFp32}, {"working", ReduceDtype::kWorking}},
      "type in which gradients are kept and sent; working is that of "
      "precision.dtype, sums are fp32 all the same"));
  t.push_back(number_key("precision.loss_scale", TH_AT(precision.loss_scale),
                         {.low = 0x1p-10, .high = 0x1p40}, "fp16: the first loss scale"));
  t.push_back(integer_key("precision.loss_scale_window", TH_AT(precision.loss_scale_window), 1,
                          kMost,
                          "fp16: steps without overflow after which the loss scale doubles"));
  t.push_back(integer_key("precision.loss_scale_hysteresis", TH_AT(precision.loss_scale_hysteresis),
                          1, kMost,
                          "fp16: overflows until the loss scale is halved; 1: each one halves it"));
  t.push_back(number_key("precision.loss_scale_min", TH_AT(precision.loss_scale_min),
                         {.low = 0x1p-10, .high = 0x1p40},
                         "fp16: an overflow that would halve the loss scale below this ends the "
                         "run with exit 6"));
}

}  // namespace th::config
