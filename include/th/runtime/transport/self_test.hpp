#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "th/runtime/transport/collectives.hpp"

namespace th::runtime {

/// The rates that the self-test measured: payload bytes a second that one rank sends, at the
/// slowest rank; 0 with one rank. They are for people; nothing is chosen by them.
struct SelfTestRates {
  double exchange = 0;  ///< with a reading of every slice
  double all_gather = 0;
};

/// A function that copies `bytes` between host memory and the transport's buffers; a transport over
/// device memory has its own.
using BufferCopy = std::function<void(void* to, const void* from, std::int64_t bytes)>;
void copy_on_host(void* to, const void* from, std::int64_t bytes);

/// Makes one collective of each kind with a known answer, on a megabyte a rank. Collective. If an
/// answer is wrong, throws MpiError on every rank, which names the first rank that saw it, the
/// collective, the expected and the seen value. `planted`: a collective, by its name in
/// Collectives, in which this rank uses a wrong value (tests); empty: none.
SelfTestRates self_test(Collectives& collectives, std::string_view planted = {},
                        const BufferCopy& copy = copy_on_host);

/// The collective that this rank is to spoil by `text`, the value of TH_FAIL_SELF_TEST:
/// "NAME[@RANK]", with RANK 0 by default. Null: none. Throws DeckError for a rank that is no
/// number.
[[nodiscard]] std::string_view planted_fault(const char* text, int rank);

}  // namespace th::runtime
