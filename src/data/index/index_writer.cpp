#include "data/index/index_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/index/index_layout.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/base/hash.hpp"
#include "th/base/json_text.hpp"

namespace th::data {

namespace {

using Json = nlohmann::json;

template <class T>
std::span<const std::byte> bytes_of(const T& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

/// A file that is written from its beginning to its end through a buffer.
class IndexWriter::Stream {
 public:
  enum class Lifetime { kKept, kUntilClosed };
  Stream(std::string path, Lifetime lifetime)
      : path_(std::move(path)),
        file_(::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (file_.get() < 0) fail();
    // Without a name nothing is left of it, however the process ends.
    if (lifetime == Lifetime::kUntilClosed) ::unlink(path_.c_str());
    buffer_.reserve(kBuffer);
  }
  void write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > kBuffer) flush();
    if (bytes.size() > kBuffer)
      put(bytes);
    else
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    crc_ = crc32c(bytes, crc_);
    size_ += bytes.size();
  }
  void flush() {
    put(buffer_);
    buffer_.clear();
  }
  /// Zeros up to a section's begin; returns it and begins a new checksum.
  std::uint64_t begin_section() {
    const std::vector<std::byte> zeros((kSectionAlignment - size_ % kSectionAlignment) %
                                       kSectionAlignment);
    write(zeros);
    crc_ = 0;
    return size_;
  }
  [[nodiscard]] Json end_section(std::uint64_t begin) const { return {begin, size_ - begin, crc_}; }
  /// All bytes again, in pieces whose sizes are multiples of `unit`.
  template <class Visit>
  void read_back(std::size_t unit, Visit visit) {
    flush();
    std::vector<std::byte> piece(kBuffer / unit * unit);
    for (std::uint64_t at = 0; at < size_;) {
      const std::size_t count = std::min<std::uint64_t>(piece.size(), size_ - at);
      for (std::size_t have = 0; have < count;) {
        const ssize_t got =
            ::pread(file_.get(), piece.data() + have, count - have, static_cast<off_t>(at + have));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail();
        have += static_cast<std::size_t>(got);
      }
      visit(std::span<const std::byte>(piece.data(), count));
      at += count;
    }
  }
  void write_at_begin(std::span<const std::byte> bytes) {
    flush();
    if (::pwrite(file_.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      fail();
  }
  void sync() {
    flush();
    if (::fsync(file_.get()) != 0 && errno != EINVAL) fail();
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t kBuffer = 1 << 20;
  void put(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(file_.get(), bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) fail();
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
  }
  [[noreturn]] void fail() const {
    const int error = errno;
    const std::string what = path_ + ": the corpus index can't be written: " + std::strerror(error);
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
      throw NoRoomError(what +
                        "; free some space, or give another folder (TMPDIR, data.index_dir)");
    throw DataError(what + "; check that the folder is writable");
  }
  std::string path_;
  FileDescriptor file_;
  std::vector<std::byte> buffer_;
  std::uint64_t size_ = 0;
  std::uint32_t crc_ = 0;
};

struct IndexWriter::State {
  explicit State(std::string index_path)
      : path(std::move(index_path)), file(path, Stream::Lifetime::kKept) {
    file.write(bytes_of(std::array<IndexHeader, 1>{}));
  }
  std::string path;
  Stream file;
  std::map<std::string, std::unique_ptr<Stream>> sides;
  Json tables = {{"parts", Json::object()}, {"tokenizers", Json::object()}};
  std::string part;
  KeptText kept;
  std::uint64_t ids_begin = 0, text_bytes = 0;
  std::int64_t ids = 0, pairs = 0, lines = 0;
  std::uint32_t longest_source = 0, longest_target = 0;
  std::string source, target;  ///< the line that was added last, where it is kept with its pair
};

IndexWriter::IndexWriter(std::string path) : state_(std::make_unique<State>(std::move(path))) {}
IndexWriter::~IndexWriter() = default;

IndexWriter::Stream& IndexWriter::side(const char* name) {
  auto& stream = state_->sides[name];
  if (!stream)
    stream = std::make_unique<Stream>(state_->path + "." + name, Stream::Lifetime::kUntilClosed);
  return *stream;
}

void IndexWriter::begin_part(const std::string& name, KeptText kept) {
  State& s = *state_;
  s.part = name;
  s.kept = kept;
  s.sides.clear();
  s.ids_begin = s.file.begin_section();
  s.text_bytes = 0;
  s.ids = s.pairs = s.lines = 0;
  s.longest_source = s.longest_target = 0;
}

void IndexWriter::add_line(std::string_view source, std::string_view target) {
  State& s = *state_;
  ++s.lines;
  if (s.kept.of_files) {
    for (const auto& [name, line] :
         {std::pair("source_lines", source), std::pair("target_lines", target)}) {
      side(name).write(bytes_of(line));
      side(name).write(bytes_of(std::string_view("\n")));
    }
  }
  if (!s.kept.of_pairs) return;
  s.source = source;
  s.target = target;
}

void IndexWriter::add(std::span<const std::int32_t> source, std::span<const std::int32_t> target) {
  State& s = *state_;
  const bool begins_block = s.pairs++ % kBlockPairs == 0;
  if (begins_block) side("starts").write(bytes_of(std::array<std::int64_t, 1>{s.ids}));
  const std::array<std::uint32_t, 2> lengths = {static_cast<std::uint32_t>(source.size()),
                                                static_cast<std::uint32_t>(target.size() - 1)};
  s.longest_source = std::max(s.longest_source, lengths[0]);
  s.longest_target = std::max(s.longest_target, lengths[1]);
  side("lengths").write(bytes_of(lengths));
  s.file.write(bytes_of(source));
  s.file.write(bytes_of(target));
  s.ids += std::ssize(source) + std::ssize(target);
  if (s.kept.of_files) side("line_of").write(bytes_of(std::array<std::int64_t, 1>{s.lines - 1}));
  if (!s.kept.of_pairs) return;
  if (begins_block) side("text_starts").write(bytes_of(std::array<std::uint64_t, 1>{s.text_bytes}));
  side("text_lengths")
      .write(bytes_of(std::array<std::uint32_t, 2>{static_cast<std::uint32_t>(s.source.size()),
                                                   static_cast<std::uint32_t>(s.target.size())}));
  side("text").write(bytes_of(s.source));
  side("text").write(bytes_of(s.target));
  s.text_bytes += s.source.size() + s.target.size();
}

void IndexWriter::end_part(PartInfo info) {
  State& s = *state_;
  Json sections = {{"ids", s.file.end_section(s.ids_begin)}};
  const bool narrow = std::max(s.longest_source, s.longest_target) <= 0xFFFF;
  for (auto& [name, stream] : s.sides) {
    const bool narrowed = narrow && name == "lengths";
    const std::uint64_t begin = s.file.begin_section();
    stream->read_back(sizeof(std::uint64_t), [&](std::span<const std::byte> piece) {
      if (!narrowed) return s.file.write(piece);
      std::vector<std::uint32_t> wide(piece.size() / sizeof(std::uint32_t));
      std::memcpy(wide.data(), piece.data(), piece.size());
      s.file.write(bytes_of(std::vector<std::uint16_t>(wide.begin(), wide.end())));
    });
    sections[narrowed ? "short_lengths" : name] = s.file.end_section(begin);
  }
  s.sides.clear();
  Json files = Json::array();
  for (const FileMark& file : info.files) files.push_back({file.name, file.bytes, file.modified});
  const PartCounts& c = info.counts;
  s.tables["parts"][s.part] = {{"counts",
                                {{"lines", c.lines},
                                 {"pairs", c.pairs},
                                 {"blank", c.blank},
                                 {"too_long", c.too_long},
                                 {"uneven", c.uneven},
                                 {"cut", c.cut},
                                 {"source_ids", c.source_ids},
                                 {"target_ids", c.target_ids},
                                 {"source_unknown", c.source_unknown},
                                 {"target_unknown", c.target_unknown}}},
                               {"hash", info.hash},
                               {"file_pairs", info.file_pairs},
                               {"files", std::move(files)},
                               {"longest", {s.longest_source, s.longest_target}},
                               {"vocabulary", {info.source_vocabulary, info.target_vocabulary}},
                               {"sections", std::move(sections)}};
}

void IndexWriter::set_tokenizers(std::string_view source, std::string_view target) {
  State& s = *state_;
  const auto put = [&](const char* name, std::string_view bytes) {
    const std::uint64_t begin = s.file.begin_section();
    s.file.write(bytes_of(bytes));
    s.tables["tokenizers"][name] = s.file.end_section(begin);
  };
  put("source", source);
  if (!target.empty()) put("target", target);
}

void IndexWriter::finish(const std::string& keys, const std::string& tokenizer_keys) {
  State& s = *state_;
  s.tables["keys"] = keys;
  s.tables["tokenizer_keys"] = tokenizer_keys;
  IndexHeader header;
  header.tables_offset = s.file.begin_section();
  const std::string tables = json_text(s.tables);
  s.file.write(bytes_of(tables));
  header.tables_bytes = tables.size();
  header.tables_crc = crc32c(bytes_of(tables));
  s.file.write_at_begin(bytes_of(std::array<IndexHeader, 1>{header}));
}

void IndexWriter::sync() { state_->file.sync(); }

}  // namespace th::data
