#include "th/runtime/transport/self_test.hpp"

#include "th/base/error.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <sstream>
#include <vector>

namespace th::runtime {

namespace {

constexpr std::int64_t kFloat = 4;
constexpr std::int64_t kFloats = 1 << 18;  // of a rank's buffer, about: 1 MiB
constexpr int kTimedCalls = 3;

/// A value that names its sender, its receiver and its place; small integers, so that sums are
/// exact in any order.
float mark(int from, int to, std::int64_t i) {
  return static_cast<float>(from % 256 * 64 + to % 64 + i % 1000);
}

class Exam {
 public:
  Exam(Collectives& all, std::string_view planted, const BufferCopy& copy)
      : all_(all),
        planted_(planted),
        copy_(copy),
        rank_(all.rank()),
        size_(all.size()),
        slice_(std::max<std::int64_t>(256, kFloats / size_ / 256 * 256)),
        parts_{0, slice_ * kFloat},
        sent_(all.allocate(parts_.size * size_)),
        full_(all.allocate(parts_.size * size_)),
        once_(all.allocate_shared(parts_.size * size_, parts_.size * size_)),
        host_(static_cast<std::size_t>(slice_ * size_)) {
    if (once_ == nullptr) once_ = all.allocate(parts_.size * size_);
  }

  void exchange() {
    fill("exchange", [&](int to, std::int64_t i) { return mark(rank_, to, i); });
    const std::vector<Contribution> pieces = all_.exchange(*sent_, parts_);
    for (int r = 0; r < size_; ++r)
      compare("exchange", pieces[index(r)].data, slice_,
              [&](std::int64_t i) { return mark(r, rank_, i); });
    all_.finish_exchange();
  }

  void exchange_sums() {
    fill("exchange_sums", [&](int to, std::int64_t i) { return mark(rank_, to, i); });
    const auto add = [&](std::span<const std::byte* const> slices, float* out) {
      std::memcpy(out, slices[0], static_cast<std::size_t>(parts_.size));
      for (const std::byte* slice : slices.subspan(1)) {
        const auto* values = reinterpret_cast<const float*>(slice);
        for (std::int64_t i = 0; i < slice_; ++i) out[i] += values[i];
      }
    };
    const SubtreeSum sums{0, size_, slice_, add};
    int first = 0;
    for (const Contribution& one : all_.exchange(*sent_, parts_, &sums)) {
      compare("exchange_sums", one.data, slice_, [&](std::int64_t i) {
        float sum = 0;
        for (int r = first; r < first + one.ranks; ++r) sum += mark(r, rank_, i);
        return sum;
      });
      first += one.ranks;
    }
    check("exchange_sums", first, size_, "ranks in all");
    all_.finish_exchange();
  }

  void all_gather() {
    fill("all_gather",
         [&](int to, std::int64_t i) { return to == rank_ ? mark(rank_, rank_, i) : -1; });
    all_.all_gather(*sent_, parts_, full_->data());
    for (int r = 0; r < size_; ++r)
      compare("all_gather", full_->data() + parts_.of(r), slice_,
              [&](std::int64_t i) { return mark(r, r, i); });
  }

  void all_gather_shared() {
    for (int turn = 0; turn < 2; ++turn) {  // the second overwrites what others may still read
      fill("all_gather_shared", [&](int to, std::int64_t i) {
        return to == rank_ ? mark(rank_, rank_ + 2 + turn, i) : -1;
      });
      all_.all_gather(*sent_, parts_, once_->data(), once_.get());
      for (int r = 0; r < size_; ++r) {
        compare("all_gather_shared", once_->data() + parts_.of(r), slice_,
                [&](std::int64_t i) { return mark(r, r + 2 + turn, i); });
      }
    }
  }

  void shards() {
    fill("shards",
         [&](int to, std::int64_t i) { return to == rank_ ? mark(rank_, rank_ + 1, i) : -1; });
    const std::vector<const std::byte*> pieces = all_.shards(*sent_, parts_);
    for (int r = 0; r < size_; ++r)
      compare("shards", pieces[index(r)], slice_,
              [&](std::int64_t i) { return mark(r, r + 1, i); });
    all_.finish_exchange();
  }

  void all_reduce() {
    fill("all_reduce_fast", [&](int, std::int64_t i) { return mark(rank_, 0, i); });
    all_.all_reduce_fast(sent_->as<float>(), slice_);
    compare("all_reduce_fast", sent_->data(), slice_, [&](std::int64_t i) {
      float sum = 0;
      for (int r = 0; r < size_; ++r) sum += mark(r, 0, i);
      return sum;
    });
  }

  void scalars() {
    std::array<double, 2> sums{rank_ + 0.5 + fault("sum_in_rank_order"), 1};
    all_.control().sum_in_rank_order(sums);
    check("sum_in_rank_order", sums[0], 0.5 * size_ * size_, "as the sum of rank + 0.5");
    check("sum_in_rank_order", sums[1], 1.0 * size_, "as the number of ranks");
    const std::array<double, 1> mine{3.0 * rank_ + fault("all_gather_doubles")};
    std::vector<double> every(index(size_));
    all_.control().all_gather_doubles(mine, every);
    for (int r = 0; r < size_; ++r)
      check("all_gather_doubles", every[index(r)], 3.0 * r, "from rank " + std::to_string(r));
    const std::int64_t largest =
        all_.control().maximum(7 * rank_ + (fault("maximum") > 0 ? 1000 : 0));
    check("maximum", largest, std::int64_t{7} * (size_ - 1), "as the largest of 7 rank");
  }

