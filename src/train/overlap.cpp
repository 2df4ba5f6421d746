#include "th/train/overlap.hpp"

#include "th/base/counted.hpp"
#include "th/base/error.hpp"
#include "th/runtime/transport/free_cores.hpp"

namespace th::train {

using config::Overlap;

OverlapChoice choose_overlap(const config::RunConfig& config, int ranks, int cores,
                             std::optional<runtime::Transport> transport) {
  const bool room = cores >= ranks * (config.run.threads + 1);
  const std::string seen = counted(cores, "core") + " for " + counted(ranks, "rank") + " with " +
                           counted(config.run.threads, "compute thread") + " each";
  switch (config.comm.overlap) {
    case Overlap::kOff:
      return {Overlap::kOff, "as the deck says"};
    case Overlap::kOn:
      return {Overlap::kOn, room || transport
                                ? "as the deck says"
                                : "as the deck says; no core is free for it: " + seen};
    case Overlap::kAuto:
      if (transport == runtime::Transport::kNccl) return {Overlap::kOn, "auto: streams of the GPU"};
      if (transport == runtime::Transport::kStaged)
        return {Overlap::kOff, "auto: the host stages tensors of the GPU"};
      break;
  }
  return {room ? Overlap::kOn : Overlap::kOff, "auto: " + seen};
}

OverlapChoice resolve_overlap(const config::RunConfig& config, runtime::ControlCalls& control,
                              const runtime::Communicator& node,
                              std::optional<runtime::Transport> transport) {
  OverlapChoice choice = choose_overlap(config, node.size(), runtime::cores_of(node), transport);
  if (transport) return choice;
  if (control.maximum(choice.overlap == Overlap::kOff ? 1 : 0) == 1 &&
      choice.overlap == Overlap::kOn) {
    choice = {Overlap::kOff, "auto: another node has no free cores"};
  }
  if (choice.overlap == Overlap::kOff ||
      control.maximum(runtime::any_thread_may_call_mpi() ? 0 : 1) == 0)
    return choice;
  if (config.comm.overlap == Overlap::kOn) {
    throw DeckError(
        "comm.overlap: on, and this MPI lets one thread alone call it (below "
        "MPI_THREAD_SERIALIZED); take auto or off");
  }
  return {Overlap::kOff, "auto: this MPI lets one thread alone call it"};
}

}  // namespace th::train
