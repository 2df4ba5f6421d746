#include "cuda/kernels/products/matrix_products.hpp"

#include "cuda/handles/cuda_handles.hpp"
#include "cuda/kernels/kernels.hpp"

#include <cublasLt.h>
#include <dlfcn.h>

#include <compare>
#include <map>

namespace th::cuda {

namespace {

#define TH_TEXT_OF(x) #x
#define TH_TEXT(x) TH_TEXT_OF(x)
constexpr const char* kLibrary = "libcublasLt.so." TH_TEXT(CUBLAS_VER_MAJOR);

/// The library's functions. It is not linked, so that this one loads where there is none, and
/// LibTorch's copy serves both.
struct Library {
  Library() : handle(dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
    if (handle == nullptr)
      throw DeviceError(std::string("matrix products need cuBLASLt: ") + dlerror());
    find(create, "cublasLtCreate");
    find(version, "cublasLtGetVersion");
    find(status_text, "cublasLtGetStatusString");
    find(make_product, "cublasLtMatmulDescCreate");
    find(set_product, "cublasLtMatmulDescSetAttribute");
    find(make_layout, "cublasLtMatrixLayoutCreate");
    find(set_layout, "cublasLtMatrixLayoutSetAttribute");
    find(make_preference, "cublasLtMatmulPreferenceCreate");
    find(set_preference, "cublasLtMatmulPreferenceSetAttribute");
    find(destroy_preference, "cublasLtMatmulPreferenceDestroy");
    find(choose, "cublasLtMatmulAlgoGetHeuristic");
    find(multiply, "cublasLtMatmul");
  }
  template <typename Function>
  void find(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(dlsym(handle, name));
    if (function == nullptr) throw DeviceError(std::string(kLibrary) + " has no " + name);
  }
  void check(cublasStatus_t status, const char* call) const {
    if (status != CUBLAS_STATUS_SUCCESS)
      throw DeviceError(std::string(call) + " failed: " + status_text(status));
  }

  void* handle;
  decltype(cublasLtCreate)* create = nullptr;
  decltype(cublasLtGetVersion)* version = nullptr;
  decltype(cublasLtGetStatusString)* status_text = nullptr;
  decltype(cublasLtMatmulDescCreate)* make_product = nullptr;
  decltype(cublasLtMatmulDescSetAttribute)* set_product = nullptr;
  decltype(cublasLtMatrixLayoutCreate)* make_layout = nullptr;
  decltype(cublasLtMatrixLayoutSetAttribute)* set_layout = nullptr;
  decltype(cublasLtMatmulPreferenceCreate)* make_preference = nullptr;
  decltype(cublasLtMatmulPreferenceSetAttribute)* set_preference = nullptr;
  decltype(cublasLtMatmulPreferenceDestroy)* destroy_preference = nullptr;
  decltype(cublasLtMatmulAlgoGetHeuristic)* choose = nullptr;
  decltype(cublasLtMatmul)* multiply = nullptr;
};

const Library& library() {
  static const Library loaded;
  return loaded;
}

cudaDataType_t cuda_type(ElementType type) {
  if (type == ElementType::kBf16) return CUDA_R_16BF;
  return type == ElementType::kFp16 ? CUDA_R_16F : CUDA_R_32F;
}

/// Bytes at which the array begins and its rows and matrices follow: 16, or the power of two below
/// that divides all.
std::uint32_t alignment(const void* data, std::int64_t stride, std::int64_t next,
                        ElementType type) {
  const auto size = static_cast<std::uint64_t>(element_size(type));
  const std::uint64_t all = reinterpret_cast<std::uintptr_t>(data) |
                            static_cast<std::uint64_t>(stride) * size |
                            static_cast<std::uint64_t>(next) * size | 16;
  return static_cast<std::uint32_t>(all & (~all + 1));
}

/// What the choice of an algorithm depends on. `exact`: for this size alone, not for all that
/// product_size_class() takes for one.
struct Shape {
  std::int64_t m, n, k, batch;
  ElementType type, result;
  std::int64_t a_stride, a_next, b_stride, b_next;
  std::uint32_t a_alignment, b_alignment, c_alignment;  ///< bytes
  bool a_transposed, b_transposed, add, bias, exact;
  auto operator<=>(const Shape&) const = default;
};

/// The product's size with the rows of a batch, which differ from step to step, rounded up to their
/// class: m, or k where a is transposed.
runtime::MatrixProduct of_class(const runtime::MatrixProduct& p) {
  runtime::MatrixProduct out = p;
  if (p.batch == 1)
    (p.a.transposed ? out.k : out.m) = product_size_class(p.a.transposed ? p.k : p.m);
  return out;
}

Shape shape_of(const runtime::MatrixProduct& p, bool exact) {
  const std::int64_t a_next = p.batch == 1 ? 0 : p.a.next, b_next = p.batch == 1 ? 0 : p.b.next;
  return {.m = p.m,
          .n = p.n,
          .k = p.k,
          .batch = p.batch,
          .type = p.type,
          .result = p.result,
          .a_stride = p.a.stride,
          .a_next = a_next,
          .b_stride = p.b.stride,
          .b_next = b_next,
          .a_alignment = alignment(p.a.data, p.a.stride, a_next, p.type),
          .b_alignment = alignment(p.b.data, p.b.stride, b_next, p.type),
          .c_alignment = alignment(p.c, p.n, p.batch == 1 ? 0 : p.m * p.n, p.result),
          .a_transposed = p.a.transposed,
          .b_transposed = p.b.transposed,
          .add = p.add,
          .bias = p.bias != nullptr,
          .exact = exact};
}

/// A product of one shape, made ready. The library's matrices are columns: c^T = b^T a^T is what it
/// computes. Objects live as long as the process.
struct Plan {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t left = nullptr, right = nullptr, result = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
};

class Products {
 public:
  Products() { l_.check(l_.create(&handle_), "cublasLtCreate"); }

