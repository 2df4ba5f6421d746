#include "th/base/build_info.hpp"

#include "build_info_values.hpp"

#include <fstream>

#include <sys/syscall.h>
#include <unistd.h>

namespace th {

BuildInfo build_info() {
  using namespace generated;
  return {kVersion, kGit, kCompiler, kBuildType, kTorch, kHdf5, kBoost, kMpi};
}

std::string build_line() {
  const BuildInfo b = build_info();
  return b.version + " (git " + b.git + ", " + b.compiler + ", " + b.build_type + ")";
}

std::string instruction_set() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return "avx512";
  if (__builtin_cpu_supports("x86-64-v3")) return "avx2";
#endif
  return "baseline";
}

bool has_bf16_instructions() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

bool has_amx_instructions() {
#if defined(__x86_64__) && defined(__linux__)
  static const bool granted = [] {
    if (!__builtin_cpu_supports("amx-int8") || !__builtin_cpu_supports("amx-bf16")) return false;
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM of the tiles' state
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return granted;
#else
  return false;
#endif
}

namespace {
std::string cpuinfo(const std::string& key) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const auto colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return {};
}
}  // namespace

std::string processor_vendor() { return cpuinfo("vendor_id"); }
std::string processor_name() { return cpuinfo("model name"); }

}  // namespace th
