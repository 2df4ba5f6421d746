#pragma once

#include "cuda/kernels/flat/elementwise.hpp"
#include "cuda/kernels/host_lanes.hpp"
#include "gpu/kernels/cpu_reference.hpp"

#include <limits>

namespace th::reference {

/// The records of a step of two units of 1500 and 300 blocks and five slots, as `ranks` ranks leave
/// them; `bad`: a block of the first unit with an element, its 17th, that is not finite, or -1.
class StepOfRecords {
 public:
  static constexpr std::int64_t kBad = 17;

  StepOfRecords(std::int64_t ranks, std::int64_t bad) : ranks_(ranks) {
    for (const std::int64_t content : {1500, 300}) {
      const std::int64_t blocks = (content + ranks - 1) / ranks;
      std::vector<float> gradient =
          random_values(content * cuda::kNormBlock, static_cast<unsigned>(content), 1);
      if (content == 1500 && bad >= 0)
        gradient[static_cast<std::size_t>(bad * cuda::kNormBlock + kBad)] =
            std::numeric_limits<float>::infinity();
      gradient.resize(static_cast<std::size_t>(ranks * blocks *
                                               cuda::kNormBlock));  // a unit's padding is zeros
      units_.push_back({shard_blocks_, blocks, nullptr});
      shard_blocks_ += blocks;
      gradients_.push_back(std::move(gradient));
    }
    const std::int64_t rounds = (kSlots + ranks - 1) / ranks;
    record_ = shard_blocks_ + rounds;
    records_.resize(static_cast<std::size_t>(record_ * ranks));
    for (std::int64_t r = 0; r < ranks; ++r) {
      for (std::size_t u = 0; u < units_.size(); ++u) {
        const float* shard = gradients_[u].data() + r * units_[u].blocks * cuda::kNormBlock;
        zero::block_square_sums(shard, units_[u].blocks,
                                records_.data() + r * record_ + units_[u].first);
        if (r == 0) units_[u].gradient = shard;
      }
    }
    for (std::int64_t s = 0; s < kSlots; ++s)
      records_[static_cast<std::size_t>(s % ranks * record_ + shard_blocks_ + s / ranks)] =
          1.0 / static_cast<double>(s + 3);
  }
  /// As rank 0 sees it, with host memory.
  [[nodiscard]] runtime::StepRecords step() const {
    runtime::StepRecords out;
    out.units = units_;
    out.records = records_.data();
    out.record = record_;
    out.losses = shard_blocks_;
    out.ranks = ranks_;
    out.dealing = {kSlots, out.ranks};
    out.clip = 0.5;
    out.loss_scale = 4;
    return out;
  }
  [[nodiscard]] const std::vector<double>& records() const { return records_; }
  [[nodiscard]] const std::vector<float>& gradient(std::size_t unit) const {
    return gradients_[unit];
  }

 private:
  static constexpr std::int64_t kSlots = 5;
  std::int64_t ranks_, shard_blocks_ = 0, record_ = 0;
  std::vector<runtime::StepRecords::Unit> units_;
  std::vector<std::vector<float>> gradients_;
  std::vector<double> records_;
};

/// What a GPU makes of them, strand by strand on the host.
inline runtime::StepOutcome end_of_step_in_strands(const runtime::StepRecords& s) {
  static double strands[cuda::kNormStrands];
  runtime::StepOutcome out;
  for (int t = 0; t < cuda::kNormStrands; ++t) {
    strands[t] = 0;
    for (std::int64_t u = 0; u < std::ssize(s.units); ++u) {
      const runtime::StepRecords::Unit& unit = s.units[static_cast<std::size_t>(u)];
      const std::int64_t bad = cuda::norm_strand(s, unit, t, strands[t]);
      if (bad < 0 || out.bad_unit >= 0) continue;  // one block is bad at most
      out.bad_unit = u;
      if (bad / unit.blocks == s.rank)
        out.bad_element = bad * cuda::kNormBlock + StepOfRecords::kBad;
    }
  }
  out.loss_sum = cuda::loss_total(s);
  conclude(out, cuda::join_lanes(strands), s.clip, s.loss_scale);
  return out;
}

}  // namespace th::reference
