#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/hdf5.hpp"

namespace th::io {

/// Throws CheckpointError, beginning with `label`, where a shard's dataset is not one row of so
/// many elements, or the file is too small for them.
inline void require_elements(hid_t file, hid_t dataset, std::int64_t expected,
                             const std::string& label) {
  const Hdf5Id space(H5Dget_space(dataset), H5Sclose, "H5Dget_space");
  if (const auto seen = dataset_count(dataset); seen != expected)
    throw CheckpointError(label + " has " + std::to_string(seen) + " elements instead of " +
                          std::to_string(expected));
  // Parts of it are read by one begin and one count.
  if (const int dimensions = H5Sget_simple_extent_ndims(space.get()); dimensions != 1)
    throw CheckpointError(label + " has " + std::to_string(dimensions) +
                          " dimensions instead of 1");
  require_room(file, expected, sizeof(std::uint16_t), label);
}

/// The shard files of one read, opened when first needed; a shard that is read from end to end has
/// its CRC checked on the way.
class CheckpointReader::Files {
 public:
  Files(const CheckpointReader& reader, std::string what)
      : reader_(reader), dataset_(dataset_path(what)) {}

  /// Throws where a rank's file can't be read from.
  void require(std::int64_t rank) { (void)opened(rank); }

  void read(std::int64_t rank, std::int64_t offset, std::span<float> out) {
    Open& open = opened(rank);
    const hsize_t start = static_cast<hsize_t>(offset);
    const hsize_t count = out.size();
    const Hdf5Id memory = create_space({count});
    const Hdf5Id space(H5Dget_space(open.dataset.get()), H5Sclose, "H5Dget_space");
    check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr),
               "H5Sselect_hyperslab");
    if (open.is_short)
      read_halves(open, offset, out);
    else
      check_hdf5(H5Dread(open.dataset.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(),
                         H5P_DEFAULT, out.data()),
                 "reading " + open.label);
    if (offset == open.next) {
      open.crc = crc32c(std::as_bytes(out), open.crc);
      open.next += static_cast<std::int64_t>(count);
      const bool whole = open.next == reader_.totals_[static_cast<std::size_t>(rank)];
      if (whole && std::int64_t{open.crc} != read_integer_attribute(open.dataset.get(), "crc32c")) {
        throw CheckpointError(open.label + ": the checksum is wrong; the file is damaged");
      }
    }
  }

 private:
  struct Open {
    Hdf5Id file, dataset;
    std::string label;
    bool is_short = false;  ///< bf16
    std::int64_t next = 0;
    std::uint32_t crc = 0;
  };

  /// bf16 by its bits, a few at a time: HDF5's own conversion takes many times as long.
  static void read_halves(const Open& open, std::int64_t offset, std::span<float> out) {
    const Hdf5Id bf16 = bf16_type();
    const Hdf5Id space(H5Dget_space(open.dataset.get()), H5Sclose, "H5Dget_space");
    std::array<std::uint16_t, 4096> halves{};
    for (std::size_t at = 0; at < out.size(); at += halves.size()) {
      const std::size_t n = std::min(halves.size(), out.size() - at);
      const hsize_t start = static_cast<hsize_t>(offset) + at, count = n;
      const Hdf5Id memory = create_space({count});
      check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr),
                 "H5Sselect_hyperslab");
      check_hdf5(H5Dread(open.dataset.get(), bf16.get(), memory.get(), space.get(), H5P_DEFAULT,
                         halves.data()),
                 "reading " + open.label);
      for (std::size_t i = 0; i < n; ++i)
        out[at + i] = std::bit_cast<float>(static_cast<std::uint32_t>(halves[i]) << 16U);
    }
  }

  Open& opened(std::int64_t rank) {
    const auto it = open_.find(rank);
    return it != open_.end() ? it->second : open_.emplace(rank, open(rank)).first->second;
  }

  Open open(std::int64_t rank) {
    const std::string path = reader_.folder_ + "/" + shard_name(rank);
    if (!std::filesystem::exists(path)) throw CheckpointError("the shard " + path + " is missing");
    Open result;
    result.file = open_file(path);
    reader_.require_place(result.file.get(), rank);
    result.dataset = open_dataset(result.file.get(), dataset_, path);
    result.label = path + ":" + dataset_;
    const Hdf5Id type(H5Dget_type(result.dataset.get()), H5Tclose, "H5Dget_type");
    result.is_short = H5Tget_size(type.get()) == 2;
    require_elements(result.file.get(), result.dataset.get(),
                     reader_.totals_[static_cast<std::size_t>(rank)], result.label);
    return result;
  }

  const CheckpointReader& reader_;
  std::string dataset_;
  std::map<std::int64_t, Open> open_;
};

}  // namespace th::io
