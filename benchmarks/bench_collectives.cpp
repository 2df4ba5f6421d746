// mpirun -np N bench_collectives: the exact exchange with its tree sum and the all-gather of
// MpiCollectives, through the shared-memory window and by messages, against MPI's own calls, by
// size; and the whole exact sum against comm.reduction=fast. From 4 ranks on, the ranks are also
// laid onto two pretended nodes: each node's own sum and each shard once a node (hierarchical)
// against every slice and shard by itself (flat).
#include "round_robin.hpp"
#include "th/base/error.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/zero/slot_tree.hpp"

namespace {

using namespace th;

constexpr std::int64_t kRounds = 5;
constexpr std::int64_t kSizes[] = {std::int64_t{1} << 14, std::int64_t{1} << 18,
                                   std::int64_t{1} << 22,
                                   std::int64_t{25} << 20};  // floats of all ranks' slices

/// One transport's buffer and tree at one size: the engine's reduction of a unit, one slot a rank.
class ExactSum {
 public:
  ExactSum(runtime::Collectives& collectives, std::int64_t slice)
      : collectives_(collectives),
        slice_(slice),
        parts_{0, slice * 4},
        buffer_(collectives.allocate(parts_.size * collectives.size())),
        tree_(th::SlotDealing{collectives.size(), collectives.size()}.ends(), slice) {
    for (std::int64_t i = 0; i < slice * collectives.size(); ++i)
      buffer_->as<float>()[i] = static_cast<float>(i % 97);
  }
  /// Each rank gets the sum of its slice, in the order of the slots.
  void reduce_scatter() {
    const auto add = [&](std::span<const std::byte* const> slices, float* out) {
      std::vector<const float*> pieces;
      for (const std::byte* slice : slices) pieces.push_back(reinterpret_cast<const float*>(slice));
      zero::SlotTree::subtree_sum<float>(pieces, slice_, out);
    };
    const runtime::SubtreeSum sum{0, collectives_.size(), slice_, add};
    add_up(collectives_.exchange(*buffer_, parts_, &sum));
  }
  /// The same with every slice by itself.
  void reduce_scatter_flat() { add_up(collectives_.exchange(*buffer_, parts_)); }
  void all_gather() { collectives_.all_gather(*buffer_, parts_, buffer_->data()); }

 private:
  void add_up(const std::vector<runtime::Contribution>& contributions) {
    std::vector<zero::SlotTree::Leaf> leaves;
    for (const auto& [data, ranks] : contributions) leaves.push_back({data, ranks});
    tree_.add<float>(0, std::span<const zero::SlotTree::Leaf>(leaves), 0, slice_,
                     buffer_->as<float>() + slice_ * collectives_.rank());
    collectives_.finish_exchange();
  }

