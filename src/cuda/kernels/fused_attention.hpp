#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#include "cuda/kernels/device_launch.hpp"
#include "cuda/kernels/launched_ops.hpp"
#include "th/base/error.hpp"
#include "th/base/vector_math.hpp"
#include "th/runtime/ops/operands.hpp"

// Attention of short sentences in one kernel: a block for each sentence and head holds queries,
// keys, values and scores in shared memory, so that no score ever reaches the device's memory and
// no sentence pays for another's length. For nvcc alone; 16-bit elements (Dao et al. 2022 tile
// longer ones).
namespace th::cuda {

template <typename T>
struct MatrixElement;
template <>
struct MatrixElement<Bf16> {
  using Type = __nv_bfloat16;
};
template <>
struct MatrixElement<Fp16> {
  using Type = __half;
};

constexpr int kAttentionWarps = 4, kAttentionThreads = kAttentionWarps * 32, kTile = 16;

__host__ __device__ constexpr int padded_rows(std::int64_t n) {
  return static_cast<int>((n + kTile - 1) / kTile * kTile);
}

/// Rows of shared memory; `stride` elements from one to the next, a little more than they have
/// columns, so that a column's reads spread over the banks.
template <typename T>
struct SharedRows {
  T* data;
  int stride;
  __device__ T* row(int r) const { return data + r * stride; }
};

/// What a block has of one sentence and head. T: query rows, S: key rows, padded to whole tiles
/// with zeros.
template <typename T>
class AttentionBlock {
 public:
  using Element = typename MatrixElement<T>::Type;

  __device__ AttentionBlock(const op::AttentionInputs<T>& o, const DropoutDraws& draws,
                            unsigned char* memory, bool backward)
      : o_(o),
        draws_(draws),
        width_(static_cast<int>(o.width)),
        sentence_(static_cast<int>(blockIdx.x / o.heads)),
        head_(static_cast<int>(blockIdx.x % o.heads)) {
    query_row_ = o.query_offsets[sentence_];
    key_row_ = o.key_offsets[sentence_];
    queries_ = static_cast<int>(o.query_offsets[sentence_ + 1] - query_row_);
    keys_ = static_cast<int>(o.key_offsets[sentence_ + 1] - key_row_);
    const int most_queries = padded_rows(o.queries), most_keys = padded_rows(o.keys);
    const auto take = [&](int rows, int columns) {
      const SharedRows<T> out{reinterpret_cast<T*>(memory), columns + 8};
      memory += rows * (columns + 8) * sizeof(T);
      return out;
    };
    q_ = take(most_queries, width_);
    k_ = take(most_keys, width_);
    v_ = take(most_keys, width_);
    dropped_ = take(most_queries, most_keys);
    sums_ = {reinterpret_cast<float*>(memory), (most_keys > width_ ? most_keys : width_) + 4};
    memory += (most_queries > most_keys ? most_queries : most_keys) * sums_.stride * sizeof(float);
    p_ = dropped_;  // forward, each draw takes its probability's place
    if (!backward) return;
    p_ = take(most_queries, most_keys);
    g_ = take(most_queries, width_);
    g_scores_ = take(most_queries, most_keys);
  }

  /// Probabilities before and after their draws. The block meets at its end.
  __device__ void probabilities() const {
    load_rows(o_.q, o_.q_stride, query_row_, queries_, q_, o_.scale);
    load_rows(o_.k, o_.kv_stride, key_row_, keys_, k_, 1.0F);
    load_rows(o_.v, o_.kv_stride, key_row_, keys_, v_, 1.0F);
    __syncthreads();
    multiply<false, true>(q_, k_, padded_rows(queries_), padded_rows(keys_), width_);
    __syncthreads();
    each_row([&](int t, int lane) {
      const runtime::PositionRange seen =
          t < queries_ ? o_.rule.keys(t, keys_) : runtime::PositionRange{};
      const int begin = static_cast<int>(seen.begin), end = static_cast<int>(seen.end);
      const auto score = [&](int s) {
        const float product = sums_.row(t)[s];
        return o_.rule.biased() ? product + o_.rule.bias(head_, t, s) : product;
      };
      float top = -INFINITY;
      for (int s = begin + lane; s < end; s += 32) top = score(s) > top ? score(s) : top;
      for (int w = 16; w > 0; w /= 2) {
        const float other = __shfl_xor_sync(0xffffffffU, top, w);
        top = other > top ? other : top;
      }
      float sum = 0;
      for (int s = begin + lane; s < end; s += 32) sum += exp_fixed(score(s) - top);
      const float inverse = 1.0F / warp_sum(sum);
      for (int s = lane; s < padded_rows(keys_); s += 32) {
        const bool sees = s >= begin && s < end && o_.rule.sees(t, s);
        const T p = sees ? from_float<T>(exp_fixed(score(s) - top) * inverse) : T{};
        p_.row(t)[s] = p;
        dropped_.row(t)[s] =
            o_.dropout.rate != 0.0F ? from_float<T>(to_float(p) * draws_.factor(place(t, s))) : p;
      }
    });
    __syncthreads();
  }

