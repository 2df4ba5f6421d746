#include "cuda/device/cuda_device.hpp"
#include "cuda/device/device.hpp"
#include "cuda/handles/counted_memory.hpp"
#include "cuda/handles/cuda_handles.hpp"
#include "cuda/kernels/kernels.hpp"
#include "cuda/transport/nccl_collectives.hpp"
#include "cuda/transport/staged_collectives.hpp"
#include "plugin_number.hpp"
#include "th/runtime/plugin/cuda_plugin_abi.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>

// The entry points that th_app finds by dlsym; nothing is thrown through them.
#define TH_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

void write_text(const std::string& message, char* text, std::size_t capacity) {
  if (capacity == 0) return;
  const std::size_t length = std::min(message.size(), capacity - 1);
  std::memcpy(text, message.data(), length);
  text[length] = '\0';
}

/// `body`'s result, or `failed` with the reason in `text`.
template <class Result, class Body>
Result guarded(Result failed, char* text, std::size_t capacity, const Body& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    write_text(error.what(), text, capacity);
    return failed;
  }
}

th::runtime::Collectives& collectives(void* pointer) {
  return *static_cast<th::runtime::Collectives*>(pointer);
}

}  // namespace

TH_EXPORT th_cuda_plugin_abi_fn th_cuda_plugin_abi;
TH_EXPORT th_cuda_plugin_version_fn th_cuda_plugin_version;
TH_EXPORT th_cuda_set_ledger_fn th_cuda_set_ledger;
TH_EXPORT th_cuda_devices_fn th_cuda_devices;
TH_EXPORT th_cuda_select_device_fn th_cuda_select_device;
TH_EXPORT th_cuda_make_nccl_collectives_fn th_cuda_make_nccl_collectives;
TH_EXPORT th_cuda_make_staged_collectives_fn th_cuda_make_staged_collectives;
TH_EXPORT th_cuda_nccl_self_test_fn th_cuda_nccl_self_test;
TH_EXPORT th_cuda_make_device_fn th_cuda_make_device;
TH_EXPORT th_cuda_tensors_fn th_cuda_tensors;
TH_EXPORT th_cuda_kernels_fn th_cuda_kernels;

int th_cuda_plugin_abi() { return th::generated::kCudaPluginAbi; }

const char* th_cuda_plugin_version() {
  static const std::string text =
      std::string(TH_CUDA_VERSION) + ", CUDA " + std::to_string(CUDART_VERSION / 1000) + "." +
      std::to_string(CUDART_VERSION % 1000 / 10) + ", " + th::cuda::nccl_version();
  return text.c_str();
}

void th_cuda_set_ledger(const th::runtime::LedgerCalls* calls) { th::cuda::set_ledger(*calls); }

int th_cuda_devices(char* text, std::size_t capacity) {
  return guarded(-1, text, capacity, [&] {
    const std::vector<th::cuda::DeviceInfo> all = th::cuda::devices();
    std::string lines;
    for (std::size_t d = 0; d < all.size(); ++d) {
      if (d > 0) lines += '\n';
      lines += th::cuda::device_line(static_cast<int>(d), all[d]);
    }
    write_text(lines, text, capacity);
    return static_cast<int>(all.size());
  });
}

int th_cuda_select_device(void* control, const char* host, int allow_sharing, char* text,
                          std::size_t capacity) {
  return guarded(-1, text, capacity, [&] {
    const th::cuda::DeviceSelection selection =
        th::cuda::select_device(collectives(control).control(), host, allow_sharing != 0);
    write_text(selection.map, text, capacity);
    return selection.device;
  });
}

void* th_cuda_make_nccl_collectives(void* control, double timeout_seconds, void* compute_stream,
                                    char* text, std::size_t capacity) {
  return guarded(static_cast<void*>(nullptr), text, capacity, [&] {
    auto made = std::make_unique<th::cuda::NcclCollectives>(
        collectives(control), std::chrono::duration<double>(timeout_seconds),
        static_cast<cudaStream_t>(compute_stream));
    th::runtime::Collectives* base = made.release();
    return static_cast<void*>(base);
  });
}

void* th_cuda_make_staged_collectives(void* control, void* compute_stream, char* text,
                                      std::size_t capacity) {
  return guarded(static_cast<void*>(nullptr), text, capacity, [&] {
    th::runtime::Collectives* made = new th::cuda::StagedCollectives(
        collectives(control), static_cast<cudaStream_t>(compute_stream));
    return static_cast<void*>(made);
  });
}

int th_cuda_nccl_self_test(void* nccl, char* text, std::size_t capacity) {
  return guarded(-1, text, capacity, [&] {
    write_text(th::cuda::self_test(dynamic_cast<th::cuda::NcclCollectives&>(collectives(nccl))),
               text, capacity);
    return 0;
  });
}

void* th_cuda_make_device(void* compute_stream, char* text, std::size_t capacity) {
  return guarded(static_cast<void*>(nullptr), text, capacity, [&] {
    th::runtime::Device* made = new th::cuda::CudaDevice(static_cast<cudaStream_t>(compute_stream));
    return static_cast<void*>(made);
  });
}

int th_cuda_tensors() { return th::cuda::tensor_memory(); }

const th::runtime::CudaKernels* th_cuda_kernels() { return &th::cuda::kernel_table(); }
