#include "cuda/transport/nccl_collectives.hpp"
#include "fakes/float_parts.hpp"
#include "gpu/fakes/fake_gpu.hpp"
#include "mpi_test.hpp"

#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/plugin/cuda_plugin.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/runtime/transport/transport_memory.hpp"

#include <vector>

namespace th::cuda {
namespace {

using th_test::bytes_of;
using th_test::floats_of;
using th_test::parts;

using namespace std::chrono_literals;
constexpr std::int64_t kSlice = 300;
/// In a buffer of shards, from element 17 on.
constexpr runtime::RankParts kShards{17 * 4, (kSlice - 17) * 4, 0};

/// NcclCollectives over the fake GPU, beside MPI's own collectives.
class NcclOnHost : public testing::TestWithParam<fake::Order> {
 protected:
  void SetUp() override {
    control_ = runtime::make_mpi_collectives(MPI_COMM_WORLD, runtime::TransportChoice::kMpi);
    fake::reset(GetParam(), compute_.get());
  }
  [[nodiscard]] std::unique_ptr<NcclCollectives> make(std::chrono::duration<double> limit = 60s) {
    return std::make_unique<NcclCollectives>(*control_, limit, compute_.get());
  }
  /// Enqueues a copy behind what `stream` holds: the stand-in for a kernel.
  static void copy(float* to, const float* from, std::int64_t count, cudaStream_t stream) {
    check_cuda(
        cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * 4, cudaMemcpyDefault, stream),
        "cudaMemcpyAsync");
  }
  [[nodiscard]] std::vector<float> data(std::int64_t count, int turn) const {
    std::vector<float> out;
    for (std::int64_t i = 0; i < count; ++i)
      out.push_back(static_cast<float>(1000000 * turn + 10000 * control_->rank() + i));
    return out;
  }
  /// What rank r sends owner `control_->rank()` in data(…, turn).
  [[nodiscard]] std::vector<float> expected(int r, int turn) const {
    std::vector<float> out;
    for (std::int64_t i = 0; i < kSlice; ++i)
      out.push_back(static_cast<float>(1000000 * turn + 10000 * r + control_->rank() * kSlice + i));
    return out;
  }

