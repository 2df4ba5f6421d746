#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "th/zero/slot_audit.hpp"

namespace th::train {

/// What a rank found in an audit.
struct AuditReport {
  zero::SlotHashes computed;              ///< of the slot in its round, on its owner
  zero::SlotHashes again;                 ///< of the slot once more, on the witness and the arbiter
  std::uint64_t arrived = 0;              ///< of the slot's slices that came to this rank
  std::vector<std::uint64_t> parameters;  ///< by unit, of a copy of its own; empty: it has none
};
[[nodiscard]] std::string packed(const AuditReport& report);
/// Throws InternalError where the text is none of packed().
[[nodiscard]] AuditReport unpacked(const std::string& text);

/// How verdicts name what they are about.
struct AuditNames {
  std::vector<std::string> ranks;  ///< "rank 1 (node01, cuda:1 NVIDIA H200)"
  std::vector<std::string> units;  ///< "encoder.layers.0"
  [[nodiscard]] const std::string& rank(int number) const {
    return ranks[static_cast<std::size_t>(number)];
  }
};

// Each is "" where nothing differs, else a sentence without its full stop, which begins with the
// rank that differs where that is known. Not collective.

/// Of the copies of the parameters: those that are unlike the most.
[[nodiscard]] std::string verdict_on_copies(std::span<const AuditReport> reports,
                                            const AuditNames& names);
/// Of two computations of the slot, by its owner and by the witness (the same rank: it computed the
/// slot twice), and where they differ of a third one's, by the arbiter (-1: there is none).
[[nodiscard]] std::string verdict_on_slot(std::span<const AuditReport> reports, int owner,
                                          int witness, int arbiter, const AuditNames& names);
/// Whether every rank received what the owner computed for it.
[[nodiscard]] std::string verdict_on_messages(std::span<const AuditReport> reports, int owner,
                                              const AuditNames& names);

}  // namespace th::train