  __device__ void forward(T* out) const {
    multiply<false, false>(dropped_, v_, padded_rows(queries_), width_, padded_rows(keys_));
    __syncthreads();
    store_rows(out, o_.heads * o_.width, query_row_, queries_, 1.0F);
  }

  __device__ void backward(const T* g, T* g_q, T* g_k, T* g_v) const {
    const int t_rows = padded_rows(queries_), s_rows = padded_rows(keys_);
    load_rows(g, o_.heads * o_.width, query_row_, queries_, g_, 1.0F);
    __syncthreads();
    multiply<false, true>(g_, v_, t_rows, s_rows, width_);
    __syncthreads();
    each_row([&](int t, int lane) {
      const auto of_p = [&](int s) {
        const float x = sums_.row(t)[s];
        return o_.dropout.rate != 0.0F ? x * draws_.factor(place(t, s)) : x;
      };
      float dot = 0;
      for (int s = lane; s < s_rows; s += 32) dot += to_float(p_.row(t)[s]) * of_p(s);
      dot = warp_sum(dot);
      for (int s = lane; s < s_rows; s += 32)
        g_scores_.row(t)[s] = from_float<T>(to_float(p_.row(t)[s]) * (of_p(s) - dot));
    });
    __syncthreads();
    multiply<false, false>(g_scores_, k_, t_rows, width_, s_rows);
    __syncthreads();
    store_rows(g_q, o_.q_stride, query_row_, queries_, o_.scale);
    __syncthreads();
    multiply<true, false>(g_scores_, q_, s_rows, width_, t_rows);
    __syncthreads();
    store_rows(g_k, o_.kv_stride, key_row_, keys_, 1.0F);
    __syncthreads();
    multiply<true, false>(dropped_, g_, s_rows, width_, t_rows);
    __syncthreads();
    store_rows(g_v, o_.kv_stride, key_row_, keys_, 1.0F);
  }

 private:
  static constexpr int kPack = kPackOf<T>;

  /// Of a draw: in [B, H, T, S].
  __device__ std::int64_t place(int t, int s) const {
    return ((static_cast<std::int64_t>(blockIdx.x)) * o_.queries + t) * o_.keys + s;
  }

  __device__ static float warp_sum(float x) {
    for (int w = 16; w > 0; w /= 2) x += __shfl_xor_sync(0xffffffffU, x, w);
    return x;
  }

  template <typename Work>
  __device__ void each_row(const Work& work) const {
    for (int t = static_cast<int>(threadIdx.x) / 32; t < padded_rows(queries_);
         t += kAttentionWarps)
      work(t, static_cast<int>(threadIdx.x) % 32);
  }

  __device__ void load_rows(const T* from, std::int64_t stride, std::int64_t first, int rows,
                            const SharedRows<T>& to, float scale) const {
    const int packs = width_ / kPack;
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < padded_rows(rows) * packs;
         i += kAttentionThreads) {
      const int r = i / packs, c = i % packs * kPack;
      Pack<T, kPack> a{};
      if (r < rows) {
        a = load<kPack>(from + (first + r) * stride + head_ * width_ + c);
        if (scale != 1.0F) {
          for (int j = 0; j < kPack; ++j) a.at[j] = from_float<T>(to_float(a.at[j]) * scale);
        }
      }
      store<kPack>(to.row(r) + c, a);
    }
  }

  __device__ void store_rows(T* to, std::int64_t stride, std::int64_t first, int rows,
                             float scale) const {
    const int packs = width_ / kPack;
    for (int i = static_cast<int>(threadIdx.x); i < rows * packs; i += kAttentionThreads) {
      const int r = i / packs, c = i % packs * kPack;
      Pack<T, kPack> a;
      for (int j = 0; j < kPack; ++j) a.at[j] = from_float<T>(sums_.row(r)[c + j] * scale);
      store<kPack>(to + (first + r) * stride + head_ * width_ + c, a);
    }
  }

