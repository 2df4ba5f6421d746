#include "model/ops/attention/host_attention.hpp"
#include "model/ops/host_elements.hpp"
#include "model/ops/host_rows.hpp"
#include "model/ops/tables/host_tables.hpp"

// The host's ops for one instruction set, TH_ISA: the build compiles this file once for each
// (cmake/ThIsa.cmake). Functions of shared headers must not be left over as calls, or the linker
// could take one set's copy of them for all sets; arch.isa_symbols looks for those.
namespace th::model::TH_ISA {

namespace {

/// The one adaptor between the table's entries and the overload set compute(operands). An op
/// without a body for this instruction set is missing in the table.
struct HostBodies {
  template <typename Operands>
  static constexpr bool has = requires(const Operands& operands) {
    compute(operands);
  };

  template <typename Operands>
  [[gnu::flatten]] static void run(const Operands& operands, void*) {
    compute(operands);
  }
};

}  // namespace

constinit const HostTables kHostTables = HostTables::all_of<HostBodies>();

}  // namespace th::model::TH_ISA
