#include "data/tokenizer/sentencepiece/piece_training.hpp"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <optional>
#include <regex>
#include <unordered_map>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {
namespace {

/// SentencePiece's name of a rule.
const char* normalization_rule(config::Normalization rule) {
  switch (rule) {
    case config::Normalization::kIdentity:
      return "identity";
    case config::Normalization::kNfkc:
      return "nfkc";
    case config::Normalization::kNfkcCf:
      return "nfkc_cf";
    case config::Normalization::kNmtNfkcCf:
      return "nmt_nfkc_cf";
    case config::Normalization::kNmtNfkc:
      break;
  }
  return "nmt_nfkc";
}

/// SentencePiece asks for lines one by one.
class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  [[nodiscard]] bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  [[nodiscard]] const std::string& value() const override { return lines_[at_]; }
  [[nodiscard]] sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  std::size_t at_ = 0;
};

/// At most kTrainingLines of the texts, evenly spaced.
std::vector<std::string> chosen_lines(std::span<const TextWalk> texts) {
  std::int64_t count = 0;
  for (const TextWalk& text : texts) text([&](std::string_view) { ++count; });
  const std::int64_t stride =
      std::max<std::int64_t>(1, (count + kTrainingLines - 1) / kTrainingLines);
  std::vector<std::string> lines;
  std::int64_t number = 0;
  for (const TextWalk& text : texts) {
    text([&](std::string_view line) {
      if (number++ % stride != 0 || std::ssize(line) > kTrainingLineBytes) return;
      lines.emplace_back(line);
      // SentencePiece leaves a line with a tab out, and makes the tab of every other text a blank.
      std::replace(lines.back().begin(), lines.back().end(), '\t', ' ');
    });
  }
  return lines;
}

/// The first number after `words` in SentencePiece's message.
std::optional<std::string> number_after(const std::string& message, const std::string& words) {
  std::smatch found;
  if (!std::regex_search(message, found, std::regex(words + "\\D*(\\d+)"))) return std::nullopt;
  return found[1];
}

/// SentencePiece's words for a text that does not give so many pieces, turned into ours.
std::string reason(const std::string& message, const config::DataSection& data, std::int64_t size) {
  const std::string kind = kind_name(data.tokenizer);
  std::string asked = "data.vocab_size = ";
  asked += std::to_string(size);
  const std::string bytes = data.byte_fallback ? " (256 of them for data.byte_fallback)" : "";
  if (const auto most = number_after(message, "value <= "))
    return "gives a " + kind + " vocabulary of at most " + *most + " tokens, and " + asked +
           "; lower it, or give more text";
  if (const auto characters = number_after(message, "required_chars"); characters)
    return "has too many characters for " + asked + bytes +
           "; raise it, or lower data.character_coverage";
  return "gives no " + kind + " vocabulary with " + asked + bytes + ": " + message;
}

}  // namespace

std::string train_pieces(const config::DataSection& data, std::span<const TextWalk> texts,
                         const std::string& name) {
  const std::int64_t size = data.vocab_size > 0 ? data.vocab_size : kDefaultPieces;
  std::unordered_map<std::string, std::string> settings = {
      {"model_type", kind_name(data.tokenizer)},
      {"vocab_size", std::to_string(size)},
      {"character_coverage", std::to_string(data.character_coverage)},
      {"normalization_rule_name", normalization_rule(data.normalization)},
      {"user_defined_symbols", data.user_symbols},
      {"byte_fallback", data.byte_fallback ? "true" : "false"},
      {"pad_id", "0"},
      {"unk_id", "1"},
      {"bos_id", "2"},
      {"eos_id", "3"},
      {"max_sentence_length", std::to_string(kTrainingLineBytes)},
      {"num_threads", "1"},
      {"minloglevel", "3"}};
  std::vector<std::string> chosen = chosen_lines(texts);
  if (chosen.empty()) throw DataError(name + ": has no lines to make a vocabulary of");
  Lines lines(std::move(chosen));
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &lines, &model);
  if (!status.ok()) throw DataError(name + ": " + reason(status.message(), data, size));
  return model;
}

}  // namespace th::data