  /// sums = a b of [m, k] and [k, n], each the transposed of its rows where that is said; the warps
  /// share its tiles.
  template <bool kTransposedA, bool kTransposedB>
  __device__ void multiply(const SharedRows<T>& a, const SharedRows<T>& b, int m, int n,
                           int k) const {
    namespace wmma = nvcuda::wmma;
    using LayoutA = std::conditional_t<kTransposedA, wmma::col_major, wmma::row_major>;
    using LayoutB = std::conditional_t<kTransposedB, wmma::col_major, wmma::row_major>;
    const auto* a_data = reinterpret_cast<const Element*>(a.data);
    const auto* b_data = reinterpret_cast<const Element*>(b.data);
    const int columns = n / kTile;
    for (int tile = static_cast<int>(threadIdx.x) / 32; tile < m / kTile * columns;
         tile += kAttentionWarps) {
      const int r = tile / columns * kTile, c = tile % columns * kTile;
      wmma::fragment<wmma::accumulator, kTile, kTile, kTile, float> sum;
      wmma::fill_fragment(sum, 0.0F);
      for (int i = 0; i < k; i += kTile) {
        wmma::fragment<wmma::matrix_a, kTile, kTile, kTile, Element, LayoutA> left;
        wmma::fragment<wmma::matrix_b, kTile, kTile, kTile, Element, LayoutB> right;
        wmma::load_matrix_sync(left, a_data + (kTransposedA ? i * a.stride + r : r * a.stride + i),
                               static_cast<unsigned>(a.stride));
        wmma::load_matrix_sync(right, b_data + (kTransposedB ? c * b.stride + i : i * b.stride + c),
                               static_cast<unsigned>(b.stride));
        wmma::mma_sync(sum, left, right, sum);
      }
      wmma::store_matrix_sync(sums_.row(r) + c, sum, static_cast<unsigned>(sums_.stride),
                              wmma::mem_row_major);
    }
  }

  const op::AttentionInputs<T>& o_;
  const DropoutDraws& draws_;
  int width_, sentence_, head_, queries_ = 0, keys_ = 0;
  std::int64_t query_row_ = 0, key_row_ = 0;
  SharedRows<T> q_, g_, k_, v_, p_, dropped_, g_scores_;
  SharedRows<float> sums_;
};

template <typename T>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_kernel(const __grid_constant__ op::AttentionInputs<T> operands,
                     const __grid_constant__ DropoutDraws draws, T* out) {
  extern __shared__ __align__(128) unsigned char memory[];
  const AttentionBlock<T> block(operands, draws, memory, false);
  block.probabilities();
  block.forward(out);
}

template <typename T>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_backward_kernel(const __grid_constant__ op::AttentionInputs<T> operands,
                              const __grid_constant__ DropoutDraws draws, const T* g, T* g_q,
                              T* g_k, T* g_v) {
  extern __shared__ __align__(128) unsigned char memory[];
  const AttentionBlock<T> block(operands, draws, memory, true);
  block.probabilities();
  block.backward(g, g_q, g_k, g_v);
}

/// Whether a block of the current device may have what attention takes: GPUs for desktops may not,
/// and without a device there is none.
inline bool device_fuses_attention() {
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ==
          cudaSuccess) {
    return bytes >= runtime::kFusedAttentionBytes;
  }
  (void)cudaGetLastError();  // no call after this one reports it
  return false;
}

template <typename T, typename Kernel, typename... Arguments>
void launch_attention(const char* name, Kernel kernel,
                      std::int64_t runtime::FusedAttentionBytes::*pass,
                      const op::AttentionInputs<T>& o, void* stream, Arguments... arguments) {
  ensure(runtime::fuses_attention(o.queries, o.keys, o.width),
         "attention: too long or too wide for one block");
  ensure(aligned(o.q, o.k, o.v, arguments...) && o.q_stride % kPackOf<T> == 0 &&
             o.kv_stride % kPackOf<T> == 0,
         "attention: rows begin at 16 bytes");
  if (o.batch == 0) return;
  static const cudaError_t ready = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, runtime::kFusedAttentionBytes);
  check_cuda(ready, "cudaFuncSetAttribute");
  const std::int64_t bytes = runtime::fused_attention_bytes(o.queries, o.keys, o.width).*pass;
  kernel<<<static_cast<unsigned>(o.batch * o.heads), kAttentionThreads,
           static_cast<std::size_t>(bytes), static_cast<cudaStream_t>(stream)>>>(
      o, DropoutDraws(o.dropout), arguments...);
  check_launch(name);
}

template <typename T>
void attention(const op::Attention<T>& o, void* stream) {
  launch_attention("attention", attention_kernel<T>, &runtime::FusedAttentionBytes::forward,
                   o.inputs, stream, o.out);
}

template <typename T>
void attention_backward(const op::AttentionBackward<T>& o, void* stream) {
  launch_attention("attention_backward", attention_backward_kernel<T>,
                   &runtime::FusedAttentionBytes::backward, o.inputs, stream, o.g, o.g_q, o.g_k,
                   o.g_v);
}

/// The model's ops, with attention where the current device has room for it.
template <typename T>
runtime::OpTable<T> table_with_attention() {
  runtime::OpTable<T> table = launched_ops<T, DeviceLaunch>();
  if (!device_fuses_attention()) return table;
  table.template replace<op::Attention<T>>(attention<T>);
  table.template replace<op::AttentionBackward<T>>(attention_backward<T>);
  return table;
}

}  // namespace th::cuda
