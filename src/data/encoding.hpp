#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "data/index/index_writer.hpp"
#include "th/config/run_config.hpp"
#include "th/data/text.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {

enum class Part { kTrain, kValid, kTest };
inline constexpr std::array<Part, 3> kParts = {Part::kTrain, Part::kValid, Part::kTest};
/// "train", "valid", "test": of the deck's keys and of an index's parts.
[[nodiscard]] const char* name_of(Part part);

/// The files that the deck names for a part; none where it has no such part.
[[nodiscard]] PartFiles files_of_part(const config::DataSection& data, Part part,
                                      std::chrono::milliseconds patience);
/// "source, target", and how many more there are: for messages.
[[nodiscard]] std::string names_text(const PartFiles& files);
/// Sources, then targets, as they are now.
[[nodiscard]] std::vector<FileMark> marks_of(const PartFiles& files);

/// The keys that the parts of an index depend on beside its tokenizers', with their values.
[[nodiscard]] std::string index_keys(const config::DataSection& data);

/// What an index is made of.
struct EncodingRequest {
  const config::DataSection& data;
  bool joint_vocabulary = false;
  std::chrono::milliseconds patience = kPipePatience;
  std::vector<Part> parts;     ///< with kTrain where there are no tokenizers
  TokenizerPair tokenizers;    ///< empty: made from the training text
  std::string tokenizer_keys;  ///< IndexFile::tokenizer_keys
  /// Where a pipe's bytes are put that are read several times; empty: a pipe is refused.
  std::string spool_folder;
};
/// Encodes the parts and ends the index with its tokenizers. Nothing of the text stays in memory
/// beside the vocabulary. Throws DataError as PairReader does, and for a part without a pair.
void encode(const EncodingRequest& request, IndexWriter& writer);

/// What a user should know of a part: pairs that were dropped or cut, and words that the
/// vocabulary does not have.
[[nodiscard]] std::vector<std::string> part_warnings(const PartInfo& info, const PartFiles& files,
                                                     const config::DataSection& data);
/// "480 pairs of 483 lines; dropped 3 blank; unknown words: 0.12 % of the source, none of the
/// target".
[[nodiscard]] std::string part_text(const PartInfo& info);

}  // namespace th::data