  void multiply(const runtime::MatrixProduct& p, void* workspace, cudaStream_t stream) {
    const cublasStatus_t status = run(p, plan(of_class(p), false), workspace, stream);
    // An algorithm that does not take this size of its class.
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE)
      return l_.check(run(p, plan(p, true), workspace, stream), "cublasLtMatmul");
    l_.check(status, "cublasLtMatmul");
  }

 private:
  [[nodiscard]] const Plan& plan(const runtime::MatrixProduct& p, bool exact) {
    const auto [found, made] = plans_.try_emplace(shape_of(p, exact));
    if (made) {
      try {
        found->second = prepare(p, found->first);
      } catch (const Error&) {
        plans_.erase(found);
        throw;
      }
    }
    return found->second;
  }

  [[nodiscard]] cublasStatus_t run(const runtime::MatrixProduct& p, const Plan& plan,
                                   void* workspace, cudaStream_t stream) const {
    if (p.bias != nullptr) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    // A class has one layout of each matrix, for products of any size in it.
    const auto resize = [&](cublasLtMatrixLayout_t layout, std::int64_t rows,
                            std::int64_t columns) {
      const auto r = static_cast<std::uint64_t>(rows), c = static_cast<std::uint64_t>(columns);
      l_.check(l_.set_layout(layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &r, sizeof(r)),
               "cublasLtMatrixLayoutSetAttribute");
      l_.check(l_.set_layout(layout, CUBLASLT_MATRIX_LAYOUT_COLS, &c, sizeof(c)),
               "cublasLtMatrixLayoutSetAttribute");
    };
    p.b.transposed ? resize(plan.left, p.k, p.n) : resize(plan.left, p.n, p.k);
    p.a.transposed ? resize(plan.right, p.m, p.k) : resize(plan.right, p.k, p.m);
    resize(plan.result, p.n, p.m);
    const float one = 1.0F, before = p.add ? 1.0F : 0.0F;
    return l_.multiply(handle_, plan.product, &one, p.b.data, plan.left, p.a.data, plan.right,
                       &before, p.c, plan.result, p.c, plan.result, &plan.algorithm, workspace,
                       static_cast<std::size_t>(runtime::kProductWorkspace), stream);
  }

