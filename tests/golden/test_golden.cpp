// Forward, backward and ten optimizer steps against PyTorch's numbers, fp32, dropout 0. See
// README.md here for how they were made.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "buffer_source.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/zero/engine/engine.hpp"

namespace {

using nlohmann::json;

th::data::Batch read_batch(const json& j) {
  th::data::Batch b;
  const auto source = j.at("source").get<std::vector<std::vector<std::int64_t>>>();
  const auto in = j.at("target_in").get<std::vector<std::vector<std::int64_t>>>();
  const auto out = j.at("target_out").get<std::vector<std::vector<std::int64_t>>>();
  const auto real = [](const std::vector<std::int64_t>& row) {
    std::vector<std::int32_t> ids(row.begin(), row.end());
    std::erase(ids, 0);
    return ids;
  };
  for (std::size_t i = 0; i < source.size(); ++i) {
    std::vector<std::int32_t> target = real(in[i]);
    target.push_back(real(out[i]).back());
    b.append(real(source[i]), target);
  }
  return b;
}

th::config::RunConfig read_config(const json& j) {
  th::config::RunConfig c;
  c.model.d_model = j.at("d_model");
  c.model.num_heads = j.at("num_heads");
  c.model.num_encoder_layers = j.at("num_encoder_layers");
  c.model.num_decoder_layers = j.at("num_decoder_layers");
  c.model.d_ff = j.at("d_ff");
  c.model.dropout = 0;
  c.model.norm = j.at("norm") == "pre" ? th::config::Norm::kPre : th::config::Norm::kPost;
  c.model.tie_embeddings =
      j.at("tie_embeddings").get<bool>() ? th::config::Tying::kAll : th::config::Tying::kNone;
  c.optimizer.beta1 = j.at("beta1");
  c.optimizer.beta2 = j.at("beta2");
  c.optimizer.eps = j.at("eps");
  c.train.gradient_clip = j.at("gradient_clip");
  return c;
}

class Golden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::ifstream in(std::string(TH_GOLDEN_DIR) + "/golden_" + GetParam() + ".json");
    ASSERT_TRUE(in) << "the golden numbers are missing";
    golden_ = json::parse(in);
    config_ = read_config(golden_.at("config"));
    batch_ = read_batch(golden_.at("batch"));
    model_ = std::make_unique<th::model::Transformer>(
        th::model::TransformerSpec{
            config_.model, golden_.at("config").at("source_vocabulary").get<std::int64_t>(),
            golden_.at("config").at("target_vocabulary").get<std::int64_t>(), 64},
        th::model::resolve_gemm(th_test::g_gemm));
  }
  void fill(th_test::BufferSource& source, const th::zero::FlatLayout& layout) {
    for (const auto& t : layout.tensors()) {
      const auto values =
          golden_.at("parameters").at(t.spec.name).at("data").get<std::vector<float>>();
      ASSERT_EQ(std::ssize(values), t.count) << t.spec.name;
      std::copy(values.begin(), values.end(), source.tensor(t.spec.name).first.data_ptr<float>());
    }
  }
  json golden_;
  th::config::RunConfig config_;
  th::data::Batch batch_;
  std::unique_ptr<th::model::Transformer> model_;
};

TEST_P(Golden, LogitsAgreeAtRealPositions) {
  const th::zero::FlatLayout layout(model_->units(), 1);
  th_test::BufferSource source(layout);
  fill(source, layout);
  const at::Tensor logits = model_->logits(source, batch_);
  const auto expected = golden_.at("logits").get<std::vector<float>>();
  const auto vocabulary = static_cast<std::size_t>(logits.size(1));
  float largest = 0;
  const float* row = logits.data_ptr<float>();
  for (std::size_t b = 0; b < batch_.target_lengths.size(); ++b) {
    for (std::int64_t t = 0; t < batch_.target_lengths[b]; ++t, row += vocabulary) {
      const float* want = expected.data() + (b * static_cast<std::size_t>(batch_.target_length) +
                                             static_cast<std::size_t>(t)) *
                                                vocabulary;  // padded
      for (std::size_t v = 0; v < vocabulary; ++v)
        largest = std::max(largest, std::abs(row[v] - want[v]));
    }
  }
  EXPECT_EQ(row, logits.data_ptr<float>() + logits.numel());
  EXPECT_LT(largest, 1e-5F);
}

