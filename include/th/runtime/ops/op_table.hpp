#pragma once

#include <tuple>
#include <type_traits>

#include "th/base/half_float.hpp"

namespace th::runtime {

/// One op on one device. The call reads `operands` before it returns; `stream` is a cudaStream_t,
/// and unused on the host.
template <typename Operands>
using OpFn = void(const Operands& operands, void* stream);

/// An entry for each op, found by the type of its operands.
template <typename... Ops>
class OpTableOf {
 public:
  /// A table whose entries are Backend::run<Operands>(operands, stream), or null where
  /// Backend::has<Operands> is false.
  template <typename Backend>
  [[nodiscard]] static constexpr OpTableOf of() {
    OpTableOf table;
    (table.template set<Ops, Backend>(), ...);
    return table;
  }

  template <typename Operands>
  void run(const Operands& operands, void* stream) const {
    std::get<OpFn<Operands>*>(entries_)(operands, stream);
  }
  /// Whether this device has the op.
  template <typename Operands>
  [[nodiscard]] constexpr bool has() const {
    return std::get<OpFn<Operands>*>(entries_) != nullptr;
  }
  /// Replaces an op's body; null: the device does not have the op.
  template <typename Operands>
  constexpr void replace(OpFn<Operands>* body) {
    std::get<OpFn<Operands>*>(entries_) = body;
  }

 private:
  template <typename Operands, typename Backend>
  constexpr void set() {
    if constexpr (Backend::template has<Operands>)
      replace<Operands>(&Backend::template run<Operands>);
  }

  std::tuple<OpFn<Ops>*...> entries_{};
};

/// The tables of one device for every element type.
template <template <typename> class Table>
struct ElementTables {
  Table<float> fp32;
  Table<Bf16> bf16;
  Table<Fp16> fp16;

  /// The tables of one backend, as OpTableOf::of() makes them.
  template <typename Backend>
  [[nodiscard]] static constexpr ElementTables all_of() {
    return {.fp32 = Table<float>::template of<Backend>(),
            .bf16 = Table<Bf16>::template of<Backend>(),
            .fp16 = Table<Fp16>::template of<Backend>()};
  }
  template <typename T>
  [[nodiscard]] const Table<T>& of() const {
    if constexpr (std::is_same_v<T, float>)
      return fp32;
    else if constexpr (std::is_same_v<T, Bf16>)
      return bf16;
    else
      return fp16;
  }
};

}  // namespace th::runtime
