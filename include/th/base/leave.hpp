#pragma once

namespace th {

/// Ends the process with exit code `code`, after what stdout, stderr and the other open files of C
/// hold is written. Destructors of static objects don't run: those of LibTorch, which takes its
/// operators back one by one, need a tenth of a second. A main calls it when its own objects are
/// gone and MPI is finalized. Sanitizers look for leaks at a common exit, so their builds have one.
/// Not collective.
[[noreturn]] void leave(int code);

}  // namespace th
