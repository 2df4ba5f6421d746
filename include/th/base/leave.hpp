#pragma once

namespace th {

/// Writes what stdout, stderr and the other open files of C hold, and ends the process with exit
/// code `code`. Destructors of static objects don't run, because those of LibTorch, which removes
/// its operators one by one, need a tenth of a second. A main calls it when its own objects are
/// gone and MPI is finalized. Builds with sanitizers exit in the common way, because sanitizers
/// look for leaks there. Not collective.
[[noreturn]] void leave(int code);

}  // namespace th
