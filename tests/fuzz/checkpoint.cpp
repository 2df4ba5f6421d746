#include "checkpoint_files.hpp"
#include "io/file_seal.hpp"
#include "reader.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/checkpoint/checkpoint_writer.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"
#include "th/io/checkpoint/shard_reader.hpp"
#include "th/train/run_state.hpp"

// Checkpoints of two shards. An input takes the place of one of the files (model.h5 begins with its
// seal, a shard with HDF5's signature, `latest` with a name), or says which objects they have.
namespace th::fuzz {
namespace {

constexpr std::string_view kObjects = "\x1e";
constexpr const char* kStep = "step_00000007";

io::CheckpointInfo small_info() {
  io::CheckpointInfo info;
  info.format_version = io::kModelFormatVersion;
  info.step = 7;
  info.world_size = 2;
  info.deck = "# a deck\n";
  info.build = "build";
  info.identity = "identity";
  info.run = "run";
  train::RunState state;
  state.step = 7;
  state.best.metric = "bleu";
  state.best.value = 1.5;
  state.best.kept = {{7, 1.5, true}};
  info.state_json = train::to_json(state);
  info.source_tokens = info.target_tokens = {"<pad>", "<unk>", "<s>", "</s>", "a"};
  info.units = {{"u", {{"m", {3, 4}}, {"b", {5}}}}, {"v", {{"w", {20, 20}}}}};
  info.aliases = {{"tied", "w"}};
  info.state_names = {"exp_avg", "short"};
  info.short_states = {"short"};
  return info;
}

void write_sound(const std::string& folder) {
  const io::CheckpointInfo info = small_info();
  const zero::FlatLayout layout(info.units, info.world_size);
  const std::vector<float> values(static_cast<std::size_t>(layout.shard_total()), 0.5F);
  for (std::int64_t rank = 0; rank < info.world_size; ++rank)
    io::write_shard(folder, rank, layout, values, {{"exp_avg", values}, {"short", values}},
                    info.short_states);
  io::write_model_file(folder, layout, info);
}

/// The objects of a checkpoint of one shard.
std::string object_seed() {
  io::CheckpointInfo info = small_info();
  info.world_size = 1;
  info.short_states.clear();
  const std::string count =
      std::to_string(io::real_count(zero::FlatLayout(info.units, info.world_size), 0));
  std::string text;
  const auto add = [&](const std::string& head, const std::string& value) {
    text += "\x1e" + head + "\n" + value;
  };
  add("m i format_version ", "3");
  add("m i step ", "7");
  add("m i epoch ", "0");
  add("m i world_size ", "1");
  add("m i zero_stage ", "2");
  for (const auto& [name, value] :
       {std::pair("deck", info.deck), std::pair("build", info.build),
        std::pair("identity", info.identity), std::pair("run", info.run),
        std::pair("state", info.state_json), std::pair("layout", io::layout_to_json(info))})
    add(std::string("m t ") + name + " ", value);
  add("m S vocabulary/source ", "<pad>\n<unk>\n<s>\n</s>\na");
  add("m S vocabulary/target ", "<pad>\n<unk>\n<s>\n</s>\na");
  add("m b vocabulary/source_model ", "");
  add("m b vocabulary/target_model ", "");
  for (const char* what : {"parameters", "optimizer/exp_avg", "optimizer/short"}) {
    add(std::string("m f ") + what + "/m 3x4", "");
    add(std::string("m f ") + what + "/b 5", "");
    add(std::string("m f ") + what + "/w 20x20", "");
    add(std::string("m f ") + what + "/tied 20x20", "");
    add(std::string("s f ") + what + " " + count, "");
  }
  add("s i rank ", "0");
  add("s i world_size ", "1");
  add("s n pieces 3x4", "1");
  return text;
}

std::vector<std::string> checkpoint_seeds(const std::string& folder) {
  const std::string sound = folder + "/sound";
  std::filesystem::create_directory(sound);
  write_sound(sound);
  return {object_seed(), get_file(sound + "/model.h5"), get_file(sound + "/" + io::shard_name(0)),
          std::string(kStep) + "\n"};
}

/// Everything that reads a checkpoint; what is damaged is an error each time.
void read_all(const io::CheckpointReader& reader) {
  const io::CheckpointInfo& info = reader.info();
  attempt<CheckpointError>([&] { (void)train::run_state_from_json(info.state_json); });
  attempt<CheckpointError>([&] { reader.require_complete(); });
  attempt<CheckpointError>([&] { (void)io::tokenizers_of(reader).source->size(); });
  if (std::ssize(reader.layout().tensors()) > 100 || info.state_names.size() > 20) return;
  for (const std::string& kind : reader.kinds())
    for (const auto& tensor : reader.layout().tensors())
      attempt<CheckpointError>([&] { (void)reader.read_tensor(kind, tensor.spec.name); });
  if (reader.layout().padded_total() > 1 << 20) return;
  const zero::FlatLayout three(info.units, 3);
  std::vector<float> shard(static_cast<std::size_t>(three.shard_total()));
  for (const std::string& kind : reader.kinds())
    attempt<CheckpointError>([&] { reader.read_shard(three, 1, kind, shard); });
  if (reader.layout().ranks() <= 100) (void)reader.verify();
}

void read_checkpoint(const std::string& input, const std::string& folder) {
  static const std::string sound = folder + "/sound";  // made with the seeds
  const std::string checkpoints = folder + "/checkpoints", step = checkpoints + "/" + kStep;
  if (!std::filesystem::exists(sound)) (void)checkpoint_seeds(folder);
  std::filesystem::remove_all(checkpoints);
  std::filesystem::create_directory(checkpoints);
  std::filesystem::copy(sound, step);
  io::write_name(checkpoints, io::kLatest, kStep);
  if (input.starts_with(kObjects)) {
    write_checkpoint_files(input, step);
  } else if (input.starts_with("th_app")) {
    put_file(step + "/model.h5", input);
    if (input.size() >= static_cast<std::size_t>(io::kSealBytes)) io::seal_file(step + "/model.h5");
  } else if (input.starts_with("\x89HDF")) {
    put_file(step + "/" + io::shard_name(0), input);
  } else {
    put_file(checkpoints + "/latest", input);
  }
  std::vector<std::string> notes;
  attempt<CheckpointError>([&] { (void)io::find_latest(checkpoints, notes); });
  attempt<CheckpointError>([&] { (void)io::checkpoint_of_name_file(checkpoints + "/latest"); });
  const io::CheckpointReader reader(step);
  read_all(reader);
}

}  // namespace

Reader checkpoint_reader() {
  return {"checkpoint",
          32768,
          {ExitCode::kCheckpoint},
          {"\x1em i ",
           "\x1em t ",
           "\x1es i ",
           "\x1es f ",
           "\x1em S ",
           "\x1em b ",
           "\x1es n ",
           "parameters@crc32c ",
           "optimizer/",
           "parameters/",
           " 2",
           " 1x1",
           " 3x4x5",
           "\n",
           "\"shape\":[",
           "\"name\":\"",
           "\"units\":[",
           "\"tensors\":[",
           "\"aliases\":[",
           "\"alignment\":",
           "\"state_names\":[\"",
           "\"short_states\":[\"",
           "\"best\":{",
           "\"step\":",
           "\"kept\":[",
           "null",
           "[[",
           "world_size",
           "format_version",
           "step_",
           ".old_",
           "/",
           "OHDR",
           "OCHK",
           std::string(8, '\xff'),
           std::string(8, '\0'),
           "\x89HDF\r\n\x1a\n"},
          checkpoint_seeds,
          read_checkpoint};
}

}  // namespace th::fuzz
