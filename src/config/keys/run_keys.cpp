#include "config/key_table.hpp"

// The keys of the deck's section [run].
namespace th::config {

void add_run(std::vector<Key>& t) {
  t.push_back(integer_key("run.warmup_steps", TH_AT(run.warmup_steps), 0, kMost,
                          "The summary's tokens_per_second leaves out this many first steps."));
  t.push_back(choice_key(
      "run.task", TH_AT(run.task),
      Choices<Task>{{"translation", Task::kTranslation}, {"summarization", Task::kSummarization}},
      "What the model learns. summarization changes defaults: validation (valid.metrics) and the "
      "test set are scored by ROUGE, data.max_source_length = 400 and data.max_target_length = "
      "100; section summarization treats longer documents."));
  t.push_back(
      fixed(integer_key("run.seed", TH_AT(run.seed), 0, kMost,
                        "Initial values, the order of the data, dropout and draws depend on it.")));
  t.push_back(
      unchecked(path_key("run.output_dir", TH_AT(run.output_dir),
                         "All output goes below this folder, which is relative to the working "
                         "directory. Default: runs/NAME, where NAME is the deck's.")));
  t.push_back(number_key("run.max_minutes", TH_AT(run.max_minutes), {.low = 0},
                         "The run ends with a checkpoint and exit 75 before a step that would "
                         "exceed this time. A twentieth of it, a minute at most, is kept for the "
                         "save. 0: the limit is the end of the Slurm job, if there is one."));
  t.push_back(path_key("run.stop_file", TH_AT(run.stop_file),
                       "The run ends with a checkpoint and exit 75 when a file of this name "
                       "exists. It looks once a second. Remove the file before the run goes on."));
  t.push_back(choice_key(
      "run.device", TH_AT(run.device),
      Choices<DeviceKind>{
          {"auto", DeviceKind::kAuto}, {"cpu", DeviceKind::kCpu}, {"cuda", DeviceKind::kCuda}},
      "Where tensors live and the model computes. auto takes a GPU where every rank can have one "
      "(docs/gpu.md), else the CPU; the header says why."));
  t.push_back(
      integer_key("run.threads", TH_AT(run.threads), 1, 1024,
                  "Number of compute threads of a rank. It is part of the run's identity."));
  t.push_back(choice_key(
      "run.gemm", TH_AT(run.gemm),
      Choices<Gemm>{{"auto", Gemm::kAuto}, {"onednn", Gemm::kOnednn}, {"mkl", Gemm::kMkl}},
      "Library of the CPU's matrix products. auto chooses by the processor. A GPU uses cuBLASLt."));
  t.push_back(choice_key("run.attention", TH_AT(run.attention),
                         Choices<AttentionKernels>{{"auto", AttentionKernels::kAuto},
                                                   {"products", AttentionKernels::kProducts}},
                         "auto computes attention in one kernel that stores no scores, where there "
                         "is one (docs/notes/attention_cpu.md). products makes matrix products, "
                         "softmax and dropout one after another."));
  t.push_back(
      integer_key("run.audit_steps", TH_AT(run.audit_steps), 0, kMost,
                  "Every so many steps a second rank computes one micro-batch as well, and "
                  "copies of the parameters are compared. A rank that differs is named, "
                  "and the run ends with exit 7 before the update. 0: off (docs/audit.md)."));
}

}  // namespace th::config
