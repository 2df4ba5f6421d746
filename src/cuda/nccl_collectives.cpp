#include "nccl_collectives.hpp"

#include "transport_memory.hpp"

namespace th::cuda {

namespace {

std::size_t as_size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

NcclCollectives::NcclCollectives(runtime::Collectives& control, std::chrono::duration<double> limit, cudaStream_t compute)
    : control_(control), rank_(control.rank()), size_(control.size()), compute_(compute), communicator_(control, limit),
      control_before_(control.bytes_sent().control) {}

NcclCollectives::~NcclCollectives() = default;

/// The communication stream goes on only behind what the compute stream holds now.
void NcclCollectives::follow_compute() {
  compute_done_.record(compute_);
  compute_done_.make_wait(stream_.get());
}

/// After a call of NCCL's. A non-blocking communicator enqueues in a thread of its own: an event recorded too early would not cover it.
void NcclCollectives::enqueued(const char* call) {
  communicator_.wait_enqueued(call);
  if (joining_ == Joining::kEachCall) join();
}

void NcclCollectives::join() {
  communication_done_.record(stream_.get());
  communication_done_.make_wait(compute_);
}

std::unique_ptr<runtime::TransportBuffer> NcclCollectives::allocate(std::int64_t elements) { return std::make_unique<DeviceTransportBuffer>(elements, compute_); }

std::vector<const float*> NcclCollectives::exchange(runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) {
  ensure(!exchanging_, "NcclCollectives: exchange() before finish_exchange() of the one before");
  ensure(offset + slice * size_ <= buffer.elements(), "NcclCollectives: an exchange beyond its buffer");
  // One exchange is open at a time and its readers are ordered before the next one's receives, so one receive buffer serves all.
  if (received_.bytes() < slice * 4 * (size_ - 1)) {
    if (received_.bytes() > 0) synchronize();
    received_ = DeviceBuffer();
    received_ = DeviceBuffer(slice * 4 * (size_ - 1));
  }
  float* mine = buffer.data() + offset;
  auto* arrivals = static_cast<float*>(received_.get());
  std::vector<const float*> pieces;
  for (int r = 0; r < size_; ++r) pieces.push_back(r == rank_ ? mine + slice * r : arrivals + slice * (r < rank_ ? r : r - 1));
  follow_compute();
  if (size_ > 1 && slice > 0) {
    communicator_.check(ncclGroupStart(), "ncclGroupStart");
    for (int step = 1; step < size_; ++step) {
      const int to = (rank_ + step) % size_, from = (rank_ + size_ - step) % size_;
      communicator_.check(ncclSend(mine + slice * to, as_size(slice), ncclFloat, to, communicator_.get(), stream_.get()), "ncclSend");
      communicator_.check(ncclRecv(const_cast<float*>(pieces[as_size(from)]), as_size(slice), ncclFloat, from, communicator_.get(), stream_.get()),
                          "ncclRecv");
    }
    communicator_.check(ncclGroupEnd(), "ncclGroupEnd");
  }
  enqueued("the exchange of gradients (ncclSend, ncclRecv)");
  exchanging_ = true;
  moved_.exchange += slice * 4 * (size_ - 1);
  return pieces;
}

void NcclCollectives::finish_exchange() {
  ensure(exchanging_, "NcclCollectives: finish_exchange() without exchange() or shards()");
  exchanging_ = false;  // the streams keep the order: the next call's receives follow the readers of this one's
  communicator_.poll("the exchange of gradients");
}

void NcclCollectives::all_gather(runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t stride, std::int64_t slice, float* full) {
  ensure(offset + stride * (size_ - 1) + slice <= buffer.elements(), "NcclCollectives: an all-gather beyond its buffer");
  follow_compute();
  const float* mine = buffer.data() + offset + stride * rank_;
  if (slice > 0) {
    communicator_.check(ncclAllGather(mine, full, as_size(slice), ncclFloat, communicator_.get(), stream_.get()), "ncclAllGather");
  }
  enqueued("ncclAllGather");
  moved_.all_gather += slice * 4 * (size_ - 1);
}

std::vector<const float*> NcclCollectives::shards(runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) {
  ensure(!exchanging_, "NcclCollectives: shards() before finish_exchange() of the one before");
  std::vector<const float*> all = Collectives::shards(buffer, offset, slice);
  exchanging_ = true;
  return all;
}

void NcclCollectives::all_reduce_fast(float* data, std::int64_t count) {
  follow_compute();
  if (count > 0) {
    communicator_.check(ncclAllReduce(data, data, as_size(count), ncclFloat, ncclSum, communicator_.get(), stream_.get()), "ncclAllReduce");
  }
  enqueued("ncclAllReduce");
  moved_.reduce += 2 * count / size_ * 4 * (size_ - 1);
}

void NcclCollectives::synchronize() {
  follow_compute();
  join();
  const Event both;
  both.record(compute_);
  communicator_.wait(both, "communication on the GPU");
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
