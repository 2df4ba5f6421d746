#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/io/checkpoint_reader.hpp"

namespace {

using th::io::CheckpointReader;
using Json = nlohmann::json;

constexpr const char* kUsage =
    "usage: th_inspect ls|stat|verify CHECKPOINT [--json]\n"
    "       th_inspect show CHECKPOINT NAME[BEGIN:END] [--json]    (rows BEGIN to END - 1)\n"
    "A name is a parameter's, or STATE/NAME for an optimizer state. Exit: 0 fine, 1 damaged, 2 usage, 5 unusable.\n";

struct Request {
  std::string command, checkpoint, name;
  bool json = false;
};

struct Entry {
  std::string kind, name;
  const th::zero::TensorSpec* spec;
};

std::vector<Entry> entries(const CheckpointReader& reader) {
  std::vector<Entry> all;
  for (const auto& kind : reader.kinds()) {
    for (const auto& tensor : reader.layout().tensors()) all.push_back({kind, tensor.spec.name, &tensor.spec});
    for (const auto& alias : reader.info().aliases) {
      all.push_back({kind, alias.alias, &reader.layout().tensors()[static_cast<std::size_t>(reader.tensor_index(alias.alias))].spec});
    }
  }
  return all;
}

std::string full_name(const Entry& entry) { return entry.kind == "parameters" ? entry.name : entry.kind + "/" + entry.name; }

int list(const CheckpointReader& reader, bool json) {
  Json out = Json::array();
  for (const auto& entry : entries(reader)) {
    if (json) out.push_back({{"name", full_name(entry)}, {"shape", entry.spec->shape}, {"dtype", "float32"}});
    else std::cout << full_name(entry) << ' ' << Json(entry.spec->shape).dump() << " float32\n";
  }
  if (json) std::cout << out.dump() << '\n';
  return 0;
}

Json statistics(const std::vector<float>& values) {
  double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
  std::int64_t finite = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    ++finite;
    sum += value;
    low = std::min<double>(low, value);
    high = std::max<double>(high, value);
  }
  const double mean = finite > 0 ? sum / static_cast<double>(finite) : NAN;
  for (const float value : values) {
    if (std::isfinite(value)) squares += (value - mean) * (value - mean);
  }
  return {{"mean", mean}, {"deviation", std::sqrt(squares / static_cast<double>(finite))}, {"min", low}, {"max", high},
          {"non_finite", static_cast<std::int64_t>(values.size()) - finite}};
}

int stat(const CheckpointReader& reader, bool json) {
  Json out = Json::object();
  for (const auto& entry : entries(reader)) {
    const Json row = statistics(reader.read_tensor(entry.kind, entry.name));
    if (json) out[full_name(entry)] = row;
    else std::cout << full_name(entry) << ' ' << row.dump() << '\n';
  }
  if (json) std::cout << out.dump() << '\n';
  return 0;
}

int report(const std::vector<std::string>& problems, const Request& request) {
  if (request.json) std::cout << Json{{"ok", problems.empty()}, {"problems", problems}}.dump() << '\n';
  else for (const auto& problem : problems) std::cout << problem << '\n';
  if (!request.json && problems.empty()) std::cout << request.checkpoint << ": every shard and checksum is right\n";
  return problems.empty() ? 0 : 1;
}

int show(const CheckpointReader& reader, std::string name, bool json) {
  std::string slice, kind = "parameters";
  if (const auto at = name.find('['); at != std::string::npos) {
    slice = name.substr(at + 1);
    name.resize(at);
  }
  if (const auto at = name.find('/'); at != std::string::npos) {
    kind = name.substr(0, at);
    name.erase(0, at + 1);
  }
  const auto& spec = reader.layout().tensors()[static_cast<std::size_t>(reader.tensor_index(name))].spec;
  const auto kinds = reader.kinds();
  if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) throw th::CheckpointError("no state " + kind + " in " + reader.folder());
  const auto values = reader.read_tensor(kind, name);
  const std::int64_t rows = spec.shape.empty() ? 1 : spec.shape[0];
  const std::int64_t width = rows > 0 ? static_cast<std::int64_t>(values.size()) / rows : 0;
  std::int64_t begin = 0, end = rows;
  if (!slice.empty()) {
    const auto colon = slice.find(':');
    if (colon == std::string::npos || slice.back() != ']' || slice.find_first_not_of("0123456789:]") != std::string::npos) {
      throw th::DeckError("a slice is [BEGIN:END], seen [" + slice);
    }
    const std::string last = slice.substr(colon + 1, slice.size() - colon - 2);
    if (colon > 0) begin = std::stoll(slice.substr(0, colon));
    if (!last.empty()) end = std::min<std::int64_t>(end, std::stoll(last));
  }
  std::cout.precision(9);
  Json out = Json::array();
  for (std::int64_t row = begin; row < end; ++row) {
    const auto first = values.begin() + row * width;
    if (json) out.push_back(std::vector<float>(first, first + width));
    else for (auto it = first; it != first + width; ++it) std::cout << *it << (it + 1 == first + width ? '\n' : ' ');
  }
  if (json) std::cout << out.dump() << '\n';
  return 0;
}

bool parse(int argc, char** argv, Request& request) {
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json") request.json = true;
    else if (word.rfind("--", 0) == 0) return false;
    else words.push_back(word);
  }
  if (words.size() < 2) return false;
  request.command = words[0];
  request.checkpoint = words[1];
  if (words.size() > 2) request.name = words[2];
  if (request.command == "show") return words.size() == 3;
  return words.size() == 2 && (request.command == "ls" || request.command == "stat" || request.command == "verify");
}

int run(const Request& request) {
  if (request.command == "verify" && std::filesystem::exists(request.checkpoint + "/model.h5")) {
    try {
      return report(CheckpointReader(request.checkpoint).verify(), request);
    } catch (const th::CheckpointError& error) {  // model.h5 itself is damaged
      return report({error.what()}, request);
    }
  }
  const CheckpointReader reader(request.checkpoint);
  for (const auto& note : reader.notes()) std::cerr << "th_inspect: " << note << '\n';
  if (request.command == "ls") return list(reader, request.json);
  if (request.command == "stat") return stat(reader, request.json);
  if (request.command == "verify") return report(reader.verify(), request);
  return show(reader, request.name, request.json);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--help") {
    std::cout << kUsage;
    return 0;
  }
  Request request;
  if (!parse(argc, argv, request)) {
    std::cerr << kUsage;
    return 2;
  }
  try {
    return run(request);
  } catch (const th::Error& error) {
    std::cerr << "th_inspect: " << error.what() << '\n';
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::cerr << "th_inspect: " << error.what() << '\n';
    return 2;
  }
}
