#include "app/translate/identity.hpp"

#include "app/stream/line_source.hpp"
#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/base/hash.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <sstream>
#include <vector>

namespace th::app {

namespace {

std::optional<struct stat> about(const std::string& path) {
  struct stat found {};
  if (path.empty() || ::stat(path.c_str(), &found) != 0) return std::nullopt;
  return found;
}

bool is_regular(const std::string& path) {
  const auto found = about(path);
  return found && S_ISREG(found->st_mode);
}

/// "N bytes, CRC-32C X" of a regular file, else "a stream".
std::string bytes_identity(const std::string& path) {
  if (!is_regular(path)) return "a stream";
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<char> block(1 << 20);
  std::int64_t size = 0;
  std::uint32_t crc = 0;
  while (true) {
    const ssize_t got = ::read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw DataError(path + ": can't be read: " + std::strerror(errno));
    if (got == 0) break;
    crc = crc32c(std::as_bytes(std::span(block.data(), static_cast<std::size_t>(got))), crc);
    size += got;
  }
  std::ostringstream text;
  text << size << " bytes, CRC-32C " << std::hex << crc;
  return text.str();
}

/// NAME=VALUE of what is given.
class Options {
 public:
  template <typename T>
  void add(const char* name, const std::optional<T>& value) {
    if (value) add(name, *value);
  }
  template <typename T>
  void add(const char* name, const T& value) {
    text_ << (text_.tellp() > 0 ? " " : "") << name << "=" << value;
  }
  [[nodiscard]] std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
};

const char* name_of(ElementType precision) {
  if (precision == ElementType::kFp32) return "fp32";
  return precision == ElementType::kBf16 ? "bf16" : "fp16";
}

std::string options_text(const Request& r) {
  Options options;
  options.add("score", r.score);
  options.add("alignment", r.alignment);
  if (r.replace_unknown) options.add("replace-unknown", true);
  if (r.hierarchical) options.add("hierarchical", true);
  options.add("batch", r.batch);
  options.add("batch-tokens", r.batch_tokens);
  options.add("parameters", r.choice.parameters);
  if (r.choice.dtype) options.add("dtype", r.choice.int8 ? "int8" : name_of(*r.choice.dtype));
  const DecodingOverrides& d = r.decoding;
  options.add("beam", d.beam);
  options.add("max-length", d.max_length);
  options.add("min-length", d.min_length);
  options.add("no-repeat-ngram", d.no_repeat_ngram);
  options.add("top-k", d.top_k);
  options.add("n-best", d.best);
  options.add("length-penalty", d.length_penalty);
  options.add("temperature", d.temperature);
  options.add("top-p", d.top_p);
  if (d.length_normalization)
    options.add("length-normalization", static_cast<int>(*d.length_normalization));
  for (const std::string& word : d.forbid.value_or(std::vector<std::string>()))
    options.add("forbid", word);
  options.add("seed", d.seed);
  if (d.sampling) options.add("sampling", true);
  if (d.no_sampling) options.add("no-sampling", true);
  if (!r.shortlist.empty()) options.add("shortlist", bytes_identity(r.shortlist));
  if (!d.prefix.empty()) options.add("prefix", bytes_identity(d.prefix));
  return options.text();
}

}  // namespace

bool keeps_journal(const std::string& output) {
  return !output.empty() && (!about(output) || is_regular(output));
}

std::optional<JobIdentity> identity_of(const Request& request, const std::string& model,
                                       const std::string& arithmetic) {
  if (!keeps_journal(request.output)) return std::nullopt;
  std::string input = bytes_identity(request.input);
  if (request.score) input += "; target " + bytes_identity(request.target);
  const std::string& prefix = request.decoding.prefix;
  const bool streams = !is_regular(request.input) ||
                       (request.score && !is_regular(request.target)) ||
                       (!prefix.empty() && !is_regular(prefix)) ||
                       (!request.shortlist.empty() && !is_regular(request.shortlist));
  return JobIdentity{input, model, options_text(request), arithmetic, streams};
}

std::int64_t plain_bytes(const std::string& path) {
  const auto found = about(path);
  return found && S_ISREG(found->st_mode) && !path.ends_with(".gz") ? found->st_size : 0;
}

void require_other_file(const std::string& output, const std::string& input) {
  const auto a = about(output), b = about(input);
  if (a && b && S_ISREG(a->st_mode) && a->st_dev == b->st_dev && a->st_ino == b->st_ino)
    throw DeckError("--output " + output + " is " + input +
                    ", which is read; name another file for the output");
}

void require_readable(const std::string& path) {
  const auto found = about(path);
  if (path.empty() || (found && !S_ISREG(found->st_mode) && !S_ISDIR(found->st_mode))) return;
  LineSource lines(path, [] { return true; });
  std::string text, fault;
  (void)lines.next(text, fault);
}

void require_same_line_count(const std::string& source, const std::string& target) {
  if (!is_regular(source) || !is_regular(target)) return;
  std::vector<std::int64_t> counts;
  for (const std::string& path : {source, target}) {
    LineSource lines(path, [] { return true; });
    std::string text, fault;
    std::int64_t& count = counts.emplace_back(0);
    while (lines.next(text, fault)) ++count;
  }
  if (counts[0] != counts[1])
    throw DataError(source + " has " + std::to_string(counts[0]) + " lines and " + target +
                    " has " + std::to_string(counts[1]) + "; their lines go together");
}

}  // namespace th::app
