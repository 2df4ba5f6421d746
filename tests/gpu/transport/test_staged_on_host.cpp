#include "cuda/transport/staged_collectives.hpp"
#include "fakes/float_parts.hpp"
#include "gpu/fakes/fake_gpu.hpp"
#include "mpi_test.hpp"

#include "cuda/handles/cuda_stream.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/plugin/cuda_plugin.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/runtime/transport/transport_memory.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

namespace th::cuda {
namespace {

using th_test::bytes_of;
using th_test::floats_of;
using th_test::parts;

constexpr std::int64_t kSlice = 301;  // in pieces of 100 the last one is short
/// In a buffer of shards, from element 17 on.
constexpr runtime::RankParts kShards{17 * 4, (kSlice - 17) * 4, 0};

// The transport below, elements a piece.
using Case = std::tuple<runtime::TransportChoice, std::int64_t>;

/// StagedCollectives over the fake GPU, beside the transport that it stages for.
class StagedOnHost : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    control_ = runtime::make_mpi_collectives(MPI_COMM_WORLD, std::get<0>(GetParam()));
    plain_ = runtime::make_mpi_collectives(MPI_COMM_WORLD, std::get<0>(GetParam()));
    fake::reset(fake::Order::kComputeFirst, compute_.get());
    staged_ =
        std::make_unique<StagedCollectives>(*control_, compute_.get(), std::get<1>(GetParam()));
  }
  /// Enqueues a copy behind what the compute stream holds: the stand-in for a kernel.
  void copy(float* to, const float* from, std::int64_t count) const {
    check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * 4, cudaMemcpyDefault,
                               compute_.get()),
               "cudaMemcpyAsync");
  }
  [[nodiscard]] std::vector<float> data(std::int64_t count, int turn) const {
    std::vector<float> out;
    for (std::int64_t i = 0; i < count; ++i)
      out.push_back(static_cast<float>(1000000 * turn + 100000 * control_->rank() + i) + 0.25F);
    return out;
  }
  [[nodiscard]] static std::vector<float> values(const float* from, std::int64_t count) {
    return {from, from + count};
  }

  Stream compute_;
  std::unique_ptr<runtime::Collectives> control_, plain_;
  std::unique_ptr<StagedCollectives> staged_;
};

TEST_P(StagedOnHost, ExchangesInTheOrderOfTheComputeStreamAndKeepsEachTurnForItsReaders) {
  const std::int64_t ranks = staged_->size(), whole = kSlice * ranks;
  const auto buffer = staged_->allocate(4 * (whole + 7));
  const auto on_host = plain_->allocate(4 * (whole + 7));
  std::vector<std::vector<float>> sent, got, expected;
  for (int turn = 0; turn < 3; ++turn) {
    sent.push_back(data(whole, turn));
    got.emplace_back(static_cast<std::size_t>(whole));
    expected.emplace_back();
    copy(buffer->as<float>() + 7, sent.back().data(), whole);
    std::copy(sent.back().begin(), sent.back().end(), on_host->as<float>() + 7);
    const std::vector<runtime::Contribution> pieces = staged_->exchange(*buffer, parts(7, kSlice));
    for (std::int64_t r = 0; r < ranks; ++r)
      copy(got.back().data() + kSlice * r, floats_of(pieces[static_cast<std::size_t>(r)]), kSlice);
    staged_->finish_exchange();
    for (const runtime::Contribution& piece : plain_->exchange(*on_host, parts(7, kSlice)))
      expected.back().insert(expected.back().end(), floats_of(piece), floats_of(piece) + kSlice);
    plain_->finish_exchange();
  }
  staged_->barrier();
  EXPECT_EQ(got, expected);
  EXPECT_EQ(staged_->communication_bytes(), kSlice * 4 * (ranks - 1));
}

