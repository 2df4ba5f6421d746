#pragma once

#include <stdexcept>
#include <string>

namespace th {

/// The process exit codes of th_app (docs: contract, "Exit codes").
enum class ExitCode : int {
  kCompleted = 0,
  kDiffers = 1,
  kDeck = 2,
  kData = 3,
  kMemory = 4,
  kCheckpoint = 5,
  kNumerics = 6,
  kCommunication = 7,
  kStopped = 75,
};

/// Base of every error that th_app reports; the kind says what the user must do.
/// The message states what was asked, the values seen and the way out; it ends without a newline.
class Error : public std::runtime_error {
 public:
  /// Who throws it: perhaps one rank alone, or all ranks together after an agreement.
  enum class Thrown { kHere, kEverywhere };
  Error(ExitCode code, const std::string& message, Thrown thrown = Thrown::kHere)
      : std::runtime_error(message), code_(code), thrown_(thrown) {}
  [[nodiscard]] ExitCode exit_code() const noexcept { return code_; }
  [[nodiscard]] Thrown thrown() const noexcept { return thrown_; }

 private:
  ExitCode code_;
  Thrown thrown_;
};

/// The command line or the deck is wrong: exit 2.
class DeckError : public Error {
 public:
  explicit DeckError(const std::string& message) : Error(ExitCode::kDeck, message) {}
};

/// A corpus, a vocabulary or a tokenizer file is wrong: exit 3.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(ExitCode::kData, message) {}
};

/// The run does not fit into memory: exit 4.
class MemoryError : public Error {
 public:
  explicit MemoryError(const std::string& message) : Error(ExitCode::kMemory, message) {}
};

/// A checkpoint is damaged, missing or of another model: exit 5.
class CheckpointError : public Error {
 public:
  explicit CheckpointError(const std::string& message) : Error(ExitCode::kCheckpoint, message) {}
};

/// A checkpoint of a format that only a newer program reads: exit 5. A resume does not go back to
/// an older checkpoint because of it.
class NewerFormatError : public CheckpointError {
 public:
  using CheckpointError::CheckpointError;
};

/// The loss or a gradient is not finite: exit 6.
class NumericsError : public Error {
 public:
  explicit NumericsError(const std::string& message) : Error(ExitCode::kNumerics, message) {}
};

/// MPI, NCCL or CUDA failed, a rank died or hangs, or the launch is broken: exit 7.
class CommunicationError : public Error {
 public:
  explicit CommunicationError(const std::string& message)
      : Error(ExitCode::kCommunication, message) {}
};

/// An MPI call returned an error; the message holds the call and MPI's text.
class MpiError : public CommunicationError {
 public:
  using CommunicationError::CommunicationError;
};

/// A CUDA device is missing or failed.
class DeviceError : public CommunicationError {
 public:
  using CommunicationError::CommunicationError;
};

/// An HDF5 call failed; the message holds the call and HDF5's own words: exit 5.
class Hdf5Error : public CheckpointError {
 public:
  using CheckpointError::CheckpointError;
};

/// A broken invariant of th_app itself: exit 1.
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(ExitCode::kDiffers, message) {}
};

/// Throws InternalError with `message` when `condition` is false.
inline void ensure(bool condition, const char* message) {
  if (!condition) throw InternalError(message);
}

}  // namespace th
