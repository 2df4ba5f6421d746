// read_checkpoint RUN: what a run's newest checkpoint holds, and how large its numbers are, a
// line for each tensor. RUN is a run's folder, a checkpoint, or one of the files latest, best and
// final.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"

namespace {

double root_mean_square(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t extent : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(extent);
  }
  return text;
}

void print(const th::io::CheckpointReader& reader) {
  const th::io::CheckpointInfo& info = reader.info();
  std::printf("step %lld of %s, %lld ranks\n", static_cast<long long>(info.step),
              reader.folder().c_str(), static_cast<long long>(info.world_size));
  // The parameters, and what the optimizer and the moving average keep of each.
  const std::vector<std::string> kinds = reader.kinds();
  for (const th::zero::FlatLayout::Tensor& tensor : reader.layout().tensors()) {
    std::printf("%s %s", tensor.spec.name.c_str(), shape_text(tensor.spec.shape).c_str());
    for (const std::string& kind : kinds) {
      const std::vector<float> values = reader.read_tensor(kind, tensor.spec.name);
      std::printf(" %s=%.6e", kind.c_str(), root_mean_square(values));
    }
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: read_checkpoint RUN\n");
    return 2;
  }
  try {
    const th::io::CheckpointReader reader(argv[1]);
    for (const std::string& note : reader.notes()) std::fprintf(stderr, "note: %s\n", note.c_str());
    print(reader);
  } catch (const th::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
  return 0;
}
