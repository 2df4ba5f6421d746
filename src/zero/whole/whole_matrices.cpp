#include "th/zero/whole_matrices.hpp"

#include "th/config/state_names.hpp"
#include "th/zero/engine_buffers.hpp"
#include "zero/sizes.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

namespace th::zero {

namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// A tensor of two dimensions in a layer of encoder or decoder.
bool is_matrix_of_a_layer(const FlatLayout::Unit& unit, const FlatLayout::Tensor& tensor) {
  return unit.name.find("coder.layers.") != std::string::npos && tensor.spec.shape.size() == 2;
}

bool is_muon(const config::RunConfig& config) {
  return config.optimizer.name == config::OptimizerKind::kMuon;
}

/// What of a tensor is updated as a whole: nothing, all of it, or its parts.
void add_matrices(const config::RunConfig& config, const FlatLayout::Unit& unit,
                  const FlatLayout::Tensor& tensor, std::vector<WholeMatrix>& out) {
  if (is_muon(config) && !is_matrix_of_a_layer(unit, tensor)) return;
  const bool matrix = tensor.spec.shape.size() == 2;
  const std::int64_t parts =
      is_muon(config) && ends_with(tensor.spec.name, "in_proj_weight") ? 3 : 1;
  const std::int64_t rows = matrix ? tensor.spec.shape[0] / parts : 1,
                     columns = matrix ? tensor.spec.shape[1] : tensor.count;
  for (std::int64_t p = 0; p < parts; ++p)
    out.push_back({tensor.unit, tensor.offset + p * rows * columns, rows, columns, 0});
}

void deal(const config::RunConfig& config, std::vector<WholeMatrix>& matrices,
          std::vector<double>& of_all) {
  std::vector<std::size_t> order(matrices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto cost = [&](std::size_t m) { return whole_operations(config, matrices[m]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return cost(a) > cost(b); });
  std::vector<double> of_unit(of_all.size(), 0.0);
  for (const std::size_t m : order) {
    std::size_t least = 0;
    for (std::size_t r = 1; r < of_all.size(); ++r) {
      if (std::pair(of_unit[r], of_all[r]) < std::pair(of_unit[least], of_all[least])) least = r;
    }
    matrices[m].owner = static_cast<std::int64_t>(least);
    of_unit[least] += cost(m);
    of_all[least] += cost(m);
  }
}

}  // namespace

WholeTraffic whole_traffic(const config::RunConfig& config) {
  if (!updates_whole_tensors(config)) return {};
  return is_muon(config) ? WholeTraffic{1, 1} : WholeTraffic{3, 2};
}

double whole_operations(const config::RunConfig& config, const WholeMatrix& matrix) {
  constexpr double kIterations = 5, kOfAnElement = 8;
  if (!is_muon(config)) return kOfAnElement * static_cast<double>(matrix.count());
  const auto small = static_cast<double>(std::min(matrix.rows, matrix.columns)),
             large = static_cast<double>(std::max(matrix.rows, matrix.columns));
  // X^T X, its square, and the product with X: a multiply-add counts two.
  return kIterations * 2.0 * small * small * (2.0 * large + small);
}

bool updates_whole_tensors(const config::RunConfig& config) {
  const config::OptimizerKind kind = config.optimizer.name;
  return runtime::element_states(kind) < runtime::optimizer_states(kind).size();
}

std::vector<std::vector<WholeMatrix>> whole_matrices(const config::RunConfig& config,
                                                     const FlatLayout& layout) {
  std::vector<std::vector<WholeMatrix>> all(layout.units().size());
  if (!updates_whole_tensors(config)) return all;
  std::vector<double> loads(index(layout.ranks()), 0.0);
  for (std::int64_t u = 0; u < std::ssize(layout.units()); ++u) {
    const FlatLayout::Unit& unit = layout.units()[index(u)];
    for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t)
      add_matrices(config, unit, layout.tensors()[index(t)], all[index(u)]);
    deal(config, all[index(u)], loads);
  }
  return all;
}

double update_operations(const config::RunConfig& config, const FlatLayout& layout) {
  double sum = 0;
  for (const std::vector<WholeMatrix>& unit : whole_matrices(config, layout)) {
    std::vector<double> loads(index(layout.ranks()), 0.0);
    for (const WholeMatrix& m : unit) loads[index(m.owner)] += whole_operations(config, m);
    sum += *std::max_element(loads.begin(), loads.end());
  }
  return sum;
}

std::vector<StateLayout::Range> between(const std::vector<WholeMatrix>& matrices,
                                        std::int64_t padded) {
  std::vector<StateLayout::Range> out;
  std::int64_t at = 0;
  for (const WholeMatrix& matrix : matrices) {
    if (matrix.begin > at) out.push_back({at, matrix.begin});
    at = matrix.begin + matrix.count();
  }
  if (at < padded) out.push_back({at, padded});
  return out;
}

std::vector<StateLayout> state_layouts(const config::RunConfig& config, const FlatLayout& layout) {
  const bool whole = updates_whole_tensors(config);
  const StateLayout dense(layout, zero_policy(config).shard_optimizer);
  std::vector<StateLayout> out(config::state_names(config).size(), dense);
  if (!whole) return out;
  std::vector<std::vector<StateLayout::Range>> of_elements, of_matrices(layout.units().size());
  const auto matrices = whole_matrices(config, layout);
  for (std::size_t u = 0; u < matrices.size(); ++u) {
    of_elements.push_back(between(matrices[u], layout.units()[u].padded));
    for (const WholeMatrix& matrix : matrices[u]) {
      const bool means = !is_muon(config) && matrix.factored();
      const std::int64_t count = means ? matrix.rows + matrix.columns : matrix.count();
      of_matrices[u].push_back({matrix.begin, matrix.begin + count});
    }
  }
  const std::size_t elements = runtime::element_states(config.optimizer.name),
                    rule = runtime::optimizer_states(config.optimizer.name).size();
  for (std::size_t s = 0; s < rule; ++s)
    out[s] = StateLayout(layout, s < elements ? of_elements : of_matrices);
  return out;
}

std::int64_t largest_own(const std::vector<std::vector<WholeMatrix>>& matrices, std::int64_t rank) {
  std::int64_t most = 0;
  for (const std::vector<WholeMatrix>& unit : matrices) {
    std::int64_t own = 0;
    for (const WholeMatrix& m : unit) own += m.owner == rank ? whole_lines(m.count()) : 0;
    most = std::max(most, own);
  }
  return most;
}

std::int64_t floats_beside(const config::RunConfig& config, const WholeMatrix& matrix) {
  constexpr std::int64_t kFloatsOfDouble = 2;
  if (!is_muon(config))
    return matrix.factored() ? whole_lines(kFloatsOfDouble * matrix.columns) : 0;
  const std::int64_t small = std::min(matrix.rows, matrix.columns);
  return whole_lines(matrix.count()) + 2 * whole_lines(small * small);
}

std::int64_t whole_matrix_floats(const config::RunConfig& config,
                                 const std::vector<std::vector<WholeMatrix>>& matrices,
                                 std::int64_t rank) {
  std::int64_t beside = 0;
  for (const std::vector<WholeMatrix>& unit : matrices) {
    for (const WholeMatrix& m : unit) {
      if (m.owner == rank) beside = std::max(beside, floats_beside(config, m));
    }
  }
  return static_cast<std::int64_t>(whole_traffic(config).buffers()) * largest_own(matrices, rank) +
         beside;
}

}  // namespace th::zero
