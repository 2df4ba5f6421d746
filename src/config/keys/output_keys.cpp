#include "config/key_table.hpp"

// The keys of the deck's sections [checkpoint], [decode], [monitor], [profile] and [plan]: what a
// run leaves behind or says.
namespace th::config {

void add_checkpoint(std::vector<Key>& t) {
  t.push_back(
      integer_key("checkpoint.every_epochs", TH_AT(checkpoint.every_epochs), 0, kMost, "0: never"));
  t.push_back(
      integer_key("checkpoint.every_steps", TH_AT(checkpoint.every_steps), 0, kMost, "0: never"));
  t.push_back(integer_key("checkpoint.keep_last", TH_AT(checkpoint.keep_last), 0, kMost, "0: all"));
  t.push_back(integer_key(
      "checkpoint.keep_best", TH_AT(checkpoint.keep_best), 0, kMost,
      "so many of the best by valid.best_metric are kept, whatever keep_last says: a validation "
      "that is among them saves; checkpoints/best names the best; 0: none"));
  t.push_back(integer_key("checkpoint.average_last", TH_AT(checkpoint.average_last), 0, 1000,
                          "the run ends with checkpoints/mean_NNNNNNNN, the average of the "
                          "parameters of the last so many checkpoints; 0: none"));
  t.push_back(
      choice_or_path_key("checkpoint.resume", TH_AT(checkpoint.resume),
                         Choices<Resume>{{"none", Resume::kNone}, {"latest", Resume::kLatest}},
                         Resume::kPath, TH_AT(checkpoint.resume_path),
                         "any rank count and stage; a path that holds no checkpoint is exit 5"));
  t.push_back(
      path_key("checkpoint.init_from", TH_AT(checkpoint.init_from),
               "parameters only, fresh optimizer, step 0: fine-tuning; of a run's folder its final "
               "checkpoint, else its newest"));
  t.push_back(boolean_key("checkpoint.branch", TH_AT(checkpoint.branch),
                          "with resume = a path: a new run, with an id and an output folder of its "
                          "own, goes on from that checkpoint"));
  t.push_back(boolean_key("checkpoint.async", TH_AT(checkpoint.async),
                          "training goes on while the shards are written"));
}

namespace {

/// What sampling looks at, and a search does not.
void add_sampling(std::vector<Key>& t) {
  t.push_back(boolean_key("decode.sampling", TH_AT(decode.sampling),
                          "translations are drawn from the model's distribution, by run.seed and "
                          "the line's number, in place of a search; with decode.beam = 1"));
  t.push_back(number_key(
      "decode.temperature", TH_AT(decode.temperature), {.low = 0, .high = 1000, .low_open = true},
      "sampling: logits are divided by it; below 1 likely words become likelier"));
  t.push_back(integer_key("decode.top_k", TH_AT(decode.top_k), 0, kMost,
                          "sampling: draws are of the so many likeliest words; 0: of all"));
  t.push_back(number_key("decode.top_p", TH_AT(decode.top_p),
                         {.low = 0, .high = 1, .low_open = true},
                         "sampling: draws are of the fewest likeliest words that hold so much "
                         "probability together; 1: of all"));
}

}  // namespace

void add_decode(std::vector<Key>& t) {
  t.push_back(integer_key("decode.beam", TH_AT(decode.beam), 1, 1024,
                          "hypotheses of a sentence that beam search keeps; 1: greedy"));
  t.push_back(number_key("decode.length_penalty", TH_AT(decode.length_penalty), {.low = 0},
                         "alpha of beam search: hypotheses are compared by log p over a penalty "
                         "that decode.length_normalization makes of it"));
  t.push_back(choice_key("decode.length_normalization", TH_AT(decode.length_normalization),
                         Choices<LengthNormalization>{{"gnmt", LengthNormalization::kGnmt},
                                                      {"power", LengthNormalization::kPower}},
                         "gnmt: ((5 + length) / 6)^alpha; power: length^alpha; the length is in "
                         "ids, the end counted"));
  t.push_back(integer_key("decode.max_length", TH_AT(decode.max_length), 1, 1 << 20,
                          "longest translation, ids; its end not counted"));
  t.push_back(integer_key("decode.min_length", TH_AT(decode.min_length), 0, 1 << 20,
                          "shortest translation, ids; its end not counted"));
  t.push_back(integer_key("decode.no_repeat_ngram", TH_AT(decode.no_repeat_ngram), 0, 1 << 20,
                          "no sequence of so many ids comes twice in a translation; 0: any may"));
  t.push_back(words_key("decode.forbidden_words", TH_AT(decode.forbidden_words),
                        "words that no translation has, as the target tokenizer cuts them; <unk> "
                        "forbids the unknown word"));
  add_sampling(t);
  t.push_back(
      choice_key("decode.parameters", TH_AT(decode.parameters),
                 Choices<DecodeParameters>{{"trained", DecodeParameters::kTrained},
                                           {"ema", DecodeParameters::kEma}},
                 "parameters of validation and decoding: the last, or their moving average"));
  t.push_back(choice_key(
      "decode.sharded", TH_AT(decode.sharded),
      Choices<Sharded>{{"auto", Sharded::kAuto}, {"on", Sharded::kOn}, {"off", Sharded::kOff}},
      "zero.stage = 3: ranks decode in lock step and gather a layer at a time, as in training; "
      "auto: where whole parameters do not fit"));
}

void add_monitor(std::vector<Key>& t) {
  t.push_back(boolean_key("monitor.tensorboard", TH_AT(monitor.tensorboard),
                          "event files below output_dir/tensorboard"));
  t.push_back(choice_key(
      "monitor.progress", TH_AT(monitor.progress),
      Choices<Progress>{{"auto", Progress::kAuto}, {"on", Progress::kOn}, {"off", Progress::kOff}},
      "progress bar; auto: on a terminal"));
  t.push_back(integer_key("monitor.log_every_steps", TH_AT(monitor.log_every_steps),
                          {.low = 1, .high = 1e15}, "auto",
                          "a line in the log each so many steps, with loss, rate, memory and time "
                          "left; auto: once a minute where no progress bar is shown"));
  t.push_back(integer_key("monitor.sample_lines", TH_AT(monitor.sample_lines), 0, 1000,
                          "lines of the validation text, always the same, whose translation each "
                          "validation shows in log and TensorBoard"));
  t.push_back(number_key("monitor.straggler_factor", TH_AT(monitor.straggler_factor),
                         {.low = 0, .high = 1e6},
                         "a warning names a rank whose own work in a step takes so many times the "
                         "median rank's, waiting not counted; 0: none"));
}

void add_profile(std::vector<Key>& t) {
  t.push_back(boolean_key(
      "profile.enabled", TH_AT(profile.enabled),
      "Chrome trace of all ranks in one file, output_dir/trace.json (docs/profile.md)"));
  t.push_back(integer_key("profile.first_step", TH_AT(profile.first_step), 1, kMost,
                          "first step in the trace"));
  t.push_back(integer_key("profile.steps", TH_AT(profile.steps), 1, kMost, "steps in the trace"));
}

void add_plan(std::vector<Key>& t) {
  t.push_back(integer_key("plan.ranks", TH_AT(plan.ranks), 0, 1 << 24,
                          "ranks that --plan reckons with; 0: those of this launch"));
  t.push_back(integer_key("plan.ranks_per_node", TH_AT(plan.ranks_per_node), 0, 1 << 20,
                          "ranks that share a node like this one in --plan; 0: all of them"));
  t.push_back(
      number_key("plan.gpu_gbytes", TH_AT(plan.gpu_gbytes), {.low = 0},
                 "memory of a rank's GPU, GB, that --plan reckons with; 0: the run is on CPUs"));
  t.push_back(number_key("plan.link_gbytes", TH_AT(plan.link_gbytes), {.low = 0},
                         "link speed, GB/s; 0: the memory bandwidth"));
}

}  // namespace th::config
