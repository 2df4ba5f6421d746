#include "train/watch/findings.hpp"

#include <algorithm>
#include <numeric>

#include "th/base/counted.hpp"
#include "th/monitor/header.hpp"

// The parts of a verdict: which part of the time is worth a change, and what to change.
namespace th::train {

namespace {

using monitor::fixed;

std::string of_a_step(double share) { return percent_text(share) + " of a step"; }

/// "(now 1)", of a key's value.
std::string present(std::int64_t value) { return "(now " + std::to_string(value) + ")"; }

std::int64_t slots_of_rank(const RunFacts& facts, std::size_t rank, std::size_t ranks) {
  const auto count = static_cast<std::int64_t>(ranks);
  const std::int64_t more = static_cast<std::int64_t>(rank) < facts.slots % count ? 1 : 0;
  return std::max<std::int64_t>(1, facts.slots / count + more);
}

/// Of two values the lower one.
double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

/// What a rank takes of something for a micro-batch, and the median rank.
struct Beside {
  double mine = 0, others = 0;
  [[nodiscard]] double ratio() const { return others > 0 ? mine / others : 1; }
};

Beside beside(const TimeUse& use, const RunFacts& facts, std::size_t rank, double RankUse::*of) {
  std::vector<double> each;
  for (std::size_t r = 0; r < use.ranks.size(); ++r)
    each.push_back(use.ranks[r].*of /
                   static_cast<double>(slots_of_rank(facts, r, use.ranks.size())));
  return {each[rank], median(each)};
}

bool cores_are_short(const RunFacts& facts) {
  return facts.cores_here > 0 &&
         facts.ranks_here * facts.config.run.threads > std::int64_t{facts.cores_here};
}

std::string cores_text(const RunFacts& facts) {
  return std::to_string(facts.ranks_here * facts.config.run.threads) + " compute threads on " +
         counted(facts.cores_here, "core");
}

/// What to look at on the host of a rank that computes slower than others.
std::string look_at_host(const RunFacts& facts, const std::string& host) {
  std::string text = facts.on_gpu
                         ? "Look at that host: nvidia-smi shows the clock, the temperature and "
                           "other processes of its GPU"
                         : "Look at that host: other programs (top), a lower clock (lscpu), cores "
                           "that two ranks share (mpirun --report-bindings)";
  if (facts.nodes > 1) text += "; or leave it out (sbatch --exclude=" + host + ")";
  return text + ".";
}

std::string slow_rank_text(const TimeUse& use, const RunFacts& facts, std::size_t rank) {
  const std::string host = rank < facts.hosts.size() ? facts.hosts[rank] : "its host";
  const std::string name = "rank " + std::to_string(rank) + " on " + host;
  const Beside compute = beside(use, facts, rank, &RankUse::compute),
               data = beside(use, facts, rank, &RankUse::data);
  const double steps = static_cast<double>(std::max<std::int64_t>(1, use.steps));
  if (data.mine - data.others > std::max(0.0, compute.mine - compute.others)) {
    return name + ", which waits for its batches " + fixed(1e3 * data.mine / steps, 1) +
           " ms a micro-batch, the median rank " + fixed(1e3 * data.others / steps, 1) +
           " ms. Raise data.num_workers " + present(facts.config.data.num_workers) +
           ", or put data.index_dir on a disk that is quick for that host.";
  }
  constexpr double kSlower = 1.05;
  if (compute.ratio() >= kSlower) {
    return name + ", whose compute takes " + fixed(compute.ratio(), 2) +
           " times the median rank's. " + look_at_host(facts, host);
  }
  return name +
         ", which computes as fast as the others and comes last all the same: its network, "
         "or what that host does between the passes. " +
         look_at_host(facts, host);
}

/// Ranks that have one micro-batch more than others.
std::string uneven_slots_text(const RunFacts& facts, std::int64_t ranks) {
  std::int64_t divisor = ranks;
  while (facts.slots % divisor != 0) --divisor;
  const std::int64_t fewer = facts.slots / ranks, next = (fewer + 1) * ranks;
  return "ranks that have " + std::to_string(fewer + 1) + " of the " + std::to_string(facts.slots) +
         " micro-batches, where others have " + std::to_string(fewer) + ". Start " +
         counted(divisor, "rank") +
         ", or in a new run set train.micro_batches=" + std::to_string(next) + ".";
}

std::string in_turn_text(const RunFacts& facts) {
  const config::DataSection& data = facts.config.data;
  const std::string head = "one rank and then another one";
  if (cores_are_short(facts))
    return head + ": " + cores_text(facts) + " take turns. Start fewer ranks on a host.";
  if (data.batch_tokens == 0) {
    return head +
           ": micro-batches of data.batch_size sentences take unlike times. "
           "data.batch_tokens fills them with tokens in place of sentences.";
  }
  if (data.sort_window <= 1) {
    return head +
           ": their micro-batches take unlike times. data.sort_window=8 has sentences of "
           "like length in each step.";
  }
  return head + ": their micro-batches take unlike times. Raise data.batch_tokens " +
         present(data.batch_tokens) + " or data.sort_window " + present(data.sort_window) + ".";
}

/// "a; b; c".
std::string joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : "; ") + text;
  return out;
}

