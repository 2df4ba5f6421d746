#include "cuda/transport/staged_collectives.hpp"

#include "cuda/handles/cuda_stream.hpp"
#include "cuda/transport/transport_memory.hpp"

#include <algorithm>
#include <cstring>

namespace th::cuda {

namespace {

std::size_t bytes_of(std::int64_t elements) {
  return static_cast<std::size_t>(elements) * sizeof(float);
}

}  // namespace

PinnedRange::PinnedRange(void* memory, std::int64_t bytes) : memory_(memory) {
  check_cuda(cudaHostRegister(memory, static_cast<std::size_t>(bytes), cudaHostRegisterDefault),
             "cudaHostRegister");
}

StagedCollectives::StagedCollectives(runtime::Collectives& control, cudaStream_t stream,
                                     std::int64_t piece)
    : control_(control), made_with_(stream), stream_(stream), piece_(piece) {
  ensure(piece >= 1, "StagedCollectives: pieces of nothing");
}

StagedCollectives::~StagedCollectives() = default;

void StagedCollectives::use_stream(runtime::Stream* stream) {
  stream_ = stream == nullptr ? made_with_ : dynamic_cast<CudaStream&>(*stream).get();
}

std::unique_ptr<runtime::TransportBuffer> StagedCollectives::allocate(std::int64_t elements) {
  return std::make_unique<DeviceTransportBuffer>(elements, stream_);
}

void StagedCollectives::wait() {
  check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void StagedCollectives::reserve(std::int64_t elements) {
  if (elements <= reserved_) return;
  wait();  // copies from the buffers that go
  leaving_pinned_.reset();
  leaving_.reset();
  const auto allocate = ledger().allocate;
  leaving_ = allocate == nullptr
                 ? control_.allocate(elements * size())
                 : std::unique_ptr<runtime::TransportBuffer>(allocate(control_, elements * size()));
  leaving_pinned_.emplace(leaving_->data(), elements * size() * 4);
  arriving_ = {};
  arriving_ = {elements * size() * 4, runtime::CountedAs::kCommunication};
  reserved_ = elements;
}

void StagedCollectives::copy_rows(Rows<float> to, Rows<const float> from, std::int64_t width,
                                  std::int64_t rows, cudaMemcpyKind kind) {
  if (width == 0 || rows == 0) return;
  check_cuda(cudaMemcpy2DAsync(to.first, bytes_of(to.pitch), from.first, bytes_of(from.pitch),
                               bytes_of(width), static_cast<std::size_t>(rows), kind, stream_),
             "cudaMemcpy2DAsync");
}

std::vector<const float*> StagedCollectives::exchange(runtime::TransportBuffer& buffer,
                                                      std::int64_t offset, std::int64_t slice) {
  const std::int64_t ranks = size(), mine = rank();
  ensure(offset + slice * ranks <= buffer.elements(),
         "StagedCollectives: an exchange beyond its buffer");
  if (received_.bytes() < slice * 4 * (ranks - 1)) {
    wait();
    received_ = {};
    received_ = {slice * 4 * (ranks - 1), runtime::CountedAs::kCommunication};
  }
  auto* received = static_cast<float*>(received_.get());
  auto* arriving = static_cast<float*>(arriving_.get());
  const auto place = [&](std::int64_t r) { return received + slice * (r < mine ? r : r - 1); };
  for (std::int64_t at = 0; ranks > 1 && at < slice; at += piece_) {
    const std::int64_t n = std::min(piece_, slice - at);
    reserve(std::min(piece_, slice));
    arriving = static_cast<float*>(arriving_.get());
    copy_rows({leaving_->data(), n}, {buffer.data() + offset + at, slice}, n, ranks,
              cudaMemcpyDeviceToHost);
    wait();
    const std::vector<const float*> pieces = control_.exchange(*leaving_, 0, n);
    for (std::int64_t r = 0; r < ranks; ++r) {
      if (r != mine)
        std::memcpy(arriving + n * r, pieces[static_cast<std::size_t>(r)], bytes_of(n));
    }
    control_.finish_exchange();
    for (std::int64_t r = 0; r < ranks; ++r) {
      if (r != mine)
        copy_rows({place(r) + at, n}, {arriving + n * r, n}, n, 1, cudaMemcpyHostToDevice);
    }
  }
  std::vector<const float*> out;
  for (std::int64_t r = 0; r < ranks; ++r)
    out.push_back(r == mine ? buffer.data() + offset + slice * mine : place(r));
  return out;
}

void StagedCollectives::all_gather(runtime::TransportBuffer& buffer, std::int64_t offset,
                                   std::int64_t stride, std::int64_t slice, float* full) {
  const std::int64_t ranks = size();
  ensure(offset + stride * (ranks - 1) + slice <= buffer.elements(),
         "StagedCollectives: an all-gather beyond its buffer");
  const float* mine = buffer.data() + offset + stride * rank();
  if (ranks == 1) {
    if (mine != full) copy_rows({full, slice}, {mine, slice}, slice, 1, cudaMemcpyDeviceToDevice);
    return;
  }
  for (std::int64_t at = 0; at < slice; at += piece_) {
    const std::int64_t n = std::min(piece_, slice - at);
    reserve(std::min(piece_, slice));
    copy_rows({leaving_->data(), n}, {mine + at, n}, n, 1, cudaMemcpyDeviceToHost);
    wait();
    auto* arriving = static_cast<float*>(arriving_.get());
    control_.all_gather(*leaving_, 0, 0, n, arriving);
    copy_rows({full + at, slice}, {arriving, n}, n, ranks, cudaMemcpyHostToDevice);
  }
}

void StagedCollectives::all_reduce_fast(float* data, std::int64_t count) {
  for (std::int64_t at = 0; size() > 1 && at < count; at += piece_) {
    const std::int64_t n = std::min(piece_, count - at);
    reserve((std::min(piece_, count) + size() - 1) / size());
    auto* arriving = static_cast<float*>(arriving_.get());
    copy_rows({arriving, n}, {data + at, n}, n, 1, cudaMemcpyDeviceToHost);
    wait();
    control_.all_reduce_fast(arriving, n);
    copy_rows({data + at, n}, {arriving, n}, n, 1, cudaMemcpyHostToDevice);
  }
}

void StagedCollectives::barrier() {
  wait();
  control_.barrier();
}

}  // namespace th::cuda