  void texts() {
    const auto word = [](int r) { return "rank " + std::to_string(r); };
    std::string told = rank_ == size_ - 1 ? word(rank_) : "";
    all_.control().broadcast(told, size_ - 1);
    if (fault("broadcast") > 0) told += "?";  // the root's own would be everyone's
    check("broadcast", told, word(size_ - 1), "from the last rank");
    const std::vector<std::string> every =
        all_.control().gather_texts(word(rank_) + (fault("gather_texts") > 0 ? "?" : ""));
    check("gather_texts", std::ssize(every), std::ptrdiff_t{size_}, "texts");
    for (std::size_t r = 0; r < every.size(); ++r)
      check("gather_texts", every[r], word(static_cast<int>(r)), "from rank " + std::to_string(r));
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }

  [[nodiscard]] SelfTestRates rates() {
    if (size_ == 1) return {};
    SelfTestRates out;
    out.exchange = rate([&] {
      const std::vector<Contribution> pieces = all_.exchange(*sent_, parts_);
      for (int r = 0; r < size_; ++r)
        copy_(host_.data() + slice_ * r, pieces[index(r)].data, parts_.size);
      all_.finish_exchange();
    });
    out.all_gather = rate([&] { all_.all_gather(*sent_, parts_, full_->data()); });
    return out;
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  /// 1 where this rank is to spoil the collective.
  [[nodiscard]] int fault(std::string_view call) const { return planted_ == call ? 1 : 0; }

  /// This rank's buffer: `value(to, i)` in each slice.
  template <typename Value>
  void fill(std::string_view call, const Value& value) {
    for (int to = 0; to < size_; ++to) {
      for (std::int64_t i = 0; i < slice_; ++i)
        host_[static_cast<std::size_t>(slice_ * to + i)] = value(to, i);
    }
    if (fault(call) > 0) {
      for (int to = 0; to < size_; ++to) host_[static_cast<std::size_t>(slice_ * to + 11)] += 1;
    }
    copy_(sent_->data(), host_.data(), parts_.size * size_);
    all_.barrier();  // a transport over a device reads behind the copy
  }

  template <typename Expected>
  void compare(const char* call, const std::byte* data, std::int64_t count,
               const Expected& expected) {
    copy_(host_.data(), data, count * kFloat);
    for (std::int64_t i = 0; i < count && problem_.empty(); ++i) {
      const float seen = host_[static_cast<std::size_t>(i)];
      if (seen != expected(i)) check(call, seen, expected(i), "at element " + std::to_string(i));
    }
  }

  template <typename Value>
  void check(const char* call, const Value& seen, const Value& expected, const std::string& where) {
    if (seen == expected || !problem_.empty()) return;
    std::ostringstream text;
    text << call << ": expected " << expected << ", seen " << seen << " " << where;
    problem_ = text.str();
  }

  /// The fastest of a few calls, at the slowest rank.
  template <typename Call>
  double rate(const Call& call) {
    std::int64_t best = INT64_MAX;
    for (int i = 0; i < kTimedCalls; ++i) {
      all_.barrier();
      const auto start = std::chrono::steady_clock::now();
      call();
      const std::chrono::nanoseconds mine = std::chrono::steady_clock::now() - start;
      best = std::min(best, all_.control().maximum(mine.count()));
    }
    return static_cast<double>(parts_.size * (size_ - 1)) / (static_cast<double>(best) * 1e-9);
  }

  Collectives& all_;
  std::string_view planted_;
  const BufferCopy& copy_;
  int rank_, size_;
  std::int64_t slice_;  ///< floats for each rank
  RankParts parts_;
  std::unique_ptr<TransportBuffer> sent_, full_, once_;
  std::vector<float> host_;
  std::string problem_;
};

}  // namespace

void copy_on_host(void* to, const void* from, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

SelfTestRates self_test(Collectives& collectives, std::string_view planted,
                        const BufferCopy& copy) {
  Exam exam(collectives, planted, copy);
  exam.exchange();
  exam.exchange_sums();
  exam.all_gather();
  exam.all_gather_shared();
  exam.shards();
  exam.all_reduce();
  exam.scalars();
  exam.texts();
  const std::vector<std::string> problems = collectives.control().gather_texts(exam.problem());
  for (std::size_t r = 0; r < problems.size(); ++r) {
    if (problems[r].empty()) continue;
    throw MpiError(
        "the start-up self-test failed on rank " + std::to_string(r) + ": " + problems[r] +
        " (transport: " + collectives.description() +
        "); nothing was trained: look at the MPI library and the network of these hosts");
  }
  return exam.rates();
}

std::string_view planted_fault(const char* text, int rank) {
  const std::string_view all = text == nullptr ? std::string_view() : std::string_view(text);
  const std::size_t at = all.find('@');
  if (at == std::string_view::npos) return rank == 0 ? all : std::string_view();
  int chosen = 0;
  const std::string_view number = all.substr(at + 1);
  const auto [rest, code] = std::from_chars(number.data(), number.data() + number.size(), chosen);
  if (code != std::errc() || rest != number.data() + number.size()) {
    throw DeckError("TH_FAIL_SELF_TEST=" + std::string(all) +
                    ": the rank is no number; allowed is NAME or NAME@RANK");
  }
  return chosen == rank ? all.substr(0, at) : std::string_view();
}

}  // namespace th::runtime
