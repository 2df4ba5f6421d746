#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace th::io {

/// What a run leaves below run.output_dir, told from what others put there. The file `manifest`
/// lists what th_app may have written, a path or a pattern of fnmatch(3) a line, relative to the
/// folder; runs of programs before the manifest are known by their names. Everything else in the
/// folder belongs to somebody else and is never moved, replaced or removed. Not collective: rank 0
/// alone, which holds the folder's lock.
class RunFolder {
 public:
  /// `folder` may be missing. Throws DeckError with the system's reason where it is a file, a link
  /// that leads nowhere, or can't be read.
  explicit RunFolder(std::filesystem::path folder);

  /// Whether a run's results are there: a step record or a checkpoint.
  [[nodiscard]] bool holds_run() const;
  /// The id in the file `run`; empty where there is none.
  [[nodiscard]] std::string run_id() const;
  /// Paths below the folder that th_app wrote, relative to it. A folder stands for all below it
  /// where nothing in it is foreign.
  [[nodiscard]] std::vector<std::string> own() const;
  /// Moves what th_app wrote into NAME.1, .2, …, beside the folder, or into earlier.1, .2, …,
  /// inside it where the folder is a mount, its parent can't be written or the name gets too long.
  /// Returns the new place. Throws DeckError with the system's reason where that fails too; what
  /// was moved until then is moved back.
  std::string set_aside();
  /// Writes the manifest and the file `run`. Throws DeckError that names the first path that a run
  /// would write and that somebody else has put there.
  void claim(const std::string& run_id);

 private:
  [[nodiscard]] bool is_own(const std::string& path) const;
  void move_into(const std::filesystem::path& target) const;
  std::filesystem::path folder_;
  std::vector<std::string> patterns_;  ///< of what is there; empty: no run of th_app's
};

/// 32 hexadecimal digits out of the system's random source.
[[nodiscard]] std::string make_run_id();

}  // namespace th::io
