#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "th/model/parameters/parameter_units.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/host_device.hpp"
#include "th/zero/whole_matrices.hpp"
#include "th/zero/whole_update.hpp"

// Tensors that are updated as a whole: which, who makes them whole, and where states lie then.
namespace th::zero {
namespace {

config::RunConfig make_config(config::OptimizerKind optimizer) {
  config::RunConfig c;
  c.model.d_model = 48;
  c.model.num_heads = 4;
  c.model.d_ff = 80;
  c.model.num_encoder_layers = c.model.num_decoder_layers = 2;
  c.optimizer.name = optimizer;
  return c;
}

FlatLayout layout_of(const config::RunConfig& c, std::int64_t ranks) {
  return {model::parameter_units(c.model, 31, 29).units, ranks};
}

TEST(WholeMatrices, OfMuonAreTheLayersMatricesInThirdsWhereThreeAreStacked) {
  const config::RunConfig c = make_config(config::OptimizerKind::kMuon);
  const FlatLayout layout = layout_of(c, 3);
  const auto all = whole_matrices(c, layout);
  std::int64_t elements = 0, wanted = 0;
  for (std::size_t u = 0; u < all.size(); ++u) {
    const std::string& name = layout.units()[u].name;
    const bool encoder = name.rfind("encoder", 0) == 0, decoder = name.rfind("decoder", 0) == 0;
    // Query, key, value and output of one attention or two, and the feed-forward's.
    EXPECT_EQ(all[u].size(), encoder ? 6U : decoder ? 10U : 0U) << name;
    for (const WholeMatrix& m : all[u]) {
      elements += m.count();
      EXPECT_TRUE(m.rows == 48 || m.columns == 48);
    }
  }
  for (const FlatLayout::Tensor& tensor : layout.tensors()) {
    const std::string& unit = layout.units()[static_cast<std::size_t>(tensor.unit)].name;
    if (unit.find("layers") != std::string::npos && tensor.spec.shape.size() == 2)
      wanted += tensor.count;
  }
  EXPECT_EQ(elements, wanted);
  EXPECT_TRUE(updates_whole_tensors(c));
  const config::RunConfig adam = make_config(config::OptimizerKind::kAdam);
  EXPECT_FALSE(updates_whole_tensors(adam));
  for (const auto& unit : whole_matrices(adam, layout)) EXPECT_TRUE(unit.empty());
}

TEST(WholeMatrices, OfAdafactorAreAllTensors) {
  const config::RunConfig c = make_config(config::OptimizerKind::kAdafactor);
  const FlatLayout layout = layout_of(c, 2);
  std::size_t matrices = 0;
  for (const auto& unit : whole_matrices(c, layout)) matrices += unit.size();
  EXPECT_EQ(matrices, layout.tensors().size());
}

TEST(WholeMatrices, AreDealtByCostWithinAUnit) {
  for (const auto optimizer : {config::OptimizerKind::kMuon, config::OptimizerKind::kAdafactor}) {
    const config::RunConfig c = make_config(optimizer);
    for (const std::int64_t ranks : {1, 2, 3, 8}) {
      for (const auto& unit : whole_matrices(c, layout_of(c, ranks))) {
        std::vector<double> loads(static_cast<std::size_t>(ranks), 0.0);
        double largest = 0;
        for (const WholeMatrix& m : unit) {
          ASSERT_TRUE(m.owner >= 0 && m.owner < ranks);
          loads[static_cast<std::size_t>(m.owner)] += whole_operations(c, m);
          largest = std::max(largest, whole_operations(c, m));
        }
        // Greedy by falling cost: nobody is above the mean by more than one matrix.
        const double mean =
            std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(ranks);
        EXPECT_LE(*std::max_element(loads.begin(), loads.end()), mean + largest);
      }
    }
  }
}

TEST(WholeMatrices, NewtonSchulzOnTheDefaultModelTakesAbout580BillionOperations) {
  config::RunConfig c = make_config(config::OptimizerKind::kMuon);
  c.model = config::ModelSection();
  double operations = 0;
  for (const auto& unit : whole_matrices(c, layout_of(c, 1))) {
    for (const WholeMatrix& m : unit) operations += whole_operations(c, m);
  }
  // 6 layers of 4 squares and 6 of 8, and twice 12 matrices of 512 x 2048: 5 iterations of
  // 2 (2 R C^2 + C^3).
  const double cube = 512.0 * 512 * 512;
  EXPECT_DOUBLE_EQ(operations, 5 * 2 * cube * (72 * 3 + 24 * 9));
  EXPECT_NEAR(operations, 580e9, 5e9);
  EXPECT_DOUBLE_EQ(update_operations(c, layout_of(c, 1)), operations);
  // Of two ranks each has half of a layer, as far as matrices of 3 and 9 cubes can be dealt so: 15
  // of an encoder's 30, 21 of a decoder's 42.
  EXPECT_DOUBLE_EQ(update_operations(c, layout_of(c, 2)), operations / 2);
}

/// Looks at where the own tensors lie.
class Places final : public WholeUpdate {
 public:
  Places(const config::RunConfig& config, const FlatLayout& layout, std::int64_t rank,
         StateStore& store)
      : WholeUpdate(config, layout, rank, store) {}
  void prepare(std::size_t, const StateStore::Slice&, float*) override {}
  void compute(std::int64_t unit) override {
    for_own(unit, [&](const WholeMatrix& matrix, std::int64_t before) {
      ++seen;
      for (std::size_t buffer = 0; buffer < traffic().buffers(); ++buffer) {
        const float* at = own(buffer) + before;
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 64, 0U);
        EXPECT_EQ(at[0], static_cast<float>(matrix.begin)) << "buffer " << buffer;
        EXPECT_EQ(at[matrix.count() - 1], static_cast<float>(matrix.begin + matrix.count() - 1));
      }
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(beside()) % 64, 0U);
    });
  }
  void apply(std::size_t, const StateStore::Slice&, std::span<const float* const>) override {}
  std::size_t seen = 0;
};

