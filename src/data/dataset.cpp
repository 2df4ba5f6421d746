#include <array>
#include <exception>
#include <fstream>
#include <iterator>
#include <optional>
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

void prepare(const config::DataSection& data, bool joint, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw DataError(folder.string() + ": the corpus cache can't be made: " + error.message());
  if (data.tokenizer != config::TokenizerKind::kWord)
    throw DeckError("data.tokenizer: this build has the word tokenizer; set data.tokenizer=word");
  std::optional<WordTokenizer> source, target;
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
    if (part == 0) {
      const std::array<std::span<const std::string>, 2> sides = {text.source.lines,
                                                                 text.target.lines};
      const std::span<const std::span<const std::string>> both = sides;
      source = WordTokenizer::build(joint ? both : both.first(1), data.min_freq, data.vocab_size);
      target = joint ? source : WordTokenizer::build(both.last(1), data.min_freq, data.vocab_size);
      for (const auto& [side, tokenizer] :
           {std::pair(&text.source, &*source), std::pair(&text.target, &*target)}) {
        if (!side->lines.empty() && tokenizer->size() <= kEnd + 1)
          throw DataError(side->path + ": no word occurs data.min_freq = " +
                          std::to_string(data.min_freq) + " times; lower it");
      }
    }
    warnings.insert(warnings.end(), text.warnings.begin(), text.warnings.end());
    const std::int64_t cut = ParallelCorpus::write_index(
        folder / kParts[part], {text.source.lines, text.target.lines, *source, *target},
        data.max_length, hash_pair(text.source.hash, text.target.hash));
    if (cut > 0)
      warnings.push_back(text.source.path + ", " + text.target.path + ": " + std::to_string(cut) +
                         " of " + std::to_string(text.source.lines.size()) +
                         " pairs have a sentence of more than data.max_length = " +
                         std::to_string(data.max_length) + " ids; it was cut");
  }
  write_lines(folder / "source.vocab", source->tokens());
  write_lines(folder / "target.vocab", target->tokens());
  write_lines(folder / "warnings", warnings);
}

}  // namespace

Dataset open_dataset(const config::DataSection& data, bool joint_vocabulary,
                     const SharedCache& cache) {
  const auto meet = [&] {
    if (cache.barrier) cache.barrier();
  };
  const std::filesystem::path failure = cache.folder / "failure";
  if (cache.writer) {
    std::error_code stale;
    std::filesystem::remove(failure, stale);
    try {
      prepare(data, joint_vocabulary, cache.folder);
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
    dataset.source_tokenizer =
        std::make_shared<WordTokenizer>(read_lines(cache.folder / "source.vocab"));
    dataset.target_tokenizer =
        joint_vocabulary
            ? dataset.source_tokenizer
            : std::make_shared<WordTokenizer>(read_lines(cache.folder / "target.vocab"));
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
         {"train.idx", "valid.idx", "test.idx", "source.vocab", "target.vocab", "warnings"})
      std::filesystem::remove(cache.folder / name, ignored);
  }
  if (problem) std::rethrow_exception(problem);
  return dataset;
}

}  // namespace th::data
