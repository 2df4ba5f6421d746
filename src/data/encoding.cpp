#include "data/encoding.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <tuple>
#include <utility>

#include "th/base/error.hpp"

namespace th::data {

namespace {

constexpr std::int64_t kUncut = std::numeric_limits<std::int64_t>::max();

/// The training text as tokenizers see it: pairs without a blank side. Each walk reads the files
/// again, and they must be the same.
class TrainingText {
 public:
  TrainingText(PartFiles files, config::EmptyLines empty_lines)
      : files_(std::move(files)), empty_lines_(empty_lines) {}

  [[nodiscard]] TextWalk walk(std::string_view PairReader::Pair::*side) {
    return [this, side](const LineVisitor& visit) {
      PairReader reader(files_);
      for (PairReader::Pair pair; reader.next(pair);) {
        if (!keeps(reader, pair, empty_lines_)) continue;
        has_pairs_ = true;
        visit(pair.*side);
      }
      require_unchanged(reader.hash());
    };
  }
  void require_unchanged(std::uint64_t hash) {
    if (hash_.value_or(hash) != hash)
      throw DataError(names_text(files_) + ": was changed while it was read");
    hash_ = hash;
  }
  [[nodiscard]] bool has_pairs() const noexcept { return has_pairs_; }

  /// Whether both sides have words. Throws DataError where blank lines are errors.
  static bool keeps(const PairReader& reader, const PairReader::Pair& pair,
                    config::EmptyLines empty_lines) {
    const bool blank = is_blank(pair.source);
    if (!blank && !is_blank(pair.target)) return true;
    if (empty_lines == config::EmptyLines::kError)
      throw DataError((blank ? reader.source_place() : reader.target_place()) +
                      ": empty line; mend the file or set data.empty_lines=skip to drop such "
                      "pairs");
    return false;
  }

