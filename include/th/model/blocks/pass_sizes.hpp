#pragma once

namespace th::model {

/// The sizes of a micro-batch (or means over many) on which the cost of a block depends. Scores are
/// those of one head, summed over sentences.
struct PassSizes {
  double source_rows = 0, target_rows = 0;
  double memory_rows = 0;  ///< encoder states that cross attention sees
  double encoder_scores = 0, decoder_scores = 0, cross_scores = 0;
};

}  // namespace th::model
