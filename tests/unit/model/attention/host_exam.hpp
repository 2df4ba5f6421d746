#pragma once

#include <vector>

#include "gpu/kernels/attention_exam.hpp"
#include "th/model/ops/host_ops.hpp"
#include "unit/model/tensors.hpp"

#include <ATen/Parallel.h>

// What tests of the host's attention kernel share.
namespace th::model::test {

using Offsets = std::vector<std::int64_t>;

/// All results of one case, by the ops of one instruction set.
template <typename T>
std::vector<T> attention_results(const reference::AttentionCase& c, const runtime::OpTable<T>& ops,
                                 double tolerance) {
  const reference::AttentionExam<T, reference::HostMemory> exam(c, 5);
  return exam.compare(ops, tolerance,
                      at::get_num_threads() * runtime::host_attention_scratch(
                                                  c.rule, exam.queries(), exam.keys(), c.width));
}

}  // namespace th::model::test
