#include "cuda/kernels/kernels.hpp"

namespace th::cuda {

int tensor_memory() { return 0; }

}  // namespace th::cuda
