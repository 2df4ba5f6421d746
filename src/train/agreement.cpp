#include "th/train/agreement.hpp"

#include "th/base/error.hpp"
#include "th/base/packed_error.hpp"

namespace th::train {

void run_agreed(runtime::ControlCalls& control, const std::function<void()>& body,
                const std::string& out_of_memory) {
  std::string failure;
  try {
    body();
  } catch (const std::exception&) {
    failure = packed_current_error(" on rank " + std::to_string(control.rank()), out_of_memory);
  }
  for (const std::string& packed : control.gather_texts(failure)) {
    if (packed.empty()) continue;
    const auto [code, text] = unpacked_error(packed);
    throw Error(static_cast<ExitCode>(code), text, Error::Thrown::kEverywhere);
  }
}

}  // namespace th::train
