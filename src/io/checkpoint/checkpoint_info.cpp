#include "th/io/checkpoint/checkpoint_info.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string_view>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/base/json_text.hpp"

namespace th::io {

std::string shard_name(std::int64_t rank) {
  char text[40];
  std::snprintf(text, sizeof text, "shard_%05lld.h5", static_cast<long long>(rank));
  return text;
}

std::string dataset_path(const std::string& what) {
  return what == "parameters" || what == "ema" ? what : "optimizer/" + what;
}

std::int64_t real_count(const zero::FlatLayout& layout, std::int64_t rank) {
  std::int64_t total = 0;
  for (const auto& piece : layout.pieces(rank)) total += piece.count;
  return total;
}

std::string layout_to_json(const CheckpointInfo& info) {
  nlohmann::json units = nlohmann::json::array();
  for (const auto& unit : info.units) {
    nlohmann::json tensors = nlohmann::json::array();
    for (const auto& tensor : unit.tensors)
      tensors.push_back({{"name", tensor.name}, {"shape", tensor.shape}});
    units.push_back({{"name", unit.name}, {"tensors", tensors}});
  }
  nlohmann::json aliases = nlohmann::json::array();
  for (const auto& alias : info.aliases)
    aliases.push_back({{"alias", alias.alias}, {"tensor", alias.tensor}});
  nlohmann::json layout{{"alignment", info.alignment},
                        {"units", units},
                        {"aliases", aliases},
                        {"state_names", info.state_names}};
  if (!info.short_states.empty()) layout["short_states"] = info.short_states;
  return json_text(layout);
}

std::uint32_t covered_crc(const CheckpointInfo& info, const std::string& layout) {
  std::uint32_t crc = 0;
  const auto add = [&crc](std::string_view text) {
    crc = crc32c(std::as_bytes(std::span(text.data(), text.size())), crc);
  };
  for (const std::string* text : {&info.deck, &info.state_json, &layout}) add(*text);
  for (const auto* tokens : {&info.source_tokens, &info.target_tokens}) {
    for (const std::string& token : *tokens) {
      add(token);
      add("\n");
    }
  }
  add(info.source_model);
  add(info.target_model);
  return crc;
}

namespace {

// Far beyond any model; sums of them stay far below 64 bits.
constexpr std::int64_t kMostElements = std::int64_t{1} << 50, kMostAlignment = 1 << 20;

[[noreturn]] void refuse_layout(const std::string& what) {
  throw CheckpointError("the layout attribute of model.h5 is damaged: " + what);
}

/// Throws where the flat layout of such tensors could not be reckoned, or names are not unique.
void require_layout(const CheckpointInfo& info) {
  if (info.alignment < 1 || info.alignment > kMostAlignment)
    refuse_layout("its alignment is " + std::to_string(info.alignment));
  std::set<std::string> names;
  const auto take_name = [&](const std::string& name) {
    if (!names.insert(name).second) refuse_layout("two tensors have the name " + name);
  };
  std::int64_t total = 0;
  for (const auto& unit : info.units) {
    for (const auto& tensor : unit.tensors) {
      take_name(tensor.name);
      std::int64_t count = 1;
      for (const std::int64_t extent : tensor.shape) {
        if (extent < 0 || (extent > 0 && count > kMostElements / extent))
          refuse_layout(tensor.name + " has an extent of " + std::to_string(extent));
        count *= extent;
      }
      total += count + info.alignment;
      if (total > kMostElements) refuse_layout("its tensors have more elements than any model");
    }
  }
  for (const auto& alias : info.aliases) take_name(alias.alias);
}

}  // namespace

void layout_from_json(const std::string& text, CheckpointInfo& info) {
  try {
    const auto json = parse_json(text);
    // Version 1 did not say.
    info.alignment = json.contains("alignment") ? json_integer(json.at("alignment")) : 16;
    for (const auto& unit : json.at("units")) {
      model::UnitSpec spec{unit.at("name").get<std::string>(), {}};
      for (const auto& tensor : unit.at("tensors")) {
        spec.tensors.push_back(
            {tensor.at("name").get<std::string>(), json_integers(tensor.at("shape"))});
      }
      info.units.push_back(std::move(spec));
    }
    for (const auto& alias : json.at("aliases")) {
      info.aliases.push_back(
          {alias.at("alias").get<std::string>(), alias.at("tensor").get<std::string>()});
    }
    info.state_names = json.at("state_names").get<std::vector<std::string>>();
    info.short_states = json.value("short_states", std::vector<std::string>());
    require_layout(info);
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError(std::string("the layout attribute of model.h5 is damaged: ") +
                          error.what());
  }
}

}  // namespace th::io
