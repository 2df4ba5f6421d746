#include "th/base/packed_error.hpp"

#include "th/base/error.hpp"

#include <new>

namespace th {

std::string packed_error(int code, const std::string& text) {
  return std::to_string(code) + " " + text;
}

std::pair<int, std::string> unpacked_error(const std::string& packed) {
  const std::size_t blank = packed.find(' ');
  ensure(blank != std::string::npos, "a message between ranks is damaged");
  return {std::stoi(packed.substr(0, blank)), packed.substr(blank + 1)};
}

std::string packed_current_error(const std::string& where, const std::string& way_out) {
  try {
    throw;
  } catch (const Error& error) {
    return packed_error(static_cast<int>(error.exit_code()), error.what());
  } catch (const std::bad_alloc&) {
    return packed_error(static_cast<int>(ExitCode::kMemory),
                        "out of memory" + where + "; " + way_out);
  } catch (const std::exception& error) {
    return packed_error(static_cast<int>(ExitCode::kDiffers),
                        std::string("internal error: ") + error.what());
  }
}

}  // namespace th
