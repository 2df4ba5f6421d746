#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace th::monitor {

struct StepRecord {
  std::int64_t step = 0, epoch = 0;
  double loss = 0, grad_norm = 0, lr = 0;
  std::int64_t source_tokens = 0, target_tokens = 0;
  double seconds = 0;
  /// fp16 only; left out if empty. A step whose grad_norm is null was skipped.
  std::optional<double> loss_scale = std::nullopt;
  bool skipped = false;  ///< by train.on_not_finite=skip; left out if false
};

struct EpochRecord {
  std::int64_t epoch = 0;
  double train_loss = 0;
  std::optional<double> valid_loss;  ///< empty: written as null
  double seconds = 0;
};

struct EvalRecord {
  std::string set;  ///< "valid", "test"
  std::int64_t step = 0;
  std::string metric;
  double value = 0;
  std::string signature;  ///< how it was counted; empty: left out
};

/// Rank 0's payload of one kind of call and one class of data.
struct TrafficRecord {
  std::string collective, data;
  std::int64_t calls = 0, sent = 0, received = 0;
  std::int64_t between_nodes = 0;  ///< sent to ranks of other nodes
};

/// The vectors of numbers have one entry for each rank, in bytes.
struct SummaryRecord {
  std::int64_t steps = 0;
  double tokens_per_second = 0;
  double padding_fraction = 0;            ///< of the rows that linear layers compute
  double attention_padding_fraction = 0;  ///< of the attention scores
  std::vector<std::int64_t> rss_before_model_bytes, peak_rss_bytes, model_state_bytes,
      planned_bytes, measured_bytes;
  std::vector<std::int64_t> bytes_sent;     ///< payload to all other ranks
  std::vector<std::int64_t> bytes_on_node;  ///< the part of bytes_sent for ranks of the same node
  /// What was sent to other nodes: less than the other part if sums and shards cross once a node.
  std::vector<std::int64_t> bytes_between_nodes;
  std::vector<TrafficRecord> traffic;
  std::string run;  ///< the run's id
  std::string exit = "completed";
  std::string reason;  ///< why the run ended; left out if empty
};

enum class OpenMode { kTruncate, kAppend };

/// Writes metrics.jsonl: one object a line, flushed after each. Doubles read back to the same bits;
/// those that are not finite are null.
class MetricsWriter {
 public:
  /// Throws DeckError when the file cannot be opened.
  MetricsWriter(const std::string& path, OpenMode mode);
  void step(const StepRecord& record);
  void epoch(const EpochRecord& record);
  void eval(const EvalRecord& record);
  void summary(const SummaryRecord& record);
  /// The `exit` of the summary that is the last record of `path`; empty if there is none, or if a
  /// line is no record. Not collective.
  [[nodiscard]] static std::string last_exit(const std::string& path);
  /// Which records behind the record of a checkpoint's step were written before the checkpoint:
  /// that of the epoch, those of a validation.
  struct Kept {
    bool epoch = false, validation = false;
  };
  /// Drops from `path` what the checkpoint at `last_step` does not know. That is everything from
  /// the first step record above last_step on; without such a record, the eval, epoch and summary
  /// records that end the file, except those of `kept`. A last line that was not written whole is
  /// dropped too, and so is everything from the first line that is no record (a crash may leave
  /// zero bytes), if that is behind the record of last_step. Replaces the file at once; a missing
  /// file stays missing. Returns a line for the log if it cut something that is no record. Throws
  /// DataError if a line before the record of last_step is no record, DeckError if the file cannot
  /// be replaced. Not collective: rank 0 calls it.
  [[nodiscard]] static std::string truncate_metrics(const std::string& path, std::int64_t last_step,
                                                    const Kept& kept);

 private:
  void line(const std::string& text);
  std::string path_;
  std::ofstream file_;
};

}  // namespace th::monitor
