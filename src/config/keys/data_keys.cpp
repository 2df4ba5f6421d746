#include "config/key_table.hpp"

// The keys of the deck's section [data].
namespace th::config {

namespace {

void add_files(std::vector<Key>& t) {
  t.push_back(paths_key(
      "data.train_source", TH_AT(data.train_source),
      "Files of training text, one sentence a line, plain or .gz, relative to the deck."));
  t.push_back(
      paths_key("data.train_target", TH_AT(data.train_target),
                "Files of its translation, line by line: as many as data.train_source has."));
  t.push_back(
      paths_key("data.valid_source", TH_AT(data.valid_source), "Files of validation text."));
  t.push_back(
      paths_key("data.valid_target", TH_AT(data.valid_target), "Files of its translation."));
  t.push_back(paths_key("data.test_source", TH_AT(data.test_source),
                        "Files of test text. The run translates it once, at its end."));
  t.push_back(paths_key("data.test_target", TH_AT(data.test_target),
                        "Files of its reference translation."));
  t.push_back(
      choice_key("data.format", TH_AT(data.format),
                 Choices<TextFormat>{{"text", TextFormat::kText}, {"tsv", TextFormat::kTsv}},
                 "text: each side has a file. tsv: a line of the source's file holds both sides "
                 "with a tab between them, and there is no target file."));
  t.push_back(fixed(numbers_key(
      "data.train_weights", TH_AT(data.train_weights),
      "One number for each training file gives its share of an epoch, which has as many pairs as "
      "all files together. Each file is used up before it begins again. Empty: every pair once.")));
  t.push_back(fixed(
      number_key("data.train_temperature", TH_AT(data.train_temperature), {.low = 1, .high = 1000},
                 "A training file of n pairs has a share of n^(1 / T) in an epoch, so "
                 "smaller files come more often above 1. 1: every pair once.")));
  t.push_back(
      unchecked(path_key("data.index_dir", TH_AT(data.index_dir),
                         "Folder of the index that th_corpus encode writes and runs use. Empty: "
                         "run.output_dir with .index behind it.")));
}

}  // namespace

void add_data(std::vector<Key>& t) {
  add_files(t);
  t.push_back(fixed(choice_key(
      "data.synthetic", TH_AT(data.synthetic),
      Choices<Synthetic>{{"none", Synthetic::kNone}, {"random_ids", Synthetic::kRandomIds}},
      "random_ids makes batches of random ids in memory, for timing.")));
  t.push_back(fixed(integer_key(
      "data.synthetic_length", TH_AT(data.synthetic_length), 1, 1 << 20,
      "Number of source ids, of decoder inputs and of labels in a synthetic sentence.")));
  add_tokenizer(t);
  t.push_back(fixed(integer_key("data.max_length", TH_AT(data.max_length), 2, 1 << 20,
                                "Largest number of ids in a line, with its end.")));
  const Interval lengths{.low = 2, .high = 1 << 20};
  t.push_back(
      fixed(integer_key("data.max_source_length", TH_AT(data.max_source_length), lengths,
                        "data.max_length", "Largest number of ids in a line of the source.")));
  t.push_back(
      fixed(integer_key("data.max_target_length", TH_AT(data.max_target_length), lengths,
                        "data.max_length", "Largest number of ids in a line of the target.")));
  t.push_back(
      fixed(choice_key("data.long_lines", TH_AT(data.long_lines),
                       Choices<LongLines>{{"cut", LongLines::kCut}, {"drop", LongLines::kDrop}},
                       "cut shortens longer lines, drop leaves out their pairs. Lines of the "
                       "test set are always cut.")));
  t.push_back(
      fixed(number_key("data.max_ratio", TH_AT(data.max_ratio), {.low = 0, .high = 1e6},
                       "A pair is dropped if one side has more than so many times the other's "
                       "ids; pairs of the test set stay. 0: no limit.")));
  t.push_back(fixed(choice_key(
      "data.empty_lines", TH_AT(data.empty_lines),
      Choices<EmptyLines>{{"error", EmptyLines::kError}, {"skip", EmptyLines::kSkip}},
      "error ends the run with exit 3. skip leaves out the pair, counts it and warns.")));
  t.push_back(fixed(integer_key("data.batch_size", TH_AT(data.batch_size), 1, 1 << 20,
                                "Number of sentences in a micro-batch.")));
  t.push_back(fixed(
      integer_key("data.batch_tokens", TH_AT(data.batch_tokens), 0, 1 << 28,
                  "When set, number of tokens in a micro-batch instead of data.batch_size. A pair "
                  "counts by its longer side, and sentences of like length come together.")));
  t.push_back(integer_key("data.num_workers", TH_AT(data.num_workers), 0, 256,
                          "Number of threads that prepare batches ahead."));
  t.push_back(
      fixed(integer_key("data.sort_window", TH_AT(data.sort_window), 0, 1 << 20,
                        "Sentences of so many optimizer steps are sorted by length together, so "
                        "that a step has like lengths. 0 or 1: every step is a random sample.")));
}

}  // namespace th::config
