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

/// What crosses nodes of a block of ranks, for one owner: their sum, or the only rank's slice.
std::int64_t bytes_of(const SlotBlock& block, const RankParts& parts, const SubtreeSum* sum) {
  return block.count > 1 ? sum->floats * std::int64_t{sizeof(float)} : parts.size;
}

}  // namespace

/// Messages in flight. A receive is posted before the sends of its call.
class NodeCollectives::Messages {
 public:
  explicit Messages(MPI_Comm comm) : comm_(comm) {}
  void receive(std::byte* to, std::int64_t bytes, int from, int tag) {
    check_mpi(MPI_Irecv(to, as_words(bytes), kWordType, from, tag, comm_, next()), "MPI_Irecv");
  }
  void send(const std::byte* from, std::int64_t bytes, int to, int tag) {
    check_mpi(MPI_Isend(from, as_words(bytes), kWordType, to, tag, comm_, next()), "MPI_Isend");
    sent_ += bytes;
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

std::unique_ptr<TransportBuffer> NodeCollectives::allocate(std::int64_t bytes) {
  if (room_for(bytes, nodes_.node_size(rank_)))
    return std::make_unique<WindowBuffer>(node_.get(), bytes);
  return MessageCollectives::allocate(bytes);
}

std::unique_ptr<TransportBuffer> NodeCollectives::allocate_shared(std::int64_t bytes,
                                                                  std::int64_t counted) {
  if (!room_for(bytes, 1)) return nullptr;
  return std::make_unique<WindowBuffer>(node_.get(), bytes, WindowBuffer::Copies::kOneANode,
                                        counted);
}

/// A page of /dev/shm that can't be had is a SIGBUS at its first touch, so the room is looked at
/// first.
bool NodeCollectives::room_for(std::int64_t bytes, int copies) {
  fence_.wait();  // whoever freed a window has done so
  int room =
      nodes_.node_size(rank_) == 1 || windows_fit(bytes * copies, 1, shared_memory_room()) ? 1 : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &room, 1, MPI_INT, MPI_MIN, comm_.get()), "MPI_Allreduce");
  crowded_ = crowded_ || room == 0;
  return room == 1;
}

std::vector<Contribution> NodeCollectives::exchange(TransportBuffer& buffer, const RankParts& parts,
                                                    const SubtreeSum* sum) {
  auto* window = dynamic_cast<WindowBuffer*>(&buffer);
  if (window == nullptr) return MessageCollectives::exchange(buffer, parts, sum);
  std::vector<SlotBlock> blocks;
  if (sum != nullptr) {
    blocks = slot_blocks(nodes_, sum->first_slot, sum->present);
  } else {
    for (int r = 0; r < size_; ++r) blocks.push_back({r, 1});
  }
  std::int64_t arriving = 0;
  for (const SlotBlock& block : blocks)
    arriving += here(block.first) ? 0 : bytes_of(block, parts, sum);
  std::byte* arrival = arriving > 0 ? grown(received_, arriving) : nullptr;
  std::vector<Contribution> out;
  Messages messages(comm_.get());
  fence_.wait();
  for (const SlotBlock& block : blocks) {
    if (here(block.first)) {
      for (int r = block.first; r < block.first + block.count; ++r)
        out.push_back({of(*window, r) + parts.of(rank_), 1});
      continue;
    }
    const std::int64_t bytes = bytes_of(block, parts, sum);
    messages.receive(arrival, bytes, sender_of(nodes_, block, rank_), kExchangeTag);
    out.push_back({arrival, block.count});
    arrival += bytes;
  }
  for (const SlotBlock& block : blocks) {
    if (block.first <= rank_ && rank_ < block.first + block.count)
      send_block(messages, *window, parts, block, sum);
  }
  count(&ByteCounters::exchange, parts.size, messages.complete());
  return out;
}

void NodeCollectives::send_block(Messages& messages, WindowBuffer& window, const RankParts& parts,
                                 const SlotBlock& block, const SubtreeSum* sum) {
  const int owners = sends_of(nodes_, block, rank_);
  const std::int64_t bytes = bytes_of(block, parts, sum);
  std::byte* out = block.count > 1 && owners > 0 ? grown(sums_, bytes * owners) : nullptr;
  std::vector<const std::byte*> slices(static_cast<std::size_t>(block.count));
  for (int step = 1; step < size_; ++step) {
    const int owner = (rank_ + step) % size_;
    if (here(owner) || sender_of(nodes_, block, owner) != rank_) continue;
    if (block.count == 1) {
      messages.send(window.data() + parts.of(owner), bytes, owner, kExchangeTag);
      continue;
    }
    for (int i = 0; i < block.count; ++i)
      slices[static_cast<std::size_t>(i)] = of(window, block.first + i) + parts.of(owner);
    sum->add(slices, reinterpret_cast<float*>(out));
    messages.send(out, bytes, owner, kExchangeTag);
    out += bytes;
  }
}

