#include "config/key_table.hpp"

// The keys of the deck's sections [checkpoint], [decode], [monitor], [profile] and [plan]: what a
// run leaves behind or says.
namespace th::config {

void add_checkpoint(std::vector<Key>& t) {
  t.push_back(integer_key("checkpoint.every_epochs", TH_AT(checkpoint.every_epochs), 0, kMost,
                          "A checkpoint is saved every so many epochs. 0: never."));
  t.push_back(integer_key("checkpoint.every_steps", TH_AT(checkpoint.every_steps), 0, kMost,
                          "A checkpoint is saved every so many steps. 0: never."));
  t.push_back(integer_key("checkpoint.keep_last", TH_AT(checkpoint.keep_last), 0, kMost,
                          "Only the last so many checkpoints are kept. 0: all."));
  t.push_back(integer_key(
      "checkpoint.keep_best", TH_AT(checkpoint.keep_best), 0, kMost,
      "The best so many checkpoints by valid.best_metric are kept, whatever keep_last says. A "
      "validation that is among them saves one; checkpoints/best names the best. 0: none."));
  t.push_back(integer_key("checkpoint.average_last", TH_AT(checkpoint.average_last), 0, 1000,
                          "The run ends with checkpoints/mean_NNNNNNNN, the average of the "
                          "parameters of its last so many checkpoints. 0: none."));
  t.push_back(unchecked(
      choice_or_path_key("checkpoint.resume", TH_AT(checkpoint.resume),
                         Choices<Resume>{{"none", Resume::kNone}, {"latest", Resume::kLatest}},
                         Resume::kPath, TH_AT(checkpoint.resume_path),
                         "The run goes on from this checkpoint, at any rank count and stage. A "
                         "path that holds no checkpoint is exit 5.")));
  t.push_back(unchecked(path_key(
      "checkpoint.init_from", TH_AT(checkpoint.init_from),
      "A new run begins at step 0 with the parameters of this checkpoint and a fresh optimizer "
      "(fine-tuning). A run's folder stands for its final checkpoint, else its newest.")));
  t.push_back(boolean_key("checkpoint.branch", TH_AT(checkpoint.branch),
                          "With a path in checkpoint.resume, a new run with an id and an output "
                          "folder of its own goes on from there."));
  t.push_back(
      boolean_key("checkpoint.async", TH_AT(checkpoint.async),
                  "Training goes on while shards are written. It takes a copy of the rank's state "
                  "in host memory: with adam 12 bytes a parameter over the rank count."));
}

namespace {

/// What sampling looks at, and a search does not.
void add_sampling(std::vector<Key>& t) {
  t.push_back(boolean_key("decode.sampling", TH_AT(decode.sampling),
                          "Translations are drawn from the model's distribution by run.seed and "
                          "the line's number, not searched. It needs decode.beam = 1."));
  t.push_back(number_key(
      "decode.temperature", TH_AT(decode.temperature), {.low = 0, .high = 1000, .low_open = true},
      "Sampling divides logits by this number; below 1 likely words become likelier."));
  t.push_back(integer_key("decode.top_k", TH_AT(decode.top_k), 0, kMost,
                          "Sampling draws from the k likeliest words. 0: from all."));
  t.push_back(number_key("decode.top_p", TH_AT(decode.top_p),
                         {.low = 0, .high = 1, .low_open = true},
                         "Sampling draws from the fewest likeliest words that together hold this "
                         "probability. 1: from all."));
}

}  // namespace

void add_decode(std::vector<Key>& t) {
  t.push_back(integer_key("decode.beam", TH_AT(decode.beam), 1, 1024,
                          "Number of hypotheses of a sentence that beam search keeps. 1: greedy."));
  t.push_back(
      number_key("decode.length_penalty", TH_AT(decode.length_penalty), {.low = 0},
                 "Exponent alpha of the length penalty: beam search compares hypotheses by log p "
                 "divided by the penalty (decode.length_normalization). 0: by log p."));
  t.push_back(choice_key("decode.length_normalization", TH_AT(decode.length_normalization),
                         Choices<LengthNormalization>{{"gnmt", LengthNormalization::kGnmt},
                                                      {"power", LengthNormalization::kPower}},
                         "The length penalty. gnmt: ((5 + length) / 6)^alpha; power: length^alpha. "
                         "The length is in ids and counts the end."));
  t.push_back(integer_key("decode.max_length", TH_AT(decode.max_length), 1, 1 << 20,
                          "Longest translation in ids, its end not counted."));
  t.push_back(integer_key("decode.min_length", TH_AT(decode.min_length), 0, 1 << 20,
                          "Shortest translation in ids, its end not counted."));
  t.push_back(integer_key("decode.no_repeat_ngram", TH_AT(decode.no_repeat_ngram), 0, 1 << 20,
                          "No sequence of so many ids comes twice in a translation. 0: any may."));
  t.push_back(words_key("decode.forbidden_words", TH_AT(decode.forbidden_words),
                        "No translation has these words, as the target tokenizer divides them. "
                        "<unk> forbids the unknown word."));
  add_sampling(t);
  t.push_back(
      choice_key("decode.parameters", TH_AT(decode.parameters),
                 Choices<DecodeParameters>{{"trained", DecodeParameters::kTrained},
                                           {"ema", DecodeParameters::kEma}},
                 "Which parameters validate and decode: the last ones, or their moving average."));
  t.push_back(choice_key(
      "decode.sharded", TH_AT(decode.sharded),
      Choices<Sharded>{{"auto", Sharded::kAuto}, {"on", Sharded::kOn}, {"off", Sharded::kOff}},
      "With zero.stage = 3 ranks decode in lock step and gather a layer at a time, as in training. "
      "It saves a copy of all parameters and takes longer. auto: where whole parameters do not "
      "fit."));
}

void add_monitor(std::vector<Key>& t) {
  t.push_back(boolean_key("monitor.tensorboard", TH_AT(monitor.tensorboard),
                          "The run writes event files below output_dir/tensorboard."));
  t.push_back(choice_key(
      "monitor.progress", TH_AT(monitor.progress),
      Choices<Progress>{{"auto", Progress::kAuto}, {"on", Progress::kOn}, {"off", Progress::kOff}},
      "The run shows a progress bar. auto: on a terminal."));
  t.push_back(integer_key("monitor.log_every_steps", TH_AT(monitor.log_every_steps),
                          {.low = 1, .high = 1e15}, "auto",
                          "The log gets a line every so many steps, with loss, rate, memory and "
                          "time left. auto: once a minute where there is no progress bar."));
  t.push_back(integer_key("monitor.sample_lines", TH_AT(monitor.sample_lines), 0, 1000,
                          "Each validation shows the translations of so many lines of the "
                          "validation text, always the same, in log and TensorBoard."));
  t.push_back(number_key("monitor.straggler_factor", TH_AT(monitor.straggler_factor),
                         {.low = 0, .high = 1e6},
                         "A warning names a rank whose own work in a step, without waiting, takes "
                         "so many times the median rank's. 0: none."));
}

void add_profile(std::vector<Key>& t) {
  t.push_back(boolean_key(
      "profile.enabled", TH_AT(profile.enabled),
      "The run writes a Chrome trace of all ranks into output_dir/trace.json (docs/profile.md)."));
  t.push_back(integer_key("profile.first_step", TH_AT(profile.first_step), 1, kMost,
                          "First step in the trace."));
  t.push_back(integer_key("profile.steps", TH_AT(profile.steps), 1, kMost,
                          "Number of steps in the trace."));
}

void add_plan(std::vector<Key>& t) {
  t.push_back(integer_key("plan.ranks", TH_AT(plan.ranks), 0, 1 << 24,
                          "Number of ranks that --plan counts with. 0: those of this launch."));
  t.push_back(
      integer_key("plan.ranks_per_node", TH_AT(plan.ranks_per_node), 0, 1 << 20,
                  "Number of ranks that share a node like this one in --plan. 0: all of them."));
  t.push_back(
      number_key("plan.gpu_gbytes", TH_AT(plan.gpu_gbytes), {.low = 0},
                 "Memory of a rank's GPU in GB that --plan counts with. 0: the run is on CPUs."));
  t.push_back(number_key(
      "plan.link_gbytes", TH_AT(plan.link_gbytes), {.low = 0},
      "Speed of the link between nodes in GB/s that --plan counts with. 0: the memory bandwidth."));
}

}  // namespace th::config
