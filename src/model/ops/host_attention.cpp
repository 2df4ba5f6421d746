#include "model/ops/host_attention.hpp"

#include "model/ops/row_math.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/model/ops/kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <type_traits>

namespace th::model {

Tiles widest_tiles() {
  static const bool wide = instruction_set() == "avx512";
  return wide ? Tiles::kAvx512 : Tiles::kAvx2;
}

bool host_fuses_attention() { return instruction_set() != "baseline"; }

namespace {

using runtime::kAttentionQueries;

struct Range {
  std::int64_t begin, end;
};

/// Which elements of a causal product count: query t sees keys up to t, and the tiles beyond are
/// left out. What a tile holds beyond the diagonal is zero.
enum class Reach { kAll, kColumnsUpToRow, kStepsUpToRow, kStepsFromRow };

/// c [rows, columns] = (or, `add`, +=) a [rows, steps] times b [steps, columns]; a's element (r, t)
/// at a + r * a_row + t * a_step. Whole vectors of columns.
struct MatrixProduct {
  const float* a;
  std::int64_t a_row, a_step;
  const float* b;
  std::int64_t b_stride;
  float* c;
  std::int64_t c_stride, rows, columns, steps;
  Reach reach = Reach::kAll;
  std::int64_t first = 0;  ///< the query of row 0, of step 0 for kStepsFromRow
  bool add = false;

