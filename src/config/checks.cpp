#include "config/checks.hpp"

#include "config/checker.hpp"
#include "config/meanings.hpp"

#include "th/config/metrics.hpp"
#include "th/config/schema.hpp"
#include "th/config/state_names.hpp"

namespace th::config {

namespace {

void check_attention(Checker& k, const ModelSection& model) {
  k.require(!any_window(model) || model.attention_window > 0,
            {"model.attention_window", "model.encoder_attention", "model.decoder_attention",
             "model.cross_attention"},
            std::string("0, and ") +
                (has_window(model.encoder_attention)   ? "model.encoder_attention"
                 : has_window(model.decoder_attention) ? "model.decoder_attention"
                                                       : "model.cross_attention") +
                " is local, which sees so many places around a query; allowed from 1");
  k.require(
      model.position != Position::kRope || model.d_model % model.num_heads != 0 ||
          model.d_model / model.num_heads % 2 == 0,
      {"model.position", "model.num_heads", "model.d_model"},
      "rope turns pairs of a head's columns, and a head of model.d_model / model.num_heads = " +
          std::to_string(model.d_model / model.num_heads) +
          " columns has an odd one; allowed even widths of a head");
  k.require(model.position != Position::kRope || model.rope_scaling != RopeScaling::kNtk ||
                model.d_model != 2 * model.num_heads,
            {"model.rope_scaling", "model.num_heads", "model.d_model"},
            "ntk takes theta * s^(d/(d-2)), and a head of model.d_model / model.num_heads = 2 "
            "columns makes that s^(2/0); allowed none, linear");
  k.warn(has_window(model.cross_attention) && model.attention_window < model.cross_downsample - 1,
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
  const std::string rows = std::to_string(c.data.longest_length());
  k.require(!k.given("decode.max_length") || c.decode.max_length < c.data.longest_length(),
            {"decode.max_length", "model.position", "data.max_length"},
            std::to_string(c.decode.max_length) + " ids and the begin symbol need " +
                std::to_string(c.decode.max_length + 1) +
                " positions, and model.position = learned has " + rows +
                " of them (the longer side: data.max_length, data.max_source_length, "
                "data.max_target_length); allowed up to " +
                std::to_string(c.data.longest_length() - 1));
}

void check_decoding(Checker& k, const RunConfig& c) {
  const DecodeSection& decode = c.decode;
  k.require(decode.min_length <= decode.max_length, {"decode.min_length", "decode.max_length"},
            std::to_string(decode.min_length) + " is above decode.max_length = " +
                std::to_string(decode.max_length) + "; allowed up to it");
  k.require(!decode.sampling || decode.beam == 1, {"decode.sampling", "decode.beam"},
            "true draws a translation, and decode.beam = " + std::to_string(decode.beam) +
                " searches for the likeliest; allowed with decode.beam = 1");
  const bool learned =
      c.model.position == Position::kLearned && c.data.synthetic == Synthetic::kNone;
  k.require(
      !learned || decode.min_length < c.data.longest_length() ||
          decode.min_length > decode.max_length,
      {"decode.min_length", "model.position", "data.max_length"},
      std::to_string(decode.min_length) +
          " ids and the begin symbol are more than the positions of model.position = learned, "
          "data.max_length = " +
          std::to_string(c.data.longest_length()) + "; allowed up to " +
          std::to_string(c.data.longest_length() - 1));
}

void check_pair(Checker& k, const DataSection& data, const std::string& part,
                const std::string& source, const std::string& target) {
  const Keys keys{"data." + part + "_source", "data." + part + "_target"};
  const std::string what = "missing; " + keys[0] + " and " + keys[1] + " come together";
  const std::size_t sources = files_of(source).size(), targets = files_of(target).size();
  if (data.format == TextFormat::kTsv) {
    k.require(target.empty(), {keys[1], "data.format"},
              "contradicts data.format = tsv: both sides stand in " + keys[0] + "; leave it out");
    return;
  }
  k.require(!source.empty() || target.empty(), keys, what);
  k.require(!target.empty() || source.empty(), {keys[1], keys[0]}, what);
  k.require(source.empty() || target.empty() || sources == targets, {keys[1], keys[0]},
            std::to_string(targets) + " files for the " + std::to_string(sources) + " of " +
                keys[0] + "; allowed as many");
}

void check_mixture(Checker& k, const DataSection& data) {
  const std::size_t files = files_of(data.train_source).size(), weights = data.train_weights.size();
  k.require(weights == 0 || weights == files, {"data.train_weights", "data.train_source"},
            std::to_string(weights) + " numbers for the " + std::to_string(files) +
                " files of data.train_source; allowed as many");
  k.require(weights == 0 || data.train_temperature == 1,
            {"data.train_temperature", "data.train_weights"},
            "contradicts data.train_weights; give one of them");
  k.idle_if(files == 1, {"data.train_weights", "data.train_temperature"},
            "there is one file of training text");
}

void check_data(Checker& k, const DataSection& data) {
  k.require(data.max_ratio == 0 || data.max_ratio >= 1, {"data.max_ratio"},
            "the longer side's length by the shorter one's is at least 1; 0 takes any pair");
  const bool synthetic = data.synthetic != Synthetic::kNone;
  check_pair(k, data, "train", data.train_source, data.train_target);
  check_pair(k, data, "valid", data.valid_source, data.valid_target);
  check_pair(k, data, "test", data.test_source, data.test_target);
  if (!synthetic) check_mixture(k, data);
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

/// How lines become ids, and whose tokenizers those are.
void check_tokenizer(Checker& k, const RunConfig& c) {
  const DataSection& data = c.data;
  const bool word = data.tokenizer == TokenizerKind::kWord;
  k.require(data.tokenizer_model.empty() || !word, {"data.tokenizer_model", "data.tokenizer"},
            "a SentencePiece model is no word vocabulary; allowed with data.tokenizer = bpe or "
            "unigram, as the model is");
  k.require(data.tokenizer_model.empty() || !k.given("data.vocabulary"),
            {"data.vocabulary", "data.tokenizer_model"},
            "contradicts data.tokenizer_model; give one of them");
  k.require(data.target_tokenizer_model.empty() || !data.tokenizer_model.empty(),
            {"data.target_tokenizer_model", "data.tokenizer_model"},
            "is the target's model beside data.tokenizer_model, which is missing; give both");
  k.require(data.target_tokenizer_model.empty() || !joint_vocabulary(c),
            {"data.target_tokenizer_model", "data.joint_vocabulary", "model.tie_embeddings"},
            "gives the target a model of its own, and the vocabulary is joint; allowed without "
            "data.joint_vocabulary and tied sources");
  k.require(data.joint_vocabulary != JointVocabulary::kFalse || !joint_vocabulary(c.model),
            {"data.joint_vocabulary", "model.tie_embeddings"},
            "false, and model.tie_embeddings shares one matrix over one vocabulary; allowed auto, "
            "true");
  k.require(data.vocabulary != VocabularyFrom::kCheckpoint || !c.checkpoint.init_from.empty() ||
                c.checkpoint.resume != Resume::kNone,
            {"data.vocabulary", "checkpoint.init_from"},
            "checkpoint, and checkpoint.init_from names none; allowed text, a path");
  const std::int64_t longest = std::max(data.source_length(), data.target_length());
  k.require(
      data.subword_sampling == 0 || data.batch_tokens == 0 || data.batch_tokens >= longest,
      {"data.batch_tokens", "data.subword_sampling", "data.max_length"},
      std::to_string(data.batch_tokens) + " is below the longest line, " + std::to_string(longest) +
          " ids by data.max_length, which a drawn segmentation may reach; allowed from there");
}

void check_schedule(Checker& k, const RunConfig& c) {
  const ScheduleSection& s = c.schedule;
  k.warn(s.name == ScheduleKind::kWarmupConstant && s.warmup_steps < 2,
         {"schedule.warmup_steps", "schedule.name"},
         std::to_string(s.warmup_steps) +
             " warms up as 2 does, since DeepSpeed's WarmupLR takes max(2, n) steps; "
             "schedule.name = constant has no warm-up");
  k.require(
      s.warmup_steps > 0 || (s.name != ScheduleKind::kNoam && s.name != ScheduleKind::kInverseSqrt),
      {"schedule.warmup_steps", "schedule.name"},
      std::string("0, and schedule.name = ") +
          (s.name == ScheduleKind::kNoam ? "noam" : "inverse_sqrt") +
          " falls from the end of the warm-up; allowed from 1");
  k.require(!ends(s.name) || s.total_steps == 0 || s.warmup_steps < s.total_steps,
            {"schedule.warmup_steps", "schedule.total_steps", "schedule.name"},
            std::to_string(s.warmup_steps) + " is not below schedule.total_steps = " +
                std::to_string(s.total_steps) + ": no step is left after the warm-up");
  const bool decays = s.name == ScheduleKind::kWsd && s.total_steps > s.warmup_steps;
  k.require(!decays || s.decay_steps <= s.total_steps - s.warmup_steps,
            {"schedule.decay_steps", "schedule.total_steps", "schedule.warmup_steps"},
            std::to_string(s.decay_steps) + " is more than the " +
                std::to_string(s.total_steps - s.warmup_steps) +
                " steps that schedule.total_steps leaves after the warm-up of "
                "schedule.warmup_steps = " +
                std::to_string(s.warmup_steps) + "; allowed up to that");
  k.require(!ends(s.name) || c.data.synthetic == Synthetic::kNone || s.total_steps > 0,
            {"schedule.total_steps", "schedule.name", "data.synthetic"},
            "random_ids has no epochs to take the schedule's end from; allowed from 1");
  k.require(s.name != ScheduleKind::kWarmupConstant || s.min_lr <= c.optimizer.lr,
            {"schedule.min_lr", "optimizer.lr"},
            find_key("schedule.min_lr")->get(c) +
                " is above optimizer.lr = " + find_key("optimizer.lr")->get(c) +
                ", to which the warm-up rises from it; allowed up to that");
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
  const bool reads_nesterov =
      runtime::optimizer_reads(optimizer.name, &runtime::OptimizerSettings::nesterov);
  const double momentum =
      optimizer.momentum < 0 ? usual_momentum(optimizer.name) : optimizer.momentum;
  k.require(!reads_nesterov || momentum > 0 || optimizer.nesterov != runtime::Nesterov::kTrue,
            {"optimizer.nesterov", "optimizer.momentum"},
            std::string("true needs a momentum to look ahead along, and ") +
                runtime::optimizer_name(optimizer.name) +
                " has none; allowed with optimizer.momentum above 0");
}

/// Whether the run cannot fall back to the CPU.
bool needs_gpu(const RunConfig& c) {
  return c.run.device == DeviceKind::kCuda || c.comm.backend == Backend::kNccl;
}

void check_dealing(Checker& k, const RunConfig& c) {
  const bool blocks = c.comm.dealing == Dealing::kBlocks;
  k.require(!blocks || c.comm.reduction == Reduction::kExact, {"comm.dealing", "comm.reduction"},
            "blocks is a way of exact sums, and comm.reduction is fast; allowed auto, rounds");
  k.require(!blocks || c.precision.reduce_dtype == ReduceDtype::kFp32,
            {"comm.dealing", "precision.reduce_dtype"},
            "blocks sends sums of micro-batches in fp32, and precision.reduce_dtype is working; "
            "allowed auto, rounds");
  k.require(
      !blocks || c.run.audit_steps == 0, {"comm.dealing", "run.audit_steps"},
      "blocks adds the gradients of micro-batches before they are sent, and an audit compares "
      "each of them; allowed auto, rounds");
}

void check_training(Checker& k, const RunConfig& c) {
  k.require(c.precision.dtype != ElementType::kFp16 ||
                c.precision.loss_scale_min <= c.precision.loss_scale,
            {"precision.loss_scale_min", "precision.loss_scale"},
            "the smallest loss scale is above the first one");
  const bool synthetic = c.data.synthetic != Synthetic::kNone;
  check_schedule(k, c);
  check_optimizer(k, c.optimizer);
  k.require(!synthetic || c.train.max_steps > 0, {"train.max_steps", "data.synthetic"},
            "random_ids needs a number of steps; allowed from 1");
  k.require(c.decode.parameters == DecodeParameters::kTrained || c.train.ema_decay > 0,
            {"decode.parameters", "train.ema_decay"},
            "ema, and train.ema_decay is 0: the run keeps no average; allowed with a decay");
  k.require(c.optimizer.state_dtype == ElementType::kFp32 || !needs_gpu(c),
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
  k.require(c.run.audit_steps == 0 || c.comm.reduction == Reduction::kExact,
            {"run.audit_steps", "comm.reduction"},
            "contradicts comm.reduction = fast, which mixes micro-batches before they can be "
            "compared; allowed 0, or exact sums");
  check_dealing(k, c);
  k.require(c.zero.partition == Partition::kWorld || !needs_gpu(c),
            {"zero.partition", "run.device", "comm.backend"},
            "node is for ranks that share a node's memory, and GPUs have their own; allowed world "
            "with run.device = cuda");
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

void check_valid(Checker& k, const RunConfig& c) {
  const std::vector<Metric> metrics = metrics_of(c.valid);
  const Metric best = best_metric(c.valid);
  k.require(std::find(metrics.begin(), metrics.end(), best) != metrics.end(),
            {"valid.best_metric", "valid.metrics", "valid.script"},
            best == Metric::kScript ? "script, and there is none; allowed with valid.script"
                                    : std::string(name_of(best)) +
                                          " is not computed; allowed what valid.metrics names");
  k.require(c.valid.script.empty() || c.comm.timeout_seconds <= 0 ||
                c.valid.script_seconds < c.comm.timeout_seconds,
            {"valid.script_seconds", "comm.timeout_seconds", "valid.script"},
            "the other ranks wait for the script and would take it for a hang; allowed below "
            "comm.timeout_seconds");
  k.require(c.checkpoint.average_last == 0 || writes_checkpoints(c),
            {"checkpoint.average_last", "checkpoint.every_epochs", "checkpoint.every_steps"},
            "no checkpoint is written that could be averaged; allowed with "
            "checkpoint.every_epochs or checkpoint.every_steps");
  k.warn(c.valid.patience > 0 && validates(c) && c.checkpoint.keep_best == 0 &&
             c.checkpoint.average_last == 0,
         {"valid.patience", "checkpoint.keep_best"},
         "the run ends some validations after the best and gives its newest parameters; "
         "checkpoint.keep_best = 1 keeps the best ones, and gives those");
}

}  // namespace

void check(const RunConfig& config, const Origins& origins, const std::string& file,
           const std::set<std::string>& unsure, std::vector<std::string>& problems,
           std::vector<std::string>& warnings) {
  Checker k(origins, file, unsure, problems, warnings);
  check_model(k, config.model);
  check_positions(k, config);
  check_decoding(k, config);
  check_data(k, config.data);
  check_tokenizer(k, config);
  check_training(k, config);
  check_valid(k, config);
  check_summarization(k, config);
  find_idle(k, config);
}

}  // namespace th::config
