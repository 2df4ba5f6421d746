#include "app/stream/chunk.hpp"

#include "app/stream/byte_stream.hpp"

namespace th::app {

std::string packed(const Chunk& chunk) {
  std::string bytes;
  put(bytes, chunk.number);
  put(bytes, chunk.first_line);
  put(bytes, std::int64_t{std::ssize(chunk.lines)});
  for (const InputLine& line : chunk.lines) {
    put(bytes, line.text);
    put(bytes, line.beside);
    put(bytes, line.fault);
  }
  return bytes;
}

std::string packed(const ChunkResult& result) {
  std::string bytes;
  put(bytes, result.number);
  put(bytes, result.text);
  put(bytes, std::int64_t{std::ssize(result.cut)});
  for (const std::int64_t line : result.cut) put(bytes, line);
  put(bytes, std::int64_t{std::ssize(result.faults)});
  for (const std::string& fault : result.faults) put(bytes, fault);
  put(bytes, result.sentences);
  put(bytes, result.fewer);
  put(bytes, result.source_tokens);
  put(bytes, result.target_tokens);
  return bytes;
}

Chunk unpacked_chunk(std::string_view bytes) {
  Unpacking from(bytes);
  Chunk chunk;
  chunk.number = from.number<std::int64_t>();
  chunk.first_line = from.number<std::int64_t>();
  const auto lines = from.number<std::int64_t>();
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
  result.number = from.number<std::int64_t>();
  result.text = from.text();
  const auto cut = from.number<std::int64_t>();
  for (std::int64_t i = 0; i < cut; ++i) result.cut.push_back(from.number<std::int64_t>());
  const auto faults = from.number<std::int64_t>();
  for (std::int64_t i = 0; i < faults; ++i) result.faults.push_back(from.text());
  result.sentences = from.number<std::int64_t>();
  result.fewer = from.number<std::int64_t>();
  result.source_tokens = from.number<std::int64_t>();
  result.target_tokens = from.number<std::int64_t>();
  return result;
}

}  // namespace th::app
