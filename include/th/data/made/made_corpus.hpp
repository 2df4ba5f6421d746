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

/// The names of its files: NAME.{train,valid,test}.{SOURCE,TARGET}.
struct CorpusNames {
  const char* name;
  const char* source;
  const char* target;
};

/// Writes the six files into `folder`, which is made if it is missing. Files that already hold the
/// same text are left. Throws DataError if a file can't be written. If a file of these names holds
/// something else, throws DeckError without `force`, and writes nothing.
void write_made_corpus(const MadeCorpus& corpus, const std::filesystem::path& folder,
                       const CorpusNames& names, bool force);

}  // namespace th::data
