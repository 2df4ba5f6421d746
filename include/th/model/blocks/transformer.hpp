#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/batch.hpp"
#include "th/model/blocks/layers.hpp"
#include "th/model/blocks/parameter_units.hpp"
#include "th/model/blocks/parameters.hpp"
#include "th/model/memory/batch_copies.hpp"
#include "th/model/memory/compute_device.hpp"

namespace th::model {

/// The sums of one micro-batch: the loss is loss_sum / tokens over all slots of a step.
struct LossSum {
  double loss_sum = 0;  ///< of token losses, natural logarithm
  std::int64_t tokens = 0;
};

/// Encoder-decoder Transformer (Vaswani et al. 2017) with the tensor names of torch.nn.Transformer.
/// Holds no parameters: they come from a ParameterSource, unit by unit, and their element type
/// (fp32, bf16, fp16) is that of the activations. Knows nothing of ranks.
///
/// Its units are those of parameter_units().
class Transformer {
 public:
  /// Parameters come from, and gradients go to, tensors on `device`, and its kernels compute.
  Transformer(const config::ModelSection& model, std::int64_t source_vocabulary,
              std::int64_t target_vocabulary, GemmLibrary gemm, std::int64_t max_length,
              Arithmetic arithmetic = Arithmetic::kCompute, const ComputeDevice& device = {});

  [[nodiscard]] const std::vector<UnitSpec>& units() const noexcept { return units_; }
  [[nodiscard]] const std::vector<TensorAlias>& aliases() const noexcept { return aliases_; }
  /// Units that stay open while others are opened and closed (the tied embeddings).
  [[nodiscard]] const std::vector<bool>& long_lived() const noexcept { return long_lived_; }
  [[nodiscard]] const ComputeDevice& device() const noexcept { return device_; }
  /// Whether all attention of sentences up to `length` is one kernel over packed rows, without
  /// padding.
  [[nodiscard]] bool fuses_attention(at::ScalarType type, std::int64_t length) const;
  /// Batches' copies to a device are events of `record` from here on.
  void record_on(const std::shared_ptr<runtime::FlightRecord>& record) {
    if (copies_) copies_->record_on(record);
  }
  /// Bytes of tables, and on a device of its own of the products' workspace, that the model holds
  /// beside its parameters.
  [[nodiscard]] std::int64_t constant_bytes() const noexcept {
    return positions_.numel() * 4 +
           (device_.memory == ComputeDevice::Memory::kOwn ? runtime::kProductWorkspace : 0);
  }

  /// Forward and backward over one micro-batch; gradients of loss_sum * `gradient_scale` are added
  /// through `source`, and loss_sum to `loss`, a number in the device's memory. On a device with
  /// memory of its own all of it is enqueued, and the host waits for nothing.
  void train_slot(ParameterSource& source, const data::Batch& batch, std::uint64_t dropout_key,
                  double gradient_scale, double label_smoothing, double* loss);
  /// The same, and waits for the loss.
  LossSum train_slot(ParameterSource& source, const data::Batch& batch, std::uint64_t dropout_key,
                     double gradient_scale, double label_smoothing);
  /// Opens and closes the units as train_slot does, without computing: a rank that has no slot in a
  /// round joins the others' collectives.
  void idle_slot(ParameterSource& source) const;
  /// The forward half of idle_slot: joins the others' evaluate().
  void idle_forward(ParameterSource& source) const;
  /// Plain cross entropy without dropout.
  LossSum evaluate(ParameterSource& source, const data::Batch& batch);
  /// Logits [target_tokens, V] of decoder inputs, without dropout (scoring, tests).
  [[nodiscard]] at::Tensor logits(ParameterSource& source, const data::Batch& batch);
  /// Rows of logits that exist at a time in training and validation: enough for fast products, few
  /// beside a large micro-batch.
  static constexpr std::int64_t kLogitRows = 1024;
  /// Ids of the longest sentence: the rows of the position table.
  [[nodiscard]] std::int64_t longest() const noexcept { return positions_.size(0); }

 private:
  friend class IncrementalDecoder;
  struct EncoderTape {
    at::Tensor input;  ///< kept where the layer is computed again
    ResidualTape residual1, residual2;
    LayerNormTape final_norm;
    AttentionTape attention;
    FeedForwardTape feed_forward;
  };
  struct DecoderTape {
    at::Tensor input;
    ResidualTape residual1, residual2, residual3;
    AttentionTape self_attention, cross_attention;
    FeedForwardTape feed_forward;
  };
  struct Pass;

