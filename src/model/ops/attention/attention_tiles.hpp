#pragma once

#include <cstdint>

#include "th/runtime/ops/score_rule.hpp"

// Matrix products of the attention of one sentence and head, where the rule of scores leaves out
// what no query sees.
namespace th::model {

/// What the rows, columns and steps of a product are, and so which part of it counts, as the rule
/// says it.
enum class Reach {
  kSeenColumns,  ///< rows are queries, columns keys: tiles that no query of theirs sees are not
                 ///< written
  kSeenSteps,    ///< rows are queries, steps keys: only keys that one of the rows sees are added
  kSeeingSteps   ///< rows are keys, steps queries: only queries that see one of the rows are added
};

/// Columns of a panel. A matrix in panels has 16 columns after another, each of them rows of 16.
inline constexpr std::int64_t kPanel = 16;

/// c [rows, columns] = (kAdd: +=) a [rows, steps] times b [steps, columns]. Element (r, t) of a
/// lies at a + r * a_row + t * a_step, (t, n) of b at b + t * b_stride + n / 16 * b_panel + n % 16,
/// and c likewise. Columns are whole panels. kSeenColumns does not add.
struct MatrixProduct {
  enum class Write { kSet, kAdd };

  const float* a = nullptr;
  std::int64_t a_row = 0, a_step = 0;
  const float* b = nullptr;
  std::int64_t b_stride = 0, b_panel = kPanel;
  float* c = nullptr;
  std::int64_t c_stride = 0, c_panel = kPanel;
  std::int64_t rows = 0, columns = 0, steps = 0;
  Reach reach = Reach::kSeenColumns;
  runtime::ScoreRule rule = {};
  std::int64_t first = 0;      ///< the query of row 0, for kSeeingSteps of step 0
  std::int64_t first_key = 0;  ///< the key of column, step or row 0
  std::int64_t count = 0;      ///< keys of the sentence, for kSeeingSteps its queries
  Write write = Write::kSet;
};

/// The product's tile that one instruction set keeps in its registers: `rows` by `vectors` vectors
/// of `lanes` floats. No lanes: it has no fused multiply-adds, and attention in one kernel is not
/// there.
struct TileShape {
  int rows = 0, vectors = 0, lanes = 0;
};
namespace avx512 {
constexpr TileShape kTile{8, 2, 16};
}
namespace avx2 {
constexpr TileShape kTile{6, 2, 8};
}
namespace baseline {
constexpr TileShape kTile{};
}

namespace TH_ISA {
/// Every element is the sum over its steps in order, one fused multiply-add a step, so tiles of
/// other shapes give the same bits.
void multiply(const MatrixProduct& product);
}  // namespace TH_ISA

}  // namespace th::model
