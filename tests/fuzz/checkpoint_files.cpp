#include "checkpoint_files.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <span>
#include <vector>

#include "io/file_seal.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/io/hdf5.hpp"

namespace th::fuzz {
namespace {

constexpr hsize_t kMostElements = 1 << 14;

/// An object as the text has it.
struct Object {
  char file = 'm', kind = 'i';
  std::string name, value;
  std::vector<hsize_t> dims;
};

std::int64_t number_of(const std::string& text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// "3x4"; empty: one value.
std::vector<hsize_t> dims_of(std::string_view text) {
  std::vector<hsize_t> dims;
  hsize_t all = 1;
  while (!text.empty() && dims.size() < 8) {
    const std::size_t end = std::min(text.find('x'), text.size());
    const auto extent = static_cast<hsize_t>(number_of(std::string(text.substr(0, end))));
    all *= dims.emplace_back(std::min(extent, kMostElements));
    if (all > kMostElements) dims.back() = all = 1;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return dims;
}

std::string_view word_of(std::string_view& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

std::vector<Object> objects_of(std::string_view text) {
  std::vector<Object> objects;
  while (text.size() > 4) {
    text.remove_prefix(std::min(text.find('\x1e'), text.size()));
    if (text.size() < 5) break;
    const std::size_t end = std::min(text.find('\x1e', 1), text.size());
    std::string_view one = text.substr(1, end - 1);
    text.remove_prefix(end);
    const std::size_t line = std::min(one.find('\n'), one.size());
    std::string_view head = one.substr(0, line);
    const std::string_view file = word_of(head), kind = word_of(head), name = word_of(head);
    if (file.size() != 1 || kind.size() != 1 || name.empty()) continue;
    objects.push_back({file[0], kind[0], std::string(name),
                       std::string(one.substr(std::min(line + 1, one.size()))), dims_of(head)});
  }
  return objects;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    lines.back().erase(std::remove(lines.back().begin(), lines.back().end(), '\0'),
                       lines.back().end());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

hsize_t count_of(const std::vector<hsize_t>& dims) {
  return std::accumulate(dims.begin(), dims.end(), hsize_t{1}, std::multiplies<>());
}

/// Attributes of `object` that hold one integer many times.
void write_integers(hid_t object, const Object& of, const std::string& name) {
  const io::Hdf5Id space = io::create_space(of.dims);
  const io::Hdf5Id attribute(
      H5Acreate2(object, name.c_str(), H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose, "attribute");
  const std::vector<std::int64_t> values(count_of(of.dims), number_of(of.value));
  io::check_hdf5(H5Awrite(attribute.get(), H5T_NATIVE_INT64, values.data()), "attribute");
}

void write_attribute_of(hid_t file, const Object& of) {
  const std::size_t at = of.name.find('@');
  if (at == std::string::npos) {
    if (of.kind == 'i')
      write_integers(file, of, of.name);
    else
      io::write_attribute(file, of.name, of.value.substr(0, of.value.find('\0')));
    return;
  }
  const io::Hdf5Id dataset = io::open_dataset(file, of.name.substr(0, at), "seed");
  const std::string name = of.name.substr(at + 1);
  if (H5Aexists(dataset.get(), name.c_str()) > 0) H5Adelete(dataset.get(), name.c_str());
  write_integers(dataset.get(), of, name);
}

template <class T>
void write_numbers(hid_t file, const Object& of, hid_t type, const std::vector<T>& values) {
  const io::Hdf5Id space = io::create_space(of.dims);
  const io::Hdf5Id links = io::link_creation();
  const io::Hdf5Id dataset(
      H5Dcreate2(file, of.name.c_str(), type, space.get(), links.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose, "dataset");
  io::check_hdf5(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
                 "dataset");
  io::write_attribute(dataset.get(), "crc32c",
                      std::int64_t{crc32c(std::as_bytes(std::span(values)))});
}

void write_object(hid_t file, const Object& of) {
  switch (of.kind) {
    case 'i':
    case 't':
      return write_attribute_of(file, of);
    case 'S':
      return io::write_strings(file, of.name, lines_of(of.value));
    case 'b':
      return io::write_bytes(file, of.name, of.value);
    case 'f': {
      std::vector<float> values(count_of(of.dims));
      std::iota(values.begin(), values.end(), 0.0F);
      return write_numbers(file, of, H5T_NATIVE_FLOAT, values);
    }
    case 'n': {
      const std::vector<std::int64_t> values(count_of(of.dims), number_of(of.value));
      return write_numbers(file, of, H5T_NATIVE_INT64, values);
    }
    default:
      return;
  }
}

/// What the checksum of model.h5 covers.
std::int64_t checksum_of(const std::vector<Object>& objects) {
  io::CheckpointInfo info;
  std::string layout;
  for (const Object& o : objects) {
    if (o.file != 'm') continue;
    const std::string text = o.value.substr(0, o.value.find('\0'));
    if (o.kind == 't' && o.name == "deck") info.deck = text;
    if (o.kind == 't' && o.name == "state") info.state_json = text;
    if (o.kind == 't' && o.name == "layout") layout = text;
    if (o.kind == 'S' && o.name == "vocabulary/source") info.source_tokens = lines_of(o.value);
    if (o.kind == 'S' && o.name == "vocabulary/target") info.target_tokens = lines_of(o.value);
    if (o.kind == 'b' && o.name == "vocabulary/source_model") info.source_model = o.value;
    if (o.kind == 'b' && o.name == "vocabulary/target_model") info.target_model = o.value;
  }
  return io::covered_crc(info, layout);
}

}  // namespace

void write_checkpoint_files(std::string_view text, const std::string& folder) {
  const std::vector<Object> objects = objects_of(text);
  const std::string model = folder + "/model.h5";
  {
    const io::Hdf5Lock lock;
    const io::Hdf5Id model_file = io::create_file(model, io::kSealBytes);
    const io::Hdf5Id shard = io::create_file(folder + "/" + io::shard_name(0));
    for (const Object& object : objects) {
      try {
        write_object(object.file == 'm' ? model_file.get() : shard.get(), object);
      } catch (const CheckpointError&) {  // HDF5 has no such object
      }
    }
    try {
      io::write_attribute(model_file.get(), "crc32c", checksum_of(objects));
    } catch (const CheckpointError&) {  // the text has one
    }
  }
  io::seal_file(model);
}

}  // namespace th::fuzz
