#include "cuda/transport/nccl_collectives.hpp"

#include "cuda/transport/transport_memory.hpp"

namespace th::cuda {

namespace {

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

NcclCollectives::NcclCollectives(runtime::Collectives& control, std::chrono::duration<double> limit,
                                 cudaStream_t stream)
    : control_(control),
      rank_(control.rank()),
      size_(control.size()),
      made_with_(stream),
      stream_(stream),
      communicator_(control, limit),
      control_before_(control.bytes_sent().control) {}

NcclCollectives::~NcclCollectives() { use_stream(nullptr); }

void NcclCollectives::use_stream(runtime::Stream* stream) {
  if (watched_) watched_->set_waiter({});
  watched_ = nullptr;
  stream_ = made_with_;
  if (stream == nullptr) return;
  const auto& used = dynamic_cast<CudaStream&>(*stream);
  stream_ = used.get();
  watched_ = used.context();
  watched_->set_waiter(
      [this](const Event& event) { communicator_.wait(event, "work on the GPU"); });
}

std::unique_ptr<runtime::TransportBuffer> NcclCollectives::allocate(std::int64_t elements) {
  return std::make_unique<DeviceTransportBuffer>(elements, stream_);
}

std::vector<const float*> NcclCollectives::exchange(runtime::TransportBuffer& buffer,
                                                    std::int64_t offset, std::int64_t slice) {
  ensure(offset + slice * size_ <= buffer.elements(),
         "NcclCollectives: an exchange beyond its buffer");
  // Readers are on the stream too, before the next exchange's receives, so one receive buffer
  // serves all. It grows in the first step alone.
  if (received_.bytes() < slice * 4 * (size_ - 1)) {
    if (received_.bytes() > 0) synchronize();
    received_ = {};
    received_ = {slice * 4 * (size_ - 1), runtime::CountedAs::kCommunication};
  }
  float* mine = buffer.data() + offset;
  auto* arrivals = static_cast<float*>(received_.get());
  std::vector<const float*> pieces;
  for (int r = 0; r < size_; ++r)
    pieces.push_back(r == rank_ ? mine + slice * r : arrivals + slice * (r < rank_ ? r : r - 1));
  if (size_ > 1 && slice > 0) {
    communicator_.check(ncclGroupStart(), "ncclGroupStart");
    for (int step = 1; step < size_; ++step) {
      const int to = (rank_ + step) % size_, from = (rank_ + size_ - step) % size_;
      communicator_.check(
          ncclSend(mine + slice * to, as_size(slice), ncclFloat, to, communicator_.get(), stream_),
          "ncclSend");
      communicator_.check(ncclRecv(const_cast<float*>(pieces[as_size(from)]), as_size(slice),
                                   ncclFloat, from, communicator_.get(), stream_),
                          "ncclRecv");
    }
    communicator_.check(ncclGroupEnd(), "ncclGroupEnd");
  }
  // Else an event that is recorded next would not cover it.
  communicator_.wait_enqueued("the exchange of gradients (ncclSend, ncclRecv)");
  moved_.exchange += slice * 4 * (size_ - 1);
  return pieces;
}

void NcclCollectives::finish_exchange() {
  communicator_.poll("the exchange of gradients");
}  // the stream keeps the order

void NcclCollectives::all_gather(runtime::TransportBuffer& buffer, std::int64_t offset,
                                 std::int64_t stride, std::int64_t slice, float* full) {
  ensure(offset + stride * (size_ - 1) + slice <= buffer.elements(),
         "NcclCollectives: an all-gather beyond its buffer");
  const float* mine = buffer.data() + offset + stride * rank_;
  if (slice > 0) {
    communicator_.check(
        ncclAllGather(mine, full, as_size(slice), ncclFloat, communicator_.get(), stream_),
        "ncclAllGather");
  }
  // Else an event that is recorded next would not cover it.
  communicator_.wait_enqueued("ncclAllGather");
  moved_.all_gather += slice * 4 * (size_ - 1);
}

void NcclCollectives::all_reduce_fast(float* data, std::int64_t count) {
  if (count > 0) {
    communicator_.check(
        ncclAllReduce(data, data, as_size(count), ncclFloat, ncclSum, communicator_.get(), stream_),
        "ncclAllReduce");
  }
  // Else an event that is recorded next would not cover it.
  communicator_.wait_enqueued("ncclAllReduce");
  moved_.reduce += 2 * count / size_ * 4 * (size_ - 1);
}

void NcclCollectives::synchronize() {
  const Event done;
  done.record(stream_);
  communicator_.wait(done, "communication on the GPU");
}

void NcclCollectives::release_buffer() {
  synchronize();
  received_ = {};
}

void NcclCollectives::barrier() {
  synchronize();
  control_.barrier();
}

const runtime::ByteCounters& NcclCollectives::bytes_sent() const noexcept {
  bytes_ = moved_;
  bytes_.control = control_.bytes_sent().control - control_before_;
  return bytes_;
}

}  // namespace th::cuda
