#pragma once

namespace th::model {

/// Sizes of a micro-batch, in the mean where it stands for many: what the cost of a block depends
/// on. Scores are those of one head, summed over sentences.
struct PassSizes {
  double source_rows = 0, target_rows = 0;
  double memory_rows = 0;  ///< encoder states that cross attention sees
  double encoder_scores = 0, decoder_scores = 0, cross_scores = 0;
};

}  // namespace th::model
