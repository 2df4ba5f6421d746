#include "app/stream/chunk_writer.hpp"

#include "th/base/error.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>

namespace th::app {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kFaultsTold = 20;
constexpr std::size_t kCutNamed = 100;

/// "3, 17, 20".
std::string list_text(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const std::int64_t n : numbers) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return text;
}

}  // namespace

ChunkNote note_of(const Chunk& chunk) {
  ChunkNote note{std::ssize(chunk.lines), chunk.input_hash, chunk.input_bytes, {}};
  for (const InputLine& line : chunk.lines) {
    if (!line.fault.empty()) note.faults.push_back(line.fault);
  }
  return note;
}

int told_invalid_lines(const JobProgress& progress) {
  if (progress.invalid == 0) return static_cast<int>(ExitCode::kCompleted);
  std::cerr << "th_translate: error: " + std::to_string(progress.invalid) + " of " +
                   std::to_string(progress.lines) +
                   " lines are invalid, and empty lines stand for them\n"
            << std::flush;
  return static_cast<int>(ExitCode::kData);
}

ChunkWriter::ChunkWriter(const Plan& plan)
    : plan_(plan),
      journal_(plan.identity
                   ? std::optional<Journal>(std::in_place, plan.output, *plan.identity, plan.anew)
                   : std::nullopt),
      output_(plan.output),
      terminal_(true, stderr) {
  if (journal_)
    progress_ = journal_->go_on(output_);
  else if (!plan.output.empty())
    output_.go_on_at(0, 0);
  first_lines_ = progress_.lines;
  if (first_lines_ == 0) return;
  tell("goes on behind line " + std::to_string(first_lines_) + ", by " + journal_->path());
  if (!journal_->warning().empty()) tell("warning: " + journal_->warning());
}

void ChunkWriter::tell(const std::string& message) {
  terminal_.clear();
  std::cerr << "th_translate: " + message + "\n" << std::flush;
}

void ChunkWriter::tell_of(const std::vector<std::string>& faults) {
  for (const std::string& fault : faults) {
    if (++told_ <= kFaultsTold) tell("warning: " + fault + "; an empty line stands for it");
    if (told_ == kFaultsTold) tell("warning: further invalid lines are only counted");
  }
  progress_.invalid += std::ssize(faults);
}

void ChunkWriter::write(const ChunkNote& note, const ChunkResult& result) {
  tell_of(note.faults);
  tell_of(result.faults);
  output_.write(result.text);
  progress_.lines += note.lines;
  progress_.cut += std::ssize(result.cut);
  progress_.input_hash = note.input_hash;
  progress_.output_bytes = output_.bytes();
  progress_.output_crc = output_.crc();
  for (const std::int64_t line : result.cut) {
    if (cut_.size() < kCutNamed) cut_.push_back(line);
  }
  sentences_ += result.sentences;
  fewer_ += result.fewer;
  source_tokens_ += result.source_tokens;
  target_tokens_ += result.target_tokens;
  record(milliseconds(200));
  show_progress(note);
}

void ChunkWriter::record(Clock::duration at_least) {
  const Clock::time_point now = Clock::now();
  if (!journal_ || now - recorded_ < at_least) return;
  journal_->add(progress_);
  recorded_ = now;
}

std::string ChunkWriter::rate_text(const ChunkNote& note) const {
  const double time = std::chrono::duration<double>(Clock::now() - begun_).count();
  const double lines = static_cast<double>(progress_.lines - first_lines_);
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), "%lld lines, %.1f lines/s",
                static_cast<long long>(progress_.lines), lines / time);
  std::string all = text.data();
  if (plan_.input_bytes <= 0) return all;
  const double part =
      static_cast<double>(note.input_bytes) / static_cast<double>(plan_.input_bytes);
  std::snprintf(text.data(), text.size(), ", %.1f %%", 100 * part);
  return all + text.data();
}

void ChunkWriter::show_progress(const ChunkNote& note) {
  const Clock::time_point now = Clock::now();
  if (now - shown_ < (terminal_.active() ? Clock::duration(milliseconds(500)) : seconds(60)))
    return;
  shown_ = now;
  if (terminal_.active())
    terminal_.show(rate_text(note));
  else
    tell(rate_text(note));
}

int ChunkWriter::finish(bool stopped) {
  if (progress_.cut > 0) {
    const std::int64_t more = progress_.cut - std::ssize(cut_);
    tell("warning: " + std::to_string(progress_.cut) + " of " + std::to_string(progress_.lines) +
         " source lines were cut to " + plan_.cut_to + ", their end counted: line" +
         (progress_.cut > 1 ? "s " : " ") + list_text(cut_) +
         (more > 0 ? " and " + std::to_string(more) + " more" : ""));
  }
  if (const std::string text = plan_.fewer_text(fewer_, sentences_); !text.empty()) tell(text);
  if (stopped) {
    record(milliseconds(0));
    if (journal_)
      tell("stopped behind line " + std::to_string(progress_.lines) + "; " + journal_->path() +
           " is kept: start the same command again to go on");
    return static_cast<int>(ExitCode::kStopped);
  }
  if (journal_) {
    output_.sync();
    journal_->finish(progress_);
  }
  terminal_.clear();
  if (!plan_.output.empty()) tell(summary_text());
  return told_invalid_lines(progress_);
}

std::string ChunkWriter::summary_text() const {
  const double time = std::max(1e-9, std::chrono::duration<double>(Clock::now() - begun_).count());
  const std::int64_t lines = progress_.lines - first_lines_;
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(),
                "%lld lines, %lld source and %lld target tokens in %.1f s (%.1f lines/s, %.0f "
                "target tokens/s)",
                static_cast<long long>(lines), static_cast<long long>(source_tokens_),
                static_cast<long long>(target_tokens_), time, static_cast<double>(lines) / time,
                static_cast<double>(target_tokens_) / time);
  std::string all = plan_.output + " is complete: ";
  if (first_lines_ > 0) all += std::to_string(first_lines_) + " lines of before, and ";
  return all + text.data();
}

}  // namespace th::app
