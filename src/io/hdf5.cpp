#include "th/io/hdf5.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "th/base/error.hpp"

namespace th::io {
namespace {

constexpr std::int64_t kStringInFile = 16;  // bytes: length, address and index of its heap

std::recursive_mutex& hdf5_mutex() {
  // Every file is closed by its owner. After a close that failed (a full disk), HDF5's own cleanup
  // at exit would use what it has freed.
  [[maybe_unused]] static const herr_t without_exit_handler = H5dont_atexit();
  static std::recursive_mutex mutex;
  return mutex;
}

herr_t append_error(unsigned, const H5E_error2_t* error, void* data) {
  auto& text = *static_cast<std::string*>(data);
  std::string reason = error->desc == nullptr ? "" : error->desc;
  // Of a failed system call, among times, addresses and counts.
  constexpr std::string_view kSystem = "error message = '";
  if (const auto begin = reason.find(kSystem); begin != std::string::npos) {
    reason.erase(0, begin + kSystem.size());
    reason.resize(std::min(reason.find('\''), reason.size()));
  }
  if (reason.empty() || text.size() >= 600 || text.find(reason) != std::string::npos) return 0;
  text += (text.empty() ? "" : "; ") + reason;
  return 0;
}

Hdf5Id file_access() {
  Hdf5Id list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_libver_bounds(list.get(), H5F_LIBVER_V110, H5F_LIBVER_V110),
             "H5Pset_libver_bounds");
  check_hdf5(H5Pset_file_locking(list.get(), 0, 1), "H5Pset_file_locking");
  check_hdf5(H5Pset_fclose_degree(list.get(), H5F_CLOSE_STRONG), "H5Pset_fclose_degree");
  return list;
}

/// HDF5 writes as many values as the file's attribute has, wherever the caller has room for one.
Hdf5Id open_attribute(hid_t object, const std::string& name) {
  Hdf5Id attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose,
                   "opening attribute " + name);
  const Hdf5Id space(H5Aget_space(attribute.get()), H5Sclose, "H5Aget_space");
  const auto values =
      check_hdf5(H5Sget_simple_extent_npoints(space.get()), "H5Sget_simple_extent_npoints");
  if (values != 1)
    throw Hdf5Error("attribute " + name + " has " + std::to_string(values) +
                    " values instead of 1");
  return attribute;
}

}  // namespace

Hdf5Lock::Hdf5Lock() : lock_(hdf5_mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

std::int64_t check_hdf5(std::int64_t value, const std::string& what) {
  if (value >= 0) return value;
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, append_error, &text);
  throw Hdf5Error(what + " failed in HDF5: " + (text.empty() ? "no reason given" : text));
}

Hdf5Id::Hdf5Id(hid_t id, Close closer, const std::string& what)
    : id_(check_hdf5(id, what)), close_(closer) {}
Hdf5Id::Hdf5Id(Hdf5Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
Hdf5Id& Hdf5Id::operator=(Hdf5Id&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(close_, other.close_);
  return *this;
}
Hdf5Id::~Hdf5Id() {
  if (id_ >= 0) close_(id_);
}
void Hdf5Id::close(const std::string& what) {
  if (id_ >= 0) check_hdf5(close_(std::exchange(id_, -1)), what);
}

Hdf5Id bf16_type() {
  Hdf5Id type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose, "H5Tcopy");
  // Sign, 8 bits of exponent from bit 7 on, 7 of the mantissa: the upper half of fp32.
  check_hdf5(H5Tset_fields(type.get(), 15, 7, 8, 0, 7), "H5Tset_fields");
  check_hdf5(H5Tset_size(type.get(), 2), "H5Tset_size");
  return type;
}

Hdf5Id create_file(const std::string& path, std::int64_t user_block) {
  const Hdf5Id access = file_access();
  const Hdf5Id creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_userblock(creation.get(), static_cast<hsize_t>(user_block)),
             "H5Pset_userblock");
  return {H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose,
          "creating " + path};
}

Hdf5Id open_file(const std::string& path) {
  const Hdf5Id access = file_access();
  return {H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose, "opening " + path};
}

Hdf5Id open_dataset(hid_t file, const std::string& name, const std::string& path) {
  return {H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose,
          "opening dataset " + name + " of " + path};
}

Hdf5Id create_space(const std::vector<hsize_t>& dims) {
  if (dims.empty()) return {H5Screate(H5S_SCALAR), H5Sclose, "H5Screate"};
  return {H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose,
          "H5Screate_simple"};
}

Hdf5Id string_type() {
  Hdf5Id type(H5Tcopy(H5T_C_S1), H5Tclose, "H5Tcopy");
  check_hdf5(H5Tset_size(type.get(), H5T_VARIABLE), "H5Tset_size");
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "H5Tset_cset");
  return type;
}

Hdf5Id link_creation() {
  Hdf5Id list(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_create_intermediate_group(list.get(), 1), "H5Pset_create_intermediate_group");
  check_hdf5(H5Pset_char_encoding(list.get(), H5T_CSET_UTF8), "H5Pset_char_encoding");
  return list;
}

