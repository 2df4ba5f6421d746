#include "th/train/agreement.hpp"

#include "th/base/error.hpp"

#include <new>
#include <string>

namespace th::train {

void run_agreed(runtime::Collectives& collectives, const std::function<void()>& body) {
  std::string failure;  // exit code, a space, the message
  try {
    body();
  } catch (const Error& error) {
    failure = std::to_string(static_cast<int>(error.exit_code())) + " " + error.what();
  } catch (const std::bad_alloc&) {
    failure = std::to_string(static_cast<int>(ExitCode::kMemory)) + " out of memory on rank " +
              std::to_string(collectives.rank()) + "; th_app DECK --plan shows what the run takes";
  } catch (const std::exception& error) {
    failure = std::to_string(static_cast<int>(ExitCode::kDiffers)) + " " + error.what();
  }
  for (const std::string& text : collectives.gather_texts(failure)) {
    if (text.empty()) continue;
    const auto space = text.find(' ');
    throw Error(static_cast<ExitCode>(std::stoi(text.substr(0, space))), text.substr(space + 1),
                Error::Thrown::kEverywhere);
  }
}

}  // namespace th::train
