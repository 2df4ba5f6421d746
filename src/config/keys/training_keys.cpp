#include "config/key_table.hpp"

// The keys of the deck's sections [train], [schedule] and [precision].
namespace th::config {

void add_train(std::vector<Key>& t) {
  t.push_back(integer_key("train.epochs", TH_AT(train.epochs), 1, kMost,
                          "Number of passes over the corpus."));
  t.push_back(integer_key(
      "train.max_steps", TH_AT(train.max_steps), 0, kMost,
      "The run ends at this optimizer step, counted from step 0 across resumes. 0: no limit."));
  t.push_back(
      unchecked(integer_key("train.micro_batches", TH_AT(train.micro_batches), 0, 1 << 20,
                            "Number of micro-batches (slots) in one optimizer step over all ranks. "
                            "0: the rank count at step 0.")));
  t.push_back(number_key("train.label_smoothing", TH_AT(train.label_smoothing),
                         {.low = 0, .high = 1, .high_open = true},
                         "Share of a label's probability that is spread over all tokens."));
  t.push_back(number_key("train.gradient_clip", TH_AT(train.gradient_clip), {.low = 0},
                         "Gradients are scaled down to this global norm. 0: no clipping."));
  t.push_back(integer_key("train.valid_every_steps", TH_AT(train.valid_every_steps), 0, kMost,
                          "Validation runs every so many steps. 0: once an epoch."));
  t.push_back(number_key("train.ema_decay", TH_AT(train.ema_decay),
                         {.low = 0, .high = 1, .high_open = true},
                         "Decay of the moving average of the parameters, which takes 4 bytes a "
                         "parameter, sharded from stage 1 on. 0: none."));
  t.push_back(
      choice_key("train.on_not_finite", TH_AT(train.on_not_finite),
                 Choices<OnNotFinite>{{"stop", OnNotFinite::kStop}, {"skip", OnNotFinite::kSkip}},
                 "What happens when a loss or gradients are not finite. stop ends the run with "
                 "exit 6; skip leaves the parameters as they are and goes on. Overflows of fp16 "
                 "lower the loss scale instead."));
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
                         "How the learning rate changes with the step (docs/optimizers.md)."));
  t.push_back(integer_key("schedule.warmup_steps", TH_AT(schedule.warmup_steps), 0, kMost,
                          "Number of warm-up steps. 0: none, but noam and inverse_sqrt need 1, and "
                          "warmup_constant takes at least 2, as DeepSpeed's WarmupLR."));
  t.push_back(integer_key(
      "schedule.total_steps", TH_AT(schedule.total_steps), 0, kMost,
      "The schedule ends at this step. 0: at the end of train.epochs, never of max_steps."));
  t.push_back(
      choice_key("schedule.warmup_shape", TH_AT(schedule.warmup_shape),
                 Choices<WarmupShape>{{"linear", WarmupShape::kLinear}, {"log", WarmupShape::kLog}},
                 "warmup_constant: how the rate rises from schedule.min_lr to optimizer.lr. "
                 "linear: by the same amount each step; log: fast at first, then ever slower."));
  t.push_back(number_key("schedule.min_lr", TH_AT(schedule.min_lr), {.low = 0},
                         "warmup_constant: the rate of the first step."));
  t.push_back(number_key("schedule.min_ratio", TH_AT(schedule.min_ratio), {.low = 0, .high = 1},
                         "Least rate after the warm-up, as a part of the highest."));
  t.push_back(integer_key("schedule.decay_steps", TH_AT(schedule.decay_steps), 0, kMost,
                          "wsd: number of steps of the decay at the end. 0: a tenth of all."));
}

void add_precision(std::vector<Key>& t) {
  t.push_back(choice_key(
      "precision.dtype", TH_AT(precision.dtype),
      Choices<ElementType>{
          {"fp32", ElementType::kFp32}, {"bf16", ElementType::kBf16}, {"fp16", ElementType::kFp16}},
      "Type of activations and working weights. bf16 and fp16 have fp32 master weights beside "
      "them; fp16 has a dynamic loss scale."));
  t.push_back(choice_key(
      "precision.reduce_dtype", TH_AT(precision.reduce_dtype),
      Choices<ReduceDtype>{{"fp32", ReduceDtype::kFp32}, {"working", ReduceDtype::kWorking}},
      "Type in which gradients are stored and sent. working is that of precision.dtype, at half "
      "the bytes; sums are fp32 in either case."));
  t.push_back(number_key("precision.loss_scale", TH_AT(precision.loss_scale),
                         {.low = 0x1p-10, .high = 0x1p40}, "fp16: the first loss scale."));
  t.push_back(integer_key("precision.loss_scale_window", TH_AT(precision.loss_scale_window), 1,
                          kMost,
                          "fp16: the loss scale doubles after so many steps without overflow."));
  t.push_back(integer_key(
      "precision.loss_scale_hysteresis", TH_AT(precision.loss_scale_hysteresis), 1, kMost,
      "fp16: the loss scale is halved after so many overflows. 1: each one halves it."));
  t.push_back(number_key("precision.loss_scale_min", TH_AT(precision.loss_scale_min),
                         {.low = 0x1p-10, .high = 0x1p40},
                         "fp16: an overflow that would halve the loss scale below this number ends "
                         "the run with exit 6."));
}

}  // namespace th::config
