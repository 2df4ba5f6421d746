#include "th/runtime/plugin/cuda_plugin.hpp"

#include "plugin_number.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>

namespace th::runtime {

namespace {

constexpr const char* kLibrary = "libth_cuda.so";
constexpr std::size_t kTextBytes = 64 << 10;

const char* named_folder() {
  const char* folder = std::getenv("TH_CUDA_PLUGIN");
  return folder == nullptr || *folder == '\0' ? nullptr : folder;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

}  // namespace

std::vector<std::string> CudaPlugin::default_folders() {
  if (const char* given = named_folder()) return {given};
  std::error_code ignored;
  const std::filesystem::path folder =
      std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  std::vector<std::string> out{folder.string()};
  for (const char* name : {"lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"})
    out.push_back((folder.parent_path() / name).string());
  return out;
}

CudaPlugin::CudaPlugin(const std::vector<std::string>& folders) {
  std::string tried;
  for (const std::string& folder : folders) {
    const std::string path = folder + "/" + kLibrary;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      open(path);
      return;
    }
    tried += (tried.empty() ? "" : ", ") + folder;
  }
  throw DeviceError(
      std::string("the CUDA build is not here: ") + kLibrary + " is in none of " + tried +
      "; build with -DTH_WITH_CUDA=ON (CUDA toolkit and NCCL), or use run.device=cpu");
}

void CudaPlugin::open(const std::string& path) {
  path_ = path;
  // RTLD_NODELETE: CUDA's and NCCL's threads must not lose their code. RTLD_LOCAL: their symbols
  // stay out of LibTorch's way.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* reason = dlerror();
    throw DeviceError(
        "the CUDA build cannot be loaded: " +
        std::string(reason == nullptr ? path.c_str() : reason) +
        "; make the folder of the missing library known (LD_LIBRARY_PATH), or use run.device=cpu");
  }
  const auto symbol = [&](const char* name) {
    void* at = dlsym(library, name);
    if (at == nullptr)
      throw DeviceError(path + " is of another build: it has no " + name +
                        "; build th_app and it together");
    return at;
  };
  const int abi = reinterpret_cast<th_cuda_plugin_abi_fn*>(symbol("th_cuda_plugin_abi"))();
  if (abi != generated::kCudaPluginAbi) {
    throw DeviceError(path + " is of another build: its interface is " + std::to_string(abi) +
                      ", th_app's " + std::to_string(generated::kCudaPluginAbi) +
                      "; build th_app and it together");
  }
  const LedgerCalls calls = ledger_calls();
  reinterpret_cast<th_cuda_set_ledger_fn*>(symbol("th_cuda_set_ledger"))(&calls);
  version_ = reinterpret_cast<th_cuda_plugin_version_fn*>(symbol("th_cuda_plugin_version"));
  devices_ = reinterpret_cast<th_cuda_devices_fn*>(symbol("th_cuda_devices"));
  select_device_ = reinterpret_cast<th_cuda_select_device_fn*>(symbol("th_cuda_select_device"));
  make_nccl_collectives_ =
      reinterpret_cast<th_cuda_make_nccl_collectives_fn*>(symbol("th_cuda_make_nccl_collectives"));
  make_staged_collectives_ = reinterpret_cast<th_cuda_make_staged_collectives_fn*>(
      symbol("th_cuda_make_staged_collectives"));
  nccl_self_test_ = reinterpret_cast<th_cuda_nccl_self_test_fn*>(symbol("th_cuda_nccl_self_test"));
  make_device_ = reinterpret_cast<th_cuda_make_device_fn*>(symbol("th_cuda_make_device"));
  tensors_ = reinterpret_cast<th_cuda_tensors_fn*>(symbol("th_cuda_tensors"));
  kernels_ = reinterpret_cast<th_cuda_kernels_fn*>(symbol("th_cuda_kernels"));
}

std::string CudaPlugin::version() const { return version_(); }

std::vector<std::string> CudaPlugin::devices() const {
  std::string text(kTextBytes, '\0');
  const int count = devices_(text.data(), text.size());
  text.resize(text.find('\0'));
  if (count < 0) throw DeviceError(text);
  return lines_of(text);
}

CudaPlugin::Selection CudaPlugin::select_device(Collectives& control, const std::string& host,
                                                DeviceSharing sharing) const {
  std::string text(kTextBytes + 256 * static_cast<std::size_t>(control.size()), '\0');
  const int device = select_device_(
      &control, host.c_str(), sharing == DeviceSharing::kAllowed ? 1 : 0, text.data(), text.size());
  text.resize(text.find('\0'));
  if (device < 0) throw DeviceError(text);
  return {device, text};
}

std::unique_ptr<Collectives> CudaPlugin::make_nccl_collectives(Collectives& control,
                                                               double timeout_seconds,
                                                               void* compute_stream) const {
  std::array<char, 4096> text{};
  void* made =
      make_nccl_collectives_(&control, timeout_seconds, compute_stream, text.data(), text.size());
  if (made == nullptr) throw DeviceError(text.data());
  return std::unique_ptr<Collectives>(static_cast<Collectives*>(made));
}

std::unique_ptr<Collectives> CudaPlugin::make_staged_collectives(Collectives& control,
                                                                 void* compute_stream) const {
  std::array<char, 4096> text{};
  void* made = make_staged_collectives_(&control, compute_stream, text.data(), text.size());
  if (made == nullptr) throw DeviceError(text.data());
  return std::unique_ptr<Collectives>(static_cast<Collectives*>(made));
}

std::string CudaPlugin::nccl_self_test(Collectives& nccl) const {
  std::array<char, 4096> text{};
  if (nccl_self_test_(&nccl, text.data(), text.size()) != 0) throw DeviceError(text.data());
  return text.data();
}

std::unique_ptr<Device> CudaPlugin::make_device(void* compute_stream) const {
  std::array<char, 4096> text{};
  void* made = make_device_(compute_stream, text.data(), text.size());
  if (made == nullptr) throw DeviceError(text.data());
  return std::unique_ptr<Device>(static_cast<Device*>(made));
}

TensorMemory CudaPlugin::tensors() const {
  return tensors_() == 0 ? TensorMemory::kCuda : TensorMemory::kCpu;
}

const CudaKernels& CudaPlugin::kernels() const { return *kernels_(); }

LedgerCalls ledger_calls() noexcept {
  return {[](void* memory, std::size_t bytes, Place place, CountedAs kind) {
            const MemoryScope scope(kind == CountedAs::kCallers ? MemoryScope::current()
                                                                : MemoryClass::kCommunication);
            note_allocation(
                memory, bytes,
                place == Place::kHost ? MemoryLedger::process() : MemoryLedger::device());
          },
          note_release,
          [](Collectives& control, std::int64_t bytes) {
            const MemoryScope scope(MemoryClass::kCommunication);
            return control.allocate(bytes).release();
          }};
}

std::string why_cpu(const std::string& driver) {
  std::error_code ignored;
  if (named_folder() == nullptr && !std::filesystem::exists(driver, ignored))
    return "no NVIDIA driver on this machine";
  try {
    (void)CudaPlugin().devices();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

std::string device_list_text() {
  try {
    std::string out = "cpu";
    for (const std::string& line : CudaPlugin().devices()) out += "\n  " + line;
    return out;
  } catch (const Error& error) {
    return "cpu (cuda: " + std::string(error.what()) + ")";
  }
}

}  // namespace th::runtime