std::int64_t dataset_count(hid_t dataset) {
  const Hdf5Id space(H5Dget_space(dataset), H5Sclose, "H5Dget_space");
  return check_hdf5(H5Sget_simple_extent_npoints(space.get()), "H5Sget_simple_extent_npoints");
}

void require_room(hid_t file, std::int64_t count, std::int64_t bytes, const std::string& label) {
  constexpr std::int64_t kBestDeflate = 1040;  // deflate packs no better than 1032 to 1
  hsize_t size = 0;
  check_hdf5(H5Fget_filesize(file, &size), "H5Fget_filesize");
  if (count / kBestDeflate * bytes <= static_cast<std::int64_t>(size)) return;
  throw Hdf5Error(label + " has " + std::to_string(count) + " elements in a file of " +
                  std::to_string(size) + " bytes; the file is damaged");
}

void write_attribute(hid_t object, const std::string& name, std::int64_t value) {
  const Hdf5Id space = create_space({});
  const Hdf5Id attribute(
      H5Acreate2(object, name.c_str(), H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose, "creating attribute " + name);
  check_hdf5(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value), "writing attribute " + name);
}

void write_attribute(hid_t object, const std::string& name, const std::string& value) {
  const Hdf5Id space = create_space({});
  const Hdf5Id type = string_type();
  const Hdf5Id attribute(
      H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
      "creating attribute " + name);
  const char* text = value.c_str();
  check_hdf5(H5Awrite(attribute.get(), type.get(), static_cast<const void*>(&text)),
             "writing attribute " + name);
}

std::int64_t read_integer_attribute(hid_t object, const std::string& name) {
  const Hdf5Id attribute = open_attribute(object, name);
  std::int64_t value = 0;
  check_hdf5(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), "reading attribute " + name);
  return value;
}

std::string read_string_attribute(hid_t object, const std::string& name) {
  const Hdf5Id attribute = open_attribute(object, name);
  const Hdf5Id type = string_type();
  char* text = nullptr;
  check_hdf5(H5Aread(attribute.get(), type.get(), static_cast<void*>(&text)),
             "reading attribute " + name);
  std::string value = text == nullptr ? "" : text;
  H5free_memory(text);
  return value;
}

void write_strings(hid_t file, const std::string& name, const std::vector<std::string>& values) {
  const Hdf5Id space = create_space({values.size()});
  const Hdf5Id type = string_type();
  const Hdf5Id links = link_creation();
  const Hdf5Id dataset(H5Dcreate2(file, name.c_str(), type.get(), space.get(), links.get(),
                                  H5P_DEFAULT, H5P_DEFAULT),
                       H5Dclose, "creating dataset " + name);
  std::vector<const char*> pointers;
  pointers.reserve(values.size());
  for (const auto& value : values) {
    ensure(value.find('\0') == std::string::npos,
           "write_strings: HDF5 ends a string at a zero byte");
    pointers.push_back(value.c_str());
  }
  if (values.empty()) return;
  check_hdf5(H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                      static_cast<const void*>(pointers.data())),
             "writing dataset " + name);
}

std::vector<std::string> read_strings(hid_t file, const std::string& name,
                                      const std::string& path) {
  const Hdf5Id dataset = open_dataset(file, name, path);
  const Hdf5Id type = string_type();
  const Hdf5Id space(H5Dget_space(dataset.get()), H5Sclose, "H5Dget_space");
  const std::int64_t count = dataset_count(dataset.get());
  require_room(file, count, kStringInFile, name + " of " + path);
  std::vector<char*> pointers(static_cast<std::size_t>(count), nullptr);
  std::vector<std::string> values;
  if (pointers.empty()) return values;
  check_hdf5(H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                     static_cast<void*>(pointers.data())),
             "reading " + name + " of " + path);
  values.reserve(pointers.size());
  for (const char* pointer : pointers) values.emplace_back(pointer == nullptr ? "" : pointer);
  check_hdf5(
      H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, static_cast<void*>(pointers.data())),
      "H5Dvlen_reclaim");
  return values;
}

void write_bytes(hid_t file, const std::string& name, const std::string& bytes) {
  const Hdf5Id space = create_space({bytes.size()});
  const Hdf5Id links = link_creation();
  const Hdf5Id dataset(H5Dcreate2(file, name.c_str(), H5T_STD_U8LE, space.get(), links.get(),
                                  H5P_DEFAULT, H5P_DEFAULT),
                       H5Dclose, "creating dataset " + name);
  if (bytes.empty()) return;
  check_hdf5(H5Dwrite(dataset.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()),
             "writing dataset " + name);
}

std::string read_bytes(hid_t file, const std::string& name, const std::string& path) {
  const Hdf5Id dataset = open_dataset(file, name, path);
  const std::int64_t count = dataset_count(dataset.get());
  require_room(file, count, 1, name + " of " + path);
  std::string bytes(static_cast<std::size_t>(count), '\0');
  if (!bytes.empty())
    check_hdf5(
        H5Dread(dataset.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()),
        "reading " + name + " of " + path);
  return bytes;
}

}  // namespace th::io
