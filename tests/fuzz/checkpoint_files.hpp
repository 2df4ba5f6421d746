#pragma once

#include <string>
#include <string_view>

namespace th::fuzz {

/// Writes folder/model.h5 and folder/shard_00000.h5 of what a text says of their objects, so that a
/// change of the text gives files that HDF5 reads and nobody would write. Objects stand one after
/// the other, each begins with the byte 30: a file (m or s), a kind, a name, dimensions, a line
/// end, and a value:
///   i  an attribute of integers, "DATASET@NAME" one of a dataset
///   t  an attribute of text
///   S  a dataset of texts, one a line
///   b  a dataset of bytes
///   f  a dataset of numbers 0, 1, 2, …, with its checksum
///   n  a dataset of integers, all of the value, with their checksum
/// What can't be written is left out. model.h5 gets its checksum and its seal.
void write_checkpoint_files(std::string_view text, const std::string& folder);

}  // namespace th::fuzz
