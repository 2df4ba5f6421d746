#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/hdf5.hpp"

namespace th::io {

/// The shard files of one read, opened when first needed; a shard that is read from end to end has
/// its CRC checked on the way.
class CheckpointReader::Files {
 public:
  Files(const CheckpointReader& reader, std::string what)
      : reader_(reader), dataset_(dataset_path(what)) {}

  void read(std::int64_t rank, std::int64_t offset, std::span<float> out) {
    auto it = open_.find(rank);
    if (it == open_.end()) it = open_.emplace(rank, open(rank)).first;
    Open& open = it->second;
    const hsize_t start = static_cast<hsize_t>(offset);
    const hsize_t count = out.size();
    const Hdf5Id memory = create_space({count});
    const Hdf5Id space(H5Dget_space(open.dataset.get()), H5Sclose, "H5Dget_space");
    check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr),
               "H5Sselect_hyperslab");
    check_hdf5(H5Dread(open.dataset.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), H5P_DEFAULT,
                       out.data()),
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
    std::int64_t next = 0;
    std::uint32_t crc = 0;
  };

  Open open(std::int64_t rank) {
    const std::string path = reader_.folder_ + "/" + shard_name(rank);
    if (!std::filesystem::exists(path)) throw CheckpointError("the shard " + path + " is missing");
    Open result;
    result.file = open_file(path);
    reader_.require_place(result.file.get(), rank);
    result.dataset = open_dataset(result.file.get(), dataset_, path);
    result.label = path + ":" + dataset_;
    const std::int64_t expected = reader_.totals_[static_cast<std::size_t>(rank)];
    if (const auto seen = dataset_count(result.dataset.get()); seen != expected) {
      throw CheckpointError(result.label + " has " + std::to_string(seen) +
                            " elements instead of " + std::to_string(expected));
    }
    return result;
  }

  const CheckpointReader& reader_;
  std::string dataset_;
  std::map<std::int64_t, Open> open_;
};

}  // namespace th::io
