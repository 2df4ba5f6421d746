#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/base/hash.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_writer.hpp"
#include "th/io/failure_point.hpp"
#include "th/io/hdf5.hpp"

namespace th::io {
namespace {

constexpr std::int64_t kBytesAhead = 32 << 20;  // written before the disk is asked to begin

/// A contiguous dataset that has its place in the file at once and is never filled: its data are
/// written straight from the caller's memory.
Hdf5Id create_data(hid_t file, const std::string& name, std::int64_t count, bool is_short) {
  const Hdf5Id bf16 = bf16_type();
  const Hdf5Id space = create_space({static_cast<hsize_t>(count)});
  const Hdf5Id links = link_creation();
  const Hdf5Id creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time");
  check_hdf5(H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time");
  return {H5Dcreate2(file, name.c_str(), is_short ? bf16.get() : H5T_IEEE_F32LE, space.get(),
                     links.get(), creation.get(), H5P_DEFAULT),
          H5Dclose, "creating dataset " + name};
}

/// Writes elements of the dataset from `offset` on; bf16 by the upper halves, a few at a time.
/// Throws InternalError for a value that bf16 does not hold: the checksum is of the values given.
void write_elements(hid_t dataset, hsize_t offset, std::span<const float> values, bool is_short,
                    const std::string& label) {
  const Hdf5Id space(H5Dget_space(dataset), H5Sclose, "H5Dget_space");
  const auto write = [&](hid_t type, hsize_t at, hsize_t size, const void* from) {
    const Hdf5Id memory = create_space({size});
    check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &at, nullptr, &size, nullptr),
               "H5Sselect_hyperslab");
    check_hdf5(H5Dwrite(dataset, type, memory.get(), space.get(), H5P_DEFAULT, from),
               "writing " + label);
  };
  if (!is_short) return write(H5T_NATIVE_FLOAT, offset, values.size(), values.data());
  const Hdf5Id bf16 = bf16_type();
  std::array<std::uint16_t, 4096> halves{};
  for (std::size_t at = 0; at < values.size(); at += halves.size()) {
    const std::size_t n = std::min(halves.size(), values.size() - at);
    std::uint32_t lost = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(values[at + i]);
      halves[i] = static_cast<std::uint16_t>(bits >> 16U);
      lost |= bits & 0xFFFFU;
    }
    ensure(lost == 0, "ShardWriter: a bf16 state has values that bf16 does not hold");
    write(bf16.get(), offset + at, n, halves.data());
  }
}

void write_pieces(hid_t file, const std::vector<zero::FlatLayout::Piece>& pieces) {
  std::vector<std::int64_t> rows;
  std::int64_t offset = 0;
  for (const auto& piece : pieces) {
    rows.insert(rows.end(), {piece.tensor, piece.tensor_begin, piece.count, offset});
    offset += piece.count;
  }
  const Hdf5Id space = create_space({pieces.size(), 4});
  const Hdf5Id dataset(
      H5Dcreate2(file, "pieces", H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose, "creating dataset pieces");
  write_attribute(dataset.get(), "columns",
                  std::string("tensor, tensor_begin, count, file_offset"));
  write_attribute(dataset.get(), "crc32c", std::int64_t{crc32c(std::as_bytes(std::span(rows)))});
  if (!rows.empty()) {
    check_hdf5(
        H5Dwrite(dataset.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows.data()),
        "writing dataset pieces");
  }
}

}  // namespace

struct ShardWriter::Shard {
  struct Data {
    std::string what;
    Hdf5Id dataset;
    bool is_short = false;
    std::int64_t next_unit = 0, next_piece = 0, offset = 0;
    std::uint32_t crc = 0;
  };

