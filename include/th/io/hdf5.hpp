#pragma once

#include <hdf5.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace th::io {

/// Holds the process-wide lock around HDF5 (Debian's library is not thread-safe); may be taken
/// again by the same thread.
class Hdf5Lock {
 public:
  Hdf5Lock();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

/// Throws Hdf5Error with `what` and HDF5's own words when `value` (a status, an id, a tri-state) is
/// negative; returns it otherwise.
std::int64_t check_hdf5(std::int64_t value, const std::string& what);

/// An owned HDF5 identifier, closed with its own function; move-only. Take Hdf5Lock before use and
/// destruction.
class Hdf5Id {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Id() = default;
  /// Throws Hdf5Error with `what` when `id` is negative.
  Hdf5Id(hid_t id, Close closer, const std::string& what);
  Hdf5Id(Hdf5Id&& other) noexcept;
  Hdf5Id& operator=(Hdf5Id&& other) noexcept;
  Hdf5Id(const Hdf5Id&) = delete;
  Hdf5Id& operator=(const Hdf5Id&) = delete;
  ~Hdf5Id();
  [[nodiscard]] hid_t get() const noexcept { return id_; }
  /// Closes now; throws Hdf5Error with `what` on failure (a file's last bytes may be written here).
  void close(const std::string& what);

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// bfloat16 as a type of HDF5, which knows no such type by itself and converts it to and from fp32
/// by its fields.
[[nodiscard]] Hdf5Id bf16_type();
/// Creates (truncates) a file in the format of HDF5 1.10, with file locking off, and `user_block`
/// bytes at its start that HDF5 does not use.
[[nodiscard]] Hdf5Id create_file(const std::string& path, std::int64_t user_block = 0);
/// Opens a file read-only with file locking off; throws Hdf5Error naming it.
[[nodiscard]] Hdf5Id open_file(const std::string& path);
[[nodiscard]] Hdf5Id open_dataset(hid_t file, const std::string& name, const std::string& path);
[[nodiscard]] Hdf5Id create_space(const std::vector<hsize_t>& dims);
/// A variable-length UTF-8 string type.
[[nodiscard]] Hdf5Id string_type();
/// A link creation list that makes the groups on the way.
[[nodiscard]] Hdf5Id link_creation();
/// Elements of a dataset.
[[nodiscard]] std::int64_t dataset_count(hid_t dataset);
/// Throws Hdf5Error, beginning with `label`, where a file can't hold so many elements of `bytes`
/// bytes each, packed or not: nobody asks for that much memory because a damaged number says so.
void require_room(hid_t file, std::int64_t count, std::int64_t bytes, const std::string& label);

/// An attribute is one value: reading throws Hdf5Error where the file has another number of them.
void write_attribute(hid_t object, const std::string& name, std::int64_t value);
void write_attribute(hid_t object, const std::string& name, const std::string& value);
[[nodiscard]] std::int64_t read_integer_attribute(hid_t object, const std::string& name);
[[nodiscard]] std::string read_string_attribute(hid_t object, const std::string& name);
void write_strings(hid_t file, const std::string& name, const std::vector<std::string>& values);
[[nodiscard]] std::vector<std::string> read_strings(hid_t file, const std::string& name,
                                                    const std::string& path);
/// A one-dimensional dataset of bytes.
void write_bytes(hid_t file, const std::string& name, const std::string& bytes);
[[nodiscard]] std::string read_bytes(hid_t file, const std::string& name, const std::string& path);

}  // namespace th::io
