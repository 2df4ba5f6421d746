#include "model/blocks/output.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace th::model {

const at::Tensor& Output::weight(const Pass& pass, const ParameterSpan& p) const {
  return has_matrix() ? p.values[unit_.weight.first] : pass.shared.values[0];
}

at::Tensor Output::normed(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                          NormTape& tape) const {
  return norm_.exists() ? norm_.forward(pass.context, p, x_MD, tape) : x_MD;
}

at::Tensor Output::logits(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                          NormTape& tape) const {
  const at::Tensor h = normed(pass, p, x_MD, tape);
  return pass.context.gemm->forward(h, weight(pass, p), p.values[unit_.bias.first]);
}

at::Tensor Output::forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                           Tape& tape) const {
  return logits(pass, p, x_MD, tape.norm);
}

at::Tensor Output::step(const DecodingRows& rows, const ParameterSpan& p, const at::Tensor& x_RD,
                        LayerCache&) const {
  NormTape tape;
  if (rows.candidates.empty()) return logits(rows.pass, p, x_RD, tape);
  std::vector<ChosenRows> groups;
  for (std::int64_t r = 0; r < rows.count; ++r) {
    if (r == 0 || rows.sentence(r) != rows.sentence(r - 1))
      groups.push_back({r, 0, rows.candidates_of_row(r)});
    ++groups.back().count;
  }
  return rows.pass.context.gemm->forward_chosen(
      normed(rows.pass, p, x_RD, tape), weight(rows.pass, p), p.values[unit_.bias.first], groups);
}

void Output::loss_slices(const Pass& pass, const ParameterSpan& p, const at::Tensor& hidden_MD,
                         const LogitSlice& each) const {
  const PassContext& c = pass.context;
  const at::Tensor& bias = p.values[unit_.bias.first];
  double* const kept = pass.target.row_losses;
  at::Tensor row_losses;
  if (kept == nullptr)
    row_losses = model::empty({std::min(kLogitRows, hidden_MD.size(0))},
                              hidden_MD.options().dtype(at::kDouble));
  // A plan needs the largest slice alone.
  const std::int64_t all =
      c.gemm->computes() ? hidden_MD.size(0) : std::min(kLogitRows, hidden_MD.size(0));
  for (std::int64_t first = 0; first < all; first += kLogitRows) {
    const std::int64_t rows = std::min(kLogitRows, all - first);
    const at::Tensor h = hidden_MD.narrow(0, first, rows);
    // Where a product would add the bias in a pass of its own, the loss adds it as it reads.
    const bool late =
        c.memory == runtime::DeviceMemory::kHost && !c.gemm->adds_bias(h.scalar_type());
    at::Tensor scores = c.gemm->forward(h, weight(pass, p), late ? at::Tensor() : bias);
    c.run(scores, [&]<typename T>(const Kernels<T>& k) {
      double* of_rows = kept != nullptr ? kept + first : row_losses.data_ptr<double>();
      k(op::CrossEntropy<T>{.logits = k.elements(scores),
                            .labels = pass.arrays.target_out + first,
                            .row_losses = of_rows,
                            .bias = late ? k.elements(bias) : nullptr,
                            .rows = rows,
                            .vocabulary = scores.size(1),
                            .smoothing = pass.target.smoothing,
                            .g_scale = pass.target.gradient_scale});
      k(op::AddTotal<T>{.x = of_rows, .out = pass.target.loss, .count = rows});
    });
    if (each) each(first, h, scores);
  }
}

void Output::add_loss(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD) const {
  NormTape tape;
  const at::Tensor hidden = normed(pass, p, x_MD, tape);
  loss_slices(pass, p, hidden, {});
}

at::Tensor Output::backward_of_loss(Pass& pass, const ParameterSpan& p, at::Tensor x_MD) const {
  const PassContext& c = pass.context;
  at::Tensor& g_weight = has_matrix() ? p.gradients[unit_.weight.first] : pass.shared.gradients[0];
  const at::Tensor& g_bias = p.gradients[unit_.bias.first];
  Write write = has_matrix() ? p.write : Write::kAdd;
  at::Tensor g = model::empty_like(x_MD);
  NormTape tape;
  {
    const at::Tensor hidden = normed(pass, p, x_MD, tape);
    x_MD = at::Tensor();
    loss_slices(pass, p, hidden,
                [&](std::int64_t first, const at::Tensor& h, const at::Tensor& g_logits) {
                  c.gemm->weight_gradient(g_logits, h, g_weight, std::exchange(write, Write::kAdd));
                  c.run(g_logits, [&]<typename T>(const Kernels<T>& k) {
                    k(op::AddColumnSums<T>{.x = k.elements(g_logits),
                                           .out = fp32(g_bias),
                                           .rows = g_logits.size(0),
                                           .columns = g_logits.size(1)});
                  });
                  c.gemm->input_gradient(g_logits, weight(pass, p), g.narrow(0, first, h.size(0)));
                });
  }
  return norm_.exists() ? norm_.backward(c, p, g, tape) : g;
}

at::Tensor Output::backward(Pass&, const ParameterSpan&, const at::Tensor&, const Tape&) const {
  throw InternalError("Output: gradients are made with the loss");
}

double Output::products(const PassSizes& s) const {
  const auto vocabulary = static_cast<double>(unit_.spec.tensors[unit_.bias.first].shape[0]);
  return s.target_rows * width_ * vocabulary;
}

}  // namespace th::model
