#include "app/stream/journal.hpp"

#include "th/base/error.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace th::app {

namespace {

using nlohmann::json;

constexpr int kVersion = 1;

std::string line_of(const JobIdentity& id) {
  return json{{"th_translate", kVersion},
              {"input", id.input},
              {"model", id.model},
              {"options", id.options}}
             .dump() +
         "\n";
}

std::string line_of(const JobProgress& p) {
  return json::array({p.lines, p.invalid, p.cut, p.input_hash, p.output_bytes, p.output_crc})
             .dump() +
         "\n";
}

JobProgress progress_of(const std::string& line) {
  const json v = json::parse(line);
  return {v.at(0).get<std::int64_t>(),  v.at(1).get<std::int64_t>(), v.at(2).get<std::int64_t>(),
          v.at(3).get<std::uint64_t>(), v.at(4).get<std::int64_t>(), v.at(5).get<std::uint32_t>()};
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

}  // namespace

Journal::Journal(const std::string& output, const JobIdentity& identity)
    : path_(output + ".journal"), file_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) throw DataError(path_ + ": can't be written: " + std::strerror(errno));
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw DeckError(output + ": another th_translate writes it (" + path_ +
                    " is locked); wait for its end, or name another file");
  read(identity);
  if (head_ > 0) return;
  cut(0);
  const std::string line = line_of(identity);
  append(line);
  head_ = std::ssize(line);
}

void Journal::read(const JobIdentity& identity) {
  const std::string text = all_of(file_.get(), path_);
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos;
       at = end + 1) {
    const std::string line = text.substr(at, end - at);
    try {
      if (at > 0) {
        records_.push_back({progress_of(line), static_cast<std::int64_t>(end) + 1});
        continue;
      }
      const json kept = json::parse(line);
      if (kept.at("th_translate").get<int>() != kVersion)
        throw DeckError(path_ + " is of another version of th_translate; remove it to begin anew");
      compare({kept.at("input").get<std::string>(), kept.at("model").get<std::string>(),
               kept.at("options").get<std::string>()},
              identity);
      head_ = static_cast<std::int64_t>(end) + 1;
    } catch (const json::exception&) {
      if (at == 0) throw DeckError(path_ + " is no journal of th_translate; move it away");
      return;  // what follows a damaged line is of no use
    }
  }
}

void Journal::compare(const JobIdentity& kept, const JobIdentity& asked) const {
  const auto same = [this](const char* what, const std::string& its, const std::string& ours) {
    if (its != ours)
      throw DeckError(path_ + " is of another job, by its " + what + ": " + its + "; this one's: " +
                      ours + "; remove the journal to begin anew, or name another output");
  };
  same("input", kept.input, asked.input);
  same("model", kept.model, asked.model);
  same("options", kept.options, asked.options);
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

void Journal::append(const std::string& line) {
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t put = ::write(file_.get(), rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw DataError(path_ + ": can't be written: " + std::strerror(errno));
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
}

void Journal::add(const JobProgress& progress) { append(line_of(progress)); }

void Journal::remove() { ::unlink(path_.c_str()); }

}  // namespace th::app
