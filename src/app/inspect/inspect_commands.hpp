#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/inspect/inspect_options.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/element_type.hpp"

namespace th::app {

/// A checkpoint's tensor under one of its names.
struct TensorEntry {
  std::string kind;  ///< "parameters" or an optimizer state
  std::string name;  ///< the tensor's, or its alias
  const model::TensorSpec* spec = nullptr;
  bool is_alias = false;
  /// "NAME" of a parameter, "STATE/NAME" of a state.
  [[nodiscard]] std::string full_name() const;
};

/// Opens a checkpoint; what was passed over while the newest was looked for goes to standard error.
[[nodiscard]] std::unique_ptr<io::CheckpointReader> open_checkpoint(const std::string& path);
/// Throws CheckpointError where any shard or checksum is damaged: nothing is made from such a
/// checkpoint.
void require_sound(const io::CheckpointReader& reader);
/// A checkpoint's deck as it fits a model that holds no moving average: where decode.parameters is
/// ema, it becomes trained and train.ema_decay 0. Any other deck, and one that this build can't
/// read, stays as it is.
[[nodiscard]] std::string deck_without_average(const std::string& deck);
/// Every tensor under every name, parameters first.
[[nodiscard]] std::vector<TensorEntry> entries(const io::CheckpointReader& reader);
/// The text where `json` is false, else the object on a line.
void answer(const InspectRequest& request, const std::string& text, const std::string& json);

/// Which of a checkpoint's values are exported, and how they are stored.
struct CheckpointChoice {
  std::string group;  ///< "parameters", or that of their moving average
  ElementType type = ElementType::kFp32;
};
/// Says how many values the request's type could not hold, where there are any.
void warn_of_overflows(const InspectRequest& request, std::int64_t overflowed);
/// export --format ctranslate2: a folder. Returns the exit code.
[[nodiscard]] int export_ctranslate2(const InspectRequest& request,
                                     const io::CheckpointReader& reader,
                                     const CheckpointChoice& choice);
/// import --from: another program's model. Returns the exit code.
[[nodiscard]] int import_foreign(const InspectRequest& request);

// The commands. Each returns the exit code: 0 fine, 1 differs or damaged.
[[nodiscard]] int inspect_info(const InspectRequest& request);
[[nodiscard]] int inspect_ls(const InspectRequest& request);
[[nodiscard]] int inspect_stat(const InspectRequest& request);
[[nodiscard]] int inspect_verify(const InspectRequest& request);
[[nodiscard]] int inspect_show(const InspectRequest& request);
[[nodiscard]] int inspect_diff(const InspectRequest& request);
[[nodiscard]] int inspect_export(const InspectRequest& request);
[[nodiscard]] int inspect_import(const InspectRequest& request);
[[nodiscard]] int inspect_average(const InspectRequest& request);

}  // namespace th::app
