// bench_batcher: batches of the shipped corpus: an epoch's plan (shuffle, sort within windows,
// cut), the padded batches of a step, and the loader with 0, 1 and 2 threads. Counter: sentences a
// second.
#include <benchmark/benchmark.h>

#include "th/base/hash.hpp"
#include "th/config/deck.hpp"
#include "th/data/dataset.hpp"
#include "th/data/loader.hpp"

namespace {

using namespace th;

constexpr std::int64_t kSlots = 8;

struct Corpus {
  config::DataSection section;
  std::shared_ptr<const data::ParallelCorpus> train;
};

const Corpus& corpus() {
  static const Corpus opened = [] {
    Corpus c{config::load_deck(TH_SOURCE_DIR "/inputs/stage2.in", {}).config.data, nullptr};
    c.train = data::open_dataset(c.section, false, {}).train;
    return c;
  }();
  return opened;
}

std::shared_ptr<const data::StepSource> source() {
  return std::make_shared<data::CorpusSource>(corpus().train, corpus().section,
                                              SlotDealing{kSlots, 1}, 1, 0);
}

void epoch_plan(benchmark::State& state) {
  std::vector<data::SentenceLength> lengths(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    lengths[i] = {1 + static_cast<std::int32_t>(hash_pair(1, i) % 60),
                  1 + static_cast<std::int32_t>(hash_pair(2, i) % 60)};
  }
  config::DataSection section;
  std::int64_t epoch = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(data::make_epoch_plan(lengths, section, kSlots, 1, epoch++));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void step_batches(benchmark::State& state) {
  const auto steps = source();
  std::int64_t step = 0, sentences = 0;
  for (auto _ : state) {
    const data::StepBatches batches = steps->make(0, step++ % steps->steps(0));
    for (const data::Batch& batch : batches.rounds) sentences += batch.sentences;
  }
  state.SetItemsProcessed(sentences);
}

void loader(benchmark::State& state) {
  data::BatchLoader batches(source(), 0, 0, state.range(0));
  std::int64_t sentences = 0;
  for (auto _ : state) {
    for (const data::Batch& batch : batches.next().rounds) sentences += batch.sentences;
  }
  state.SetItemsProcessed(sentences);
}

BENCHMARK(epoch_plan)
    ->ArgName("sentences")
    ->Arg(4000)
    ->Arg(1000000)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(step_batches)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(loader)
    ->ArgName("workers")
    ->Arg(0)
    ->Arg(1)
    ->Arg(2)
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
