#include "cuda/transport/nccl_collectives.hpp"

#include "cuda/transport/transport_memory.hpp"

namespace th::cuda {

NcclCollectives::NcclCollectives(runtime::Collectives& control, std::chrono::duration<double> limit,
                                 cudaStream_t stream)
    : control_(control),
      rank_(control.rank()),
      size_(control.size()),
      made_with_(stream),
      stream_(stream),
      communicator_(control.control(), limit),
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

std::unique_ptr<runtime::TransportBuffer> NcclCollectives::allocate(std::int64_t bytes) {
  return std::make_unique<DeviceTransportBuffer>(bytes, stream_);
}

std::vector<runtime::Contribution> NcclCollectives::exchange(runtime::TransportBuffer& buffer,
                                                             const runtime::RankParts& parts,
                                                             const runtime::SubtreeSum* sum) {
  const std::int64_t size = parts.size;
  ensure(parts.of(size_) <= buffer.bytes(), "NcclCollectives: an exchange beyond its buffer");
  // Readers are on the stream too, before the next exchange's receives, so one receive buffer
  // serves all. It grows in the first step alone.
  if (received_.bytes() < size * (size_ - 1)) {
    if (received_.bytes() > 0) synchronize();
    received_ = {};
    received_ = {size * (size_ - 1), runtime::CountedAs::kCommunication};
  }
  auto* arrivals = static_cast<std::byte*>(received_.get());
  const auto arrival = [&](int r) { return arrivals + size * (r < rank_ ? r : r - 1); };
  if (size_ > 1 && size > 0) {
    communicator_.check(ncclGroupStart(), "ncclGroupStart");
    for (int step = 1; step < size_; ++step) {
      const int to = (rank_ + step) % size_, from = (rank_ + size_ - step) % size_;
      communicator_.check(ncclSend(buffer.data() + parts.of(to), as_size(size), ncclChar, to,
                                   communicator_.get(), stream_),
                          "ncclSend");
      communicator_.check(
          ncclRecv(arrival(from), as_size(size), ncclChar, from, communicator_.get(), stream_),
          "ncclRecv");
    }
    communicator_.check(ncclGroupEnd(), "ncclGroupEnd");
  }
  // Else an event that is recorded next would not cover it.
  communicator_.wait_enqueued("the exchange of gradients (ncclSend, ncclRecv)");
  moved_.exchange += size * (size_ - 1);
  std::vector<runtime::Contribution> pieces;
  for (int r = 0; r < contributors(sum); ++r)
    pieces.push_back({r == rank_ ? buffer.data() + parts.of(r) : arrival(r), 1});
  return pieces;
}

void NcclCollectives::finish_exchange() {
  communicator_.poll("the exchange of gradients");
}  // the stream keeps the order

void NcclCollectives::all_gather(runtime::TransportBuffer& buffer, const runtime::RankParts& parts,
                                 std::byte* full, runtime::TransportBuffer* /*within*/) {
  ensure(parts.of(size_ - 1) + parts.size <= buffer.bytes(),
         "NcclCollectives: an all-gather beyond its buffer");
  if (parts.size > 0) {
    communicator_.check(ncclAllGather(buffer.data() + parts.of(rank_), full, as_size(parts.size),
                                      ncclChar, communicator_.get(), stream_),
                        "ncclAllGather");
  }
  // Else an event that is recorded next would not cover it.
  communicator_.wait_enqueued("ncclAllGather");
  moved_.all_gather += parts.size * (size_ - 1);
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

runtime::ByteCounters NcclCollectives::bytes_sent() const noexcept {
  runtime::ByteCounters out = moved_;
  out.control = control_.bytes_sent().control - control_before_;
  return out;
}

}  // namespace th::cuda
