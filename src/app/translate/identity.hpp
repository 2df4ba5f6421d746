#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "app/stream/journal.hpp"
#include "app/translate/request.hpp"

namespace th::app {

/// Whether a journal stands beside the output: it is named, and a regular file or not there yet.
[[nodiscard]] bool keeps_journal(const std::string& output);
/// What the job's result depends on; empty where no journal is kept. A regular input is read once
/// for its checksum. Throws DataError where it can't be read.
[[nodiscard]] std::optional<JobIdentity> identity_of(const Request& request,
                                                     const std::string& model,
                                                     const std::string& arithmetic);
/// Bytes of a text that lies in a regular file, not packed; 0: not known.
[[nodiscard]] std::int64_t plain_bytes(const std::string& path);
/// Throws DeckError where the output is the file `input`.
void require_other_file(const std::string& output, const std::string& input);
/// Throws DataError where the first line of a file can't be read; a pipe is left alone.
void require_readable(const std::string& path);
/// Throws DataError where two regular files have unlike numbers of lines, or hold what is no text.
/// Pipes are not read.
void require_same_line_count(const std::string& source, const std::string& target);

}  // namespace th::app
