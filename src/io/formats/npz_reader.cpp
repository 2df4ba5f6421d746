#include "th/io/formats/npz_reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <span>

#include "io/failure.hpp"
#include "th/base/error.hpp"
#include "th/io/element_type.hpp"

// Field names and numbers: PKWARE's APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and
// 4.5.3; numpy's description of the npy format.
namespace th::io {
namespace {

constexpr std::uint64_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56;
constexpr std::uint64_t kDirectoryBytes = 46, kLocalBytes = 30;
constexpr std::uint64_t kLongestComment = 65535;
constexpr std::uint64_t kHeaderGuess = 4096;    // no npy header of a plain array is longer
constexpr std::uint64_t kPackedHeader = 16384;  // holds a packed header, whatever packed it
constexpr std::uint64_t kBestDeflate = 1040;    // deflate packs no better than 1032 to 1
constexpr std::uint32_t kIn64Bits = 0xffffffff;

/// A little-endian number of `size` bytes.
std::uint64_t number(const std::string& bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return value;
}

/// Inflates up to `count` bytes of raw deflate; fewer where the data end or are damaged.
std::string inflated(const std::string& packed, std::uint64_t count) {
  std::string out(count, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  std::size_t in = 0, made = 0;
  int state = Z_OK;
  while (state == Z_OK && made < out.size()) {
    constexpr std::size_t kMost = std::numeric_limits<uInt>::max() / 2;
    const std::size_t give = std::min(packed.size() - in, kMost);
    const std::size_t take = std::min(out.size() - made, kMost);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + in));
    stream.avail_in = static_cast<uInt>(give);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + made);
    stream.avail_out = static_cast<uInt>(take);
    state = inflate(&stream, Z_NO_FLUSH);
    in += give - stream.avail_in;
    made += take - stream.avail_out;
    if (give == 0 && take == stream.avail_out) break;
  }
  inflateEnd(&stream);
  out.resize(made);
  return out;
}

/// What stands behind 'KEY': in a Python dictionary of the npy format; empty where it has no such
/// key.
std::string value_of(const std::string& dictionary, const std::string& key) {
  const std::size_t at = dictionary.find("'" + key + "'");
  if (at == std::string::npos) return "";
  std::size_t begin = dictionary.find(':', at);
  if (begin == std::string::npos) return "";
  begin = dictionary.find_first_not_of(" :", begin);
  if (begin == std::string::npos) return "";
  const std::size_t end = dictionary[begin] == '(' ? dictionary.find(')', begin)
                                                   : dictionary.find_first_of(",}", begin);
  if (end == std::string::npos) return "";
  return dictionary.substr(begin, end - begin);
}

/// The numbers of "(3, 4" or "(3,"; false where it is no such text or more than memory has.
bool parse_shape(const std::string& text, std::vector<std::int64_t>& shape) {
  if (text.empty() || text[0] != '(') return false;
  std::int64_t count = 1;
  for (std::size_t at = 1; at < text.size();) {
    if (text[at] == ' ' || text[at] == ',') {
      ++at;
      continue;
    }
    std::int64_t extent = 0;
    const auto read = std::from_chars(text.data() + at, text.data() + text.size(), extent);
    if (read.ec != std::errc() || extent < 0 ||
        (extent > 0 && count > std::numeric_limits<std::int64_t>::max() / 8 / extent))
      return false;
    count *= extent;
    shape.push_back(extent);
    at = static_cast<std::size_t>(read.ptr - text.data());
  }
  return true;
}

/// Of 8 bits: numpy writes '|', others '<'.
bool is_byte(const std::string& type) {
  return type == "'|i1'" || type == "'|u1'" || type == "'<i1'" || type == "'<u1'";
}

std::int64_t bytes_of(NpzArray::Type type) {
  return type == NpzArray::Type::kFloat32 ? 4 : type == NpzArray::Type::kFloat16 ? 2 : 1;
}

std::int64_t count_of(const NpzArray& array) {
  std::int64_t count = 1;
  for (const std::int64_t extent : array.shape) count *= extent;
  return count;
}

}  // namespace

NpzReader::NpzReader(const std::string& path) : path_(path) {
  file_ = FileDescriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file_.get() < 0) fail_with_reason("cannot open", path, errno);
  struct stat status {};
  if (fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw CheckpointError(path + " is not a file");
  size_ = static_cast<std::uint64_t>(status.st_size);
  read_directory();
  for (auto& [name, array] : arrays_) read_header(name, array);
}

