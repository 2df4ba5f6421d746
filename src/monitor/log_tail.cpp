#include "th/monitor/log_tail.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "th/base/error.hpp"

namespace th::monitor {

namespace fs = std::filesystem;

std::int64_t cut_torn_tail(const std::string& path) {
  constexpr std::int64_t kBlock = 64 << 10;
  std::error_code code;
  if (!fs::is_regular_file(path, code)) return 0;
  const auto size = static_cast<std::int64_t>(fs::file_size(path, code));
  std::ifstream in(path, std::ios::binary);
  if (code || !in) return 0;
  std::int64_t kept = 0;  // bytes up to the last newline
  bool zeros = true;      // none but zero bytes so far, from the end
  std::string block;
  for (std::int64_t end = size; end > 0 && kept == 0; end -= std::ssize(block)) {
    block.resize(static_cast<std::size_t>(std::min(end, kBlock)));
    in.seekg(end - std::ssize(block));
    if (!in.read(block.data(), std::ssize(block))) return 0;
    // A newline among zero bytes ends no line that can be read.
    const std::size_t text = zeros ? block.find_last_not_of('\0') : block.size() - 1;
    if (text == std::string::npos) continue;
    zeros = false;
    const std::size_t newline = block.rfind('\n', text);
    if (newline != std::string::npos)
      kept = end - std::ssize(block) + static_cast<std::int64_t>(newline) + 1;
  }
  if (kept == size) return 0;
  fs::resize_file(path, static_cast<std::uintmax_t>(kept), code);
  if (code) throw DeckError("run.output_dir: cannot cut " + path + ": " + code.message());
  return size - kept;
}

}  // namespace th::monitor
