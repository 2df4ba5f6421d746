#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace th::data {

/// A pair of lines: lower-case words separated by single spaces.
struct SentencePair {
  std::string source;
  std::string target;
};

/// The three parts of a corpus that the project makes; no source line occurs twice in all of them
/// together.
struct MadeCorpus {
  std::vector<SentencePair> train, valid, test;
};

/// What its files are called: NAME.{train,valid,test}.{SOURCE,TARGET}.
struct CorpusNames {
  const char* name;
  const char* source;
  const char* target;
};

/// Writes the six files below `folder`, which is made where it is missing; those that are there
/// already are left. Throws DataError when a file can't be written; without `force` DeckError, and
/// nothing is written, where a file of these names holds something else.
void write_made_corpus(const MadeCorpus& corpus, const std::filesystem::path& folder,
                       const CorpusNames& names, bool force);

}  // namespace th::data
