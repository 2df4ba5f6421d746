// A trace of several ranks whose clocks differ: arrows join each collective's ranks in the order in
// which they came, and the waits are those of the times.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mpi_test.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/watch/trace_file.hpp"

namespace th::train {
namespace {

using nlohmann::json;
using runtime::FlightRecord;
using What = FlightRecord::What;
using On = FlightRecord::On;

constexpr std::int64_t kMs = 1'000'000;

/// This rank's log, and what all ranks make of it. Rank r's clock is r seconds ahead.
class Traced : public testing::Test {
 protected:
  [[nodiscard]] int rank() const { return collectives_->rank(); }
  [[nodiscard]] int ranks() const { return collectives_->size(); }

  /// Times on rank 0's clock, in milliseconds, above 0.
  void add(What what, On on, std::int64_t begin, std::int64_t end, std::int64_t unit = 0) {
    const auto event = record_.open(what, on, unit);
    record_.begin(event, begin * kMs + ahead());
    record_.end(event, end * kMs + ahead());
  }
  [[nodiscard]] std::int64_t ahead() const { return rank() * 1'000'000'000LL; }

  /// Writes the trace on rank 0.
  TimeUse write() {
    record_.stop_log();
    const TraceFile::Source source{*log_, {ahead(), rank() == 0 ? 0 : 1}};
    const TracePart mine = TraceFile::part_of(source);
    std::vector<TracePart> parts;
    for (const std::string& text : collectives_->control().gather_texts(
             std::to_string(mine.begin) + " " + std::to_string(mine.events) + " " +
             std::to_string(mine.samples) + " " + std::to_string(mine.collectives))) {
      TracePart part;
      long long begin = 0, events = 0, samples = 0, collectives = 0;
      std::sscanf(text.c_str(), "%lld %lld %lld %lld", &begin, &events, &samples, &collectives);
      part.begin = begin;
      part.events = events;
      part.samples = samples;
      part.collectives = collectives;
      parts.push_back(part);
    }
    std::string name = testing::TempDir() + "/th_trace_file." + std::to_string(getpid());
    collectives_->control().broadcast(name, 0);
    TraceFile file(name, collectives_->control(), source, parts);
    file.begin({{"unit 0", 1, 1, 1}, {"unit 1", 1, 1, 1}}, {});
    std::vector<std::string> names;
    for (int r = 0; r < ranks(); ++r) names.push_back("rank " + std::to_string(r));
    file.write_ranks(names);
    const TimeUse use = file.join_ranks();
    file.finish({{"steps", "step 1"}});
    joined_ = file.joined();
    EXPECT_EQ(file.failure(), "");
    if (rank() == 0) {
      std::ifstream in(name);
      trace_ = json::parse(in);
      std::remove(name.c_str());
    }
    return use;
  }

  /// Of rank 0: the flow events by id, in the order of the file.
  [[nodiscard]] std::map<std::int64_t, std::vector<json>> arrows() const {
    std::map<std::int64_t, std::vector<json>> out;
    for (const json& one : trace_["traceEvents"]) {
      const auto kind = one["ph"].get<std::string>();
      if (kind == "s" || kind == "t" || kind == "f")
        out[one["id"].get<std::int64_t>()].push_back(one);
    }
    return out;
  }

  std::unique_ptr<runtime::Collectives> collectives_ =
      runtime::make_mpi_collectives(MPI_COMM_WORLD);
  FlightRecord record_;
  std::shared_ptr<const runtime::EventLog> log_ = record_.start_log();
  std::int64_t joined_ = 0;
  json trace_;
};

TEST_F(Traced, ArrowsJoinAllRanksOfACollectiveInTheOrderInWhichTheyCame) {
  // Rank r computes until 20 + 10 r and reduces until all have come; then the norm, the other way.
  const std::int64_t last = 20 + 10 * (ranks() - 1), mine = 20 + 10 * rank();
  add(What::kBackward, On::kCompute, 10, mine);
  add(What::kReduce, On::kCommunication, mine, last + 5, 1);
  add(What::kNorm, On::kCompute, last + 10 - rank(), last + 20, -1);
  add(What::kStep, On::kHost, 10, last + 20, -1);
  const TimeUse use = write();
  EXPECT_EQ(joined_, ranks() > 1 ? 2 : 0);
  ASSERT_EQ(std::ssize(use.ranks), ranks());
  EXPECT_EQ(use.steps, 1);
  double waited = 0;
  for (int r = 0; r < ranks(); ++r) {
    const RankUse& of_rank = use.ranks[static_cast<std::size_t>(r)];
    const double at_reduction = ranks() > 1 ? 0.01 * (ranks() - 1 - r) : 0,
                 at_norm = ranks() > 1 ? 0.001 * r : 0;
    EXPECT_NEAR(of_rank.waiting, at_reduction + at_norm, 1e-9);
    EXPECT_NEAR(of_rank.compute, 0.01 + 0.01 * r, 1e-9);
    EXPECT_NEAR(of_rank.seconds, 0.001 * static_cast<double>(last + 10), 1e-9);
    waited += at_reduction;
  }
  EXPECT_NEAR(use.waited_for.back(), waited, 1e-9) << "the last rank came last to the reduction";
  if (rank() != 0 || ranks() == 1) return;
  const auto all = arrows();
  ASSERT_EQ(all.size(), 2U);
  for (const auto& [id, ends] : all) {
    ASSERT_EQ(std::ssize(ends), ranks());
    for (int i = 0; i < ranks(); ++i) {
      const json& end = ends[static_cast<std::size_t>(i)];
      EXPECT_EQ(end["ph"], i == 0 ? "s" : i + 1 == ranks() ? "f" : "t");
      EXPECT_EQ(end["pid"], id == 0 ? i : ranks() - 1 - i);
      EXPECT_EQ(end["name"], id == 0 ? "reduce" : "norm");
      EXPECT_EQ(end["tid"], id == 0 ? 1 : 0);
    }
  }
}

TEST_F(Traced, ManyCollectivesAreJoinedAPieceAtATime) {
  constexpr std::int64_t kCount = 1300;
  for (std::int64_t i = 0; i < kCount; ++i)
    add(What::kGather, On::kCommunication, 10 * i + 1 + rank(), 10 * i + 9, i % 2);
  (void)write();
  EXPECT_EQ(joined_, ranks() > 1 ? kCount : 0);
  if (rank() != 0 || ranks() == 1) return;
  const auto all = arrows();
  ASSERT_EQ(std::ssize(all), kCount);
  for (const auto& [id, ends] : all) EXPECT_EQ(std::ssize(ends), ranks());
}

TEST_F(Traced, NothingIsJoinedBehindACollectiveThatIsNotTheSame) {
  for (std::int64_t i = 0; i < 20; ++i)
    add(What::kGather, On::kCommunication, 10 * i + 1, 10 * i + 9, i == 7 && rank() == 0 ? 1 : 0);
  (void)write();
  EXPECT_EQ(joined_, ranks() > 1 ? 7 : 0);
}

TEST_F(Traced, MemoryOfAllRanksIsThere) {
  using runtime::MemoryClass;
  runtime::MemoryLedger& ledger = runtime::MemoryLedger::process();
  const std::int64_t bytes = (rank() + 1) * 1'000'000LL,
                     before = ledger.current()[MemoryClass::kGradients];
  ledger.add(MemoryClass::kGradients, bytes);
  add(What::kStep, On::kHost, 1, 2, -1);
  (void)write();
  ledger.remove(MemoryClass::kGradients, bytes);
  EXPECT_EQ(before, 0);
  if (rank() != 0) return;
  std::map<int, std::int64_t> last;
  for (const json& one : trace_["traceEvents"]) {
    if (one["ph"] == "C")
      last[one["pid"].get<int>()] = one["args"].value("gradients", std::int64_t{0});
  }
  for (int r = 0; r < ranks(); ++r) EXPECT_EQ(last[r], (r + 1) * 1'000'000LL);
}

}  // namespace
}  // namespace th::train

TH_MPI_TEST_MAIN