TEST_P(Golden, EveryGradientAgrees) {
  const th::zero::FlatLayout layout(model_->units(), 1);
  th_test::BufferSource source(layout);
  fill(source, layout);
  const th::model::LossSum sum = model_->train_slot(
      source, batch_, {.gradient_scale = 1.0 / static_cast<double>(batch_.target_tokens)});
  EXPECT_NEAR(sum.loss_sum / static_cast<double>(sum.tokens), golden_.at("loss").get<double>(),
              1e-5);
  for (const auto& t : layout.tensors()) {
    const auto expected = golden_.at("gradients").at(t.spec.name).get<std::vector<float>>();
    const at::Tensor gradient = source.tensor(t.spec.name).second;
    const float* got = gradient.data_ptr<float>();
    float scale = 0;
    for (const float g : expected) scale = std::max(scale, std::abs(g));
    const bool packed_bias = t.spec.name.find("in_proj_bias") != std::string::npos;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      // Its true gradient is 0.
      const bool key_bias = packed_bias && i / (expected.size() / 3) == 1;
      ASSERT_LE(std::abs(got[i] - expected[i]), key_bias ? 1e-5F : 1e-5F * scale)
          << t.spec.name << "[" << i << "] " << got[i] << " " << expected[i];
    }
  }
}

TEST_P(Golden, SmoothedLossAgrees) {
  const th::zero::FlatLayout layout(model_->units(), 1);
  th_test::BufferSource source(layout);
  fill(source, layout);
  const th::model::LossSum sum = model_->train_slot(
      source, batch_,
      {.label_smoothing = golden_.at("config").at("label_smoothing").get<double>()});
  EXPECT_NEAR(sum.loss_sum / static_cast<double>(sum.tokens),
              golden_.at("loss_smoothed").get<double>(), 1e-5);
}

TEST_P(Golden, TenStepsOfAdamAgreeAtEveryStage) {
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_SELF);
    config_.zero.stage = stage;
    th::zero::ZeroEngine engine(config_, *model_, *collectives, 1);
    std::vector<float> shard(static_cast<std::size_t>(engine.layout().shard_total()), 0.0F);
    for (const auto& piece : engine.layout().pieces(0)) {
      const auto values =
          golden_.at("parameters")
              .at(engine.layout().tensors()[static_cast<std::size_t>(piece.tensor)].spec.name)
              .at("data")
              .get<std::vector<float>>();
      std::copy(values.begin() + piece.tensor_begin,
                values.begin() + piece.tensor_begin + piece.count,
                shard.begin() + piece.shard_offset);
    }
    engine.states().write(th::zero::State::kParameters, shard);
    for (std::int64_t step = 1; step <= 10; ++step) {
      engine.begin_step();
      engine.accumulate(*model_, &batch_, 0, 1.0 / static_cast<double>(batch_.target_tokens), 0.0);
      const auto result = engine.step({golden_.at("config").at("lr").get<double>(), step});
      const auto at = static_cast<std::size_t>(step - 1);
      EXPECT_NEAR(result.loss_sum / static_cast<double>(batch_.target_tokens),
                  golden_.at("losses").at(at).get<double>(), 1e-5)
          << "step " << step;
      EXPECT_NEAR(result.grad_norm, golden_.at("grad_norms").at(at).get<double>(),
                  1e-4 * golden_.at("grad_norms").at(at).get<double>())
          << "step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Golden, testing::Values("pre", "post", "tied"),
                         [](const auto& p) { return std::string(p.param); });

}  // namespace

int main(int argc, char** argv) {
  th::runtime::MpiSession session(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1 && std::string(argv[1]) == "mkl") th_test::g_gemm = th::config::Gemm::kMkl;
  return RUN_ALL_TESTS();
}
