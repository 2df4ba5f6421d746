#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "th/config/run_config.hpp"
#include "th/data/text_walk.hpp"
#include "th/data/vocabulary.hpp"

namespace th::data {

/// What encodes the two sides: the same object when they have one vocabulary.
struct TokenizerPair {
  std::shared_ptr<const Tokenizer> source, target;
};

/// Makes the tokenizers that data.tokenizer asks for from the training text. Throws DataError where
/// the text gives none.
[[nodiscard]] TokenizerPair make_tokenizers(const config::DataSection& data, bool joint_vocabulary,
                                            const TextWalk& source, const TextWalk& target);

/// What an index keeps of a tokenizer.
[[nodiscard]] std::string tokenizer_bytes(const Tokenizer& tokenizer);
/// Throws DataError where they are damaged.
[[nodiscard]] std::shared_ptr<const Tokenizer> tokenizer_from(std::string_view bytes);

/// The keys that ids depend on, with their values: ids of another text are others.
/// `given`: tokenizers in place of those that the keys would make.
[[nodiscard]] std::string tokenizer_key(const config::DataSection& data, bool joint_vocabulary,
                                        const TokenizerPair& given = {});

/// Whether training needs the lines themselves beside their ids.
[[nodiscard]] bool wants_text(const config::DataSection& data);

}  // namespace th::data
