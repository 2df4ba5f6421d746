#include "th/data/tokenizer/tokenizer.hpp"

#include <algorithm>
#include <utility>

namespace th::data {
namespace {

void append_cut(std::vector<std::int32_t>& ids, std::int64_t max_length) {
  if (std::ssize(ids) > max_length - 1)
    ids.resize(static_cast<std::size_t>(std::max<std::int64_t>(0, max_length - 1)));
  ids.push_back(kEnd);
}

}  // namespace

const char* kind_name(config::TokenizerKind kind) noexcept {
  switch (kind) {
    case config::TokenizerKind::kBpe:
      return "bpe";
    case config::TokenizerKind::kUnigram:
      return "unigram";
    case config::TokenizerKind::kWord:
      break;
  }
  return "word";
}

std::vector<std::int32_t> framed_source(std::vector<std::int32_t> ids, std::int64_t max_length) {
  append_cut(ids, max_length);
  return ids;
}

std::vector<std::int32_t> framed_target(std::vector<std::int32_t> ids, std::int64_t max_length) {
  ids.insert(ids.begin(), kBegin);
  append_cut(ids, max_length);
  return ids;
}

std::vector<std::int32_t> encode_source(const Tokenizer& tokenizer, std::string_view line,
                                        std::int64_t max_length) {
  return framed_source(tokenizer.encode(line), max_length);
}

std::vector<std::int32_t> encode_target(const Tokenizer& tokenizer, std::string_view line,
                                        std::int64_t max_length) {
  return framed_target(tokenizer.encode(line), max_length);
}

}  // namespace th::data
