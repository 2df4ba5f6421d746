#include "config/key_table.hpp"

// The keys of the deck's section [data].
namespace th::config {

void add_data(std::vector<Key>& t) {
  t.push_back(
      path_key("data.train_source", TH_AT(data.train_source),
               "training text, one sentence a line, .gz is read too; relative to the deck"));
  t.push_back(
      path_key("data.train_target", TH_AT(data.train_target), "its translation, line by line"));
  t.push_back(path_key("data.valid_source", TH_AT(data.valid_source), "validation text"));
  t.push_back(path_key("data.valid_target", TH_AT(data.valid_target), "its translation"));
  t.push_back(path_key("data.test_source", TH_AT(data.test_source),
                       "test text, translated once at the end"));
  t.push_back(path_key("data.test_target", TH_AT(data.test_target), "its reference translation"));
  t.push_back(choice_key(
      "data.synthetic", TH_AT(data.synthetic),
      Choices<Synthetic>{{"none", Synthetic::kNone}, {"random_ids", Synthetic::kRandomIds}},
      "random_ids: batches of random ids in memory, for timing"));
  t.push_back(integer_key("data.synthetic_length", TH_AT(data.synthetic_length), 1, 1 << 20,
                          "source ids, decoder inputs and labels of a synthetic sentence"));
  add_tokenizer(t);
  t.push_back(integer_key("data.max_length", TH_AT(data.max_length), 2, 1 << 20,
                          "ids of a line in all, end kept; longer lines are cut"));
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
