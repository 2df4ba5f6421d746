#include "th/runtime/transport/order_check.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>
#include <vector>

#include "th/base/error.hpp"

namespace th::runtime {

namespace {

struct CallMessage {
  std::array<char, 40> name{};
  std::int64_t first = 0, second = 0;
  friend bool operator==(const CallMessage&, const CallMessage&) = default;
};
static_assert(std::has_unique_object_representations_v<CallMessage>);

std::string text_of_call(const CallMessage& call) {
  return std::string(call.name.data()) + " (" + std::to_string(call.first) + ", " +
         std::to_string(call.second) + ")";
}

}  // namespace

void OrderCheck::agree(const Call& mine) {
  CallMessage message{.first = mine.first, .second = mine.second};
  const std::size_t letters = std::min(mine.name.size(), message.name.size() - 1);
  std::copy_n(mine.name.data(), letters, message.name.data());
  std::vector<CallMessage> all(static_cast<std::size_t>(comm_.size()));
  constexpr int kBytes = sizeof(CallMessage);
  check_mpi(MPI_Allgather(&message, kBytes, MPI_BYTE, all.data(), kBytes, MPI_BYTE, comm_.get()),
            "MPI_Allgather");
  ++number_;
  const auto other = std::find_if(all.begin(), all.end(),
                                  [&](const CallMessage& one) { return !(one == all.front()); });
  if (other == all.end()) return;
  const auto rank = other - all.begin();
  throw MpiError("comm.check_order: the ranks' collectives differ at call " +
                 std::to_string(number_) + ": rank 0 calls " + text_of_call(all.front()) +
                 ", rank " + std::to_string(rank) + " calls " + text_of_call(*other));
}

}  // namespace th::runtime
