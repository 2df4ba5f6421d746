#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/runtime/optimizers/optimizer_rules.hpp"

namespace th::config {

// The typed run configuration: one struct a deck section, one member a key, named as the key.
// Filled by the schema (schema.hpp); below this layer nobody sees a string key.

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
enum class EmptyLines { kError, kSkip };
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
enum class Precision { kFp32, kBf16, kFp16 };
enum class ReduceDtype { kFp32, kWorking };
enum class Backend { kAuto, kMpi, kNccl };
enum class Reduction { kExact, kFast };
enum class Overlap { kAuto, kOn, kOff };
enum class Resume { kNone, kLatest, kPath };
enum class Progress { kAuto, kOn, kOff };

struct RunSection {
  std::int64_t warmup_steps = 0;
  Task task = Task::kTranslation;
  std::uint64_t seed = 1;
  std::string output_dir;  ///< absolute or relative to the working directory; default runs/NAME
  double max_minutes = 0;
  std::string stop_file;  ///< the run stops when it is there; empty: none
  DeviceKind device = DeviceKind::kAuto;
  std::int64_t threads = 1;
  Gemm gemm = Gemm::kAuto;
  AttentionKernels attention = AttentionKernels::kAuto;
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

/// Whether source and target have one vocabulary: the embeddings of both are one matrix.
[[nodiscard]] constexpr bool joint_vocabulary(const ModelSection& model) {
  return model.tie_embeddings == Tying::kEmbeddings || model.tie_embeddings == Tying::kAll;
}

struct DataSection {
  std::string train_source, train_target, valid_source, valid_target, test_source,
      test_target;  ///< resolved paths, empty: not given
  Synthetic synthetic = Synthetic::kNone;
  std::int64_t synthetic_length = 32;
  TokenizerKind tokenizer = TokenizerKind::kWord;
  std::int64_t vocab_size = 0;
  std::int64_t min_freq = 2;
  std::int64_t max_length = 100;
  EmptyLines empty_lines = EmptyLines::kError;
  std::int64_t batch_size = 32;
  std::int64_t batch_tokens = 0;
  std::int64_t num_workers = 1;
  std::int64_t sort_window = 1;  ///< optimizer steps whose sentences are sorted by length together
};

struct TrainSection {
  std::int64_t epochs = 5;
  std::int64_t max_steps = 0;
  std::int64_t micro_batches = 0;
  double label_smoothing = 0;
  double gradient_clip = 1.0;
  std::int64_t valid_every_steps = 0;
  double ema_decay = 0;
};

/// What the rules read beside the rate are members of runtime::OptimizerSettings.
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
  Precision dtype = Precision::kFp32;
  ReduceDtype reduce_dtype = ReduceDtype::kFp32;
  double loss_scale = 65536;              ///< fp16: the first one
  std::int64_t loss_scale_window = 1000;  ///< fp16: steps without overflow after which it doubles
};

struct ZeroSection {
  std::int64_t stage = 0;
  bool offload_optimizer = false;
  bool offload_parameters = false;
  std::int64_t prefetch_units = 1;  ///< stage 3: units gathered ahead of the one in use
  /// Stage 3: units of at most so many parameters are gathered once after each update.
  std::int64_t persistence_threshold = 0;
  std::int64_t max_live_parameters = 0;  ///< stage 3: elements gathered at a time; 0: no limit
};

struct CommSection {
  Backend backend = Backend::kAuto;
  Reduction reduction = Reduction::kExact;
  /// Resolved by train::resolve_overlap; below train, auto counts as off.
  Overlap overlap = Overlap::kAuto;
  double timeout_seconds = 300;
};

struct CheckpointSection {
  std::int64_t every_epochs = 1;
  std::int64_t every_steps = 0;
  std::int64_t keep_last = 0;
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
};

struct MonitorSection {
  bool tensorboard = true;
  Progress progress = Progress::kAuto;
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
  MonitorSection monitor;
  ProfileSection profile;
  PlanSection plan;
};

}  // namespace th::config
