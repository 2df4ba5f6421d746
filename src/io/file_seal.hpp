#pragma once

#include <cstdint>
#include <string>

namespace th::io {

/// Bytes at the start of a file that HDF5 leaves to its user: a seal stands there, the CRC32C of
/// all that follows. HDF5 checks its own metadata but not its heaps of strings and virtual
/// mappings, and crashes on some that are damaged: a sealed file is checked before HDF5 sees it.
inline constexpr std::int64_t kSealBytes = 512;

/// Writes the seal of a closed file that has kSealBytes free at its start. Throws CheckpointError.
void seal_file(const std::string& path);
/// Throws CheckpointError where a file is not what was sealed, or can't be read. A file without a
/// seal (another program wrote it anew) passes.
void require_seal(const std::string& path);

}  // namespace th::io
