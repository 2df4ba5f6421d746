#include "cuda/transport/nccl_collectives.hpp"
#include "fakes/float_parts.hpp"
#include "gpu/device/gpu_test.hpp"

#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"

#include <vector>

// NCCL on real GPUs, one a rank; np 1 serves a machine with a single one.
namespace th::cuda {
namespace {

using th_test::floats_of;
using th_test::parts;

using namespace std::chrono_literals;

class Nccl : public testing::Test {
 protected:
  void SetUp() override {
    control_ = runtime::make_mpi_collectives(MPI_COMM_WORLD);
    (void)select_device(control_->control(), "here", false);
    compute_ = std::make_unique<Stream>();
    nccl_ = std::make_unique<NcclCollectives>(*control_, 60s, compute_->get());
  }
  void put(float* device, const std::vector<float>& values) const {
    check_cuda(cudaMemcpyAsync(device, values.data(), values.size() * 4, cudaMemcpyHostToDevice,
                               compute_->get()),
               "cudaMemcpyAsync");
  }
  [[nodiscard]] std::vector<float> get(const float* device, std::int64_t count) const {
    std::vector<float> out(static_cast<std::size_t>(count));
    check_cuda(cudaMemcpyAsync(out.data(), device, out.size() * 4, cudaMemcpyDeviceToHost,
                               compute_->get()),
               "cudaMemcpyAsync");
    nccl_->synchronize();
    return out;
  }

  std::unique_ptr<runtime::Collectives> control_;
  std::unique_ptr<Stream> compute_;
  std::unique_ptr<NcclCollectives> nccl_;
};

TEST_F(Nccl, SelfTestPasses) { EXPECT_NE(self_test(*nccl_).find("passed"), std::string::npos); }

TEST_F(Nccl, EveryCallBringsTheKnownAnswer) {
  constexpr std::int64_t kSlice = 100'003;
  const int rank = nccl_->rank(), size = nccl_->size();
  const auto buffer = nccl_->allocate(4 * kSlice * size);
  EXPECT_EQ(get(buffer->as<float>(), kSlice), std::vector<float>(kSlice, 0.0F));
  std::vector<float> mine(static_cast<std::size_t>(kSlice * size));
  for (int turn = 0; turn < 3; ++turn) {
    for (std::size_t i = 0; i < mine.size(); ++i)
      mine[i] = static_cast<float>(rank * 1000 + turn * 100) + static_cast<float>(i % 97);
    put(buffer->as<float>(), mine);
    const std::vector<runtime::Contribution> pieces = nccl_->exchange(*buffer, parts(0, kSlice));
    for (int r = 0; r < size; ++r) {
      const std::vector<float> got = get(floats_of(pieces[static_cast<std::size_t>(r)]), kSlice);
      for (std::int64_t i = 0; i < kSlice; ++i) {
        ASSERT_EQ(got[static_cast<std::size_t>(i)],
                  static_cast<float>(r * 1000 + turn * 100 + (rank * kSlice + i) % 97))
            << "from rank " << r;
      }
    }
    nccl_->finish_exchange();
  }
  nccl_->all_gather(*buffer, parts(0, kSlice), buffer->data());
  const std::vector<float> gathered = get(buffer->as<float>(), kSlice * size);
  for (std::int64_t i = 0; i < kSlice * size; ++i)
    ASSERT_EQ(gathered[static_cast<std::size_t>(i)],
              static_cast<float>(i / kSlice * 1000 + 200 + i % 97));
  nccl_->all_reduce_fast(buffer->as<float>(), kSlice);
  const std::vector<float> reduced = get(buffer->as<float>(), kSlice);
  for (std::int64_t i = 0; i < kSlice; ++i)
    ASSERT_EQ(reduced[static_cast<std::size_t>(i)],
              static_cast<float>(size) * static_cast<float>(200 + i % 97));
  EXPECT_EQ(nccl_->bytes_sent().exchange, 3 * kSlice * 4 * (size - 1));
  nccl_->barrier();
}

}  // namespace
}  // namespace th::cuda

int main(int argc, char** argv) {
  th::runtime::MpiSession session(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  int size = 1, failed = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const std::string reason = th::cuda::reason_to_skip(size);
  failed = reason.empty() ? RUN_ALL_TESTS() : th::cuda::skip(reason);
  int any = 0;
  MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  return any;
}
