// th_fuzz READER [--seconds N] [--seed N] [--report FOLDER] [FILE…]
//
// Mutates inputs of one of the readers for so many seconds (default 10), guided by the blocks that
// they run, and always in the same order for one seed. With files: reads those alone, to see a
// fault again. A fault leaves its input in FOLDER (default: here), and the exit code is 1.
//
// Each input is read in a child, which lays it into memory that both share before it begins; so
// the parent has the input however the child ends.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <iostream>
#include <new>
#include <thread>

#include "coverage.hpp"
#include "mutator.hpp"
#include "reader.hpp"
#include "th/base/hash.hpp"

// Memory of one block, and of a process, that no input of this size explains. Leaks are those of
// libraries, which keep what they have made.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0:max_allocation_size_mb=512:quarantine_size_mb=16:malloc_context_size=8";
}
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }

namespace th::fuzz {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kLongestReading = 10;  // seconds of the processor for one input
constexpr double kLongestWait = 120;    // seconds of the clock: it waits for something
constexpr std::int64_t kMostMemory = std::int64_t{2} << 30;
constexpr std::size_t kMostInput = 1 << 20, kMostPool = 4096;
constexpr int kWrongError = 70;

struct Options {
  std::string reader;
  double seconds = 10;
  std::uint64_t seed = 1;
  std::string report = ".";
  std::vector<std::string> files;
};

/// What child and parent share.
struct Shared {
  volatile std::uint64_t runs;
  volatile std::uint64_t sound, refused;  ///< how many ended so
  volatile std::uint64_t pool, blocks;
  volatile std::size_t size;
  char bytes[kMostInput];
};

std::vector<Reader> all_readers() {
  return {deck_reader(),        corpus_reader(), tokenizer_reader(), checkpoint_reader(),
          safetensors_reader(), npz_reader(),    metrics_reader(),   journal_reader()};
}

/// A folder in memory where there is one, gone with the object.
class Folder {
 public:
  Folder() {
    const std::string parent =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fs::temp_directory_path().string();
    path_ = parent + "/th_fuzz_XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no folder in " + parent);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// The child: reads inputs until the time is over.
class Fuzzing {
 public:
  Fuzzing(const Reader& reader, const Options& options, Shared& shared, std::string folder)
      : reader_(reader),
        options_(options),
        shared_(shared),
        folder_(std::move(folder)),
        mutator_(options.seed, reader.words, reader.longest) {}

  void run() {
    if (!options_.files.empty()) {
      for (const std::string& file : options_.files) read(get_file(file));
      return;
    }
    const auto end = Clock::now() + std::chrono::duration<double>(options_.seconds);
    for (const std::string& name : found_before()) read(get_file(name));
    for (std::string& seed : reader_.seeds(folder_)) {
      read(seed);
      pool_.push_back(std::move(seed));
    }
    while (Clock::now() < end) {
      std::string input = mutator_.next(pool_);
      if (read(input) && pool_.size() < kMostPool) pool_.push_back(std::move(input));
      shared_.pool = pool_.size();
      shared_.blocks = coverage_.size();
    }
  }

