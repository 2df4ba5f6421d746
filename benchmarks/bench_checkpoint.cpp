// Saving and loading of the default model with Adam's state (vocabularies of 10000: 59.5 M
// parameters, 714 MB), below mpirun:
//   mpirun -np 2 build/bin/bench_checkpoint [FOLDER] [ZERO_STAGE]
// For each of three rounds: the seconds that training waits for a save in the background, those
// until it is then complete, a save that training waits for, a load, and what dd writes to the same
// folder with conv=fdatasync. Not a test: it judges nothing.
#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/model/products/gemm.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/checkpointing.hpp"
#include "th/zero/engine/engine.hpp"

namespace {

namespace fs = std::filesystem;
using Mode = th::train::CheckpointSaver::Mode;

constexpr std::int64_t kVocabulary = 10000;

/// Seconds of `body`, from the moment when all ranks are here to that when all are through.
template <class Body>
double seconds(th::runtime::Collectives& collectives, const Body& body) {
  collectives.barrier();
  const auto start = std::chrono::steady_clock::now();
  body();
  collectives.barrier();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Bench {
  Bench(th::runtime::Collectives& the_collectives, std::string the_folder, std::int64_t stage)
      : collectives(the_collectives), folder(std::move(the_folder)) {
    config.zero.stage = stage;
    model = std::make_unique<th::model::Transformer>(
        th::model::TransformerSpec{config.model, kVocabulary, kVocabulary, 64},
        th::model::resolve_gemm(config.run.gemm));
    engine =
        std::make_unique<th::zero::ZeroEngine>(config, *model, collectives, collectives.size());
    // States as they are in mid-training: no page of them is the one zero page.
    probe.sentences = 2;
    probe.source_length = probe.target_length = 32;
    for (std::int64_t i = 0; i < 64; ++i) probe.source.push_back(4 + i * 151 % (kVocabulary - 4));
    probe.target_in = probe.target_out = probe.source;
    probe.source_lengths = probe.target_lengths = {32, 32};
    probe.source_tokens = probe.target_tokens = 64;
    std::vector<float> values(static_cast<std::size_t>(engine->layout().shard_total()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = 1e-3F * static_cast<float>(i % 1013);
    for (const auto& [name, state] : engine->states().named()) {
      if (state != th::zero::State::kParameters) engine->states().write(state, values);
    }
  }

  [[nodiscard]] th::io::CheckpointInfo info(std::int64_t step) const {
    th::io::CheckpointInfo out;
    out.step = step;
    out.world_size = collectives.size();
    out.zero_stage = config.zero.stage;
    out.units = model->units();
    out.aliases = model->shared().aliases;
    return out;
  }

  void round(std::int64_t number) {
    th::train::CheckpointSaver background(collectives.control(), folder, {}, Mode::kBackground),
        waiting(collectives.control(), folder, {}, Mode::kWait);
    background.reserve(*engine);
    double blocking = 0;
    const double complete = seconds(collectives, [&] {
      blocking = seconds(collectives, [&] {
        (void)model->evaluate(engine->units(),
                              probe);  // a run computes the loss of its 128 tokens first
        background.save(*engine, info(2 * number), {});
      });
      background.finish();
    });
    const double writing = complete - blocking;
    const double whole =
        seconds(collectives, [&] { waiting.save(*engine, info(2 * number + 1), {}); });
    const std::string newest = folder + "/" + th::io::step_name(2 * number + 1);
    const double load = seconds(collectives, [&] {
      const th::io::CheckpointReader reader(newest);
      load_checkpoint(reader, *engine, collectives.control(), th::train::LoadWhat::kEverything);
    });
    if (collectives.rank() != 0) return;
    const double bytes = 12.0 * static_cast<double>(engine->layout().parameter_count());
    double on_disk = 0;
    for (const auto& entry : fs::directory_iterator(newest))
      on_disk += static_cast<double>(entry.file_size());
    const double dd = dd_seconds(static_cast<std::int64_t>(on_disk));
    std::printf(
        "background: blocks %.3f s, then writes %.3f s (%.0f MB/s) | waiting: %.3f s (%.0f MB/s) | "
        "dd: %.3f s (%.0f MB/s) | load %.3f s | "
        "%.2f and %.2f of dd's rate | %.4f of 12 bytes a parameter\n",
        blocking, writing, on_disk / writing / 1e6, whole, on_disk / whole / 1e6, dd,
        on_disk / dd / 1e6, load, dd / writing, dd / whole, on_disk / bytes);
    std::fflush(stdout);
    for (const std::int64_t step : {2 * number, 2 * number + 1})
      fs::remove_all(folder + "/" + th::io::step_name(step));
  }

  /// One process writes so many bytes, and waits for the disk.
  [[nodiscard]] double dd_seconds(std::int64_t bytes) const {
    const std::string file = folder + "/dd";
    const std::string command = "dd if=/dev/zero of='" + file +
                                "' bs=4M count=" + std::to_string(bytes >> 22) +
                                " conv=fdatasync 2>/dev/null";
    const auto start = std::chrono::steady_clock::now();
    if (std::system(command.c_str()) != 0) std::fprintf(stderr, "dd failed\n");
    const double taken =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fs::remove(file);
    return taken;
  }

  th::runtime::Collectives& collectives;
  std::string folder;
  th::config::RunConfig config;
  std::unique_ptr<th::model::Transformer> model;
  std::unique_ptr<th::zero::ZeroEngine> engine;
  th::data::Batch probe;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && argv[1][0] == '-') {
    std::puts(
        "bench_checkpoint [FOLDER [STAGE]]: saves and loads the default model's state three times "
        "in FOLDER/bench_checkpoint.tmp (default .), ZeRO stage 2");
    return std::string(argv[1]) == "--help" || std::string(argv[1]) == "-h" ? 0 : 2;
  }
  th::runtime::MpiSession session(argc, argv);
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  const std::string folder = std::string(argc > 1 ? argv[1] : ".") + "/bench_checkpoint.tmp";
  Bench bench(*collectives, folder, argc > 2 ? std::stoll(argv[2]) : 2);
  if (collectives->rank() == 0) {
    std::printf("%lld parameters, %d ranks, stage %lld\n",
                static_cast<long long>(bench.engine->layout().parameter_count()),
                collectives->size(), static_cast<long long>(bench.config.zero.stage));
  }
  for (std::int64_t number = 1; number <= 3; ++number) {
    bench.round(number);
    collectives->barrier();
  }
  if (collectives->rank() == 0) fs::remove_all(folder);
  return 0;
}
