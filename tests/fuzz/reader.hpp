#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "th/base/error.hpp"

namespace th::fuzz {

/// A reader of files below the fuzzer. A reading ends well or with an error of the project's own
/// kinds; anything else is a fault: another exception, a crash, a hang, memory that the input's
/// size does not explain.
struct Reader {
  const char* name = "";
  /// Bytes of an input at most.
  std::size_t longest = 16384;
  /// The kinds of error that a wrong input may end with.
  std::vector<ExitCode> allowed;
  /// Words of the format, which mutations put in.
  std::vector<std::string> words;
  /// Inputs that are sound, or nearly so: mutations begin with them. `folder` is empty, and this
  /// process's own, for all runs.
  std::vector<std::string> (*seeds)(const std::string& folder) = nullptr;
  /// Reads an input.
  void (*read)(const std::string& input, const std::string& folder) = nullptr;
};

[[nodiscard]] Reader deck_reader();
[[nodiscard]] Reader corpus_reader();
[[nodiscard]] Reader tokenizer_reader();
[[nodiscard]] Reader checkpoint_reader();
[[nodiscard]] Reader safetensors_reader();
[[nodiscard]] Reader npz_reader();
[[nodiscard]] Reader metrics_reader();
[[nodiscard]] Reader journal_reader();

/// A fault of a reader that gives a wrong answer: no input may lead to it.
class WrongAnswer : public InternalError {
 public:
  using InternalError::InternalError;
};

/// Throws WrongAnswer with `what` when `condition` is false.
inline void must(bool condition, const char* what) {
  if (!condition) throw WrongAnswer(what);
}

/// One of several readings of an input: an error of a kind that is allowed ends it alone.
template <class Allowed, class Body>
void attempt(Body body) {
  try {
    body();
  } catch (const Allowed&) {  // said with words; the next reading begins
  }
}

inline void put_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

[[nodiscard]] inline std::string get_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// zlib's window bits of a gzip file, and of a zip member.
constexpr int kGzip = 15 + 16, kRawDeflate = -15;
[[nodiscard]] std::string deflated(int window_bits, const std::string& bytes);

/// The bytes of the files of a folder of the sources, whose names end so and which are not longer
/// than `longest`.
[[nodiscard]] inline std::vector<std::string> files_below(const std::string& folder,
                                                          const std::string& end,
                                                          std::size_t longest) {
  std::vector<std::string> out;
  std::error_code none;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TH_SOURCE_DIR) + "/" + folder, none)) {
    if (!entry.path().string().ends_with(end) || !entry.is_regular_file()) continue;
    std::string bytes = get_file(entry.path().string());
    if (bytes.size() <= longest) out.push_back(std::move(bytes));
  }
  return out;
}

}  // namespace th::fuzz
