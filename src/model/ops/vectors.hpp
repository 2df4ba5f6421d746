#pragma once

#include <cstdint>

namespace th::model::TH_ISA {

/// Vectors of `Lanes` floats, and how they are read and written at any address.
template <int Lanes>
struct VectorOf {
  typedef float Type __attribute__((vector_size(Lanes * sizeof(float))));
  typedef std::int32_t Integers __attribute__((vector_size(Lanes * sizeof(float))));
  typedef float AtAnyAddress
      __attribute__((vector_size(Lanes * sizeof(float)), aligned(sizeof(float)), may_alias));

  [[gnu::always_inline]] static inline Type load(const float* from) {
    return *reinterpret_cast<const AtAnyAddress*>(from);
  }
  [[gnu::always_inline]] static inline void store(float* to, Type from) {
    *reinterpret_cast<AtAnyAddress*>(to) = from;
  }
};

}  // namespace th::model::TH_ISA
