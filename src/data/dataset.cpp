#include "th/data/dataset.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <utility>

#include "data/encoding.hpp"
#include "data/index/temporary_folder.hpp"
#include "data/index_choice.hpp"
#include "th/base/error.hpp"

namespace th::data {

namespace fs = std::filesystem;

namespace {

/// What the writer tells the other ranks of its node.
struct Opening {
  std::string failure;    ///< why there is nothing; empty: there is
  std::string index;      ///< an index of before; empty: none is used
  std::string parts;      ///< of that: "train valid "
  std::string temporary;  ///< a new one; empty: none was needed
  std::string warnings;   ///< a line each

  static constexpr std::array kMembers = {&Opening::failure, &Opening::index, &Opening::parts,
                                          &Opening::temporary, &Opening::warnings};
  [[nodiscard]] std::string text() const {
    std::string out;
    for (const auto member : kMembers) out += this->*member + '\0';
    return out;
  }
  static Opening of(const std::string& text) {
    Opening opening;
    std::size_t at = 0;
    for (const auto member : kMembers) {
      const std::size_t end = std::min(text.find('\0', at), text.size());
      opening.*member = text.substr(at, end - at);
      at = std::min(end + 1, text.size());
    }
    return opening;
  }
};

/// What the index of these files takes at most, by their sizes; words are short.
std::int64_t bytes_needed(const config::DataSection& data, const std::vector<Part>& parts) {
  constexpr std::int64_t kOfText = 3, kOfGzip = 10, kLeast = 1 << 20;
  std::int64_t sum = kLeast;
  for (const Part part : parts) {
    const PartFiles files = files_of_part(data, part, kPipePatience);
    for (const auto* side : {&files.source, &files.target})
      for (const InputFile& file : *side)
        sum += std::max<std::int64_t>(0, stamp_of(file.path).bytes) *
               (file.path.ends_with(".gz") ? kOfGzip : kOfText);
  }
  return sum;
}

std::vector<std::string> candidates(const std::string& output_dir) {
  std::vector<std::string> folders;
  if (const char* given = std::getenv("TMPDIR"); given != nullptr && *given != '\0')
    folders.emplace_back(given);
  std::error_code error;
  const std::string beside = existing_folder(fs::absolute(output_dir, error).parent_path());
  for (const std::string& folder : {std::string("/tmp"), beside, std::string("/dev/shm")})
    if (std::find(folders.begin(), folders.end(), folder) == folders.end())
      folders.push_back(folder);
  return folders;
}

/// The one rank of a node that reads text.
class Preparation {
 public:
  Preparation(const config::DataSection& data, bool joint, const NodeShare& share,
              const TokenizerPair& given)
      : data_(data), joint_(joint), share_(share), given_(given), tokenizers_(given) {}

  [[nodiscard]] Opening run() {
    if (files_of_part(data_, Part::kTrain, kPipePatience).source.empty())
      throw DeckError("data.train_source and data.train_target: both are needed to train on text");
    std::vector<Part> missing = use_index();
    if (!missing.empty()) encode_in_a_folder(missing);
    return std::move(opening_);
  }
  [[nodiscard]] std::shared_ptr<TemporaryFolder> folder() const { return folder_; }

 private:
  void warn(const std::string& text) { opening_.warnings += text + "\n"; }

  /// Finds what an index has of the deck's parts; returns the others.
  std::vector<Part> use_index() {
    std::vector<Part> missing;
    const std::string path = index_path(data_, share_.output_dir);
    std::unique_ptr<IndexFile> index;
    std::error_code error;
    if (fs::exists(path, error)) {
      try {
        index = std::make_unique<IndexFile>(path);
      } catch (const DataError& damaged) {
        warn(std::string(damaged.what()) + "; it is not used");
      }
    } else if (!data_.index_dir.empty()) {
      warn("data.index_dir: " + path + " is not there; th_corpus encode DECK writes it");
    }
    for (const Part part : kParts) {
      if (files_of_part(data_, part, kPipePatience).source.empty()) continue;
      // Without the tokenizers of its training text the ids of another part mean nothing.
      const bool follows = part == Part::kTrain || !opening_.index.empty();
      const std::string reason = index == nullptr ? "there is none"
                                 : follows ? why_not_usable(*index, part, data_, joint_, given_)
                                           : "its training text is not used";
      if (reason.empty()) {
        opening_.index = path;
        opening_.parts += name_of(part) + std::string(" ");
        continue;
      }
      if (index != nullptr && follows)
        warn(path + " is not used for data." + name_of(part) + "_source: " + reason +
             "; th_corpus encode DECK writes it anew");
      missing.push_back(part);
    }
    if (!opening_.index.empty()) tokenizers_ = tokenizers_of(*index);
    return missing;
  }

  /// Whether a second try finds the files as the first did.
  [[nodiscard]] bool may_try_again(const std::vector<Part>& parts) const {
    for (const Part part : parts)
      for (const FileMark& mark : marks_of(files_of_part(data_, part, kPipePatience)))
        if (mark.bytes < 0) return false;
    return true;
  }

