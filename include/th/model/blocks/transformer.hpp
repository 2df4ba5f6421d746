#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "th/config/run_config.hpp"
#include "th/data/batch.hpp"
#include "th/model/blocks/pass_sizes.hpp"
#include "th/model/memory/compute_device.hpp"
#include "th/model/memory/packed_rows.hpp"
#include "th/model/parameters/parameter_spec.hpp"
#include "th/model/parameters/parameters.hpp"
#include "th/model/products/gemm.hpp"
#include "th/runtime/observe/flight_record.hpp"

namespace th::model {

class BatchCopies;
class Output;
struct PositionTables;
class Stack;
class UnitWalk;
struct DecodingRows;
struct LayerCache;
struct Pass;
struct PassContext;
struct Tape;

/// The sums of one micro-batch: the loss is loss_sum / tokens over all slots of a step.
struct LossSum {
  double loss_sum = 0;  ///< of token losses, natural logarithm
  std::int64_t tokens = 0;
};

/// The numbers from which a model is made.
struct TransformerSpec {
  config::ModelSection model;
  std::int64_t source_vocabulary = 0, target_vocabulary = 0;
  /// Ids of the longest sentence; with learned positions learned_positions().
  std::int64_t max_length = 0;
  /// Source ids for each target id in the training corpus, for local cross attention: it is centred
  /// at round(i * source_per_target).
  double source_per_target = 1;
};

/// Bytes of the tables of positions that a model holds for sentences up to `longest`, beside its
/// parameters.
[[nodiscard]] std::int64_t table_bytes(const config::ModelSection& model, std::int64_t longest);

/// How the model's attentions cut sentences; without the tables that their rules read.
[[nodiscard]] AttentionCuts attention_cuts(const TransformerSpec& spec);
/// The sizes of one pair of sentences: rows, and the scores that are computed (under a local rule
/// those of keys that a query sees).
[[nodiscard]] PassSizes sentence_sizes(const AttentionCuts& cuts, std::int64_t source,
                                       std::int64_t target);

/// The numbers of a training pass over one micro-batch.
struct SlotTarget {
  std::uint64_t dropout_key = 0;  ///< hash of (seed, step, slot)
  double gradient_scale = 1;      ///< gradients are those of loss_sum times it; not 0
  double label_smoothing = 0;
};

/// Tensors that have two uses.
struct SharedTensors {
  std::vector<TensorAlias> aliases;
  /// By unit: whether it stays open while others are opened and closed (shared embeddings and
  /// output).
  std::vector<bool> long_lived;
};

/// Which pass a rank without a slot joins.
enum class IdlePass { kSlot, kForward };

/// How inference multiplies by parameters that stay: as they are (Gemm::rowwise), or, where they
/// are fp32, in int8 (Gemm::quantized).
enum class KeptProducts { kOfType, kInt8 };

/// Encoder-decoder Transformer (Vaswani et al. 2017) with the tensor names of torch.nn.Transformer:
/// an encoder stack, a decoder stack and an output. It holds no parameters: they come from a
/// ParameterSource, unit by unit, and their element type (fp32, bf16, fp16) is that of the
/// activations. It knows nothing of ranks. Its units are those of parameter_units().
class Transformer {
 public:
  /// Parameters come from, and gradients go to, tensors on `device`, and its kernels compute.
  /// Throws InternalError if d_model is no multiple of num_heads.
  Transformer(const TransformerSpec& spec, GemmLibrary gemm,
              Arithmetic arithmetic = Arithmetic::kCompute, const ComputeDevice& device = {});
  ~Transformer();
  Transformer(Transformer&&) noexcept;
  Transformer& operator=(Transformer&&) = delete;

  [[nodiscard]] const std::vector<UnitSpec>& units() const noexcept { return units_; }
  [[nodiscard]] const SharedTensors& shared() const noexcept { return shared_; }
  [[nodiscard]] const ComputeDevice& device() const noexcept { return device_; }
  /// From here on copies of batches to a device are events of `record`.
  void record_on(const std::shared_ptr<runtime::FlightRecord>& record);
  /// Bytes that the model holds beside its parameters: tables, and on a device with memory of its
  /// own the products' workspace.
  [[nodiscard]] std::int64_t constant_bytes() const noexcept;
  /// Ids of the longest sentence.
  [[nodiscard]] std::int64_t longest() const noexcept { return longest_; }
  /// Floating point operations of the matrix products of one micro-batch, forward and backward,
  /// with what gradient checkpointing computes again. A multiply-add counts two.
  [[nodiscard]] double training_flops(const PassSizes& sizes) const;

