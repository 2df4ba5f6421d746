#pragma once

#include <hdf5.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace th::io {

/// Holds the process-wide lock around HDF5 (Debian's library is not thread-safe); the same thread
/// may take it again.
class Hdf5Lock {
 public:
  Hdf5Lock();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

/// Returns `value` (a status, an id, a tri-state). Throws Hdf5Error with `what` and HDF5's own
/// words if it is negative.
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

/// bfloat16 as an HDF5 type. HDF5 has no such type by itself; it converts to and from fp32 by the
/// type's fields.
[[nodiscard]] Hdf5Id bf16_type();
/// Creates (or truncates) a file in the format of HDF5 1.10, with file locking off. HDF5 leaves the
/// first `user_block` bytes alone.
[[nodiscard]] Hdf5Id create_file(const std::string& path, std::int64_t user_block = 0);
/// Opens a file read-only with file locking off. Throws Hdf5Error that names the file.
[[nodiscard]] Hdf5Id open_file(const std::string& path);
[[nodiscard]] Hdf5Id open_dataset(hid_t file, const std::string& name, const std::string& path);
[[nodiscard]] Hdf5Id create_space(const std::vector<hsize_t>& dims);
/// A variable-length UTF-8 string type.
[[nodiscard]] Hdf5Id string_type();
/// A link creation list with which missing groups are created.
[[nodiscard]] Hdf5Id link_creation();
/// The number of elements of a dataset.
[[nodiscard]] std::int64_t dataset_count(hid_t dataset);
/// Throws Hdf5Error, which begins with `label`, if the file can't hold so many elements of `bytes`
/// bytes each, packed or not. Callers check this before they allocate, because the count may be
/// damaged.
void require_room(hid_t file, std::int64_t count, std::int64_t bytes, const std::string& label);

/// An attribute is one value. Reading throws Hdf5Error if the file has another number of values.
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