  template <typename Value>
  void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t what, Value value) const {
    l_.check(l_.set_product(product, what, &value, sizeof(value)),
             "cublasLtMatmulDescSetAttribute");
  }
  template <typename Value>
  void prefer(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t what,
              Value value) const {
    l_.check(l_.set_preference(preference, what, &value, sizeof(value)),
             "cublasLtMatmulPreferenceSetAttribute");
  }

  [[nodiscard]] cublasLtMatrixLayout_t layout(ElementType type, std::int64_t rows,
                                              std::int64_t columns, std::int64_t stride,
                                              std::int64_t batch, std::int64_t next) const {
    cublasLtMatrixLayout_t out = nullptr;
    l_.check(l_.make_layout(&out, cuda_type(type), static_cast<std::uint64_t>(rows),
                            static_cast<std::uint64_t>(columns), stride),
             "cublasLtMatrixLayoutCreate");
    const auto count = static_cast<std::int32_t>(batch);
    l_.check(l_.set_layout(out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)),
             "cublasLtMatrixLayoutSetAttribute");
    l_.check(l_.set_layout(out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &next, sizeof(next)),
             "cublasLtMatrixLayoutSetAttribute");
    return out;
  }

  [[nodiscard]] Plan prepare(const runtime::MatrixProduct& p, const Shape& shape) const {
    Plan plan;
    l_.check(l_.make_product(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
             "cublasLtMatmulDescCreate");
    set(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, p.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan.product, CUBLASLT_MATMUL_DESC_TRANSB, p.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias != nullptr) {
      set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(p.type));
      set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    }
    const auto columns_first = [&](const runtime::MatrixOperand& x, std::int64_t rows,
                                   std::int64_t columns) {
      return x.transposed ? layout(p.type, rows, columns, x.stride, p.batch, x.next)
                          : layout(p.type, columns, rows, x.stride, p.batch, x.next);
    };
    plan.left = columns_first(p.b, p.k, p.n);
    plan.right = columns_first(p.a, p.m, p.k);
    plan.result = layout(p.result, p.n, p.m, p.n, p.batch, p.m * p.n);
    cublasLtMatmulPreference_t preference = nullptr;
    l_.check(l_.make_preference(&preference), "cublasLtMatmulPreferenceCreate");
    prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
           static_cast<std::uint64_t>(runtime::kProductWorkspace));
    // Partial sums of a split over k are added in their order.
    prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
                                      CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE));
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.b_alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.a_alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.c_alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.c_alignment);
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t status = l_.choose(handle_, plan.product, plan.left, plan.right,
                                            plan.result, plan.result, preference, 1, &best, &found);
    l_.destroy_preference(preference);
    l_.check(status, "cublasLtMatmulAlgoGetHeuristic");
    if (found == 0)
      throw DeviceError("cuBLASLt has no algorithm for a product of " + std::to_string(p.m) +
                        " x " + std::to_string(p.k) + " x " + std::to_string(p.n));
    plan.algorithm = best.algo;
    return plan;
  }

  const Library& l_ = library();
  cublasLtHandle_t handle_ = nullptr;
  std::map<Shape, Plan> plans_;
};

}  // namespace

void multiply(const runtime::MatrixProduct& product, void* workspace, void* stream) {
  if (product.m == 0 || product.n == 0 || product.batch == 0) return;
  static auto* products = new Products;
  products->multiply(product, workspace, static_cast<cudaStream_t>(stream));
}

std::string matrix_library() {
  const std::size_t version = library().version();
  return "cublaslt-" + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

ProductFunctions product_functions() {
  return {multiply, [] {
            static const std::string name = matrix_library();
            return name.c_str();
          }};
}

}  // namespace th::cuda
