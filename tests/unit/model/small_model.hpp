#pragma once

#include "tensors.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/zero/flat_layout.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

// A small Transformer, a batch, and sources of parameters for the tests of the whole model.
namespace th::model::test {

inline config::ModelSection small_section(config::Norm norm = config::Norm::kPre,
                                          bool tied = false) {
  config::ModelSection m;
  m.d_model = 16;
  m.num_heads = 4;
  m.num_encoder_layers = 2;
  m.num_decoder_layers = 3;
  m.d_ff = 32;
  m.dropout = 0;
  m.norm = norm;
  m.tie_embeddings = tied ? config::Tying::kAll : config::Tying::kNone;
  return m;
}

constexpr std::int64_t kVocabulary = 23, kMaxLength = 20;

inline Transformer make_model(const config::ModelSection& section,
                              GemmLibrary library = GemmLibrary::kOnednn) {
  return {{section, kVocabulary, kVocabulary, kMaxLength}, library};
}

/// Sentences of the given lengths.
inline data::Batch make_batch(const std::vector<std::int32_t>& source_lengths,
                              const std::vector<std::int32_t>& target_lengths) {
  data::Batch b;
  const auto words = [](std::size_t sentence, std::int64_t count, std::int64_t salt) {
    std::vector<std::int32_t> ids;
    for (std::int64_t t = 0; t < count; ++t) {
      ids.push_back(static_cast<std::int32_t>(
          4 +
          (static_cast<std::int64_t>(sentence) * 7 + t * t * 3 + t + salt) % (kVocabulary - 4)));
    }
    return ids;
  };
  for (std::size_t i = 0; i < source_lengths.size(); ++i) {
    std::vector<std::int32_t> source = words(i, source_lengths[i] - 1, 0),
                              target = words(i, target_lengths[i] - 1, 5);
    source.push_back(data::kEnd);
    target.insert(target.begin(), data::kBegin);
    target.push_back(data::kEnd);
    b.append(source, target);
  }
  return b;
}

inline data::Batch usual_batch() { return make_batch({6, 3, 8}, {5, 7, 2}); }
/// The batch's sentence alone.
inline data::Batch only(const data::Batch& batch, std::size_t sentence) {
  std::int64_t source = 0, target = 0;
  for (std::size_t b = 0; b < sentence; ++b) {
    source += batch.source_lengths[b];
    target += batch.target_lengths[b];
  }
  const auto part = [](const std::vector<std::int64_t>& ids, std::int64_t first,
                       std::int64_t count) {
    return std::vector<std::int32_t>(ids.begin() + first, ids.begin() + first + count);
  };
  std::vector<std::int32_t> labels = part(batch.target_out, target, batch.target_lengths[sentence]);
  labels.insert(labels.begin(), data::kBegin);
  data::Batch one;
  one.append(part(batch.source, source, batch.source_lengths[sentence]), labels);
  return one;
}

/// Parameters and gradients of one rank, and a record of the calls.
class RecordingSource final : public ParameterSource {
 public:
  explicit RecordingSource(const Transformer& model, std::uint64_t seed = 1, double scale = 0.3)
      : layout_(model.units(), 1) {
    for (const auto& unit : layout_.units()) {
      UnitTensors t;
      for (std::int64_t i = unit.first_tensor; i < unit.first_tensor + unit.tensor_count; ++i) {
        const model::TensorSpec& spec = layout_.tensors()[static_cast<std::size_t>(i)].spec;
        t.values.push_back(normal(spec.shape, seed * 1000 + static_cast<std::uint64_t>(i)) * scale);
        if (spec.shape.size() == 1 && spec.name.find("norm") != std::string::npos &&
            spec.name.ends_with("weight"))
          t.values.back().add_(1);
        t.gradients.push_back(at::zeros(spec.shape));
      }
      units_.push_back(std::move(t));
    }
    open_.assign(units_.size(), 0);
  }

  const UnitTensors& open_forward(std::int64_t unit) override { return open(unit, "forward"); }
  void close_forward(std::int64_t unit) override { close(unit, "forward"); }
  UnitTensors& open_backward(std::int64_t unit) override {
    backward_opens.push_back(unit);
    return open(unit, "backward");
  }
  void close_backward(std::int64_t unit) override {
    backward_closes.push_back(unit);
    close(unit, "backward");
  }

  [[nodiscard]] at::Tensor value(const std::string& name) const { return find(name).first; }
  [[nodiscard]] at::Tensor gradient(const std::string& name) const { return find(name).second; }
  /// Every gradient as one row.
  [[nodiscard]] at::Tensor gradients() const {
    std::vector<at::Tensor> all;
    for (const UnitTensors& unit : units_) {
      for (const at::Tensor& g : unit.gradients) all.push_back(g.reshape({-1}));
    }
    return at::cat(all);
  }
  [[nodiscard]] std::vector<UnitTensors>& units() { return units_; }
  [[nodiscard]] const zero::FlatLayout& layout() const { return layout_; }
  [[nodiscard]] bool all_closed() const {
    return std::all_of(open_.begin(), open_.end(), [](int n) { return n == 0; });
  }

  /// What a sharded source must do together: gather a unit that nobody holds open, release it,
  /// reduce its gradients.
  std::vector<std::string> collective_calls;
  std::vector<std::int64_t> backward_opens, backward_closes;
  std::int64_t most_open = 0;  ///< units open at a time

 private:
  UnitTensors& open(std::int64_t unit, const std::string& pass) {
    const auto u = static_cast<std::size_t>(unit);
    if (open_[u]++ == 0) {
      collective_calls.push_back("gather " + std::to_string(unit) + " for " + pass);
      most_open = std::max<std::int64_t>(
          most_open, std::count_if(open_.begin(), open_.end(), [](int n) { return n > 0; }));
    } else if (pass == "backward") {
      collective_calls.push_back("keep " + std::to_string(unit) + " for " + pass);
    }
    return units_[u];
  }
  void close(std::int64_t unit, const std::string& pass) {
    const auto u = static_cast<std::size_t>(unit);
    if (pass == "backward") collective_calls.push_back("reduce " + std::to_string(unit));
    if (--open_[u] == 0) collective_calls.push_back("release " + std::to_string(unit));
    if (open_[u] < 0) collective_calls.push_back("closed too often: " + std::to_string(unit));
  }
  [[nodiscard]] std::pair<at::Tensor, at::Tensor> find(const std::string& name) const {
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const auto& unit = layout_.units()[u];
      for (std::int64_t i = 0; i < unit.tensor_count; ++i) {
        if (layout_.tensors()[static_cast<std::size_t>(unit.first_tensor + i)].spec.name != name)
          continue;
        return {units_[u].values[static_cast<std::size_t>(i)],
                units_[u].gradients[static_cast<std::size_t>(i)]};
      }
    }
    return {};
  }

  zero::FlatLayout layout_;
  std::vector<UnitTensors> units_;
  std::vector<int> open_;
};

}  // namespace th::model::test
