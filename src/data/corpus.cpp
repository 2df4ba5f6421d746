#include "th/data/corpus.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>

#include "th/base/error.hpp"

namespace th::data {
namespace {

constexpr std::array<char, 8> kMagic = {'T', 'H', 'I', 'N', 'D', 'E', 'X', '1'};

struct Header {
  std::array<char, 8> magic = kMagic;
  std::int64_t sentences = 0;
  std::int64_t ids = 0;
  std::uint64_t hash = 0;
};

template <class T>
void write_values(std::ofstream& file, const std::vector<T>& values) {
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(T)));
}

}  // namespace

std::int64_t ParallelCorpus::write_index(const std::filesystem::path& path, const Text& text,
                                         std::int64_t max_length, std::uint64_t hash) {
  ensure(text.source.size() == text.target.size(),
         "write_index: source and target differ in length");
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> all;
  std::int64_t cut = 0;
  const auto append = [&](auto encode, const Tokenizer& tokenizer, const std::string& line) {
    std::vector<std::int32_t> ids =
        encode(tokenizer, line, std::numeric_limits<std::int64_t>::max());
    const bool longer = std::ssize(ids) > max_length;
    if (longer) ids = encode(tokenizer, line, max_length);
    all.insert(all.end(), ids.begin(), ids.end());
    offsets.push_back(std::ssize(all));
    return longer;
  };
  for (std::size_t i = 0; i < text.source.size(); ++i) {
    const bool long_source = append(encode_source, text.source_tokenizer, text.source[i]);
    const bool long_target = append(encode_target, text.target_tokenizer, text.target[i]);
    cut += long_source || long_target ? 1 : 0;
  }
  Header header;
  header.sentences = std::ssize(text.source);
  header.ids = std::ssize(all);
  header.hash = hash;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&header), sizeof(header));
  write_values(file, offsets);
  write_values(file, all);
  file.close();
  if (!file)
    throw DataError(path.string() +
                    ": the corpus index can't be written; check that the folder is writable and "
                    "the disk has room");
  return cut;
}

ParallelCorpus::ParallelCorpus(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    throw DataError(path.string() + ": the corpus index can't be opened: " + std::strerror(errno));
  struct stat status {};
  const bool sized =
      ::fstat(file, &status) == 0 && static_cast<std::size_t>(status.st_size) >= sizeof(Header);
  if (sized) {
    bytes_ = static_cast<std::size_t>(status.st_size);
    map_ = ::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, file, 0);
  }
  ::close(file);
  if (!sized || map_ == MAP_FAILED)
    throw DataError(path.string() + ": the corpus index is cut off or can't be mapped");
  Header header;
  std::memcpy(&header, map_, sizeof(header));
  const std::size_t offset_bytes =
      static_cast<std::size_t>(2 * header.sentences + 1) * sizeof(std::int64_t);
  const bool whole = header.magic == kMagic &&
                     bytes_ == sizeof(Header) + offset_bytes +
                                   static_cast<std::size_t>(header.ids) * sizeof(std::int32_t);
  if (!whole) {
    ::munmap(map_, bytes_);
    throw DataError(path.string() + ": the corpus index is damaged; remove it and start again");
  }
  size_ = header.sentences;
  hash_ = header.hash;
  const char* base = static_cast<const char*>(map_) + sizeof(Header);
  offsets_ = reinterpret_cast<const std::int64_t*>(base);
  ids_ = reinterpret_cast<const std::int32_t*>(base + offset_bytes);
}

ParallelCorpus::~ParallelCorpus() { ::munmap(map_, bytes_); }

std::span<const std::int32_t> ParallelCorpus::source(std::int64_t sentence) const noexcept {
  const std::int64_t* at = offsets_ + 2 * sentence;
  return {ids_ + at[0], static_cast<std::size_t>(at[1] - at[0])};
}

std::span<const std::int32_t> ParallelCorpus::target(std::int64_t sentence) const noexcept {
  const std::int64_t* at = offsets_ + 2 * sentence + 1;
  return {ids_ + at[0], static_cast<std::size_t>(at[1] - at[0])};
}

std::vector<SentenceLength> ParallelCorpus::lengths() const {
  std::vector<SentenceLength> lengths(static_cast<std::size_t>(size_));
  for (std::int64_t i = 0; i < size_; ++i)
    lengths[static_cast<std::size_t>(i)] = {static_cast<std::int32_t>(source(i).size()),
                                            static_cast<std::int32_t>(target(i).size()) - 1};
  return lengths;
}

}  // namespace th::data
