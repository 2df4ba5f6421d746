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
/// state_dict. Without LibTorch, so that th_inspect can tell what a deck's model has.
///
/// Units: source_embedding, target_embedding (or one `embeddings` where tied, then with the output
/// matrix), encoder.layers.i (the last with encoder.norm), decoder.layers.i, output (decoder.norm
/// and the projection). Throws InternalError where tied vocabularies differ in size.
[[nodiscard]] ParameterUnits parameter_units(const config::ModelSection& model,
                                             std::int64_t source_vocabulary,
                                             std::int64_t target_vocabulary);

}  // namespace th::model