  runtime::Collectives& collectives_;
  std::int64_t slice_;  ///< floats
  runtime::RankParts parts_;
  std::unique_ptr<runtime::TransportBuffer> buffer_;
  zero::SlotTree tree_;
};

/// Everything of one size; the buffers stay with the variants.
void add_size(bench::RoundRobin& robin, runtime::Collectives& window,
              runtime::Collectives& messages, std::int64_t slice, std::int64_t calls) {
  const int ranks = window.size();
  const int count = static_cast<int>(slice);
  const std::string at = std::string("/").append(std::to_string(slice * ranks));
  for (const auto& [name, collectives] :
       {std::pair{"window", &window}, std::pair{"messages", &messages}}) {
    const auto exact = std::make_shared<ExactSum>(*collectives, slice);
    robin.add(
        std::string("exact reduce-scatter/") + name + at, [exact] { exact->reduce_scatter(); },
        calls);
    robin.add(
        std::string("all-gather/") + name + at, [exact] { exact->all_gather(); }, calls);
    robin.add(
        std::string("exact sum/") + name + at,
        [exact] { exact->reduce_scatter(), exact->all_gather(); }, calls);
  }
  const auto all =
      std::make_shared<std::vector<float>>(static_cast<std::size_t>(slice * ranks), 1.0F);
  const auto mine = std::make_shared<std::vector<float>>(static_cast<std::size_t>(slice), 1.0F);
  robin.add(
      "MPI_Reduce_scatter_block" + at,
      [=] {
        runtime::check_mpi(MPI_Reduce_scatter_block(all->data(), mine->data(), count, MPI_FLOAT,
                                                    MPI_SUM, MPI_COMM_WORLD),
                           "MPI_Reduce_scatter_block");
      },
      calls);
  robin.add(
      "MPI_Allgather" + at,
      [=] {
        runtime::check_mpi(MPI_Allgather(mine->data(), count, MPI_FLOAT, all->data(), count,
                                         MPI_FLOAT, MPI_COMM_WORLD),
                           "MPI_Allgather");
      },
      calls);
  runtime::Collectives* fast = &window;
  robin.add(
      "fast (MPI_Allreduce)" + at, [=] { fast->all_reduce_fast(all->data(), slice * ranks); },
      calls);
}

/// Two nodes of half the ranks each: the exact reduce-scatter and the gather of one size,
/// hierarchical and flat.
void add_nodes(bench::RoundRobin& robin, runtime::Collectives& nodes,
               runtime::Collectives& messages, std::int64_t slice, std::int64_t calls) {
  const std::string at = std::string("/").append(std::to_string(slice * nodes.size()));
  const auto exact = std::make_shared<ExactSum>(nodes, slice),
             flat = std::make_shared<ExactSum>(messages, slice);
  robin.add(
      "nodes, exact reduce-scatter/hierarchical" + at, [exact] { exact->reduce_scatter(); }, calls);
  robin.add(
      "nodes, exact reduce-scatter/flat" + at, [exact] { exact->reduce_scatter_flat(); }, calls);
  robin.add(
      "nodes, exact reduce-scatter/messages" + at, [flat] { flat->reduce_scatter(); }, calls);
  robin.add(
      "nodes, all-gather/hierarchical" + at, [exact] { exact->all_gather(); }, calls);
  robin.add(
      "nodes, all-gather/messages" + at, [flat] { flat->all_gather(); }, calls);
}

void report_nodes(const bench::RoundRobin& robin, int ranks,
                  const std::vector<std::int64_t>& slices) {
  robin.print(
      "\nTwo pretended nodes of %d ranks (messages by this machine's memory: no network takes "
      "part)\n\n",
      ranks / 2);
  robin.print(
      "| MB | exact reduce-scatter, hierarchical | flat, node read in place | messages alone | "
      "hierarchical : flat | all-gather, once a node | "
      "messages alone | once a node : messages |\n");
  robin.print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const std::int64_t slice : slices) {
    const std::string at = std::string("/").append(std::to_string(slice * ranks));
    const auto ms = [&](const char* name) {
      return 1e3 * robin.median(std::string("nodes, ") + name + at);
    };
    const double sums = ms("exact reduce-scatter/hierarchical"),
                 flat = ms("exact reduce-scatter/flat");
    const double once = ms("all-gather/hierarchical"), messages = ms("all-gather/messages");
    robin.print("| %.2f | %.3f | %.3f | %.3f | %.2f | %.3f | %.3f | %.2f |\n",
                static_cast<double>(slice * ranks) * 4e-6, sums, flat,
                ms("exact reduce-scatter/messages"), bench::ratio(sums, flat), once, messages,
                bench::ratio(once, messages));
  }
}

void report(const bench::RoundRobin& robin, int ranks, const std::vector<std::int64_t>& slices) {
  robin.print("%d ranks, milliseconds (medians); MB: the whole buffer of each rank\n\n", ranks);
  robin.print(
      "| MB | exact reduce-scatter, window | by messages | MPI_Reduce_scatter_block | all-gather, "
      "window | by messages | MPI_Allgather | "
      "exact sum, window | fast (MPI_Allreduce) | exact : fast |\n");
  robin.print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const std::int64_t slice : slices) {
    const std::string at = std::string("/").append(std::to_string(slice * ranks));
    const auto ms = [&](const char* name) { return 1e3 * robin.median(name + at); };
    robin.print("| %.2f | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %.2f |\n",
                static_cast<double>(slice * ranks) * 4e-6, ms("exact reduce-scatter/window"),
                ms("exact reduce-scatter/messages"), ms("MPI_Reduce_scatter_block"),
                ms("all-gather/window"), ms("all-gather/messages"), ms("MPI_Allgather"),
                ms("exact sum/window"), ms("fast (MPI_Allreduce)"),
                bench::ratio(ms("exact sum/window"), ms("fast (MPI_Allreduce)")));
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const runtime::MpiSession session(argc, argv);
    const auto window = runtime::make_mpi_collectives(MPI_COMM_WORLD);
    const auto messages =
        runtime::make_mpi_collectives(MPI_COMM_WORLD, runtime::TransportChoice::kMpi);
    bench::RoundRobin::initialize(argc, argv, window->rank() == 0);
    bench::RoundRobin robin([] { MPI_Barrier(MPI_COMM_WORLD); }, window->rank() == 0);
    std::vector<int> halves;
    for (int r = 0; r < window->size(); ++r) halves.push_back(2 * r < window->size() ? 0 : 1);
    const auto nodes =
        runtime::make_mpi_collectives(MPI_COMM_WORLD, runtime::TransportChoice::kBest, halves);
    const bool halved = window->size() >= 4 && window->size() % 2 == 0;
    std::vector<std::int64_t> slices;
    for (const std::int64_t size : kSizes) {
      slices.push_back(size / window->size() / 256 * 256);
      add_size(robin, *window, *messages, slices.back(), size < (1 << 20) ? 20 : 2);
      if (halved) add_nodes(robin, *nodes, *messages, slices.back(), size < (1 << 20) ? 20 : 2);
    }
    robin.run(kRounds);
    report(robin, window->size(), slices);
    if (halved) report_nodes(robin, window->size(), slices);
    robin.clear();
    window->barrier();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
