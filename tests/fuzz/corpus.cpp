#include "th/data/corpus.hpp"

#include <cstring>

#include "data/index/index_layout.hpp"
#include "data/index/index_writer.hpp"
#include "reader.hpp"
#include "th/base/hash.hpp"
#include "th/data/text.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

// Texts, plain and packed, in lines or in columns, and indexes of encoded corpora.
namespace th::fuzz {
namespace {

constexpr const char* kLines = "the first line\nun café crème\n\nthree words here\nfour\n";
constexpr const char* kColumns = "one\tun\ntwo\tdeux\nthree\ttrois\n";

/// An index of five pairs of seven lines, with a part without pairs.
std::string index_seed(const std::string& path, data::KeptText kept, std::size_t long_pair) {
  {
    data::IndexWriter writer(path);
    writer.begin_part("train", kept);
    data::PartInfo info;
    for (std::int32_t i = 0; i < 7; ++i) {
      const std::string source = "source " + std::to_string(i);
      const std::string target = "target " + std::to_string(i);
      writer.add_line(source, target);
      ++info.counts.lines;
      if (i % 3 == 2) continue;
      std::vector<std::int32_t> ids(i == 1 ? long_pair : 2, 4);
      writer.add(ids, std::vector<std::int32_t>{2, 4, 5, 3});
      ++info.counts.pairs;
    }
    info.hash = 0xFEDCBA9876543210U;
    info.file_pairs = {3, 2};
    info.files = {{0xFFFFFFFFFFFFFFFFU, 5, -6}, {1, -1, 0}};
    info.source_vocabulary = info.target_vocabulary = 6;
    writer.end_part(info);
    writer.begin_part("test", {.of_files = true});
    writer.end_part({});
    writer.set_tokenizers("th_words 1\n<pad>\n<unk>\n<s>\n</s>\na\nb\n", "");
    writer.finish("the keys", "of tokenizers");
  }
  return get_file(path);
}

std::vector<std::string> corpus_seeds(const std::string& folder) {
  const std::string lines = kLines, bomb(1 << 20, 'a');
  return {lines,
          kColumns,
          "\xef\xbb\xbf" + std::string("with a mark\r\nand returns\r\n"),
          "no end",
          deflated(kGzip, lines),
          deflated(kGzip, kColumns) + deflated(kGzip, lines) + std::string(20, '\0'),
          deflated(kGzip, bomb + bomb + bomb),
          index_seed(folder + "/index", {.of_pairs = true, .of_files = true}, 3),
          index_seed(folder + "/index", {}, 3),
          index_seed(folder + "/index", {}, 3).substr(0, 300)};
}

/// The bytes with a header that fits the tables, so that a change of those is read.
std::string with_header(std::string bytes) {
  data::IndexHeader header;
  if (bytes.size() < sizeof header) return bytes;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (const std::size_t tables = bytes.rfind("{\"keys\""); tables != std::string::npos)
    header.tables_offset = tables;
  if (header.tables_offset > bytes.size()) return bytes;
  header.tables_bytes = bytes.size() - header.tables_offset;
  header.tables_crc = crc32c(std::as_bytes(std::span(bytes)).subspan(header.tables_offset));
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

void read_part(const std::shared_ptr<const data::IndexFile>& index, const std::string& part) {
  const data::ParallelCorpus corpus(index, part);
  (void)corpus.lengths();
  std::vector<std::string> texts;
  for (std::int64_t pair = 0; pair < corpus.size(); ++pair) {
    attempt<DataError>([&] { corpus.require_ids(corpus.source(pair), corpus.target(pair)); });
    if (corpus.has_text()) {
      attempt<DataError>([&] {
        (void)data::is_white(corpus.source_text(pair));
        (void)data::is_blank(corpus.target_text(pair));
      });
    }
    texts.emplace_back("text");
  }
  attempt<DataError>([&] { (void)corpus.source_lines(); });
  attempt<DataError>([&] { (void)corpus.target_lines(); });
  // A part of the training text keeps no places of lines.
  if (!index->section(part, "line_of").empty() || corpus.size() == 0)
    attempt<DataError>([&] { (void)data::by_line(corpus, texts); });
  corpus.forget_pages();
}

void read_index(const std::string& path) {
  const auto index = std::make_shared<const data::IndexFile>(path);
  (void)index->damaged_section();
  attempt<DataError>([&] { (void)data::tokenizer_from(index->source_tokenizer())->size(); });
  attempt<DataError>([&] { (void)index->target_tokenizer().size(); });
  for (const char* part : {"train", "valid", "test"})
    attempt<DataError>([&] { read_part(index, part); });
}

/// All pairs of a file and another, or of the columns of a file.
void read_pairs(const std::vector<data::InputFile>& source,
                const std::vector<data::InputFile>& target, config::TextFormat format) {
  data::PairReader reader(data::PartFiles{source, target, format, data::kPipePatience});
  for (data::PairReader::Pair pair; reader.next(pair);) {
    must(pair.source.find('\n') == std::string_view::npos &&
             pair.target.find('\n') == std::string_view::npos,
         "a line holds a line end");
    (void)data::is_white(pair.source);
    (void)data::is_blank(pair.target);
    must(!reader.source_place().empty() && !reader.target_place().empty(), "a line has no place");
  }
  (void)reader.hash();
}

void read_texts(const std::string& path, const std::string& sound) {
  std::uint64_t hash = 0;
  attempt<DataError>([&] {
    const data::TextFile text = data::read_text(path);
    hash = text.hash;
    must(data::read_text(path).hash == hash, "a file has two hashes");
  });
  attempt<DataError>([&] { read_pairs({{path, path}}, {}, config::TextFormat::kTsv); });
  attempt<DataError>([&] {
    read_pairs({{path, path}}, {{path, path}}, config::TextFormat::kText);
  });
  attempt<DataError>([&] {
    read_pairs({{path, path}, {sound, sound}}, {{sound, sound}, {path, path}},
               config::TextFormat::kText);
  });
}

void read_corpus(const std::string& input, const std::string& folder) {
  const std::string path = folder + "/corpus", sound = folder + "/sound";
  if (input.starts_with("THINDEX")) {
    put_file(path, with_header(input));
    read_index(path);
    return;
  }
  put_file(path, input);
  put_file(sound, kLines);
  read_texts(path, sound);
}

}  // namespace

Reader corpus_reader() {
  return {"corpus",
          16384,
          {ExitCode::kData},
          {"\r\n",
           "\r",
           "\t",
           "\n",
           "\xef\xbb\xbf",
           "\xc2\xa0",
           "\xe3\x80\x80",
           "\xed\xa0\x80",
           "\xf4\x90\x80\x80",
           "\xf0\x9f\x98\x80",
           "\x1f\x8b\x08",
           "BZh91AY&SY",
           "PK\x03\x04",
           "\x28\xb5\x2f\xfd",
           std::string(64, '\0'),
           "THINDEX2",
           "{\"keys\"",
           "\"sections\":{",
           "\"lines\":",
           "\"pairs\":",
           "\"ids\":[64,",
           "\"starts\":",
           "\"lengths\":",
           "\"short_lengths\":",
           "\"line_of\":",
           "\"text\":",
           "\"text_starts\":",
           "\"text_lengths\":",
           "\"source_lines\":",
           "\"file_pairs\":[",
           "\"vocabulary\":[",
           "null",
           "true",
           "[",
           "]"},
          corpus_seeds,
          read_corpus};
}

}  // namespace th::fuzz
