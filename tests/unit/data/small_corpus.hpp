#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/corpus.hpp"

namespace th::data::test {

/// Sentence i has 1 + (i * 7 mod 13) source words and 1 + (i * 5 mod 11) target words.
inline std::shared_ptr<const ParallelCorpus> make_corpus(std::size_t sentences) {
  std::vector<std::string> tokens = {"<pad>", "<unk>", "<s>", "</s>"};
  std::vector<std::string> source(sentences), target(sentences);
  for (std::size_t i = 0; i < sentences; ++i) {
    tokens.push_back("w" + std::to_string(i));
    for (std::size_t k = 0; k < 1 + i * 7 % 13; ++k) source[i] += tokens.back() + " ";
    for (std::size_t k = 0; k < 1 + i * 5 % 11; ++k) target[i] += tokens.back() + " ";
  }
  const auto tokenizer = restore_tokenizer({tokens, ""});
  const auto path = std::filesystem::path(::testing::TempDir()) /
                    ("th_loader_" + std::to_string(::getpid()) + ".idx");
  ParallelCorpus::write_index(path, {source, target, *tokenizer, *tokenizer}, 100, 42);
  auto corpus = std::make_shared<const ParallelCorpus>(path);
  std::filesystem::remove(path);
  return corpus;
}

inline config::DataSection section(std::int64_t batch_size, std::int64_t batch_tokens = 0,
                                   std::int64_t window = 16) {
  config::DataSection data;
  data.batch_size = batch_size;
  data.batch_tokens = batch_tokens;
  data.sort_window = window;
  return data;
}

}  // namespace th::data::test
