#include "cuda/device/device_map.hpp"

#include "th/base/counted.hpp"
#include "th/base/error.hpp"

#include <map>
#include <set>
#include <sstream>

namespace th::cuda {

namespace {

constexpr const char* kWaysOut =
    "start fewer ranks a node, or set comm.backend=mpi, with which ranks share a GPU";

struct Node {
  int ranks = 0;
  std::set<std::string> devices;
  std::map<std::string, std::size_t> owner;  // device -> rank
};

}  // namespace

std::vector<int> assign_devices(std::span<const VisibleDevices> ranks, bool sharing) {
  std::map<std::string, Node> nodes;
  for (const VisibleDevices& rank : ranks) {
    Node& node = nodes[rank.host];
    ++node.ranks;
    node.devices.insert(rank.devices.begin(), rank.devices.end());
  }
  for (const auto& [host, node] : nodes) {
    if (sharing && !node.devices.empty()) continue;
    if (node.ranks > static_cast<int>(node.devices.size())) {
      throw DeviceError(host + " has more ranks than GPUs: " + counted(node.ranks, "rank") + ", " +
                        counted(std::ssize(node.devices), "GPU") + "; " + kWaysOut);
    }
  }
  std::vector<int> out;
  std::map<std::string, std::size_t> next;  // host -> local rank
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const VisibleDevices& rank = ranks[r];
    const std::size_t local = next[rank.host]++;
    const std::string who = "rank " + std::to_string(r) + " on " + rank.host;
    if (rank.devices.empty())
      throw DeviceError(
          who + " sees no GPU, though other ranks there do: look at the launcher's GPU binding");
    const std::size_t count = rank.devices.size();
    if (!sharing && count > 1 && local >= count) {
      throw DeviceError(who + " is the node's rank " + std::to_string(local) + " but sees " +
                        std::to_string(count) + " GPUs: more ranks than GPUs; " + kWaysOut);
    }
    const std::size_t device = local % count;
    const auto [owner, fresh] = nodes[rank.host].owner.emplace(rank.devices[device], r);
    if (!fresh && !sharing) {
      throw DeviceError(who + " and rank " + std::to_string(owner->second) +
                        " would both take the GPU " + rank.devices[device] +
                        ": show every rank of the node all its GPUs, or each rank one of its own");
    }
    out.push_back(static_cast<int>(device));
  }
  return out;
}

std::string encode(const VisibleDevices& visible) {
  std::string out = visible.host + "\n";
  for (const std::string& device : visible.devices) out += device + "\n";
  return out;
}

VisibleDevices decode(const std::string& text) {
  VisibleDevices out;
  std::istringstream in(text);
  std::getline(in, out.host);
  for (std::string device; std::getline(in, device);) out.devices.push_back(device);
  return out;
}

}  // namespace th::cuda