  /// Of rows [row, end).
  [[nodiscard]] Range steps_of(std::int64_t row, std::int64_t end) const {
    if (reach == Reach::kStepsUpToRow) return {0, std::min(steps, first + end)};
    if (reach == Reach::kStepsFromRow)
      return {std::min(steps, std::max<std::int64_t>(0, row - first)), steps};
    return {0, steps};
  }
};

#if defined(__x86_64__)
namespace avx512 {
#define TH_ISA __attribute__((target("arch=x86-64-v4")))
#define TH_VECTOR __m512
#define TH_LANES 16
#define TH_LOAD _mm512_loadu_ps
#define TH_STORE _mm512_storeu_ps
#define TH_SPREAD _mm512_set1_ps
#define TH_FMA _mm512_fmadd_ps
#define TH_ROWS 8
#define TH_VECTORS 2
#include "model/ops/host_attention_of_isa.inc"
}  // namespace avx512

namespace avx2 {
#define TH_ISA __attribute__((target("arch=x86-64-v3")))
#define TH_VECTOR __m256
#define TH_LANES 8
#define TH_LOAD _mm256_loadu_ps
#define TH_STORE _mm256_storeu_ps
#define TH_SPREAD _mm256_set1_ps
#define TH_FMA _mm256_fmadd_ps
#define TH_ROWS 6
#define TH_VECTORS 2
#include "model/ops/host_attention_of_isa.inc"
}  // namespace avx2

/// to [columns, stride] = from^T for whole blocks of 8 x 8; from has `rows` rows in blocks of 8, of
/// which those from `real` on count as zeros.
__attribute__((target("arch=x86-64-v3"))) void transpose(const float* from,
                                                         std::int64_t from_stride,
                                                         std::int64_t real, std::int64_t rows,
                                                         std::int64_t columns, float* to,
                                                         std::int64_t to_stride) {
  for (std::int64_t r = 0; r < rows; r += 8) {
    for (std::int64_t c = 0; c < columns; c += 8) {
      __m256 in[8], pairs[8], fours[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i)
        in[i] =
            r + i < real ? _mm256_loadu_ps(from + (r + i) * from_stride + c) : _mm256_setzero_ps();
#pragma GCC unroll 4
      for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(in[i], in[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(in[i], in[i + 1]);
      }
#pragma GCC unroll 2
      for (int i = 0; i < 8; i += 4) {
        fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(to + (c + i) * to_stride + r,
                         _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20));
        _mm256_storeu_ps(to + (c + i + 4) * to_stride + r,
                         _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31));
      }
    }
  }
}

void multiply(Tiles tiles, const MatrixProduct& p) {
  tiles == Tiles::kAvx512 ? avx512::multiply(p) : avx2::multiply(p);
}
#else
void multiply(Tiles, const MatrixProduct&) {
  ensure(false, "host_attention: not on this processor");
}
void transpose(const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float*,
               std::int64_t) {}
#endif

/// Rows of scores [rows, stride] of the queries from `first` on, and where their draws begin: those
/// of row t at place + t * pitch.
struct ScoreRows {
  std::int64_t rows, stride, keys, first;
  bool causal;
  std::int64_t place, pitch;
  [[nodiscard]] std::int64_t seen(std::int64_t row) const {
    return causal ? std::min(keys, first + row + 1) : keys;
  }
};

/// In place: softmax of scale * scores, zeros where a query sees nothing; into `dropped` with their
/// draws where that is another array.
TH_CLONES void probabilities(const ScoreRows& s, float* p, float* dropped, Dropout dropout,
                             float scale) {
  const DropoutDraws draws(dropout);
  for (std::int64_t t = 0; t < s.rows; ++t) {
    float* row = p + t * s.stride;
    const std::int64_t n = s.seen(t);
    for (std::int64_t i = 0; i < n; ++i) row[i] *= scale;
    softmax_row(row, n);
    for (std::int64_t i = n; i < s.stride; ++i) row[i] = 0.0F;
    if (dropout.rate == 0.0F) continue;
    float* out = dropped + t * s.stride;
    const std::int64_t place = s.place + t * s.pitch;
    for (std::int64_t i = 0; i < s.stride; ++i) out[i] = row[i] * draws.factor(place + i);
  }
}

/// In place: the gradient of the scores before their scale, times the scale, from that of the
/// dropped probabilities.
TH_CLONES void probabilities_backward(const ScoreRows& s, const float* p, float* g, Dropout dropout,
                                      float scale) {
  const DropoutDraws draws(dropout);
  for (std::int64_t t = 0; t < s.rows; ++t) {
    const float* pr = p + t * s.stride;
    float* gr = g + t * s.stride;
    const std::int64_t n = s.seen(t), place = s.place + t * s.pitch;
    if (dropout.rate != 0.0F) {
      for (std::int64_t i = 0; i < n; ++i) gr[i] *= draws.factor(place + i);
    }
    const float dot = lane_sum(n, [&](std::int64_t i) { return pr[i] * gr[i]; });
    for (std::int64_t i = 0; i < n; ++i) gr[i] = pr[i] * (gr[i] - dot) * scale;
    for (std::int64_t i = n; i < s.stride; ++i) gr[i] = 0.0F;
  }
}

/// fp32 rows whose width is whole vectors.
struct Rows {
  const float* data;
  std::int64_t stride;
};

/// One thread's room, part after part.
class Scratch {
 public:
  explicit Scratch(float* begin) : next_(begin) {}
  float* take(std::int64_t floats) {
    float* out = next_;
    next_ += floats;
    return out;
  }

 private:
  float* next_;
};

/// One sentence and head: T queries, S keys.
template <typename T>
class Head {
 public:
  Head(const runtime::AttentionOperands<T>& o, std::int64_t number, Scratch scratch, Tiles tiles)
      : o_(o),
        tiles_(tiles),
        sentence_(number / o.heads),
        column_(number % o.heads * o.width),
        width_(runtime::whole_lanes(o.width)),
        direct_(std::is_same_v<T, float> && o.width == width_),
        place_(number * o.queries * o.keys),
        scratch_(scratch) {
    query_row_ = o.query_offsets[sentence_];
    key_row_ = o.key_offsets[sentence_];
    queries_ = o.query_offsets[sentence_ + 1] - query_row_;
    keys_ = o.key_offsets[sentence_ + 1] - key_row_;
    stride_ = runtime::whole_lanes(keys_);
    keys_across_ = scratch_.take(width_ * stride_);
    p_ = scratch_.take(kAttentionQueries * stride_);
    dropped_ = o.dropout.rate == 0.0F ? p_ : scratch_.take(kAttentionQueries * stride_);
  }