template <typename Place>
void NodeCollectives::bring_shards(WindowBuffer& window, std::int64_t mine, std::int64_t size,
                                   WindowBuffer& landing, const Place& at_landing) {
  const int node = nodes_.node_of(rank_);
  Messages messages(comm_.get());
  for (int r = 0; r < size_; ++r) {
    if (!here(r) && nodes_.taker(node, r) == rank_)
      messages.receive(landing.data() + at_landing(r), size, r, kShardTag);
  }
  for (int step = 1; step < nodes_.nodes(); ++step) {
    messages.send(window.data() + mine, size, nodes_.taker((node + step) % nodes_.nodes(), rank_),
                  kShardTag);
  }
  count(&ByteCounters::all_gather, size, messages.complete());
  fence_.wait();
}

WindowBuffer* NodeCollectives::landing(std::int64_t size) {
  const int peers = nodes_.node_size(rank_);
  const std::int64_t room = size * ((nodes_.outsiders(rank_) + peers - 1) / peers);
  if (landing_ == nullptr || landing_->bytes() < room) {
    landing_.reset();
    if (!room_for(room, peers)) return nullptr;
    const MemoryScope scope(MemoryClass::kCommunication);
    landing_ = std::make_unique<WindowBuffer>(node_.get(), room);
  }
  return landing_.get();
}

void NodeCollectives::gather_into(TransportBuffer& buffer, const RankParts& parts,
                                  std::byte* full) {
  auto* window = dynamic_cast<WindowBuffer*>(&buffer);
  const bool in_place = parts.stride == parts.size && full == buffer.data() + parts.offset;
  WindowBuffer* arrivals = in_place || nodes_.nodes() == 1 ? window
                           : window == nullptr             ? nullptr
                                                           : landing(parts.size);
  if (arrivals == nullptr) return MessageCollectives::all_gather(buffer, parts, full, nullptr);
  const int node = nodes_.node_of(rank_), peers = nodes_.node_size(rank_);
  const auto at_landing = [&](int r) {
    return in_place ? parts.of(r) : parts.size * (nodes_.outside_place(node, r) / peers);
  };
  bring_shards(*window, parts.of(rank_), parts.size, *arrivals, at_landing);
  if (in_place && window->one_a_node())
    return;  // what the node's ranks have is there, and nobody reads another's
  for (int r = 0; r < size_; ++r) {
    const std::byte* from = here(r) ? of(*window, r) + parts.of(r)
                                    : of(*arrivals, nodes_.taker(node, r)) + at_landing(r);
    std::byte* to = full + parts.size * r;
    if (from != to) std::memcpy(to, from, static_cast<std::size_t>(parts.size));
  }
  fence_.wait();
}

void NodeCollectives::all_gather(TransportBuffer& buffer, const RankParts& parts, std::byte* full,
                                 TransportBuffer* within) {
  const auto* whole = dynamic_cast<WindowBuffer*>(within);
  if (whole == nullptr || !whole->one_a_node()) return gather_into(buffer, parts, full);
  fence_.wait();
  std::memcpy(full + parts.size * rank_, buffer.data() + parts.of(rank_),
              static_cast<std::size_t>(parts.size));
  gather_into(*within, {full - within->data(), parts.size}, full);
}

std::vector<const std::byte*> NodeCollectives::shards(TransportBuffer& buffer,
                                                      const RankParts& parts) {
  auto* window = dynamic_cast<WindowBuffer*>(&buffer);
  if (window == nullptr) return MessageCollectives::shards(buffer, parts);
  bring_shards(*window, parts.of(rank_), parts.size, *window, [&](int r) { return parts.of(r); });
  std::vector<const std::byte*> out;
  for (int r = 0; r < size_; ++r)
    out.push_back(of(*window, here(r) ? r : nodes_.taker(nodes_.node_of(rank_), r)) + parts.of(r));
  return out;
}

std::int64_t NodeCollectives::communication_bytes() const noexcept {
  std::int64_t bytes = landing_ != nullptr ? landing_->bytes() : 0;
  for (const auto* buffer : {received_.get(), sums_.get()})
    bytes += buffer != nullptr ? buffer->bytes() : 0;
  return bytes;
}

std::string NodeCollectives::description() const {
  if (crowded_) return "MPI (the shared memory in /dev/shm is too small)";
  if (nodes_.nodes() == 1) return "shared-memory window";
  return "shared-memory windows on " + std::to_string(nodes_.nodes()) +
         " nodes, messages between them";
}

}  // namespace th::runtime
