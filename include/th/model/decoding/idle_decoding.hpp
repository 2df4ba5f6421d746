#pragma once

#include <memory>

#include "th/model/blocks/transformer.hpp"

namespace th::model {

/// The decoding of a rank that has nothing to decode while others have. It opens and closes the
/// same units as IncrementalDecoder, in the same order, and computes nothing, so that it takes part
/// in the others' gathers. The units depend on the model alone. The number of steps depends on the
/// batches, so the ranks must agree on it.
class IdleDecoding {
 public:
  /// Takes the walk of a batch's beginning: encoder and cross attention. A unit that embeddings or
  /// the output share stays open until the destructor.
  IdleDecoding(const Transformer& model, ParameterSource& source);
  ~IdleDecoding();
  IdleDecoding(const IdleDecoding&) = delete;
  IdleDecoding& operator=(const IdleDecoding&) = delete;

  /// Takes the walk of IncrementalDecoder::step(). A rank whose BatchSearch is done uses it too.
  static void step(const Transformer& model, ParameterSource& source);

 private:
  std::unique_ptr<UnitWalk> walk_;
};

}  // namespace th::model
