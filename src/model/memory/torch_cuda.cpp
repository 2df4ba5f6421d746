#include "th/model/memory/torch_cuda.hpp"

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>

#include <filesystem>

namespace th::model {

namespace {

void make_exact() {
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(true, false);
  context.setDeterministicFillUninitializedMemory(
      false);  // each element of a tensor is written before it is read
}

}  // namespace

std::string torch_folder() {
  Dl_info where{};
  ensure(dladdr(reinterpret_cast<const void*>(&at::globalContext), &where) != 0 &&
             where.dli_fname != nullptr,
         "LibTorch has no file");
  return std::filesystem::weakly_canonical(where.dli_fname).parent_path().string();
}

c10::Device load_torch_cuda(int number) {
  const std::string path = torch_folder() + "/libtorch_cuda.so";
  const std::string needed = "run.device=cuda needs LibTorch " + build_info().torch +
                             " with CUDA (TH_LIBTORCH, or PyPI's torch with its nvidia packages): ";
  if (!std::filesystem::exists(path))
    throw DeviceError(needed + path + " is not here; or use run.device=cpu");
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE) == nullptr) {
    const char* reason = dlerror();
    throw DeviceError(needed + (reason == nullptr ? path + " cannot be loaded" : reason) +
                      "; or use run.device=cpu");
  }
  try {
    if (!at::hasCUDA())
      throw DeviceError(needed + path + " finds no GPU that it can use; or use run.device=cpu");
    make_exact();
    const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(number));
    c10::impl::VirtualGuardImpl(c10::kCUDA).setDevice(device);
    return device;
  } catch (const c10::Error& error) {
    throw DeviceError("LibTorch cannot use the GPU cuda:" + std::to_string(number) + ": " +
                      error.what_without_backtrace());
  }
}

}  // namespace th::model