  /// Forward and backward over one micro-batch; gradients are added through `source`, and loss_sum
  /// to `loss`, a number in the device's memory. On a device with memory of its own all of it is
  /// enqueued, and the host waits for nothing.
  void train_slot(ParameterSource& source, const data::Batch& batch, const SlotTarget& target,
                  double* loss);
  /// The same, and waits for the loss.
  LossSum train_slot(ParameterSource& source, const data::Batch& batch, const SlotTarget& target);
  /// Opens and closes the units as train_slot() or evaluate() does, without computing: a rank that
  /// has no slot in a round joins the others' collectives.
  void idle(ParameterSource& source, IdlePass pass) const;
  /// Promises that parameters neither change nor move from here on. Inference may then keep packed
  /// copies of them.
  void keep_parameters(KeptProducts products);

  /// Plain cross entropy without dropout.
  LossSum evaluate(ParameterSource& source, const data::Batch& batch);
  /// The same as a sum for each sentence, which depends only on that pair of sentences. On the
  /// host.
  [[nodiscard]] std::vector<double> sentence_losses(ParameterSource& source,
                                                    const data::Batch& batch);
  /// Logits [target_tokens, V] of decoder inputs, without dropout (scoring, tests).
  [[nodiscard]] at::Tensor logits(ParameterSource& source, const data::Batch& batch);

  // The parts of a pass, for decoding. The walk holds a unit that embeddings or the output share
  // open from its first use on, and whoever walks releases it. With null tapes nothing is saved for
  // a backward pass.
  [[nodiscard]] const Stack& encoder() const noexcept { return *encoder_; }
  [[nodiscard]] const Stack& decoder() const noexcept { return *decoder_; }
  /// Computes the encoder, and puts what cross attention sees of its result into the walk's pass.
  void encode(UnitWalk& walk, std::vector<Tape>* tapes) const;
  /// encode() and then the decoder's rows [target_tokens, D]; nothing for an idle walk.
  [[nodiscard]] at::Tensor forward(UnitWalk& walk, std::vector<Tape>* encoder_tapes,
                                   std::vector<Tape>* decoder_tapes) const;
  /// Decoder and output for one position of R hypotheses; logits are those of Output::step(). For
  /// an idle walk `rows` is null and `caches` empty.
  [[nodiscard]] at::Tensor step(UnitWalk& walk, const DecodingRows* rows,
                                std::vector<LayerCache>& caches) const;
  /// The context of a pass without dropout and gradients.
  [[nodiscard]] PassContext inference() const;

 private:
  [[nodiscard]] std::int64_t output_unit() const noexcept { return std::ssize(units_) - 1; }
  [[nodiscard]] PassContext context(std::uint64_t key, bool training) const;
  /// The units of a forward pass up to the output's, whose work is work(parameters, x).
  template <typename Work>
  void walk_forward(UnitWalk& walk, const Work& output) const;
  /// Writes the cross entropy of each row to `row_losses`, if that is not null.
  LossSum evaluate_rows(ParameterSource& source, const data::Batch& batch, double* row_losses);
  /// The units of a training slot.
  void walk_slot(UnitWalk& walk) const;
  /// An fp64 number on the device, 0, and what is there once the device is done.
  [[nodiscard]] at::Tensor new_total() const;
  [[nodiscard]] double read_total(const at::Tensor& total) const;

  config::ModelSection model_;
  ComputeDevice device_;
  at::Tensor workspace_;        ///< of products on a device with memory of its own
  Gemm gemm_, inference_gemm_;  ///< of training; of passes without gradients
  std::int64_t longest_;
  std::unique_ptr<PositionTables> positions_;
  AttentionCuts cuts_;
  std::vector<UnitSpec> units_;
  SharedTensors shared_;
  std::int64_t shared_unit_ = -1;  ///< of embeddings or the output; -1: none
  bool encoder_shares_ = false;    ///< whether the encoder's embedding is of the shared unit
  std::unique_ptr<Stack> encoder_, decoder_;
  std::unique_ptr<Output> output_;
  std::unique_ptr<BatchCopies> copies_;  ///< on a device with memory of its own
};

/// Whether all attention of sentences up to `length` is one kernel over packed rows, without
/// padding.
[[nodiscard]] bool fuses_attention(const Transformer& model, at::ScalarType type,
                                   std::int64_t length, std::int64_t head_width);

}  // namespace th::model
