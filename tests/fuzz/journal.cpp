#include "app/stream/journal.hpp"
#include "reader.hpp"
#include "th/base/hash.hpp"

#include <filesystem>

// F.journal and F.done of th_translate beside an output F.
namespace th::fuzz {
namespace {

using app::JobProgress;
using app::Journal;
using app::OutputFile;

constexpr std::string_view kOutput = "one\ntwo\nthree\nfour\n";

app::JobIdentity job() { return {"19 bytes, CRC-32C 1", "model", "beam 4", "avx2", false}; }

JobProgress progress(std::int64_t lines, std::size_t bytes) {
  const std::string_view written = kOutput.substr(0, bytes);
  return {lines,
          0,
          0,
          hash_text("input"),
          std::ssize(written),
          crc32c(std::as_bytes(std::span(written.data(), written.size())))};
}

std::vector<std::string> journal_seeds(const std::string& folder) {
  const std::string output = folder + "/seed";
  put_file(output, std::string(kOutput));
  std::vector<std::string> seeds = {"", "{\"arithmetic\":\"av"};
  {
    Journal journal(output, job(), true);
    seeds.push_back(get_file(journal.path()));
    journal.add(progress(1, 4));
    journal.add(progress(2, 8));
    seeds.push_back(get_file(journal.path()));
    journal.add(progress(4, kOutput.size()));
    seeds.push_back(get_file(journal.path()));
    journal.finish(progress(4, kOutput.size()));
  }
  seeds.push_back(get_file(output + ".done"));
  std::filesystem::remove(output + ".done");
  return seeds;
}

/// A job that was killed goes on.
void read_journal(const std::string& output, const std::string& input) {
  std::filesystem::remove(output + ".done");
  put_file(output, std::string(kOutput));
  put_file(output + ".journal", input);
  JobProgress first;
  {
    Journal journal(output, job(), false);
    OutputFile file(output);
    first = journal.go_on(file);
    must(first.lines >= 0 && first.invalid >= 0 && first.cut >= 0,
         "a job goes on before its begin");
    must(file.size() == first.output_bytes && file.size() <= std::ssize(kOutput),
         "the output is not cut where the journal says");
  }
  Journal again(output, job(), false);
  OutputFile file(output);
  const JobProgress second = again.go_on(file);
  must(second.lines == first.lines && second.output_bytes == first.output_bytes,
       "a journal that was read gives something else when it is read again");
}

void read_journals(const std::string& input, const std::string& folder) {
  const std::string output = folder + "/output";
  attempt<DeckError>([&] { read_journal(output, input); });
  std::filesystem::remove(output + ".journal");
  put_file(output, std::string(kOutput));
  put_file(output + ".done", input);
  attempt<DeckError>([&] { (void)app::finished_before(output, job()); });
  // The record of a job lies there, and another one begins.
  attempt<DeckError>([&] { const Journal journal(output, job(), true); });
}

}  // namespace

Reader journal_reader() {
  return {"journal",
          8192,
          {ExitCode::kDeck, ExitCode::kData},
          {"{\"arithmetic\":\"", "\"input\":", "\"th_translate\":1", "\"model\":\"model\"",
           "[1,0,0,", ",4,", "]\n", "\n", "[[", "null", "1.0", "-4", "true", "{}", "\\u0000"},
          journal_seeds,
          read_journals};
}

}  // namespace th::fuzz
