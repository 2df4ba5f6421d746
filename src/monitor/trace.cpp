#include "th/monitor/trace.hpp"

#include <algorithm>
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

TraceWriter::TraceWriter(Sink sink, const std::vector<TraceUnit>& units, std::int64_t zero,
                         runtime::StateNames states)
    : sink_(std::move(sink)), units_(units), zero_(zero), states_(states) {
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
  named_.clear();
  shown_ = {};
  item(metadata("process_name", rank, "", R"("name":")" + escaped(name) + "\""));
  item(metadata("process_sort_index", rank, "", R"("sort_index":)" + std::to_string(rank)));
}

int TraceWriter::thread_of(const FlightRecord::Event& event) {
  // Data workers are threads of their own, behind all others.
  const bool reads = event.on == On::kReading;
  const int worker = reads ? std::max<int>(0, event.slot) : 0;
  const int number = static_cast<int>(event.on) + worker;
  if (!named_.insert(number).second) return number;
  const std::string thread = R"(,"tid":)" + std::to_string(number);
  const int place = event.on == On::kHost ? 0 : number + 1;  // the host first, then compute
  item(metadata("thread_name", rank_, thread,
                std::string(R"("name":")") + FlightRecord::name(event.on) +
                    (worker > 0 ? " " + std::to_string(worker + 1) : "") + "\""));
  item(metadata("thread_sort_index", rank_, thread, R"("sort_index":)" + std::to_string(place)));
  return number;
}

void TraceWriter::event(const FlightRecord::Event& event) {
  const int thread = thread_of(event);
  const bool of_unit = event.unit >= 0 && static_cast<std::size_t>(event.unit) < units_.size();
  const char* what = FlightRecord::name(event.what);
  std::string name = what, arguments = R"("step":)" + std::to_string(event.step);
  const bool reads = event.what == FlightRecord::What::kRead,
             writes = event.what == FlightRecord::What::kWrite;
  if (event.slot >= 0)
    arguments += (reads ? R"(,"worker":)" : R"(,"slot":)") + std::to_string(event.slot);
  if (event.what == FlightRecord::What::kStep) name.append(" ").append(std::to_string(event.step));
  if (reads || writes) name.append(" step ").append(std::to_string(event.step));
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
       R"(,"pid":)" + std::to_string(rank_) + R"(,"tid":)" + std::to_string(thread) +
       R"(,"args":{)" + arguments + "}}");
}

void TraceWriter::memory(const runtime::MemorySamples::Sample& sample) {
  std::bitset<runtime::kMemoryClasses>& shown = shown_[static_cast<std::size_t>(sample.of)];
  std::string arguments;
  for (std::size_t k = 0; k < runtime::kMemoryClasses; ++k) {
    if (sample.use.bytes[k] != 0) shown.set(k);
    if (!shown.test(k)) continue;
    const char* name = runtime::memory_class_name(static_cast<runtime::MemoryClass>(k), states_);
    arguments += (arguments.empty() ? "\"" : ",\"") + escaped(name) +
                 "\":" + std::to_string(sample.use.bytes[k]);
  }
  if (arguments.empty()) return;
  const bool of_host = sample.of == runtime::MemorySamples::Of::kHost;
  item(std::string(R"({"name":")") + (of_host ? "memory" : "memory of the GPU") +
       R"(","cat":"memory","ph":"C","ts":)" + microseconds(sample.ns - zero_) + R"(,"pid":)" +
       std::to_string(rank_) + R"(,"args":{)" + arguments + "}}");
}

void TraceWriter::arrow(const TraceArrow& arrow) {
  const char* kind = arrow.end == TraceArrow::End::kFirst     ? "s"
                     : arrow.end == TraceArrow::End::kBetween ? "t"
                                                              : "f";
  // "e": it ends in the event that is there, not in the next one.
  const char* binding = arrow.end == TraceArrow::End::kLast ? R"(","bp":"e)" : "";
  item(std::string(R"({"name":")") + FlightRecord::name(arrow.what) +
       R"(","cat":"collective","ph":")" + kind + binding + R"(","id":)" + std::to_string(arrow.id) +
       R"(,"ts":)" + microseconds(arrow.ns - zero_) + R"(,"pid":)" + std::to_string(arrow.rank) +
       R"(,"tid":)" + std::to_string(static_cast<int>(arrow.on)) + "}");
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
