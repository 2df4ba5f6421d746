#include "cuda/transport/staged_collectives.hpp"
#include "fakes/float_parts.hpp"
#include "gpu/device/gpu_test.hpp"

#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"

#include <vector>

// Tensors of a real device through pinned host memory and MPI; all ranks may share one GPU.
namespace th::cuda {
namespace {

using th_test::floats_of;
using th_test::parts;

constexpr std::int64_t kSlice = 100'003;

class Staged : public testing::Test {
 protected:
  void SetUp() override {
    control_ = runtime::make_mpi_collectives(MPI_COMM_WORLD);
    (void)select_device(control_->control(), "here", true);
    compute_ = std::make_unique<Stream>();
    // Several pieces, the last one short.
    staged_ = std::make_unique<StagedCollectives>(*control_, compute_->get(), 120'000);
  }
  void put(float* device, const std::vector<float>& values) const {
    check_cuda(cudaMemcpyAsync(device, values.data(), values.size() * 4, cudaMemcpyHostToDevice,
                               compute_->get()),
               "cudaMemcpyAsync");
    compute_->synchronize();
  }
  [[nodiscard]] std::vector<float> get(const float* device, std::int64_t count) const {
    std::vector<float> out(static_cast<std::size_t>(count));
    check_cuda(cudaMemcpyAsync(out.data(), device, out.size() * 4, cudaMemcpyDeviceToHost,
                               compute_->get()),
               "cudaMemcpyAsync");
    compute_->synchronize();
    return out;
  }
  /// What rank `rank` has at its element i.
  [[nodiscard]] static float value(std::int64_t rank, std::int64_t i) {
    return static_cast<float>(1000 * rank) + static_cast<float>(i % 1000) + 0.5F;
  }
  [[nodiscard]] std::vector<float> mine(std::int64_t count) const {
    std::vector<float> out;
    for (std::int64_t i = 0; i < count; ++i) out.push_back(value(control_->rank(), i));
    return out;
  }

  std::unique_ptr<runtime::Collectives> control_;
  std::unique_ptr<Stream> compute_;
  std::unique_ptr<StagedCollectives> staged_;
};

TEST_F(Staged, EachOwnerGetsTheSlicesOfAllRanks) {
  const std::int64_t ranks = staged_->size(), whole = kSlice * ranks;
  const auto buffer = staged_->allocate(4 * whole);
  put(buffer->as<float>(), mine(whole));
  const std::vector<runtime::Contribution> pieces = staged_->exchange(*buffer, parts(0, kSlice));
  for (std::int64_t r = 0; r < ranks; ++r) {
    const std::vector<float> got = get(floats_of(pieces[static_cast<std::size_t>(r)]), kSlice);
    for (std::int64_t i = 0; i < kSlice; ++i)
      ASSERT_EQ(got[static_cast<std::size_t>(i)], value(r, staged_->rank() * kSlice + i))
          << "from rank " << r;
  }
  staged_->finish_exchange();
}

TEST_F(Staged, EveryRankGetsAllShardsAndTheSum) {
  const std::int64_t ranks = staged_->size(), whole = kSlice * ranks;
  const auto buffer = staged_->allocate(4 * whole);
  put(buffer->as<float>(), mine(whole));
  staged_->all_gather(*buffer, parts(0, kSlice), buffer->data());
  const std::vector<float> full = get(buffer->as<float>(), whole);
  for (std::int64_t i = 0; i < whole; ++i)
    ASSERT_EQ(full[static_cast<std::size_t>(i)], value(i / kSlice, i));
  // Every rank has the same values: exact in any order for up to 2^9 ranks.
  staged_->all_reduce_fast(buffer->as<float>(), whole);
  const std::vector<float> sum = get(buffer->as<float>(), whole);
  for (std::int64_t i = 0; i < whole; ++i)
    ASSERT_EQ(sum[static_cast<std::size_t>(i)], static_cast<float>(ranks) * value(i / kSlice, i));
}

}  // namespace
}  // namespace th::cuda

int main(int argc, char** argv) {
  const th::runtime::MpiSession session(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  const std::string reason = th::cuda::reason_to_skip(1);
  const int failed = reason.empty() ? RUN_ALL_TESTS() : th::cuda::skip(reason);
  int any = 0;
  MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  return any;
}
