#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The unit in which a translation job is read, dealt to ranks, and written.
namespace th::app {

/// A line of the input.
struct InputLine {
  std::string text;
  std::string beside;  ///< the line of the file beside the input: a target, or a prefix
  std::string fault;   ///< why the line, or the one beside it, is no text; empty where it is
};

/// Consecutive lines. Where a chunk ends depends on the lines alone (and on pauses of a pipe), so
/// that batches, which are made within a chunk, are the same for every rank count.
struct Chunk {
  std::int64_t number = 0;       ///< of the chunk, from 0
  std::int64_t first_line = 0;   ///< lines of the input before it
  std::uint64_t input_hash = 0;  ///< of all lines up to its end
  std::int64_t input_bytes = 0;  ///< of all lines up to its end, line ends counted
  std::vector<InputLine> lines;
};

/// What a chunk's lines became.
struct ChunkResult {
  std::int64_t number = 0;
  std::string text;               ///< lines of the output
  std::vector<std::int64_t> cut;  ///< numbers, from 1, of the lines that were cut
  /// Why lines of text have an empty line of output.
  std::vector<std::string> faults;
  std::int64_t sentences = 0;  ///< that were decoded
  std::int64_t fewer = 0;      ///< of those, with fewer hypotheses than were asked for
  /// Without begin and end; of the targets all that were decoded, or scored.
  std::int64_t source_tokens = 0, target_tokens = 0;
};

/// Whether the work has to be given up.
using Stop = std::function<bool()>;
/// Translates a chunk, or scores it; empty where it was given up.
using ChunkWork = std::function<std::optional<ChunkResult>(const Chunk&, const Stop&)>;

/// As bytes, for another rank of the same build; hash and bytes of the input stay behind.
[[nodiscard]] std::string packed(const Chunk& chunk);
[[nodiscard]] std::string packed(const ChunkResult& result);
/// The inverse. Throws InternalError for bytes that are none.
[[nodiscard]] Chunk unpacked_chunk(std::string_view bytes);
[[nodiscard]] ChunkResult unpacked_result(std::string_view bytes);

}  // namespace th::app