  void forward(T* out) {
    k_ = key_rows(o_.k);
    const Rows v = key_rows(o_.v);
    across(k_, keys_across_);
    q_block_ = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    float* result = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    const std::int64_t width = o_.heads * o_.width;
    for (std::int64_t first = 0; first < queries_; first += kAttentionQueries) {
      const ScoreRows s = scores(first);
      T* to = out + (query_row_ + first) * width + column_;
      multiply({dropped_, stride_, 1, v.data, v.stride, direct_ ? as_float(to) : result,
                direct_ ? width : width_, s.rows, width_, keys_,
                o_.causal ? Reach::kStepsUpToRow : Reach::kAll, first});
      if (!direct_) store(result, s.rows, to, width);
    }
  }

  void backward(const T* g, T* g_q, T* g_k, T* g_v) {
    k_ = key_rows(o_.k);
    const Rows v = key_rows(o_.v);
    across(k_, keys_across_);
    float* values_across = scratch_.take(width_ * stride_);
    across(v, values_across);
    float* g_scores = scratch_.take(kAttentionQueries * stride_);
    q_block_ = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    float* g_block = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    float* result = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    T* to_k = g_k + key_row_ * o_.kv_stride + column_;
    T* to_v = g_v + key_row_ * o_.kv_stride + column_;
    float* sum_k = direct_ ? as_float(to_k) : scratch_.take(stride_ * width_);
    float* sum_v = direct_ ? as_float(to_v) : scratch_.take(stride_ * width_);
    const std::int64_t sum_stride = direct_ ? o_.kv_stride : width_, g_stride = o_.heads * o_.width;
    const Reach up = o_.causal ? Reach::kStepsUpToRow : Reach::kAll,
                from = o_.causal ? Reach::kStepsFromRow : Reach::kAll;
    for (std::int64_t first = 0; first == 0 || first < queries_;
         first += kAttentionQueries) {  // once for no queries: keys' gradients are zero
      const ScoreRows s = scores(first);
      const Rows g_rows = block_rows(g, g_stride, first, s.rows, g_block);
      multiply({dropped_, 1, stride_, g_rows.data, g_rows.stride, sum_v, sum_stride, keys_, width_,
                s.rows, from, first, first > 0});
      multiply({g_rows.data, g_rows.stride, 1, values_across, stride_, g_scores, stride_, s.rows,
                stride_, width_, s.causal ? Reach::kColumnsUpToRow : Reach::kAll, first});
      probabilities_backward(s, p_, g_scores, o_.dropout, o_.scale);
      T* to_q = g_q + (query_row_ + first) * o_.q_stride + column_;
      multiply({g_scores, stride_, 1, k_.data, k_.stride, direct_ ? as_float(to_q) : result,
                direct_ ? o_.q_stride : width_, s.rows, width_, keys_, up, first});
      multiply({g_scores, 1, stride_, q_.data, q_.stride, sum_k, sum_stride, keys_, width_, s.rows,
                from, first, first > 0});
      if (!direct_) store(result, s.rows, to_q, o_.q_stride);
    }
    if (direct_) return;
    store(sum_k, keys_, to_k, o_.kv_stride);
    store(sum_v, keys_, to_v, o_.kv_stride);
  }

 private:
  static float* as_float(T* x) { return reinterpret_cast<float*>(x); }

