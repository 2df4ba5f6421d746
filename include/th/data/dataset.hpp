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

/// How the ranks of one node come to one index. The defaults are for one rank.
struct NodeShare {
  /// Where the run writes: data.index_dir and a temporary index lie beside it, unless said
  /// otherwise.
  std::string output_dir;
  bool writer = true;  ///< true on exactly one rank of the node
  /// Gives all ranks of the node the writer's text, once all have come. Collective over them;
  /// empty: one rank.
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
  std::vector<std::string> notes;     ///< what became of each part; for one rank to print
  std::vector<std::string> warnings;  ///< on every rank; for one rank to print
  std::vector<FileStamp> test_files;  ///< when they were read
  /// Keeps the lock on a temporary index while its pages are in use; null: none, or not the writer.
  std::shared_ptr<TemporaryFolder> temporary;
};

/// Takes the parts that an index in data.index_dir has of the files as they are now, and encodes
/// the others: into a file in the first folder with room of TMPDIR, /tmp, the folder of output_dir
/// and /dev/shm, which has no name any more when this returns. `given`: tokenizers in place of
/// those that the training text makes. Throws the same DataError on every rank of the node when the
/// writer meets one. Collective over the node.
[[nodiscard]] Dataset open_dataset(const config::DataSection& data, bool joint_vocabulary,
                                   const NodeShare& share, const TokenizerPair& given = {});

/// Those of the test files that are not what they were when they were read, with commas.
[[nodiscard]] std::string changed_files(const std::vector<FileStamp>& files);

/// The file in which `th_corpus encode` writes a deck's index.
[[nodiscard]] std::string index_path(const config::DataSection& data,
                                     const std::string& output_dir);
/// Throws DeckError where something lies at an index's path that is none (a damaged one is one).
void require_no_other_file(const std::string& index);
/// Encodes all parts of the deck into index_path(), in place of what was there; runs that use that
/// keep it. Returns what became of each part. Throws DataError, also where another process writes
/// it.
[[nodiscard]] std::vector<std::string> write_index(const config::DataSection& data,
                                                   bool joint_vocabulary,
                                                   const std::string& output_dir,
                                                   const TokenizerPair& given = {});
/// Reads the deck's files and the whole index: what differs, a line each; empty: nothing does.
/// Throws DataError where there is no index.
[[nodiscard]] std::vector<std::string> verify_index(const config::DataSection& data,
                                                    bool joint_vocabulary,
                                                    const std::string& output_dir,
                                                    const TokenizerPair& given = {});

}  // namespace th::data
