#include "config/key_table.hpp"

// The keys of the deck's sections [zero] and [comm]: what ranks share and how they send it.
namespace th::config {

void add_zero(std::vector<Key>& t) {
  t.push_back(integer_key(
      "zero.stage", TH_AT(zero.stage), 0, 3,
      "What ranks shard. 0: nothing (plain data parallel); 1: optimizer states; 2: also gradients; "
      "3: also parameters, which sends about 1.5 times the bytes, or more with several rounds."));
  t.push_back(
      boolean_key("zero.offload_optimizer", TH_AT(zero.offload_optimizer),
                  "Optimizer states and master weights live in pinned host memory and are updated "
                  "there. It saves GPU memory and costs copies each step; no effect on a CPU."));
  t.push_back(boolean_key("zero.offload_parameters", TH_AT(zero.offload_parameters),
                          "This rank's shards of the parameters live in pinned host memory and are "
                          "copied for each gather. It needs zero.stage = 3; no effect on a CPU."));
  t.push_back(integer_key("zero.prefetch_units", TH_AT(zero.prefetch_units), 0, 1024,
                          "Stage 3 with comm.overlap: so many units are gathered ahead of the one "
                          "in use, which may take a gather buffer for each. 0: none (DeepSpeed "
                          "counts elements: stage3_prefetch_bucket_size)."));
  t.push_back(integer_key("zero.persistence_threshold", TH_AT(zero.persistence_threshold), 0, kMost,
                          "Stage 3: units (layers, embeddings, output) of at most so many "
                          "parameters stay gathered between updates. That takes memory and saves "
                          "gathers (DeepSpeed, by tensor: stage3_param_persistence_threshold)."));
  t.push_back(integer_key(
      "zero.max_live_parameters", TH_AT(zero.max_live_parameters), 0, kMost,
      "Stage 3: at most so many elements, with padding, are gathered at a time; fewer units are "
      "then gathered ahead. 0: no limit (DeepSpeed: stage3_max_live_parameters)."));
  t.push_back(choice_key(
      "zero.partition", TH_AT(zero.partition),
      Choices<Partition>{{"world", Partition::kWorld}, {"node", Partition::kNode}},
      "Stage 3: which ranks share the parameters. node: those of each node, so that no parameters "
      "cross nodes before the update, for a node's share of the memory; gradients and optimizer "
      "states stay sharded over all (FSDP2's hybrid sharding). For CPUs."));
}

void add_comm(std::vector<Key>& t) {
  t.push_back(choice_key(
      "comm.backend", TH_AT(comm.backend),
      Choices<Backend>{{"auto", Backend::kAuto}, {"mpi", Backend::kMpi}, {"nccl", Backend::kNccl}},
      "Transport of the tensors. auto: nccl between GPUs, else mpi. mpi sends a GPU's tensors "
      "through pinned host memory, and ranks may share a GPU."));
  t.push_back(choice_key(
      "comm.reduction", TH_AT(comm.reduction),
      Choices<Reduction>{{"exact", Reduction::kExact}, {"fast", Reduction::kFast}},
      "exact gives the same bits at every rank count; fast adds in the backend's own order."));
  t.push_back(choice_key(
      "comm.overlap", TH_AT(comm.overlap),
      Choices<Overlap>{{"auto", Overlap::kAuto}, {"on", Overlap::kOn}, {"off", Overlap::kOff}},
      "Collectives run beside compute, with the same bits: on a thread of their own, on a GPU on a "
      "stream. auto: where every node has a core for it beside its ranks' compute threads, and on "
      "GPUs with NCCL."));
  t.push_back(choice_key(
      "comm.dealing", TH_AT(comm.dealing),
      Choices<Dealing>{
          {"auto", Dealing::kAuto}, {"rounds", Dealing::kRounds}, {"blocks", Dealing::kBlocks}},
      "Which micro-batches a rank computes; the sums, and so all bits, are the same. rounds: every "
      "rank sends the gradient of each of its micro-batches. blocks: a rank computes neighbours, "
      "adds their gradients and sends the sum, which takes fewer bytes and memory for the sums. "
      "auto: blocks at stages 0 and 1 on several nodes, where the memory is there."));
  t.push_back(number_key("comm.timeout_seconds", TH_AT(comm.timeout_seconds), {.low = 1},
                         "The watchdog ends the run with exit 7 when a collective, or the reading "
                         "of a batch, takes longer than this many seconds."));
  t.push_back(boolean_key("comm.check_order", TH_AT(comm.check_order),
                          "Compares what the ranks are about to call before every collective, and "
                          "names the first rank whose call differs. For the search of a fault: "
                          "the number of messages doubles."));
}

}  // namespace th::config