TEST_P(StagedOnHost, GathersInPlaceFromShardsAndIntoOtherMemoryAsTheTransportBelowDoes) {
  const std::int64_t ranks = staged_->size(), whole = kSlice * ranks;
  const auto buffer = staged_->allocate(4 * whole), on_host = plain_->allocate(4 * whole);
  const std::vector<float> mine = data(whole, 0);
  copy(buffer->as<float>(), mine.data(), whole);
  std::copy(mine.begin(), mine.end(), on_host->as<float>());
  std::vector<float> full(static_cast<std::size_t>(whole)), shards(full), full_by_mpi(full),
      shards_by_mpi(full);

  staged_->all_gather(*buffer, kShards, bytes_of(shards));
  plain_->all_gather(*on_host, kShards, bytes_of(shards_by_mpi));
  staged_->all_gather(*buffer, parts(0, kSlice), bytes_of(full));
  plain_->all_gather(*on_host, parts(0, kSlice), bytes_of(full_by_mpi));
  const std::vector<const float*> pointers = floats_of(staged_->shards(*buffer, parts(0, kSlice)));
  staged_->finish_exchange();
  staged_->barrier();
  EXPECT_EQ(shards, shards_by_mpi);
  EXPECT_EQ(full, full_by_mpi);
  for (std::int64_t r = 0; r < ranks; ++r)
    EXPECT_EQ(values(pointers[static_cast<std::size_t>(r)], kSlice),
              values(full_by_mpi.data() + kSlice * r, kSlice))
        << r;
}

TEST_P(StagedOnHost, SumsInTheOrderOfTheTransportBelowAndCountsItsBytes) {
  const std::int64_t ranks = staged_->size(), whole = kSlice * ranks;
  const auto buffer = staged_->allocate(4 * whole), on_host = plain_->allocate(4 * whole);
  const std::vector<float> mine = data(whole, 1);
  copy(buffer->as<float>(), mine.data(), whole);
  std::copy(mine.begin(), mine.end(), on_host->as<float>());
  const runtime::ByteCounters before = staged_->bytes_sent(), plain_before = plain_->bytes_sent();
  (void)staged_->exchange(*buffer, parts(0, kSlice));
  staged_->finish_exchange();
  (void)plain_->exchange(*on_host, parts(0, kSlice));
  plain_->finish_exchange();
  staged_->all_reduce_fast(buffer->as<float>(), whole);
  plain_->all_reduce_fast(on_host->as<float>(), whole);
  staged_->barrier();
  EXPECT_EQ(values(buffer->as<float>(), whole), values(on_host->as<float>(), whole));
  EXPECT_EQ(staged_->bytes_sent().exchange - before.exchange,
            plain_->bytes_sent().exchange - plain_before.exchange);
  if (std::get<1>(GetParam()) > 4 * whole) {  // in pieces each sum rounds its own volume
    EXPECT_EQ(staged_->bytes_sent().reduce - before.reduce,
              plain_->bytes_sent().reduce - plain_before.reduce);
  }
  std::vector<double> twice{1.5 * control_->rank()}, by_mpi(twice);
  staged_->control().sum_in_rank_order(twice);
  plain_->control().sum_in_rank_order(by_mpi);
  EXPECT_EQ(twice, by_mpi);
}

TEST_P(StagedOnHost, BuffersBeginAsZerosAndPinnedMemoryIsGivenBack) {
  {
    const auto buffer = staged_->allocate(4 * kSlice * staged_->size());
    staged_->all_gather(*buffer, parts(0, kSlice), buffer->data());
    staged_->barrier();
    EXPECT_EQ(values(buffer->as<float>(), kSlice), std::vector<float>(kSlice, 0.0F));
    EXPECT_EQ(fake::registered(), staged_->size() > 1 ? 1 : 0);
  }
  staged_.reset();
  EXPECT_EQ(fake::registered(), 0);
}

