#include "app/stream/journal.hpp"

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace th::app {

namespace {

using nlohmann::json;

constexpr int kVersion = 1;

std::string line_of(const JobIdentity& id) {
  return json{{"th_translate", kVersion},
              {"input", id.input},
              {"model", id.model},
              {"options", id.options},
              {"arithmetic", id.arithmetic}}
             .dump() +
         "\n";
}

std::string line_of(const JobProgress& p) {
  return json::array({p.lines, p.invalid, p.cut, p.input_hash, p.output_bytes, p.output_crc})
             .dump() +
         "\n";
}

JobProgress progress_of(const std::string& line) {
  const json v = parse_json(line);
  const auto count = [&](std::size_t place) {
    return json_integer(json_unsigned(v.at(place)));  // neither negative nor beyond 63 bits
  };
  return {count(0), count(1),
          count(2), json_unsigned(v.at(3)),
          count(4), static_cast<std::uint32_t>(json_unsigned(v.at(5)))};
}

std::string all_of(int file, const std::string& path) {
  std::string text;
  std::array<char, 65536> block{};
  while (true) {
    const ssize_t got = ::read(file, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw DataError(path + ": can't be read: " + std::strerror(errno));
    if (got == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(got));
  }
}

constexpr std::string_view kJournal = ".journal", kDone = ".done";

std::string journal_path(const std::string& output) { return output + std::string(kJournal); }
std::string done_path(const std::string& output) { return output + std::string(kDone); }

/// The bytes of F.done; empty where there is none.
std::string done_text(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file.get() < 0 ? "" : all_of(file.get(), path);
}

/// Whether a file's text begins with the line of a job, or with a part of one where a job was
/// killed.
bool is_ours(const std::string& text) {
  constexpr std::string_view kBegin = R"({"arithmetic":")";  // by line_of(): members are sorted
  return kBegin.starts_with(text.substr(0, kBegin.size()));
}

/// done_path(), where nothing is there or the record of a job.
std::string own_done_path(const std::string& output) {
  std::string path = done_path(output);
  if (!is_ours(done_text(path)))
    throw DeckError(path + " is no record of th_translate, which writes one there; move it away");
  return path;
}

bool has_bytes(const OutputFile& output, const JobProgress& progress) {
  std::uint32_t crc = 0;
  return output.size() == progress.output_bytes && output.read_on(0, progress.output_bytes, crc) &&
         crc == progress.output_crc;
}

}  // namespace

bool is_record_name(const std::string& output) {
  return output.ends_with(kJournal) || output.ends_with(kDone);
}

void require_free(const std::string& output) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(output, none) ||
      std::filesystem::file_size(output, none) == 0 ||
      std::filesystem::exists(journal_path(output), none) ||
      std::filesystem::exists(done_path(output), none))
    return;
  throw DeckError(output +
                  " exists, and no record beside it says that th_translate wrote it; --anew writes "
                  "in its place, or name another output");
}

std::optional<JobProgress> finished_before(const std::string& output, const JobIdentity& identity) {
  const std::string text = done_text(done_path(output));
  const std::size_t end = text.find('\n');
  if (end == std::string::npos || ::access(journal_path(output).c_str(), F_OK) == 0 ||
      ::access(output.c_str(), F_OK) != 0)
    return std::nullopt;
  try {
    const json kept = parse_json(text.substr(0, end));
    const bool same = kept.at("th_translate") == kVersion && kept.at("input") == identity.input &&
                      kept.at("model") == identity.model && kept.at("options") == identity.options;
    if (!same) return std::nullopt;
    const JobProgress progress = progress_of(text.substr(end + 1));
    if (has_bytes(OutputFile(output), progress)) return progress;
    throw DeckError(output + " is not what " + done_path(output) +
                    " tells of: it was changed after this job had written it; --anew translates "
                    "again in its place, or name another output");
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

Journal::Journal(const std::string& output, const JobIdentity& identity, bool anew)
    : path_(journal_path(output)),
      done_(own_done_path(output)),
      job_(identity),
      file_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) throw DataError(path_ + ": can't be written: " + std::strerror(errno));
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw DeckError(output + ": another th_translate writes it (" + path_ +
                    " is locked); wait for its end, or name another file");
  if (!anew)
    read(identity);
  else if (!is_ours(all_of(file_.get(), path_)))
    throw DeckError(path_ + " is no journal of th_translate; move it away");
  if (head_ > 0) return;
  ::unlink(done_.c_str());
  cut(0);
  const std::string line = line_of(identity);
  append(file_, path_, line);
  head_ = std::ssize(line);
}

