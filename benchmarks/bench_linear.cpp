// bench_linear [DECK] [section.key=value]…: the matrix products of the model's linear layers by
// oneDNN and by MKL, forward, input gradient and weight gradient, in GFLOP/s; and whether
// run.gemm=auto chooses the faster library on this machine. Default deck: inputs/benchmark.in.
#include <ATen/Parallel.h>

#include "bench_deck.hpp"
#include "model_products.hpp"
#include "round_robin.hpp"
#include "th/base/error.hpp"
#include "th/model/products/gemm.hpp"

namespace {

using namespace th;

constexpr std::int64_t kRounds = 5, kCalls = 2;
const char* const kPasses[] = {"forward", "input gradient", "weight gradient"};
constexpr model::GemmLibrary kLibraries[] = {model::GemmLibrary::kOnednn, model::GemmLibrary::kMkl};

std::string variant(const bench::LinearShape& shape, const char* pass, model::GemmLibrary library) {
  return shape.name + "/" + pass + "/" + model::gemm_name(library);
}

void add_products(bench::RoundRobin& robin, const bench::LinearShape& shape) {
  const at::Tensor x = bench::random_matrix(shape.rows, shape.inputs),
                   weight = bench::random_matrix(shape.outputs, shape.inputs);
  const at::Tensor g = bench::random_matrix(shape.rows, shape.outputs);
  at::Tensor g_weight = at::zeros({shape.outputs, shape.inputs});
  for (const model::GemmLibrary library : kLibraries) {
    const model::Gemm gemm(library);
    robin.add(
        variant(shape, kPasses[0], library),
        [=] { benchmark::DoNotOptimize(gemm.forward(x, weight)); }, kCalls);
    robin.add(
        variant(shape, kPasses[1], library),
        [=] { benchmark::DoNotOptimize(gemm.input_gradient(g, weight)); }, kCalls);
    robin.add(
        variant(shape, kPasses[2], library),
        [=]() mutable { gemm.weight_gradient(g, x, g_weight, model::Write::kSet); }, kCalls);
  }
}

void report(const bench::RoundRobin& robin, const std::vector<bench::LinearShape>& shapes,
            config::Gemm requested) {
  robin.print(
      "| linear layer, M x K x N | pass | oneDNN GFLOP/s | MKL GFLOP/s | oneDNN : MKL |\n| --- | "
      "--- | ---: | ---: | ---: |\n");
  double seconds[2] = {};
  for (const bench::LinearShape& shape : shapes) {
    for (const char* pass : kPasses) {
      double rate[2] = {};
      for (std::size_t l = 0; l < 2; ++l) {
        const double median = robin.median(variant(shape, pass, kLibraries[l]));
        rate[l] = bench::ratio(shape.flops(), median) / 1e9;
        seconds[l] += static_cast<double>(shape.count) * median;
      }
      robin.print("| %s, %lld x %lld x %lld | %s | %.1f | %.1f | %.2f |\n", shape.name.c_str(),
                  static_cast<long long>(shape.rows), static_cast<long long>(shape.inputs),
                  static_cast<long long>(shape.outputs), pass, rate[0], rate[1],
                  bench::ratio(rate[0], rate[1]));
    }
  }
  const std::size_t faster = seconds[0] <= seconds[1] ? 0 : 1;
  const model::GemmLibrary chosen = model::resolve_gemm(requested);
  robin.print("\nAll products of a micro-batch: oneDNN %.3f s, MKL %.3f s. ", seconds[0],
              seconds[1]);
  robin.print("run.gemm=%s takes %s; the faster one here is %s, by %.2f: %s.\n",
              requested == config::Gemm::kAuto ? "auto" : "(given)", model::gemm_name(chosen),
              model::gemm_name(kLibraries[faster]),
              bench::ratio(seconds[1 - faster], seconds[faster]),
              chosen == kLibraries[faster] ? "right" : "not the faster one, set run.gemm");
}

}  // namespace

int main(int argc, char** argv) {
  bench::RoundRobin::initialize(argc, argv, true);
  try {
    const config::RunConfig config = bench::deck_of(argc, argv).config;
    c10::InferenceMode no_grad;
    at::set_num_threads(static_cast<int>(config.run.threads));
    bench::RoundRobin robin;
    const std::vector<bench::LinearShape> shapes = bench::linear_shapes(config);
    for (const bench::LinearShape& shape : shapes) add_products(robin, shape);
    robin.run(kRounds);
    report(robin, shapes, config.run.gemm);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
