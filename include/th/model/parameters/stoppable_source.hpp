#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "th/model/parameters/parameters.hpp"

namespace th::model {

/// The parameters of another source, for work that can be given up: it asks stop() before it opens
/// a unit, and attention of long sentences asks between blocks of queries. So encoding a sentence
/// of 100,000 ids ends soon. Forward passes of one rank alone; where ranks open units together they
/// have to agree first.
class StoppableSource final : public ParameterSource {
 public:
  /// Thrown where stop() said so.
  struct GivenUp {};

  /// `stop` is used as long as this lives, by all threads that compute.
  StoppableSource(ParameterSource& source, const std::function<bool()>& stop)
      : source_(source), asked_([this, &stop] {
          if (!given_up_ && stop()) given_up_ = true;
          return given_up_.load();
        }) {}
  const UnitTensors& open_forward(std::int64_t unit) override {
    if (asked_()) throw GivenUp{};
    return source_.open_forward(unit);
  }
  void close_forward(std::int64_t unit) override { source_.close_forward(unit); }
  UnitTensors& open_backward(std::int64_t unit) override { return source_.open_backward(unit); }
  void close_backward(std::int64_t unit) override { source_.close_backward(unit); }
  [[nodiscard]] const std::function<bool()>* stop() const override { return &asked_; }

 private:
  ParameterSource& source_;
  std::atomic<bool> given_up_ = false;
  std::function<bool()> asked_;
};

/// The result of work(), or nothing if a StoppableSource ended it.
template <typename Work>
[[nodiscard]] auto unless_given_up(const Work& work) -> std::optional<decltype(work())> {
  try {
    return work();
  } catch (const StoppableSource::GivenUp&) {
    return std::nullopt;
  }
}

}  // namespace th::model
