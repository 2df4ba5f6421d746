#include "config/key_table.hpp"

// The keys of the deck's section [run].
namespace th::config {

void add_run(std::vector<Key>& t) {
  t.push_back(integer_key("run.warmup_steps", TH_AT(run.warmup_steps), 0, kMost,
                          "steps left out of the summary's tokens_per_second"));
  t.push_back(choice_key(
      "run.task", TH_AT(run.task),
      Choices<Task>{{"translation", Task::kTranslation}, {"summarization", Task::kSummarization}},
      "what is trained; summarization: ROUGE is the metric of validation (valid.metrics) and of "
      "the test set, documents of data.max_source_length = 400 and summaries of "
      "data.max_target_length = 100 ids, unless the deck gives others, and section summarization "
      "for longer documents"));
  t.push_back(integer_key("run.seed", TH_AT(run.seed), 0, kMost,
                          "of initial values, order of the data and dropout"));
  t.push_back(path_key("run.output_dir", TH_AT(run.output_dir),
                       "all output goes below it; default runs/NAME, NAME the deck's; relative to "
                       "the working directory"));
  t.push_back(number_key("run.max_minutes", TH_AT(run.max_minutes), {.low = 0},
                         "ends with a checkpoint and exit 75 before a step that would take longer "
                         "than is left but for a twentieth of the limit (a minute at most), kept "
                         "for the save; 0: Slurm's end time if there is one"));
  t.push_back(path_key("run.stop_file", TH_AT(run.stop_file),
                       "the run ends with a checkpoint and exit 75 when a file of this name is "
                       "there, looked for once a second; remove it before the run goes on"));
  t.push_back(choice_key(
      "run.device", TH_AT(run.device),
      Choices<DeviceKind>{
          {"auto", DeviceKind::kAuto}, {"cpu", DeviceKind::kCpu}, {"cuda", DeviceKind::kCuda}},
      "where tensors live and the model computes; auto: a GPU where every rank can have one "
      "(docs/gpu.md), else the CPU, with the reason in the header"));
  t.push_back(integer_key("run.threads", TH_AT(run.threads), 1, 1024,
                          "compute threads a rank; part of the run's identity"));
  t.push_back(choice_key(
      "run.gemm", TH_AT(run.gemm),
      Choices<Gemm>{{"auto", Gemm::kAuto}, {"onednn", Gemm::kOnednn}, {"mkl", Gemm::kMkl}},
      "the CPU's matrix products; auto goes by the processor; on a GPU they are cuBLAS's"));
  t.push_back(
      choice_key("run.attention", TH_AT(run.attention),
                 Choices<AttentionKernels>{{"auto", AttentionKernels::kAuto},
                                           {"products", AttentionKernels::kProducts}},
                 "auto: attention in one kernel that keeps no scores, where there is one "
                 "(docs/architecture.md); products: matrix products, softmax and dropout apart"));
  t.push_back(integer_key("run.audit_steps", TH_AT(run.audit_steps), 0, kMost,
                          "every so many steps one micro-batch is computed by a second rank as "
                          "well, and copies of the parameters are compared; a rank that differs is "
                          "named, and the run ends with exit 7 before the update; 0: off "
                          "(docs/audit.md)"));
}

}  // namespace th::config
