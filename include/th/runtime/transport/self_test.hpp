#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "th/runtime/transport/collectives.hpp"

namespace th::runtime {

/// What the self-test measured: payload bytes a second that one rank sends, at the slowest rank; 0
/// with one rank. For people: nothing is chosen by it.
struct SelfTestRates {
  double exchange = 0;  ///< with a reading of every slice
  double all_gather = 0;
};

/// Copies `count` floats between host memory and the transport's buffers; a transport over device
/// memory brings its own.
using BufferCopy = std::function<void(float* to, const float* from, std::int64_t count)>;
void copy_on_host(float* to, const float* from, std::int64_t count);

/// One collective of each kind with a known answer, on a megabyte a rank. Collective. Throws
/// MpiError on every rank, naming the first rank that saw a wrong answer, the collective, what was
/// expected and what was seen. `planted`: a collective, by its name in Collectives, in which this
/// rank takes part with a wrong value (tests); empty: none.
SelfTestRates self_test(Collectives& collectives, std::string_view planted = {},
                        const BufferCopy& copy = copy_on_host);

/// The collective that this rank is to spoil by `text`, the value of TH_FAIL_SELF_TEST:
/// "NAME[@RANK]", RANK 0 where it is not given. Null: none. Throws DeckError for a rank that is no
/// number.
[[nodiscard]] std::string_view planted_fault(const char* text, int rank);

}  // namespace th::runtime
