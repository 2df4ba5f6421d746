#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/index/index_writer.hpp"
#include "th/config/run_config.hpp"
#include "th/data/corpus.hpp"

namespace th::data::test {

/// Ids of a pair as IndexWriter takes them.
struct IdPair {
  std::vector<std::int32_t> source, target;
};

/// A corpus of `count` pairs, which `pair` makes one by one; `file_pairs`: how many of each file,
/// empty: all of one.
inline std::shared_ptr<const ParallelCorpus> corpus_of(
    std::int64_t count, const std::function<IdPair(std::int64_t)>& pair,
    std::vector<std::int64_t> file_pairs = {}) {
  const std::string path = (std::filesystem::path(::testing::TempDir()) /
                            ("th_corpus_" + std::to_string(::getpid()) + ".idx"))
                               .string();
  IndexWriter writer(path);
  writer.begin_part("train", {});
  for (std::int64_t i = 0; i < count; ++i) {
    const IdPair ids = pair(i);
    writer.add_line("", "");
    writer.add(ids.source, ids.target);
  }
  PartInfo info;
  info.counts.lines = info.counts.pairs = count;
  info.file_pairs = file_pairs.empty() ? std::vector<std::int64_t>{count} : std::move(file_pairs);
  info.hash = 42;
  info.source_vocabulary = info.target_vocabulary = std::int64_t{1} << 30;
  writer.end_part(info);
  writer.set_tokenizers("th_words 1\n<pad>\n<unk>\n<s>\n</s>\n", "");
  writer.finish("keys", "of tokenizers");
  const auto index = std::make_shared<const IndexFile>(path);
  std::filesystem::remove(path);
  return std::make_shared<const ParallelCorpus>(index, "train");
}

/// Sentence i has 1 + (i * 7 mod 13) source words and 1 + (i * 5 mod 11) target words, all 4 + i.
inline std::shared_ptr<const ParallelCorpus> make_corpus(std::int64_t sentences,
                                                         std::vector<std::int64_t> files = {}) {
  return corpus_of(
      sentences,
      [](std::int64_t i) {
        const auto word = static_cast<std::int32_t>(4 + i);
        IdPair ids;
        ids.source.assign(static_cast<std::size_t>(1 + i * 7 % 13), word);
        ids.source.push_back(3);
        ids.target.assign(static_cast<std::size_t>(1 + i * 5 % 11), word);
        ids.target.insert(ids.target.begin(), 2);
        ids.target.push_back(3);
        return ids;
      },
      std::move(files));
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
