#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "th/runtime/observe/event_log.hpp"
#include "th/runtime/observe/memory_samples.hpp"

namespace {

using th::runtime::FlightRecord;
using th::runtime::MemoryClass;
using th::runtime::MemoryLedger;
using th::runtime::MemorySamples;

TEST(MemoryLedger, TellsThePeakBetweenTwoLooks) {
  MemoryLedger ledger;
  ledger.add(MemoryClass::kParameters, 100);
  ledger.watch_peaks();
  ledger.add(MemoryClass::kActivations, 50);
  ledger.add(MemoryClass::kBatches, 7);
  ledger.remove(MemoryClass::kActivations, 50);
  const auto [peak, now] = ledger.look();
  EXPECT_EQ(peak.use.total(), 157);
  EXPECT_EQ(peak.use[MemoryClass::kActivations], 50);
  EXPECT_EQ(now.use.total(), 107);
  EXPECT_LE(peak.ns, now.ns);
  ledger.add(MemoryClass::kBatches, 1);
  const auto grown = ledger.look();
  EXPECT_EQ(grown[0].use.total(), 108) << "what is there now is the largest";
  EXPECT_EQ(grown[1].use.total(), 108);
  ledger.remove(MemoryClass::kBatches, 8);
  ledger.add(MemoryClass::kActivations, 3);
  ledger.remove(MemoryClass::kActivations, 3);
  const auto below = ledger.look();
  EXPECT_EQ(below[0].use.total(), 100) << "103 is below what the last look saw";
  ledger.forget_peaks();
  ledger.add(MemoryClass::kActivations, 900);
  ledger.remove(MemoryClass::kActivations, 900);
  const auto after = ledger.look();
  EXPECT_EQ(after[0].use.total(), 100);
  EXPECT_EQ(after[0].ns, after[1].ns);
  EXPECT_EQ(ledger.at_peak().total(), 1000) << "the peak since the start is another matter";
}

TEST(MemoryLedger, CountsPeaksFromItsRestart) {
  MemoryLedger ledger;
  ledger.add(MemoryClass::kParameters, 100);
  ledger.restart();
  ledger.watch_peaks();
  ledger.add(MemoryClass::kActivations, 5);
  ledger.remove(MemoryClass::kActivations, 5);
  const auto [peak, now] = ledger.look();
  EXPECT_EQ(peak.use.total(), 5);
  EXPECT_EQ(now.use.total(), 0);
}

/// The samples of the process's ledger.
std::vector<MemorySamples::Sample> of_host(const MemorySamples& samples) {
  std::vector<MemorySamples::Sample> out;
  for (std::int64_t i = 0; i < samples.size(); ++i) {
    if (samples.at(i).of == MemorySamples::Of::kHost) out.push_back(samples.at(i));
  }
  return out;
}

TEST(MemorySamples, KeepPeaksAndChangesAloneInTheOrderOfTheirTimes) {
  constexpr std::int64_t kBytes = 1 << 20;
  MemoryLedger& ledger = MemoryLedger::process();
  MemorySamples samples;
  samples.take();
  const std::int64_t at_first = samples.size();
  for (int i = 0; i < 5; ++i) samples.take();
  EXPECT_EQ(samples.size(), at_first) << "nothing changed";
  ledger.add(MemoryClass::kActivations, kBytes);
  ledger.remove(MemoryClass::kActivations, kBytes);
  samples.take();
  ledger.add(MemoryClass::kBatches, kBytes);
  samples.take();
  ledger.remove(MemoryClass::kBatches, kBytes);
  samples.take();
  const auto all = of_host(samples);
  ASSERT_EQ(std::ssize(all), at_first + 4);
  const auto grew = [&](std::int64_t place, MemoryClass kind) {
    return all[static_cast<std::size_t>(place)].use[kind] - ledger.current()[kind];
  };
  EXPECT_EQ(grew(at_first, MemoryClass::kActivations), kBytes) << "it came and went in between";
  EXPECT_EQ(grew(at_first + 1, MemoryClass::kActivations), 0);
  EXPECT_EQ(grew(at_first + 2, MemoryClass::kBatches), kBytes);
  EXPECT_EQ(grew(at_first + 3, MemoryClass::kBatches), 0);
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_LE(all[i - 1].ns, all[i].ns);
}

TEST(MemorySamples, SayHowManyHadNoPlaceAndTakeNoMemoryThatTheLedgerCounts) {
  MemorySamples samples;
  const std::int64_t before = MemoryLedger::process().current().total();
  for (std::int64_t i = 0; i < MemorySamples::kMost + 10; ++i) {
    MemoryLedger::process().add(MemoryClass::kBatches, 1);
    samples.take();
  }
  MemoryLedger::process().remove(MemoryClass::kBatches, MemorySamples::kMost + 10);
  EXPECT_EQ(MemoryLedger::process().current().total(), before);
  EXPECT_EQ(samples.size(), MemorySamples::kMost);
  EXPECT_GE(samples.lost(), 9);
}

TEST(FlightRecord, ALogHasTheMemoryAtEachEventOfTheHost) {
  constexpr std::int64_t kBytes = 1 << 20;
  FlightRecord record;
  const auto log = record.start_log();
  const std::int64_t before = log->memory().size();
  {
    const FlightRecord::HostScope slot(record, FlightRecord::What::kSlot, 0);
    MemoryLedger::process().add(MemoryClass::kActivations, kBytes);
    MemoryLedger::process().remove(MemoryClass::kActivations, kBytes);
  }
  MemoryLedger::process().add(MemoryClass::kBatches, kBytes);
  record.stop_log();
  MemoryLedger::process().remove(MemoryClass::kBatches, kBytes);
  const auto all = of_host(log->memory());
  ASSERT_GE(std::ssize(all), before + 3);
  const auto at = [&](std::int64_t from_behind, MemoryClass kind) {
    return all[all.size() - static_cast<std::size_t>(from_behind)].use[kind] -
           MemoryLedger::process().current()[kind];
  };
  EXPECT_EQ(at(1, MemoryClass::kBatches), kBytes) << "the end of the log is a look too";
  EXPECT_EQ(at(2, MemoryClass::kActivations), 0);
  EXPECT_EQ(at(3, MemoryClass::kActivations), kBytes);
}

TEST(FlightRecord, OtherThreadsMayWriteWhileALogBeginsAndEnds) {
  const auto record = std::make_shared<FlightRecord>();
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (std::int64_t step = 1; !stop; ++step)
      const FlightRecord::StepScope scope(record, FlightRecord::What::kRead,
                                          FlightRecord::On::kReading, step, 2);
  });
  for (int i = 0; i < 200; ++i) {
    const auto log = record->start_log();
    { const FlightRecord::HostScope scope(*record, FlightRecord::What::kStep); }
    record->stop_log();
    std::int64_t steps = 0;
    for (std::int64_t k = 0; k < log->size(); ++k) {
      const FlightRecord::Event* event = log->at(k);
      if (event == nullptr) continue;
      const bool reads = event->what == FlightRecord::What::kRead;
      steps += reads ? 0 : 1;
      EXPECT_EQ(event->on, reads ? FlightRecord::On::kReading : FlightRecord::On::kHost);
      EXPECT_EQ(event->slot, reads ? 2 : FlightRecord::kNone);
      EXPECT_EQ(event->unit, FlightRecord::kNone);
      EXPECT_TRUE(!reads || event->step > 0);
    }
    EXPECT_EQ(steps, 1);
  }
  stop = true;
  other.join();
}

TEST(FlightRecord, WhatIsReadAndWrittenIsOfItsOwnStep) {
  const auto record = std::make_shared<FlightRecord>();
  record->set_step(7);
  const auto log = record->start_log();
  {
    const FlightRecord::StepScope scope(record, FlightRecord::What::kWrite,
                                        FlightRecord::On::kSaves, 6);
    const FlightRecord::StepScope none(nullptr, FlightRecord::What::kRead,
                                       FlightRecord::On::kReading, 1);
  }
  ASSERT_EQ(log->size(), 1);
  EXPECT_EQ(log->at(0)->step, 6);
  EXPECT_EQ(log->at(0)->unit, FlightRecord::kNone);
  EXPECT_GE(log->at(0)->end, log->at(0)->begin);
  const std::string text = record->text(std::vector<std::string>(9, "a unit"));
  EXPECT_EQ(text.find(R"({"what":"write","step":6,"on":"saves","begin_ns":)"), 0U) << text;
}

}  // namespace
