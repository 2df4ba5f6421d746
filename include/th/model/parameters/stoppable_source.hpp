#pragma once

#include <functional>
#include <optional>

#include "th/model/parameters/parameters.hpp"

namespace th::model {

/// The parameters of another source, for work that can be given up: before it opens a unit, it asks
/// stop(). So a pass ends between two layers, which matters in encoding a sentence of 100,000 ids.
/// Forward passes of one rank alone; where ranks open units together they have to agree first.
class StoppableSource final : public ParameterSource {
 public:
  /// Thrown where stop() said so.
  struct GivenUp {};

  /// `stop` is used as long as this lives.
  StoppableSource(ParameterSource& source, const std::function<bool()>& stop)
      : source_(source), stop_(stop) {}
  const UnitTensors& open_forward(std::int64_t unit) override {
    if (stop_()) throw GivenUp{};
    return source_.open_forward(unit);
  }
  void close_forward(std::int64_t unit) override { source_.close_forward(unit); }
  UnitTensors& open_backward(std::int64_t unit) override { return source_.open_backward(unit); }
  void close_backward(std::int64_t unit) override { source_.close_backward(unit); }

 private:
  ParameterSource& source_;
  const std::function<bool()>& stop_;
};

/// What work() gives; empty where a StoppableSource ended it.
template <typename Work>
[[nodiscard]] auto unless_given_up(const Work& work) -> std::optional<decltype(work())> {
  try {
    return work();
  } catch (const StoppableSource::GivenUp&) {
    return std::nullopt;
  }
}

}  // namespace th::model
