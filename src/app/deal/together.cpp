#include "app/deal/together.hpp"

#include "app/deal/messages.hpp"
#include "app/stream/stop_requested.hpp"

#include <optional>
#include <string>
#include <utility>

namespace th::app {

bool is_everywhere(const Error& error) {
  return error.thrown() == Error::Thrown::kEverywhere || error.exit_code() == ExitCode::kData;
}

JobEnd lead_ranks(const runtime::Communicator& world, ChunkReader& reader, const ChunkWork& work,
                  ChunkWriter& writer) {
  Outbox outbox(world);
  while (true) {
    outbox.progress();
    bool stop = stop_requested();
    while (const std::optional<Message> message = receive(world))
      stop = stop || message->tag == Tag::kStopped;
    if (stop) return JobEnd::kStopped;
    const std::optional<Chunk> chunk = reader.take_if_there();
    if (!chunk) {
      if (reader.at_end()) return stop_requested() ? JobEnd::kStopped : JobEnd::kDone;
      nap();
      continue;
    }
    const std::string bytes = packed(*chunk);
    for (int rank = 1; rank < world.size(); ++rank) outbox.send(rank, Tag::kChunk, bytes);
    const std::optional<ChunkResult> result = work(*chunk, stop_requested);
    if (!result) return JobEnd::kStopped;
    try {
      writer.write(note_of(*chunk), *result);
    } catch (const OutputClosed&) {
      return JobEnd::kClosed;
    }
  }
}

int follow_rank_0(const runtime::Communicator& world, const ChunkWork& work) {
  Outbox outbox(world);
  bool told = false;  // of a signal that came here, which rank 0 may not know of
  while (true) {
    outbox.progress();
    if (stop_requested() && !std::exchange(told, true)) outbox.send(0, Tag::kStopped, "");
    const std::optional<Message> message = receive(world);
    if (!message) {
      nap();
      continue;
    }
    if (message->tag == Tag::kEnd) {
      outbox.send(0, Tag::kHeard, "");
      return std::stoi(message->bytes);
    }
    try {
      (void)work(unpacked_chunk(message->bytes), stop_requested);
    } catch (const Error& error) {
      if (!is_everywhere(error)) throw;  // else rank 0 has it too, and ends the job
    }
  }
}

}  // namespace th::app
