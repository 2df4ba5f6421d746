#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "th/runtime/device/device.hpp"
#include "th/runtime/observe/flight_record.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::zero {

/// The fp32 states of a rank's parameters: the weights, and the optimizer's states, which are
/// numbered in the order of its rule.
enum class State : std::size_t { kParameters };
[[nodiscard]] constexpr State optimizer_state(std::size_t number) {
  return static_cast<State>(number + 1);
}

/// A rank's master weights and optimizer states in fp32, and if the deck says so its shards of the
/// parameters. They are on the device or in pinned host memory; callers need not know which. States
/// are updated where they are. What an update needs from the other side, and what it makes for it,
/// is copied piece by piece on separate streams, so that one piece is copied while another is
/// computed. An update on the host makes the host wait for what it needs; one on the device makes
/// nobody wait.
///
/// If the working type is fp32 there are no master weights, because the weights are the parameters.
/// Not collective.
class StateStore {
 public:
  /// A run of elements that is updated at once.
  struct Slice {
    std::int64_t unit = 0;
    std::int64_t begin = 0,
                 count =
                     0;  ///< elements of what this rank keeps of the unit: its shard, or all of it
    const void* gradients =
        nullptr;  ///< reduced type, device memory; to be left alone until the update is done
    void* parameters =
        nullptr;  ///< working type, device memory; null where the store keeps the parameters
    std::int64_t first = 0;            ///< element of the whole unit with which it begins
    std::int64_t parameter_bytes = 4;  ///< of an element of `parameters`
    /// Elements [at, at + count) of it, without gradients.
    [[nodiscard]] Slice part(std::int64_t at, std::int64_t n) const {
      void* there = parameters == nullptr
                        ? nullptr
                        : static_cast<std::byte*>(parameters) + at * parameter_bytes;
      return {unit, begin + at, n, nullptr, there, first + at, parameter_bytes};
    }
  };

  /// Whole states in memory that somebody else owns, because the ranks of a node share it. Null:
  /// the store allocates its own.
  struct Given {
    float* masters = nullptr;
    std::array<float*, runtime::kMaxOptimizerStates> states{};  ///< the optimizer's
  };
  /// Allocates by `buffers`, except states that are given. `device` and `layout` must outlive the
  /// store.
  StateStore(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers,
             const ZeroPolicy& policy, const Given& given);
  StateStore(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers,
             const ZeroPolicy& policy)
      : StateStore(device, layout, buffers, policy, Given{}) {}
  ~StateStore();
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  /// Enqueues the copy of a slice's gradients to an update on the host, after `reduced`, while
  /// backward goes on with other units. Call it in each step for each slice that will be announced.
  /// It does nothing if the gradients stay, or are copied piece by piece.
  void bring(const Slice& slice, const runtime::Event& reduced,
             const std::shared_ptr<runtime::FlightRecord>& flight);
  /// Waits for these copies in a step that updates nothing.
  void leave_gradients();
  /// Says which slices update_next() will update, in order, so that copies begin; those of
  /// gradients come after what the device's compute stream holds.
  void announce(const Slice& slice);
  /// Updates the next announced slice on updating(). If `outcome`, in that stream's memory, is not
  /// null, the update goes by it.
  void update_next(const runtime::UpdateFactors& factors,
                   const runtime::StepOutcome* outcome = nullptr);
  /// Adds the updated weights of a slice to their moving average; on the host alone.
  void average(const Slice& slice, double rate);
  /// Exchanges the weights of a slice and their average, on the host alone.
  void swap_average(const Slice& slice);
  /// The stream of the updates: the device's compute stream, or the host.
  [[nodiscard]] runtime::Stream& updating() const {
    return buffers_.optimizer_on_host ? device_.host() : device_.compute();
  }
  /// The event after which the device or the host finds the new parameters of all slices that were
  /// updated so far.
  [[nodiscard]] runtime::Event updated();

  /// The states of elements [begin, begin + count) of a unit, fp32; device or pinned host memory:
  /// for copies. `parameters` as in Slice.
  [[nodiscard]] float* at(State state, const Slice& slice) const;
  /// Reads a slice of a state of any layout and type in fp32; elements that the state does not have
  /// are 0. Only in host memory.
  void read(State state, const Slice& slice, std::span<float> out) const;
  /// Writes such elements, rounded to the nearest; write_drawn() rounds by draws, whose key is
  /// `draws`.
  void write(State state, const Slice& slice, std::span<const float> in);
  void write_drawn(State state, const Slice& slice, std::span<const float> in, std::uint64_t draws);
  /// Makes the parameters of a slice from its master weights, if there are any. Waits.
  void publish(const Slice& slice);
  /// This rank's shard of a unit's parameters in host memory, if the store holds them there;
  /// otherwise null.
  [[nodiscard]] std::byte* parameters(std::int64_t unit) const;

 private:
  /// A piece of a slice, with its operands where they live.
  struct Piece {
    runtime::UpdateOperands home;
    std::int64_t unit = 0;
    bool begins_slice = false, ends_slice = false;
  };
  /// One of the places through which pieces are copied.
  struct StagingPlace {
    std::byte* gradients = nullptr;
    std::byte* weights = nullptr;
    std::byte* working = nullptr;
    runtime::Event arrived;  ///< what comes is here
    runtime::Event left;     ///< what goes is gone
  };

  [[nodiscard]] std::int64_t offset(const Slice& slice) const;
  /// The offset of element `at` of a slice in a state's buffer.
  [[nodiscard]] std::int64_t offset(std::size_t state, const Slice& slice, std::int64_t at) const;
  [[nodiscard]] std::uint16_t* short_state(std::size_t state) const {
    return reinterpret_cast<std::uint16_t*>(states_.states[state]);
  }
  [[nodiscard]] runtime::UpdateOperands operands(const Slice& slice) const;
  /// Starts the copies of pieces, as long as there are free places.
  void fetch();
  /// The operands in the memory of the side that computes.
  [[nodiscard]] runtime::UpdateOperands staged(const Piece& piece, const StagingPlace& place) const;
  void compute(const runtime::UpdateOperands& here, const runtime::UpdateFactors& factors);
  void send(const Piece& piece, StagingPlace& place);

  runtime::Device& device_;
  const FlatLayout& layout_;
  EngineBuffers buffers_;
  ZeroPolicy policy_;
  runtime::DeviceBlock own_masters_, parameters_, gradients_, staging_;
  std::array<runtime::DeviceBlock, runtime::kMaxOptimizerStates> own_states_;
  Given states_;  ///< where they are
  std::array<StagingPlace, UpdateStaging::kPlaces> places_;
  std::unique_ptr<runtime::Stream> own_bringing_;
  runtime::Stream* bringing_ =
      nullptr;  ///< of gradients to the host, all of them: its own, or compute without overlap;
                ///< null where they do not come so
  std::vector<runtime::Event> brought_;  ///< by unit
  std::unique_ptr<runtime::Stream> in_,
      out_;  ///< copies to the side that computes, and from it; null where nothing comes, or goes
  std::deque<Piece> announced_;  ///< in order; the first `fetched_` have a place
  std::size_t fetched_ = 0;
  std::size_t next_place_ = 0;  ///< of the first announced piece
};

}  // namespace th::zero
