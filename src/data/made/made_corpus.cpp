#include "th/data/made/made_corpus.hpp"

#include <array>
#include <fstream>
#include <system_error>
#include <utility>

#include "th/base/error.hpp"

namespace th::data {

namespace {

std::string corpus_text(const std::vector<SentencePair>& pairs, std::string SentencePair::*side) {
  std::string text;
  for (const SentencePair& pair : pairs) text += pair.*side + "\n";
  return text;
}

void write_corpus_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file)
    throw DataError(path.string() +
                    ": can't be written; check that the folder is writable and the disk has room");
}

/// Whether a file holds that text.
bool is_text(const std::filesystem::path& path, const std::string& text) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) != text.size() || error) return false;
  std::ifstream file(path, std::ios::binary);
  std::string there(text.size(), '\0');
  return file.read(there.data(), static_cast<std::streamsize>(there.size())) && there == text;
}

}  // namespace

void write_made_corpus(const MadeCorpus& corpus, const std::filesystem::path& folder,
                       const CorpusNames& names, bool force) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw DataError(folder.string() + ": the output folder can't be made: " + error.message());
  const std::array<std::pair<const char*, const std::vector<SentencePair>*>, 3> parts = {
      {{"train", &corpus.train}, {"valid", &corpus.valid}, {"test", &corpus.test}}};
  std::vector<std::pair<std::filesystem::path, std::string>> files;
  for (const auto& [part, pairs] : parts) {
    const std::string stem = std::string(names.name) + "." + part + ".";
    files.emplace_back(folder / (stem + names.source), corpus_text(*pairs, &SentencePair::source));
    files.emplace_back(folder / (stem + names.target), corpus_text(*pairs, &SentencePair::target));
  }
  std::erase_if(files, [](const auto& file) { return is_text(file.first, file.second); });
  for (const auto& [path, text] : files) {
    if (!force && std::filesystem::exists(std::filesystem::symlink_status(path, error)))
      throw DeckError(path.string() +
                      ": is there and holds something else; name another folder, or --force "
                      "replaces it");
  }
  for (const auto& [path, text] : files) write_corpus_file(path, text);
}

}  // namespace th::data
