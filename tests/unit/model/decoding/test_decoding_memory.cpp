// What decoding takes by its plan, under local rules too.
#include <gtest/gtest.h>

#include "th/model/decoding/decoding.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/model/products/gemm.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "unit/model/small_model.hpp"

#include <ATen/Parallel.h>

#include <numeric>

namespace th::model {
namespace {

using test::make_batch;
using test::RecordingSource;

/// One thread, because the encoder's attention has room for each.
class DecodingMemory : public testing::Test {
 protected:
  DecodingMemory() { at::set_num_threads(1); }
  ~DecodingMemory() override { at::set_num_threads(threads_); }

 private:
  int threads_ = at::get_num_threads();
};

TransformerSpec local_spec() {
  TransformerSpec spec{test::small_section(), test::kVocabulary, test::kVocabulary,
                       test::kMaxLength};
  config::ModelSection& m = spec.model;
  m.encoder_attention = m.decoder_attention = m.cross_attention = config::Attention::kLocal;
  m.attention_window = 2;
  return spec;
}

/// Bytes at the peak of decoding so many steps, by the plan.
std::int64_t planned_bytes(const TransformerSpec& spec, std::int64_t steps) {
  Transformer model(spec, GemmLibrary::kOnednn, Arithmetic::kShapesOnly);
  RecordingSource source(model);
  data::Batch batch = make_batch({300}, {1});
  batch.target_length = steps;
  observe_torch_memory();
  runtime::MemoryLedger ledger;
  const runtime::PlanningScope planning(ledger);
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  ledger.restart();
  plan_decoding(model, source, batch, {.beam = 2});
  return ledger.at_peak().total();
}

TEST_F(DecodingMemory, TheCacheForgetsWhatNoQuerySees) {
  TransformerSpec spec = local_spec();
  spec.max_length = 3000;
  EXPECT_EQ(planned_bytes(spec, 500), planned_bytes(spec, 2500));
  const std::int64_t local = planned_bytes(spec, 500);
  spec.model.cross_attention = spec.model.decoder_attention = config::Attention::kFull;
  // Of two rows keys and values, their places in both tables of rows, and of one row's attention a
  // score of each head and an address.
  const std::int64_t step = spec.model.num_decoder_layers * 2 * 2 * spec.model.d_model * 4 +
                            2 * 2 * 4 + spec.model.num_heads * 4 + 8;
  // The encoder's attention takes up to 600 steps' bytes for itself, before there is a cache.
  EXPECT_EQ(planned_bytes(spec, 2500) - planned_bytes(spec, 1500), 1000 * step);
  EXPECT_LT(local, planned_bytes(spec, 1500) - 400 * step);
}

/// Bytes at the peak of decoding so many steps, taken one by one without data.
std::int64_t bytes_of_steps(const TransformerSpec& spec, const data::Batch& batch,
                            std::int64_t steps, bool by_plan) {
  Transformer model(spec, GemmLibrary::kOnednn, Arithmetic::kShapesOnly);
  RecordingSource source(model);
  observe_torch_memory();
  runtime::MemoryLedger ledger;
  const runtime::PlanningScope planning(ledger);
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  ledger.restart();
  if (by_plan) {
    plan_decoding(model, source, batch, {.beam = 1});
  } else {
    IncrementalDecoder decoder(model, source, batch, 1, steps + 1);
    std::vector<std::int64_t> parents(static_cast<std::size_t>(batch.sentences));
    std::iota(parents.begin(), parents.end(), 0);
    for (std::int64_t step = 0; step <= steps; ++step)
      (void)decoder.step(std::vector<std::int32_t>(parents.size(), data::kBegin), parents);
  }
  return ledger.at_peak().total();
}

/// Of 20 source positions a target position, the first step sees 9 and the second 17.
TEST_F(DecodingMemory, ThePlanKnowsTheStepThatMakesMostKeys) {
  TransformerSpec spec = local_spec();
  spec.model.attention_window = 8;
  spec.model.cross_downsample = 1;
  spec.model.num_decoder_layers = 8;
  spec.model.d_ff = 16;
  spec.max_length = 300;
  for (const double ratio : {1.0, 20.0}) {
    spec.source_per_target = ratio;
    // So many that the steps take more than the encoder's attention.
    data::Batch batch =
        make_batch(std::vector<std::int32_t>(120, 40), std::vector<std::int32_t>(120, 1));
    batch.target_length = 12;
    const std::int64_t planned = bytes_of_steps(spec, batch, 12, true);
    EXPECT_EQ(planned, bytes_of_steps(spec, batch, 12, false)) << "ratio " << ratio;
    if (ratio > 1) {
      spec.source_per_target = 1;
      EXPECT_GT(planned, bytes_of_steps(spec, batch, 12, true)) << "the keys are the peak";
    }
  }
}

/// Bytes at the peak of a product of so many rows, by the plan.
std::int64_t product_bytes(at::ScalarType type, std::int64_t rows) {
  const Gemm gemm = Gemm(GemmLibrary::kOnednn, Arithmetic::kShapesOnly).rowwise();
  observe_torch_memory();
  runtime::MemoryLedger ledger;
  const runtime::PlanningScope planning(ledger);
  const at::TensorOptions options = at::TensorOptions().dtype(type);
  ledger.restart();
  const at::Tensor x = model::empty({rows, 24}, options);
  (void)gemm.forward(x, model::empty({100, 24}, options), model::empty({100}, options));
  return ledger.at_peak().total();
}

/// So a plan of all rows holds while they become fewer.
TEST_F(DecodingMemory, FewerRowsOfAProductNeverTakeMore) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    std::int64_t before = 0;
    for (std::int64_t rows = 1; rows <= 70; ++rows) {
      const std::int64_t bytes = product_bytes(type, rows);
      EXPECT_GT(bytes, before) << rows << " rows of " << type;
      before = bytes;
    }
  }
}

}  // namespace
}  // namespace th::model
