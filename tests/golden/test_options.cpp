// Each option of the model against PyTorch's numbers in fp64, dropout 0: loss, logits and every
// gradient, of sentences of 1, 7, 64 and 300 ids. make_options.py made them.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "buffer_source.hpp"
#include "th/base/hash.hpp"
#include "th/config/schema.hpp"
#include "th/model/blocks/transformer.hpp"

namespace {

using nlohmann::json;

constexpr std::int64_t kPositions = 300;

json read_golden() {
  std::ifstream in(std::string(TH_GOLDEN_DIR) + "/golden_options.json");
  return in ? json::parse(in) : json();
}

/// The random words that belong to a text, as make_options.py draws them.
class Words {
 public:
  explicit Words(const std::string& text) {
    for (const char c : text) key_ = th::mix64(key_ ^ static_cast<unsigned char>(c));
  }
  [[nodiscard]] std::uint64_t at(std::size_t i) const { return th::mix64(key_ + i); }

 private:
  std::uint64_t key_ = 0;
};

std::vector<std::int32_t> sentence(const std::string& side, std::size_t number, std::int64_t length,
                                   std::int64_t vocabulary) {
  const Words words(side + std::to_string(number));
  std::vector<std::int32_t> ids;
  for (std::size_t t = 0; t < static_cast<std::size_t>(length); ++t)
    ids.push_back(
        4 + static_cast<std::int32_t>(words.at(t) % static_cast<std::uint64_t>(vocabulary - 4)));
  return ids;
}

void fill(const std::string& name, const at::Tensor& tensor) {
  const Words words(name);
  const bool norm = name.find("norm") != std::string::npos && name.ends_with("weight");
  for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.numel()); ++i) {
    const double share = static_cast<double>(words.at(i) >> 40) * 0x1.0p-24;
    tensor.data_ptr<float>()[i] = static_cast<float>((share - 0.5) * 0.34 + (norm ? 1.0 : 0.0));
  }
}

/// Elements to 1e-5 of the largest, and two sums of all of them with random signs to what such
/// errors add up to.
void expect_agrees(const std::string& name, const at::Tensor& tensor, const json& golden) {
  const auto count = static_cast<std::size_t>(tensor.numel());
  ASSERT_EQ(count, golden.at("count").get<std::size_t>()) << name;
  const float* got = tensor.data_ptr<float>();
  const double tolerance = 1e-5 * golden.at("largest").get<double>();
  const auto elements = golden.at("elements").get<std::vector<double>>();
  const Words places("places of " + name);
  for (std::size_t i = 0; i < elements.size(); ++i)
    EXPECT_NEAR(got[places.at(i) % count], elements[i], tolerance) << name;
  const auto sums = golden.at("sums").get<std::vector<double>>();
  for (std::size_t which = 0; which < sums.size(); ++which) {
    const Words signs("signs " + std::to_string(which) + " of " + name);
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i)
      sum += (signs.at(i) & 1) != 0 ? static_cast<double>(got[i]) : -static_cast<double>(got[i]);
    EXPECT_NEAR(sum, sums[which], tolerance * std::sqrt(static_cast<double>(count))) << name;
  }
  float largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(got[i]));
  EXPECT_NEAR(largest, golden.at("largest").get<double>(), tolerance) << name;
}

class Options : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = read_golden();
    ASSERT_FALSE(golden_.is_null()) << "the golden numbers are missing";
    case_ = golden_.at("cases").at(GetParam());
    th::config::RunConfig config;
    config.model.d_model = 16;
    config.model.num_heads = 4;
    config.model.num_encoder_layers = 2;
    config.model.num_decoder_layers = 1;
    config.model.d_ff = 32;
    config.model.dropout = 0;
    for (const auto& [key, value] : case_.at("keys").items())
      ASSERT_TRUE(th::config::find_key(key)->set(config, value.get<std::string>())) << key;
    const bool joint = th::config::joint_vocabulary(config.model);
    const std::int64_t source = 23, target = joint ? 23 : 29;
    model_ = std::make_unique<th::model::Transformer>(
        th::model::TransformerSpec{config.model, source, target, kPositions},
        th::model::resolve_gemm(th_test::g_gemm));
    layout_ = std::make_unique<th::zero::FlatLayout>(model_->units(), 1);
    source_ = std::make_unique<th_test::BufferSource>(*layout_);
    for (const auto& t : layout_->tensors()) fill(t.spec.name, source_->tensor(t.spec.name).first);
    const auto lengths = [&](const char* key) {
      return golden_.at(key).get<std::vector<std::int64_t>>();
    };
    for (std::size_t i = 0; i < lengths("source_lengths").size(); ++i) {
      std::vector<std::int32_t> ids =
          sentence("source", i, lengths("source_lengths")[i] - 1, source);
      ids.push_back(th::data::kEnd);
      std::vector<std::int32_t> words =
          sentence("target", i, lengths("target_lengths")[i] - 1, target);
      words.insert(words.begin(), th::data::kBegin);
      words.push_back(th::data::kEnd);
      batch_.append(ids, words);
    }
  }

  json golden_, case_;
  th::data::Batch batch_;
  std::unique_ptr<th::model::Transformer> model_;
  std::unique_ptr<th::zero::FlatLayout> layout_;
  std::unique_ptr<th_test::BufferSource> source_;
};

TEST_P(Options, LogitsAgree) {
  expect_agrees("logits", model_->logits(*source_, batch_), case_.at("logits"));
}

TEST_P(Options, LossAndEveryGradientAgree) {
  const th::model::LossSum sum = model_->train_slot(
      *source_, batch_, {.gradient_scale = 1.0 / static_cast<double>(batch_.target_tokens)});
  EXPECT_NEAR(sum.loss_sum / static_cast<double>(sum.tokens), case_.at("loss").get<double>(), 1e-5);
  EXPECT_EQ(layout_->tensors().size(), case_.at("gradients").size());
  for (const auto& t : layout_->tensors()) {
    ASSERT_TRUE(case_.at("gradients").contains(t.spec.name)) << t.spec.name;
    expect_agrees(t.spec.name, source_->tensor(t.spec.name).second,
                  case_.at("gradients").at(t.spec.name));
  }
}

std::vector<std::string> cases() {
  std::vector<std::string> names;
  const json golden = read_golden();
  if (!golden.is_null()) {
    for (const auto& [name, value] : golden.at("cases").items()) names.push_back(name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Options, testing::ValuesIn(cases()),
                         [](const auto& p) { return p.param; });

TEST(OptionCases, AreInTheFile) { EXPECT_GE(cases().size(), 24U); }

}  // namespace