void NpzReader::fail(const std::string& what) const {
  throw CheckpointError(path_ + ": " + what + "; it is no npz file, or damaged");
}

std::string NpzReader::file_bytes(std::uint64_t offset, std::uint64_t count) const {
  if (offset > size_ || count > size_ - offset)
    fail("bytes " + std::to_string(offset) + " to " + std::to_string(offset + count) +
         " are asked for, the file has " + std::to_string(size_));
  std::string bytes(count, '\0');
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t done =
        pread(file_.get(), bytes.data() + at, std::min<std::size_t>(bytes.size() - at, 1U << 30),
              static_cast<off_t>(offset + at));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail_with_reason("cannot read", path_, errno);
    if (done == 0) fail("it ends before byte " + std::to_string(offset + count));
    at += static_cast<std::size_t>(done);
  }
  return bytes;
}

void NpzReader::read_directory() {
  const std::uint64_t tail_bytes = std::min(size_, kEndBytes + kLongestComment);
  const std::string tail = file_bytes(size_ - tail_bytes, tail_bytes);
  const std::size_t at = tail.rfind("PK\x05\x06");
  if (at == std::string::npos || tail.size() - at < kEndBytes)
    fail("it has no directory of a zip archive");
  std::uint64_t count = number(tail, at + 10, 2), bytes = number(tail, at + 12, 4),
                begin = number(tail, at + 16, 4);
  if (count == 0xffff || bytes == kIn64Bits || begin == kIn64Bits) {
    const std::uint64_t end = size_ - tail_bytes + at;
    if (end < kLocatorBytes) fail("its directory's 64-bit part is missing");
    const std::string locator = file_bytes(end - kLocatorBytes, kLocatorBytes);
    const std::string end64 = file_bytes(number(locator, 8, 8), kEnd64Bytes);
    if (!locator.starts_with("PK\x06\x07") || !end64.starts_with("PK\x06\x06"))
      fail("its directory's 64-bit part is missing");
    count = number(end64, 32, 8), bytes = number(end64, 40, 8), begin = number(end64, 48, 8);
  }
  const std::string directory = file_bytes(begin, bytes);
  std::size_t place = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (directory.size() - place < kDirectoryBytes ||
        directory.compare(place, 4, "PK\x01\x02") != 0)
      fail("entry " + std::to_string(i) + " of its directory can't be read");
    const std::string record = directory.substr(place, kDirectoryBytes);
    const std::size_t name = number(record, 28, 2), extra = number(record, 30, 2),
                      comment = number(record, 32, 2);
    place += kDirectoryBytes;
    if (directory.size() - place < name + extra + comment)
      fail("entry " + std::to_string(i) + " of its directory can't be read");
    add_member(record, directory.substr(place, name), directory.substr(place + name, extra));
    place += name + extra + comment;
  }
}

void NpzReader::add_member(const std::string& record, const std::string& name,
                           const std::string& extra) {
  constexpr std::string_view kSuffix = ".npy";
  if (!name.ends_with(kSuffix)) fail("its member " + name + " is no array");
  NpzArray array;
  const std::uint64_t method = number(record, 10, 2);
  if (method != 0 && method != 8)
    fail("its member " + name + " is packed by method " + std::to_string(method));
  if ((number(record, 8, 2) & 1) != 0) fail("its member " + name + " is encrypted");
  array.packed = method == 8;
  array.crc = static_cast<std::uint32_t>(number(record, 16, 4));
  array.stored_bytes = number(record, 20, 4);
  array.bytes = number(record, 24, 4);
  array.offset = number(record, 42, 4);
  for (std::size_t at = 0; at + 4 <= extra.size();) {
    const std::size_t id = number(extra, at, 2), size = number(extra, at + 2, 2);
    std::size_t field = at + 4;
    const std::size_t end = std::min(extra.size(), field + size);
    at = field + size;
    if (id != 1) continue;
    // The 64-bit fields stand in this order, each only where its 32 bits say so.
    for (std::uint64_t* value : {&array.bytes, &array.stored_bytes, &array.offset}) {
      if (*value != kIn64Bits || field + 8 > end) continue;
      *value = number(extra, field, 8);
      field += 8;
    }
  }
  const std::string local = file_bytes(array.offset, kLocalBytes);
  if (!local.starts_with("PK\x03\x04")) fail("its member " + name + " is not where it should be");
  array.offset += kLocalBytes + number(local, 26, 2) + number(local, 28, 2);
  const bool sizes = array.packed ? array.bytes / kBestDeflate <= array.stored_bytes
                                  : array.bytes == array.stored_bytes;
  if (!sizes || array.offset > size_ || array.stored_bytes > size_ - array.offset)
    fail("its member " + name + " has " + std::to_string(array.bytes) + " bytes, stored in " +
         std::to_string(array.stored_bytes) + ", in a file of " + std::to_string(size_));
  if (!arrays_.emplace(name.substr(0, name.size() - kSuffix.size()), array).second)
    fail("it has " + name + " twice");
}

