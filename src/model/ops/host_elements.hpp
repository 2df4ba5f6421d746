#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/runtime/ops/operands.hpp"

// The host's bodies of ops on elements, for one instruction set. An element is widened when it is
// read and rounded when it is written; the arithmetic between is fp32. Operands come by value: a
// local copy tells the compiler that no store changes them, and loops vectorise.
namespace th::model::TH_ISA {

using op::Count;

template <typename T>
void compute(op::AddDropout<T> o) {
  if (o.dropout.rate == 0.0F) {
    for (Count i = 0; i < o.count; ++i) o.y[i] = from_float<T>(to_float(o.x[i]) + to_float(o.s[i]));
    return;
  }
  const DropoutDraws draws(o.dropout);
  for (Count i = 0; i < o.count; ++i)
    o.y[i] = from_float<T>(to_float(o.x[i]) + to_float(o.s[i]) * draws.factor(i));
}

template <typename T>
void compute(op::ApplyDropout<T> o) {
  if (o.dropout.rate == 0.0F) {
    if (o.out != o.x) std::memcpy(o.out, o.x, static_cast<std::size_t>(o.count) * sizeof(T));
    return;
  }
  const DropoutDraws draws(o.dropout);
  for (Count i = 0; i < o.count; ++i) o.out[i] = from_float<T>(to_float(o.x[i]) * draws.factor(i));
}

template <typename T>
void compute(op::BiasReluDropout<T> o) {
  const DropoutDraws draws(o.dropout);
  for (Count m = 0; m < o.rows; ++m) {
    T* row = o.h + m * o.columns;
    const Count first = m * o.columns;
    if (o.dropout.rate == 0.0F) {
      for (Count d = 0; d < o.columns; ++d)
        row[d] = from_float<T>(std::max(to_float(row[d]) + to_float(o.bias[d]), 0.0F));
    } else {
      for (Count d = 0; d < o.columns; ++d) {
        row[d] = from_float<T>(std::max(to_float(row[d]) + to_float(o.bias[d]), 0.0F) *
                               draws.factor(first + d));
      }
    }
  }
}

template <typename T>
void compute(op::ReluDropoutBackward<T> o) {
  const float scale = o.dropout.rate == 0.0F ? 1.0F : 1.0F / (1.0F - o.dropout.rate);
  for (Count i = 0; i < o.count; ++i)
    o.g[i] = from_float<T>(to_float(o.h[i]) > 0.0F ? to_float(o.g[i]) * scale : 0.0F);
}

/// Calls work(up, factor): functions of an element's number that give what it is multiplied by. A
/// factor of 1 stands for what the op does not have, dropout or `up`: it changes no bit.
template <typename T, typename Work>
static inline void with_factors(const T* up, Dropout dropout, Work work) {
  const DropoutDraws draws(dropout);
  const auto one = [](Count) { return 1.0F; };
  const auto gate = [up](Count i) { return to_float(up[i]); };
  const auto draw = [draws](Count i) { return draws.factor(i); };
  if (up == nullptr) {
    dropout.rate == 0.0F ? work(one, one) : work(one, draw);
  } else {
    dropout.rate == 0.0F ? work(gate, one) : work(gate, draw);
  }
}

template <typename Function, typename T>
static inline void activate(op::Activate<T> o) {
  with_factors(o.up, o.dropout, [o](auto up, auto factor) {
    for (Count i = 0; i < o.count; ++i)
      o.y[i] = from_float<T>(Function::value(to_float(o.z[i])) * up(i) * factor(i));
  });
}

template <typename T>
void compute(op::Activate<T> o) {
  o.kind == runtime::ActivationKind::kGelu ? activate<runtime::Gelu>(o)
                                           : activate<runtime::Swish>(o);
}

/// g_up first: then g is written over.
template <typename Function, typename T>
static inline void activate_backward(op::ActivateBackward<T> o) {
  with_factors(o.up, o.dropout, [o](auto up, auto factor) {
    if (o.up != nullptr) {
      for (Count i = 0; i < o.count; ++i) {
        o.g_up[i] = from_float<T>(to_float(o.g[i]) * factor(i) * Function::value(to_float(o.z[i])));
      }
    }
    for (Count i = 0; i < o.count; ++i) {
      o.g[i] =
          from_float<T>(to_float(o.g[i]) * factor(i) * up(i) * Function::slope(to_float(o.z[i])));
    }
  });
}

template <typename T>
void compute(op::ActivateBackward<T> o) {
  o.kind == runtime::ActivationKind::kGelu ? activate_backward<runtime::Gelu>(o)
                                           : activate_backward<runtime::Swish>(o);
}

template <typename T>
void compute(op::AddTo<T> o) {
  for (Count i = 0; i < o.count; ++i) o.y[i] = from_float<T>(to_float(o.y[i]) + to_float(o.x[i]));
}

template <typename T>
void compute(op::Accumulate<T> o) {
  for (Count i = 0; i < o.count; ++i) o.y[i] += to_float(o.x[i]);
}

template <typename T>
void compute(op::Widen<T> o) {
  for (Count i = 0; i < o.count; ++i) o.y[i] = to_float(o.x[i]);
}

template <typename T>
void compute(op::Narrow<T> o) {
  for (Count i = 0; i < o.count; ++i) o.y[i] = from_float<T>(o.x[i]);
}

template <typename T>
void compute(op::SplitHeads<T> o) {
  for (Count b = 0; b < o.batch; ++b) {
    const Count real = o.rows(b);
    for (Count h = 0; h < o.heads; ++h) {
      T* to = o.out + (b * o.heads + h) * o.length * o.width;
      const T* from = o.x + o.first_row(b) * o.stride + h * o.width;
      for (Count t = 0; t < real; ++t, from += o.stride, to += o.width) {
        for (Count k = 0; k < o.width; ++k) to[k] = from_float<T>(to_float(from[k]) * o.scale);
      }
      if (real < o.length) {
        std::memset(static_cast<void*>(to), 0,
                    static_cast<std::size_t>((o.length - real) * o.width) * sizeof(T));
      }
    }
  }
}

template <typename T>
void compute(op::MergeHeads<T> o) {
  for (Count b = 0; b < o.batch; ++b) {
    const Count real = o.rows(b);
    for (Count h = 0; h < o.heads; ++h) {
      const T* from = o.h + (b * o.heads + h) * o.length * o.width;
      T* to = o.x + o.first_row(b) * o.stride + h * o.width;
      if (o.add) {
        for (Count t = 0; t < real; ++t, from += o.width, to += o.stride) {
          for (Count k = 0; k < o.width; ++k)
            to[k] = from_float<T>(to_float(to[k]) + to_float(from[k]) * o.scale);
        }
        continue;
      }
      for (Count t = 0; t < real; ++t, from += o.width, to += o.stride) {
        for (Count k = 0; k < o.width; ++k) to[k] = from_float<T>(to_float(from[k]) * o.scale);
      }
    }
  }
}

template <typename T>
void compute(op::RotatePositions<T> o) {
  for (Count m = 0; m < o.rows; ++m) {
    for (Count h = 0; h < o.heads; ++h) {
      T* head = o.x + m * o.stride + h * o.width;
      for (Count pair = 0; pair < o.width / 2; ++pair) {
        T &first = head[o.rule.first(pair)], &second = head[o.rule.second(pair, o.width)];
        float a = to_float(first), b = to_float(second);
        o.rule.rotate(pair, o.width, o.places[m], o.direction, a, b);
        first = from_float<T>(a);
        second = from_float<T>(b);
      }
    }
  }
}

template <typename T>
void compute(op::TakeRows<T> o) {
  for (Count m = 0; m < o.count; ++m) {
    std::memcpy(static_cast<void*>(o.y + m * o.width), o.x + o.rows[m] * o.width,
                static_cast<std::size_t>(o.width) * sizeof(T));
  }
}

template <typename T>
void compute(op::SpreadRows<T> o) {
  for (Count m = 0; m < o.count; ++m) {
    std::memcpy(static_cast<void*>(o.y + o.rows[m] * o.width), o.x + m * o.width,
                static_cast<std::size_t>(o.width) * sizeof(T));
  }
}

/// Rows of an embedding with nothing added.
template <typename T>
static void embed_alone(const op::Embed<T>& o) {
  const DropoutDraws draws(o.dropout);
  for (Count m = 0; m < o.rows; ++m) {
    const T* from = o.weight + o.ids[m] * o.width;
    T* to = o.y + m * o.width;
    const float scale = o.ids[m] == o.zero_id ? 0.0F : o.scale;
    for (Count d = 0; d < o.width; ++d) {
      const float x = to_float(from[d]) * scale;
      to[d] = from_float<T>(o.dropout.rate == 0.0F ? x : x * draws.factor(m * o.width + d));
    }
  }
}

template <typename T>
void compute(op::Embed<T> o) {
  if (o.position == nullptr) return embed_alone(o);
  const DropoutDraws draws(o.dropout);
  for (Count m = 0; m < o.rows; ++m) {
    const T* from = o.weight + o.ids[m] * o.width;
    const float* at = o.position + o.places[m] * o.width;
    T* to = o.y + m * o.width;
    const float scale = o.ids[m] == o.zero_id ? 0.0F : o.scale;
    if (o.dropout.rate == 0.0F) {
      for (Count d = 0; d < o.width; ++d) to[d] = from_float<T>(to_float(from[d]) * scale + at[d]);
    } else {
      for (Count d = 0; d < o.width; ++d) {
        to[d] = from_float<T>((to_float(from[d]) * scale + at[d]) * draws.factor(m * o.width + d));
      }
    }
  }
}

template <typename T>
void compute(op::EmbedBackward<T> o) {
  const DropoutDraws draws(o.dropout);
  for (Count m = 0; m < o.rows; ++m) {
    if (o.ids[m] == 0 || o.ids[m] == o.zero_id) continue;
    const T* from = o.g + m * o.width;
    float* to = o.g_weight + o.ids[m] * o.width;
    if (o.dropout.rate == 0.0F) {
      for (Count d = 0; d < o.width; ++d) to[d] += to_float(from[d]) * o.scale;
    } else {
      for (Count d = 0; d < o.width; ++d)
        to[d] += to_float(from[d]) * draws.factor(m * o.width + d) * o.scale;
    }
  }
}

template <typename T>
void compute(op::PositionsBackward<T> o) {
  const DropoutDraws draws(o.dropout);
  const bool drops = o.dropout.rate != 0.0F;
  for (Count b = 0; b < o.batch; ++b) {
    const Count first = o.offsets[b] * o.width, count = o.offsets[b + 1] * o.width - first;
    for (Count i = 0; i < count; ++i)
      o.g_position[i] += to_float(o.g[first + i]) * (drops ? draws.factor(first + i) : 1.0F);
  }
}

}  // namespace th::model::TH_ISA
