#include "th/runtime/mpi_collectives.hpp"

#include "node_barrier.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory_ledger.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace th::runtime {

namespace {

constexpr std::int64_t kAlignBytes = 64;

float* align_up(void* pointer) {
  const auto past = reinterpret_cast<std::uintptr_t>(pointer) % kAlignBytes;
  return reinterpret_cast<float*>(static_cast<char*>(pointer) + (past == 0 ? 0 : kAlignBytes - past));
}

int as_count(std::int64_t n) {
  if (n > INT32_MAX) throw InternalError("an MPI call was asked to move more than 2^31 elements at once");
  return static_cast<int>(n);
}

/// What both transports share: the small calls, by MPI.
class MpiControl : public Collectives {
 public:
  explicit MpiControl(MPI_Comm world) : comm_(Communicator::duplicate(world)), rank_(comm_.rank()), size_(comm_.size()) {}

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }

  void sum_in_rank_order(std::span<double> values) override {
    std::vector<double> all(values.size() * static_cast<std::size_t>(size_));
    all_gather_doubles(values, all);
    for (std::size_t i = 0; i < values.size(); ++i) {
      double sum = 0;
      for (std::size_t r = 0; r < static_cast<std::size_t>(size_); ++r) sum += all[r * values.size() + i];
      values[i] = sum;
    }
  }

  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override {
    ensure(all.size() == mine.size() * static_cast<std::size_t>(size_), "all_gather_doubles: the result has the wrong size");
    const int n = as_count(static_cast<std::int64_t>(mine.size()));
    check_mpi(MPI_Allgather(mine.data(), n, MPI_DOUBLE, all.data(), n, MPI_DOUBLE, comm_.get()), "MPI_Allgather");
    bytes_.control += static_cast<std::int64_t>(mine.size_bytes()) * (size_ - 1);
  }

  void all_reduce_fast(float* data, std::int64_t count) override {
    constexpr std::int64_t kPiece = 1 << 28;
    for (std::int64_t at = 0; at < count; at += kPiece) {
      check_mpi(MPI_Allreduce(MPI_IN_PLACE, data + at, as_count(std::min(kPiece, count - at)), MPI_FLOAT, MPI_SUM, comm_.get()), "MPI_Allreduce");
    }
    bytes_.reduce += 2 * count / size_ * 4 * (size_ - 1);
  }

  [[nodiscard]] std::int64_t maximum(std::int64_t value) override {
    std::int64_t result = value;
    check_mpi(MPI_Allreduce(&value, &result, 1, MPI_INT64_T, MPI_MAX, comm_.get()), "MPI_Allreduce");
    bytes_.control += 8 * (size_ - 1);
    return result;
  }

  void broadcast(std::string& text, int root) override {
    std::int64_t length = static_cast<std::int64_t>(text.size());
    check_mpi(MPI_Bcast(&length, 1, MPI_INT64_T, root, comm_.get()), "MPI_Bcast");
    text.resize(static_cast<std::size_t>(length));
    check_mpi(MPI_Bcast(text.data(), as_count(length), MPI_BYTE, root, comm_.get()), "MPI_Bcast");
    if (rank_ == root) bytes_.control += length * (size_ - 1);
  }

  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override {
    const auto ranks = static_cast<std::size_t>(size_);
    const int mine = as_count(static_cast<std::int64_t>(text.size()));
    const auto lengths = std::make_unique<int[]>(ranks), starts = std::make_unique<int[]>(ranks);
    check_mpi(MPI_Allgather(&mine, 1, MPI_INT, lengths.get(), 1, MPI_INT, comm_.get()), "MPI_Allgather");
    for (std::size_t r = 1; r < ranks; ++r) starts[r] = starts[r - 1] + lengths[r - 1];
    std::string all(static_cast<std::size_t>(starts[ranks - 1] + lengths[ranks - 1]), '\0');
    check_mpi(MPI_Allgatherv(text.data(), mine, MPI_BYTE, all.data(), lengths.get(), starts.get(), MPI_BYTE, comm_.get()), "MPI_Allgatherv");
    bytes_.control += static_cast<std::int64_t>(mine) * (size_ - 1);
    std::vector<std::string> out;
    for (std::size_t r = 0; r < ranks; ++r) out.push_back(all.substr(static_cast<std::size_t>(starts[r]), static_cast<std::size_t>(lengths[r])));
    return out;
  }