  /// Rows of x as fp32 of whole vectors: where they lie, or widened into `room`.
  [[nodiscard]] Rows rows_of(const T* x, std::int64_t stride, std::int64_t count,
                             float* room) const {
    if (direct_) return {reinterpret_cast<const float*>(x), stride};
    for (std::int64_t r = 0; r < count; ++r) {
      widen(x + r * stride, room + r * width_, o_.width);
      std::fill(room + r * width_ + o_.width, room + (r + 1) * width_, 0.0F);
    }
    return {room, width_};
  }
  [[nodiscard]] Rows key_rows(const T* x) {
    return rows_of(x + key_row_ * o_.kv_stride + column_, o_.kv_stride, keys_,
                   direct_ ? nullptr : scratch_.take(stride_ * width_));
  }
  [[nodiscard]] Rows block_rows(const T* x, std::int64_t stride, std::int64_t first,
                                std::int64_t count, float* room) const {
    return rows_of(x + (query_row_ + first) * stride + column_, stride, count, room);
  }
  void across(const Rows& rows, float* to) const {
    transpose(rows.data, rows.stride, keys_, stride_, width_, to, stride_);
  }
  void store(const float* from, std::int64_t rows, T* to, std::int64_t stride) const {
    for (std::int64_t r = 0; r < rows; ++r) narrow(from + r * width_, to + r * stride, o_.width);
  }

  /// Probabilities of a block of queries from `first` on, before and after their draws.
  [[nodiscard]] ScoreRows scores(std::int64_t first) {
    const ScoreRows s{std::min(kAttentionQueries, queries_ - first),
                      stride_,
                      keys_,
                      first,
                      o_.causal,
                      place_ + first * o_.keys,
                      o_.keys};
    q_ = block_rows(o_.q, o_.q_stride, first, s.rows, q_block_);
    multiply({q_.data, q_.stride, 1, keys_across_, stride_, p_, stride_, s.rows, stride_, width_,
              s.causal ? Reach::kColumnsUpToRow : Reach::kAll, first});
    probabilities(s, p_, dropped_, o_.dropout, o_.scale);
    return s;
  }

  void multiply(const MatrixProduct& p) const { model::multiply(tiles_, p); }

  const runtime::AttentionOperands<T>& o_;
  Tiles tiles_;
  std::int64_t sentence_, column_, width_;
  bool direct_;  ///< rows are read and written where they lie
  std::int64_t place_, query_row_ = 0, key_row_ = 0, queries_ = 0, keys_ = 0, stride_ = 0;
  Scratch scratch_;
  float *keys_across_ = nullptr, *p_ = nullptr, *dropped_ = nullptr;
  float* q_block_ = nullptr;  ///< room for a block of queries that are not read where they lie
  Rows q_{}, k_{};            ///< q_: of the block whose scores were made last
};

}  // namespace

template <typename T>
void host_attention(const runtime::AttentionOperands<T>& operands, T* out, HeadRange heads) {
  for (std::int64_t i = heads.begin; i < heads.end; ++i)
    Head<T>(operands, i, Scratch(heads.scratch), heads.tiles).forward(out);
}

template <typename T>
void host_attention_backward(const runtime::AttentionOperands<T>& operands, const T* g, T* g_q,
                             T* g_k, T* g_v, HeadRange heads) {
  for (std::int64_t i = heads.begin; i < heads.end; ++i)
    Head<T>(operands, i, Scratch(heads.scratch), heads.tiles).backward(g, g_q, g_k, g_v);
}

template void host_attention(const runtime::AttentionOperands<float>&, float*, HeadRange);
template void host_attention(const runtime::AttentionOperands<Bf16>&, Bf16*, HeadRange);
template void host_attention(const runtime::AttentionOperands<Fp16>&, Fp16*, HeadRange);
template void host_attention_backward(const runtime::AttentionOperands<float>&, const float*,
                                      float*, float*, float*, HeadRange);
template void host_attention_backward(const runtime::AttentionOperands<Bf16>&, const Bf16*, Bf16*,
                                      Bf16*, Bf16*, HeadRange);
template void host_attention_backward(const runtime::AttentionOperands<Fp16>&, const Fp16*, Fp16*,
                                      Fp16*, Fp16*, HeadRange);

}  // namespace th::model
