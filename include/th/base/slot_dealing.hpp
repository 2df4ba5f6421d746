#pragma once

#include <cstdint>
#include <vector>

#include "th/base/host_device.hpp"

namespace th {

/// Which rank computes which slot of a step, and in which order. A rank makes one pass for each of
/// its slots, and has slots / ranks of them, rounded down or up. This is only arithmetic, the same
/// on every rank and on devices.
///
/// In rounds, pass p of rank r is slot p · ranks + r, and each pass ends with an exchange.
///
/// In blocks a rank computes consecutive slots. Their count is a power of two that divides the
/// first slot's number, so they are a whole subtree of the exact sum; the rank adds them by itself
/// and sends the sum. The number of slots that every rank has, slots / ranks, is written as a sum
/// of powers of two, the largest first. A step has an exchange for each of them, and one more for
/// the slots that are left.
struct SlotDealing {
  std::int64_t slots = 1;
  std::int64_t ranks = 1;
  bool blocks = false;

  /// A pass of a rank.
  struct Place {
    std::int64_t rank = 0, pass = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  /// The passes [first_pass, first_pass + each) of every rank, which end with one exchange: rank r
  /// has the slots from first_slot + r · each on.
  struct Exchange {
    std::int64_t first_pass = 0, first_slot = 0, each = 1;
    friend bool operator==(const Exchange&, const Exchange&) = default;
    [[nodiscard]] TH_HOST_DEVICE std::int64_t last_pass() const { return first_pass + each - 1; }
  };

  [[nodiscard]] TH_HOST_DEVICE std::int64_t passes() const { return (slots + ranks - 1) / ranks; }
  /// The exchange that ends this pass, or a block of passes with it.
  [[nodiscard]] TH_HOST_DEVICE Exchange exchange_of(std::int64_t pass) const {
    const std::int64_t all = slots / ranks;  // passes in which every rank has a slot
    if (!blocks || pass >= all) return {pass, pass * ranks, 1};
    std::int64_t first = 0;
    std::int64_t each = largest_block();
    while (pass >= first + each) {
      first += each;
      do each /= 2;
      while ((all & each) == 0);
    }
    return {first, first * ranks, each};
  }
  /// The slot of a rank's pass; -1: none.
  [[nodiscard]] TH_HOST_DEVICE std::int64_t slot(std::int64_t rank, std::int64_t pass) const {
    const Exchange of = exchange_of(pass);
    const std::int64_t at = of.first_slot + rank * of.each + (pass - of.first_pass);
    return at < slots ? at : -1;
  }
  /// The rank and pass that compute a slot.
  [[nodiscard]] TH_HOST_DEVICE Place place(std::int64_t number) const {
    const Exchange of = exchange_of(number / ranks);  // exchanges take slots in their order
    const std::int64_t at = number - of.first_slot;
    return {at / of.each, of.first_pass + at % of.each};
  }
  /// The most slots that a rank adds by itself: a power of two.
  [[nodiscard]] TH_HOST_DEVICE std::int64_t largest_block() const {
    std::int64_t block = 1;
    while (blocks && block * 2 <= slots / ranks) block *= 2;
    return block;
  }
  /// The number of ranks that send something in an exchange, from rank 0 on.
  [[nodiscard]] int present(const Exchange& of) const {
    const std::int64_t left = slots - of.first_slot;
    return static_cast<int>(left < ranks ? left : ranks);
  }
  /// The number of rank 0's sum in an exchange, counted in sums of that size.
  [[nodiscard]] static std::int64_t first_leaf(const Exchange& of) {
    return of.first_slot / of.each;
  }
  /// All exchanges of a step, in their order.
  [[nodiscard]] std::vector<Exchange> exchanges() const {
    std::vector<Exchange> all;
    for (std::int64_t pass = 0; pass < passes(); pass = all.back().last_pass() + 1)
      all.push_back(exchange_of(pass));
    return all;
  }
  /// For each exchange, the number of the first slot that has not been added after it.
  [[nodiscard]] std::vector<std::int64_t> ends() const {
    std::vector<std::int64_t> all;
    for (const Exchange& one : exchanges()) {
      const std::int64_t end = one.first_slot + one.each * ranks;
      all.push_back(end < slots ? end : slots);
    }
    return all;
  }
};

}  // namespace th
