#include <array>
#include <exception>
#include <fstream>
#include <iterator>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/corpus.hpp"
#include "th/data/text.hpp"

namespace th::data {
namespace {

constexpr std::array<const char*, 3> kParts = {"train.idx", "valid.idx", "test.idx"};

void write_lines(const std::filesystem::path& path, const std::vector<std::string>& lines) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (const std::string& line : lines) file << line << '\n';
  file.close();
  if (!file)
    throw DataError(path.string() +
                    ": can't be written; check that the folder is writable and the disk has room");
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw DataError(
        path.string() +
        ": is missing: the rank that prepares the corpus of this node could not write there");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

struct Pair {
  std::string source, target;
};

std::array<Pair, 3> paths_of(const config::DataSection& data) {
  return {{{data.train_source, data.train_target},
           {data.valid_source, data.valid_target},
           {data.test_source, data.test_target}}};
}

TextWalk walk_of(const std::vector<std::string>& lines) {
  return [&lines](const LineVisitor& take) {
    for (const std::string& line : lines) take(line);
  };
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  file.close();
  if (!file)
    throw DataError(path.string() +
                    ": can't be written; check that the folder is writable and the disk has room");
}

std::shared_ptr<const Tokenizer> read_tokenizer(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return tokenizer_from(std::string{std::istreambuf_iterator<char>(file), {}});
}

void prepare(const config::DataSection& data, bool joint, const std::filesystem::path& folder,
             TokenizerPair tokenizers) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw DataError(folder.string() + ": the corpus cache can't be made: " + error.message());
  std::vector<std::string> warnings;
  const auto paths = paths_of(data);
  for (std::size_t part = 0; part < paths.size(); ++part) {
    if (paths[part].source.empty() || paths[part].target.empty()) {
      if (part == 0)
        throw DeckError(
            "data.train_source and data.train_target: both are needed to train on text");
      continue;
    }
    const ParallelText text =
        read_parallel(paths[part].source, paths[part].target, data.empty_lines);
    if (part > 0 && text.source.lines.empty())
      throw DataError(text.source.path + ", " + text.target.path +
                      ": no sentence pairs; fill the files or leave both keys out of the deck");
    if (tokenizers.empty())
      tokenizers =
          make_tokenizers(data, joint, walk_of(text.source.lines), walk_of(text.target.lines));
    warnings.insert(warnings.end(), text.warnings.begin(), text.warnings.end());
    const std::int64_t cut = ParallelCorpus::write_index(
        folder / kParts[part],
        {text.source.lines, text.target.lines, *tokenizers.source, *tokenizers.target},
        data.max_length, hash_pair(text.source.hash, text.target.hash));
    if (cut > 0)
      warnings.push_back(text.source.path + ", " + text.target.path + ": " + std::to_string(cut) +
                         " of " + std::to_string(text.source.lines.size()) +
                         " pairs have a sentence of more than data.max_length = " +
                         std::to_string(data.max_length) + " ids; it was cut");
  }
  write_bytes(folder / "source.tokenizer", tokenizer_bytes(*tokenizers.source));
  if (tokenizers.target != tokenizers.source)
    write_bytes(folder / "target.tokenizer", tokenizer_bytes(*tokenizers.target));
  write_lines(folder / "warnings", warnings);
}

}  // namespace

Dataset open_dataset(const config::DataSection& data, bool joint_vocabulary,
                     const SharedCache& cache, const TokenizerPair& given) {
  const auto meet = [&] {
    if (cache.barrier) cache.barrier();
  };
  const std::filesystem::path failure = cache.folder / "failure";
  if (cache.writer) {
    std::error_code stale;
    std::filesystem::remove(failure, stale);
    try {
      prepare(data, joint_vocabulary, cache.folder, given);
    } catch (const std::exception& error) {
      std::ofstream(failure, std::ios::binary) << error.what();
      meet();
      meet();
      std::error_code ignored;
      std::filesystem::remove(failure, ignored);
      throw;
    }
  }
  meet();
  Dataset dataset;
  std::exception_ptr problem;
  try {
    if (std::ifstream file(failure, std::ios::binary); file)
      throw DataError(
          std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
    dataset.source_tokenizer = read_tokenizer(cache.folder / "source.tokenizer");
    dataset.target_tokenizer = std::filesystem::exists(cache.folder / "target.tokenizer")
                                   ? read_tokenizer(cache.folder / "target.tokenizer")
                                   : dataset.source_tokenizer;
    dataset.warnings = read_lines(cache.folder / "warnings");
    const std::array<std::shared_ptr<const ParallelCorpus>*, 3> corpora = {
        &dataset.train, &dataset.valid, &dataset.test};
    const auto paths = paths_of(data);
    for (std::size_t part = 0; part < corpora.size(); ++part)
      if (!paths[part].source.empty() && !paths[part].target.empty())
        *corpora[part] = std::make_shared<const ParallelCorpus>(cache.folder / kParts[part]);
  } catch (...) {
    problem = std::current_exception();
  }
  meet();
  if (cache.writer) {
    std::error_code ignored;
    for (const char* name :
         {"train.idx", "valid.idx", "test.idx", "source.tokenizer", "target.tokenizer", "warnings"})
      std::filesystem::remove(cache.folder / name, ignored);
  }
  if (problem) std::rethrow_exception(problem);
  return dataset;
}

}  // namespace th::data
