#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/train/audit/audit.hpp"
#include "train/audit/verdict.hpp"

namespace th::train {
namespace {

const AuditNames kNames{{"rank 0 (a, cpu)", "rank 1 (b, cpu)", "rank 2 (c, cpu)"},
                        {"one", "two", "three"}};

/// Hashes of a slot, of three units and three owners; `unit` has another gradient, which goes to
/// owner 1.
zero::SlotHashes hashes(int unit = -1, std::uint64_t loss = 7) {
  zero::SlotHashes out{loss, {10, 11, 12, 20, 21, 22}};
  if (unit >= 0) {
    out.gradients[static_cast<std::size_t>(unit)] += 100;
    out.gradients[4] += 100;
  }
  return out;
}

/// Reports of three ranks that agree: rank 0 has the slot, rank 1 computed it again.
std::vector<AuditReport> reports() {
  std::vector<AuditReport> out(3);
  out[0].computed = out[1].again = hashes();
  for (std::size_t r = 0; r < 3; ++r) {
    out[r].arrived = 20 + r;
    out[r].parameters = {1, 2, 3};
  }
  return out;
}

TEST(AuditVerdict, IsEmptyWhereAllAgree) {
  const std::vector<AuditReport> all = reports();
  EXPECT_EQ(verdict_on_copies(all, kNames), "");
  EXPECT_EQ(verdict_on_slot(all, 0, 1, -1, kNames), "");
  EXPECT_EQ(verdict_on_messages(all, 0, kNames), "");
}

TEST(AuditVerdict, AThirdRankDecidesBetweenTwo) {
  std::vector<AuditReport> all = reports();
  all[1].again = hashes(2);
  all[2].again = hashes();
  EXPECT_EQ(verdict_on_slot(all, 0, 1, 2, kNames),
            "rank 1 (b, cpu) computed another gradient than rank 0 (a, cpu) and rank 2 (c, cpu), "
            "in three");
  all[0].computed = hashes(0);
  all[1].again = hashes();
  EXPECT_EQ(verdict_on_slot(all, 0, 1, 2, kNames),
            "rank 0 (a, cpu) computed another gradient than rank 1 (b, cpu) and rank 2 (c, cpu), "
            "in one");
  all[1].again = hashes(1);
  EXPECT_EQ(verdict_on_slot(all, 0, 1, 2, kNames),
            "rank 0 (a, cpu), rank 1 (b, cpu) and rank 2 (c, cpu) computed three gradients, in 2 "
            "of 3 units, the first of them one");
  all[0].computed = hashes(-1, 8);
  all[1].again = hashes();
  EXPECT_EQ(verdict_on_slot(all, 0, 1, 2, kNames),
            "rank 0 (a, cpu) computed another loss than rank 1 (b, cpu) and rank 2 (c, cpu)");
}

TEST(AuditVerdict, NamesBothWhereThereIsNoThird) {
  std::vector<AuditReport> all = reports();
  all.pop_back();
  all[1].again = hashes(2);
  EXPECT_EQ(verdict_on_slot(all, 0, 1, -1, kNames),
            "rank 0 (a, cpu) and rank 1 (b, cpu) computed two gradients, in three; one of the two "
            "is wrong");
  all[0].again = hashes(2);
  EXPECT_EQ(verdict_on_slot(all, 0, 0, -1, kNames),
            "rank 0 (a, cpu) computed two gradients of it, in three");
}

TEST(AuditVerdict, NamesTheSenderOfWhatArrivedChanged) {
  std::vector<AuditReport> all = reports();
  all[2].arrived = 5;
  EXPECT_EQ(verdict_on_messages(all, 0, kNames),
            "rank 0 (a, cpu) made a gradient that arrived changed at rank 2 (c, cpu)");
}

TEST(AuditVerdict, NamesCopiesThatAreUnlikeTheMost) {
  std::vector<AuditReport> all = reports();
  all[1].parameters = {1, 9, 3};
  EXPECT_EQ(verdict_on_copies(all, kNames),
            "rank 1 (b, cpu) holds other parameters than rank 0 (a, cpu) and rank 2 (c, cpu), in "
            "two");
  all[2].parameters.clear();  // it has no copy of its own
  EXPECT_EQ(verdict_on_copies(all, kNames),
            "rank 0 (a, cpu) and rank 1 (b, cpu) hold different parameters, in two");
  all[1].parameters.clear();
  EXPECT_EQ(verdict_on_copies(all, kNames), "") << "one copy alone";
}

TEST(AuditReport, IsReadAsItWasWritten) {
  const AuditReport report{hashes(1, 3), hashes(-1, 4), 99, {5, 6}};
  const AuditReport read = unpacked(packed(report));
  EXPECT_EQ(read.computed, report.computed);
  EXPECT_EQ(read.again, report.again);
  EXPECT_EQ(read.arrived, report.arrived);
  EXPECT_EQ(read.parameters, report.parameters);
  EXPECT_THROW((void)unpacked("1234567"), th::InternalError);
  EXPECT_THROW((void)unpacked(std::string(32, '\1')), th::InternalError);
}

TEST(Audit, DrawsTheSameSlotAtEveryRankCountAndOthersToComputeIt) {
  constexpr std::int64_t kSlots = 8;
  std::set<std::int64_t> slots;
  std::set<std::array<int, 3>> ranks;
  for (std::int64_t step = 0; step < 400; ++step) {
    const std::int64_t slot = Audit::draw(1, step, kSlots, 1).slot;
    slots.insert(slot);
    for (int n = 1; n <= kSlots; ++n) {
      const Audit::Draw draw = Audit::draw(1, step, kSlots, n);
      EXPECT_EQ(draw.slot, slot);
      EXPECT_EQ(draw.owner, slot % n);
      EXPECT_EQ(draw.witness == draw.owner, n == 1);
      EXPECT_EQ(draw.arbiter == -1, n <= 2);
      EXPECT_TRUE(draw.witness >= 0 && draw.witness < n && draw.arbiter < n);
      EXPECT_NE(draw.arbiter, draw.owner);
      EXPECT_NE(draw.arbiter, draw.witness);
      if (n == 4) ranks.insert({draw.owner, draw.witness, draw.arbiter});
    }
  }
  EXPECT_EQ(slots.size(), 8U);
  EXPECT_EQ(ranks.size(), 4U * 3U * 2U);
}

}  // namespace
}  // namespace th::train