  void barrier() override { check_mpi(MPI_Barrier(comm_.get()), "MPI_Barrier"); }
  [[nodiscard]] const ByteCounters& bytes_sent() const noexcept override { return bytes_; }

 protected:
  void count_exchange(std::int64_t slice) { bytes_.exchange += slice * 4 * (size_ - 1); }
  void count_gather(std::int64_t slice) { bytes_.all_gather += slice * 4 * (size_ - 1); }

  Communicator comm_;
  int rank_;
  int size_;
  ByteCounters bytes_;
};

class WindowBuffer final : public TransportBuffer {
 public:
  WindowBuffer(MPI_Comm node, std::int64_t elements) : elements_(elements) {
    const MPI_Aint bytes = static_cast<MPI_Aint>((elements * 4 + 2 * kAlignBytes - 1) / kAlignBytes * kAlignBytes);
    void* base = nullptr;
    check_mpi(MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, node, &base, &window_), "MPI_Win_allocate_shared");
    int ranks = 0;
    MPI_Comm_size(node, &ranks);
    for (int r = 0; r < ranks; ++r) {
      MPI_Aint size = 0;
      int unit = 0;
      void* at = nullptr;
      check_mpi(MPI_Win_shared_query(window_, r, &size, &unit, &at), "MPI_Win_shared_query");
      bases_.push_back(align_up(at));
    }
    data_ = align_up(base);
    std::memset(data_, 0, static_cast<std::size_t>(elements) * 4);
    note_allocation(base, static_cast<std::size_t>(elements) * 4);
    base_ = base;
    check_mpi(MPI_Barrier(node), "MPI_Barrier");
  }
  ~WindowBuffer() override {
    note_release(base_);
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized == 0) MPI_Win_free(&window_);
  }
  [[nodiscard]] float* data() noexcept override { return data_; }
  [[nodiscard]] std::int64_t elements() const noexcept override { return elements_; }
  [[nodiscard]] const float* of_rank(int r) const { return bases_[static_cast<std::size_t>(r)]; }

 private:
  std::int64_t elements_;
  MPI_Win window_ = MPI_WIN_NULL;
  void* base_ = nullptr;
  float* data_ = nullptr;
  std::vector<float*> bases_;
};

class PlainBuffer final : public TransportBuffer {
 public:
  explicit PlainBuffer(std::int64_t elements) : storage_(static_cast<std::size_t>((elements * 4 + kAlignBytes - 1) / kAlignBytes)), elements_(elements) {}
  [[nodiscard]] float* data() noexcept override { return storage_.empty() ? nullptr : storage_.front().values; }
  [[nodiscard]] std::int64_t elements() const noexcept override { return elements_; }

 private:
  struct alignas(kAlignBytes) Line {
    float values[kAlignBytes / 4] = {};
  };
  std::vector<Line> storage_;
  std::int64_t elements_;
};

/// Ranks on several nodes, or no shared memory to be had: pairwise slices by MPI.
class MessageCollectives : public MpiControl {
 public:
  using MpiControl::MpiControl;

  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t elements) override { return std::make_unique<PlainBuffer>(elements); }

  [[nodiscard]] std::vector<const float*> exchange(TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override {
    const MemoryScope scope(MemoryClass::kCommunication);
    received_.resize(std::max(received_.size(), static_cast<std::size_t>(slice * size_)));
    const int n = as_count(slice);
    check_mpi(MPI_Alltoall(buffer.data() + offset, n, MPI_FLOAT, received_.data(), n, MPI_FLOAT, comm_.get()), "MPI_Alltoall");
    count_exchange(slice);
    std::vector<const float*> pieces;
    for (int r = 0; r < size_; ++r) pieces.push_back(received_.data() + slice * r);
    return pieces;
  }

  void finish_exchange() override {}

  void all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride, std::int64_t slice, float* full) override {
    const int n = as_count(slice);
    const float* mine = buffer.data() + offset + stride * rank_;
    if (full == buffer.data() + offset) {
      check_mpi(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, full, n, MPI_FLOAT, comm_.get()), "MPI_Allgather");
    } else {
      check_mpi(MPI_Allgather(mine, n, MPI_FLOAT, full, n, MPI_FLOAT, comm_.get()), "MPI_Allgather");
    }
    count_gather(slice);
  }

  [[nodiscard]] std::int64_t communication_bytes() const noexcept override { return static_cast<std::int64_t>(received_.size() * sizeof(float)); }
  [[nodiscard]] std::string description() const override { return "MPI"; }

 private:
  std::vector<float> received_;
};

