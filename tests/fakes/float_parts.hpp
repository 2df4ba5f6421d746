#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "th/runtime/transport/collectives.hpp"

// A transport counts in bytes; most tests of it send floats.
namespace th_test {

/// Equal parts of `floats` elements each, from element `offset` on.
inline th::runtime::RankParts parts(std::int64_t offset, std::int64_t floats) {
  return {offset * 4, floats * 4};
}
inline const float* floats_of(const th::runtime::Contribution& from) {
  return reinterpret_cast<const float*>(from.data);
}
inline std::vector<const float*> floats_of(const std::vector<const std::byte*>& shards) {
  std::vector<const float*> out;
  for (const std::byte* shard : shards) out.push_back(reinterpret_cast<const float*>(shard));
  return out;
}
inline std::byte* bytes_of(std::vector<float>& values) {
  return reinterpret_cast<std::byte*>(values.data());
}

}  // namespace th_test
