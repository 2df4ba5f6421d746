#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <set>

#include "th/base/slot_dealing.hpp"

namespace th {
namespace {

using Exchange = SlotDealing::Exchange;

/// Calls `check` with both dealings of up to 70 slots to up to 9 ranks.
template <typename Check>
void for_each_dealing(const Check& check) {
  for (std::int64_t ranks = 1; ranks <= 9; ++ranks) {
    for (std::int64_t slots = ranks; slots <= 70; ++slots) {
      for (const bool blocks : {false, true}) {
        SCOPED_TRACE(std::to_string(slots) + " slots, " + std::to_string(ranks) + " ranks, " +
                     (blocks ? "blocks" : "rounds"));
        check(SlotDealing{slots, ranks, blocks});
      }
    }
  }
}

TEST(SlotDealing, EverySlotIsComputedOnceAndFoundWhereItIs) {
  for_each_dealing([](const SlotDealing& d) {
    std::set<std::int64_t> seen;
    for (std::int64_t rank = 0; rank < d.ranks; ++rank) {
      std::int64_t before = -1, mine = 0;
      for (std::int64_t pass = 0; pass < d.passes(); ++pass) {
        const std::int64_t slot = d.slot(rank, pass);
        if (slot < 0) continue;
        ++mine;
        EXPECT_LT(before, slot) << "a rank's slots rise";
        before = slot;
        EXPECT_TRUE(seen.insert(slot).second) << "slot " << slot;
        EXPECT_EQ(d.place(slot), (SlotDealing::Place{rank, pass}));
      }
      EXPECT_EQ(mine, d.slots / d.ranks + (rank < d.slots % d.ranks ? 1 : 0));
    }
    EXPECT_EQ(std::ssize(seen), d.slots);
    EXPECT_EQ(*seen.rbegin(), d.slots - 1);
  });
}

TEST(SlotDealing, ExchangesTakeAllSlotsInTheirOrderAndWholeSubtrees) {
  for_each_dealing([](const SlotDealing& d) {
    std::int64_t pass = 0, slot = 0;
    const std::vector<Exchange> exchanges = d.exchanges();
    const std::vector<std::int64_t> ends = d.ends();
    ASSERT_EQ(ends.size(), exchanges.size());
    for (std::size_t i = 0; i < exchanges.size(); ++i) {
      const Exchange& one = exchanges[i];
      EXPECT_EQ(one.first_pass, pass);
      EXPECT_EQ(one.first_slot, slot);
      EXPECT_TRUE(std::has_single_bit(static_cast<std::uint64_t>(one.each)));
      EXPECT_EQ(one.first_slot % one.each, 0);
      for (; pass <= one.last_pass(); ++pass) EXPECT_EQ(d.exchange_of(pass), one);
      slot = ends[i];
      EXPECT_EQ(slot, one.first_slot + one.each * d.present(one));
    }
    EXPECT_EQ(pass, d.passes());
    EXPECT_EQ(slot, d.slots);
  });
}

TEST(SlotDealing, BlocksAreAsManyExchangesAsTheSlotsOfARankHaveBits) {
  for_each_dealing([](const SlotDealing& d) {
    const std::int64_t left = d.slots % d.ranks > 0 ? 1 : 0;
    const auto of_all = static_cast<std::uint64_t>(d.slots / d.ranks);
    EXPECT_EQ(std::ssize(d.exchanges()),
              left + (d.blocks ? std::popcount(of_all) : static_cast<std::int64_t>(of_all)));
  });
  EXPECT_EQ((SlotDealing{8, 2, true}.exchanges()), (std::vector<Exchange>{{0, 0, 4}}));
  EXPECT_EQ((SlotDealing{16, 3, true}.exchanges()),
            (std::vector<Exchange>{{0, 0, 4}, {4, 12, 1}, {5, 15, 1}}));
}

}  // namespace
}  // namespace th
