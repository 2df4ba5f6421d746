#pragma once

#include <string>

namespace th {

/// The build and the libraries that it uses.
struct BuildInfo {
  std::string version, git, compiler, build_type, torch, hdf5, boost, mpi;
};

/// Counts the changes of this project that alter bits (kernels, orders of sums, streams of random
/// numbers). It is part of a run's identity, so a checkpoint from before such a change resumes with
/// the tolerance of another identity.
inline constexpr int kNumericsRevision = 7;

[[nodiscard]] BuildInfo build_info();
/// "0.1.0 (git abc123, GNU 12.2.0, Release)".
[[nodiscard]] std::string build_line();
/// The widest vector instruction set that the kernels use on this processor: "avx512", "avx2" or
/// "baseline".
[[nodiscard]] std::string instruction_set();
/// Whether the processor multiplies bfloat16 pairs (AVX512_BF16).
[[nodiscard]] bool has_bf16_instructions();
/// Whether the processor multiplies tiles of int8 and of bf16 (AMX), and the system lets this
/// process use their registers, which the first call asks for.
[[nodiscard]] bool has_amx_instructions();
/// The processor's vendor string, "AuthenticAMD" or "GenuineIntel" among them; empty where it is
/// unknown.
[[nodiscard]] std::string processor_vendor();
/// The processor's marketing name from /proc/cpuinfo.
[[nodiscard]] std::string processor_name();

}  // namespace th
