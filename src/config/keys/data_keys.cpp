#include "config/key_table.hpp"

// The keys of the deck's section [data].
namespace th::config {

namespace {

void add_files(std::vector<Key>& t) {
  t.push_back(paths_key("data.train_source", TH_AT(data.train_source),
                        "training text, one sentence a line, .gz is read too; relative to the "
                        "deck; several files with commas"));
  t.push_back(paths_key("data.train_target", TH_AT(data.train_target),
                        "its translation, line by line; as many files"));
  t.push_back(paths_key("data.valid_source", TH_AT(data.valid_source), "validation text"));
  t.push_back(paths_key("data.valid_target", TH_AT(data.valid_target), "its translation"));
  t.push_back(paths_key("data.test_source", TH_AT(data.test_source),
                        "test text, translated once at the end"));
  t.push_back(paths_key("data.test_target", TH_AT(data.test_target), "its reference translation"));
  t.push_back(
      choice_key("data.format", TH_AT(data.format),
                 Choices<TextFormat>{{"text", TextFormat::kText}, {"tsv", TextFormat::kTsv}},
                 "text: a file a side; tsv: both sides on a line of the source's file, "
                 "with a tab between them, and no file of the target"));
  t.push_back(numbers_key("data.train_weights", TH_AT(data.train_weights),
                          "one a training file: their shares of an epoch, which has as many pairs "
                          "as all files together; each file is used up before it begins again. "
                          "Empty: every pair once"));
  t.push_back(number_key("data.train_temperature", TH_AT(data.train_temperature),
                         {.low = 1, .high = 1000},
                         "the shares of training files are those of n^(1 / T), n the pairs of a "
                         "file: above 1 smaller files come more often; 1: every pair once"));
  t.push_back(path_key("data.index_dir", TH_AT(data.index_dir),
                       "folder of the index that th_corpus encode writes and runs use; empty: "
                       "run.output_dir with .index behind it"));
}

}  // namespace

void add_data(std::vector<Key>& t) {
  add_files(t);
  t.push_back(choice_key(
      "data.synthetic", TH_AT(data.synthetic),
      Choices<Synthetic>{{"none", Synthetic::kNone}, {"random_ids", Synthetic::kRandomIds}},
      "random_ids: batches of random ids in memory, for timing"));
  t.push_back(integer_key("data.synthetic_length", TH_AT(data.synthetic_length), 1, 1 << 20,
                          "source ids, decoder inputs and labels of a synthetic sentence"));
  add_tokenizer(t);
  t.push_back(integer_key("data.max_length", TH_AT(data.max_length), 2, 1 << 20,
                          "ids of a line in all, end kept"));
  const Interval lengths{.low = 2, .high = 1 << 20};
  t.push_back(integer_key("data.max_source_length", TH_AT(data.max_source_length), lengths,
                          "data.max_length", "the same for lines of the source"));
  t.push_back(integer_key("data.max_target_length", TH_AT(data.max_target_length), lengths,
                          "data.max_length", "the same for lines of the target"));
  t.push_back(
      choice_key("data.long_lines", TH_AT(data.long_lines),
                 Choices<LongLines>{{"cut", LongLines::kCut}, {"drop", LongLines::kDrop}},
                 "longer lines are cut, or their pairs dropped; lines of the test set are cut"));
  t.push_back(number_key("data.max_ratio", TH_AT(data.max_ratio), {.low = 0, .high = 1e6},
                         "pairs of which one side has more than so many times the other's ids are "
                         "dropped, not of the test set; 0: any"));
  t.push_back(
      choice_key("data.empty_lines", TH_AT(data.empty_lines),
                 Choices<EmptyLines>{{"error", EmptyLines::kError}, {"skip", EmptyLines::kSkip}},
                 "skip counts and warns"));
  t.push_back(integer_key("data.batch_size", TH_AT(data.batch_size), 1, 1 << 20,
                          "sentences in one micro-batch, a rank"));
  t.push_back(integer_key("data.batch_tokens", TH_AT(data.batch_tokens), 0, 1 << 28,
                          "when set: tokens in one micro-batch, a sentence pair counted by its "
                          "longer side, sentences of like length together"));
  t.push_back(integer_key("data.num_workers", TH_AT(data.num_workers), 0, 256,
                          "threads that prepare batches ahead"));
  t.push_back(integer_key("data.sort_window", TH_AT(data.sort_window), 0, 1 << 20,
                          "optimizer steps whose sentences are sorted by length together: steps of "
                          "like lengths; 0 or 1: every step is a random sample"));
}

}  // namespace th::config
