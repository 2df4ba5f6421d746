#include "th/model/memory/batch_copies.hpp"

#include "fakes/fake_device.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

// Batches on their way to a device whose work is enqueued, on a fake one (which needs the engine's
// kernels: hence in this layer's tests).
namespace th::model {
namespace {

using th_test::FakeDevice;

data::Batch make_batch(std::int32_t sentences, std::int32_t salt) {
  data::Batch batch;
  for (std::int32_t s = 0; s < sentences; ++s) {
    std::vector<std::int32_t> source, target{data::kBegin};
    for (std::int32_t i = 0; i < 3 + s % 4; ++i) source.push_back(4 + salt + i);
    for (std::int32_t i = 0; i < 2 + s % 3; ++i) target.push_back(40 + salt + i);
    source.push_back(data::kEnd);
    target.push_back(data::kEnd);
    batch.append(source, target);
  }
  return batch;
}

/// All arrays of a batch as bytes.
struct Bytes {
  std::vector<std::vector<std::byte>> arrays;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

/// Calls take(pointer, bytes) for each array.
template <typename Take>
void each_array(const BatchArrays& a, const data::Batch& batch, const Take& take) {
  const std::int64_t b = batch.sentences, s = batch.source_tokens, t = batch.target_tokens;
  take(a.source, s * 8);
  take(a.target_in, t * 8);
  take(a.target_out, t * 8);
  take(a.source_offsets, (b + 1) * 8);
  take(a.target_offsets, (b + 1) * 8);
  take(a.source_lengths, b * 4);
  take(a.source_places, s * 4);
  take(a.target_places, t * 4);
}

Bytes expected(const data::Batch& batch) {
  const PackedRows rows(batch, PackedRows::Places::kMade);
  Bytes out;
  each_array(host_arrays(batch, rows), batch, [&](const void* from, std::int64_t bytes) {
    const auto* begin = static_cast<const std::byte*>(from);
    out.arrays.emplace_back(begin, begin + bytes);
  });
  return out;
}

/// Batches of unlike sizes, a large one in the middle, each read by work that is enqueued after it
/// was taken.
bool arrive(FakeDevice& device) {
  std::vector<data::Batch> batches;
  for (std::int32_t i = 0; i < 6; ++i) batches.push_back(make_batch(i == 3 ? 2000 : 5 + i, i));
  std::vector<Bytes> seen(batches.size()), wanted;
  {
    BatchCopies copies(device);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      wanted.push_back(expected(batches[i]));
      const PackedRows rows(batches[i], PackedRows::Places::kLeftOut);
      each_array(copies.take(batches[i], rows), batches[i],
                 [&](const void* from, std::int64_t bytes) {
                   seen[i].arrays.emplace_back(static_cast<std::size_t>(bytes));
                   device.compute().copy(seen[i].arrays.back().data(), from, bytes);
                 });
    }
  }
  device.compute().drain();
  return seen == wanted;
}

TEST(BatchCopies, BringEveryArrayInTimeForTheWorkBehindIt) {
  for (const auto pace : {FakeDevice::Pace::kLatest, FakeDevice::Pace::kCopiesEarly}) {
    FakeDevice device(pace);
    EXPECT_TRUE(arrive(device)) << static_cast<int>(pace);
    EXPECT_EQ(device.streams().violations(), std::vector<std::string>{});
  }
}

TEST(BatchCopies, EveryWaitIsNeeded) {
  FakeDevice device(FakeDevice::Pace::kLatest);
  (void)arrive(device);
  const th_test::AccessOrder& order = device.streams().order();
  EXPECT_GT(order.waits(), 6);
  for (std::int64_t number = 0; number < order.waits(); ++number) {
    EXPECT_FALSE(order.violations_without(number).empty())
        << "nobody misses wait " << number << ": " << order.wait_text(number);
  }
}

TEST(BatchCopies, TakeTheMemoryThatIsSaidOnBothSides) {
  FakeDevice device(FakeDevice::Pace::kLatest);
  BatchCopies copies(device);
  const data::Batch large = make_batch(3000, 1), small = make_batch(3, 2);
  for (const data::Batch* batch : {&small, &large, &small})
    (void)copies.take(*batch, PackedRows(*batch, PackedRows::Places::kLeftOut));
  const auto said_of = [](const data::Batch& batch) {
    return BatchCopies::bytes(PackedRows(batch, PackedRows::Places::kLeftOut));
  };
  const std::int64_t said = said_of(large);
  EXPECT_EQ(device.bytes(runtime::Place::kDevice), said);
  EXPECT_EQ(device.bytes(runtime::Place::kHost), said);
  EXPECT_EQ(said_of(small), 2 * 65536);
}

}  // namespace
}  // namespace th::model
