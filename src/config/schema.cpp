#include "th/config/schema.hpp"

#include "config/key_table.hpp"
#include "th/base/error.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

// TH_AT(section.member): the accessor of one member.
#define TH_AT(member) \
  [](RunConfig & c) -> auto& { return c.member; }

namespace th::config {

namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

void add_run(std::vector<Key>& t) {
  t.push_back(integer_key("run.warmup_steps", TH_AT(run.warmup_steps), 0, kMost,
                          "steps left out of the summary's tokens_per_second"));
  t.push_back(choice_key<>(
      "run.task", TH_AT(run.task),
      std::vector<std::pair<std::string, Task>>{{"translation", Task::kTranslation},
                                                {"summarization", Task::kSummarization}},
      "what is trained", {"summarization"}));
  t.push_back(integer_key("run.seed", TH_AT(run.seed), 0, kMost,
                          "of initial values, order of the data and dropout"));
  t.push_back(path_key("run.output_dir", TH_AT(run.output_dir),
                       "all output goes below it; default runs/NAME, NAME the deck's; relative to "
                       "the working directory"));
  t.push_back(number_key("run.max_minutes", TH_AT(run.max_minutes), 0, kUnbounded, false,
                         "ends with a checkpoint and exit 75 before a step that would take longer "
                         "than is left but for a twentieth of the limit (a minute at most), kept "
                         "for the save; 0: Slurm's end time if there is one"));
  t.push_back(choice_key(
      "run.device", TH_AT(run.device),
      std::vector<std::pair<std::string, DeviceKind>>{
          {"auto", DeviceKind::kAuto}, {"cpu", DeviceKind::kCpu}, {"cuda", DeviceKind::kCuda}},
      "where tensors live and the model computes; auto: a GPU where every rank can have one "
      "(docs/gpu.md), else the CPU, with the reason in the header"));
  t.push_back(integer_key("run.threads", TH_AT(run.threads), 1, 1024,
                          "compute threads a rank; part of the run's identity"));
  t.push_back(choice_key(
      "run.gemm", TH_AT(run.gemm),
      std::vector<std::pair<std::string, Gemm>>{
          {"auto", Gemm::kAuto}, {"onednn", Gemm::kOnednn}, {"mkl", Gemm::kMkl}},
      "the CPU's matrix products; auto goes by the processor; on a GPU they are cuBLAS's"));
  t.push_back(
      choice_key("run.attention", TH_AT(run.attention),
                 std::vector<std::pair<std::string, AttentionKernels>>{
                     {"auto", AttentionKernels::kAuto}, {"products", AttentionKernels::kProducts}},
                 "auto: attention in one kernel that keeps no scores, where there is one "
                 "(docs/architecture.md); products: matrix products, softmax and dropout apart"));
}

void add_model(std::vector<Key>& t) {
  using Attentions = std::vector<std::pair<std::string, Attention>>;
  const Attentions attentions{{"full", Attention::kFull}, {"local", Attention::kLocal}};
  t.push_back(integer_key("model.d_model", TH_AT(model.d_model), 2, 1 << 20, "width"));
  t.push_back(integer_key("model.num_heads", TH_AT(model.num_heads), 1, 1 << 16,
                          "attention heads; divides d_model"));
  t.push_back(integer_key("model.num_encoder_layers", TH_AT(model.num_encoder_layers), 1, 10000,
                          "encoder layers"));
  t.push_back(integer_key("model.num_decoder_layers", TH_AT(model.num_decoder_layers), 1, 10000,
                          "decoder layers"));
  t.push_back(
      integer_key("model.d_ff", TH_AT(model.d_ff), 1, 1 << 24, "width of the feed-forward layers"));
  t.push_back(number_key("model.dropout", TH_AT(model.dropout), 0, 1, true, "dropout rate"));
  t.push_back(choice_key(
      "model.norm", TH_AT(model.norm),
      std::vector<std::pair<std::string, Norm>>{{"pre", Norm::kPre}, {"post", Norm::kPost}},
      "layer norm before or after each sublayer"));
  t.push_back(choice_key(
      "model.position", TH_AT(model.position),
      std::vector<std::pair<std::string, Position>>{{"sinusoidal", Position::kSinusoidal},
                                                    {"learned", Position::kLearned},
                                                    {"rope", Position::kRope},
                                                    {"alibi", Position::kAlibi}},
      "positions", {"learned", "rope", "alibi"}));
  t.push_back(choice_key("model.encoder_attention", TH_AT(model.encoder_attention), attentions,
                         "self attention of the encoder", {"local"}));
  t.push_back(choice_key("model.decoder_attention", TH_AT(model.decoder_attention), attentions,
                         "self attention of the decoder", {"local"}));
  t.push_back(choice_key("model.cross_attention", TH_AT(model.cross_attention), attentions,
                         "cross attention", {"local"}));
  t.push_back(integer_key("model.attention_window", TH_AT(model.attention_window), 0, 1 << 20,
                          "width of local attention", {"*"}));
  t.push_back(number_key("model.rope_theta", TH_AT(model.rope_theta), 1, kUnbounded, false,
                         "base of rotary positions", {"*"}));
  t.push_back(
      choice_key("model.rope_scaling", TH_AT(model.rope_scaling),
                 std::vector<std::pair<std::string, RopeScaling>>{{"none", RopeScaling::kNone},
                                                                  {"linear", RopeScaling::kLinear},
                                                                  {"ntk", RopeScaling::kNtk}},
                 "scaling of rotary positions", {"linear", "ntk"}));
  t.push_back(number_key("model.rope_scaling_factor", TH_AT(model.rope_scaling_factor), 1,
                         kUnbounded, false, "factor of that scaling", {"*"}));
  t.push_back(integer_key("model.cross_downsample", TH_AT(model.cross_downsample), 1, 1024,
                          "keep every k-th encoder state for cross attention", {"*"}));
  t.push_back(boolean_key("model.tie_embeddings", TH_AT(model.tie_embeddings),
                          "source, target and output share one matrix, over one joint vocabulary"));
  t.push_back(choice_key("model.gradient_checkpointing", TH_AT(model.gradient_checkpointing),
                         std::vector<std::pair<std::string, GradientCheckpointing>>{
                             {"none", GradientCheckpointing::kNone},
                             {"selective", GradientCheckpointing::kSelective},
                             {"full", GradientCheckpointing::kFull},
                             {"sqrt", GradientCheckpointing::kSqrt}},
                         "what the backward pass computes again"));
}

void add_data(std::vector<Key>& t) {
  t.push_back(
      path_key("data.train_source", TH_AT(data.train_source),
               "training text, one sentence a line, .gz is read too; relative to the deck"));
  t.push_back(
      path_key("data.train_target", TH_AT(data.train_target), "its translation, line by line"));
  t.push_back(path_key("data.valid_source", TH_AT(data.valid_source), "validation text"));
  t.push_back(path_key("data.valid_target", TH_AT(data.valid_target), "its translation"));
  t.push_back(path_key("data.test_source", TH_AT(data.test_source),
                       "test text, translated once at the end"));
  t.push_back(path_key("data.test_target", TH_AT(data.test_target), "its reference translation"));
  t.push_back(choice_key("data.synthetic", TH_AT(data.synthetic),
                         std::vector<std::pair<std::string, Synthetic>>{
                             {"none", Synthetic::kNone}, {"random_ids", Synthetic::kRandomIds}},
                         "random_ids: batches of random ids in memory, for timing"));
  t.push_back(integer_key("data.synthetic_length", TH_AT(data.synthetic_length), 1, 1 << 20,
                          "source ids, decoder inputs and labels of a synthetic sentence"));
  t.push_back(choice_key(
      "data.tokenizer", TH_AT(data.tokenizer),
      std::vector<std::pair<std::string, TokenizerKind>>{{"word", TokenizerKind::kWord},
                                                         {"bpe", TokenizerKind::kBpe},
                                                         {"unigram", TokenizerKind::kUnigram}},
      "how lines become ids", {"bpe", "unigram"}));
  t.push_back(integer_key("data.vocab_size", TH_AT(data.vocab_size), 0, 1 << 28,
                          "caps the vocabulary, special tokens counted; 0: no cap"));
  t.push_back(integer_key("data.min_freq", TH_AT(data.min_freq), 1, kMost,
                          "occurrences that a word needs to be in the vocabulary"));
  t.push_back(integer_key("data.max_length", TH_AT(data.max_length), 2, 1 << 20,
                          "ids of a line in all, end kept; longer lines are cut"));
  t.push_back(choice_key("data.empty_lines", TH_AT(data.empty_lines),
                         std::vector<std::pair<std::string, EmptyLines>>{
                             {"error", EmptyLines::kError}, {"skip", EmptyLines::kSkip}},
                         "skip counts and warns"));
  t.push_back(integer_key("data.batch_size", TH_AT(data.batch_size), 1, 1 << 20,
                          "sentences in one micro-batch, a rank"));
  t.push_back(integer_key("data.batch_tokens", TH_AT(data.batch_tokens), 0, 1 << 28,
                          "when set: tokens in one micro-batch, a sentence pair counted by its "
                          "longer side, sentences of like length together"));
  t.push_back(integer_key("data.num_workers", TH_AT(data.num_workers), 0, 256,
                          "threads that prepare batches ahead"));
  t.push_back(integer_key("data.sort_window", TH_AT(data.sort_window), 0, 1 << 20,
                          "optimizer steps whose sentences are sorted by length together: steps of "
                          "like lengths; 0 or 1: every step is a random sample"));
}

void add_training(std::vector<Key>& t) {
  t.push_back(integer_key("train.epochs", TH_AT(train.epochs), 1, kMost, "passes over the corpus"));
  t.push_back(integer_key("train.max_steps", TH_AT(train.max_steps), 0, kMost,
                          "optimizer steps since step 0, across resumes; 0: no limit"));
  t.push_back(integer_key(
      "train.micro_batches", TH_AT(train.micro_batches), 0, 1 << 20,
      "micro-batches (slots) in one optimizer step over all ranks; 0: the rank count at step 0"));
  t.push_back(number_key("train.label_smoothing", TH_AT(train.label_smoothing), 0, 1, true,
                         "label smoothing"));
  t.push_back(number_key("train.gradient_clip", TH_AT(train.gradient_clip), 0, kUnbounded, false,
                         "largest global gradient norm; 0: no clipping"));
  t.push_back(integer_key("train.valid_every_steps", TH_AT(train.valid_every_steps), 0, kMost,
                          "0: once an epoch"));
  add_optimizer(t);
  t.push_back(choice_key("schedule.name", TH_AT(schedule.name),
                         std::vector<std::pair<std::string, ScheduleKind>>{
                             {"noam", ScheduleKind::kNoam},
                             {"warmup_linear", ScheduleKind::kWarmupLinear},
                             {"cosine", ScheduleKind::kCosine},
                             {"constant", ScheduleKind::kConstant},
                             {"inverse_sqrt", ScheduleKind::kInverseSqrt}},
                         "learning rate schedule"));
  t.push_back(integer_key("schedule.warmup_steps", TH_AT(schedule.warmup_steps), 0, kMost,
                          "steps of warm-up"));
  t.push_back(integer_key("schedule.total_steps", TH_AT(schedule.total_steps), 0, kMost,
                          "0: from train.epochs, never from max_steps"));
  t.push_back(choice_key(
      "precision.dtype", TH_AT(precision.dtype),
      std::vector<std::pair<std::string, Precision>>{
          {"fp32", Precision::kFp32}, {"bf16", Precision::kBf16}, {"fp16", Precision::kFp16}},
      "type of activations and working weights; bf16 and fp16 keep fp32 master weights, fp16 a "
      "dynamic loss scale"));
  t.push_back(choice_key("precision.reduce_dtype", TH_AT(precision.reduce_dtype),
                         std::vector<std::pair<std::string, ReduceDtype>>{
                             {"fp32", ReduceDtype::kFp32}, {"working", ReduceDtype::kWorking}},
                         "type in which gradients are kept and sent; working is that of "
                         "precision.dtype, sums are fp32 all the same"));
  t.push_back(number_key("precision.loss_scale", TH_AT(precision.loss_scale), 0x1p-10, 0x1p40,
                         false, "fp16: the first loss scale"));
  t.push_back(integer_key("precision.loss_scale_window", TH_AT(precision.loss_scale_window), 1,
                          kMost,
                          "fp16: steps without overflow after which the loss scale doubles"));
  t.push_back(integer_key(
      "zero.stage", TH_AT(zero.stage), 0, 3,
      "0 plain data parallel; 1 optimizer state, 2 also gradients, 3 also parameters sharded"));
  t.push_back(boolean_key("zero.offload_optimizer", TH_AT(zero.offload_optimizer),
                          "optimizer state and master weights in pinned host memory, where they "
                          "are updated; no effect on a CPU"));
  t.push_back(boolean_key("zero.offload_parameters", TH_AT(zero.offload_parameters),
                          "this rank's shards of the parameters in pinned host memory; needs "
                          "zero.stage = 3; no effect on a CPU"));
  t.push_back(integer_key("zero.prefetch_units", TH_AT(zero.prefetch_units), 0, 1024,
                          "stage 3 with comm.overlap: units gathered ahead of the one in use; 0: "
                          "none (DeepSpeed counts elements: stage3_prefetch_bucket_size)"));
  t.push_back(integer_key(
      "zero.persistence_threshold", TH_AT(zero.persistence_threshold), 0, kMost,
      "stage 3: units (layers, embeddings, output) of at most so many parameters stay gathered "
      "between updates (DeepSpeed, by tensor: stage3_param_persistence_threshold)"));
  t.push_back(
      integer_key("zero.max_live_parameters", TH_AT(zero.max_live_parameters), 0, kMost,
                  "stage 3: elements gathered at a time, padding counted; fewer units are gathered "
                  "ahead to keep it; 0: no limit (DeepSpeed: stage3_max_live_parameters)"));
  t.push_back(
      choice_key("comm.backend", TH_AT(comm.backend),
                 std::vector<std::pair<std::string, Backend>>{
                     {"auto", Backend::kAuto}, {"mpi", Backend::kMpi}, {"nccl", Backend::kNccl}},
                 "transport of the tensors; auto: nccl between GPUs, else mpi; mpi takes a GPU's "
                 "tensors through pinned host memory, and ranks may share a GPU"));
  t.push_back(choice_key("comm.reduction", TH_AT(comm.reduction),
                         std::vector<std::pair<std::string, Reduction>>{
                             {"exact", Reduction::kExact}, {"fast", Reduction::kFast}},
                         "exact: same bits for every rank count; fast: the backend's own order"));
  t.push_back(
      choice_key("comm.overlap", TH_AT(comm.overlap),
                 std::vector<std::pair<std::string, Overlap>>{
                     {"auto", Overlap::kAuto}, {"on", Overlap::kOn}, {"off", Overlap::kOff}},
                 "collectives beside compute, same bits: on a thread of their own, on a GPU on a "
                 "stream; auto: on where every node has a core for it beside the compute threads "
                 "of its ranks, and on GPUs with NCCL"));
  t.push_back(number_key("comm.timeout_seconds", TH_AT(comm.timeout_seconds), 1, kUnbounded, false,
                         "the watchdog's limit"));
}

void add_rest(std::vector<Key>& t) {
  t.push_back(
      integer_key("checkpoint.every_epochs", TH_AT(checkpoint.every_epochs), 0, kMost, "0: never"));
  t.push_back(
      integer_key("checkpoint.every_steps", TH_AT(checkpoint.every_steps), 0, kMost, "0: never"));
  t.push_back(integer_key("checkpoint.keep_last", TH_AT(checkpoint.keep_last), 0, kMost, "0: all"));
  Key resume{"checkpoint.resume",
             "choice",
             "none",
             "none, latest, a path",
             "any rank count and stage; a path that holds no checkpoint is exit 5",
             {},
             {},
             {}};
  resume.set = [](RunConfig& c, const std::string& text) {
    if (text.empty()) return false;
    c.checkpoint.resume = text == "none"     ? Resume::kNone
                          : text == "latest" ? Resume::kLatest
                                             : Resume::kPath;
    c.checkpoint.resume_path = c.checkpoint.resume == Resume::kPath ? text : "";
    return true;
  };
  resume.get = [](const RunConfig& c) {
    return c.checkpoint.resume == Resume::kNone     ? "none"
           : c.checkpoint.resume == Resume::kLatest ? "latest"
                                                    : c.checkpoint.resume_path;
  };
  t.push_back(resume);
  t.push_back(path_key("checkpoint.init_from", TH_AT(checkpoint.init_from),
                       "parameters only, fresh optimizer, step 0: fine-tuning"));
  t.push_back(boolean_key("checkpoint.async", TH_AT(checkpoint.async),
                          "training goes on while the shards are written"));
  t.push_back(integer_key("decode.beam", TH_AT(decode.beam), 1, 1024,
                          "hypotheses of a sentence that beam search keeps; 1: greedy"));
  t.push_back(number_key(
      "decode.length_penalty", TH_AT(decode.length_penalty), 0, kUnbounded, false,
      "alpha of beam search: hypotheses are compared by log p / ((5 + length) / 6)^alpha"));
  t.push_back(integer_key("decode.max_length", TH_AT(decode.max_length), 1, 1 << 20,
                          "longest translation, ids; its end not counted"));
  t.push_back(boolean_key("monitor.tensorboard", TH_AT(monitor.tensorboard),
                          "event files below output_dir/tensorboard"));
  t.push_back(
      choice_key("monitor.progress", TH_AT(monitor.progress),
                 std::vector<std::pair<std::string, Progress>>{
                     {"auto", Progress::kAuto}, {"on", Progress::kOn}, {"off", Progress::kOff}},
                 "progress line; auto: on a terminal"));
  t.push_back(boolean_key(
      "profile.enabled", TH_AT(profile.enabled),
      "Chrome trace of all ranks in one file, output_dir/trace.json (docs/profile.md)"));
  t.push_back(integer_key("profile.first_step", TH_AT(profile.first_step), 1, kMost,
                          "first step in the trace"));
  t.push_back(integer_key("profile.steps", TH_AT(profile.steps), 1, kMost, "steps in the trace"));
  t.push_back(integer_key("plan.ranks", TH_AT(plan.ranks), 0, 1 << 24,
                          "ranks that --plan reckons with; 0: those of this launch"));
  t.push_back(integer_key("plan.ranks_per_node", TH_AT(plan.ranks_per_node), 0, 1 << 20,
                          "ranks that share a node like this one in --plan; 0: all of them"));
  t.push_back(
      number_key("plan.gpu_gbytes", TH_AT(plan.gpu_gbytes), 0, kUnbounded, false,
                 "memory of a rank's GPU, GB, that --plan reckons with; 0: the run is on CPUs"));
  t.push_back(number_key("plan.link_gbytes", TH_AT(plan.link_gbytes), 0, kUnbounded, false,
                         "link speed, GB/s; 0: the memory bandwidth"));
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

/// The words of a key in the order of the alphabet, so that head_num is near num_heads.
std::string sorted_words(const std::string& name) {
  std::vector<std::string> words(1);
  for (const char c : name) {
    if (c == '_' || c == '.')
      words.emplace_back();
    else
      words.back() += c;
  }
  std::sort(words.begin(), words.end());
  std::string out;
  for (const std::string& word : words) out += word + "_";
  return out;
}

std::string section_of(const Key& key) { return key.name.substr(0, key.name.find('.')); }

/// The values that the table knows and this build does not have, as a reader names them; empty: it
/// has all.
std::string absent_values(const Key& key) {
  std::string out;
  for (const std::string& value : key.absent)
    out += (out.empty() ? "" : ", ") +
           (value == "*" ? std::string("another value than the default") : value);
  return out;
}

constexpr const char* kReferenceIntroduction = R"(# Deck reference

Made from the key table (`th_app --explain` prints the same); a test compares the two. Do not edit it: run
`TH_WRITE_DOCS=1 build/bin/th_test_config` after a change of the table.

A deck is a text file of `[section]` lines, `key = value` lines and `#` comments, which may also end a line. A key may carry its section,
as in `model.d_model = 512`. There are no quotes: a value goes from the `=` to the end of the line or to a `#`. After the deck, the command
line takes any key as `section.key=value` or `--section.key=value`, each once; such a value stands in place of the deck's.

Paths in a deck are relative to the deck; paths on the command line, and `run.output_dir` everywhere, to the working directory. Numbers are
read as a whole: `64x`, `1.5` for an integer, `nan` and an empty value are refused. All problems of a deck come in one report, a line each,
with the file and the line, before anything is allocated, and the exit code is 2. A known key that has no effect in the run is a warning.

`th_app DECK --check` prints the deck with every key, its value and where that came from, as a deck that can be run. In a deck, a line that
holds the default and ends in `# default` counts as not given.
)";

}  // namespace

