#pragma once

#include "gpu/kernels/model_kernel_exam.hpp"

#include <cstdint>
#include <vector>

// The ops of the model's options, examined as those of ModelKernelExam.
namespace th::reference {

template <typename T, typename Memory>
class OptionKernelExam : public ModelKernelExam<T, Memory> {
 public:
  using Base = ModelKernelExam<T, Memory>;
  using Base::Base;

  void activations(float rate, std::int64_t columns) const {
    const std::int64_t n = 37 * columns;
    const Both<T> z(random_elements<T>(n, 1, 3)), up(random_elements<T>(n, 2));
    const std::vector<T> empty(static_cast<std::size_t>(n));
    for (const auto kind : {runtime::ActivationKind::kGelu, runtime::ActivationKind::kSwish}) {
      for (const bool gated : {false, true}) {
        this->compare("activate", empty, [&](Side at, T* y) {
          return op::Activate<T>{.z = z.at(at),
                                 .up = gated ? up.at(at) : nullptr,
                                 .y = y,
                                 .count = n,
                                 .kind = kind,
                                 .dropout = {81, rate}};
        });
        const Both<T> g_up(empty);
        this->compare("activate_backward", up.values(), [&](Side at, T* g) {
          return op::ActivateBackward<T>{.z = z.at(at),
                                         .up = gated ? up.at(at) : nullptr,
                                         .g = g,
                                         .g_up = gated ? g_up.at(at) : nullptr,
                                         .count = n,
                                         .kind = kind,
                                         .dropout = {81, rate}};
        });
        expect_same_bits(g_up.examined(), g_up.values(), "g_up");
      }
    }
  }

  /// RMSNorm of rows, and of the heads in the middle third of packed rows, in place.
  void rms_norms() const {
    for (const Groups& groups :
         {Groups{43, 1, 15}, {43, 1, 512}, {1300, 1, 72}, {43, 2, 8}, {43, 3, 7}})
      rms_norm(groups);
  }

  void positions(float rate) const {
    const Both<std::int64_t> offsets({0, 19, 22, 38});
    const Both<T> g(random_elements<T>(38 * 24, 21));
    this->compare("positions_backward", random_elements<float>(20 * 24, 22),
                  [&](Side at, float* g_position) {
                    return op::PositionsBackward<T>{.g = g.at(at),
                                                    .offsets = offsets.at(at),
                                                    .g_position = g_position,
                                                    .batch = 3,
                                                    .length = 19,
                                                    .width = 24,
                                                    .dropout = {80, rate}};
                  });
  }

 private:
  using Side = typename Base::Side;
  template <typename V>
  using Both = typename Base::template Both<V>;
  struct Groups {
    std::int64_t rows, groups, columns;
  };

  void rms_norm(const Groups& s) const {
    const std::int64_t all = s.rows * s.groups, width = s.groups * s.columns;
    const std::int64_t first = s.groups > 1 ? width : 0, stride = s.groups > 1 ? 3 * width : width;
    const Both<T> gamma(random_elements<T>(s.columns, 24)),
        kept(std::vector<T>(static_cast<std::size_t>(all * s.columns)));
    const Both<float> rstd{std::vector<float>(static_cast<std::size_t>(all))},
        g_gamma(std::vector<float>(static_cast<std::size_t>(s.columns), 0.5F));
    this->compare("rms_norm", random_elements<T>(s.rows * stride, 25, 3), [&](Side at, T* x) {
      return op::RmsNorm<T>{.x = x + first,
                            .gamma = gamma.at(at),
                            .y = x + first,
                            .kept = kept.at(at),
                            .rstd = rstd.at(at),
                            .rows = s.rows,
                            .groups = s.groups,
                            .columns = s.columns,
                            .stride = stride};
    });
    expect_same_bits(rstd.examined(), rstd.values(), "rstd");
    expect_same_bits(kept.examined(), kept.values(), "kept");
    this->compare("rms_norm_backward", random_elements<T>(s.rows * stride, 26), [&](Side at, T* g) {
      return op::RmsNormBackward<T>{.g = g + first,
                                    .x = kept.at(at),
                                    .gamma = gamma.at(at),
                                    .rstd = rstd.at(at),
                                    .g_x = g + first,
                                    .g_gamma = g_gamma.at(at),
                                    .rows = s.rows,
                                    .groups = s.groups,
                                    .columns = s.columns,
                                    .stride = stride};
    });
    this->compare_sums(g_gamma, all, "g_gamma");
  }
};

template <typename T, typename Memory>
void examine_option_kernels(const runtime::OpTable<T>& ops, const runtime::OpTable<T>& reference,
                            Sums sums) {
  const OptionKernelExam<T, Memory> exam(ops, reference, sums);
  for (const float rate : {0.0F, 0.1F}) {
    for (const std::int64_t columns : {91, 96}) exam.activations(rate, columns);
    exam.positions(rate);
  }
  exam.rms_norms();
}

}  // namespace th::reference