  Shard(std::string file_path, std::int64_t rank, const zero::FlatLayout& the_layout,
        const CheckpointInfo& info)
      : path(std::move(file_path)), layout(the_layout), pieces(layout.pieces(rank)) {
    FailurePoint::pass("creating the shard file");
    require_creatable(path);
    const Hdf5Lock lock;
    file = create_file(path);
    write_attribute(file.get(), "format_version", kFormatVersion);
    write_attribute(file.get(), "rank", rank);
    write_attribute(file.get(), "world_size", layout.ranks());
    const std::int64_t count = real_count(layout, rank);
    FailurePoint::pass("creating the datasets");
    data.push_back({"parameters", create_data(file.get(), "parameters", count, false)});
    for (const std::string& name : info.state_names) {
      const bool is_short = info.is_short(name);
      data.push_back(
          {name, create_data(file.get(), dataset_path(name), count, is_short), is_short});
    }
    FailurePoint::pass("writing the pieces");
    write_pieces(file.get(), pieces);
    descriptor = FileDescriptor(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    FailurePoint::pass("the file's frame is written");
  }

  ~Shard() {
    const Hdf5Lock lock;
    data.clear();
    const Hdf5Id last = std::move(file);
  }

  Data& find(const std::string& what) {
    const auto it =
        std::find_if(data.begin(), data.end(), [&](const Data& d) { return d.what == what; });
    ensure(it != data.end(), "ShardWriter: a state that was not announced");
    return *it;
  }

  std::string path;
  zero::FlatLayout layout;
  std::vector<zero::FlatLayout::Piece> pieces;
  Hdf5Id file;
  std::vector<Data> data;
  FileDescriptor descriptor;
  std::int64_t bytes_ahead = 0;
};

ShardWriter::ShardWriter(const std::string& folder, std::int64_t rank,
                         const zero::FlatLayout& layout, const CheckpointInfo& info)
    : shard_(std::make_unique<Shard>(folder + "/" + shard_name(rank), rank, layout, info)) {}

ShardWriter::~ShardWriter() = default;

void ShardWriter::write_unit(const std::string& what, std::int64_t unit,
                             std::span<const float> slice) {
  Shard& s = *shard_;
  Shard::Data& data = s.find(what);
  const zero::FlatLayout::Unit& u = s.layout.units().at(static_cast<std::size_t>(unit));
  ensure(data.next_unit == unit && std::ssize(slice) == u.shard,
         "ShardWriter: units come in order, each with its shard's elements");
  FailurePoint::pass("writing a unit");
  const Hdf5Lock lock;
  for (; data.next_piece < std::ssize(s.pieces); ++data.next_piece) {
    const auto& piece = s.pieces[static_cast<std::size_t>(data.next_piece)];
    if (s.layout.tensors()[static_cast<std::size_t>(piece.tensor)].unit != unit) break;
    const auto part = slice.subspan(static_cast<std::size_t>(piece.shard_offset - u.shard_offset),
                                    static_cast<std::size_t>(piece.count));
    data.crc = crc32c(std::as_bytes(part), data.crc);
    write_elements(data.dataset.get(), static_cast<hsize_t>(data.offset), part, data.is_short,
                   s.path + ":" + what);
    data.offset += piece.count;
    s.bytes_ahead +=
        piece.count * element_size(data.is_short ? ElementType::kBf16 : ElementType::kFp32);
  }
  ++data.next_unit;
  FailurePoint::pass("a unit is written");
  if (s.bytes_ahead < kBytesAhead || s.descriptor.get() < 0) return;
  s.bytes_ahead = 0;
  // A hint: finish() is what waits, and what reports an error.
  (void)sync_file_range(s.descriptor.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
}

void ShardWriter::finish() {
  Shard& s = *shard_;
  {
    const Hdf5Lock lock;
    for (Shard::Data& data : s.data) {
      ensure(data.next_unit == std::ssize(s.layout.units()),
             "ShardWriter: finish() before the last unit");
      FailurePoint::pass("writing a checksum");
      write_attribute(data.dataset.get(), "crc32c", std::int64_t{data.crc});
      data.dataset.close("closing " + s.path + ":" + data.what);
    }
    FailurePoint::pass("closing the shard file");
    s.file.close("closing " + s.path);
  }
  FailurePoint::pass("fsync of the shard file");
  sync_path(s.path);
  FailurePoint::pass("the shard file is on disk");
}

void write_shard(const std::string& folder, std::int64_t rank, const zero::FlatLayout& layout,
                 std::span<const float> parameters, const std::vector<NamedShard>& optimizer_states,
                 const std::vector<std::string>& short_states) {
  CheckpointInfo info;
  for (const auto& state : optimizer_states) info.state_names.push_back(state.first);
  info.short_states = short_states;
  std::vector<NamedShard> all = {{"parameters", parameters}};
  all.insert(all.end(), optimizer_states.begin(), optimizer_states.end());
  ShardWriter writer(folder, rank, layout, info);
  for (const auto& [what, values] : all) {
    ensure(std::ssize(values) == layout.shard_total(),
           "write_shard: a state does not have shard_total() elements");
    for (std::int64_t unit = 0; unit < std::ssize(layout.units()); ++unit) {
      const auto& u = layout.units()[static_cast<std::size_t>(unit)];
      writer.write_unit(what, unit,
                        values.subspan(static_cast<std::size_t>(u.shard_offset),
                                       static_cast<std::size_t>(u.shard)));
    }
  }
  writer.finish();
}

}  // namespace th::io
