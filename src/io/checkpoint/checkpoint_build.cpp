#include "th/io/checkpoint/checkpoint_build.hpp"

#include <algorithm>
#include <filesystem>

#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_writer.hpp"
#include "th/io/checkpoint/compare.hpp"

namespace th::io {
namespace {

std::vector<float> read_whole_shard(const zero::FlatLayout& layout, std::int64_t rank,
                                    const std::string& kind, const ElementSource& source) {
  std::vector<float> shard(static_cast<std::size_t>(layout.shard_total()));
  for (const auto& piece : layout.pieces(rank)) {
    source(kind, layout.tensors()[static_cast<std::size_t>(piece.tensor)].spec.name,
           piece.tensor_begin,
           std::span(shard).subspan(static_cast<std::size_t>(piece.shard_offset),
                                    static_cast<std::size_t>(piece.count)));
  }
  return shard;
}

}  // namespace

void build_checkpoint(const std::string& output, Existing existing, CheckpointInfo info,
                      const ElementSource& source, std::int64_t shard_elements) {
  OutputFolder folder(output, existing);
  const std::int64_t elements = zero::FlatLayout(info.units, 1).parameter_count();
  require_free_space(folder.temporary(), elements * 4 * (1 + std::ssize(info.state_names)));
  info.world_size = std::max<std::int64_t>(1, (elements + shard_elements - 1) / shard_elements);
  info.format_version = kFormatVersion;
  const zero::FlatLayout layout(info.units, info.world_size);
  info.alignment = layout.alignment();
  for (std::int64_t rank = 0; rank < layout.ranks(); ++rank) {
    const std::vector<float> parameters = read_whole_shard(layout, rank, "parameters", source);
    std::vector<std::vector<float>> values;
    for (const auto& state : info.state_names)
      values.push_back(read_whole_shard(layout, rank, state, source));
    std::vector<NamedShard> states;
    for (std::size_t i = 0; i < values.size(); ++i)
      states.emplace_back(info.state_names[i], values[i]);
    write_shard(folder.temporary(), rank, layout, parameters, states, info.short_states);
  }
  write_model_file(folder.temporary(), layout, info);
  folder.commit();
}

std::string require_same_model(const CheckpointReader& reader, const zero::FlatLayout& layout,
                               const data::SavedTokenizer& source,
                               const data::SavedTokenizer& target) {
  const CheckpointInfo& info = reader.info();
  std::string text;
  const auto compare_side = [&](const std::string& side, const data::SavedTokenizer& theirs,
                                const data::SavedTokenizer& ours) {
    const std::string difference =
        tokenizer_difference(theirs, "the checkpoint", ours, "the corpus");
    if (!difference.empty()) text += "\n  vocabulary/" + side + ": " + difference;
  };
  compare_side("source", info.source(), source);
  compare_side("target", info.target(), target);
  try {
    reader.require_same_tensors(layout);
  } catch (const CheckpointError& error) {
    if (text.empty()) throw;
    const std::string tensors = error.what();
    text += tensors.substr(std::min(tensors.find('\n'), tensors.size()));
    throw CheckpointError(reader.folder() + " is of another model:" + text);
  }
  return text;
}

}  // namespace th::io
