#include "config/key_table.hpp"

// The keys of the deck's sections [zero] and [comm]: what ranks share and how they send it.
namespace th::config {

void add_zero(std::vector<Key>& t) {
  t.push_back(integer_key(
      "zero.stage", TH_AT(zero.stage), 0, 3,
      "0 plain data parallel; 1 optimizer state, 2 also gradients, 3 also parameters sharded"));
  t.push_back(boolean_key("zero.offload_optimizer", TH_AT(zero.offload_optimizer),
                          "optimizer state and master weights in pinned host memory, where they "
                          "are updated; no effect on a CPU"));
  t.push_back(boolean_key("zero.offload_parameters", TH_AT(zero.offload_parameters),
                          "this rank's shards of the parameters in pinned host memory; needs "
                          "zero.stage = 3; no effect on a CPU"));
  t.push_back(integer_key("zero.prefetch_units", TH_AT(zero.prefetch_units), 0, 1024,
                          "stage 3 with comm.overlap: units gathered ahead of the one in use; 0: "
                          "none (DeepSpeed counts elements: stage3_prefetch_bucket_size)"));
  t.push_back(integer_key(
      "zero.persistence_threshold", TH_AT(zero.persistence_threshold), 0, kMost,
      "stage 3: units (layers, embeddings, output) of at most so many parameters stay gathered "
      "between updates (DeepSpeed, by tensor: stage3_param_persistence_threshold)"));
  t.push_back(
      integer_key("zero.max_live_parameters", TH_AT(zero.max_live_parameters), 0, kMost,
                  "stage 3: elements gathered at a time, padding counted; fewer units are gathered "
                  "ahead to keep it; 0: no limit (DeepSpeed: stage3_max_live_parameters)"));
}

void add_comm(std::vector<Key>& t) {
  t.push_back(choice_key(
      "comm.backend", TH_AT(comm.backend),
      Choices<Backend>{{"auto", Backend::kAuto}, {"mpi", Backend::kMpi}, {"nccl", Backend::kNccl}},
      "transport of the tensors; auto: nccl between GPUs, else mpi; mpi takes a GPU's "
      "tensors through pinned host memory, and ranks may share a GPU"));
  t.push_back(
      choice_key("comm.reduction", TH_AT(comm.reduction),
                 Choices<Reduction>{{"exact", Reduction::kExact}, {"fast", Reduction::kFast}},
                 "exact: same bits for every rank count; fast: the backend's own order"));
  t.push_back(choice_key(
      "comm.overlap", TH_AT(comm.overlap),
      Choices<Overlap>{{"auto", Overlap::kAuto}, {"on", Overlap::kOn}, {"off", Overlap::kOff}},
      "collectives beside compute, same bits: on a thread of their own, on a GPU on a "
      "stream; auto: on where every node has a core for it beside the compute threads "
      "of its ranks, and on GPUs with NCCL"));
  t.push_back(number_key("comm.timeout_seconds", TH_AT(comm.timeout_seconds), {.low = 1},
                         "the watchdog's limit"));
  t.push_back(boolean_key("comm.check_order", TH_AT(comm.check_order),
                          "compare what the ranks are about to call before every collective, and "
                          "name the first that differs; for the search of a fault: it doubles the "
                          "number of messages"));
}

}  // namespace th::config