const std::vector<Key>& keys() {
  static const std::vector<Key> table = [] {
    std::vector<Key> t;
    add_run(t);
    add_model(t);
    add_data(t);
    add_training(t);
    add_rest(t);
    return t;
  }();
  return table;
}

const Key* find_key(const std::string& name) {
  const auto& table = keys();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Key& k) { return k.name == name; });
  return found == table.end() ? nullptr : &*found;
}

std::string nearest_key(const std::string& name) {
  constexpr std::size_t kCompared =
      80;  // no key is near that long; a line of a wrong file may be any length
  std::string nearest;
  std::size_t least = std::string::npos;
  const std::string asked = name.substr(0, kCompared);
  for (const Key& key : keys()) {
    const std::size_t distance =
        std::min(edit_distance(asked, key.name),
                 1 + edit_distance(sorted_words(asked), sorted_words(key.name)));
    if (distance >= least) continue;
    least = distance;
    nearest = key.name;
  }
  return nearest;
}

std::string explain(const std::string& name) {
  std::string out;
  for (const Key& k : keys()) {
    if (!name.empty() && k.name != name && section_of(k) != name) continue;
    out += k.name + " = " + k.default_value + "\n    " + k.type + ", " + k.allowed + "\n    " +
           k.help + "\n";
    const std::string absent = absent_values(k);
    if (!absent.empty()) out += "    not part of this build: " + absent + "\n";
  }
  if (out.empty()) throw DeckError(name + ": unknown key; nearest " + nearest_key(name));
  return out;
}

std::string deck_reference_markdown() {
  std::string out = kReferenceIntroduction;
  std::string section;
  for (const Key& k : keys()) {
    if (section_of(k) != section) {
      section = section_of(k);
      out += "\n## " + section +
             "\n\n| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
    }
    const std::string absent = absent_values(k);
    out += "| " + k.name + " | " + k.type + " | " + k.default_value +
           (k.default_value.empty() ? "| " : " | ") + k.allowed + " | " + k.help +
           (absent.empty() ? "" : ". Not part of this build: " + absent) + " |\n";
  }
  return out;
}

}  // namespace th::config
