#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/byte_source.hpp"
#include "th/data/corpus.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {

class TemporaryFolder;

/// How the ranks of one node share one index. The defaults are for one rank.
struct NodeShare {
  /// Where the run writes. By default data.index_dir and a temporary index are beside it.
  std::string output_dir;
  bool writer = true;  ///< true on exactly one rank of the node
  /// Gives all ranks of the node the writer's text, once all of them have called it. Collective
  /// over them; empty for one rank.
  std::function<void(std::string& text)> broadcast;
  std::chrono::milliseconds pipe_patience = kPipePatience;
};

/// What the files of the deck hold. `valid` and `test` are null where the deck names none.
struct Dataset {
  /// The same object when both sides have one vocabulary.
  std::shared_ptr<const Tokenizer> source_tokenizer, target_tokenizer;
  std::shared_ptr<const ParallelCorpus> train, valid, test;
  [[nodiscard]] TrainingPairs training() const {
    return {train, {source_tokenizer, target_tokenizer}};
  }
  std::vector<std::string> notes;     ///< what was read of each part; one rank prints them
  std::vector<std::string> warnings;  ///< on every rank; one rank prints them
  std::vector<FileStamp> test_files;  ///< when they were read
  /// Keeps the lock on a temporary index while its pages are in use; null: none, or not the writer.
  std::shared_ptr<TemporaryFolder> temporary;
};

/// Takes the parts that an index in data.index_dir holds of the files as they are now, and encodes
/// the others into a temporary file. That file is in the first folder with room of TMPDIR, /tmp,
/// the folder of output_dir and /dev/shm, and is unlinked when this returns. `given`: tokenizers in
/// place of those that the training text makes. If the writer throws DataError, every rank of the
/// node throws the same. Collective over the node.
[[nodiscard]] Dataset open_dataset(const config::DataSection& data, bool joint_vocabulary,
                                   const NodeShare& share, const TokenizerPair& given = {});

/// The files that have changed since they were read, divided by commas.
[[nodiscard]] std::string changed_files(const std::vector<FileStamp>& files);

/// The file in which `th_corpus encode` writes a deck's index.
[[nodiscard]] std::string index_path(const config::DataSection& data,
                                     const std::string& output_dir);
/// Throws DeckError if the index's path names a file that is no index; a damaged index counts as
/// one.
void require_no_other_file(const std::string& index);
/// Encodes all parts of the deck into index_path() and replaces what was there; runs that use the
/// old index keep it. Returns what was read of each part. Throws DataError, also if another process
/// is writing the index.
[[nodiscard]] std::vector<std::string> write_index(const config::DataSection& data,
                                                   bool joint_vocabulary,
                                                   const std::string& output_dir,
                                                   const TokenizerPair& given = {});
/// Compares the deck's files with the whole index and returns the differences, one a line. Throws
/// DataError if there is no index.
[[nodiscard]] std::vector<std::string> verify_index(const config::DataSection& data,
                                                    bool joint_vocabulary,
                                                    const std::string& output_dir,
                                                    const TokenizerPair& given = {});

}  // namespace th::data
