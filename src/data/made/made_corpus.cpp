#include "th/data/made/made_corpus.hpp"

#include <array>
#include <fstream>
#include <system_error>
#include <utility>

#include "th/base/error.hpp"

namespace th::data {

namespace {

void write_lines(const std::filesystem::path& path, const std::vector<SentencePair>& pairs,
                 std::string SentencePair::*side) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (const SentencePair& pair : pairs) file << pair.*side << '\n';
  file.close();
  if (!file)
    throw DataError(path.string() +
                    ": can't be written; check that the folder is writable and the disk has room");
}

}  // namespace

void write_made_corpus(const MadeCorpus& corpus, const std::filesystem::path& folder,
                       const CorpusNames& names) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw DataError(folder.string() + ": the output folder can't be made: " + error.message());
  const std::array<std::pair<const char*, const std::vector<SentencePair>*>, 3> parts = {
      {{"train", &corpus.train}, {"valid", &corpus.valid}, {"test", &corpus.test}}};
  for (const auto& [part, pairs] : parts) {
    const std::string stem = std::string(names.name) + "." + part + ".";
    write_lines(folder / (stem + names.source), *pairs, &SentencePair::source);
    write_lines(folder / (stem + names.target), *pairs, &SentencePair::target);
  }
}

}  // namespace th::data