std::string overlap_text(const RunFacts& facts) {
  if (facts.config.comm.overlap == config::Overlap::kOff)
    return "comm.overlap=on lets it run beside compute (the deck has off)";
  if (facts.on_gpu) return "comm.backend=nccl lets it run beside compute";
  return "leave each rank a core for it, by fewer ranks or a smaller run.threads, and it runs "
         "beside compute (comm.overlap)";
}

}  // namespace

Finding waiting_finding(const TimeUse& use, const RunFacts& facts, double share) {
  const std::string head = of_a_step(share) + " is waiting for ";
  const double all = std::accumulate(use.waited_for.begin(), use.waited_for.end(), 0.0);
  if (all <= 0) return {};
  const auto top = std::max_element(use.waited_for.begin(), use.waited_for.end());
  const auto rank = static_cast<std::size_t>(top - use.waited_for.begin());
  const auto ranks = static_cast<std::int64_t>(use.ranks.size());
  const std::int64_t more = facts.slots % ranks;
  const double of_fuller =
      std::accumulate(use.waited_for.begin(), use.waited_for.begin() + more, 0.0);
  constexpr double kMostly = 0.5, kMostlyOfTwo = 0.75, kSlow = 1.15;
  const bool slow = beside(use, facts, rank, &RankUse::compute).ratio() >= kSlow;
  if (of_fuller >= kMostly * all && !slow) return {share, head + uneven_slots_text(facts, ranks)};
  if (*top >= (ranks == 2 ? kMostlyOfTwo : kMostly) * all)
    return {share, head + slow_rank_text(use, facts, rank)};
  return {share, head + in_turn_text(facts)};
}

Finding data_finding(const RunFacts& facts, double share) {
  const config::DataSection& data = facts.config.data;
  std::string text = of_a_step(share) + " is waiting for batches. ";
  text += data.num_workers == 0
              ? "data.num_workers=2 prepares them beside compute (now 0: within the step)"
              : "Set data.num_workers=" + std::to_string(2 * data.num_workers) + " " +
                    present(data.num_workers);
  if (cores_are_short(facts)) text += ", and leave cores for them: " + cores_text(facts);
  return {share, text + "; where the disk is slow, put data.index_dir on a local one."};
}

