#pragma once

#include "th/config/command_line.hpp"

namespace th::app {

/// --check, --explain, --help, --version: answers without MPI, LibTorch or a device. Returns the
/// exit code.
[[nodiscard]] int answer(const config::CommandLine& line);

/// Starts MPI and trains. Collective over MPI_COMM_WORLD. Every rank returns the same exit code;
/// one rank reports an error.
[[nodiscard]] int run(const config::CommandLine& line, int& argc, char**& argv);

}  // namespace th::app