  Stream compute_;
  std::unique_ptr<runtime::Collectives> control_;
};

TEST_P(NcclOnHost, ExchangesInTheOrderOfTheComputeStream) {
  const auto nccl = make();
  const std::int64_t whole = kSlice * nccl->size();
  const auto buffer = nccl->allocate(4 * whole);
  std::vector<std::vector<float>> sent, got;
  for (int turn = 0; turn < 3; ++turn) {
    sent.push_back(data(whole, turn));
    got.emplace_back(static_cast<std::size_t>(whole));
    copy(buffer->as<float>(), sent.back().data(), whole, compute_.get());
    const std::vector<runtime::Contribution> pieces = nccl->exchange(*buffer, parts(0, kSlice));
    for (int r = 0; r < nccl->size(); ++r)
      copy(got.back().data() + kSlice * r, floats_of(pieces[static_cast<std::size_t>(r)]), kSlice,
           compute_.get());
    nccl->finish_exchange();
  }
  nccl->synchronize();
  for (int turn = 0; turn < 3; ++turn) {
    for (int r = 0; r < nccl->size(); ++r) {
      const float* at = got[static_cast<std::size_t>(turn)].data() + kSlice * r;
      EXPECT_EQ(std::vector<float>(at, at + kSlice), expected(r, turn))
          << "turn " << turn << ", from rank " << r;
    }
  }
}

TEST_P(NcclOnHost, GoesOnTheStreamThatItIsGivenWithEventsAroundIt) {
  const auto nccl = make();
  const auto context = std::make_shared<StreamContext>();
  CudaStream compute(context, compute_.get()), communication(context, StreamPriority::kHigh);
  nccl->use_stream(&communication);
  const std::int64_t whole = kSlice * nccl->size();
  const auto buffers = {nccl->allocate(4 * whole), nccl->allocate(4 * whole)};
  communication.drain();
  std::vector<std::vector<float>> sent, got;
  std::vector<float> used(static_cast<std::size_t>(whole));
  int turn = 0;
  for (const auto& buffer : buffers) {
    sent.push_back(data(whole, turn));
    compute.copy(buffer->data(), sent.back().data(), whole * 4);
    communication.wait(compute.record());
    got.emplace_back(static_cast<std::size_t>(whole));
    communication.enqueue("reduce",
                          [&] {
                            const std::vector<runtime::Contribution> pieces =
                                nccl->exchange(*buffer, parts(0, kSlice));
                            // The ordered sum's stand-in: each piece into its place.
                            for (int r = 0; r < nccl->size(); ++r)
                              communication.copy(got.back().data() + kSlice * r,
                                                 floats_of(pieces[static_cast<std::size_t>(r)]),
                                                 kSlice * 4);
                            nccl->finish_exchange();
                          },
                          {});
    ++turn;
  }
  compute.wait(communication.record());
  compute.copy(used.data(), got.back().data(), whole * 4);
  compute.drain();
  for (int r = 0; r < nccl->size(); ++r) {
    const float* at = used.data() + kSlice * r;
    EXPECT_EQ(std::vector<float>(at, at + kSlice), expected(r, 1)) << "from rank " << r;
  }
  nccl->use_stream(nullptr);
}

TEST_P(NcclOnHost, ADeadPeerEndsAnyWaitForTheDevice) {
  const auto nccl = make();
  const auto context = std::make_shared<StreamContext>();
  CudaStream compute(context, compute_.get()), communication(context, StreamPriority::kHigh);
  nccl->use_stream(&communication);
  compute.drain();
  const runtime::Event point = compute.record();
  fake::set_fault(fake::Fault::kPeerDied);
  EXPECT_THROW(compute.drain(), NcclError) << "of another stream than NCCL's too";
  EXPECT_THROW(communication.drain(), NcclError);
  EXPECT_THROW(compute.reach(point.position), NcclError);
  nccl->use_stream(nullptr);
  compute.drain();
}

TEST_P(NcclOnHost, GathersInPlaceForReadersAsForACopy) {
  const auto nccl = make();
  const std::int64_t whole = kSlice * nccl->size();
  const auto buffer = nccl->allocate(4 * whole);
  const std::vector<float> values = data(whole, 0);
  copy(buffer->as<float>(), values.data(), whole, compute_.get());
  const std::vector<const float*> pointers = floats_of(nccl->shards(*buffer, parts(0, kSlice)));
  nccl->finish_exchange();
  nccl->synchronize();
  for (int r = 0; r < nccl->size(); ++r) {
    EXPECT_EQ(pointers[static_cast<std::size_t>(r)], buffer->as<float>() + kSlice * r);
    EXPECT_EQ(*pointers[static_cast<std::size_t>(r)], static_cast<float>(10000 * r + kSlice * r))
        << "from rank " << r;
  }
}

TEST_P(NcclOnHost, ItsBuffersAreInTheLedgersAsTheyArePlanned) {
  set_ledger(runtime::ledger_calls());
  runtime::MemoryLedger& ledger = runtime::MemoryLedger::device();
  ledger.restart();
  {
    const auto nccl = make();
    const std::int64_t whole = kSlice * nccl->size();
    const auto buffer = [&] {
      const runtime::MemoryScope scope(runtime::MemoryClass::kParameters);
      return nccl->allocate(4 * whole);
    }();
    EXPECT_EQ(ledger.current()[runtime::MemoryClass::kParameters], whole * 4);
    for (const std::int64_t slice : {std::int64_t{10}, kSlice, std::int64_t{20}}) {
      (void)nccl->exchange(*buffer, parts(0, slice));
      nccl->finish_exchange();
    }
    nccl->synchronize();
    EXPECT_EQ(ledger.current()[runtime::MemoryClass::kCommunication],
              runtime::transport_memory(runtime::Transport::kNccl, nccl->size(),
                                        {4 * kSlice, 4 * kSlice, 0})
                  .device);
    EXPECT_EQ(nccl->communication_bytes(), ledger.current()[runtime::MemoryClass::kCommunication]);
  }
  EXPECT_EQ(ledger.current().total(), 0);
  set_ledger({});
}

TEST_P(NcclOnHost, BringsWhatMpiBringsAndCountsTheSameBytes) {
  const auto nccl = make();
  const auto mpi = runtime::make_mpi_collectives(MPI_COMM_WORLD, runtime::TransportChoice::kMpi);
  const std::int64_t whole = kSlice * nccl->size();
  const auto on_gpu = nccl->allocate(4 * whole), on_host = mpi->allocate(4 * whole);
  const std::vector<float> values = data(whole, 0);
  std::copy(values.begin(), values.end(), on_host->as<float>());
  copy(on_gpu->as<float>(), values.data(), whole, compute_.get());
  std::vector<float> gathered(static_cast<std::size_t>(whole)), gathered_by_mpi(gathered),
      shards(gathered), shards_by_mpi(gathered);

  (void)nccl->exchange(*on_gpu, parts(0, kSlice));
  nccl->finish_exchange();
  (void)mpi->exchange(*on_host, parts(0, kSlice));
  mpi->finish_exchange();
  const std::vector<const float*> all =
      floats_of(nccl->shards(*on_gpu, parts(0, kSlice)));  // an all-gather in place
  nccl->finish_exchange();
  for (int r = 0; r < nccl->size(); ++r)
    EXPECT_EQ(all[static_cast<std::size_t>(r)], on_gpu->as<float>() + r * kSlice);
  mpi->all_gather(*on_host, parts(0, kSlice), on_host->data());
  nccl->all_gather(*on_gpu, kShards, bytes_of(shards));  // a buffer of shards
  mpi->all_gather(*on_host, kShards, bytes_of(shards_by_mpi));
  copy(gathered.data(), on_gpu->as<float>(), whole, compute_.get());
  nccl->all_reduce_fast(on_gpu->as<float>(), whole);
  mpi->all_reduce_fast(on_host->as<float>(), whole);
  std::copy(on_host->as<float>(), on_host->as<float>() + whole, gathered_by_mpi.begin());
  nccl->synchronize();
  EXPECT_EQ(shards, shards_by_mpi);
  EXPECT_EQ(std::vector<float>(on_gpu->as<float>(), on_gpu->as<float>() + whole), gathered_by_mpi);
  for (std::int64_t i = 0; i < whole; ++i)
    ASSERT_EQ(gathered[static_cast<std::size_t>(i)], static_cast<float>(10000 * (i / kSlice) + i));

  std::vector<double> twice{1.5}, by_mpi{1.5};
  nccl->control().sum_in_rank_order(twice);
  mpi->control().sum_in_rank_order(by_mpi);
  EXPECT_EQ(twice, by_mpi);
  EXPECT_EQ(nccl->bytes_sent().exchange, mpi->bytes_sent().exchange);
  EXPECT_EQ(nccl->bytes_sent().all_gather, mpi->bytes_sent().all_gather);
  EXPECT_EQ(nccl->bytes_sent().reduce, mpi->bytes_sent().reduce);
  EXPECT_EQ(nccl->communication_bytes(), kSlice * 4 * (nccl->size() - 1));
}

TEST_P(NcclOnHost, SelfTestPassesAndFindsAWrongAnswerOnEveryRank) {
  const auto nccl = make();
  EXPECT_NE(self_test(*nccl).find("passed"), std::string::npos);
  EXPECT_EQ(nccl->communication_bytes(), 0) << "the run's own buffer is another one";
  fake::set_fault(fake::Fault::kWrongGather);
  try {
    (void)self_test(*nccl);
    FAIL() << "a wrong all-gather went unnoticed";
  } catch (const NcclError& error) {
    EXPECT_NE(std::string(error.what()).find("on rank 0: all-gather brought"), std::string::npos)
        << error.what();
  }
}

TEST_P(NcclOnHost, EndsInTheOrderlyWay) {
  (void)make();
  EXPECT_EQ(fake::destroyed(), 1);
  EXPECT_EQ(fake::aborted(), 0);
}

TEST_P(NcclOnHost, GivesUpWhenTheStartTakesLongerThanTheLimit) {
  fake::set_fault(fake::Fault::kNeverReady);
  try {
    (void)make(50ms);
    FAIL() << "a start without end was accepted";
  } catch (const NcclError& error) {
    EXPECT_NE(std::string(error.what()).find("rank 0: "), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("did not come to an end within"), std::string::npos)
        << error.what();
    EXPECT_EQ(error.exit_code(), ExitCode::kCommunication);
  }
  EXPECT_EQ(fake::aborted(), 1);
}

TEST_P(NcclOnHost, OneRanksFailedStartIsToldToAllAndAborted) {
  fake::set_fault(fake::Fault::kInitFailsOnLastRank);
  const int last = control_->size() - 1;
  try {
    (void)make();
    FAIL() << "a failed start was accepted";
  } catch (const NcclError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("rank " + std::to_string(last) +
                        ": ncclCommInitRankConfig failed: fake error; NCCL says: last words"),
              std::string::npos)
        << text;
  }
  EXPECT_EQ(fake::aborted(), control_->rank() == last ? 0 : 1);
}

TEST_P(NcclOnHost, ADeadPeerAbortsTheCommunicatorAtTheNextCall) {
  const auto nccl = make();
  const auto buffer = nccl->allocate(4 * kSlice * nccl->size());
  nccl->synchronize();
  fake::set_fault(fake::Fault::kPeerDied);
  try {
    nccl->synchronize();
    FAIL() << "a dead peer went unnoticed";
  } catch (const NcclError& error) {
    EXPECT_NE(std::string(error.what()).find("remote process exited"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(fake::aborted(), 1);
  EXPECT_THROW(nccl->all_gather(*buffer, parts(0, kSlice), buffer->data()), NcclError);
  EXPECT_EQ(fake::aborted(), 1);
}

INSTANTIATE_TEST_SUITE_P(Streams, NcclOnHost,
                         testing::Values(fake::Order::kComputeFirst,
                                         fake::Order::kCommunicationFirst),
                         [](const auto& run) {
                           return run.param == fake::Order::kComputeFirst ? "ComputeFirst"
                                                                          : "CommunicationFirst";
                         });

}  // namespace
}  // namespace th::cuda

TH_MPI_TEST_MAIN
