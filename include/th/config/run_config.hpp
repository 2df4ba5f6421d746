#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "th/base/element_type.hpp"
#include "th/runtime/optimizers/optimizer_rules.hpp"
#include "th/score/options.hpp"

namespace th::config {

// The typed run configuration: one struct for each section of the deck, one member for each key,
// with the key's name. The key table (schema.hpp) fills it; other layers never see a key as a
// string.

enum class Task { kTranslation, kSummarization };
enum class DeviceKind { kAuto, kCpu, kCuda };
enum class Gemm { kAuto, kOnednn, kMkl };
enum class Norm { kPre, kPost };
enum class Position { kSinusoidal, kLearned, kRope, kAlibi };
enum class Attention { kFull, kLocal };
enum class RopeScaling { kNone, kLinear, kNtk };
enum class NormKind { kLayer, kRms };
enum class Activation { kRelu, kGelu, kSwish, kSwiglu };
enum class Tying { kNone, kDecoder, kEmbeddings, kAll };
enum class PositionLayout { kInterleaved, kHalves };
enum class PositionFrequency { kStandard, kMarian };
enum class Start { kSymbol, kZero };
enum class GradientCheckpointing { kNone, kSelective, kFull, kSqrt };
enum class AttentionKernels { kAuto, kProducts };
enum class Synthetic { kNone, kRandomIds };
enum class TokenizerKind { kWord, kBpe, kUnigram };
enum class JointVocabulary { kAuto, kTrue, kFalse };
enum class Normalization { kIdentity, kNfkc, kNmtNfkc, kNfkcCf, kNmtNfkcCf };
/// kUnset: from the text, or with checkpoint.init_from from the checkpoint.
enum class VocabularyFrom { kUnset, kText, kCheckpoint, kPath };
enum class EmptyLines { kError, kSkip };
enum class LongLines { kCut, kDrop };
enum class TextFormat { kText, kTsv };
using runtime::OptimizerKind;
enum class ScheduleKind {
  kNoam,
  kWarmupLinear,
  kCosine,
  kConstant,
  kInverseSqrt,
  kWarmupConstant,
  kWsd
};
enum class WarmupShape { kLinear, kLog };
enum class DecodeParameters { kTrained, kEma };
/// kGnmt: ((5 + length) / 6)^alpha; kPower: length^alpha.
enum class LengthNormalization { kGnmt, kPower };
enum class Sharded { kAuto, kOn, kOff };
enum class ReduceDtype { kFp32, kWorking };
enum class Backend { kAuto, kMpi, kNccl };
enum class Reduction { kExact, kFast };
enum class Partition { kWorld, kNode };
enum class Overlap { kAuto, kOn, kOff };
enum class Dealing { kAuto, kRounds, kBlocks };
enum class Resume { kNone, kLatest, kPath };
enum class Progress { kAuto, kOn, kOff };
enum class Metric { kLoss, kPerplexity, kBleu, kChrf, kRouge, kExact, kScript };
enum class Better { kHigher, kLower };

struct RunSection {
  std::int64_t warmup_steps = 0;
  Task task = Task::kTranslation;
  std::uint64_t seed = 1;
  std::string output_dir;  ///< absolute or relative to the working directory; default runs/NAME
  double max_minutes = 0;
  std::string stop_file;  ///< the run stops when this file is there; empty: none
  DeviceKind device = DeviceKind::kAuto;
  std::int64_t threads = 1;
  Gemm gemm = Gemm::kAuto;
  AttentionKernels attention = AttentionKernels::kAuto;
  std::int64_t audit_steps = 0;  ///< steps from one audit to the next; 0: none
};

struct ModelSection {
  std::int64_t d_model = 512;
  std::int64_t num_heads = 8;
  std::int64_t num_encoder_layers = 6;
  std::int64_t num_decoder_layers = 6;
  std::int64_t d_ff = 2048;
  double dropout = 0.1;
  double attention_dropout = -1;   ///< negative: dropout
  double activation_dropout = -1;  ///< negative: dropout
  Norm norm = Norm::kPre;
  NormKind norm_kind = NormKind::kLayer;
  double norm_eps = 1e-5;
  bool final_norm = true;
  bool embedding_norm = false;
  Activation activation = Activation::kRelu;
  Position position = Position::kSinusoidal;
  PositionLayout position_layout = PositionLayout::kInterleaved;
  PositionFrequency position_frequency = PositionFrequency::kStandard;
  Start start = Start::kSymbol;
  Attention encoder_attention = Attention::kFull;
  Attention decoder_attention = Attention::kFull;
  Attention cross_attention = Attention::kFull;
  std::int64_t attention_window = 0;
  double rope_theta = 10000;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_scaling_factor = 1;
  std::int64_t cross_downsample = 1;
  bool qk_norm = false;
  bool depth_scaled_init = false;
  Tying tie_embeddings = Tying::kNone;
  GradientCheckpointing gradient_checkpointing = GradientCheckpointing::kNone;
};

/// Whether an attention of this kind reads model.attention_window.
[[nodiscard]] constexpr bool has_window(Attention kind) { return kind != Attention::kFull; }

/// Whether the embeddings of source and target are one matrix, over one vocabulary.
[[nodiscard]] constexpr bool joint_vocabulary(const ModelSection& model) {
  return model.tie_embeddings == Tying::kEmbeddings || model.tie_embeddings == Tying::kAll;
}

struct DataSection {
  /// Resolved paths, several of them divided by commas (`files_of` splits them); empty: not given.
  std::string train_source, train_target, valid_source, valid_target, test_source, test_target;
  std::vector<double> train_weights;  ///< one for each pair of training files; empty: none given
  double train_temperature = 1;
  TextFormat format = TextFormat::kText;
  std::string index_dir;  ///< empty: beside run.output_dir
  Synthetic synthetic = Synthetic::kNone;
  std::int64_t synthetic_length = 32;
  TokenizerKind tokenizer = TokenizerKind::kWord;
  std::int64_t vocab_size = 0;
  std::int64_t min_freq = 2;
  std::string tokenizer_model;         ///< a SentencePiece model's path; empty: none
  std::string target_tokenizer_model;  ///< empty: that of the source
  JointVocabulary joint_vocabulary = JointVocabulary::kAuto;
  VocabularyFrom vocabulary = VocabularyFrom::kUnset;
  std::string vocabulary_path;  ///< set when vocabulary is kPath
  bool byte_fallback = true;
  double character_coverage = 0.9995;
  Normalization normalization = Normalization::kNmtNfkc;
  std::string user_symbols;     ///< divided by commas
  double subword_sampling = 0;  ///< 0: off
  std::int64_t max_length = 100;
  std::int64_t max_source_length = 0, max_target_length = 0;  ///< 0: max_length
  LongLines long_lines = LongLines::kCut;
  double max_ratio = 0;  ///< 0: any
  EmptyLines empty_lines = EmptyLines::kError;
  std::int64_t batch_size = 32;
  std::int64_t batch_tokens = 0;
  std::int64_t num_workers = 1;
  std::int64_t sort_window = 1;  ///< optimizer steps whose sentences are sorted by length together

