#pragma once

#include <cstdint>

#include "cuda/kernels/bodies/element_bodies.hpp"
#include "th/base/dropout.hpp"
#include "th/runtime/ops/activation.hpp"
#include "th/runtime/ops/operands.hpp"

// The device's bodies of activations, as those of element_bodies.hpp: formulas and order of
// operations are those of src/model/ops/host_elements.hpp.
namespace th::cuda {

/// The factor is 1 without dropout, and where there is no `up`.
template <typename T, typename Function>
struct ActivateBody {
  static constexpr int kPack = kPackOf<T>;
  op::Activate<T> o;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const { return aligned(o.z, o.up, o.y); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const bool drops = o.dropout.rate != 0.0F, gated = o.up != nullptr;
    const Pack<T, N> z = load<N>(o.z + i), up = gated ? load<N>(o.up + i) : z;
    Pack<T, N> out;
    for (int j = 0; j < N; ++j) {
      out.at[j] =
          from_float<T>(Function::value(to_float(z.at[j])) * (gated ? to_float(up.at[j]) : 1.0F) *
                        (drops ? draws.factor(i + j) : 1.0F));
    }
    store<N>(o.y + i, out);
  }
};
template <typename Launch, typename T>
void launch(const op::Activate<T>& o, void* stream) {
  const DropoutDraws draws(o.dropout);
  if (o.kind == runtime::ActivationKind::kGelu)
    return Launch::elements("gelu", o.count, ActivateBody<T, runtime::Gelu>{o, draws}, stream);
  Launch::elements("swish", o.count, ActivateBody<T, runtime::Swish>{o, draws}, stream);
}

template <typename T, typename Function>
struct ActivateBackwardBody {
  static constexpr int kPack = kPackOf<T>;
  op::ActivateBackward<T> o;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const { return aligned(o.g, o.z, o.up, o.g_up); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const bool drops = o.dropout.rate != 0.0F, gated = o.up != nullptr;
    const Pack<T, N> g = load<N>(o.g + i), z = load<N>(o.z + i), up = gated ? load<N>(o.up + i) : z;
    Pack<T, N> of_z, of_up;
    for (int j = 0; j < N; ++j) {
      const float d = to_float(g.at[j]) * (drops ? draws.factor(i + j) : 1.0F);
      const float x = to_float(z.at[j]);
      of_z.at[j] = from_float<T>(d * (gated ? to_float(up.at[j]) : 1.0F) * Function::slope(x));
      of_up.at[j] = from_float<T>(d * Function::value(x));
    }
    store<N>(o.g + i, of_z);
    if (gated) store<N>(o.g_up + i, of_up);
  }
};
template <typename Launch, typename T>
void launch(const op::ActivateBackward<T>& o, void* stream) {
  const DropoutDraws draws(o.dropout);
  if (o.kind == runtime::ActivationKind::kGelu) {
    return Launch::elements("gelu_backward", o.count,
                            ActivateBackwardBody<T, runtime::Gelu>{o, draws}, stream);
  }
  Launch::elements("swish_backward", o.count, ActivateBackwardBody<T, runtime::Swish>{o, draws},
                   stream);
}

}  // namespace th::cuda
