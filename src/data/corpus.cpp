#include "th/data/corpus.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "data/index/index_layout.hpp"
#include "th/base/error.hpp"

namespace th::data {
namespace {

constexpr std::size_t kLarge = std::size_t{64} << 20;  // bytes of which pages are given back

std::size_t blocks_of(std::int64_t pairs) {
  return static_cast<std::size_t>((pairs + kBlockPairs - 1) / kBlockPairs);
}

template <class T>
const T* values(std::span<const std::byte> section) {
  return reinterpret_cast<const T*>(section.data());
}

}  // namespace

ParallelCorpus::ParallelCorpus(std::shared_ptr<const IndexFile> index, std::string part)
    : index_(std::move(index)), part_(std::move(part)) {
  const PartInfo& info = index_->info(part_);
  size_ = info.counts.pairs;
  const auto section = [this](const char* name) { return index_->section(part_, name); };
  const auto require = [this](bool fine, const char* what) {
    if (!fine) index_->refuse(part_ + ": " + what);
  };
  require(size_ >= 0 && size_ < std::int64_t{1} << 40, "the number of pairs is none");
  const auto pairs = static_cast<std::size_t>(size_);
  // Every kept pair is of a file, and of a line of it.
  std::int64_t of_files = 0;
  for (const std::int64_t count : info.file_pairs) {
    require(count >= 0 && count <= size_ - of_files, "the pairs of its files are not all of them");
    of_files += count;
  }
  require(of_files == size_, "the pairs of its files are not all of them");
  require(info.counts.lines >= size_, "it has fewer lines than pairs");
  const auto ids = section("ids"), starts = section("starts"), wide = section("lengths"),
             narrow = section("short_lengths");
  if (wide.empty()) width_ = Lengths::Width::kNarrow;
  require(wide.empty() ? narrow.size() == pairs * 4 : wide.size() == pairs * 8,
          "it has not two lengths a pair");
  require(starts.size() == blocks_of(size_) * sizeof(std::int64_t), "blocks of pairs are missing");
  require(ids.size() % sizeof(std::int32_t) == 0, "ids are cut");
  ids_ = values<std::int32_t>(ids);
  ids_count_ = static_cast<std::int64_t>(ids.size() / sizeof(std::int32_t));
  lengths_ = wide.empty() ? narrow.data() : wide.data();
  starts_ = values<std::int64_t>(starts);
  source_vocabulary_ = info.source_vocabulary;
  target_vocabulary_ = info.target_vocabulary;
  if (const auto lengths = section("text_lengths"); !lengths.empty()) {
    require(lengths.size() == pairs * 8 &&
                section("text_starts").size() == blocks_of(size_) * sizeof(std::uint64_t),
            "it has not two lines a pair");
    text_lengths_ = values<std::uint32_t>(lengths);
    text_starts_ = values<std::uint64_t>(section("text_starts"));
    text_ = {values<char>(section("text")), section("text").size()};
  }
  if (const auto line_of = section("line_of"); !line_of.empty()) {
    require(line_of.size() == pairs * sizeof(std::int64_t), "it has not a line a pair");
    for (const char* side : {"source_lines", "target_lines"})
      require(static_cast<std::uint64_t>(info.counts.lines) <= section(side).size(),
              "lines of its files are missing");
    line_of_ = {values<std::int64_t>(line_of), pairs};
  }
}

ParallelCorpus::Place ParallelCorpus::place_of(std::int64_t sentence) const {
  ensure(sentence >= 0 && sentence < size_, "ParallelCorpus: no such pair");
  const Lengths lengths = length_view();
  const std::int64_t block = sentence / kBlockPairs;
  Place place{starts_[block], lengths[sentence]};
  if (place.begin < 0 || place.begin > ids_count_)
    index_->refuse(part_ + ": block " + std::to_string(block) + " lies outside");
  for (std::int64_t i = block * kBlockPairs; i < sentence; ++i)
    place.begin += std::int64_t{lengths[i].source} + lengths[i].target + 1;
  const SentenceLength& length = place.length;
  const bool within = place.begin >= 0 && length.source > 0 && length.target > 0 &&
                      place.begin <= ids_count_ - length.source - length.target - 1;
  if (!within) index_->refuse(part_ + ": pair " + std::to_string(sentence) + " lies outside");
  return place;
}

std::span<const std::int32_t> ParallelCorpus::source(std::int64_t sentence) const {
  const Place place = place_of(sentence);
  return {ids_ + place.begin, static_cast<std::size_t>(place.length.source)};
}

std::span<const std::int32_t> ParallelCorpus::target(std::int64_t sentence) const {
  const Place place = place_of(sentence);
  return {ids_ + place.begin + place.length.source,
          static_cast<std::size_t>(place.length.target) + 1};
}

std::vector<SentenceLength> ParallelCorpus::lengths() const {
  const Lengths view = length_view();
  std::vector<SentenceLength> lengths(static_cast<std::size_t>(size_));
  for (std::int64_t i = 0; i < size_; ++i) lengths[static_cast<std::size_t>(i)] = view[i];
  return lengths;
}

void ParallelCorpus::require_ids(std::span<const std::int32_t> source,
                                 std::span<const std::int32_t> target) const {
  const auto within = [](std::span<const std::int32_t> ids, std::int64_t vocabulary) {
    return std::all_of(ids.begin(), ids.end(),
                       [&](std::int32_t id) { return id >= 0 && id < vocabulary; });
  };
  if (!within(source, source_vocabulary_) || !within(target, target_vocabulary_))
    index_->refuse(part_ + ": an id is none of the vocabulary");
}

std::pair<std::string_view, std::string_view> ParallelCorpus::text_of(std::int64_t sentence) const {
  ensure(has_text() && sentence >= 0 && sentence < size_, "ParallelCorpus: no such text");
  const std::int64_t block = sentence / kBlockPairs;
  std::uint64_t begin = std::min<std::uint64_t>(text_starts_[block], text_.size());
  for (std::int64_t i = block * kBlockPairs; i < sentence; ++i)
    begin += std::uint64_t{text_lengths_[2 * i]} + text_lengths_[2 * i + 1];
  const std::uint64_t source = text_lengths_[2 * sentence],
                      target = text_lengths_[2 * sentence + 1];
  if (begin > text_.size() || source + target > text_.size() - begin)
    index_->refuse(part_ + ": the lines of pair " + std::to_string(sentence) + " lie outside");
  return {text_.substr(begin, source), text_.substr(begin + source, target)};
}

std::string_view ParallelCorpus::source_text(std::int64_t sentence) const {
  return text_of(sentence).first;
}

std::string_view ParallelCorpus::target_text(std::int64_t sentence) const {
  return text_of(sentence).second;
}

std::int64_t ParallelCorpus::line_of(std::int64_t sentence) const {
  ensure(sentence >= 0 && sentence < std::ssize(line_of_),
         "ParallelCorpus: no line of such a pair");
  const std::int64_t line = line_of_[static_cast<std::size_t>(sentence)];
  if (line < 0 || line >= lines()) index_->refuse(part_ + ": a pair is of no line");
  return line;
}

std::vector<std::string> ParallelCorpus::lines_of(const char* section) const {
  const auto bytes = index_->section(part_, section);
  std::string_view rest(values<char>(bytes), bytes.size());
  std::vector<std::string> out;
  out.reserve(static_cast<std::size_t>(lines()));
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    out.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (std::ssize(out) != lines()) index_->refuse(part_ + ": lines of its files are missing");
  return out;
}

std::vector<std::string> ParallelCorpus::source_lines() const { return lines_of("source_lines"); }
std::vector<std::string> ParallelCorpus::target_lines() const { return lines_of("target_lines"); }

void ParallelCorpus::forget_pages() const noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (const char* name : {"ids", "text"}) {
    const auto bytes = index_->section(part_, name);
    if (bytes.size() < kLarge) continue;
    const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
    const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size()) / page * page;
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
}

std::vector<std::string> by_line(const ParallelCorpus& corpus,
                                 const std::vector<std::string>& texts) {
  ensure(std::ssize(texts) == corpus.size(), "by_line: not one text a pair");
  std::vector<std::string> lines(static_cast<std::size_t>(corpus.lines()));
  for (std::int64_t i = 0; i < corpus.size(); ++i)
    lines[static_cast<std::size_t>(corpus.line_of(i))] = texts[static_cast<std::size_t>(i)];
  return lines;
}

}  // namespace th::data
