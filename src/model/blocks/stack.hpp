#pragma once

#include <memory>
#include <vector>

#include "model/blocks/block.hpp"
#include "model/blocks/unit_walk.hpp"

namespace th::model {

/// An embedding and the layers behind it. The one place that opens and closes units, keeps tapes
/// and computes layers again: forward, backward, idle and decoding are walks over the same blocks.
class Stack {
 public:
  /// A block and the number of its unit.
  struct Placed {
    std::int64_t unit = 0;
    std::unique_ptr<Block> block;
  };
  Stack(Placed embedding, std::vector<Placed> layers, config::GradientCheckpointing kind)
      : embedding_(std::move(embedding)), layers_(std::move(layers)), kind_(kind) {}

  using Tapes = std::vector<Tape>;

  /// The last layer's rows [M, D]; of an idle walk nothing. `tapes` null: nothing is kept for a
  /// backward pass.
  [[nodiscard]] at::Tensor forward(UnitWalk& walk, Tapes* tapes) const;
  /// From the gradient of forward()'s result to the embedding; tapes are given up on the way.
  void backward(UnitWalk& walk, at::Tensor g_MD, Tapes& tapes) const;

  /// Fills the caches of the layers before the first step of decoding. `rows` and `caches` of an
  /// idle walk: null, and none.
  void prepare(UnitWalk& walk, const DecodingRows* rows, std::vector<LayerCache>& caches) const;
  /// The last layer's rows [R, D] of one position; of an idle walk nothing.
  [[nodiscard]] at::Tensor step(UnitWalk& walk, const DecodingRows* rows,
                                std::vector<LayerCache>& caches) const;

  [[nodiscard]] std::int64_t layers() const noexcept { return std::ssize(layers_); }
  /// Multiply-adds of the matrix products of a micro-batch, forward and backward, with what is
  /// computed again.
  [[nodiscard]] double training_products(const PassSizes& sizes) const;

 private:
  /// Whether layers are computed again in the backward pass, from kept inputs.
  [[nodiscard]] bool recomputes() const noexcept;
  /// Layers between two kept inputs: 1, with sqrt checkpointing about the root of their number
  /// (Chen et al. 2016).
  [[nodiscard]] std::int64_t segment() const noexcept;
  /// Computes the inputs of a segment's layers again, up to that of layer `last`.
  void restore(UnitWalk& walk, std::int64_t last, Tapes& tapes) const;

  Placed embedding_;
  std::vector<Placed> layers_;
  config::GradientCheckpointing kind_;
};

}  // namespace th::model
