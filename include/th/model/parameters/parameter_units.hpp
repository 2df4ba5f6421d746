#pragma once

#include <cstdint>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/model/parameters/parameter_spec.hpp"

namespace th::model {

/// The tensors of a model, by unit, and the further names of tied ones.
struct ParameterUnits {
  std::vector<UnitSpec> units;
  std::vector<TensorAlias> aliases;
};

/// Names and shapes of an encoder-decoder Transformer's parameters, those of torch.nn.Transformer's
/// state_dict. It needs no LibTorch, so that th_inspect can list the tensors of a deck's model.
///
/// Units: source_embedding, target_embedding (or one `embeddings` where they are tied),
/// encoder.layers.i (the last with encoder.norm), decoder.layers.i, output (decoder.norm and the
/// projection, without its matrix where that is an embedding's).
///
/// What torch.nn.Transformer does not have is named as in the nearest module: source_positions and
/// target_positions [P, D], `positions` being P, as its embeddings; encoder.layernorm_embedding and
/// decoder.layernorm_embedding as in Hugging Face's BART; of swiglu linear3 beside linear1, whose
/// output it multiplies, as Llama's w3 beside w1; q_norm and k_norm [K] of an attention as in
/// Qwen3. An RMSNorm has a weight alone, as torch.nn.RMSNorm.
///
/// Throws InternalError if tied vocabularies differ in size.
[[nodiscard]] ParameterUnits parameter_units(const config::ModelSection& model,
                                             std::int64_t source_vocabulary,
                                             std::int64_t target_vocabulary,
                                             std::int64_t positions = 0);

/// Rows of a learned table of positions: data.max_length, or for synthetic batches
/// data.synthetic_length; 0 if positions are not learned.
[[nodiscard]] std::int64_t learned_positions(const config::RunConfig& config);

}  // namespace th::model
