#include "th/train/watch/verdict.hpp"

#include <algorithm>

#include "th/base/counted.hpp"
#include "th/monitor/header.hpp"
#include "train/watch/findings.hpp"

namespace th::train {

namespace {

/// Shares of a step, the mean over ranks.
struct Shares {
  double data = 0, compute = 0, communication = 0, waiting = 0, hidden = 0, other = 0;
};

Shares shares_of(const TimeUse& use) {
  const RankUse sum = use.total();
  const double whole = std::max(sum.seconds, 1e-12);
  Shares s{sum.data / whole,    sum.compute / whole, sum.communication / whole,
           sum.waiting / whole, sum.hidden / whole,  0};
  s.other = std::max(0.0, 1 - s.data - s.compute - s.communication - s.waiting);
  return s;
}

double seconds_of_a_step(const TimeUse& use) {
  return use.total().seconds / static_cast<double>(use.ranks.size()) /
         static_cast<double>(std::max<std::int64_t>(1, use.steps));
}

std::string steps_text(const TimeUse& use) {
  return (use.first_step == use.last_step ? "step " + std::to_string(use.first_step)
                                          : "steps " + std::to_string(use.first_step) + " to " +
                                                std::to_string(use.last_step)) +
         ", " + counted(std::ssize(use.ranks), "rank") + ", " +
         monitor::fixed(1e3 * seconds_of_a_step(use), 1) + " ms each: ";
}

std::string shares_line(const TimeUse& use, const Shares& s) {
  std::string text = "Time of " + steps_text(use) + "compute " + percent_text(s.compute);
  if (use.ranks.size() > 1) {
    text += ", communication " + percent_text(s.communication) +
            (s.hidden > 0 ? " (and " + percent_text(s.hidden) + " beside compute)" : "") +
            ", waiting for other ranks " + percent_text(s.waiting);
  }
  text += ", waiting for data " + percent_text(s.data);
  if (s.other >= 0.001) text += ", other " + percent_text(s.other);
  return text + ".";
}

std::vector<std::string> verdict_lines(std::string first, std::vector<Finding> findings,
                                       const std::string& otherwise) {
  constexpr std::size_t kMost = 3;
  std::erase_if(findings, [](const Finding& f) { return f.share < kWorthAChange; });
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.share > b.share; });
  findings.resize(std::min(findings.size(), kMost));
  std::vector<std::string> lines{std::move(first)};
  for (const Finding& finding : findings) lines.push_back("Verdict: " + finding.text);
  if (findings.empty()) lines.push_back("Verdict: " + otherwise);
  return lines;
}

}  // namespace

std::string percent_text(double share) { return monitor::fixed(100 * share, 1) + " %"; }

std::vector<std::string> verdict(const TimeUse& use, const RunFacts& facts, TimesOf of) {
  if (use.steps == 0 || use.ranks.empty() || use.total().seconds <= 0) return {};
  const Shares s = shares_of(use);
  std::vector<Finding> findings = findings_beside_steps(use, facts);
  findings.push_back(data_finding(facts, s.data));
  if (of == TimesOf::kHost && facts.on_gpu) {
    return verdict_lines(
        "Time of " + steps_text(use) + "waiting for data " + percent_text(s.data) +
            "; the rest is the GPUs', which a trace shows.",
        std::move(findings),
        "batches are ready in time. profile.enabled=true tells what the GPUs do and "
        "what to change.");
  }
  if (use.ranks.size() > 1) {
    findings.push_back(waiting_finding(use, facts, s.waiting));
    findings.push_back(communication_finding(facts, s.communication));
  }
  findings.push_back(padding_finding(facts, s.compute));
  findings.push_back(other_finding(facts, s.other, seconds_of_a_step(use)));
  return verdict_lines(shares_line(use, s), std::move(findings), compute_text(facts, s.compute));
}

}  // namespace th::train
