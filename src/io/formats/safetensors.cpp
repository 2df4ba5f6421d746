#include "th/io/formats/safetensors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/failure.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"

namespace th::io {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLongestHeader = 100'000'000;  // the reference implementation's own limit
constexpr const char* kMetadata = "__metadata__";

/// Elements of a shape; -1 where an extent is negative or the count is beyond any file.
std::int64_t element_count(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || (extent > 0 && count > std::numeric_limits<std::int64_t>::max() / 8 / extent))
      return -1;
    count *= extent;
  }
  return count;
}

/// JSON that refuses a name that stands twice in one object.
Json parse_strictly(const std::string& text, const std::string& path) {
  return parse_json(text, [&](const std::string& name) {
    throw CheckpointError(path + ": the header has " + json_text(Json(name)) +
                          " twice; the file is damaged");
  });
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(OutputFile& file, std::vector<SafetensorsEntry> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(file), tensors_(std::move(tensors)) {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              const std::int64_t wide = element_size(a.type) - element_size(b.type);
              return wide != 0 ? wide > 0 : a.name < b.name;
            });
  Json header = {{kMetadata, metadata}};
  std::int64_t at = 0;
  for (auto& tensor : tensors_) {
    tensor.begin = at;
    at += element_count(tensor.shape) * element_size(tensor.type);
    tensor.end = at;
    header[tensor.name] = {{"dtype", safetensors_name(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string text = json_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (std::ssize(text) > kLongestHeader) {
    throw CheckpointError(file.path() + " would have a header of " + std::to_string(text.size()) +
                          " bytes (names and vocabularies), readers accept " +
                          std::to_string(kLongestHeader) + "; export to npz");
  }
  const std::uint64_t length = text.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(std::as_bytes(std::span(text)));
}

void SafetensorsWriter::write(std::span<const float> values) {
  ensure(next_ < tensors_.size(), "SafetensorsWriter: more tensors than announced");
  const SafetensorsEntry& tensor = tensors_[next_++];
  ensure(std::ssize(values) * element_size(tensor.type) == tensor.end - tensor.begin,
         "SafetensorsWriter: a tensor of another size than announced");
  file_.write(encode(values, tensor.type));
}

SafetensorsReader::SafetensorsReader(const std::string& path) : path_(path) {
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail_with_reason("cannot open", path, errno);
  try {
    struct stat status {};
    if (fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode))
      throw CheckpointError(path + " is not a file");
    std::uint64_t length = 0;
    if (status.st_size < 8)
      throw CheckpointError(path + " has " + std::to_string(status.st_size) +
                            " bytes: it is no safetensors file, or cut off");
    read_bytes(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > static_cast<std::uint64_t>(kLongestHeader) ||
        static_cast<std::int64_t>(length) > status.st_size - 8) {
      throw CheckpointError(path + " says that its header has " + std::to_string(length) +
                            " bytes, in a file of " + std::to_string(status.st_size) +
                            ": it is no safetensors file, or damaged");
    }
    std::string text(length, '\0');
    read_bytes(8, std::as_writable_bytes(std::span(text)));
    data_offset_ = 8 + static_cast<std::int64_t>(length);
    parse_header(text);
    require_no_gaps(status.st_size - data_offset_);
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

SafetensorsReader::~SafetensorsReader() { close(descriptor_); }

void SafetensorsReader::parse_header(const std::string& text) {
  try {
    const Json header = parse_strictly(text, path_);
    if (!header.is_object())
      throw CheckpointError(path_ + ": the header of the safetensors file is no JSON object");
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata) {
        metadata_ = value.get<std::map<std::string, std::string>>();
        continue;
      }
      SafetensorsEntry entry{name, json_integers(value.at("shape")), ElementType::kFp32, 0, 0};
      const auto type = value.at("dtype").get<std::string>();
      bool known = false;
      for (const ElementType candidate :
           {ElementType::kFp32, ElementType::kFp16, ElementType::kBf16}) {
        if (type != safetensors_name(candidate)) continue;
        entry.type = candidate;
        known = true;
      }
      if (!known)
        throw CheckpointError(path_ + ": " + name + " is of dtype " + type +
                              "; allowed F32, F16, BF16");
      const auto offsets = json_integers(value.at("data_offsets"));
      if (offsets.size() != 2)
        throw CheckpointError(path_ + ": data_offsets of " + name + " has " +
                              std::to_string(offsets.size()) + " numbers, not 2");
      entry.begin = offsets[0];
      entry.end = offsets[1];
      const std::int64_t count = element_count(entry.shape);
      if (count < 0 || entry.begin < 0 || entry.end < entry.begin ||
          entry.end - entry.begin != count * element_size(entry.type)) {
        throw CheckpointError(path_ + ": " + name + " has bytes " + std::to_string(entry.begin) +
                              " to " + std::to_string(entry.end) +
                              ", which is not what its shape and dtype take; the file is damaged");
      }
      tensors_.emplace(name, std::move(entry));
    }
  } catch (const Json::exception& error) {
    throw CheckpointError(path_ +
                          ": the header of the safetensors file can't be read: " + error.what());
  }
}

void SafetensorsReader::require_no_gaps(std::int64_t data_bytes) const {
  std::vector<const SafetensorsEntry*> order;
  for (const auto& [name, entry] : tensors_) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  std::int64_t at = 0;
  for (const SafetensorsEntry* entry : order) {
    if (entry->begin != at) {
      throw CheckpointError(path_ + ": " + entry->name + " begins at byte " +
                            std::to_string(entry->begin) + " where " + std::to_string(at) +
                            " is due: tensors overlap or leave a gap; the file is damaged");
    }
    at = entry->end;
  }
  if (at != data_bytes) {
    throw CheckpointError(path_ + " holds " + std::to_string(data_bytes) +
                          " bytes of data, its header " + std::to_string(at) +
                          ": it is cut off or damaged");
  }
}

void SafetensorsReader::read(const std::string& name, std::int64_t begin,
                             std::span<float> out) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) throw CheckpointError(path_ + " has no tensor " + name);
  const std::int64_t size = element_size(it->second.type);
  ensure(begin >= 0 && it->second.begin + (begin + std::ssize(out)) * size <= it->second.end,
         "SafetensorsReader: elements beyond the tensor");
  std::vector<std::byte> bytes(out.size() * static_cast<std::size_t>(size));
  read_bytes(data_offset_ + it->second.begin + begin * size, bytes);
  decode(bytes, it->second.type, out);
}

void SafetensorsReader::read_bytes(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t done = pread(descriptor_, out.data(),
                               std::min<std::size_t>(out.size(), std::size_t{1} << 30), offset);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail_with_reason("cannot read", path_, errno);
    if (done == 0)
      throw CheckpointError(path_ + " ends before byte " +
                            std::to_string(offset + std::ssize(out)));
    out = out.subspan(static_cast<std::size_t>(done));
    offset += done;
  }
}

}  // namespace th::io
