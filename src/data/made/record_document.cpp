#include "data/made/record_document.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "data/made/word_counts.hpp"

namespace th::data {

namespace {

constexpr std::int64_t kFirstYear = 1850, kYears = 100;
constexpr std::int64_t kAmounts = 99;  // 10, 20, …, 990

std::string with_value(std::string_view sentence, const std::string& value) {
  const std::size_t at = sentence.find("{}");
  return std::string(sentence.substr(0, at)) + value + std::string(sentence.substr(at + 2));
}

std::string draw_value(Field field, Draws& draws) {
  switch (field) {
    case kAmount: {
      const std::string amount = std::to_string(10 * draws.between(1, kAmounts));
      return amount + " " + draws.of(kUnits);
    }
    case kProduct:
      return draws.of(kProducts);
    case kBuyer: {
      const std::string first = draws.of(kFirstNames);
      return first + " " + draws.of(kLastNames);
    }
    case kPlace:
      return draws.of(kPlaces);
    case kYear:
    case kFields:
      break;
  }
  return std::to_string(kFirstYear + draws.below(kYears));
}

/// Two of three without a value.
std::string other_sentence(Draws& draws) {
  if (draws.below(3) > 0) return draws.of(kPlainSentences);
  const auto field = static_cast<Field>(draws.below(kFields));
  const char* sentence = draws.of(kOtherSentences[static_cast<std::size_t>(field)]);
  return with_value(sentence, draw_value(field, draws));
}

std::int64_t words_of(std::string_view sentence) {
  return 1 + std::count(sentence.begin(), sentence.end(), ' ');
}

using Order = std::array<int, kFields>;

Order draw_order(Draws& draws) {
  const Order sorted = {kAmount, kProduct, kBuyer, kPlace, kYear};
  Order order = sorted;
  while (order == sorted) {
    for (std::size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1],
                order[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(i)))]);
  }
  return order;
}

}  // namespace

Record draw_record(Draws& draws) {
  Record record;
  for (int field = 0; field < kFields; ++field)
    record.values[static_cast<std::size_t>(field)] = draw_value(static_cast<Field>(field), draws);
  return record;
}

std::string headline(const Record& record, const FieldSet& fields) {
  std::string text;
  for (std::size_t field = 0; field < fields.size(); ++field) {
    if (!fields[field]) continue;
    if (!text.empty()) text += ' ';
    text += with_value(kHeadlineParts[field], record.values[field]);
  }
  return text.empty() ? kNoNews : text;
}

RecordDocument::RecordDocument(const Record& record, std::int64_t words, Draws& draws) {
  const Order order = draw_order(draws);
  std::array<std::string, kFields> facts;
  std::int64_t left = 0;  // words of the facts that are still to come
  for (std::size_t field = 0; field < facts.size(); ++field) {
    facts[field] = with_value(draws.of(kFactSentences[field]), record.values[field]);
    left += words_of(facts[field]);
  }
  std::string last;
  const auto fill = [&](std::int64_t to) {
    while (size() < to) {
      std::string sentence = other_sentence(draws);
      if (sentence == last) continue;
      if (size() + words_of(sentence) + left > words) return;
      add(sentence);
      last = std::move(sentence);
    }
  };
  for (int i = 0; i < kFields; ++i) {
    fill(words * i / kFields + draws.below(words / kFields));
    const auto field = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
    facts_[field].begin = size();
    add(facts[field]);
    facts_[field].end = size();
    left -= words_of(facts[field]);
  }
  fill(words);
}

void RecordDocument::add(const std::string& sentence) {
  for_each_word(sentence, [&](std::string_view word) { words_.emplace_back(word); });
}

std::string RecordDocument::text(std::int64_t begin, std::int64_t count) const {
  std::string line;
  for (std::int64_t i = begin; i < begin + count; ++i)
    line += (line.empty() ? "" : " ") + words_[static_cast<std::size_t>(i)];
  return line;
}

FieldSet RecordDocument::fields(std::int64_t begin, std::int64_t count) const {
  FieldSet fields{};
  for (std::size_t field = 0; field < fields.size(); ++field)
    fields[field] = facts_[field].begin >= begin && facts_[field].end <= begin + count;
  return fields;
}

}  // namespace th::data
