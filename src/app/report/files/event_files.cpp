#include "app/report/files/event_files.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "th/base/hash.hpp"

// The records are those that src/monitor/tensorboard.cpp writes.
namespace th::app {

namespace {

namespace fs = std::filesystem;

/// Protobuf's wire form: fields one after the other.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  /// False at the end, and where the bytes are no fields.
  bool next() {
    std::uint64_t key = 0;
    if (bytes_.empty() || !varint(key)) return false;
    field = key >> 3;
    text = {};
    number = 0;
    switch (key & 7) {
      case 0:
        return varint(number);
      case 1:
        return fixed(8);
      case 2: {
        std::uint64_t length = 0;
        if (!varint(length) || length > bytes_.size()) return false;
        text = bytes_.substr(0, length);
        bytes_.remove_prefix(length);
        return true;
      }
      case 5:
        return fixed(4);
      default:
        return false;
    }
  }

  std::uint64_t field = 0, number = 0;
  std::string_view text;

 private:
  bool varint(std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool fixed(std::size_t size) {
    if (bytes_.size() < size) return false;
    std::memcpy(&number, bytes_.data(), size);
    bytes_.remove_prefix(size);
    return true;
  }

  std::string_view bytes_;
};

struct Event {
  std::int64_t step = 0;
  std::string_view summary;
  bool starts = false;  ///< a session log: points of earlier files at this step and later are void
};

Event event_of(std::string_view bytes) {
  Event event;
  WireReader fields(bytes);
  while (fields.next()) {
    if (fields.field == 2) event.step = static_cast<std::int64_t>(fields.number);
    if (fields.field == 5) event.summary = fields.text;
    if (fields.field == 7) event.starts = true;
  }
  return event;
}

/// The records of one file, until the first one that is cut or damaged.
class EventRecords {
 public:
  explicit EventRecords(const fs::path& path) : file_(path, std::ios::binary) {}
  bool next(std::string_view& bytes) {
    constexpr std::uint64_t kLongest = std::uint64_t{64} << 20;
    std::uint64_t length = 0;
    std::uint32_t ignored = 0, crc = 0;
    if (!read(&length, sizeof(length)) || !read(&ignored, sizeof(ignored))) return false;
    if (length > kLongest) return false;
    record_.resize(length);
    if (!read(record_.data(), length) || !read(&crc, sizeof(crc))) return false;
    const std::uint32_t sum = crc32c(std::as_bytes(std::span(record_.data(), record_.size())));
    bytes = {record_.data(), record_.size()};
    return ((sum >> 15) | (sum << 17)) + 0xa282ead8U == crc;
  }

 private:
  bool read(void* to, std::uint64_t size) {
    return static_cast<bool>(
        file_.read(static_cast<char*>(to), static_cast<std::streamsize>(size)));
  }
  std::ifstream file_;
  std::vector<char> record_;
};

/// The step from which on a file's points stand in place of those of earlier files.
std::int64_t first_step_of(const fs::path& path) {
  EventRecords records(path);
  std::string_view bytes;
  for (int i = 0; i < 2 && records.next(bytes); ++i)
    if (const Event event = event_of(bytes); event.starts) return event.step;
  return 1;
}

void take_value(std::string_view value, std::int64_t step, EventFiles& out) {
  WireReader fields(value);
  std::string_view tag;
  std::optional<double> number;
  while (fields.next()) {
    if (fields.field == 1) tag = fields.text;
    if (fields.field == 2)
      number = std::bit_cast<float>(static_cast<std::uint32_t>(fields.number & 0xffffffffU));
  }
  constexpr std::string_view kTime = "time/";
  if (!number) return;
  if (tag.starts_with(kTime)) out.seconds[std::string(tag.substr(kTime.size()))] += *number;
  if (tag == "memory/gib") out.memory.add(static_cast<double>(step), *number);
}

/// Those of a folder in the order in which they were begun, which their names tell.
std::vector<fs::path> event_files_of(const std::string& folder) {
  constexpr std::string_view kBegin = "events.out.tfevents.";
  std::vector<std::pair<long long, fs::path>> found;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(kBegin))
      found.emplace_back(std::atoll(name.c_str() + kBegin.size()), it->path());
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> out;
  for (auto& [time, path] : found) out.push_back(std::move(path));
  return out;
}

}  // namespace

EventFiles read_event_files(const std::string& folder) {
  const std::vector<fs::path> paths = event_files_of(folder);
  std::vector<std::int64_t> ends(paths.size(), std::numeric_limits<std::int64_t>::max());
  for (std::size_t i = paths.size(); i-- > 1;)
    ends[i - 1] = std::min(ends[i], first_step_of(paths[i]));
  EventFiles out;
  out.files = std::ssize(paths);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    EventRecords records(paths[i]);
    for (std::string_view bytes; records.next(bytes);) {
      const Event event = event_of(bytes);
      if (event.step >= ends[i]) continue;
      WireReader values(event.summary);
      while (values.next())
        if (values.field == 1) take_value(values.text, event.step, out);
    }
  }
  return out;
}

}  // namespace th::app