  void encode_in_a_folder(const std::vector<Part>& parts) {
    const std::int64_t needed = bytes_needed(data_, parts);
    std::string tried;
    for (const std::string& parent : candidates(share_.output_dir)) {
      const std::int64_t room = room_in(parent);
      tried += (tried.empty() ? "" : ", ") + parent +
               (room < 0 ? " (can't be written)" : " (" + std::to_string(room >> 20) + " MB free)");
      if (room < needed) continue;
      try {
        return encode_below(parent, parts);
      } catch (const NoRoomError&) {
        if (!may_try_again(parts)) throw;
      }
    }
    throw DataError("the index of the corpus takes about " + std::to_string(needed >> 20) +
                    " MB, and no folder has room for it: " + tried +
                    "; set TMPDIR to one that has, or write the index with th_corpus encode");
  }

  void encode_below(const std::string& parent, const std::vector<Part>& parts) {
    folder_ = std::make_shared<TemporaryFolder>(parent);
    const std::string path = folder_->path() + "/corpus.index";
    IndexWriter writer(path);
    encode({data_, joint_, share_.pipe_patience, parts, tokenizers_, "", folder_->path()}, writer);
    opening_.temporary = path;
  }

  const config::DataSection& data_;
  bool joint_;
  const NodeShare& share_;
  const TokenizerPair& given_;
  TokenizerPair tokenizers_;
  Opening opening_;
  std::shared_ptr<TemporaryFolder> folder_;
};

void map_parts(Dataset& dataset, const Opening& opening, const config::DataSection& data) {
  std::shared_ptr<const IndexFile> index, temporary;
  if (!opening.index.empty()) index = std::make_shared<const IndexFile>(opening.index);
  if (!opening.temporary.empty()) temporary = std::make_shared<const IndexFile>(opening.temporary);
  const TokenizerPair tokenizers = tokenizers_of(index ? *index : *temporary);
  dataset.source_tokenizer = tokenizers.source;
  dataset.target_tokenizer = tokenizers.target;
  const std::array corpora = {&dataset.train, &dataset.valid, &dataset.test};
  for (const Part part : kParts) {
    const PartFiles files = files_of_part(data, part, kPipePatience);
    if (files.source.empty()) continue;
    const std::string name = name_of(part);
    const auto& holder =
        (" " + opening.parts).find(" " + name + " ") != std::string::npos ? index : temporary;
    ensure(holder != nullptr, "open_dataset: a part was not encoded");
    const PartInfo& info = holder->info(name);
    if (info.source_vocabulary != tokenizers.source->size() ||
        info.target_vocabulary != tokenizers.target->size())
      holder->refuse(name + ": it is of another vocabulary");
    if (info.file_pairs.size() != files.source.size())
      holder->refuse(name + ": it is of another number of files");
    *corpora[static_cast<std::size_t>(part)] = std::make_shared<const ParallelCorpus>(holder, name);
    constexpr std::array<const char*, 3> kTitles = {
        "Training text: ", "Validation text: ", "Test text: "};
    dataset.notes.push_back(kTitles[static_cast<std::size_t>(part)] + part_text(info) +
                            (holder == index ? " (from " + index->path() + ")" : std::string()));
    const std::vector<std::string> warnings = part_warnings(info, files, data);
    dataset.warnings.insert(dataset.warnings.end(), warnings.begin(), warnings.end());
  }
}

}  // namespace

Dataset open_dataset(const config::DataSection& data, bool joint_vocabulary, const NodeShare& share,
                     const TokenizerPair& given) {
  const auto broadcast = [&](std::string& text) {
    if (share.broadcast) share.broadcast(text);
  };
  Dataset dataset;
  // Before anything is read: what changes from here on is noticed.
  for (const PartFiles files = files_of_part(data, Part::kTest, kPipePatience);
       const auto* side : {&files.source, &files.target})
    for (const InputFile& file : *side) dataset.test_files.push_back(stamp_of(file.path));
  std::string text;
  std::exception_ptr problem;
  if (share.writer) {
    Preparation preparation(data, joint_vocabulary, share, given);
    Opening opening;
    try {
      opening = preparation.run();
    } catch (const std::exception& error) {
      problem = std::current_exception();
      opening.failure = error.what();
    }
    dataset.temporary = preparation.folder();
    text = opening.text();
  }
  broadcast(text);
  const Opening opening = Opening::of(text);
  try {
    if (problem) std::rethrow_exception(problem);
    if (!opening.failure.empty()) throw DataError(opening.failure);
    std::string_view rest = opening.warnings;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      dataset.warnings.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    map_parts(dataset, opening, data);
  } catch (...) {
    problem = std::current_exception();
  }
  std::string met;
  broadcast(met);  // all have mapped it: it needs no name any more
  if (dataset.temporary) dataset.temporary->clear();
  if (problem) std::rethrow_exception(problem);
  return dataset;
}

std::string changed_files(const std::vector<FileStamp>& files) {
  std::string out;
  for (const FileStamp& file : files) {
    if (file.bytes < 0 || stamp_of(file.path) == file) continue;
    out += (out.empty() ? "" : ", ") + file.path;
  }
  return out;
}

}  // namespace th::data