/// All ranks on one node: peers' slices are read where they lie. A buffer that /dev/shm has no room for travels by messages.
class WindowCollectives final : public MessageCollectives {
 public:
  explicit WindowCollectives(MPI_Comm world) : MessageCollectives(world), fence_(comm_) {}

  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t elements) override {
    if (room_for(elements)) return std::make_unique<WindowBuffer>(comm_.get(), elements);
    return MessageCollectives::allocate(elements);
  }

  [[nodiscard]] std::vector<const float*> exchange(TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override {
    auto* window = dynamic_cast<WindowBuffer*>(&buffer);
    if (window == nullptr) return MessageCollectives::exchange(buffer, offset, slice);
    fence_.wait();
    std::vector<const float*> pieces;
    for (int r = 0; r < size_; ++r) pieces.push_back(window->of_rank(r) + offset + slice * rank_);
    count_exchange(slice);
    return pieces;
  }

  void finish_exchange() override { fence_.wait(); }

  void all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride, std::int64_t slice, float* full) override {
    auto* window = dynamic_cast<WindowBuffer*>(&buffer);
    if (window == nullptr) return MessageCollectives::all_gather(buffer, offset, stride, slice, full);
    fence_.wait();
    for (int r = 0; r < size_; ++r) {
      const float* from = window->of_rank(r) + offset + stride * r;
      float* to = full + slice * r;
      if (from != to) std::memcpy(to, from, static_cast<std::size_t>(slice) * 4);
    }
    fence_.wait();
    count_gather(slice);
  }

  [[nodiscard]] std::vector<const float*> shards(TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override {
    auto* window = dynamic_cast<WindowBuffer*>(&buffer);
    if (window == nullptr) return MessageCollectives::shards(buffer, offset, slice);
    fence_.wait();
    std::vector<const float*> pieces;
    for (int r = 0; r < size_; ++r) pieces.push_back(window->of_rank(r) + offset + slice * r);
    count_gather(slice);
    return pieces;
  }

  [[nodiscard]] std::string description() const override {
    return crowded_ ? "MPI (the shared memory in /dev/shm is too small)" : "shared-memory window";
  }

 private:
  /// A page of /dev/shm that can't be had is a SIGBUS at its first touch, so the room is looked at first. The same answer on every rank.
  [[nodiscard]] bool room_for(std::int64_t elements) {
    struct statvfs space {};
    std::int64_t room = 1;
    if (size_ > 1 && statvfs("/dev/shm", &space) == 0) {
      const double free_bytes = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize);
      room = free_bytes > 1.02 * static_cast<double>(elements) * 4 * size_ + (1 << 20) ? 1 : 0;
    }
    const bool enough = -maximum(-room) == 1;
    crowded_ = crowded_ || !enough;
    return enough;
  }

  NodeBarrier fence_;
  bool crowded_ = false;
};

}  // namespace

std::unique_ptr<Collectives> make_mpi_collectives(MPI_Comm world, TransportChoice choice) {
  int world_size = 0;
  check_mpi(MPI_Comm_size(world, &world_size), "MPI_Comm_size");
  const Communicator node = Communicator::split_shared(world);
  int all_here = node.size() == world_size ? 1 : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &all_here, 1, MPI_INT, MPI_MIN, world), "MPI_Allreduce");
  if (choice == TransportChoice::kBest && all_here == 1) return std::make_unique<WindowCollectives>(world);
  return std::make_unique<MessageCollectives>(world);
}

}  // namespace th::runtime
