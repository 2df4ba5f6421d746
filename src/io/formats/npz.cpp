#include "th/io/formats/npz.hpp"

#include <zlib.h>

#include "th/base/error.hpp"

// Field names and numbers: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12, 4.3.14
// to 4.3.16, 4.5.3.
namespace th::io {
namespace {

constexpr std::uint16_t kVersion = 45;          // needed for zip64
constexpr std::uint16_t kUtf8Names = 1U << 11;  // general purpose flag
// 1980-01-01: the same checkpoint gives the same bytes.
constexpr std::uint16_t kDosDate = (1 << 5) | 1;
constexpr std::uint16_t kIn64Bits16 = 0xffff;  // "see the zip64 field"
constexpr std::uint32_t kIn64Bits32 = 0xffffffff;

/// Little-endian fields one after the other.
class Fields {
 public:
  Fields& u16(std::uint16_t value) { return number(value, 2); }
  Fields& u32(std::uint32_t value) { return number(value, 4); }
  Fields& u64(std::uint64_t value) { return number(value, 8); }
  Fields& text(const std::string& value) {
    bytes_ += value;
    return *this;
  }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(bytes_));
  }

 private:
  Fields& number(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }
  std::string bytes_;
};

/// The npy format 1.0: magic, version, length, a Python dictionary with spaces and a newline up to
/// a multiple of 64 bytes.
std::string npy_header(const std::vector<std::int64_t>& shape, ElementType type) {
  ensure(type != ElementType::kBf16, "NpzWriter: numpy has no bfloat16");
  std::string dictionary = std::string("{'descr': '") +
                           (type == ElementType::kFp32 ? "<f4" : "<f2") +
                           "', 'fortran_order': False, 'shape': (";
  for (const std::int64_t extent : shape) dictionary += std::to_string(extent) + ", ";
  if (shape.size() > 1) dictionary.resize(dictionary.size() - 2);
  if (shape.size() == 1) dictionary.pop_back();
  dictionary += "), }";
  dictionary.resize((10 + dictionary.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  dictionary += '\n';
  Fields prefix;
  prefix.text(std::string("\x93NUMPY\x01", 7))
      .text(std::string(1, '\0'))
      .u16(static_cast<std::uint16_t>(dictionary.size()));
  const auto bytes = prefix.bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) + dictionary;
}

std::uint32_t crc32_of(std::span<const std::byte> bytes, std::uint32_t crc) {
  return static_cast<std::uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

void NpzWriter::add(const std::string& name, const std::vector<std::int64_t>& shape,
                    ElementType type, std::span<const float> values) {
  const std::string header = npy_header(shape, type);
  const std::vector<std::byte> data = encode(values, type);
  Member member;
  member.name = name + ".npy";
  member.crc = crc32_of(data, crc32_of(std::as_bytes(std::span(header)), 0));
  member.size = header.size() + data.size();
  member.offset = static_cast<std::uint64_t>(file_.size());
  Fields local;
  local.u32(0x04034b50)
      .u16(kVersion)
      .u16(kUtf8Names)
      .u16(0)
      .u16(0)
      .u16(kDosDate)
      .u32(member.crc)
      .u32(kIn64Bits32)
      .u32(kIn64Bits32);
  local.u16(static_cast<std::uint16_t>(member.name.size())).u16(20).text(member.name);
  local.u16(1).u16(16).u64(member.size).u64(member.size);
  file_.write(local.bytes());
  file_.write(std::as_bytes(std::span(header)));
  file_.write(data);
  members_.push_back(std::move(member));
}

void NpzWriter::finish() {
  const auto start = static_cast<std::uint64_t>(file_.size());
  for (const Member& member : members_) {
    Fields entry;
    entry.u32(0x02014b50)
        .u16(kVersion)
        .u16(kVersion)
        .u16(kUtf8Names)
        .u16(0)
        .u16(0)
        .u16(kDosDate)
        .u32(member.crc)
        .u32(kIn64Bits32)
        .u32(kIn64Bits32);
    entry.u16(static_cast<std::uint16_t>(member.name.size()))
        .u16(28)
        .u16(0)
        .u16(0)
        .u16(0)
        .u32(0)
        .u32(kIn64Bits32)
        .text(member.name);
    entry.u16(1).u16(24).u64(member.size).u64(member.size).u64(member.offset);
    file_.write(entry.bytes());
  }
  const auto end = static_cast<std::uint64_t>(file_.size());
  Fields tail;
  tail.u32(0x06064b50)
      .u64(44)
      .u16(kVersion)
      .u16(kVersion)
      .u32(0)
      .u32(0)
      .u64(members_.size())
      .u64(members_.size())
      .u64(end - start)
      .u64(start);
  tail.u32(0x07064b50).u32(0).u64(end).u32(1);
  tail.u32(0x06054b50)
      .u16(0)
      .u16(0)
      .u16(kIn64Bits16)
      .u16(kIn64Bits16)
      .u32(kIn64Bits32)
      .u32(kIn64Bits32)
      .u16(0);
  file_.write(tail.bytes());
}

}  // namespace th::io
