#pragma once

#include "th/runtime/ops/operands.hpp"

namespace th::model {

/// The ops of every element type, compiled for one instruction set.
using HostTables = runtime::ElementTables<runtime::OpTable>;

// host_ops.cpp is compiled once for each of these namespaces (cmake/ThIsa.cmake).
namespace avx512 {
extern const HostTables kHostTables;
}
namespace avx2 {
extern const HostTables kHostTables;
}
namespace baseline {
extern const HostTables kHostTables;
}

}  // namespace th::model