std::string NpzReader::member_bytes(const NpzArray& array, std::uint64_t count) const {
  count = std::min(count, array.bytes);
  if (!array.packed) return file_bytes(array.offset, count);
  // Members may lie over each other: the headers of all must not read the file for each.
  const std::uint64_t stored =
      count < array.bytes ? std::min(array.stored_bytes, kPackedHeader) : array.stored_bytes;
  return inflated(file_bytes(array.offset, stored), count);
}

void NpzReader::read_header(const std::string& name, NpzArray& array) const {
  const std::string start = member_bytes(array, kHeaderGuess);
  if (start.size() < 12 || start.compare(0, 6, "\x93NUMPY") != 0)
    fail(name + " is no array of numpy");
  const std::size_t wide = start[6] == 1 ? 2 : 4;  // bytes of the header's length
  array.data_begin = 8 + wide + number(start, 8, wide);
  if (array.data_begin > start.size()) fail(name + " has no sound npy header");
  const std::string dictionary = start.substr(8 + wide, array.data_begin - 8 - wide);
  const std::string type = value_of(dictionary, "descr");
  if (type == "'<f4'")
    array.type = NpzArray::Type::kFloat32;
  else if (type == "'<f2'")
    array.type = NpzArray::Type::kFloat16;
  else if (is_byte(type))
    array.type = NpzArray::Type::kByte;
  else
    throw CheckpointError(path_ + ": " + name + " has elements of type " + type +
                          "; read are '<f4', '<f2', '|i1', '|u1'");
  if (value_of(dictionary, "fortran_order") == "True")
    throw CheckpointError(path_ + ": " + name +
                          " is stored by columns (fortran_order); arrays by rows are read");
  if (!parse_shape(value_of(dictionary, "shape"), array.shape)) fail(name + " has no sound shape");
  const std::uint64_t due =
      array.data_begin + static_cast<std::uint64_t>(count_of(array) * bytes_of(array.type));
  if (due != array.bytes)
    fail(name + " has " + std::to_string(array.bytes) + " bytes, its shape and type take " +
         std::to_string(due));
}

std::string NpzReader::whole_member(const std::string& name, const NpzArray& array) const {
  std::string bytes = member_bytes(array, array.bytes);
  const auto crc = static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  if (bytes.size() != array.bytes || crc != array.crc)
    fail(name + " is not what its checksum says");
  return bytes;
}

std::vector<float> NpzReader::read(const std::string& name) const {
  const auto found = arrays_.find(name);
  if (found == arrays_.end()) throw CheckpointError(path_ + " has no array " + name);
  const NpzArray& array = found->second;
  if (array.type == NpzArray::Type::kByte)
    throw CheckpointError(path_ + ": " + name +
                          " holds 8-bit numbers where fp32 or fp16 is read; a quantised model has "
                          "no parameters to train");
  const std::string bytes = whole_member(name, array);
  std::vector<float> values(static_cast<std::size_t>(count_of(array)));
  decode(std::as_bytes(std::span(bytes).subspan(array.data_begin)),
         array.type == NpzArray::Type::kFloat32 ? ElementType::kFp32 : ElementType::kFp16, values);
  return values;
}

std::string NpzReader::read_bytes(const std::string& name) const {
  const auto found = arrays_.find(name);
  if (found == arrays_.end()) throw CheckpointError(path_ + " has no array " + name);
  if (found->second.type != NpzArray::Type::kByte)
    throw CheckpointError(path_ + ": " + name + " holds no bytes");
  return whole_member(name, found->second).substr(found->second.data_begin);
}

}  // namespace th::io
