#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/made/draws.hpp"
#include "data/made/record_words.hpp"

namespace th::data {

/// The values of a record's fields, as texts have them.
struct Record {
  std::array<std::string, kFields> values;
  friend auto operator<=>(const Record&, const Record&) = default;
};

[[nodiscard]] Record draw_record(Draws& draws);

/// Which fields are said.
using FieldSet = std::array<bool, kFields>;
inline constexpr FieldSet kAllFields = {true, true, true, true, true};

/// The fields of the set in the order of Field; kNoNews for none.
[[nodiscard]] std::string headline(const Record& record, const FieldSet& fields);

/// A document's words, and where its facts stand.
class RecordDocument {
 public:
  /// All fields of the record in a drawn order, which is not that of headlines, one in each fifth
  /// of the document, and other sentences, in at most `words` words: at least as many as the
  /// longest sentences of all fields.
  RecordDocument(const Record& record, std::int64_t words, Draws& draws);

  [[nodiscard]] std::int64_t size() const noexcept { return std::ssize(words_); }
  /// Some of its words, as a line.
  [[nodiscard]] std::string text(std::int64_t begin, std::int64_t count) const;
  /// The fields whose sentences are whole among these words.
  [[nodiscard]] FieldSet fields(std::int64_t begin, std::int64_t count) const;

 private:
  struct Fact {
    std::int64_t begin = 0, end = 0;
  };
  void add(const std::string& sentence);

  std::vector<std::string> words_;
  std::array<Fact, kFields> facts_;
};

}  // namespace th::data
