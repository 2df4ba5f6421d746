#include "th/data/index/index_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/index/index_layout.hpp"
#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/base/hash.hpp"
#include "th/base/json_text.hpp"

namespace th::data {

namespace {

using Json = nlohmann::json;

PartInfo info_of(const Json& json) {
  PartInfo info;
  const Json& counts = json.at("counts");
  for (const auto& [name, count] :
       {std::pair("lines", &PartCounts::lines), std::pair("pairs", &PartCounts::pairs),
        std::pair("blank", &PartCounts::blank), std::pair("too_long", &PartCounts::too_long),
        std::pair("uneven", &PartCounts::uneven), std::pair("cut", &PartCounts::cut),
        std::pair("source_ids", &PartCounts::source_ids),
        std::pair("target_ids", &PartCounts::target_ids),
        std::pair("source_unknown", &PartCounts::source_unknown),
        std::pair("target_unknown", &PartCounts::target_unknown)})
    info.counts.*count = json_integer(counts.at(name));
  info.hash = json_unsigned(json.at("hash"));
  info.file_pairs = json_integers(json.at("file_pairs"));
  for (const Json& file : json.at("files"))
    info.files.push_back(
        {json_unsigned(file.at(0)), json_integer(file.at(1)), json_integer(file.at(2))});
  info.longest_source = json_integer(json.at("longest").at(0));
  info.longest_target = json_integer(json.at("longest").at(1));
  info.source_vocabulary = json_integer(json.at("vocabulary").at(0));
  info.target_vocabulary = json_integer(json.at("vocabulary").at(1));
  return info;
}

}  // namespace

IndexFile::IndexFile(std::string path) : path_(std::move(path)) {
  const FileDescriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0)
    throw DataError(path_ + ": the corpus index can't be opened: " + std::strerror(errno));
  struct stat about {};
  if (::fstat(file.get(), &about) != 0 || about.st_size < static_cast<off_t>(sizeof(IndexHeader)))
    refuse("it is cut off");
  const auto bytes = static_cast<std::size_t>(about.st_size);
  void* map = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.get(), 0);
  if (map == MAP_FAILED)
    throw DataError(path_ + ": the corpus index can't be mapped: " + std::strerror(errno));
  // Pairs are read here and there: a huge page for each would hold the whole file. Where the kernel
  // has none, there is nothing to forbid.
  static_cast<void>(::madvise(map, bytes, MADV_NOHUGEPAGE));
  map_ = static_cast<const std::byte*>(map);
  bytes_ = bytes;
  try {
    IndexHeader header;
    std::memcpy(&header, map_, sizeof(header));
    if (header.magic != kIndexMagic) refuse("it is no index, or one of another version");
    if (header.tables_offset > bytes_ || header.tables_bytes != bytes_ - header.tables_offset)
      refuse("it is cut off");
    const std::span tables(map_ + header.tables_offset, header.tables_bytes);
    if (crc32c(tables) != header.tables_crc) refuse("its tables are not those that were written");
    read({reinterpret_cast<const char*>(tables.data()), tables.size()});
  } catch (...) {
    ::munmap(map, bytes);
    throw;
  }
}

IndexFile::~IndexFile() { ::munmap(const_cast<std::byte*>(map_), bytes_); }

void IndexFile::refuse(const std::string& what) const {
  throw DataError(path_ + ": the corpus index is damaged: " + what +
                  "; remove it, and write it anew with th_corpus encode DECK");
}

void IndexFile::read(std::string_view tables) {
  const auto section = [this](const Json& json) {
    const Section out{json_unsigned(json.at(0)), json_unsigned(json.at(1)),
                      static_cast<std::uint32_t>(json_unsigned(json.at(2)))};
    if (out.offset > bytes_ || out.bytes > bytes_ - out.offset ||
        out.offset % kSectionAlignment != 0)
      refuse("a section lies outside of it");
    return out;
  };
  try {
    const Json json = parse_json(std::string(tables));
    json.at("keys").get_to(keys_);
    json.at("tokenizer_keys").get_to(tokenizer_keys_);
    for (const auto& [name, place] : json.at("tokenizers").items())
      tokenizers_[name] = section(place);
    for (const auto& [name, part] : json.at("parts").items()) {
      Part& own = parts_[name];
      own.info = info_of(part);
      for (const auto& [key, place] : part.at("sections").items())
        own.sections[key] = section(place);
    }
  } catch (const Json::exception& error) {
    refuse(std::string("its tables can't be read (") + error.what() + ")");
  }
}

const PartInfo& IndexFile::info(const std::string& part) const {
  const auto found = parts_.find(part);
  if (found == parts_.end()) refuse("it has no part " + part);
  return found->second.info;
}

std::span<const std::byte> IndexFile::bytes_of(const Section& section) const {
  return {map_ + section.offset, section.bytes};
}

std::span<const std::byte> IndexFile::section(const std::string& part,
                                              const std::string& name) const {
  const auto found = parts_.find(part);
  if (found == parts_.end()) return {};
  const auto place = found->second.sections.find(name);
  return place == found->second.sections.end() ? std::span<const std::byte>()
                                               : bytes_of(place->second);
}

std::string_view IndexFile::source_tokenizer() const {
  const auto found = tokenizers_.find("source");
  if (found == tokenizers_.end()) refuse("it has no tokenizer");
  const auto bytes = bytes_of(found->second);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view IndexFile::target_tokenizer() const {
  const auto found = tokenizers_.find("target");
  if (found == tokenizers_.end()) return {};
  const auto bytes = bytes_of(found->second);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string IndexFile::damaged_section() const {
  for (const auto& [name, section] : tokenizers_)
    if (crc32c(bytes_of(section)) != section.crc) return "tokenizer of the " + name;
  for (const auto& [name, part] : parts_)
    for (const auto& [key, section] : part.sections)
      if (crc32c(bytes_of(section)) != section.crc) return key + " of " + name;
  return "";
}

}  // namespace th::data
