#include "app/report/pictures/gnuplot.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "th/base/error.hpp"

extern char** environ;

namespace th::app {

namespace {

/// A file without a name, for what goes in and what comes out: no pipe fills up.
class Scratch {
 public:
  Scratch() : file_(std::tmpfile()) {
    if (file_ == nullptr)
      throw DataError(std::string("no temporary file can be made: ") + std::strerror(errno));
  }
  [[nodiscard]] int fd() const { return fileno(file_.get()); }
  void fill(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() ||
        std::fflush(file_.get()) != 0)
      throw DataError(std::string("a temporary file can't be written: ") + std::strerror(errno));
    std::rewind(file_.get());
  }
  [[nodiscard]] std::string content() {
    std::string text;
    std::array<char, 65536> block{};
    std::rewind(file_.get());
    for (std::size_t got = 0; (got = std::fread(block.data(), 1, block.size(), file_.get())) > 0;)
      text.append(block.data(), got);
    return text;
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

struct Outcome {
  int failure = 0;  ///< errno of the start
  int status = 0;   ///< waitpid's
  std::string output, trouble;
};

Outcome run_gnuplot(const std::string& program, std::vector<std::string> words,
                    const std::string& input) {
  Scratch in, out, trouble;
  in.fill(input);
  words.insert(words.begin(), program);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions{};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.fd(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.fd(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, trouble.fd(), STDERR_FILENO);
  pid_t child = 0;
  Outcome outcome;
  outcome.failure = posix_spawnp(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (outcome.failure != 0) return outcome;
  while (waitpid(child, &outcome.status, 0) < 0 && errno == EINTR) {
  }
  outcome.output = out.content();
  outcome.trouble = trouble.content();
  return outcome;
}

bool succeeded(const Outcome& outcome) {
  return outcome.failure == 0 && WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0;
}

}  // namespace

Gnuplot::Gnuplot() {
  const char* const given = std::getenv("TH_GNUPLOT");
  program_ = given == nullptr || *given == '\0' ? "gnuplot" : given;
  const Outcome outcome = run_gnuplot(program_, {"--version"}, "");
  if (succeeded(outcome) && outcome.output.starts_with("gnuplot ")) return;
  const std::string why =
      outcome.failure != 0 ? std::strerror(outcome.failure) : "it does not answer as gnuplot does";
  throw DeckError("the program that draws the pictures can't be started: " + program_ + ": " + why +
                  "; install Debian's package gnuplot-nox (tools/install_dependencies.sh "
                  "--with-gnuplot), or name the program by TH_GNUPLOT=FILE");
}

std::string Gnuplot::draw(const std::string& script) const {
  // -d: what a user has in ~/.gnuplot does not count.
  Outcome outcome = run_gnuplot(program_, {"-d", "-"}, script);
  if (succeeded(outcome)) return std::move(outcome.output);
  std::string line = "it ended with status " + std::to_string(outcome.status);
  for (std::size_t at = 0; at < outcome.trouble.size();) {
    const std::size_t end = std::min(outcome.trouble.find('\n', at), outcome.trouble.size());
    const std::string one = outcome.trouble.substr(at, end - at);
    if (one.find("line ") != std::string::npos && one.find(": ") != std::string::npos) line = one;
    at = end + 1;
  }
  throw InternalError(program_ + " could not draw a picture: " + line);
}

}  // namespace th::app
