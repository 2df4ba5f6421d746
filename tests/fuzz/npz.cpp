#include <zlib.h>

#include <cstring>
#include <string_view>

#include "app/inspect/inspect_commands.hpp"
#include "app/interchange/marian.hpp"
#include "reader.hpp"
#include "th/io/formats/npz_reader.hpp"
#include "th/io/formats/yaml_map.hpp"

// Archives of numpy, as th_inspect import --from marian takes them; "%yml" and "%words" begin a
// model's configuration and a vocabulary.
namespace th::fuzz {
namespace {

constexpr std::string_view kConfiguration = "%yml\n", kWords = "%words\n";
constexpr std::int64_t kWidth = 4, kInner = 3, kTokens = 6;
constexpr const char* kVocabulary = "</s>: 0\n<unk>: 1\n\"a\": 2\n'b': 3\nc: 4\nd: 5\n";

std::string little(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

/// A zip archive of NAME.npy members.
class Archive {
 public:
  explicit Archive(bool packs) : packs_(packs) {}

  void add(const std::string& name, const std::string& type, const std::string& shape,
           const std::string& data) {
    std::string header =
        "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
    header.resize((10 + header.size() + 64) / 64 * 64 - 11, ' ');
    header += '\n';
    const std::string npy =
        std::string("\x93NUMPY\x01\0", 8) + little(header.size(), 2) + header + data;
    const std::string stored = packs_ ? deflated(kRawDeflate, npy) : npy, file = name + ".npy";
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(npy.data()), npy.size());
    // Version, flags, method, time and date; checksum, sizes and length of the name.
    const std::string common = little(20, 2) + little(0, 2) + little(packs_ ? 8 : 0, 2) +
                               little(0, 4) + little(crc, 4) + little(stored.size(), 4) +
                               little(npy.size(), 4) + little(file.size(), 2);
    directory_ += "PK\x01\x02" + little(20, 2) + common + little(0, 2) + little(0, 2) +
                  little(0, 2) + little(0, 2) + little(0, 4) + little(bytes_.size(), 4) + file;
    bytes_ += "PK\x03\x04" + common + little(0, 2) + file + stored;
    ++count_;
  }
  /// Zeros of fp32.
  void add_zeros(const std::string& name, std::int64_t rows, std::int64_t columns) {
    add(name, "<f4", "(" + std::to_string(rows) + ", " + std::to_string(columns) + ")",
        std::string(static_cast<std::size_t>(rows * columns) * 4, '\0'));
  }
  [[nodiscard]] std::string whole() const {
    return bytes_ + directory_ + "PK\x05\x06" + little(0, 4) + little(count_, 2) +
           little(count_, 2) + little(directory_.size(), 4) + little(bytes_.size(), 4) +
           little(0, 2);
  }

 private:
  bool packs_;
  std::string bytes_, directory_;
  std::uint64_t count_ = 0;
};

std::string configuration() {
  return "dim-emb: 4\ntransformer-heads: 1\ntransformer-dim-ffn: 3\nenc-depth: 1\ndec-depth: 1\n"
         "type: transformer\ntied-embeddings-all: true\ntransformer-postprocess: dan\n"
         "input-types:\n  - sequence\n  - sequence\nversion: v1.12.0\n"
         "transformer-tied-layers: []\ntransformer-preprocess: \"\"\n";
}

std::string marian_seed(bool packs) {
  Archive archive(packs);
  const std::string yaml = configuration() + std::string(1, '\0');
  archive.add("special:model.yml", "|i1", "(" + std::to_string(yaml.size()) + ",)", yaml);
  const auto norm = [&](const std::string& name) {
    archive.add_zeros(name + "_ln_scale", 1, kWidth);
    archive.add_zeros(name + "_ln_bias", 1, kWidth);
  };
  archive.add_zeros("Wemb", kTokens, kWidth);
  archive.add_zeros("decoder_ff_logit_out_b", 1, kTokens);
  for (const std::string side : {"encoder_l1_", "decoder_l1_"}) {
    for (const std::string attention : {"self", "context"}) {
      if (side == "encoder_l1_" && attention == "context") continue;
      for (const std::string part : {"q", "k", "v", "o"}) {
        archive.add_zeros(side + attention + "_W" + part, kWidth, kWidth);
        archive.add_zeros(side + attention + "_b" + part, 1, kWidth);
      }
      norm(side + attention + "_Wo");
    }
    archive.add_zeros(side + "ffn_W1", kWidth, kInner);
    archive.add_zeros(side + "ffn_b1", 1, kInner);
    archive.add_zeros(side + "ffn_W2", kInner, kWidth);
    archive.add_zeros(side + "ffn_b2", 1, kWidth);
    norm(side + "ffn_ffn");
  }
  return archive.whole();
}

std::vector<std::string> npz_seeds(const std::string& /*folder*/) {
  Archive small(false), packed(true);
  for (Archive* archive : {&small, &packed}) {
    archive->add_zeros("x", 2, 3);
    archive->add("half", "<f2", "(2,)", std::string(4, '\1'));
    archive->add("bytes", "|u1", "(3,)", "abc");
  }
  return {small.whole(),
          packed.whole(),
          marian_seed(false),
          marian_seed(true),
          std::string(kConfiguration) + configuration(),
          std::string(kWords) + kVocabulary,
          std::string(kWords) + R"({"</s>":0,"<unk>":1,"a":2,"b":3,"c":4,"d":5})"};
}

void read_arrays(const std::string& path) {
  const io::NpzReader file(path);
  for (const auto& [name, array] : file.arrays()) {
    if (array.type != io::NpzArray::Type::kByte) {
      attempt<CheckpointError>([&] { (void)file.read(name); });
      continue;
    }
    attempt<CheckpointError>([&] {
      const std::string bytes = file.read_bytes(name);
      attempt<DataError>([&] { (void)io::read_yaml_map(bytes, name); });
    });
  }
}

void import_marian(const std::string& path, const std::string& vocabulary,
                   const std::string& folder) {
  app::InspectRequest request;
  request.command = "import";
  request.words = {path};
  request.from = "marian";
  request.vocabulary_source = request.vocabulary_target = vocabulary;
  request.output = folder + "/out";
  request.force = true;
  (void)app::inspect_import(request);
}

void read_npz(const std::string& input, const std::string& folder) {
  const std::string path = folder + "/model.npz", vocabulary = folder + "/words.yml";
  put_file(vocabulary, kVocabulary);
  if (input.starts_with(kConfiguration)) {
    const std::string yaml = input.substr(kConfiguration.size());
    attempt<DataError>([&] { (void)io::read_yaml_map(yaml, "model.yml"); });
    (void)app::read_marian_options(yaml, path);
    return;
  }
  if (input.starts_with(kWords)) {
    put_file(vocabulary, input.substr(kWords.size()));
    put_file(path, marian_seed(false));
    const std::string lines = folder + "/words.txt";
    put_file(lines, input.substr(kWords.size()));
    attempt<DataError>([&] { (void)app::read_words(lines, kTokens); });
  } else {
    put_file(path, input);
    attempt<CheckpointError>([&] { read_arrays(path); });
  }
  import_marian(path, vocabulary, folder);
}

}  // namespace

Reader npz_reader() {
  return {"npz",
          16384,
          {ExitCode::kCheckpoint, ExitCode::kDeck, ExitCode::kData},
          {"PK\x01\x02",
           "PK\x03\x04",
           "PK\x05\x06",
           "PK\x06\x06",
           "PK\x06\x07",
           "\x93NUMPY\x01",
           "\x93NUMPY\x03",
           "'<f4'",
           "'<f2'",
           "'|u1'",
           "'>f8'",
           "'shape': (",
           "'descr': ",
           "'fortran_order': True",
           "(2, 3)",
           "()",
           "(0,)",
           ".npy",
           "special:model.yml",
           "Wemb",
           std::string(4, '\xff'),
           std::string("\1\0\x10\0", 4),
           "dim-emb: ",
           "enc-depth: ",
           "transformer-heads: ",
           "- ",
           "? ",
           ": ",
           "[",
           "]",
           "'",
           "\"",
           "\\u00e9",
           "\\U0010ffff",
           "#",
           "---\n",
           "~",
           "{",
           "|",
           "&",
           "\r\n",
           "%yml\n",
           "%words\n"},
          npz_seeds,
          read_npz};
}

}  // namespace th::fuzz
