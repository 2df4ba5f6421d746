#pragma once

#include <memory>
#include <string>

#include <oneapi/dnnl/dnnl.h>

namespace th::model {

/// The C interface of a oneDNN 3 library, opened at run time. LibTorch hides the interface of the
/// copy that it holds; one that is opened with its own symbols first (RTLD_DEEPBIND) lives beside
/// that copy.
class OnednnLibrary {
 public:
  /// $TH_ONEDNN (a file), the library beside the program (../lib), the one that
  /// tools/install_dependencies.sh fetched, the system's; null where there is none or TH_ONEDNN is
  /// empty. Throws DeviceError where TH_ONEDNN names a file that cannot be opened.
  [[nodiscard]] static std::shared_ptr<const OnednnLibrary> open();
  ~OnednnLibrary();
  OnednnLibrary(const OnednnLibrary&) = delete;
  OnednnLibrary& operator=(const OnednnLibrary&) = delete;

  /// "3.2.0".
  [[nodiscard]] std::string version_text() const;
  /// Throws InternalError with `call` and the status unless that is dnnl_success.
  static void check(dnnl_status_t status, const char* call);

#define TH_ONEDNN_FUNCTIONS(X)          \
  X(version)                            \
  X(engine_create)                      \
  X(engine_destroy)                     \
  X(stream_create)                      \
  X(stream_destroy)                     \
  X(stream_wait)                        \
  X(memory_desc_create_with_strides)    \
  X(memory_desc_get_size)               \
  X(memory_desc_destroy)                \
  X(memory_create)                      \
  X(memory_destroy)                     \
  X(memory_set_data_handle)             \
  X(post_ops_create)                    \
  X(post_ops_append_sum)                \
  X(post_ops_destroy)                   \
  X(primitive_attr_create)              \
  X(primitive_attr_set_post_ops)        \
  X(primitive_attr_set_scratchpad_mode) \
  X(primitive_attr_destroy)             \
  X(matmul_primitive_desc_create)       \
  X(primitive_desc_query_md)            \
  X(primitive_desc_destroy)             \
  X(primitive_create)                   \
  X(primitive_destroy)                  \
  X(primitive_execute)
#define TH_ONEDNN_MEMBER(f) decltype(&::dnnl_##f) f = nullptr;
  TH_ONEDNN_FUNCTIONS(TH_ONEDNN_MEMBER)
#undef TH_ONEDNN_MEMBER
  void (*set_threads)(int) =
      nullptr;  ///< of the OpenMP library that it uses; null where it uses another threading

 private:
  explicit OnednnLibrary(void* handle) : handle_(handle) {}
  /// Whether all functions are there, of version 3.
  [[nodiscard]] bool resolve();
  void* handle_;
};

}  // namespace th::model
