#include "th/zero/memory_plan.hpp"

#include <algorithm>

// How many sentences ranks decode together in lock step.
namespace th::zero {

std::vector<BatchShape> parts_of(const std::vector<BatchShape>& shapes, std::int64_t most) {
  if (most == 0) return shapes;
  std::vector<BatchShape> parts;
  for (const BatchShape& shape : shapes) {
    for (std::int64_t first = 0; first < shape.sentences(); first += most) {
      const std::int64_t count = std::min(most, shape.sentences() - first);
      const auto cut = [&](const std::vector<std::int32_t>& lengths) {
        return std::vector<std::int32_t>(lengths.begin() + first, lengths.begin() + first + count);
      };
      data::keep_largest(parts, {cut(shape.source_lengths()), cut(shape.target_lengths())});
    }
  }
  return parts;
}

std::int64_t sentences_in_lock_step(const PlanRequest& request) {
  PlanRequest tried = request;
  tried.decodes = true;
  tried.config.decode.sharded = config::Sharded::kOn;
  std::int64_t most = 1;
  for (const BatchShape& shape : request.decoding) most = std::max(most, shape.sentences());
  if (request.memory == runtime::DeviceMemory::kOwn) return most;
  for (; most > 1; most = (most + 1) / 2) {
    tried.decoded_together = most;
    const MemoryPlan plan = plan_memory(tried);
    const MemoryPlan::Phase *decoding = plan.find("decoding"), *training = plan.find("training");
    if (decoding == nullptr || training == nullptr ||
        decoding->use.total() <= training->use.total())
      break;
  }
  return most;
}

}  // namespace th::zero