  /// The largest number of ids of a line of each side, begin and end included.
  [[nodiscard]] std::int64_t source_length() const {
    return max_source_length > 0 ? max_source_length : max_length;
  }
  [[nodiscard]] std::int64_t target_length() const {
    return max_target_length > 0 ? max_target_length : max_length;
  }
  [[nodiscard]] std::int64_t longest_length() const {
    return source_length() > target_length() ? source_length() : target_length();
  }
};

/// The paths of a value that may name several, such as train_source.
[[nodiscard]] std::vector<std::string> files_of(const std::string& value);

/// What the run does where loss or gradients are not finite, overflows of fp16 apart.
enum class OnNotFinite { kStop, kSkip };

struct TrainSection {
  std::int64_t epochs = 5;
  std::int64_t max_steps = 0;
  std::int64_t micro_batches = 0;
  double label_smoothing = 0;
  double gradient_clip = 1.0;
  std::int64_t valid_every_steps = 0;
  double ema_decay = 0;
  OnNotFinite on_not_finite = OnNotFinite::kStop;
};

/// The settings that optimizer rules read, apart from the rate, are members of
/// runtime::OptimizerSettings.
struct OptimizerSection : runtime::OptimizerSettings {
  OptimizerKind name = OptimizerKind::kAdam;
  double lr = 1.0;
};

struct ScheduleSection {
  ScheduleKind name = ScheduleKind::kNoam;
  std::int64_t warmup_steps = 4000;
  std::int64_t total_steps = 0;
  WarmupShape warmup_shape = WarmupShape::kLinear;
  double min_lr = 0;
  double min_ratio = 0;
  std::int64_t decay_steps = 0;
};

struct PrecisionSection {
  ElementType dtype = ElementType::kFp32;
  ReduceDtype reduce_dtype = ReduceDtype::kFp32;
  double loss_scale = 65536;               ///< fp16: at the start
  std::int64_t loss_scale_window = 1000;   ///< fp16: steps without overflow after which it doubles
  std::int64_t loss_scale_hysteresis = 2;  ///< fp16: overflows until the scale is halved
  double loss_scale_min = 1;               ///< fp16: the run ends rather than halve it below this
};

struct ZeroSection {
  std::int64_t stage = 0;
  bool offload_optimizer = false;
  bool offload_parameters = false;
  std::int64_t prefetch_units = 1;  ///< stage 3: units gathered ahead of the one in use
  /// Stage 3: units of at most so many parameters are gathered once after each update.
  std::int64_t persistence_threshold = 0;
  std::int64_t max_live_parameters = 0;     ///< stage 3: elements gathered at a time; 0: no limit
  Partition partition = Partition::kWorld;  ///< stage 3: who shares the parameters
};

struct CommSection {
  Backend backend = Backend::kAuto;
  Reduction reduction = Reduction::kExact;
  /// train::resolve_overlap replaces auto. Layers below train take auto for off.
  Overlap overlap = Overlap::kAuto;
  /// Resolved by train::choose_dealing; below train, auto counts as rounds.
  Dealing dealing = Dealing::kAuto;
  double timeout_seconds = 300;
  bool check_order = false;
};

struct CheckpointSection {
  std::int64_t every_epochs = 1;
  std::int64_t every_steps = 0;
  std::int64_t keep_last = 0;
  std::int64_t keep_best = 0;
  std::int64_t average_last = 0;
  Resume resume = Resume::kNone;
  std::string resume_path;  ///< set when resume is kPath
  std::string init_from;
  bool branch = false;  ///< a resume by path begins a run of its own
  bool async = true;
};

struct DecodeSection {
  std::int64_t beam = 1;
  double length_penalty = 1.0;
  std::int64_t max_length = 100;
  DecodeParameters parameters = DecodeParameters::kTrained;
  LengthNormalization length_normalization = LengthNormalization::kGnmt;
  std::int64_t min_length = 0;       ///< ids, the end not counted
  std::int64_t no_repeat_ngram = 0;  ///< ids of an n-gram; 0: any may be repeated
  bool sampling = false;
  double temperature = 1.0;
  std::int64_t top_k = 0;  ///< 0: all
  double top_p = 1.0;
  std::vector<std::string> forbidden_words;
  Sharded sharded = Sharded::kAuto;
};

/// How documents longer than the window are summarized.
struct SummarizationSection {
  bool hierarchical = true;
  std::int64_t chunk = 0;     ///< source ids of a chunk, its end counted; 0: from the lengths
  std::int64_t overlap = -1;  ///< source ids that two chunks share; -1: from the chunk
};

/// What validation computes, and what the run does with it.
struct ValidSection {
  std::vector<Metric> metrics{Metric::kLoss};
  std::int64_t max_lines = 0;  ///< lines that are translated; 0: all
  std::string script;          ///< resolved path, empty: none
  double script_seconds = 60;
  Better script_better = Better::kHigher;
  score::BleuTokenizer bleu_tokenizer = score::BleuTokenizer::k13a;
  score::Smoothing bleu_smoothing = score::Smoothing::kExp;
  std::int64_t chrf_word_order = 0;
  score::RougeUnits rouge_units = score::RougeUnits::kWords;
  std::int64_t patience = 0;            ///< validations; 0: none
  std::optional<Metric> best_metric{};  ///< empty: the first of `metrics`
};

struct MonitorSection {
  bool tensorboard = true;
  Progress progress = Progress::kAuto;
  std::int64_t log_every_steps = 0;  ///< 0: auto, a line a minute where no progress bar is shown
  std::int64_t sample_lines = 0;
  double straggler_factor = 1.5;  ///< 0: slow ranks are not looked for
};

struct ProfileSection {
  bool enabled = false;
  std::int64_t first_step = 5;
  std::int64_t steps = 5;
};

struct PlanSection {
  std::int64_t ranks = 0;           ///< 0: the ranks of this launch
  std::int64_t ranks_per_node = 0;  ///< 0: all of them run on this node
  double gpu_gbytes = 0;            ///< memory of a rank's GPU; 0: plan for the CPU
  double link_gbytes = 0;           ///< 0: the measured memory bandwidth
};

/// Everything a run needs to know, checked.
struct RunConfig {
  RunSection run;
  ModelSection model;
  DataSection data;
  TrainSection train;
  OptimizerSection optimizer;
  ScheduleSection schedule;
  PrecisionSection precision;
  ZeroSection zero;
  CommSection comm;
  CheckpointSection checkpoint;
  DecodeSection decode;
  SummarizationSection summarization;
  ValidSection valid;
  MonitorSection monitor;
  ProfileSection profile;
  PlanSection plan;
};

/// Whether the run validates on text.
[[nodiscard]] inline bool validates(const RunConfig& config) {
  return config.data.synthetic == Synthetic::kNone && !config.data.valid_source.empty();
}

/// Whether the run saves checkpoints without being asked: by schedule, or when a validation is
/// among the best.
[[nodiscard]] inline bool writes_checkpoints(const RunConfig& config) {
  const CheckpointSection& c = config.checkpoint;
  return c.every_epochs > 0 || c.every_steps > 0 || (c.keep_best > 0 && validates(config));
}

/// Whether source and target have one vocabulary: as the deck says, by default if they share an
/// embedding.
[[nodiscard]] constexpr bool joint_vocabulary(const RunConfig& config) {
  return config.data.joint_vocabulary == JointVocabulary::kAuto
             ? joint_vocabulary(config.model)
             : config.data.joint_vocabulary == JointVocabulary::kTrue;
}

}  // namespace th::config
