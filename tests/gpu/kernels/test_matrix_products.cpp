#include "cuda/kernels/products/matrix_products.hpp"
#include "gpu/device/gpu_memory.hpp"
#include "gpu/kernels/model_kernel_exam.hpp"

#include <algorithm>
#include <cmath>

// Matrix products on a GPU against fp64, in every form that the model asks for.
namespace th::cuda {
namespace {

using runtime::MatrixProduct;

template <typename T>
constexpr ElementType kType = std::is_same_v<T, float>  ? ElementType::kFp32
                              : std::is_same_v<T, Bf16> ? ElementType::kBf16
                                                        : ElementType::kFp16;

/// c [m, n] from a [m, k] and b [k, n], or from their transposes.
struct ProductCase {
  std::int64_t m, n, k;
  std::int64_t batch = 1;
  bool a_transposed = false, b_transposed = false, bias = false, add = false;
};

template <typename T, typename C>
void compare(const ProductCase& product, double tolerance) {
  const auto& [m, n, k, batch, a_transposed, b_transposed, bias, add] = product;
  SCOPED_TRACE(testing::Message() << m << "x" << k << "x" << n << ", " << batch << " of them"
                                  << (a_transposed ? ", a transposed" : "")
                                  << (b_transposed ? ", b transposed" : "")
                                  << (bias ? ", bias" : "") << (add ? ", added" : ""));
  const auto a = reference::random_elements<T>(batch * m * k, 1),
             b = reference::random_elements<T>(batch * k * n, 2),
             of_bias = reference::random_elements<T>(n, 3);
  const auto before = reference::random_elements<C>(batch * m * n, 4);
  const GpuArray<T> on_a(a), on_b(b), on_bias(of_bias);
  const GpuArray<C> on_c(before);
  const DeviceBuffer workspace(runtime::kProductWorkspace);
  const auto run = [&] {
    multiply({.m = m,
              .n = n,
              .k = k,
              .batch = batch,
              .type = kType<T>,
              .result = kType<C>,
              .a = {on_a.get(), a_transposed ? m : k, m * k, a_transposed},
              .b = {on_b.get(), b_transposed ? k : n, k * n, b_transposed},
              .bias = bias ? on_bias.get() : nullptr,
              .c = on_c.get(),
              .add = add},
             workspace.get(), nullptr);
  };
  run();
  const std::vector<C> seen = on_c.values();
  double difference = 0;
  for (std::int64_t i = 0; i < batch * m * n; ++i) {
    const std::int64_t of = i / (m * n), r = i / n % m, c = i % n;
    double sum = bias ? to_float(of_bias[static_cast<std::size_t>(c)]) : 0.0;
    if (add) sum += to_float(before[static_cast<std::size_t>(i)]);
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int64_t at_a = of * m * k + (a_transposed ? j * m + r : r * k + j),
                         at_b = of * k * n + (b_transposed ? c * k + j : j * n + c);
      sum += static_cast<double>(to_float(a[static_cast<std::size_t>(at_a)])) *
             to_float(b[static_cast<std::size_t>(at_b)]);
    }
    difference = std::max(difference, std::abs(to_float(seen[static_cast<std::size_t>(i)]) - sum));
  }
  EXPECT_LT(difference, tolerance * std::sqrt(static_cast<double>(k)));
  if (add) return;
  run();
  reference::expect_same_bits(on_c.values(), seen, "the same product again");
}

template <typename T>
void all_forms(double rounding) {
  // The forward pass, the input's gradient, and the weight's, set and added to.
  compare<T, T>({.m = 70, .n = 96, .k = 64, .b_transposed = true, .bias = true}, rounding);
  compare<T, T>({.m = 70, .n = 64, .k = 96}, rounding);
  for (const bool add : {false, true})
    compare<T, float>({.m = 96, .n = 64, .k = 70, .a_transposed = true, .add = add}, 2e-6);
  // Scores, gradients of keys, and a product that is aligned to nothing.
  compare<T, T>({.m = 13, .n = 19, .k = 16, .batch = 6, .b_transposed = true}, rounding);
  compare<T, T>({.m = 19, .n = 16, .k = 13, .batch = 6, .a_transposed = true}, rounding);
  compare<T, T>({.m = 3, .n = 5, .k = 7, .b_transposed = true, .bias = true}, rounding);
  for (const std::int64_t rows : {1, 64, 65, 127, 1300}) {  // of few classes
    compare<T, T>({.m = rows, .n = 96, .k = 64, .b_transposed = true, .bias = true}, rounding);
    compare<T, float>({.m = 96, .n = 64, .k = rows, .a_transposed = true}, 2e-6);
  }
}

TEST(MatrixProducts, AreThoseOfTheFormulasInFp32) { all_forms<float>(2e-6); }
TEST(MatrixProducts, AreThoseOfTheFormulasInBf16) { all_forms<Bf16>(0.02); }
TEST(MatrixProducts, AreThoseOfTheFormulasInFp16) { all_forms<Fp16>(0.003); }
TEST(MatrixProducts, SizesOfAClassAreNeverSmallerThanTheirs) {
  EXPECT_EQ(product_size_class(1), 64);
  EXPECT_EQ(product_size_class(64), 64);
  EXPECT_EQ(product_size_class(1024), 1024);
  EXPECT_EQ(product_size_class(1025), 1280);
  EXPECT_EQ(product_size_class(4096), 4096);
}
TEST(MatrixProducts, OfNothingAreNothing) {
  EXPECT_NO_THROW(multiply(MatrixProduct{}, nullptr, nullptr));
}
TEST(MatrixProducts, NameTheirLibrary) { EXPECT_EQ(matrix_library().substr(0, 9), "cublaslt-"); }

}  // namespace
}  // namespace th::cuda
