#include "runtime/transport/node_collectives.hpp"

#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"

#include <algorithm>
#include <cstring>
#include <functional>

namespace th::runtime {

namespace {

constexpr int kExchangeTag = 1, kShardTag = 2;

}  // namespace

/// Messages in flight. A receive is posted before the sends of its call.
class NodeCollectives::Messages {
 public:
  explicit Messages(MPI_Comm comm) : comm_(comm) {}
  void receive(float* to, std::int64_t count, int from, int tag) {
    check_mpi(MPI_Irecv(to, as_count(count), MPI_FLOAT, from, tag, comm_, next()), "MPI_Irecv");
  }
  void send(const float* from, std::int64_t count, int to, int tag) {
    check_mpi(MPI_Isend(from, as_count(count), MPI_FLOAT, to, tag, comm_, next()), "MPI_Isend");
    sent_ += count * 4;
  }
  /// Returns the bytes sent.
  std::int64_t complete() {
    if (!requests_.empty())
      check_mpi(
          MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE),
          "MPI_Waitall");
    requests_.clear();
    return sent_;
  }

 private:
  MPI_Request* next() { return &requests_.emplace_back(MPI_REQUEST_NULL); }
  MPI_Comm comm_;
  std::vector<MPI_Request> requests_;
  std::int64_t sent_ = 0;
};

NodeCollectives::NodeCollectives(MPI_Comm world, Communicator node, NodeMap nodes, Waiting waiting)
    : MessageCollectives(world, std::move(nodes)),
      node_(std::move(node)),
      fence_(node_, waiting, nodes_.nodes() > 1 ? comm_.get() : MPI_COMM_NULL) {}

std::unique_ptr<TransportBuffer> NodeCollectives::allocate(std::int64_t elements) {
  if (room_for(elements, nodes_.node_size(rank_)))
    return std::make_unique<WindowBuffer>(node_.get(), elements);
  return MessageCollectives::allocate(elements);
}

std::unique_ptr<TransportBuffer> NodeCollectives::allocate_shared(std::int64_t elements,
                                                                  std::int64_t counted) {
  if (!room_for(elements, 1)) return nullptr;
  return std::make_unique<WindowBuffer>(node_.get(), elements, WindowBuffer::Copies::kOneANode,
                                        counted);
}

/// A page of /dev/shm that can't be had is a SIGBUS at its first touch, so the room is looked at
/// first.
bool NodeCollectives::room_for(std::int64_t elements, int copies) {
  fence_.wait();  // whoever freed a window has done so
  int room =
      nodes_.node_size(rank_) == 1 || windows_fit(elements * 4 * copies, 1, shared_memory_room())
          ? 1
          : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &room, 1, MPI_INT, MPI_MIN, comm_.get()), "MPI_Allreduce");
  crowded_ = crowded_ || room == 0;
  return room == 1;
}

std::vector<const float*> NodeCollectives::exchange(TransportBuffer& buffer, std::int64_t offset,
                                                    std::int64_t slice) {
  auto* window = dynamic_cast<WindowBuffer*>(&buffer);
  if (window == nullptr) return MessageCollectives::exchange(buffer, offset, slice);
  std::vector<SlotBlock> ranks;
  for (int r = 0; r < size_; ++r) ranks.push_back({r, 1});
  std::vector<const float*> pieces;
  for (const Contribution& one : exchange_blocks(*window, offset, slice, ranks, nullptr))
    pieces.push_back(one.data);
  return pieces;
}

std::vector<Contribution> NodeCollectives::exchange_sums(TransportBuffer& buffer,
                                                         std::int64_t offset, std::int64_t slice,
                                                         const SubtreeSum& sum) {
  auto* window = dynamic_cast<WindowBuffer*>(&buffer);
  if (window == nullptr) return Collectives::exchange_sums(buffer, offset, slice, sum);
  return exchange_blocks(*window, offset, slice, slot_blocks(nodes_, sum.first_slot, sum.present),
                         &sum);
}

std::vector<Contribution> NodeCollectives::exchange_blocks(WindowBuffer& window,
                                                           std::int64_t offset, std::int64_t slice,
                                                           const std::vector<SlotBlock>& blocks,
                                                           const SubtreeSum* sum) {
  const auto words = [&](const SlotBlock& block) { return block.count > 1 ? sum->words : slice; };
  std::int64_t arriving = 0;
  for (const SlotBlock& block : blocks) arriving += here(block.first) ? 0 : words(block);
  float* arrival = arriving > 0 ? grown(received_, arriving) : nullptr;
  std::vector<Contribution> out;
  Messages messages(comm_.get());
  fence_.wait();
  for (const SlotBlock& block : blocks) {
    if (here(block.first)) {
      for (int r = block.first; r < block.first + block.count; ++r)
        out.push_back({of(window, r) + offset + slice * rank_, 1});
      continue;
    }
    messages.receive(arrival, words(block), sender_of(nodes_, block, rank_), kExchangeTag);
    out.push_back({arrival, block.count});
    arrival += words(block);
  }
  for (const SlotBlock& block : blocks) {
    if (block.first <= rank_ && rank_ < block.first + block.count)
      send_block(messages, window, offset, slice, block, sum);
  }
  count(&ByteCounters::exchange, slice * 4, messages.complete());
  return out;
}

