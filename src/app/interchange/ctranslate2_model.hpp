#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/io/formats/ctranslate2.hpp"

namespace th::app {

/// Where an array of CTranslate2's comes from: elements of a tensor of the checkpoint, or
/// sinusoids.
struct Ctranslate2Source {
  std::string tensor;  ///< empty: sinusoids
  std::int64_t begin = 0, count = 0;
};

/// A checkpoint's model as CTranslate2's TransformerSpec, revision 7, has it.
struct Ctranslate2Model {
  std::vector<io::Ctranslate2Variable> variables;
  std::map<std::string, Ctranslate2Source> sources;  ///< of each array
  std::map<std::string, std::string> aliases;        ///< further names of arrays
  std::string configuration;                         ///< config.json
};

inline constexpr const char* kCtranslate2Specification = "TransformerSpec";
inline constexpr std::uint32_t kCtranslate2Revision = 7;

/// The model with arrays of `type`. Throws DeckError with a line for each option of the model that
/// the specification has not.
[[nodiscard]] Ctranslate2Model ctranslate2_model(const config::RunConfig& config,
                                                 const io::CheckpointInfo& info, ElementType type);

}  // namespace th::app
