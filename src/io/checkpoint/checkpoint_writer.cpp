#include "th/io/checkpoint/checkpoint_writer.hpp"

#include <algorithm>
#include <limits>

#include "io/file_seal.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/failure_point.hpp"
#include "th/io/hdf5.hpp"

namespace th::io {
namespace {

using Dims = std::vector<hsize_t>;

/// Where a piece lies in its shard file.
struct Source {
  zero::FlatLayout::Piece piece;
  std::int64_t rank = 0;
  std::int64_t file_offset = 0;
};

/// Maps elements [begin, begin + count) below `axis` as boxes of the tensor, in row-major order.
class BoxMapper {
 public:
  BoxMapper(hid_t list, Dims dims, std::string file, std::string dataset, std::int64_t file_total)
      : list_(list),
        dims_(std::move(dims)),
        file_(std::move(file)),
        dataset_(std::move(dataset)),
        source_(create_space({static_cast<hsize_t>(file_total)})),
        target_(create_space(dims_)) {}

  void map(hsize_t begin, hsize_t count, hsize_t file_offset) {
    offset_ = file_offset;
    std::vector<hsize_t> start(dims_.size(), 0);
    descend(0, start, begin, count);
  }

 private:
  void descend(std::size_t axis, Dims start, hsize_t begin, hsize_t count) {
    hsize_t row = 1;
    for (std::size_t i = axis + 1; i < dims_.size(); ++i) row *= dims_[i];
    if (axis + 1 < dims_.size() && begin % row != 0) {
      const hsize_t head = std::min(count, row - begin % row);
      start[axis] = begin / row;
      descend(axis + 1, start, begin % row, head);
      begin += head;
      count -= head;
    }
    if (const hsize_t whole = count / row; whole > 0) {
      start[axis] = begin / row;
      for (std::size_t i = axis + 1; i < dims_.size(); ++i) start[i] = 0;
      Dims extent(dims_);
      for (std::size_t i = 0; i < axis; ++i) extent[i] = 1;
      extent[axis] = whole;
      emit(start, extent, whole * row);
      begin += whole * row;
      count -= whole * row;
    }
    if (count > 0) {
      start[axis] = begin / row;
      descend(axis + 1, start, 0, count);
    }
  }

  void emit(const Dims& start, const Dims& extent, hsize_t count) {
    check_hdf5(H5Sselect_hyperslab(target_.get(), H5S_SELECT_SET, start.data(), nullptr,
                                   extent.data(), nullptr),
               "H5Sselect_hyperslab");
    check_hdf5(
        H5Sselect_hyperslab(source_.get(), H5S_SELECT_SET, &offset_, nullptr, &count, nullptr),
        "H5Sselect_hyperslab");
    check_hdf5(H5Pset_virtual(list_, target_.get(), file_.c_str(), dataset_.c_str(), source_.get()),
               "H5Pset_virtual");
    offset_ += count;
  }

