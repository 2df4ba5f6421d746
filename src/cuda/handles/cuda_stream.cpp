#include "cuda/handles/cuda_stream.hpp"

#include <utility>

namespace th::cuda {

namespace {

Event take(std::vector<Event>& spare, EventKind kind) {
  if (spare.empty()) return Event(kind);
  Event event = std::move(spare.back());
  spare.pop_back();
  return event;
}

std::int64_t nanoseconds(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

}  // namespace

void StreamContext::stamp(cudaStream_t stream, runtime::Stream::Stamp stamp) {
  if (!anchor_) {
    anchor_.emplace(EventKind::kTimed);
    anchor_->record(stream);
    wait(*anchor_);
    anchor_ns_ = runtime::monotonic_ns();
  }
  Event event = take(spare_, EventKind::kTimed);
  event.record(stream);
  pending_.push_back({std::move(event), std::move(stamp)});
}

void StreamContext::settle() {
  std::deque<Pending> later;
  std::optional<Event> latest;
  std::int64_t latest_ns = anchor_ns_;
  for (Pending& one : pending_) {
    if (!one.event.reached()) {
      later.push_back(std::move(one));
      continue;
    }
    const std::int64_t ns = anchor_ns_ + nanoseconds(Event::seconds(*anchor_, one.event));
    one.stamp(ns);
    if (ns >= latest_ns) {
      if (latest) spare_.push_back(std::move(*latest));
      latest = std::move(one.event);
      latest_ns = ns;
    } else {
      spare_.push_back(std::move(one.event));
    }
  }
  pending_ = std::move(later);
  if (!latest) return;
  spare_.push_back(std::exchange(*anchor_, std::move(*latest)));
  anchor_ns_ = latest_ns;
}

CudaStream::CudaStream(std::shared_ptr<StreamContext> context, StreamPriority priority)
    : context_(std::move(context)), own_(std::in_place, priority), stream_(own_->get()) {}

CudaStream::CudaStream(std::shared_ptr<StreamContext> context, cudaStream_t stream)
    : context_(std::move(context)), stream_(stream) {}

CudaStream::~CudaStream() {
  if (!own_) return;
  try {
    drain();
  } catch (const Error&) {  // the error that ended the run was reported
  }
}

void CudaStream::copy(void* to, const void* from, std::int64_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream_),
             "cudaMemcpyAsync");
}

void CudaStream::clear(void* memory, std::int64_t bytes) {
  check_cuda(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), stream_),
             "cudaMemsetAsync");
}

runtime::Event CudaStream::record() {
  for (; !marks_.empty() && marks_.front().reached(); marks_.pop_front())
    spare_.push_back(std::move(marks_.front()));
  Event event = take(spare_, EventKind::kOrder);
  event.record(stream_);
  marks_.push_back(std::move(event));
  return {this, ++position_};
}

const Event* CudaStream::find(std::int64_t position) const {
  const std::int64_t at = position - 1 - (position_ - std::ssize(marks_));
  return at < 0 ? nullptr : &marks_[static_cast<std::size_t>(at)];
}

void CudaStream::wait(const runtime::Event& event) {
  if (event.stream == nullptr || event.stream == this) return;
  const auto* other = dynamic_cast<CudaStream*>(event.stream);
  if (other == nullptr)
    // Of the host: nothing on the device can wait for it.
    return event.stream->reach(event.position);
  if (const Event* mark = other->find(event.position)) mark->make_wait(stream_);
}

void CudaStream::drain() {
  const Event done;
  done.record(stream_);
  context_->wait(done);
}

void CudaStream::reach(std::int64_t position) {
  if (const Event* mark = find(position)) context_->wait(*mark);
}

}  // namespace th::cuda
