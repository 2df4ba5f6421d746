#include "model/ops/host_threads.hpp"

namespace th::model {

void on_threads(std::int64_t count, RangeWork* work, void* context) { work(context, 0, count, 0); }

}  // namespace th::model
