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

/// What a rank keeps of its parameters in fp32: the weights, and the optimizer's states, which are
/// numbered in the order of its rule.
enum class State : std::size_t { kParameters };
[[nodiscard]] constexpr State optimizer_state(std::size_t number) {
  return static_cast<State>(number + 1);
}

/// A rank's fp32 states, master weights and the optimizer's, and where the deck says so its shards
/// of the parameters: on the device, or in pinned host memory, which nobody above sees. States are
/// updated where they live; what an update needs from the other side comes, and what it makes goes,
/// piece by piece on streams of their own, so that the copies of a piece go on while another is
/// computed. An update on the host makes the host wait for what it needs, one on the device makes
/// nobody wait.
///
/// Where the working type is fp32 there are no masters: the weights are the parameters. Not
/// collective.
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

  /// Whole states in memory of somebody else, who keeps it: what the ranks of a node have once.
  /// Null: the store's own.
  struct Given {
    float* masters = nullptr;
    std::array<float*, runtime::kMaxOptimizerStates> states{};  ///< the optimizer's
  };
  /// Allocates by `buffers`, but for states that are given. `device` and `layout` must outlive the
  /// store.
  StateStore(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers,
             const ZeroPolicy& policy, const Given& given);
  StateStore(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers,
             const ZeroPolicy& policy)
      : StateStore(device, layout, buffers, policy, Given{}) {}
  ~StateStore();
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  /// Enqueues the copy of a slice's gradients to an update on the host, behind `reduced`: while
  /// backward goes on with other units. Each step, each slice that will be announced; nothing where
  /// the gradients stay or come piece by piece.
  void bring(const Slice& slice, const runtime::Event& reduced,
             const std::shared_ptr<runtime::FlightRecord>& flight);
  /// Waits for what was brought in a step that updates nothing.
  void leave_gradients();
  /// Says what update_next() will be asked for, in its order: copies begin, of gradients behind
  /// what the device's compute stream holds.
  void announce(const Slice& slice);
  /// Updates the next announced slice, on updating(); by `outcome`, which is in its memory, where
  /// that is not null.
  void update_next(const runtime::UpdateFactors& factors,
                   const runtime::StepOutcome* outcome = nullptr);
  /// Takes the weights of a slice, which were updated, into their moving average: on the host
  /// alone.
  void average(const Slice& slice, double rate);
  /// Exchanges the weights of a slice and their average, on the host alone.
  void swap_average(const Slice& slice);
  /// Where updates are computed: the device's compute stream, or the host.
  [[nodiscard]] runtime::Stream& updating() const {
    return buffers_.optimizer_on_host ? device_.host() : device_.compute();
  }
  /// The point from which on the device or the host finds the new parameters of all slices that
  /// were updated so far.
  [[nodiscard]] runtime::Event updated();

  /// The states of elements [begin, begin + count) of a unit, fp32; device or pinned host memory:
  /// for copies. `parameters` as in Slice.
  [[nodiscard]] float* at(State state, const Slice& slice) const;
  /// The elements of a slice that a state of any layout and type has, in fp32; of the others zeros.
  /// Host memory alone.
  void read(State state, const Slice& slice, std::span<float> out) const;
  /// Replaces them, rounded to the nearest; with `draws`, a key, by draws.
  void write(State state, const Slice& slice, std::span<const float> in);
  void write_drawn(State state, const Slice& slice, std::span<const float> in, std::uint64_t draws);
  /// Makes the parameters of a slice from its master weights; nothing where there are none. Waits.
  void publish(const Slice& slice);
  /// This rank's shard of a unit's parameters in host memory, where the store keeps them; else
  /// null.
  [[nodiscard]] std::byte* parameters(std::int64_t unit) const;

 private:
  /// A piece of a slice, with its operands where they live.
  struct Piece {
    runtime::UpdateOperands home;
    std::int64_t unit = 0;
    bool begins_slice = false, ends_slice = false;
  };
  /// One of the places that pieces travel through.
  struct StagingPlace {
    std::byte* gradients = nullptr;
    std::byte* weights = nullptr;
    std::byte* working = nullptr;
    runtime::Event arrived;  ///< what comes is here
    runtime::Event left;     ///< what goes is gone
  };

  [[nodiscard]] std::int64_t offset(const Slice& slice) const;
  /// Where element `at` of a slice lies in a state's buffer.
  [[nodiscard]] std::int64_t offset(std::size_t state, const Slice& slice, std::int64_t at) const;
  [[nodiscard]] std::uint16_t* short_state(std::size_t state) const {
    return reinterpret_cast<std::uint16_t*>(states_.states[state]);
  }
  [[nodiscard]] runtime::UpdateOperands operands(const Slice& slice) const;
  /// Starts the copies of pieces as places are free.
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