 private:
  /// Inputs that showed a fault once.
  [[nodiscard]] std::vector<std::string> found_before() const {
    std::vector<std::string> names;
    std::error_code none;
    const std::string folder = std::string(TH_SOURCE_DIR) + "/tests/fuzz/found/" + reader_.name;
    for (const auto& entry : fs::directory_iterator(folder, none))
      names.push_back(entry.path().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  /// Whether it ran what no input ran before.
  bool read(const std::string& input) {
    shared_.size = std::min(input.size(), kMostInput);
    std::memcpy(shared_.bytes, input.data(), shared_.size);
    shared_.runs = shared_.runs + 1;
    Coverage::begin();
    try {
      reader_.read(input, folder_);
      shared_.sound = shared_.sound + 1;
    } catch (const Error& error) {
      const auto& allowed = reader_.allowed;
      if (std::find(allowed.begin(), allowed.end(), error.exit_code()) == allowed.end())
        wrong("an error of code " + std::to_string(static_cast<int>(error.exit_code())),
              error.what());
      if (std::string_view(error.what()).empty()) wrong("an error without a word", "");
      shared_.refused = shared_.refused + 1;
    } catch (const std::exception& error) {
      wrong("an exception that is none of the project's", error.what());
    }
    return coverage_.is_new();
  }

  [[noreturn]] static void wrong(const std::string& kind, const char* what) {
    std::fprintf(stderr, "th_fuzz: %s: %.2000s\n", kind.c_str(), what);
    std::fflush(stderr);
    ::_exit(kWrongError);
  }

  const Reader& reader_;
  const Options& options_;
  Shared& shared_;
  std::string folder_;
  Mutator mutator_;
  Coverage coverage_;
  std::vector<std::string> pool_;
};

/// Seconds of the processor that a process has used.
double processor_seconds(pid_t process) {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

/// Bytes of memory that a process holds.
std::int64_t resident_bytes(pid_t process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/statm");
  std::int64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

/// Waits for the child's end, and ends it where an input takes too long or too much. What was
/// wrong; empty: nothing.
std::string watch(pid_t child, const Shared& shared) {
  std::uint64_t runs = 0;
  double used_before = 0;
  auto since = Clock::now();
  while (true) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      if (WIFSIGNALED(status)) return std::string("signal ") + ::strsignal(WTERMSIG(status));
      const int code = WEXITSTATUS(status);
      if (code == 0) return "";
      return code == kWrongError ? "a wrong error"
                                 : "the end of its process with code " + std::to_string(code);
    }
    const double used = processor_seconds(child);
    if (runs != shared.runs) {
      runs = shared.runs;
      used_before = used;
      since = Clock::now();
    }
    const double waited = std::chrono::duration<double>(Clock::now() - since).count();
    const char* too_much = used - used_before > kLongestReading  ? "it takes too long"
                           : waited > kLongestWait               ? "it waits for something"
                           : resident_bytes(child) > kMostMemory ? "it takes too much memory"
                                                                 : nullptr;
    if (too_much != nullptr) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return too_much;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

int report(const std::string& fault, const Options& options, const Shared& shared) {
  const std::string input(shared.bytes, shared.size);
  char name[64];
  std::snprintf(name, sizeof name, "fuzz_%s_%016llx.bin", options.reader.c_str(),
                static_cast<unsigned long long>(hash_text(input)));
  const std::string path = (fs::path(options.report) / name).string();
  put_file(path, input);
  std::fprintf(stderr,
               "th_fuzz: FAULT of the reader %s in run %llu: %s\n"
               "th_fuzz: the input is %s, %zu bytes; see it again: th_fuzz %s %s\n",
               options.reader.c_str(), static_cast<unsigned long long>(shared.runs), fault.c_str(),
               path.c_str(), input.size(), options.reader.c_str(), path.c_str());
  return 1;
}

int fuzz(const Reader& reader, const Options& options) {
  const Folder folder;
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory to share");
  Shared& shared = *new (memory) Shared{};
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("no process can be made");
  if (child == 0) {
    std::cout.setstate(std::ios::badbit);  // what a command would answer
    try {
      Fuzzing(reader, options, shared, folder.path()).run();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "th_fuzz: the seeds can't be made: %s\n", error.what());
      ::_exit(kWrongError);
    }
    ::_exit(0);
  }
  const std::string fault = watch(child, shared);
  if (!fault.empty()) return report(fault, options, shared);
  std::printf(
      "%s: %llu inputs, %llu sound and %llu refused; %llu led on, by %llu blocks\n", reader.name,
      static_cast<unsigned long long>(shared.runs), static_cast<unsigned long long>(shared.sound),
      static_cast<unsigned long long>(shared.refused), static_cast<unsigned long long>(shared.pool),
      static_cast<unsigned long long>(shared.blocks));
  return 0;
}

Options options_of(const std::vector<std::string>& words) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool takes = i + 1 < words.size();
    if (words[i] == "--seconds" && takes)
      options.seconds = std::stod(words[++i]);
    else if (words[i] == "--seed" && takes)
      options.seed = std::stoull(words[++i]);
    else if (words[i] == "--report" && takes)
      options.report = words[++i];
    else if (options.reader.empty())
      options.reader = words[i];
    else
      options.files.push_back(words[i]);
  }
  return options;
}

int run(const std::vector<std::string>& words) {
  const Options options = options_of(words);
  std::string names;
  for (const Reader& reader : all_readers()) {
    if (options.reader == reader.name) return fuzz(reader, options);
    names += std::string(names.empty() ? "" : ", ") + reader.name;
  }
  std::fprintf(stderr,
               "usage: th_fuzz READER [--seconds N] [--seed N] [--report FOLDER] [FILE...]\n"
               "readers: %s\n",
               names.c_str());
  return 2;
}

}  // namespace
}  // namespace th::fuzz

int main(int argc, char** argv) {
  try {
    return th::fuzz::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "th_fuzz: %s\n", error.what());
    return 2;
  }
}