void Journal::read(const JobIdentity& identity) {
  const std::string text = all_of(file_.get(), path_);
  if (text.find('\n') == std::string::npos && !line_of(identity).starts_with(text))
    throw DeckError(path_ + " is no journal of th_translate; move it away");
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos;
       at = end + 1) {
    const std::string line = text.substr(at, end - at);
    try {
      if (at > 0) {
        records_.push_back({progress_of(line), static_cast<std::int64_t>(end) + 1});
        continue;
      }
      const json kept = parse_json(line);
      if (json_integer(kept.at("th_translate")) != kVersion)
        throw DeckError(path_ + " is of another version of th_translate; remove it to begin anew");
      compare({kept.at("input").get<std::string>(), kept.at("model").get<std::string>(),
               kept.at("options").get<std::string>(), kept.at("arithmetic").get<std::string>()},
              identity);
      head_ = static_cast<std::int64_t>(end) + 1;
    } catch (const json::exception&) {
      if (at == 0) throw DeckError(path_ + " is no journal of th_translate; move it away");
      return;  // what follows a damaged line is of no use
    }
  }
}

void Journal::compare(const JobIdentity& kept, const JobIdentity& asked) {
  const auto same = [this](const char* what, const std::string& its, const std::string& ours) {
    if (its != ours)
      throw DeckError(path_ + " is of another job, by its " + what + ": " + its + "; this one's: " +
                      ours + "; remove the journal to begin anew, or name another output");
  };
  same("input", kept.input, asked.input);
  same("model", kept.model, asked.model);
  same("options", kept.options, asked.options);
  if (kept.arithmetic != asked.arithmetic)
    warning_ = "the lines so far were made by " + kept.arithmetic + ", those to come by " +
               asked.arithmetic + ": bits of scores may differ";
}

JobProgress Journal::go_on(OutputFile& output) {
  JobProgress found;
  std::int64_t end = head_, known = 0;
  std::uint32_t crc = 0;
  for (const Record& record : records_) {
    if (record.progress.output_bytes < known) break;
    if (!output.read_on(known, record.progress.output_bytes, crc)) break;
    known = record.progress.output_bytes;
    if (crc != record.progress.output_crc) break;
    found = record.progress;
    end = record.end;
  }
  if (found.lines == 0 && !records_.empty() &&
      output.size() >= records_.front().progress.output_bytes &&
      records_.front().progress.output_bytes > 0)
    throw DeckError(output.name() + " is not what " + path_ +
                    " tells of; remove both to begin anew, or name another output");
  records_.clear();
  cut(end);
  output.go_on_at(found.output_bytes, found.output_crc);
  return found;
}

void Journal::cut(std::int64_t bytes) {
  if (::ftruncate(file_.get(), bytes) != 0 || ::lseek(file_.get(), bytes, SEEK_SET) < 0)
    throw DataError(path_ + ": can't be written: " + std::strerror(errno));
}

void Journal::append(const FileDescriptor& file, const std::string& path,
                     const std::string& lines) {
  for (std::string_view rest = lines; !rest.empty();) {
    const ssize_t put = ::write(file.get(), rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw DataError(path + ": can't be written: " + std::strerror(errno));
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
}

void Journal::add(const JobProgress& progress) { append(file_, path_, line_of(progress)); }

void Journal::finish(const JobProgress& progress) {
  if (!job_.streams) {
    const FileDescriptor done(
        ::open(done_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (done.get() < 0) throw DataError(done_ + ": can't be written: " + std::strerror(errno));
    append(done, done_, line_of(job_) + line_of(progress));
  }
  ::unlink(path_.c_str());
}

}  // namespace th::app
