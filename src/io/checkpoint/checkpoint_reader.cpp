#include "th/io/checkpoint/checkpoint_reader.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "io/checkpoint/shard_files.hpp"
#include "io/file_seal.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/shard_reader.hpp"
#include "th/io/hdf5.hpp"

namespace th::io {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kMostShards = 100'000;  // as many as shard_name() has numbers

std::string resolve_folder(const std::string& given, std::vector<std::string>& notes) {
  const std::string path = checkpoint_of_name_file(given);
  if (fs::exists(path + "/model.h5")) return path;
  const std::string below = fs::is_directory(path + "/checkpoints") ? path + "/checkpoints" : path;
  if (auto found = find_latest(below, notes)) return *found;
  std::string text = "no complete checkpoint at " + path;
  if (notes.empty()) throw NoCheckpointError(text);
  for (const auto& note : notes) text += "\n  " + note;
  throw CheckpointError(text);
}

CheckpointInfo read_info(const std::string& folder) {
  const Hdf5Lock lock;
  const std::string path = folder + "/model.h5";
  require_seal(path);
  const Hdf5Id file = open_file(path);
  CheckpointInfo info;
  info.format_version = read_integer_attribute(file.get(), "format_version");
  if (info.format_version > kModelFormatVersion) {
    throw NewerFormatError(path + " has format_version " + std::to_string(info.format_version) +
                           ", this program reads up to " + std::to_string(kModelFormatVersion) +
                           "; use a newer th_app");
  }
  info.step = read_integer_attribute(file.get(), "step");
  info.epoch = read_integer_attribute(file.get(), "epoch");
  info.world_size = read_integer_attribute(file.get(), "world_size");
  info.zero_stage = read_integer_attribute(file.get(), "zero_stage");
  info.deck = read_string_attribute(file.get(), "deck");
  info.build = read_string_attribute(file.get(), "build");
  info.identity = read_string_attribute(file.get(), "identity");
  if (H5Aexists(file.get(), "run") > 0) info.run = read_string_attribute(file.get(), "run");
  info.state_json = read_string_attribute(file.get(), "state");
  const std::string layout = read_string_attribute(file.get(), "layout");
  info.source_tokens = read_strings(file.get(), "vocabulary/source", path);
  info.target_tokens = read_strings(file.get(), "vocabulary/target", path);
  if (info.format_version >= kModelFormatVersion) {
    info.source_model = read_bytes(file.get(), "vocabulary/source_model", path);
    info.target_model = read_bytes(file.get(), "vocabulary/target_model", path);
  }
  if (read_integer_attribute(file.get(), "crc32c") != std::int64_t{covered_crc(info, layout)}) {
    throw CheckpointError(
        path +
        ": the checksum of deck, state, layout and vocabularies is wrong; the file is damaged");
  }
  if (info.world_size < 1 || info.world_size > kMostShards)
    throw CheckpointError(path + ": world_size is " + std::to_string(info.world_size));
  layout_from_json(layout, info);
  return info;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const auto size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace

CheckpointReader::CheckpointReader(const std::string& path)
    : folder_(resolve_folder(path, notes_)),
      info_(read_info(folder_)),
      layout_(info_.units, info_.world_size, info_.alignment) {
  for (std::size_t i = 0; i < layout_.tensors().size(); ++i)
    index_[layout_.tensors()[i].spec.name] = static_cast<std::int64_t>(i);
  for (const auto& alias : info_.aliases) {
    const auto it = index_.find(alias.tensor);
    if (it == index_.end())
      throw CheckpointError(folder_ + ": the alias " + alias.alias + " names no tensor");
    index_[alias.alias] = it->second;
  }
  runs_.resize(layout_.tensors().size());
  for (std::int64_t rank = 0; rank < layout_.ranks(); ++rank) {
    std::int64_t offset = 0;
    for (const auto& piece : layout_.pieces(rank)) {
      runs_[static_cast<std::size_t>(piece.tensor)].push_back(
          {piece.tensor_begin, piece.count, rank, offset});
      offset += piece.count;
    }
    totals_.push_back(offset);
  }
}

std::vector<std::string> CheckpointReader::kinds() const {
  std::vector<std::string> names = {"parameters"};
  names.insert(names.end(), info_.state_names.begin(), info_.state_names.end());
  return names;
}

std::int64_t CheckpointReader::tensor_index(const std::string& name) const {
  const auto it = index_.find(name);
  if (it == index_.end())
    throw CheckpointError(folder_ + " has no tensor " + name + "; th_inspect ls lists them");
  return it->second;
}

void CheckpointReader::read_range(Files& files, std::int64_t tensor, std::int64_t begin,
                                  std::span<float> out) const {
  const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
  for (const auto& run : runs_[static_cast<std::size_t>(tensor)]) {
    const std::int64_t from = std::max(begin, run.begin);
    const std::int64_t to = std::min(end, run.begin + run.count);
    if (from >= to) continue;
    files.read(
        run.rank, run.file_offset + from - run.begin,
        out.subspan(static_cast<std::size_t>(from - begin), static_cast<std::size_t>(to - from)));
  }
}

void CheckpointReader::read_shard(const zero::FlatLayout& layout, std::int64_t rank,
                                  const std::string& what, std::span<float> out) const {
  ensure(std::ssize(out) == layout.shard_total(),
         "read_shard: out does not have shard_total() elements");
  ShardReader shard(*this, layout, rank);
  for (std::int64_t unit = 0; unit < std::ssize(layout.units()); ++unit) {
    const auto& u = layout.units()[static_cast<std::size_t>(unit)];
    shard.read_unit(
        what, unit,
        out.subspan(static_cast<std::size_t>(u.shard_offset), static_cast<std::size_t>(u.shard)));
  }
}

std::vector<float> CheckpointReader::read_tensor(const std::string& what,
                                                 const std::string& name) const {
  const std::int64_t tensor = tensor_index(name);
  const Hdf5Lock lock;
  Files files(*this, what);
  // Before memory is asked for: the files' sizes bound what the layout says.
  for (const Run& run : runs_[static_cast<std::size_t>(tensor)]) files.require(run.rank);
  std::vector<float> values(
      static_cast<std::size_t>(layout_.tensors()[static_cast<std::size_t>(tensor)].count));
  read_range(files, tensor, 0, values);
  return values;
}

void CheckpointReader::read_elements(const std::string& what, const std::string& name,
                                     std::int64_t begin, std::span<float> out) const {
  const std::int64_t tensor = tensor_index(name);
  const Hdf5Lock lock;
  Files files(*this, what);
  read_range(files, tensor, begin, out);
}

void CheckpointReader::require_same_tensors(const zero::FlatLayout& layout) const {
  std::map<std::string, std::vector<std::int64_t>> wanted;
  std::string text;
  for (const auto& tensor : layout.tensors()) wanted[tensor.spec.name] = tensor.spec.shape;
  for (const auto& tensor : layout_.tensors()) {
    const auto it = wanted.find(tensor.spec.name);
    if (it == wanted.end()) {
      text += "\n  " + tensor.spec.name + ": in the checkpoint, not in the model";
      continue;
    }
    if (it->second != tensor.spec.shape) {
      text += "\n  " + tensor.spec.name + ": " + shape_text(tensor.spec.shape) +
              " in the checkpoint, " + shape_text(it->second) + " in the model";
    }
    wanted.erase(it);
  }
  for (const auto& [name, shape] : wanted)
    text += "\n  " + name + ": " + shape_text(shape) + " in the model, not in the checkpoint";
  if (!text.empty()) throw CheckpointError(folder_ + " is of another model:" + text);
}

void CheckpointReader::require_shard(std::int64_t rank) const {
  const std::string path = folder_ + "/" + shard_name(rank);
  if (!fs::exists(path)) throw CheckpointError("the shard " + path + " is missing");
  const Hdf5Id file = open_file(path);
  require_place(file.get(), rank);
  const auto expected = totals_[static_cast<std::size_t>(rank)];
  for (const auto& kind : kinds()) {
    const Hdf5Id dataset = open_dataset(file.get(), dataset_path(kind), path);
    require_elements(file.get(), dataset.get(), expected, path + ":" + dataset_path(kind));
  }
}

void CheckpointReader::require_place(std::int64_t file, std::int64_t rank) const {
  const std::int64_t seen = read_integer_attribute(file, "rank"),
                     of = read_integer_attribute(file, "world_size");
  if (seen == rank && of == info_.world_size) return;
  throw CheckpointError(folder_ + "/" + shard_name(rank) + " is shard " + std::to_string(seen) +
                        " of " + std::to_string(of) + " in place of " + std::to_string(rank) +
                        " of " + std::to_string(info_.world_size));
}

bool CheckpointReader::is_read_whole(const zero::FlatLayout& layout) const {
  if (layout.ranks() != 1 &&
      (layout.ranks() != layout_.ranks() || layout.alignment() != layout_.alignment()))
    return false;
  return std::equal(layout.tensors().begin(), layout.tensors().end(), layout_.tensors().begin(),
                    layout_.tensors().end(), [](const auto& a, const auto& b) {
                      return a.spec.name == b.spec.name && a.spec.shape == b.spec.shape &&
                             a.unit == b.unit;
                    });
}

void CheckpointReader::require_complete() const {
  const Hdf5Lock lock;
  for (std::int64_t rank = 0; rank < layout_.ranks(); ++rank) require_shard(rank);
}

void CheckpointReader::require_checksums(std::int64_t shard, const std::string& what,
                                         std::span<float> buffer) const {
  ensure(!buffer.empty(), "require_checksums: the buffer is empty");
  const Hdf5Lock lock;
  Files files(*this, what);
  const std::int64_t total = totals_.at(static_cast<std::size_t>(shard));
  for (std::int64_t done = 0; done < total;) {
    const auto size = std::min(total - done, std::ssize(buffer));
    files.read(shard, done, buffer.first(static_cast<std::size_t>(size)));
    done += size;
  }
}

void CheckpointReader::require_pieces(std::int64_t shard) const {
  const std::string path = folder_ + "/" + shard_name(shard);
  const Hdf5Id file = open_file(path);
  const Hdf5Id dataset = open_dataset(file.get(), "pieces", path);
  const std::int64_t numbers = dataset_count(dataset.get());
  require_room(file.get(), numbers, sizeof(std::int64_t), path + ":pieces");
  std::vector<std::int64_t> rows(static_cast<std::size_t>(numbers));
  if (!rows.empty())
    check_hdf5(H5Dread(dataset.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows.data()),
               "reading " + path + ":pieces");
  if (read_integer_attribute(dataset.get(), "crc32c") !=
      std::int64_t{crc32c(std::as_bytes(std::span(rows)))}) {
    throw CheckpointError(path + ":pieces: the checksum is wrong; the file is damaged");
  }
}

std::vector<std::string> CheckpointReader::verify() const {
  const Hdf5Lock lock;
  std::vector<std::string> problems;
  const auto check = [&](const auto& body) {
    try {
      body();
      return true;
    } catch (const CheckpointError& error) {
      problems.emplace_back(error.what());
      return false;
    }
  };
  std::vector<float> buffer(1 << 20);
  for (std::int64_t rank = 0; rank < layout_.ranks(); ++rank) {
    if (!check([&] { require_shard(rank); })) continue;
    check([&] { require_pieces(rank); });
    for (const auto& kind : kinds()) check([&] { require_checksums(rank, kind, buffer); });
  }
  if (problems.empty())
    compare_views(problems);  // a missing shard would be named again by each of its tensors
  return problems;
}

void CheckpointReader::compare_views(std::vector<std::string>& problems) const {
  const std::string path = folder_ + "/model.h5";
  const Hdf5Id file = open_file(path);
  for (const auto& kind : kinds()) {
    for (const auto& [name, index] : index_) {
      const std::string dataset = dataset_path(kind) + "/" + name;
      try {
        const std::vector<float> values = read_tensor(kind, name);
        std::vector<float> seen(values.size());
        const Hdf5Id view = open_dataset(file.get(), dataset, path);
        const bool fits = dataset_count(view.get()) == static_cast<std::int64_t>(values.size());
        if (fits)
          check_hdf5(
              H5Dread(view.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, seen.data()),
              "reading " + path + ":" + dataset);
        if (!fits || std::memcmp(seen.data(), values.data(), values.size() * sizeof(float)) != 0) {
          problems.push_back(path + ":" + dataset + " does not give what the shards hold");
        }
      } catch (const CheckpointError& error) {
        problems.emplace_back(error.what());
      }
    }
  }
}

}  // namespace th::io
