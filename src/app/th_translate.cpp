#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/data/batcher.hpp"
#include "th/data/text.hpp"
#include "th/data/vocabulary.hpp"
#include "th/io/checkpoint_reader.hpp"
#include "th/model/element.hpp"
#include "th/model/transformer.hpp"
#include "th/zero/resident_source.hpp"

#include <ATen/ATen.h>
#include <boost/program_options.hpp>

#include <algorithm>
#include <iostream>

// th_translate CHECKPOINT [--input F]: one source line in, one target line out, in order. Greedy decoding.
namespace {

namespace po = boost::program_options;

struct Request {
  std::string checkpoint, input;
  std::int64_t batch = 32;
};

Request parse(int argc, char** argv) {
  Request request;
  std::int64_t beam = 1;
  po::options_description options("th_translate CHECKPOINT [--input F]: one source line in, one target line out");
  options.add_options()("help", "this text")("checkpoint", po::value(&request.checkpoint)->required(), "a step folder, or a run's folder: its newest")(
      "input", po::value(&request.input), "source text, .gz is read too; without it standard input")("beam", po::value(&beam), "1: greedy, the only one of this build")(
      "batch", po::value(&request.batch), "sentences decoded together");
  po::positional_options_description positional;
  positional.add("checkpoint", 1);
  try {
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(options).positional(positional).run(), values);
    if (values.contains("help")) {
      std::cout << options;
      std::exit(0);
    }
    po::notify(values);
  } catch (const po::error& error) {
    throw th::DeckError(error.what());
  }
  if (beam != 1) throw th::DeckError("--beam " + std::to_string(beam) + " is not part of this build; allowed 1");
  if (request.batch < 1) throw th::DeckError("--batch must be at least 1");
  return request;
}

std::vector<std::string> read_lines(const std::string& path) {
  if (!path.empty()) return th::data::read_text(path).lines;
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) lines.push_back(line);
  return lines;
}

at::Tensor read_parameters(const th::io::CheckpointReader& reader, const th::zero::FlatLayout& layout) {
  at::Tensor flat = at::zeros({layout.padded_total()}, at::TensorOptions().dtype(at::kFloat));
  reader.read_shard(layout, 0, "parameters", {flat.data_ptr<float>(), static_cast<std::size_t>(flat.numel())});
  return flat;
}

th::data::Batch make_batch(const std::vector<std::vector<std::int32_t>>& sources) {
  th::data::Batch batch;
  batch.sentences = std::ssize(sources);
  for (const auto& ids : sources) batch.source_length = std::max<std::int64_t>(batch.source_length, std::ssize(ids));
  batch.source.assign(static_cast<std::size_t>(batch.sentences * batch.source_length), th::data::kPad);
  for (std::size_t b = 0; b < sources.size(); ++b) {
    std::copy(sources[b].begin(), sources[b].end(), batch.source.begin() + static_cast<std::ptrdiff_t>(b) * batch.source_length);
    batch.source_lengths.push_back(static_cast<std::int32_t>(sources[b].size()));
    batch.source_tokens += std::ssize(sources[b]);
  }
  return batch;
}

int translate(const Request& request) {
  const th::io::CheckpointReader reader(request.checkpoint);
  const auto& info = reader.info();
  const th::config::RunConfig config = th::config::load_deck_text(info.deck, request.checkpoint + " (its deck)", "/", {}).config;
  if (info.source_tokens.empty()) throw th::CheckpointError(reader.folder() + " holds no vocabulary: it was trained on synthetic ids");
  const th::data::WordTokenizer source(info.source_tokens), target(info.target_tokens);
  th::model::Transformer model(config.model, source.size(), target.size(), th::model::resolve_gemm(config.run.gemm),
                               std::max(config.data.max_length, config.decode.max_length) + 2);
  const th::zero::FlatLayout layout(model.units(), 1);
  th::zero::ResidentSource parameters(layout, read_parameters(reader, layout).to(th::model::scalar_type(config.precision.dtype)));
  const std::vector<std::string> lines = read_lines(request.input);
  for (std::size_t at = 0; at < lines.size(); at += static_cast<std::size_t>(request.batch)) {
    const std::size_t end = std::min(lines.size(), at + static_cast<std::size_t>(request.batch));
    std::vector<std::vector<std::int32_t>> ids;
    for (std::size_t i = at; i < end; ++i) ids.push_back(th::data::encode_source(source, lines[i], config.data.max_length));
    for (const auto& output : model.greedy(parameters, make_batch(ids), config.decode.max_length)) std::cout << target.decode(output) << "\n";
  }
  std::cout.flush();
  if (!std::cout) throw th::DataError("the translations can't be written to standard output");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return translate(parse(argc, argv));
  } catch (const th::Error& error) {
    std::cerr << "th_translate: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  }
}
