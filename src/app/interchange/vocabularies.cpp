#include "app/interchange/vocabularies.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/data/text.hpp"
#include "th/data/tokenizer/model_order.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"
#include "th/io/formats/yaml_map.hpp"

namespace th::app {
namespace {

/// Puts a word at its place.
class WordList {
 public:
  WordList(const std::string& path, std::int64_t count)
      : path_(path), words_(static_cast<std::size_t>(count)), seen_(words_.size(), false) {}

  void add(const std::string& word, std::int64_t id) {
    if (id < 0) throw DataError(path_ + ": '" + word + "' has the id " + std::to_string(id));
    const auto at = static_cast<std::size_t>(id);
    if (at >= words_.size()) return;
    if (seen_[at])
      throw DataError(path_ + ": '" + words_[at] + "' and '" + word + "' both have the id " +
                      std::to_string(id));
    if (word.find_first_of(std::string_view("\n\0", 2)) != std::string::npos)
      throw DataError(path_ + ": the token of id " + std::to_string(id) + " holds a line end");
    seen_[at] = true;
    words_[at] = word;
  }

  std::vector<std::string> whole() && {
    const auto missing = std::find(seen_.begin(), seen_.end(), false);
    if (missing != seen_.end())
      throw DataError(path_ + ": no token has the id " + std::to_string(missing - seen_.begin()) +
                      ", and the model has " + std::to_string(words_.size()) +
                      " of them: the vocabulary is of another model");
    return std::move(words_);
  }

 private:
  std::string path_;
  std::vector<std::string> words_;
  std::vector<bool> seen_;
};

void add_json(WordList& list, const std::string& text, const std::string& path) {
  try {
    const nlohmann::json map = parse_json(
        text, [&](const std::string& word) { throw DataError(path + ": '" + word + "' twice"); });
    for (const auto& [word, id] : map.items()) list.add(word, json_integer(id));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path + ": the vocabulary can't be read: " + error.what());
  }
}

void add_yaml(WordList& list, const std::string& text, const std::string& path) {
  for (const io::YamlEntry& entry : io::read_yaml_map(text, path)) {
    std::int64_t id = -1;
    const std::string value = entry.values.size() == 1 && !entry.list ? entry.values[0] : "";
    const auto read = std::from_chars(value.data(), value.data() + value.size(), id);
    if (value.empty() || read.ec != std::errc() || read.ptr != value.data() + value.size())
      throw DataError(path + ":" + std::to_string(entry.line) + ": '" + entry.key +
                      "' has the id '" + value + "'; ids are numbers");
    list.add(entry.key, id);
  }
}

VocabularyRows of_words(const std::string& path, std::int64_t count) {
  const std::vector<std::string> words = read_words(path, count);
  const auto id_of = [&](const char* symbol) -> std::int64_t {
    const auto found = std::find(words.begin(), words.end(), symbol);
    return found == words.end() ? -1 : found - words.begin();
  };
  const ForeignSymbols symbols{id_of("<pad>"), id_of("<unk>"), id_of("<s>"), id_of("</s>")};
  if (symbols.unknown < 0 || symbols.end < 0)
    throw DataError(path + ": has no " + (symbols.end < 0 ? "</s>" : "<unk>") +
                    ", which a vocabulary of Marian has");
  VocabularyRows out;
  out.inputs = out.outputs = rows_in_order(symbols, count);
  out.tokenizer.tokens = {"<pad>", "<unk>", "<s>", "</s>"};
  for (std::size_t id = 4; id < out.inputs.size(); ++id)
    out.tokenizer.tokens.push_back(words[static_cast<std::size_t>(out.inputs[id])]);
  (void)data::restore_tokenizer(out.tokenizer);
  return out;
}

VocabularyRows of_pieces(const std::string& path, std::int64_t count) {
  const data::ModelIds model = data::read_model_ids(file_text(path), path);
  VocabularyRows out{model.tokenizer, {model.ids.begin(), model.ids.end()}, {}};
  const auto pieces =
      std::count_if(out.inputs.begin(), out.inputs.end(), [](std::int64_t id) { return id >= 0; });
  if (pieces != count)
    throw DataError(path + ": has " + std::to_string(pieces) + " pieces, and the model " +
                    std::to_string(count) + " tokens: the vocabulary is of another model");
  if (out.inputs[data::kEnd] < 0 || out.inputs[data::kUnknown] < 0)
    throw DataError(path + ": has no end symbol, which a vocabulary of Marian has");
  out.outputs = out.inputs;
  return out;
}

}  // namespace

std::string file_text(const std::string& path) {
  std::error_code status;
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path, status))
    throw DataError(path + " can't be read: " + (file ? "is a folder" : std::strerror(errno)));
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::int64_t> rows_in_order(const ForeignSymbols& symbols, std::int64_t count) {
  const std::array<std::int64_t, 4> special = {symbols.pad, symbols.unknown, symbols.begin,
                                               symbols.end};
  std::vector<std::int64_t> rows(special.begin(), special.end());
  for (std::int64_t row = 0; row < count; ++row)
    if (std::find(special.begin(), special.end(), row) == special.end()) rows.push_back(row);
  return rows;
}

std::vector<std::string> read_words(const std::string& path, std::int64_t count) {
  WordList list(path, count);
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension == ".yml" || extension == ".yaml" || extension == ".json") {
    const std::string text = file_text(path);
    if (const auto first = text.find_first_not_of(" \t\r\n");
        first != std::string::npos && text[first] == '{')
      add_json(list, text, path);
    else
      add_yaml(list, text, path);
  } else {
    std::int64_t id = 0;
    for (const std::string& word : data::read_text(path).lines) list.add(word, id++);
  }
  return std::move(list).whole();
}

VocabularyRows marian_vocabulary(const std::string& path, std::int64_t count) {
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension == ".fsv")
    throw DeckError(path +
                    ": a vocabulary of factors (.fsv) is not covered; covered are .yml, "
                    ".json, a word a line, and .spm");
  return extension == ".spm" || extension == ".model" ? of_pieces(path, count)
                                                      : of_words(path, count);
}

}  // namespace th::app