  hid_t list_;
  Dims dims_;
  std::string file_, dataset_;
  Hdf5Id source_, target_;
  hsize_t offset_ = 0;
};

void write_view(hid_t file, const std::string& path, const model::TensorSpec& spec,
                const std::vector<Source>& sources, const std::string& dataset,
                const std::vector<std::int64_t>& totals) {
  Dims dims(spec.shape.begin(), spec.shape.end());
  if (dims.empty()) dims.push_back(1);
  const Hdf5Id list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  const float fill = std::numeric_limits<float>::quiet_NaN();
  check_hdf5(H5Pset_fill_value(list.get(), H5T_NATIVE_FLOAT, &fill), "H5Pset_fill_value");
  for (const auto& source : sources) {
    BoxMapper mapper(list.get(), dims, shard_name(source.rank), dataset,
                     totals[static_cast<std::size_t>(source.rank)]);
    mapper.map(static_cast<hsize_t>(source.piece.tensor_begin),
               static_cast<hsize_t>(source.piece.count), static_cast<hsize_t>(source.file_offset));
  }
  const Hdf5Id space = create_space(dims);
  const Hdf5Id links = link_creation();
  const Hdf5Id view(H5Dcreate2(file, path.c_str(), H5T_IEEE_F32LE, space.get(), links.get(),
                               list.get(), H5P_DEFAULT),
                    H5Dclose, "creating virtual dataset " + path);
}

void write_attributes(hid_t file, const CheckpointInfo& info) {
  const bool models = !info.source_model.empty() || !info.target_model.empty();
  write_attribute(file, "format_version", models ? kModelFormatVersion : kFormatVersion);
  write_attribute(file, "step", info.step);
  write_attribute(file, "epoch", info.epoch);
  write_attribute(file, "world_size", info.world_size);
  write_attribute(file, "zero_stage", info.zero_stage);
  write_attribute(file, "deck", info.deck);
  write_attribute(file, "build", info.build);
  write_attribute(file, "identity", info.identity);
  if (!info.run.empty()) write_attribute(file, "run", info.run);
  write_attribute(file, "state", info.state_json);
  const std::string layout = layout_to_json(info);
  write_attribute(file, "layout", layout);
  write_attribute(file, "crc32c", std::int64_t{covered_crc(info, layout)});
}

void write_vocabularies(hid_t file, const CheckpointInfo& info) {
  write_strings(file, "vocabulary/source", info.source_tokens);
  write_strings(file, "vocabulary/target", info.target_tokens);
  if (info.source_model.empty() && info.target_model.empty()) return;
  write_bytes(file, "vocabulary/source_model", info.source_model);
  if (info.target_model != info.source_model)
    return write_bytes(file, "vocabulary/target_model", info.target_model);
  const Hdf5Id links = link_creation();
  check_hdf5(H5Lcreate_hard(file, "vocabulary/source_model", file, "vocabulary/target_model",
                            links.get(), H5P_DEFAULT),
             "linking vocabulary/target_model to vocabulary/source_model");
}

void write_views(hid_t file, const zero::FlatLayout& layout, const CheckpointInfo& info) {
  std::vector<std::vector<Source>> sources(layout.tensors().size());
  std::vector<std::int64_t> totals;
  for (std::int64_t rank = 0; rank < layout.ranks(); ++rank) {
    std::int64_t offset = 0;
    for (const auto& piece : layout.pieces(rank)) {
      sources[static_cast<std::size_t>(piece.tensor)].push_back({piece, rank, offset});
      offset += piece.count;
    }
    totals.push_back(offset);
  }
  std::vector<std::string> kinds = {"parameters"};
  kinds.insert(kinds.end(), info.state_names.begin(), info.state_names.end());
  for (const auto& kind : kinds) {
    FailurePoint::pass("writing the views of a state");
    const std::string group = dataset_path(kind);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const auto& spec = layout.tensors()[i].spec;
      write_view(file, group + "/" + spec.name, spec, sources[i], group, totals);
    }
    const Hdf5Id links = link_creation();
    for (const auto& alias : info.aliases) {
      check_hdf5(H5Lcreate_hard(file, (group + "/" + alias.tensor).c_str(), file,
                                (group + "/" + alias.alias).c_str(), links.get(), H5P_DEFAULT),
                 "linking " + alias.alias + " to " + alias.tensor);
    }
  }
}

}  // namespace

void write_model_file(const std::string& folder, const zero::FlatLayout& layout,
                      const CheckpointInfo& info) {
  ensure(layout.ranks() == info.world_size,
         "write_model_file: the layout's rank count is not info.world_size");
  ensure(layout.alignment() == info.alignment && info.format_version >= kFormatVersion,
         "write_model_file: info is of an older format");
  const std::string path = folder + "/model.h5";
  FailurePoint::pass("creating model.h5");
  require_creatable(path);
  {
    const Hdf5Lock lock;
    Hdf5Id file = create_file(path, kSealBytes);
    FailurePoint::pass("writing the attributes of model.h5");
    write_attributes(file.get(), info);
    FailurePoint::pass("writing the vocabularies");
    write_vocabularies(file.get(), info);
    write_views(file.get(), layout, info);
    FailurePoint::pass("closing model.h5");
    file.close("closing " + path);
  }
  FailurePoint::pass("sealing model.h5");
  seal_file(path);
  FailurePoint::pass("fsync of model.h5");
  sync_path(path);
  FailurePoint::pass("model.h5 is on disk");
}

}  // namespace th::io
