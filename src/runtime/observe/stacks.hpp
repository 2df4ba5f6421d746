#pragma once

#include <string>

// The stacks of this process' threads, for the report of a hang.
namespace th::runtime {

/// Installs the handler that a thread is asked by, of a real-time signal that nothing else uses.
/// Called once before write_stacks(); again, it does nothing.
void prepare_stacks();

/// "stacks.00002.txt" in the folder of `log`, of rank 2.
[[nodiscard]] std::string stacks_file(const std::string& log, int rank);

/// Asks each other thread that takes signals for its stack and writes them, a function a line,
/// innermost first. A thread that does not answer within 50 ms is named. Throws CommunicationError
/// when the file can't be written.
void write_stacks(const std::string& file);

}  // namespace th::runtime