Finding communication_finding(const RunFacts& facts, double share) {
  const config::RunConfig& c = facts.config;
  std::vector<std::string> ways;
  if (facts.overlap != config::Overlap::kOn) ways.push_back(overlap_text(facts));
  if (zero::zero_policy(c).shard_parameters) {
    ways.emplace_back(
        "zero.stage=2 gathers parameters once a step, not twice a micro-batch, where its memory "
        "is there (th_app DECK --plan)");
    if (facts.overlap == config::Overlap::kOn)
      ways.push_back("zero.prefetch_units=" + std::to_string(2 * c.zero.prefetch_units + 1) + " " +
                     present(c.zero.prefetch_units) + " gathers earlier");
  }
  ways.push_back("a larger " +
                 (c.data.batch_tokens > 0 ? "data.batch_tokens " + present(c.data.batch_tokens)
                                          : "data.batch_size " + present(c.data.batch_size)) +
                 " sends the same bytes for more work");
  if (c.precision.dtype == ElementType::kFp32)
    ways.emplace_back("precision.dtype=bf16 sends parameters in half the bytes");
  else if (c.precision.reduce_dtype == config::ReduceDtype::kFp32)
    ways.emplace_back("precision.reduce_dtype=working sends gradients in half the bytes");
  if (facts.nodes > 1)
    ways.emplace_back(
        "between hosts see that the fast network is used (OMPI_MCA_btl_tcp_if_include, "
        "NCCL_SOCKET_IFNAME)");
  return {share,
          of_a_step(share) + " is communication that compute does not hide: " + joined(ways) + "."};
}

Finding padding_finding(const RunFacts& facts, double share) {
  const config::DataSection& data = facts.config.data;
  const std::string way = data.batch_tokens == 0
                              ? "data.batch_tokens takes sentences of like length together"
                              : "a larger data.sort_window " + present(data.sort_window) +
                                    " takes sentences of like length together";
  return {share * facts.padding,
          percent_text(facts.padding) + " of what is computed is padding: " + way + "."};
}

std::vector<Finding> findings_beside_steps(const TimeUse& use, const RunFacts& facts) {
  const double steps = use.total().seconds / static_cast<double>(use.ranks.size());
  const double whole = steps + use.validation + use.checkpoints;
  const double validation = use.validation / whole, saves = use.checkpoints / whole;
  const config::RunConfig& c = facts.config;
  const std::string rarely = c.train.valid_every_steps > 0 ? "Raise train.valid_every_steps " +
                                                                 present(c.train.valid_every_steps)
                                                           : "Take fewer lines for it";
  const std::string save_rarely =
      c.checkpoint.every_steps > 0
          ? "aise checkpoint.every_steps " + present(c.checkpoint.every_steps)
          : "aise checkpoint.every_epochs " + present(c.checkpoint.every_epochs);
  return {{validation, percent_text(validation) + " of the run's time is validation. " + rarely +
                           "; valid.max_lines bounds what is translated."},
          {saves, percent_text(saves) + " of the run's time is saving. " +
                      (c.checkpoint.async ? "R" : "Set checkpoint.async=true, or r") + save_rarely +
                      "."}};
}

Finding other_finding(const RunFacts& facts, double share, double seconds) {
  const config::DataSection& data = facts.config.data;
  const std::string larger = data.batch_tokens > 0
                                 ? "data.batch_tokens " + present(data.batch_tokens)
                                 : "data.batch_size " + present(data.batch_size);
  return {share, of_a_step(share) +
                     " is none of these: what the host does around passes and collectives. It "
                     "weighs less in longer steps than these of " +
                     fixed(1e3 * seconds, 1) + " ms: raise " + larger + "."};
}

std::string compute_text(const RunFacts& facts, double share) {
  const config::RunConfig& c = facts.config;
  std::vector<std::string> ways;
  if (c.model.gradient_checkpointing != config::GradientCheckpointing::kNone) {
    ways.emplace_back(
        "model.gradient_checkpointing=none computes nothing twice, where memory allows it (th_app "
        "DECK --plan)");
  }
  if (facts.on_gpu && c.precision.dtype == ElementType::kFp32)
    ways.emplace_back("precision.dtype=bf16 computes faster on a GPU");
  const std::int64_t busy = facts.ranks_here * c.run.threads;
  if (!facts.on_gpu && facts.cores_here > busy) {
    ways.push_back(std::to_string(facts.cores_here - busy) + " of the " +
                   std::to_string(facts.cores_here) +
                   " cores of rank 0's host have no compute thread: more ranks, or run.threads");
  } else {
    ways.emplace_back("more ranks divide it");
  }
  return "compute takes " + of_a_step(share) +
         ", and nothing else a tenth. To go faster: " + joined(ways) + ".";
}

}  // namespace th::train
