#include "train/state_changes.hpp"

#include "th/config/state_names.hpp"

#include <algorithm>

namespace th::train {

std::vector<std::string> state_changes(const io::CheckpointInfo& checkpoint,
                                       const config::RunConfig& config, double loss_scale) {
  std::vector<std::string> out;
  const bool averaged = checkpoint.has_state(config::kAverageName),
             averages = config.train.ema_decay > 0;
  if (averaged && !averages)
    out.emplace_back(
        "The checkpoint's moving average (ema/) is dropped, since train.ema_decay is 0.");
  if (!averaged && averages)
    out.emplace_back(
        "The moving average begins with the parameters as they are: the checkpoint has none.");
  // The average is kept in fp32 in any case.
  const std::vector<std::string>& names = checkpoint.state_names;
  const bool has_states = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name != config::kAverageName;
  });
  const bool were_short = !checkpoint.short_states.empty(),
             are_short = config.optimizer.state_dtype == ElementType::kBf16;
  if (has_states && !were_short && are_short)
    out.emplace_back(
        "The optimizer's states are rounded from the checkpoint's fp32 to bf16, once.");
  if (has_states && were_short && !are_short)
    out.emplace_back(
        "The optimizer's states go on in fp32, from the checkpoint's bf16 values as they are.");
  const bool scales = config.precision.dtype == ElementType::kFp16;
  if (scales && loss_scale <= 0)
    out.emplace_back("The loss scale begins at precision.loss_scale: the checkpoint has none.");
  return out;
}

}  // namespace th::train
