#pragma once

#include <tuple>

namespace th::runtime {

/// One op on one device: `operands` are read before the call returns, `stream` is a cudaStream_t,
/// on the host nothing.
template <typename Operands>
using OpFn = void(const Operands& operands, void* stream);

/// An entry for each op, found by the type of its operands.
template <typename... Ops>
class OpTableOf {
 public:
  /// A table whose entries are Backend::run<Operands>(operands, stream), null for those that the
  /// backend leaves out: Backend::has<Operands> is false.
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
  /// Puts another body in an op's place; null: the device does not have it.
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

}  // namespace th::runtime
