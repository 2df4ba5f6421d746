#include "app/stream/chunk.hpp"

#include "th/base/error.hpp"

#include <cstring>

namespace th::app {

namespace {

void add(std::string& bytes, std::int64_t value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void add(std::string& bytes, const std::string& text) {
  add(bytes, std::ssize(text));
  bytes += text;
}

/// Takes numbers and texts from the front of bytes.
class Unpacking {
 public:
  explicit Unpacking(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] std::int64_t number() {
    std::int64_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  [[nodiscard]] std::string text() {
    const std::int64_t size = number();
    ensure(size >= 0, "a message between ranks is damaged");
    return std::string(take(static_cast<std::size_t>(size)));
  }

 private:
  std::string_view take(std::size_t count) {
    ensure(count <= rest_.size(), "a message between ranks is cut off");
    const std::string_view front = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return front;
  }

  std::string_view rest_;
};

}  // namespace

std::string packed(const Chunk& chunk) {
  std::string bytes;
  add(bytes, chunk.number);
  add(bytes, chunk.first_line);
  add(bytes, std::ssize(chunk.lines));
  for (const InputLine& line : chunk.lines) {
    add(bytes, line.text);
    add(bytes, line.beside);
    add(bytes, line.fault);
  }
  return bytes;
}

std::string packed(const ChunkResult& result) {
  std::string bytes;
  add(bytes, result.number);
  add(bytes, result.text);
  add(bytes, std::ssize(result.cut));
  for (const std::int64_t line : result.cut) add(bytes, line);
  add(bytes, result.sentences);
  add(bytes, result.fewer);
  return bytes;
}

Chunk unpacked_chunk(std::string_view bytes) {
  Unpacking from(bytes);
  Chunk chunk;
  chunk.number = from.number();
  chunk.first_line = from.number();
  const std::int64_t lines = from.number();
  for (std::int64_t i = 0; i < lines; ++i) {
    InputLine line;
    line.text = from.text();
    line.beside = from.text();
    line.fault = from.text();
    chunk.lines.push_back(std::move(line));
  }
  return chunk;
}

ChunkResult unpacked_result(std::string_view bytes) {
  Unpacking from(bytes);
  ChunkResult result;
  result.number = from.number();
  result.text = from.text();
  const std::int64_t cut = from.number();
  for (std::int64_t i = 0; i < cut; ++i) result.cut.push_back(from.number());
  result.sentences = from.number();
  result.fewer = from.number();
  return result;
}

}  // namespace th::app
