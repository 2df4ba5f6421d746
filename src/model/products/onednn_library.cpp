#include "model/products/onednn_library.hpp"

#include "th/base/error.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace th::model {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kFlags =
    RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;  // AddressSanitizer refuses RTLD_DEEPBIND
#else
constexpr int kFlags = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | RTLD_DEEPBIND;
#endif
constexpr const char* kName = "libdnnl.so.3";

template <typename Function>
bool find(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  return function != nullptr;
}

/// Where an installed program and a package have it.
std::vector<std::string> near_program() {
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::filesystem::path prefix = program.parent_path().parent_path();
  return {(prefix / TH_LIBRARY_DIR / kName).string(), (prefix / "lib" / kName).string()};
}

}  // namespace

std::shared_ptr<const OnednnLibrary> OnednnLibrary::open() {
  const auto at = [](const char* path) -> std::shared_ptr<const OnednnLibrary> {
    void* handle = dlopen(path, kFlags);
    if (handle == nullptr) return nullptr;
    std::shared_ptr<OnednnLibrary> library(new OnednnLibrary(handle));
    return library->resolve() ? library : nullptr;
  };
  if (const char* wanted = std::getenv("TH_ONEDNN")) {
    if (*wanted == '\0') return nullptr;
    if (auto library = at(wanted)) return library;
    const char* reason = dlerror();
    throw DeviceError("TH_ONEDNN=" + std::string(wanted) + " is no oneDNN 3 library: " +
                      (reason != nullptr ? reason : "functions are missing"));
  }
  std::vector<std::string> paths = near_program();
  paths.insert(paths.end(), {TH_ONEDNN_FETCHED, kName});
  for (const std::string& path : paths) {
    if (auto library = at(path.c_str())) return library;
  }
  return nullptr;
}

OnednnLibrary::~OnednnLibrary() { dlclose(handle_); }

bool OnednnLibrary::resolve() {
  bool all = true;
#define TH_ONEDNN_FIND(f) all = find(handle_, "dnnl_" #f, f) && all;
  TH_ONEDNN_FUNCTIONS(TH_ONEDNN_FIND)
#undef TH_ONEDNN_FIND
  find(handle_, "omp_set_num_threads", set_threads);
  return all && version()->major == 3;
}

std::string OnednnLibrary::version_text() const {
  const dnnl_version_t& v = *version();
  return std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.patch);
}

void OnednnLibrary::check(dnnl_status_t status, const char* call) {
  if (status != dnnl_success)
    throw InternalError(std::string("oneDNN: ") + call + " failed with status " +
                        std::to_string(status));
}

}  // namespace th::model