 private:
  PartFiles files_;
  config::EmptyLines empty_lines_;
  std::optional<std::uint64_t> hash_;
  bool has_pairs_ = false;
};

/// Copies what can't be read twice; a file is read where it lies.
PartFiles readable_twice(PartFiles files, const std::string& folder) {
  int number = 0;
  for (auto* side : {&files.source, &files.target}) {
    for (InputFile& file : *side) {
      if (stamp_of(file.path).bytes >= 0 || !std::filesystem::exists(file.path) ||
          std::filesystem::is_directory(file.path))
        continue;
      if (folder.empty())
        throw DataError(file.name +
                        ": is no file but a pipe, and an index is of files that it can "
                        "be compared with");
      const std::string copy = folder + "/pipe." + std::to_string(number++);
      ByteSource bytes(file.name, file.path, files.patience);
      std::ofstream out(copy, std::ios::binary | std::ios::trunc);
      std::vector<char> block(1 << 16);
      while (const std::size_t got = bytes.read(block))
        out.write(block.data(), static_cast<std::streamsize>(got));
      if (!out.flush()) throw DataError(copy + ": can't be written; the disk may be full");
      file.path = copy;
    }
  }
  return files;
}

/// A line of one side: its ids as the index has them, and what was found of them.
struct Side {
  std::vector<std::int32_t> ids;
  std::int64_t words = 0;  ///< before it is cut, without begin and end
  std::int64_t unknown = 0;
  bool longer = false;
};

Side encode_side(std::vector<std::int32_t> whole, bool target, std::int64_t most) {
  Side side;
  side.words = std::ssize(whole) - (target ? 2 : 1);
  side.unknown = std::count(whole.begin(), whole.end(), kUnknown);
  side.longer = std::ssize(whole) > most;
  if (side.longer) {
    whole.resize(static_cast<std::size_t>(most));
    whole.back() = kEnd;
  }
  side.ids = std::move(whole);
  return side;
}

/// Whether one side has more than `ratio` times the other's ids; 0: any may.
bool uneven(std::int64_t a, std::int64_t b, double ratio) {
  return ratio > 0 &&
         static_cast<double>(std::max(a, b)) > ratio * static_cast<double>(std::min(a, b));
}

PartInfo encode_part(const EncodingRequest& request, Part part, const PartFiles& files,
                     IndexWriter& writer) {
  const config::DataSection& data = request.data;
  // A test set has a translation for each of its lines, so none of them is dropped by its length.
  const bool drops = part != Part::kTest;
  PartInfo info;
  PartCounts& counts = info.counts;
  info.files = marks_of(files);
  info.file_pairs.resize(files.source.size());
  info.source_vocabulary = request.tokenizers.source->size();
  info.target_vocabulary = request.tokenizers.target->size();
  PairReader reader(files);
  for (PairReader::Pair pair; reader.next(pair);) {
    ++counts.lines;
    writer.add_line(pair.source, pair.target);
    if (!TrainingText::keeps(reader, pair, data.empty_lines)) {
      ++counts.blank;
      continue;
    }
    const Side source = encode_side(encode_source(*request.tokenizers.source, pair.source, kUncut),
                                    false, data.source_length());
    const Side target = encode_side(encode_target(*request.tokenizers.target, pair.target, kUncut),
                                    true, data.target_length());
    const bool longer = source.longer || target.longer;
    if (drops && longer && data.long_lines == config::LongLines::kDrop) {
      ++counts.too_long;
      continue;
    }
    if (drops && uneven(source.words, target.words, data.max_ratio)) {
      ++counts.uneven;
      continue;
    }
    writer.add(source.ids, target.ids);
    ++counts.pairs;
    ++info.file_pairs[reader.file()];
    counts.cut += longer ? 1 : 0;
    counts.source_ids += source.words;
    counts.target_ids += target.words;
    counts.source_unknown += source.unknown;
    counts.target_unknown += target.unknown;
  }
  info.hash = reader.hash();
  if (part != Part::kTrain && counts.pairs == 0)
    throw DataError(names_text(files) +
                    ": no sentence pairs; fill the files or leave both keys out of the deck");
  return info;
}

std::string percent(std::int64_t part, std::int64_t all) {
  if (part == 0) return "none";
  const double share = 100.0 * static_cast<double>(part) / static_cast<double>(all);
  if (share < 0.005) return "below 0.01 %";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f %%", share);
  return text.data();
}

std::string lengths_text(const config::DataSection& data) {
  if (data.source_length() == data.max_length && data.target_length() == data.max_length)
    return "data.max_length = " + std::to_string(data.max_length);
  return "data.max_source_length = " + std::to_string(data.source_length()) +
         " or data.max_target_length = " + std::to_string(data.target_length());
}

}  // namespace

const char* name_of(Part part) {
  constexpr std::array<const char*, 3> kNames = {"train", "valid", "test"};
  return kNames[static_cast<std::size_t>(part)];
}

PartFiles files_of_part(const config::DataSection& data, Part part,
                        std::chrono::milliseconds patience) {
  PartFiles files;
  files.format = data.format;
  files.patience = patience;
  const std::array<std::pair<const std::string*, const std::string*>, 3> keys = {
      {{&data.train_source, &data.train_target},
       {&data.valid_source, &data.valid_target},
       {&data.test_source, &data.test_target}}};
  const auto [source, target] = keys[static_cast<std::size_t>(part)];
  for (const std::string& file : config::files_of(*source)) files.source.push_back({file, file});
  for (const std::string& file : config::files_of(*target)) files.target.push_back({file, file});
  return files;
}

std::string names_text(const PartFiles& files) {
  std::string text = files.source.front().name;
  if (!files.target.empty()) text += ", " + files.target.front().name;
  if (files.source.size() > 1) text += " and " + std::to_string(files.source.size() - 1) + " more";
  return text;
}

std::vector<FileMark> marks_of(const PartFiles& files) {
  std::vector<FileMark> marks;
  for (const auto* side : {&files.source, &files.target}) {
    for (const InputFile& file : *side) {
      const FileStamp stamp = stamp_of(file.name);
      marks.push_back({hash_text(std::filesystem::path(file.name).filename().string()), stamp.bytes,
                       stamp.modified});
    }
  }
  return marks;
}

std::string index_keys(const config::DataSection& data) {
  std::array<char, 32> ratio{};
  std::snprintf(ratio.data(), ratio.size(), "%.17g", data.max_ratio);
  return "data.max_source_length=" + std::to_string(data.source_length()) +
         " data.max_target_length=" + std::to_string(data.target_length()) +
         " data.long_lines=" + (data.long_lines == config::LongLines::kCut ? "cut" : "drop") +
         " data.max_ratio=" + ratio.data() + " data.empty_lines=" +
         (data.empty_lines == config::EmptyLines::kError ? "error" : "skip") +
         " data.format=" + (data.format == config::TextFormat::kText ? "text" : "tsv") +
         (wants_text(data) ? " with lines" : "");
}

void encode(const EncodingRequest& given, IndexWriter& writer) {
  EncodingRequest request = given;
  const config::DataSection& data = request.data;
  PartFiles train = files_of_part(data, Part::kTrain, request.patience);
  const std::vector<FileMark> train_marks = marks_of(train);
  const bool makes = !request.tokenizers.source;
  if (makes) train = readable_twice(std::move(train), request.spool_folder);
  TrainingText text(train, data.empty_lines);
  if (makes) {
    request.tokenizers =
        make_tokenizers(data, request.joint_vocabulary, text.walk(&PairReader::Pair::source),
                        text.walk(&PairReader::Pair::target));
    for (const auto& [files, tokenizer] : {std::pair(&train.source, request.tokenizers.source),
                                           std::pair(&train.target, request.tokenizers.target)}) {
      if (text.has_pairs() && tokenizer->size() <= kEnd + 1)
        throw DataError((files->empty() ? train.source : *files).front().name +
                        ": no word occurs data.min_freq = " + std::to_string(data.min_freq) +
                        " times; lower it");
    }
  }
  for (const Part part : request.parts) {
    const bool trains = part == Part::kTrain;
    const PartFiles files = trains ? train : files_of_part(data, part, request.patience);
    writer.begin_part(name_of(part),
                      trains ? KeptText{wants_text(data), false} : KeptText{false, true});
    PartInfo info = encode_part(request, part, files, writer);
    if (trains) {
      text.require_unchanged(info.hash);
      info.files = train_marks;
    }
    writer.end_part(std::move(info));
  }
  const bool one = request.tokenizers.source == request.tokenizers.target;
  writer.set_tokenizers(tokenizer_bytes(*request.tokenizers.source),
                        one ? std::string() : tokenizer_bytes(*request.tokenizers.target));
  writer.finish(index_keys(data), request.tokenizer_keys);
}

std::vector<std::string> part_warnings(const PartInfo& info, const PartFiles& files,
                                       const config::DataSection& data) {
  constexpr double kStrange = 0.5;  // of a side's words
  const PartCounts& c = info.counts;
  const auto of = [](std::int64_t count, std::int64_t all) {
    return std::to_string(count) + " of " + std::to_string(all) + " pairs ";
  };
  const std::string names = names_text(files) + ": ";
  std::vector<std::string> out;
  if (c.blank > 0) out.push_back(names + of(c.blank, c.lines) + "skipped because a line is empty");
  if (c.too_long > 0)
    out.push_back(names + of(c.too_long, c.lines) + "dropped because a sentence has more than " +
                  lengths_text(data) + " ids");
  if (c.uneven > 0) {
    std::array<char, 32> ratio{};
    std::snprintf(ratio.data(), ratio.size(), "%g", data.max_ratio);
    out.push_back(names + of(c.uneven, c.lines) +
                  "dropped because one side has more than data.max_ratio = " + ratio.data() +
                  " times the other's ids");
  }
  if (c.cut > 0)
    out.push_back(names + of(c.cut, c.pairs) + "have a sentence of more than " +
                  lengths_text(data) + " ids; it was cut");
  for (const auto& [side, unknown, all] : {std::tuple("source", c.source_unknown, c.source_ids),
                                           std::tuple("target", c.target_unknown, c.target_ids)}) {
    if (static_cast<double>(unknown) > kStrange * static_cast<double>(all))
      out.push_back(names + percent(unknown, all) + " of the words of the " + side +
                    " are unknown to the vocabulary; are source and target exchanged, or is the "
                    "text of another language?");
  }
  return out;
}

std::string part_text(const PartInfo& info) {
  const PartCounts& c = info.counts;
  std::string text = std::to_string(c.pairs) + " pairs";
  if (c.lines != c.pairs) text += " of " + std::to_string(c.lines) + " lines";
  for (const auto& [count, what] : {std::pair(c.blank, "blank"), std::pair(c.too_long, "too long"),
                                    std::pair(c.uneven, "of uneven sides")})
    if (count > 0) text += ", " + std::to_string(count) + " dropped as " + what;
  if (c.cut > 0) text += ", " + std::to_string(c.cut) + " cut";
  return text + "; unknown words: " + percent(c.source_unknown, c.source_ids) + " of the source, " +
         percent(c.target_unknown, c.target_ids) + " of the target";
}

}  // namespace th::data
