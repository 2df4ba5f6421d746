#include "app/translate/job.hpp"

#include "app/deal/deal.hpp"
#include "app/deal/ranks.hpp"
#include "app/deal/threads.hpp"
#include "app/deal/together.hpp"
#include "app/translate/decoding_options.hpp"
#include "app/translate/identity.hpp"
#include "app/translate/prepared_job.hpp"
#include "th/base/error.hpp"
#include "th/runtime/observe/signals.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/agreement.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <iostream>
#include <optional>

namespace th::app {

namespace {

void say(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) std::cerr << "th_translate: " + note + "\n";
}

void set_threads(std::int64_t count) { at::set_num_threads(static_cast<int>(count)); }

/// The two ends of a job, on the rank that reads and writes.
struct Ends {
  Ends(const Request& request, const PreparedJob& job, std::int64_t ranks,
       const std::optional<JobIdentity>& identity)
      : writer({request.output, identity, request.anew, job.cut_to(), plain_bytes(request.input),
                [best = job.best()](std::int64_t fewer, std::int64_t sentences) {
                  return fewer_hypotheses(fewer, sentences, best);
                }}),
        reader({request.input, request.score ? request.target : request.decoding.prefix,
                sentences_of_batch(request), 2 * ranks + 2, writer.progress().lines,
                writer.progress().input_hash}) {}

  /// About; of --batch-tokens by sentences of 16 tokens.
  [[nodiscard]] static std::int64_t sentences_of_batch(const Request& request) {
    return request.batch_tokens == 0
               ? request.batch
               : std::clamp<std::int64_t>(request.batch_tokens / 16, 64, 1 << 16);
  }

  ChunkWriter writer;
  ChunkReader reader;
};

int finish(JobEnd end, ChunkWriter& writer, bool journal) {
  if (end == JobEnd::kClosed) return static_cast<int>(ExitCode::kCompleted);
  const int code = writer.finish(end == JobEnd::kStopped);
  if (end == JobEnd::kDone || journal) return code;
  const int signal = runtime::StopSignals::stop_requested();
  writer.tell("stopped by " +
              (signal != 0 ? runtime::StopSignals::name(signal) : "a signal to another rank") +
              " behind line " + std::to_string(writer.progress().lines));
  return 128 + (signal != 0 ? signal : SIGTERM);
}

/// Calls run(reader, writer) where the job is not done yet; the job's exit code.
template <typename Run>
int run_with_ends(const Request& request, const PreparedJob& job, std::int64_t ranks,
                  const Run& run) {
  const std::optional<JobIdentity> identity =
      identity_of(request, job.model_identity(), job.arithmetic());
  if (identity && !request.anew) {
    if (const auto finished = finished_before(request.output, *identity)) {
      say({request.output + " is complete: this job wrote its " + std::to_string(finished->lines) +
           " lines before, and nothing is to be done; --anew translates them again"});
      return told_invalid_lines(*finished);
    }
    if (!identity->streams) require_free(request.output);
  }
  Ends ends(request, job, ranks, identity);
  const JobEnd end = run(ends.reader, ends.writer);
  return finish(end, ends.writer, keeps_journal(request.output));
}

/// All that is refused before anything is loaded.
void check_files(const Request& request) {
  for (const std::string& path : {request.input, request.target, request.decoding.prefix})
    require_readable(path);
  require_other_file(request.output, request.input);
  require_other_file(request.output, request.target);
  require_other_file(request.output, request.decoding.prefix);
  require_other_file(request.output, request.shortlist);
  if (request.score) require_same_line_count(request.input, request.target);
  const std::string& prefix = request.decoding.prefix;
  if (!prefix.empty()) require_same_line_count(request.input, prefix);
}

/// The ranks of a job whose parameters are sharded over them.
int run_together(const Request& request, const runtime::Communicator& world, PreparedJob& job,
                 runtime::Collectives& collectives) {
  job.load_sharded(collectives);
  if (world.rank() != 0) return follow_rank_0(world, job.work());
  say(job.notes());
  say({"the parameters are sharded over " + std::to_string(world.size()) +
       " ranks, which decode in lock step"});
  int code = static_cast<int>(ExitCode::kDiffers);
  bool working = false;  // with the others
  try {
    const ChunkWork watched = [&, work = job.work()](const Chunk& chunk, const Stop& stop) {
      working = true;
      std::optional<ChunkResult> result = work(chunk, stop);
      working = false;
      return result;
    };
    code = run_with_ends(request, job, world.size(), [&](ChunkReader& reader, ChunkWriter& writer) {
      return lead_ranks(world, reader, watched, writer);
    });
  } catch (const Error& error) {
    if (working && !is_everywhere(error)) throw;  // the others wait for this rank
    code = static_cast<int>(error.exit_code());
    std::cerr << "th_translate: " << error.what() << "\n";
  }
  end_ranks(world, code);
  return code;
}

}  // namespace

int run_alone(const Request& request) {
  check_files(request);
  set_threads(request.threads > 0 ? request.threads : own_cores());
  PreparedJob job(request);
  job.check_prefixes(request);
  say(job.notes());
  if (request.sharded == config::Sharded::kOn)
    say({"warning: --sharded on has no effect: one process has all parameters"});
  return run_with_ends(request, job, 1, [&](ChunkReader& reader, ChunkWriter& writer) {
    return translate_alone(reader, job.work(), writer);
  });
}

int run_on_ranks(const Request& request, const runtime::Communicator& world,
                 const runtime::Communicator& node) {
  const bool first = world.rank() == 0;
  auto collectives = runtime::make_mpi_collectives(world.get());
  const auto on_all = [&](const std::function<void()>& work) {
    train::run_agreed(collectives->control(), work, kLessMemory);
  };
  on_all([&] {
    if (first) check_files(request);
  });
  const std::int64_t cores = cores_of_rank(node);
  set_threads(request.threads > 0 ? request.threads : cores);
  std::optional<PreparedJob> job;
  const bool may_shard = request.sharded != config::Sharded::kOff && can_be_sharded(request);
  on_all([&] {
    using Parameters = PreparedJob::Parameters;
    job.emplace(request, may_shard ? Parameters::kLater : Parameters::kRead);
    if (first) job->check_prefixes(request);
  });
  if (may_shard) {
    if (request.sharded == config::Sharded::kOn || job->model().is_too_large(*collectives))
      return run_together(request, world, *job, *collectives);
    on_all([&] { job->load(); });
  }
  collectives.reset();  // an error of one rank alone must not wait for the others on its way
  if (!first) return work_for_rank_0(world, job->work());
  say(job->notes());
  int code = static_cast<int>(ExitCode::kDiffers);
  try {
    code =
        run_with_ends(request, *job, world.size(), [&](ChunkReader& reader, ChunkWriter& writer) {
          return deal_chunks(world, reader, job->work(), writer);
        });
  } catch (const Error& error) {
    code = static_cast<int>(error.exit_code());
    std::cerr << "th_translate: " << error.what() << "\n";
  }
  end_ranks(world, code);
  return code;
}

}  // namespace th::app
