#pragma once

#include <memory>

#include "th/model/blocks/transformer.hpp"

namespace th::model {

/// A rank that has nothing to decode beside others that have: opens and closes the units that
/// IncrementalDecoder does, in the same order, and computes nothing, so that it joins the others'
/// gathers. The units are those of the model alone, whatever a batch holds; how many steps come is
/// the batches' affair, and for the ranks to agree.
class IdleDecoding {
 public:
  /// As the beginning of a batch does: encoder and cross attention; a unit that embeddings or the
  /// output share stays open until the destructor.
  IdleDecoding(const Transformer& model, ParameterSource& source);
  ~IdleDecoding();
  IdleDecoding(const IdleDecoding&) = delete;
  IdleDecoding& operator=(const IdleDecoding&) = delete;

  /// As IncrementalDecoder::step() does. For a rank whose BatchSearch is done, too.
  static void step(const Transformer& model, ParameterSource& source);

 private:
  std::unique_ptr<UnitWalk> walk_;
};

}  // namespace th::model
