#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>
#include <type_traits>
#include <utility>

// What products of linear layers by kernels of our own have in common.
namespace th::model {

/// Whether c = a b are tensors of a linear layer of elements T: rows of a, and rows of b
/// transposed.
template <typename T>
[[nodiscard]] bool is_linear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
  constexpr at::ScalarType kType = std::is_same_v<T, float> ? at::kFloat : at::kBFloat16;
  return a.dim() == 2 && a.scalar_type() == kType && b.scalar_type() == kType &&
         c.scalar_type() == kType && (a.stride(1) == 1 || a.size(1) == 1) &&
         (b.stride(0) == 1 || b.size(0) == 1);
}

/// Keeps what was made of weights that neither change nor move; each is made once. Thread-safe.
template <typename Made>
class KeptWeights {
 public:
  /// Of the weight [N, K] whose transpose b is; make() is called when it is first seen.
  template <typename Make>
  const Made& of(const at::Tensor& b, const Make& make) {
    const Key key{b.const_data_ptr(), b.stride(1), b.size(1), b.size(0)};
    const std::scoped_lock lock(mutex_);
    const auto found = kept_.find(key);
    return found != kept_.end() ? found->second : kept_.emplace(key, make()).first->second;
  }

 private:
  using Key = std::tuple<const void*, std::int64_t, std::int64_t, std::int64_t>;
  std::mutex mutex_;
  std::map<Key, Made> kept_;
};

}  // namespace th::model
