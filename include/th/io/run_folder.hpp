#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace th::io {

/// Tells what a run wrote below run.output_dir from what others put there. The file `manifest`
/// lists what th_app may have written: one path or fnmatch(3) pattern a line, relative to the
/// folder. Files of runs before there was a manifest are known by their names. Everything else in
/// the folder belongs to somebody else and is never moved, replaced or removed. Not collective:
/// rank 0 alone, which holds the folder's lock.
class RunFolder {
 public:
  /// `folder` may be missing. Throws DeckError with the system's reason if it is a file or a link
  /// that leads nowhere, or can't be read.
  explicit RunFolder(std::filesystem::path folder);

  /// Whether the folder holds a run's results: a step record or a checkpoint.
  [[nodiscard]] bool holds_run() const;
  /// The id in the file `run`; empty if there is no such file.
  [[nodiscard]] std::string run_id() const;
  /// Paths below the folder that th_app wrote, relative to it. If nothing in a folder is foreign,
  /// the folder stands for all of it.
  [[nodiscard]] std::vector<std::string> own() const;
  /// Moves what th_app wrote into NAME.1, .2, …, beside the folder. If the folder is a mount, its
  /// parent can't be written or the name gets too long, it takes earlier.1, .2, …, inside the
  /// folder. Returns the new path. If that fails too, moves everything back and throws DeckError
  /// with the system's reason.
  std::string set_aside();
  /// Writes the manifest and the file `run`. If somebody else's file has a name that a run would
  /// write, throws DeckError that names the first such path.
  void claim(const std::string& run_id);

 private:
  [[nodiscard]] bool is_own(const std::string& path) const;
  void move_into(const std::filesystem::path& target) const;
  std::filesystem::path folder_;
  std::vector<std::string> patterns_;  ///< of what is there; empty: no run of th_app's
};

/// 32 hexadecimal digits from the system's random source.
[[nodiscard]] std::string make_run_id();

}  // namespace th::io