/// Products may round by the alignment of their operands, and who owns what depends on the ranks.
TEST(WholeMatrices, LieAtLinesOf64BytesWhateverTheDeal) {
  for (const auto optimizer : {config::OptimizerKind::kMuon, config::OptimizerKind::kAdafactor}) {
    const config::RunConfig c = make_config(optimizer);
    for (const std::int64_t ranks : {1, 2, 3}) {
      const std::string layer = "encoder.layers.0";
      const FlatLayout layout({{layer,
                                {{layer + ".linear1.weight", {33, 21}},
                                 {layer + ".norm.weight", {7}},
                                 {layer + ".linear2.weight", {21, 5}},
                                 {layer + ".self_attn.in_proj_weight", {63, 21}}}}},
                              ranks);
      const FlatLayout::Unit& unit = layout.units()[0];
      std::vector<float> whole(static_cast<std::size_t>(unit.padded));
      std::iota(whole.begin(), whole.end(), 0.0F);
      std::vector<const float*> shards;
      for (std::int64_t r = 0; r < ranks; ++r) shards.push_back(whole.data() + r * unit.shard);
      std::size_t seen = 0;
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        HostDevice host;
        StateStore store(host, layout, engine_buffers(c, layout, {{false}, {}}, ranks),
                         zero_policy(c));
        Places places(c, layout, rank, store);
        for (std::size_t buffer = 0; buffer < places.traffic().buffers(); ++buffer)
          places.take(buffer, 0, shards);
        places.compute(0);
        seen += places.seen;
      }
      EXPECT_EQ(seen, optimizer == config::OptimizerKind::kMuon ? 5U : 4U);
    }
  }
}

TEST(StateLayouts, EveryHeldElementHasAPlaceOfItsOwnAndNoOtherOne) {
  for (const auto optimizer : {config::OptimizerKind::kMuon, config::OptimizerKind::kAdafactor}) {
    config::RunConfig c = make_config(optimizer);
    c.train.ema_decay = 0.9;
    for (const std::int64_t ranks : {1, 3, 8}) {
      const FlatLayout layout = layout_of(c, ranks);
      const std::vector<StateLayout> states = state_layouts(c, layout);
      EXPECT_TRUE(states.back().dense()) << "the average has every element";
      for (std::size_t s = 0; s + 1 < states.size(); ++s) {
        std::int64_t held = 0;
        for (std::int64_t r = 0; r < ranks; ++r) {
          std::set<std::int64_t> places;
          for (std::int64_t u = 0; u < std::ssize(layout.units()); ++u) {
            const std::int64_t shard = layout.units()[static_cast<std::size_t>(u)].shard;
            states[s].for_runs(u, r * shard, shard, [&](std::int64_t begin, std::int64_t count) {
              for (std::int64_t at = begin; at < begin + count; ++at, ++held) {
                const std::int64_t place = states[s].offset(u, at, r * shard);
                ASSERT_TRUE(place >= 0 && place < states[s].elements());
                ASSERT_TRUE(places.insert(place).second) << "two elements at " << place;
                EXPECT_EQ(place, states[s].offset(u, begin, r * shard) + at - begin);
              }
            });
          }
        }
        if (ranks == 1) {
          EXPECT_LE(states[s].elements() - held, std::ssize(layout.units()));
        }
      }
      if (optimizer == config::OptimizerKind::kAdafactor && ranks == 1) {
        EXPECT_LT(states[0].elements(), layout.parameter_count() / 5);
      }
      if (optimizer == config::OptimizerKind::kMuon && ranks == 1) {
        EXPECT_LE(states[0].elements() + states[2].elements(),
                  layout.padded_total() + 2 * std::ssize(layout.units()));
        EXPECT_EQ(states[0].elements(), states[1].elements());
      }
    }
  }
}

TEST(StateLayouts, OfOtherOptimizersLieAsTheParameters) {
  for (const std::int64_t stage : {0, 1}) {
    config::RunConfig c = make_config(config::OptimizerKind::kAdam);
    c.zero.stage = stage;
    const FlatLayout layout = layout_of(c, 3);
    const std::vector<StateLayout> states = state_layouts(c, layout);
    ASSERT_EQ(states.size(), 2U);
    EXPECT_TRUE(states[0].dense());
    EXPECT_EQ(states[0].elements(), stage == 0 ? layout.padded_total() : layout.shard_total());
  }
}

}  // namespace
}  // namespace th::zero
