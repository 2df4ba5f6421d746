#include "train/audit/verdict.hpp"

#include "th/base/error.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace th::train {

namespace {

using Words = std::vector<std::uint64_t>;

void put(Words& to, const Words& some) {
  to.push_back(some.size());
  to.insert(to.end(), some.begin(), some.end());
}

Words take(std::span<const std::uint64_t>& from) {
  ensure(!from.empty() && from[0] < from.size(), "Audit: a report that ends too early");
  const auto count = static_cast<std::size_t>(from[0]);
  const Words some(from.begin() + 1, from.begin() + 1 + static_cast<std::ptrdiff_t>(count));
  from = from.subspan(1 + count);
  return some;
}

/// "rank 0 (…), rank 2 (…) and rank 3 (…)"; of many the first ones.
std::string list(const std::vector<int>& ranks, const AuditNames& names) {
  constexpr std::size_t kMost = 8;
  std::string text;
  const std::size_t shown = std::min(ranks.size(), kMost);
  for (std::size_t i = 0; i < shown; ++i) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += names.rank(ranks[i]);
  }
  return shown == ranks.size() ? text
                               : text + " and " + std::to_string(ranks.size() - shown) + " more";
}

/// Where unit by unit hashes differ: ", in decoder.layers.0" or ", in 3 of 12 units, …".
std::string place_text(const Words& a, const Words& b, const AuditNames& names) {
  std::size_t differ = 0, first = 0;
  for (std::size_t u = names.units.size(); u-- > 0;) {
    if (a[u] == b[u]) continue;
    ++differ;
    first = u;
  }
  if (differ == 0) return "";
  if (differ == 1) return ", in " + names.units[first];
  return ", in " + std::to_string(differ) + " of " + std::to_string(names.units.size()) +
         " units, the first of them " + names.units[first];
}

/// What differs between two results, and where: {"gradient", ", in output"}, {"loss", ""}.
std::pair<std::string, std::string> difference(const zero::SlotHashes& a, const zero::SlotHashes& b,
                                               const AuditNames& names) {
  if (a.gradients == b.gradients) return {"loss", ""};
  return {"gradient", place_text(a.gradients, b.gradients, names)};
}

}  // namespace

std::string packed(const AuditReport& report) {
  Words words{report.computed.loss, report.again.loss, report.arrived};
  for (const Words* some :
       {&report.computed.gradients, &report.again.gradients, &report.parameters})
    put(words, *some);
  std::string text(words.size() * sizeof(Words::value_type), '\0');
  std::memcpy(text.data(), words.data(), text.size());
  return text;
}

AuditReport unpacked(const std::string& text) {
  constexpr std::size_t kNumbers = 3;
  Words words(text.size() / sizeof(Words::value_type));
  ensure(text.size() % sizeof(Words::value_type) == 0 && words.size() > kNumbers,
         "Audit: what came is no report");
  std::memcpy(words.data(), text.data(), text.size());
  AuditReport report;
  report.computed.loss = words[0];
  report.again.loss = words[1];
  report.arrived = words[2];
  std::span<const std::uint64_t> rest = std::span<const std::uint64_t>(words).subspan(kNumbers);
  for (Words* some : {&report.computed.gradients, &report.again.gradients, &report.parameters})
    *some = take(rest);
  return report;
}

std::string verdict_on_copies(std::span<const AuditReport> reports, const AuditNames& names) {
  std::map<Words, std::vector<int>> alike;
  for (std::size_t r = 0; r < reports.size(); ++r) {
    if (!reports[r].parameters.empty()) alike[reports[r].parameters].push_back(static_cast<int>(r));
  }
  if (alike.size() < 2) return "";
  std::vector<std::pair<std::vector<int>, const Words*>> groups;
  for (const auto& [hashes, ranks] : alike) groups.emplace_back(ranks, &hashes);
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  const bool decided = groups[0].first.size() > groups[1].first.size();
  std::vector<int> odd;
  for (std::size_t g = decided ? 1 : 0; g < groups.size(); ++g)
    odd.insert(odd.end(), groups[g].first.begin(), groups[g].first.end());
  std::sort(odd.begin(), odd.end());
  const std::string where = place_text(*groups[0].second, *groups[1].second, names);
  if (!decided) return list(odd, names) + " hold different parameters" + where;
  return list(odd, names) + (odd.size() == 1 ? " holds" : " hold") + " other parameters than " +
         list(groups[0].first, names) + where;
}

std::string verdict_on_slot(std::span<const AuditReport> reports, int owner, int witness,
                            int arbiter, const AuditNames& names) {
  const auto at = [&](int rank) -> const AuditReport& {
    return reports[static_cast<std::size_t>(rank)];
  };
  const zero::SlotHashes &first = at(owner).computed, &second = at(witness).again;
  if (first == second) return "";
  const auto [what, where] = difference(first, second, names);
  const std::string plural = what == "loss" ? "losses" : "gradients";
  if (owner == witness) return names.rank(owner) + " computed two " + plural + " of it" + where;
  if (arbiter < 0)
    return list({owner, witness}, names) + " computed two " + plural + where +
           "; one of the two is wrong";
  const zero::SlotHashes& third = at(arbiter).again;
  const auto odd = [&, &noun = what, &place = where](int rank, int other) {
    return names.rank(rank) + " computed another " + noun + " than " +
           list({other, arbiter}, names) + place;
  };
  if (third == first) return odd(witness, owner);
  if (third == second) return odd(owner, witness);
  return list({owner, witness, arbiter}, names) + " computed three " + plural + where;
}

std::string verdict_on_messages(std::span<const AuditReport> reports, int owner,
                                const AuditNames& names) {
  const Words& sent = reports[static_cast<std::size_t>(owner)].computed.gradients;
  std::vector<int> odd;
  for (std::size_t r = 0; r < reports.size(); ++r) {
    if (reports[r].arrived != sent[names.units.size() + r]) odd.push_back(static_cast<int>(r));
  }
  if (odd.empty()) return "";
  return names.rank(owner) + " made a gradient that arrived changed at " + list(odd, names);
}

}  // namespace th::train