void NodeCollectives::send_block(Messages& messages, WindowBuffer& window, std::int64_t offset,
                                 std::int64_t slice, const SlotBlock& block,
                                 const SubtreeSum* sum) {
  const int owners = sends_of(nodes_, block, rank_);
  float* out = block.count > 1 && owners > 0 ? grown(sums_, sum->words * owners) : nullptr;
  std::vector<const float*> slices(static_cast<std::size_t>(block.count));
  for (int step = 1; step < size_; ++step) {
    const int owner = (rank_ + step) % size_;
    if (here(owner) || sender_of(nodes_, block, owner) != rank_) continue;
    const std::int64_t at = offset + slice * owner;
    if (block.count == 1) {
      messages.send(window.data() + at, slice, owner, kExchangeTag);
      continue;
    }
    for (int i = 0; i < block.count; ++i)
      slices[static_cast<std::size_t>(i)] = of(window, block.first + i) + at;
    sum->add(slices, out);
    messages.send(out, sum->words, owner, kExchangeTag);
    out += sum->words;
  }
}

template <typename Place>
void NodeCollectives::bring_shards(WindowBuffer& window, std::int64_t mine, std::int64_t slice,
                                   WindowBuffer& landing, const Place& at_landing) {
  const int node = nodes_.node_of(rank_);
  Messages messages(comm_.get());
  for (int r = 0; r < size_; ++r) {
    if (!here(r) && nodes_.taker(node, r) == rank_)
      messages.receive(landing.data() + at_landing(r), slice, r, kShardTag);
  }
  for (int step = 1; step < nodes_.nodes(); ++step) {
    messages.send(window.data() + mine, slice, nodes_.taker((node + step) % nodes_.nodes(), rank_),
                  kShardTag);
  }
  count(&ByteCounters::all_gather, slice * 4, messages.complete());
  fence_.wait();
}

WindowBuffer* NodeCollectives::landing(std::int64_t slice) {
  const int peers = nodes_.node_size(rank_);
  const std::int64_t room = slice * ((nodes_.outsiders(rank_) + peers - 1) / peers);
  if (landing_ == nullptr || landing_->elements() < room) {
    landing_.reset();
    if (!room_for(room, peers)) return nullptr;
    const MemoryScope scope(MemoryClass::kCommunication);
    landing_ = std::make_unique<WindowBuffer>(node_.get(), room);
  }
  return landing_.get();
}

void NodeCollectives::all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                                 std::int64_t slice, float* full) {
  auto* window = dynamic_cast<WindowBuffer*>(&buffer);
  const bool in_place = stride == slice && full == buffer.data() + offset;
  WindowBuffer* arrivals = in_place || nodes_.nodes() == 1 ? window
                           : window == nullptr             ? nullptr
                                                           : landing(slice);
  if (arrivals == nullptr)
    return MessageCollectives::all_gather(buffer, offset, stride, slice, full);
  const int node = nodes_.node_of(rank_), peers = nodes_.node_size(rank_);
  const auto at_landing = [&](int r) {
    return in_place ? offset + slice * r : slice * (nodes_.outside_place(node, r) / peers);
  };
  bring_shards(*window, offset + stride * rank_, slice, *arrivals, at_landing);
  if (in_place && window->one_a_node())
    return;  // what the node's ranks have is there, and nobody reads another's
  for (int r = 0; r < size_; ++r) {
    const float* from = here(r) ? of(*window, r) + offset + stride * r
                                : of(*arrivals, nodes_.taker(node, r)) + at_landing(r);
    float* to = full + slice * r;
    if (from != to) std::memcpy(to, from, static_cast<std::size_t>(slice) * 4);
  }
  fence_.wait();
}

void NodeCollectives::all_gather_shared(TransportBuffer& buffer, std::int64_t offset,
                                        std::int64_t stride, std::int64_t slice,
                                        TransportBuffer& to, std::int64_t at) {
  const auto* whole = dynamic_cast<WindowBuffer*>(&to);
  if (whole == nullptr || !whole->one_a_node())
    return all_gather(buffer, offset, stride, slice, to.data() + at);
  fence_.wait();
  std::memcpy(to.data() + at + slice * rank_, buffer.data() + offset + stride * rank_,
              static_cast<std::size_t>(slice) * 4);
  all_gather(to, at, slice, slice, to.data() + at);
}

std::vector<const float*> NodeCollectives::shards(TransportBuffer& buffer, std::int64_t offset,
                                                  std::int64_t slice) {
  auto* window = dynamic_cast<WindowBuffer*>(&buffer);
  if (window == nullptr) return MessageCollectives::shards(buffer, offset, slice);
  bring_shards(*window, offset + slice * rank_, slice, *window,
               [&](int r) { return offset + slice * r; });
  std::vector<const float*> out;
  for (int r = 0; r < size_; ++r)
    out.push_back(of(*window, here(r) ? r : nodes_.taker(nodes_.node_of(rank_), r)) + offset +
                  slice * r);
  return out;
}

std::int64_t NodeCollectives::communication_bytes() const noexcept {
  std::int64_t elements = 0;
  for (const auto* buffer : {received_.get(), sums_.get()})
    elements += buffer != nullptr ? buffer->elements() : 0;
  return (elements + (landing_ != nullptr ? landing_->elements() : 0)) * 4;
}

std::string NodeCollectives::description() const {
  if (crowded_) return "MPI (the shared memory in /dev/shm is too small)";
  if (nodes_.nodes() == 1) return "shared-memory window";
  return "shared-memory windows on " + std::to_string(nodes_.nodes()) +
         " nodes, messages between them";
}

}  // namespace th::runtime
