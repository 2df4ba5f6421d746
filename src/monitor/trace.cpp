#include "th/monitor/trace.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "th/base/json_text.hpp"

namespace th::monitor {

using runtime::FlightRecord;

namespace {

constexpr std::size_t kPiece = 8192;  // bytes that the sink takes at once

/// As it stands between the quotes of a JSON string; what is no UTF-8 is replaced.
std::string escaped(const std::string& text) {
  const std::string quoted = json_quoted(text);
  return quoted.substr(1, quoted.size() - 2);
}

/// Nanoseconds as microseconds, exactly.
std::string microseconds(std::int64_t ns) {
  const auto [whole, rest] = std::lldiv(ns < 0 ? -ns : ns, 1000);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%s%lld.%03lld", ns < 0 ? "-" : "", whole, rest);
  return text.data();
}

std::string metadata(const char* what, int process, const std::string& thread,
                     const std::string& arguments) {
  return std::string(R"({"name":")") + what + R"(","ph":"M","pid":)" + std::to_string(process) +
         thread + R"(,"args":{)" + arguments + "}}";
}

std::int64_t bytes_of(const TraceUnit& unit, FlightRecord::What what) {
  switch (what) {
    case FlightRecord::What::kGather:
      return unit.gathered;
    case FlightRecord::What::kReduce:
      return unit.reduced;
    case FlightRecord::What::kFetch:
      return unit.fetched;
    default:
      return 0;
  }
}

}  // namespace

TraceWriter::TraceWriter(Sink sink, const std::vector<TraceUnit>& units, std::int64_t zero)
    : sink_(std::move(sink)), units_(units), zero_(zero) {
  for (TraceUnit& unit : units_) unit.name = escaped(unit.name);
  pending_.reserve(kPiece);
  put("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
}

void TraceWriter::put(const std::string& text) {
  if (pending_.size() + text.size() > kPiece) flush();
  pending_ += text;
}

void TraceWriter::item(const std::string& text) {
  put((std::exchange(first_, false) ? "" : ",\n") + text);
}

void TraceWriter::flush() {
  sink_(pending_);
  pending_.clear();
}

void TraceWriter::rank(int rank, const std::string& name) {
  rank_ = rank;
  named_.fill(false);
  item(metadata("process_name", rank, "", R"("name":")" + escaped(name) + "\""));
  item(metadata("process_sort_index", rank, "", R"("sort_index":)" + std::to_string(rank)));
}

void TraceWriter::thread_of(On on) {
  const auto number = static_cast<std::size_t>(on);
  if (std::exchange(named_[number], true)) return;
  const std::string thread = R"(,"tid":)" + std::to_string(number);
  const std::size_t place = on == On::kHost ? 0 : number + 1;  // the host first, then compute
  item(metadata("thread_name", rank_, thread,
                std::string(R"("name":")") + FlightRecord::name(on) + "\""));
  item(metadata("thread_sort_index", rank_, thread, R"("sort_index":)" + std::to_string(place)));
}

void TraceWriter::event(const FlightRecord::Event& event) {
  thread_of(event.on);
  const bool of_unit = event.unit >= 0 && static_cast<std::size_t>(event.unit) < units_.size();
  const char* what = FlightRecord::name(event.what);
  std::string name = what, arguments = R"("step":)" + std::to_string(event.step);
  if (event.slot >= 0) arguments += R"(,"slot":)" + std::to_string(event.slot);
  if (event.what == FlightRecord::What::kStep) name.append(" ").append(std::to_string(event.step));
  if (event.what == FlightRecord::What::kSlot) name.append(" ").append(std::to_string(event.slot));
  if (of_unit) {
    const TraceUnit& unit = units_[static_cast<std::size_t>(event.unit)];
    name.append(" ").append(unit.name);
    arguments += R"(,"unit":")" + unit.name + "\"";
    if (const std::int64_t bytes = bytes_of(unit, event.what); bytes > 0)
      arguments += R"(,"bytes":)" + std::to_string(bytes);
  }
  item(R"({"name":")" + name + R"(","cat":")" + what + R"(","ph":"X","ts":)" +
       microseconds(event.begin - zero_) + R"(,"dur":)" + microseconds(event.end - event.begin) +
       R"(,"pid":)" + std::to_string(rank_) + R"(,"tid":)" +
       std::to_string(static_cast<int>(event.on)) + R"(,"args":{)" + arguments + "}}");
}

void TraceWriter::finish(const std::vector<std::pair<std::string, std::string>>& notes) {
  put("\n],\"otherData\":{\n");
  first_ = true;
  for (const auto& [name, value] : notes)
    item(std::string("\"")
             .append(escaped(name))
             .append("\":\"")
             .append(escaped(value))
             .append("\""));
  put("\n}}\n");
  flush();
}

}  // namespace th::monitor
