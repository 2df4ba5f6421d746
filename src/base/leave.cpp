#include "th/base/leave.hpp"

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace th {

void leave(int code) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::exit(code);
#else
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  std::_Exit(code);
#endif
}

}  // namespace th