  Transformer(const config::ModelSection& model, ParameterUnits parameters, GemmLibrary gemm,
              std::int64_t max_length, Arithmetic arithmetic, const ComputeDevice& device);
  void index_units();
  [[nodiscard]] PassContext context(double dropout, std::uint64_t key, bool training) const;
  [[nodiscard]] at::Tensor encoder_layer(const Pass& pass, std::int64_t layer,
                                         const UnitTensors& unit, const at::Tensor& x,
                                         EncoderTape& tape) const;
  [[nodiscard]] at::Tensor encoder_layer_backward(const Pass& pass, std::int64_t layer,
                                                  UnitTensors& unit, const at::Tensor& g,
                                                  const EncoderTape& tape) const;
  [[nodiscard]] at::Tensor decoder_layer(const Pass& pass, std::int64_t layer,
                                         const UnitTensors& unit, const at::Tensor& x,
                                         const at::Tensor& memory, DecoderTape& tape) const;
  [[nodiscard]] at::Tensor decoder_layer_backward(const Pass& pass, std::int64_t layer,
                                                  UnitTensors& unit, const at::Tensor& g,
                                                  const DecoderTape& tape,
                                                  at::Tensor& g_memory) const;
  /// Throws InternalError unless the position table has so many rows.
  void require_places(std::int64_t length) const;
  [[nodiscard]] at::Tensor embed_ids(const Pass& pass, const UnitTensors& unit, std::int64_t rows,
                                     const std::int64_t* ids, const std::int32_t* places,
                                     std::uint64_t site) const;
  /// An fp64 number on the device, 0, and what is there once the device is done.
  [[nodiscard]] at::Tensor new_total() const;
  [[nodiscard]] double read_total(const at::Tensor& total) const;
  [[nodiscard]] at::Tensor encode(ParameterSource& source, Pass& pass) const;
  [[nodiscard]] at::Tensor decode(ParameterSource& source, Pass& pass,
                                  const at::Tensor& memory) const;
  [[nodiscard]] at::Tensor project(const Pass& pass, ParameterSource& source, const at::Tensor& x,
                                   LayerNormTape& tape) const;
  /// [V, D]: of the output unit, or the tied embeddings.
  [[nodiscard]] const at::Tensor& output_weight(const Pass& pass, const UnitTensors& unit) const;
  /// What is done with the scores of the rows from `first` on: their logits or, where gradients are
  /// asked for, their gradient.
  using LogitSlice = std::function<void(std::int64_t first, const at::Tensor& hidden_RD,
                                        const at::Tensor& scores_RV)>;
  /// Adds the sum of the batch's token losses to `loss`, from the output layer's input [M, D]. No
  /// more than kLogitRows rows of logits exist at a time; with `gradient_scale` != 0 they become
  /// their gradient.
  void loss_slices(const Pass& pass, const at::Tensor& hidden, const at::Tensor& weight,
                   const at::Tensor& bias, float smoothing, float gradient_scale, double* loss,
                   const LogitSlice& each) const;
  /// Loss and all gradients from the decoder's result `x`.
  void backward(ParameterSource& source, Pass& pass, at::Tensor x, float smoothing,
                float gradient_scale, double* loss) const;
  /// Opens and closes the units of encoder and decoder as their forward passes do, and leaves tied
  /// embeddings open.
  void idle_stacks(ParameterSource& source) const;
  [[nodiscard]] std::int64_t segment_length(std::int64_t layers) const;
  /// The layers of one stack in the backward pass, last first: restore(k) computes layer k's output
  /// again where a segment begins (sqrt checkpointing), layer(l) goes back through layer l.
  /// Computing and idle ranks take the same way.
  template <typename Restore, typename Layer>
  void backward_layers(std::int64_t layers, Restore restore, Layer layer) const;
  void open_tied(ParameterSource& source, Pass& pass) const;

  config::ModelSection model_;
  at::Tensor workspace_;  ///< of products on a device with memory of its own
  Gemm gemm_;
  std::vector<UnitSpec> units_;
  std::vector<TensorAlias> aliases_;
  std::vector<bool> long_lived_;
  std::vector<std::int64_t> forward_order_;  ///< of encoder and decoder
  std::int64_t source_unit_ = 0, target_unit_ = 0, output_unit_ = 0, first_encoder_ = 0,
               first_decoder_ = 0;
  ComputeDevice device_;
  at::Tensor positions_;                 ///< [max length, D], sinusoidal, interleaved
  std::unique_ptr<BatchCopies> copies_;  ///< on a device with memory of its own
};

/// Writes the initial value of a tensor's elements [begin, begin + count): counter based on (seed,
/// tensor name), so that every rank fills its own shard with what any other rank count would.
/// Xavier uniform (Glorot, Bengio 2010) for the matrices of encoder and decoder, 0 for biases, 1
/// and 0 for norms, N(0, d_model^-0.5) for embeddings, U(+-d_model^-0.5) for the output projection.
void initialize_elements(const TensorSpec& tensor, std::uint64_t seed, std::int64_t d_model,
                         std::int64_t begin, std::int64_t count, float* out);

}  // namespace th::model
