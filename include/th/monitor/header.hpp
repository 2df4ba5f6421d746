#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace th::monitor {

/// What the header of a run's log says. Empty texts and zero counts are left out.
struct HeaderInfo {
  std::string version, build;  ///< of the program: version and commit, compiler and flags
  std::string run_name, deck, output_dir;
  std::string mpi_library, torch_version, device, stage;
  int ranks = 0, nodes = 0;
  std::int64_t threads = 0;
  std::string cpus;  ///< of rank 0: cpu_mask_text()
  std::int64_t parameters = 0, steps = 0, batch_size = 0;
  std::int64_t planned_bytes = 0, available_bytes = 0;    ///< of a rank
  std::vector<std::pair<std::string, std::string>> more;  ///< further lines: name and value
};

/// The text of the header: one `name  value` a line, with names padded to one column, without a
/// newline at the end.
[[nodiscard]] std::string header_text(const HeaderInfo& info);
/// A size for people, in binary units: "512 B", "1.50 GiB".
[[nodiscard]] std::string bytes_text(std::int64_t bytes);
/// The value with so many digits after the point.
[[nodiscard]] std::string fixed(double value, int digits);

}  // namespace th::monitor
