#include "th/monitor/header.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace th::monitor {

std::string bytes_text(std::int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.2f %s", value, kUnits[unit]);
  return text.data();
}

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string header_text(const HeaderInfo& info) {
  std::vector<std::pair<std::string, std::string>> lines;
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) lines.emplace_back(name, value);
  };
  const auto count = [&](const char* name, std::int64_t value) {
    if (value != 0) lines.emplace_back(name, std::to_string(value));
  };
  text("th_app", info.version);
  text("build", info.build);
  text("run", info.run_name);
  text("deck", info.deck);
  text("output", info.output_dir);
  text("mpi", info.mpi_library);
  text("torch", info.torch_version);
  text("device", info.device);
  text("stage", info.stage);
  count("ranks", info.ranks);
  count("nodes", info.nodes);
  count("threads", info.threads);
  text("cpus", info.cpus);
  count("parameters", info.parameters);
  count("steps", info.steps);
  count("batch size", info.batch_size);
  if (info.planned_bytes != 0)
    lines.emplace_back("planned memory", bytes_text(info.planned_bytes) + " a rank");
  if (info.available_bytes != 0)
    lines.emplace_back("available memory", bytes_text(info.available_bytes));
  lines.insert(lines.end(), info.more.begin(), info.more.end());

  std::size_t width = 0;
  for (const auto& [name, value] : lines) width = std::max(width, name.size());
  std::string out;
  for (const auto& [name, value] : lines) {
    out += (out.empty() ? "" : "\n") + name + std::string(width + 2 - name.size(), ' ') + value;
  }
  return out;
}

}  // namespace th::monitor
