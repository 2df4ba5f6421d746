#include "cuda/transport/nccl_collectives.hpp"

#include <array>
#include <cstdio>

namespace th::cuda {

namespace {

constexpr std::int64_t kFloat = sizeof(float);
constexpr std::int64_t kSlice = 1 << 20;  // elements a rank: 4 MiB

/// A value that names its rank, its receiver and its place; small integers, so that sums in any
/// order are exact.
float mark(int from, int to, std::int64_t i) {
  return static_cast<float>(from * 64 + to % 64 + i % 1000);
}

/// Copies between the self-test's host arrays and the device, in the order of its stream.
class Exam {
 public:
  explicit Exam(NcclCollectives& nccl) : nccl_(nccl), host_(kSlice * kFloat * nccl.size()) {}

  [[nodiscard]] float* host() const { return static_cast<float*>(host_.get()); }
  void to_device(float* device, std::int64_t count) const {
    copy(device, host(), count, cudaMemcpyHostToDevice);
  }
  void from_device(const float* device, std::int64_t count) const {
    copy(host(), device, count, cudaMemcpyDeviceToHost);
    nccl_.synchronize();
  }
  template <class Expected>
  void compare(const char* call, std::int64_t count, const Expected& expected) {
    for (std::int64_t i = 0; i < count && problem_.empty(); ++i) {
      if (host()[i] == expected(i)) continue;
      problem_ = std::string(call) + " brought " + std::to_string(host()[i]) + " in place of " +
                 std::to_string(expected(i)) + " at element " + std::to_string(i);
    }
  }
  /// Times `call` once more, warm: gigabytes a second that this rank sends.
  template <class Call>
  double rate(std::int64_t bytes, const Call& call) const {
    const Event begin(EventKind::kTimed), end(EventKind::kTimed);
    begin.record(nccl_.stream());
    call();
    end.record(nccl_.stream());
    nccl_.synchronize();
    return static_cast<double>(bytes) / Event::seconds(begin, end) * 1e-9;
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  void copy(void* to, const void* from, std::int64_t count, cudaMemcpyKind kind) const {
    check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * 4, kind, nccl_.stream()),
               "cudaMemcpyAsync");
  }

  NcclCollectives& nccl_;
  PinnedBuffer host_;
  std::string problem_;
};

/// One grouped send to the next rank and receive from the one before: with one rank, from itself.
void send_to_next(NcclCollectives& nccl, const float* from, float* to) {
  NcclCommunicator& comm = nccl.communicator();
  const int next = (nccl.rank() + 1) % nccl.size(),
            before = (nccl.rank() + nccl.size() - 1) % nccl.size();
  comm.check(ncclGroupStart(), "ncclGroupStart");
  comm.check(ncclSend(from, kSlice, ncclFloat, next, comm.get(), nccl.stream()), "ncclSend");
  comm.check(ncclRecv(to, kSlice, ncclFloat, before, comm.get(), nccl.stream()), "ncclRecv");
  comm.check(ncclGroupEnd(), "ncclGroupEnd");
  comm.wait_enqueued("the self-test's send to the next rank");
}

}  // namespace

std::string self_test(NcclCollectives& nccl) {
  const int rank = nccl.rank(), size = nccl.size();
  const std::int64_t whole = kSlice * size;
  Exam exam(nccl);
  const runtime::RankParts parts{0, kSlice * kFloat};
  const auto sent = nccl.allocate(whole * kFloat);
  const auto full = nccl.allocate(whole * kFloat);
  float* slice_of_mine = sent->as<float>() + kSlice * rank;

  for (std::int64_t i = 0; i < whole; ++i)
    exam.host()[i] = mark(rank, static_cast<int>(i / kSlice), i % kSlice);
  exam.to_device(sent->as<float>(), whole);
  nccl.synchronize();
  const std::vector<runtime::Contribution> pieces = nccl.exchange(*sent, parts);
  for (int r = 0; r < size; ++r) {
    exam.from_device(reinterpret_cast<const float*>(pieces[static_cast<std::size_t>(r)].data),
                     kSlice);
    exam.compare("exchange", kSlice, [&](std::int64_t i) { return mark(r, rank, i); });
  }
  nccl.finish_exchange();

  nccl.all_gather(*sent, parts, full->data());
  exam.from_device(full->as<float>(), whole);
  exam.compare("all-gather", whole, [&](std::int64_t i) {
    return mark(static_cast<int>(i / kSlice), static_cast<int>(i / kSlice), i % kSlice);
  });

  send_to_next(nccl, slice_of_mine, full->as<float>());
  exam.from_device(full->as<float>(), kSlice);
  const int before = (rank + size - 1) % size;
  exam.compare("send to the next rank", kSlice,
               [&](std::int64_t i) { return mark(before, before, i); });

  for (std::int64_t i = 0; i < kSlice; ++i) exam.host()[i] = mark(rank, 0, i);
  exam.to_device(full->as<float>(), kSlice);
  nccl.synchronize();
  nccl.all_reduce_fast(full->as<float>(), kSlice);
  exam.from_device(full->as<float>(), kSlice);
  exam.compare("all-reduce", kSlice, [&](std::int64_t i) {
    return static_cast<float>(size) * mark(0, 0, i) + 32.0F * static_cast<float>(size * (size - 1));
  });

  const std::vector<std::string> problems = nccl.control().gather_texts(exam.problem());
  for (std::size_t r = 0; r < problems.size(); ++r) {
    if (!problems[r].empty())
      throw NcclError("the self-test of NCCL failed on rank " + std::to_string(r) + ": " +
                      problems[r]);
  }
  const double to_next =
      exam.rate(kSlice * kFloat, [&] { send_to_next(nccl, slice_of_mine, full->as<float>()); });
  const double gather =
      exam.rate(kSlice * kFloat * (size - 1), [&] { nccl.all_gather(*sent, parts, full->data()); });
  nccl.release_buffer();  // the run's units need another one
  std::array<char, 160> text{};
  std::snprintf(
      text.data(), text.size(),
      "self-test passed; send to the next rank %.1f GB/s, all-gather %.1f GB/s sent a rank",
      to_next, gather);
  return text.data();
}

}  // namespace th::cuda
