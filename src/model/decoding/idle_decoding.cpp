#include "th/model/decoding/idle_decoding.hpp"

#include "model/blocks/output.hpp"
#include "model/blocks/stack.hpp"

#include <vector>

namespace th::model {

IdleDecoding::IdleDecoding(const Transformer& model, ParameterSource& source)
    : model_(model), source_(source) {
  UnitWalk walk(source, nullptr);
  if (model.shared_unit() >= 0) walk.hold_forward(model.shared_unit());
  (void)model.encoder().forward(walk, nullptr);
  std::vector<LayerCache> none;
  model.decoder().prepare(walk, nullptr, none);
}

IdleDecoding::~IdleDecoding() {
  if (model_.shared_unit() >= 0) source_.close_forward(model_.shared_unit());
}

void IdleDecoding::step(const Transformer& model, ParameterSource& source) {
  UnitWalk walk(source, nullptr);
  std::vector<LayerCache> none;
  (void)model.decoder().step(walk, nullptr, none);
  walk.forward(model.output_unit(), [](const ParameterSpan&) {});
}

}  // namespace th::model
