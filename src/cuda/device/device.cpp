#include "cuda/device/device.hpp"

#include "cuda/device/device_map.hpp"
#include "cuda/handles/cuda_handles.hpp"
#include "cuda/kernels/kernels.hpp"

#include <array>
#include <cstdio>

namespace th::cuda {

namespace {

/// Why there are no devices; empty when cudaGetDeviceCount succeeded with some.
std::string missing(cudaError_t code, int count) {
  if (code == cudaSuccess && count > 0) return {};
  (void)cudaGetLastError();
  constexpr const char* kWayOut = "; run on a node with a GPU, or use run.device=cpu";
  int driver = 0;
  (void)cudaDriverGetVersion(&driver);
  if (code == cudaErrorInsufficientDriver && driver == 0)
    return std::string("no NVIDIA driver on this machine (libcuda.so.1 is not here)") + kWayOut;
  if (code == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver serves CUDA up to " + std::to_string(driver / 1000) + "." +
           std::to_string(driver % 1000 / 10) + ", this build is of CUDA " +
           std::to_string(CUDART_VERSION / 1000) + "." +
           std::to_string(CUDART_VERSION % 1000 / 10) +
           ": a newer driver, or a build with an older toolkit, is needed";
  }
  if (code == cudaErrorNoDevice || code == cudaSuccess) {
    return std::string(
               "no GPU is visible (driver there; look at CUDA_VISIBLE_DEVICES and the job's GPU "
               "request)") +
           kWayOut;
  }
  return std::string("cudaGetDeviceCount failed: ") + cudaGetErrorString(code) + " (" +
         cudaGetErrorName(code) + ")" + kWayOut;
}

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string out;
  for (const char byte : uuid.bytes) {
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x",
                  static_cast<unsigned>(static_cast<unsigned char>(byte)));
    out += hex.data();
  }
  return out;
}

/// All ranks' texts, of which each is empty where the rank succeeded: throws the first that is not,
/// on every rank.
void throw_first(runtime::ControlCalls& control, const std::string& mine) {
  const std::vector<std::string> all = control.gather_texts(mine);
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (!all[r].empty()) throw DeviceError("rank " + std::to_string(r) + ": " + all[r]);
  }
}

}  // namespace

std::vector<DeviceInfo> devices() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  const std::string reason = missing(code, count);
  if (!reason.empty()) throw DeviceError(reason);
  std::vector<DeviceInfo> out;
  for (int d = 0; d < count; ++d) {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, d), "cudaGetDeviceProperties");
    std::array<char, 32> pci{};
    check_cuda(cudaDeviceGetPCIBusId(pci.data(), static_cast<int>(pci.size()), d),
               "cudaDeviceGetPCIBusId");
    out.push_back({properties.name, pci.data(), uuid_text(properties.uuid), properties.major,
                   properties.minor, properties.multiProcessorCount,
                   static_cast<std::int64_t>(properties.totalGlobalMem)});
  }
  return out;
}

std::string device_line(int number, const DeviceInfo& info) {
  std::array<char, 512> text{};
  std::snprintf(text.data(), text.size(),
                "cuda:%d %s, compute capability %d.%d, %d multiprocessors, %.1f GiB, PCI %s",
                number, info.name.c_str(), info.major, info.minor, info.multiprocessors,
                static_cast<double>(info.bytes) / (1 << 30), info.pci.c_str());
  return text.data();
}

DeviceSelection select_device(runtime::ControlCalls& control, const std::string& host,
                              bool sharing) {
  std::vector<DeviceInfo> here;
  std::string problem;
  VisibleDevices visible{host, {}};
  try {
    here = devices();
    for (const DeviceInfo& device : here) visible.devices.push_back(device.uuid);
  } catch (const Error& error) {
    problem = host + ": " + error.what();
  }
  throw_first(control, problem);
  std::vector<VisibleDevices> ranks;
  for (const std::string& text : control.gather_texts(encode(visible)))
    ranks.push_back(decode(text));
  const std::vector<int> map = assign_devices(ranks, sharing);
  DeviceSelection out;
  out.device = map[static_cast<std::size_t>(control.rank())];
  try {
    check_cuda(cudaSetDevice(out.device), "cudaSetDevice");
    check_kernel_image();
  } catch (const Error& error) {
    problem = host + ", " + device_line(out.device, here[static_cast<std::size_t>(out.device)]) +
              ": " + error.what();
  }
  throw_first(control, problem);
  const DeviceInfo& mine = here[static_cast<std::size_t>(out.device)];
  const std::string line = "rank " + std::to_string(control.rank()) + " on " + host +
                           ": cuda:" + std::to_string(out.device) + " " + mine.name + " (PCI " +
                           mine.pci + ")";
  for (const std::string& text : control.gather_texts(line))
    out.map += (out.map.empty() ? "" : "\n") + text;
  return out;
}

}  // namespace th::cuda
