#include "model/blocks/stack.hpp"

#include "th/base/bit_flip.hpp"
#include "th/model/memory/bit_flip.hpp"

#include <utility>

namespace th::model {

namespace {

using config::GradientCheckpointing;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// A testing aid: what a block gives to the next one has another bit.
void pass_flip(const at::Tensor& x) {
  constexpr std::int64_t kLeastBlocks = 4;  // of a model's forward pass, the output left out
  if (BitFlip::here(BitFlip::Place::kActivations, kLeastBlocks)) flip_bit(x, BitFlip::draw());
}

}  // namespace

bool Stack::recomputes() const noexcept {
  return kind_ == GradientCheckpointing::kFull || kind_ == GradientCheckpointing::kSqrt;
}

std::int64_t Stack::segment() const noexcept {
  if (kind_ != GradientCheckpointing::kSqrt) return 1;
  std::int64_t length = 1;
  while (length * length < layers()) ++length;
  return length;
}

at::Tensor Stack::forward(UnitWalk& walk, Tapes* tapes) const {
  at::Tensor x;
  walk.forward(embedding_.unit, [&](const ParameterSpan& p) {
    Tape tape;
    x = embedding_.block->forward(walk.pass(), p, {}, tape);
    pass_flip(x);
  });
  for (std::int64_t l = 0; l < layers(); ++l) {
    const Placed& layer = layers_[index(l)];
    walk.forward(layer.unit, [&](const ParameterSpan& p) {
      Tape tape;
      at::Tensor y = layer.block->forward(walk.pass(), p, x, tape);
      pass_flip(y);
      if (tapes != nullptr && recomputes()) {
        tape = Tape{};
        if (l % segment() == 0) tape.input = x;
      }
      if (tapes != nullptr) tapes->push_back(std::move(tape));
      x = std::move(y);
    });
  }
  return x;
}

void Stack::restore(UnitWalk& walk, std::int64_t last, Tapes& tapes) const {
  for (std::int64_t l = last / segment() * segment(); l < last; ++l) {
    walk.forward(layers_[index(l)].unit, [&](const ParameterSpan& p) {
      Tape again;
      tapes[index(l + 1)].input =
          layers_[index(l)].block->forward(walk.pass(), p, tapes[index(l)].input, again);
    });
  }
}

void Stack::backward(UnitWalk& walk, at::Tensor g_MD, Tapes& tapes) const {
  for (std::int64_t l = layers() - 1; l >= 0; --l) {
    const bool enters_segment = l + 1 == layers() || (l + 1) % segment() == 0;
    if (enters_segment) restore(walk, l, tapes);
    const Placed& layer = layers_[index(l)];
    walk.backward(layer.unit, [&](const ParameterSpan& p) {
      Tape& tape = tapes.back();
      if (recomputes()) (void)layer.block->forward(walk.pass(), {p.values, {}}, tape.input, tape);
      g_MD = layer.block->backward(walk.pass(), p, g_MD, tape);
      tapes.pop_back();
    });
  }
  walk.backward(embedding_.unit, [&](const ParameterSpan& p) {
    (void)embedding_.block->backward(walk.pass(), p, g_MD, {});
  });
}

void Stack::prepare(UnitWalk& walk, const DecodingRows* rows,
                    std::vector<LayerCache>& caches) const {
  for (std::int64_t l = 0; l < layers(); ++l) {
    walk.forward(layers_[index(l)].unit, [&](const ParameterSpan& p) {
      layers_[index(l)].block->prepare(*rows, p, caches[index(l)]);
    });
  }
}

at::Tensor Stack::step(UnitWalk& walk, const DecodingRows* rows,
                       std::vector<LayerCache>& caches) const {
  at::Tensor x;
  walk.forward(embedding_.unit, [&](const ParameterSpan& p) {
    LayerCache none;
    x = embedding_.block->step(*rows, p, {}, none);
  });
  for (std::int64_t l = 0; l < layers(); ++l) {
    walk.forward(layers_[index(l)].unit, [&](const ParameterSpan& p) {
      x = layers_[index(l)].block->step(*rows, p, x, caches[index(l)]);
    });
  }
  return x;
}

double Stack::training_products(const PassSizes& sizes) const {
  double forward = 0;
  for (const Placed& layer : layers_) forward += layer.block->products(sizes);
  double passes = 3;  // forward, and twice as much backward
  if (kind_ == GradientCheckpointing::kFull) passes = 4;
  if (kind_ == GradientCheckpointing::kSqrt) passes = 5;
  return passes * forward;
}

}  // namespace th::model
