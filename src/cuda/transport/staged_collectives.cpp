#include "cuda/transport/staged_collectives.hpp"

#include "cuda/handles/cuda_stream.hpp"
#include "cuda/transport/transport_memory.hpp"

#include <algorithm>
#include <cstring>

namespace th::cuda {

PinnedRange::PinnedRange(void* memory, std::int64_t bytes) : memory_(memory) {
  check_cuda(cudaHostRegister(memory, as_size(bytes), cudaHostRegisterDefault), "cudaHostRegister");
}

StagedCollectives::StagedCollectives(runtime::Collectives& control, cudaStream_t stream,
                                     std::int64_t piece)
    : control_(control), made_with_(stream), stream_(stream), piece_(piece) {
  ensure(piece >= 4 && piece % 4 == 0, "StagedCollectives: pieces that are no whole words");
}

StagedCollectives::~StagedCollectives() = default;

void StagedCollectives::use_stream(runtime::Stream* stream) {
  stream_ = stream == nullptr ? made_with_ : dynamic_cast<CudaStream&>(*stream).get();
}

std::unique_ptr<runtime::TransportBuffer> StagedCollectives::allocate(std::int64_t bytes) {
  return std::make_unique<DeviceTransportBuffer>(bytes, stream_);
}

void StagedCollectives::wait() {
  check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void StagedCollectives::reserve(std::int64_t bytes) {
  if (bytes <= reserved_) return;
  wait();  // copies from the buffers that go
  leaving_pinned_.reset();
  leaving_.reset();
  const auto allocate = ledger().allocate;
  leaving_ = allocate == nullptr
                 ? control_.allocate(bytes * size())
                 : std::unique_ptr<runtime::TransportBuffer>(allocate(control_, bytes * size()));
  leaving_pinned_.emplace(leaving_->data(), bytes * size());
  arriving_ = {};
  arriving_ = {bytes * size(), runtime::CountedAs::kCommunication};
  reserved_ = bytes;
}

void StagedCollectives::copy_rows(Rows<std::byte> to, Rows<const std::byte> from,
                                  std::int64_t width, std::int64_t rows, cudaMemcpyKind kind) {
  if (width == 0 || rows == 0) return;
  check_cuda(cudaMemcpy2DAsync(to.first, as_size(to.pitch), from.first, as_size(from.pitch),
                               as_size(width), as_size(rows), kind, stream_),
             "cudaMemcpy2DAsync");
}

std::vector<runtime::Contribution> StagedCollectives::exchange(runtime::TransportBuffer& buffer,
                                                               const runtime::RankParts& parts,
                                                               const runtime::SubtreeSum* sum) {
  const std::int64_t ranks = size(), mine = rank();
  ensure(parts.of(ranks) <= buffer.bytes(), "StagedCollectives: an exchange beyond its buffer");
  if (received_.bytes() < parts.size * (ranks - 1)) {
    wait();
    received_ = {};
    received_ = {parts.size * (ranks - 1), runtime::CountedAs::kCommunication};
  }
  auto* received = static_cast<std::byte*>(received_.get());
  const auto place = [&](std::int64_t r) { return received + parts.size * (r < mine ? r : r - 1); };
  for (std::int64_t at = 0; ranks > 1 && at < parts.size; at += piece_) {
    const std::int64_t n = std::min(piece_, parts.size - at);
    reserve(std::min(piece_, parts.size));
    auto* arriving = static_cast<std::byte*>(arriving_.get());
    copy_rows({leaving_->data(), n}, {buffer.data() + parts.offset + at, parts.stride}, n, ranks,
              cudaMemcpyDeviceToHost);
    wait();
    const std::vector<runtime::Contribution> pieces = control_.exchange(*leaving_, {0, n});
    for (std::int64_t r = 0; r < ranks; ++r) {
      if (r != mine) std::memcpy(arriving + n * r, pieces[as_size(r)].data, as_size(n));
    }
    control_.finish_exchange();
    for (std::int64_t r = 0; r < ranks; ++r) {
      if (r != mine)
        copy_rows({place(r) + at, n}, {arriving + n * r, n}, n, 1, cudaMemcpyHostToDevice);
    }
  }
  std::vector<runtime::Contribution> out;
  for (std::int64_t r = 0; r < contributors(sum); ++r)
    out.push_back({r == mine ? buffer.data() + parts.of(mine) : place(r), 1});
  return out;
}

void StagedCollectives::all_gather(runtime::TransportBuffer& buffer,
                                   const runtime::RankParts& parts, std::byte* full,
                                   runtime::TransportBuffer* /*within*/) {
  const std::int64_t ranks = size(), slice = parts.size;
  ensure(parts.of(ranks - 1) + slice <= buffer.bytes(),
         "StagedCollectives: an all-gather beyond its buffer");
  const std::byte* mine = buffer.data() + parts.of(rank());
  if (ranks == 1) {
    if (mine != full) copy_rows({full, slice}, {mine, slice}, slice, 1, cudaMemcpyDeviceToDevice);
    return;
  }
  for (std::int64_t at = 0; at < slice; at += piece_) {
    const std::int64_t n = std::min(piece_, slice - at);
    reserve(std::min(piece_, slice));
    copy_rows({leaving_->data(), n}, {mine + at, n}, n, 1, cudaMemcpyDeviceToHost);
    wait();
    auto* arriving = static_cast<std::byte*>(arriving_.get());
    control_.all_gather(*leaving_, {0, n, 0}, arriving);
    copy_rows({full + at, slice}, {arriving, n}, n, ranks, cudaMemcpyHostToDevice);
  }
}

void StagedCollectives::all_reduce_fast(float* data, std::int64_t count) {
  constexpr std::int64_t kFloat = sizeof(float);
  const std::int64_t piece = piece_ / kFloat;
  for (std::int64_t at = 0; size() > 1 && at < count; at += piece) {
    const std::int64_t n = std::min(piece, count - at);
    reserve((std::min(piece, count) + size() - 1) / size() * kFloat);
    auto* arriving = static_cast<std::byte*>(arriving_.get());
    auto* there = reinterpret_cast<std::byte*>(data + at);
    copy_rows({arriving, n * kFloat}, {there, n * kFloat}, n * kFloat, 1, cudaMemcpyDeviceToHost);
    wait();
    control_.all_reduce_fast(reinterpret_cast<float*>(arriving), n);
    copy_rows({there, n * kFloat}, {arriving, n * kFloat}, n * kFloat, 1, cudaMemcpyHostToDevice);
  }
}

void StagedCollectives::barrier() {
  wait();
  control_.barrier();
}

}  // namespace th::cuda
