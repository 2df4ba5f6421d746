#include "th/model/decoding/idle_decoding.hpp"

#include "model/blocks/stack.hpp"

#include <vector>

namespace th::model {

IdleDecoding::IdleDecoding(const Transformer& model, ParameterSource& source)
    : walk_(std::make_unique<UnitWalk>(source, nullptr)) {
  model.encode(*walk_, nullptr);
  std::vector<LayerCache> none;
  model.decoder().prepare(*walk_, nullptr, none);
}

IdleDecoding::~IdleDecoding() { walk_->release_forward(); }

void IdleDecoding::step(const Transformer& model, ParameterSource& source) {
  UnitWalk walk(source, nullptr);
  std::vector<LayerCache> none;
  (void)model.step(walk, nullptr, none);
}

}  // namespace th::model