TEST_P(StagedOnHost, ItsBuffersAreInTheLedgersAsTheyArePlanned) {
  set_ledger(runtime::ledger_calls());
  runtime::MemoryLedger &device = runtime::MemoryLedger::device(),
                        &host = runtime::MemoryLedger::process();
  // 16 KiB and more a rank, so that the ledger sees every block of host memory; 64-byte blocks.
  constexpr std::int64_t kLong = 9216;
  const std::int64_t ranks = control_->size(),
                     piece = std::get<1>(GetParam()) == 400 ? 4 * 4992 : std::get<1>(GetParam());
  const auto buffer = [&] {
    const runtime::MemoryScope scope(runtime::MemoryClass::kGradients);
    return staged_->allocate(4 * kLong * ranks);
  }();
  StagedCollectives staged(*control_, compute_.get(), piece);
  device.restart();
  host.restart();
  (void)staged.exchange(*buffer, parts(0, 4480));
  staged.all_gather(*buffer, parts(0, kLong), buffer->data());
  (void)staged.exchange(*buffer, parts(0, kLong - 16));
  staged.all_reduce_fast(buffer->as<float>(), kLong * ranks);
  staged.barrier();
  const runtime::TransportMemory planned = runtime::transport_memory(
      runtime::Transport::kStaged, ranks, {4 * (kLong - 16), 4 * kLong, 4 * kLong * ranks}, piece);
  EXPECT_EQ(device.current()[runtime::MemoryClass::kCommunication], planned.device);
  EXPECT_EQ(host.current()[runtime::MemoryClass::kCommunication] - control_->communication_bytes(),
            planned.host);
  EXPECT_EQ(device.current().total() + host.current().total(),
            planned.device + planned.host + control_->communication_bytes());
  set_ledger({});
}

TEST_P(StagedOnHost, GoesOnTheStreamThatItIsGiven) {
  const auto context = std::make_shared<StreamContext>();
  CudaStream compute(context, compute_.get()), communication(context, StreamPriority::kHigh);
  staged_->use_stream(&communication);
  const std::int64_t whole = kSlice * staged_->size();
  const auto buffer = staged_->allocate(4 * whole);
  communication.drain();
  const std::vector<float> mine = data(whole, 0);
  std::vector<float> full(static_cast<std::size_t>(whole));
  compute.copy(buffer->data(), mine.data(), whole * 4);
  communication.wait(compute.record());
  staged_->all_gather(*buffer, parts(0, kSlice), buffer->data());
  compute.wait(communication.record());
  compute.copy(full.data(), buffer->as<float>(), whole * 4);
  compute.drain();
  for (std::int64_t r = 0; r < staged_->size(); ++r)
    EXPECT_EQ(full[static_cast<std::size_t>(kSlice * r)],
              static_cast<float>(100000 * r + kSlice * r) + 0.25F)
        << "from rank " << r;
  staged_->use_stream(nullptr);
}

TEST_P(StagedOnHost, ACallBeyondItsBufferIsRefused) {
  const auto buffer = staged_->allocate(4 * kSlice * staged_->size());
  EXPECT_THROW((void)staged_->exchange(*buffer, parts(1, kSlice)), InternalError);
  EXPECT_THROW(staged_->all_gather(*buffer, parts(1, kSlice), buffer->data()), InternalError);
}

INSTANTIATE_TEST_SUITE_P(
    Transports, StagedOnHost,
    testing::Combine(testing::Values(runtime::TransportChoice::kBest,
                                     runtime::TransportChoice::kMpi),
                     testing::Values(std::int64_t{400}, StagedCollectives::kPiece)),
    [](const auto& run) {
      return std::string(std::get<0>(run.param) == runtime::TransportChoice::kBest ? "Window"
                                                                                   : "Messages") +
             (std::get<1>(run.param) == 400 ? "InPieces" : "AtOnce");
    });

}  // namespace
}  // namespace th::cuda

TH_MPI_TEST_MAIN
