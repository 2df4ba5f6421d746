#include "th/monitor/tensorboard.hpp"

#include <unistd.h>

#include <bit>
#include <chrono>
#include <filesystem>
#include <span>
#include <system_error>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/runtime/memory/resource_usage.hpp"

namespace th::monitor {
namespace {

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

template <typename T>
void put_little_endian(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out += static_cast<char>(static_cast<unsigned char>(value | 0x80));
  out += static_cast<char>(value);
}

// Wire types of protobuf: 0 varint, 1 64 bits, 2 bytes with a length, 5 32 bits.
void put_key(std::string& out, unsigned field, unsigned wire) {
  put_varint(out, (field << 3) | wire);
}

void put_bytes(std::string& out, unsigned field, const std::string& bytes) {
  put_key(out, field, 2);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event_at(double time) {  // Event.wall_time = 1
  std::string event;
  put_key(event, 1, 1);
  put_little_endian(event, std::bit_cast<std::uint64_t>(time));
  return event;
}

std::uint32_t masked_crc(const std::string& bytes) {
  const std::uint32_t crc = th::crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

}  // namespace

TensorboardWriter::TensorboardWriter(const std::string& folder, std::int64_t first_step) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  const double time = wall_time();
  path_ = folder + "/events.out.tfevents." + std::to_string(static_cast<std::int64_t>(time)) + "." +
          runtime::hostname() + "." + std::to_string(getpid());
  file_.open(path_, std::ios::binary | std::ios::app);
  if (!file_)
    throw DeckError("monitor: cannot open the TensorBoard file " + path_ + " for writing");
  std::string event = event_at(time);
  put_bytes(event, 3, "brain.Event:2");  // Event.file_version = 3
  record(event);
  if (first_step > 1) {
    event = event_at(time);
    put_key(event, 2, 0);  // Event.step = 2
    put_varint(event, static_cast<std::uint64_t>(first_step));
    // Event.session_log = 7: SessionLog.status = 1 is START.
    put_bytes(event, 7, std::string("\x08\x01"));
    record(event);
  }
  flush();
}

void TensorboardWriter::scalar(const std::string& tag, double value, std::int64_t step) {
  std::string point;  // Summary.Value: tag = 1, simple_value = 2
  put_bytes(point, 1, tag);
  put_key(point, 2, 5);
  put_little_endian(point, std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  summary(point, step);
}

void TensorboardWriter::text(const std::string& tag, const std::string& text, std::int64_t step) {
  constexpr std::uint64_t kStringType = 7;  // DT_STRING
  std::string dimension, shape, tensor, plugin, metadata, value;
  put_key(dimension, 1, 0);  // TensorShapeProto.Dim.size = 1
  put_varint(dimension, 1);
  put_bytes(shape, 2, dimension);  // TensorShapeProto.dim = 2
  put_key(tensor, 1, 0);           // TensorProto: dtype = 1, tensor_shape = 2, string_val = 8
  put_varint(tensor, kStringType);
  put_bytes(tensor, 2, shape);
  put_bytes(tensor, 8, text);
  put_bytes(plugin, 1, "text");    // SummaryMetadata.PluginData.plugin_name = 1
  put_bytes(metadata, 1, plugin);  // SummaryMetadata.plugin_data = 1
  put_bytes(value, 1, tag);        // Summary.Value: tag = 1, tensor = 8, metadata = 9
  put_bytes(value, 8, tensor);
  put_bytes(value, 9, metadata);
  summary(value, step);
}

void TensorboardWriter::summary(const std::string& value, std::int64_t step) {
  std::string all;
  put_bytes(all, 1, value);  // Summary.value = 1
  std::string event = event_at(wall_time());
  put_key(event, 2, 0);  // Event.step = 2
  put_varint(event, static_cast<std::uint64_t>(step));
  put_bytes(event, 5, all);  // Event.summary = 5
  record(event);
}

void TensorboardWriter::record(const std::string& event) {
  std::string out;
  put_little_endian(out, static_cast<std::uint64_t>(event.size()));
  put_little_endian(out, masked_crc(out));
  out += event;
  put_little_endian(out, masked_crc(event));
  file_.write(out.data(), static_cast<std::streamsize>(out.size()));
  if (!file_)
    throw DeckError("monitor: cannot write the TensorBoard file " + path_ + ": is the disk full?");
}

void TensorboardWriter::flush() {
  if (!file_.flush())
    throw DeckError("monitor: cannot write the TensorBoard file " + path_ + ": is the disk full?");
}

}  // namespace th::monitor
