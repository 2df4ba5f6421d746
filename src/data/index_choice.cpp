#include "data/index_choice.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "data/index/index_layout.hpp"
#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/data/dataset.hpp"

namespace th::data {

namespace fs = std::filesystem;

namespace {

std::vector<Part> parts_of(const config::DataSection& data) {
  std::vector<Part> parts;
  for (const Part part : kParts)
    if (!files_of_part(data, part, kPipePatience).source.empty()) parts.push_back(part);
  return parts;
}

/// The first file whose name, size or time is not what the index was made of.
std::string other_file(const std::vector<FileMark>& marks, const PartFiles& files) {
  const std::vector<FileMark> now = marks_of(files);
  if (now.size() != marks.size()) return "the deck names another number of files";
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (now[i] == marks[i] && now[i].bytes >= 0) continue;
    const auto& side = i < files.source.size() ? files.source : files.target;
    return side[i < files.source.size() ? i : i - files.source.size()].name +
           (now[i].bytes < 0               ? " is missing or no file"
            : now[i].name != marks[i].name ? " has another name than the file that it was made of"
                                           : " was changed since it was written");
  }
  return "";
}

bool has_tokenizers(const IndexFile& index, const TokenizerPair& pair) {
  const std::string source = tokenizer_bytes(*pair.source), target = tokenizer_bytes(*pair.target);
  const std::string_view own = index.target_tokenizer();
  return index.source_tokenizer() == source &&
         (own.empty() ? index.source_tokenizer() : own) == target;
}

/// Reads a part again: its hash of lines.
std::uint64_t hash_of(const PartFiles& files) {
  PairReader reader(files);
  for (PairReader::Pair pair; reader.next(pair);) {
  }
  return reader.hash();
}

}  // namespace

TokenizerPair tokenizers_of(const IndexFile& index) {
  TokenizerPair pair;
  pair.source = tokenizer_from(index.source_tokenizer());
  pair.target =
      index.target_tokenizer().empty() ? pair.source : tokenizer_from(index.target_tokenizer());
  return pair;
}

namespace {

/// Why a part of an index is not what the deck's keys make of its files; empty where it is.
std::string why_made_otherwise(const IndexFile& index, Part part, const config::DataSection& data,
                               bool joint_vocabulary, const TokenizerPair& given) {
  if (!index.has(name_of(part))) return std::string("it has no part ") + name_of(part);
  const auto other = [](const std::string& has, const std::string& wanted) {
    return has == wanted
               ? std::string()
               : "it was written with other keys: [" + has + "], the deck has [" + wanted + "]";
  };
  std::string reason = other(index.keys(), index_keys(data));
  if (reason.empty() && !given.source)
    reason = other(index.tokenizer_keys(), tokenizer_key(data, joint_vocabulary));
  if (reason.empty() && given.source && !has_tokenizers(index, given))
    reason = "it was written with other tokenizers";
  return reason;
}

}  // namespace

std::string why_not_usable(const IndexFile& index, Part part, const config::DataSection& data,
                           bool joint_vocabulary, const TokenizerPair& given) {
  const std::string reason = why_made_otherwise(index, part, data, joint_vocabulary, given);
  if (!reason.empty()) return reason;
  return other_file(index.info(name_of(part)).files, files_of_part(data, part, kPipePatience));
}

std::string index_path(const config::DataSection& data, const std::string& output_dir) {
  const std::string beside = output_dir.substr(0, output_dir.find_last_not_of('/') + 1) + ".index";
  const std::string folder = data.index_dir.empty() ? beside : data.index_dir;
  return (fs::path(folder) / "corpus.index").string();
}

void require_no_other_file(const std::string& index) {
  if (!fs::exists(index)) return;
  std::array<char, kIndexMagic.size()> begin{};
  std::ifstream(index, std::ios::binary).read(begin.data(), std::ssize(begin));
  // The last one is the version's.
  if (std::equal(begin.begin(), begin.end() - 1, kIndexMagic.begin())) return;
  throw DeckError(index +
                  ": is there and no index of th_corpus; give another folder by data.index_dir, or "
                  "--force replaces it");
}

std::vector<std::string> write_index(const config::DataSection& data, bool joint_vocabulary,
                                     const std::string& output_dir, const TokenizerPair& given) {
  const std::string path = index_path(data, output_dir), unfinished = path + ".new";
  for (const Part part : parts_of(data)) {
    const PartFiles files = files_of_part(data, part, kPipePatience);
    for (const auto* side : {&files.source, &files.target})
      for (const InputFile& file : *side)
        if (fs::exists(file.name) && stamp_of(file.name).bytes < 0 && !fs::is_directory(file.name))
          throw DataError(file.name +
                          ": is a pipe, and an index is of files that it can be "
                          "compared with");
  }
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  const FileDescriptor lock(::open(unfinished.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (lock.get() < 0)
    throw DataError(unfinished + ": can't be written: " + std::strerror(errno) +
                    "; give another folder by data.index_dir");
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw DataError(path + ": another process writes it; wait for its end");
  std::vector<std::string> lines;
  try {
    IndexWriter writer(unfinished);
    encode({data, joint_vocabulary, kPipePatience, parts_of(data), given,
            tokenizer_key(data, joint_vocabulary, given), ""},
           writer);
    writer.sync();
    const IndexFile index(unfinished);
    for (const Part part : parts_of(data)) {
      const PartInfo& info = index.info(name_of(part));
      lines.push_back(std::string(name_of(part)) + ": " + part_text(info));
      for (const std::string& warning :
           part_warnings(info, files_of_part(data, part, kPipePatience), data))
        lines.push_back("warning: " + warning);
    }
  } catch (...) {
    fs::remove(unfinished, error);
    throw;
  }
  if (std::rename(unfinished.c_str(), path.c_str()) != 0)
    throw DataError(path + ": can't be put in its place: " + std::strerror(errno));
  return lines;
}

std::vector<std::string> verify_index(const config::DataSection& data, bool joint_vocabulary,
                                      const std::string& output_dir, const TokenizerPair& given) {
  const IndexFile index(index_path(data, output_dir));
  std::vector<std::string> out;
  const std::string damaged = index.damaged_section();
  if (!damaged.empty()) out.push_back(index.path() + ": damaged: the bytes of " + damaged);
  for (const Part part : parts_of(data)) {
    const std::string reason = why_made_otherwise(index, part, data, joint_vocabulary, given);
    if (!reason.empty()) out.push_back(std::string(name_of(part)) + ": " + reason);
    if (!index.has(name_of(part))) continue;
    const PartFiles files = files_of_part(data, part, kPipePatience);
    if (hash_of(files) != index.info(name_of(part)).hash)
      out.push_back(names_text(files) +
                    ": stale: its lines are others than those that the index "
                    "was made of");
  }
  return out;
}

}  // namespace th::data
