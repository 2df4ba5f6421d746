// mpirun -np N bench_step [--limit] [DECK] [section.key=value]…: the whole optimizer step by ZeRO
// stage and by gradient checkpointing, in turn, in tokens/s, with ratios of neighbours in time:
// each stage to forward + backward alone (no communication, no update), stage 0 to the step's
// matrix products alone by oneDNN, and each kind of gradient checkpointing to none. One slot a
// rank. Default deck: inputs/benchmark.in (about 4 GiB a rank). --limit: stage 0 beside the
// products alone, for steps that take long.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "bench_deck.hpp"
#include "model_products.hpp"
#include "round_robin.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/model/parameters/initialization.hpp"
#include "th/model/products/gemm.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/overlap.hpp"
#include "th/train/training_data.hpp"
#include "th/zero/engine/engine.hpp"

namespace {

using namespace th;
using config::GradientCheckpointing;

constexpr std::int64_t kRounds = 5;
constexpr const char *kProducts = "products", *kAlone = "forward + backward", *kStage0 = "stage 0";
constexpr double kSelectiveLimit = 1.10,
                 kFullLimit = 1.35;  // of the time without gradient checkpointing
constexpr std::pair<GradientCheckpointing, const char*> kKinds[] = {
    {GradientCheckpointing::kSelective, "selective"},
    {GradientCheckpointing::kFull, "full"},
    {GradientCheckpointing::kSqrt, "sqrt"}};

/// Whole parameters and gradients in buffers of their own: a model's forward and backward with
/// nothing around it.
class LocalSource final : public model::ParameterSource {
 public:
  LocalSource(const model::Transformer& model, const config::RunConfig& config)
      : layout_(model.units(), 1) {
    values_ = at::zeros({layout_.padded_total()});
    gradients_ = at::zeros({layout_.padded_total()});
    for (const zero::FlatLayout::Unit& unit : layout_.units()) {
      model::UnitTensors& tensors = units_.emplace_back();
      for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
        const zero::FlatLayout::Tensor& tensor = layout_.tensors()[static_cast<std::size_t>(t)];
        const std::int64_t at = unit.offset + tensor.offset;
        model::initialize_elements(tensor.spec, config.run.seed, config.model.d_model, 0,
                                   tensor.count, values_.data_ptr<float>() + at);
        tensors.values.push_back(values_.narrow(0, at, tensor.count).view(tensor.spec.shape));
        tensors.gradients.push_back(gradients_.narrow(0, at, tensor.count).view(tensor.spec.shape));
      }
    }
  }
  const model::UnitTensors& open_forward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_forward(std::int64_t) override {}
  model::UnitTensors& open_backward(std::int64_t unit) override {
    const zero::FlatLayout::Unit& u = layout_.units()[static_cast<std::size_t>(unit)];
    std::fill_n(gradients_.data_ptr<float>() + u.offset, u.padded, 0.0F);
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_backward(std::int64_t) override {}

 private:
  zero::FlatLayout layout_;
  at::Tensor values_, gradients_;
  std::vector<model::UnitTensors> units_;
};

/// The step's matrix products of linear layers, each once with operands of its own, by oneDNN.
class Products {
 public:
  explicit Products(const config::RunConfig& config) {
    for (const bench::LinearShape& s : bench::linear_shapes(config)) {
      linear_flops_ += 3 * static_cast<double>(s.count) * s.flops();
      const at::Tensor x = bench::random_matrix(s.rows, s.inputs),
                       g = bench::random_matrix(s.rows, s.outputs);
      for (std::int64_t i = 0; i < s.count; ++i)
        layers_.push_back({x, g, x.t().contiguous(), g.t().contiguous(),
                           bench::random_matrix(s.outputs, s.inputs)});
    }
  }
  void run() const {
    // Results come from the arena, as in a step.
    const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
    for (const Layer& l : layers_) benchmark::DoNotOptimize(gemm_.forward(l.x, l.weight));
    for (auto l = layers_.rbegin(); l != layers_.rend(); ++l) {
      benchmark::DoNotOptimize(gemm_.forward(l->g_t, l->x_t));  // the weight gradient, g^T x
      benchmark::DoNotOptimize(gemm_.input_gradient(l->g, l->weight));
    }
  }
  [[nodiscard]] double linear_flops() const { return linear_flops_; }

 private:
  struct Layer {
    at::Tensor x, g, x_t, g_t, weight;
  };
  model::Gemm gemm_{model::GemmLibrary::kOnednn};
  std::vector<Layer> layers_;
  double linear_flops_ = 0;
};

/// Everything that is measured: engines of the four stages, models of the kinds of gradient
/// checkpointing, and this rank's batches.
class StepBench {
 public:
  StepBench(config::RunConfig config, bool limit_alone, runtime::Collectives& collectives,
            const runtime::Communicator& node)
      : collectives_(collectives),
        config_(std::move(config)),
        limit_alone_(limit_alone),
        products_(config_),
        robin_([this] { collectives_.barrier(); }, collectives.rank() == 0) {
    const std::int64_t ranks = collectives.size();
    const train::TrainingData data =
        train::open_training_data(config_, ranks, collectives.control(), node);
    batches_ = data.source->make(0, 0);
    const auto model_of = [&](GradientCheckpointing kind) {
      config::ModelSection section = config_.model;
      section.gradient_checkpointing = kind;
      return std::make_unique<model::Transformer>(
          model::TransformerSpec{section, data.source_vocabulary, data.target_vocabulary,
                                 data.longest},
          model::resolve_gemm(config_.run.gemm), model::Arithmetic::kCompute,
          model::host_compute(config_.run));
    };
    plain_ = model_of(GradientCheckpointing::kNone);
    if (!limit_alone_) {
      for (std::size_t k = 0; k < std::size(kKinds); ++k)
        recomputing_[k] = model_of(kKinds[k].first);
      local_ = std::make_unique<LocalSource>(*plain_, config_);
    }
    for (std::size_t stage = 0; stage < (limit_alone_ ? 1 : engines_.size()); ++stage) {
      config::RunConfig staged = config_;
      staged.zero.stage = static_cast<std::int64_t>(stage);
      engines_[stage] = std::make_unique<zero::ZeroEngine>(staged, *plain_, collectives, ranks);
    }
  }

  void run() {
    if (limit_alone_) {
      robin_.add(kProducts, [this] { products_.run(); });
      robin_.add(kStage0, [this] { step(*plain_, *engines_[0]); });
      return robin_.run(kRounds);
    }
    robin_.add(kAlone, [this] {
      const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
      plain_->train_slot(
          *local_, batches_.rounds.front(),
          {1, 1.0 / static_cast<double>(batches_.target_tokens), config_.train.label_smoothing});
    });
    for (std::size_t stage = 0; stage < engines_.size(); ++stage) {
      robin_.add("stage " + std::to_string(stage),
                 [this, stage] { step(*plain_, *engines_[stage]); });
      robin_.again(kAlone);
    }
    robin_.add(kProducts, [this] { products_.run(); });
    robin_.again(kStage0);
    for (std::size_t k = 0; k < recomputing_.size(); ++k) {
      robin_.add(kKinds[k].second, [this, k] { step(*recomputing_[k], *engines_[0]); });
      robin_.again(kStage0);
    }
    robin_.run(kRounds);
  }

  void report() const {
    const double tokens = static_cast<double>(batches_.source_tokens + batches_.target_tokens);
    const double all_of_linear = bench::product_flops(config_) / products_.linear_flops();
    robin_.print(
        "Ranks: %d, one slot each, medians of %lld rounds; ratios: medians over neighbours in "
        "time\n\n| step | seconds | tokens/s | ratio | of |\n| --- | ---: | ---: | ---: | --- "
        "|\n",
        collectives_.size(), static_cast<long long>(kRounds));
    const auto row = [&](const std::string& name, double seconds, double value, const char* of) {
      robin_.print("| %s | %.4f | %.0f | %.3f | %s |\n", name.c_str(), seconds,
                   bench::ratio(tokens, seconds), value, of);
    };
    row("matrix products alone, oneDNN", robin_.median(kProducts) * all_of_linear, 1, "");
    if (limit_alone_) return row_of_limit(row, all_of_linear);
    row("forward + backward alone", robin_.median(kAlone),
        robin_.beside(kProducts, kAlone) * all_of_linear, "the speed of the products");
    for (std::size_t stage = 0; stage < engines_.size(); ++stage) {
      const std::string name = "stage " + std::to_string(stage);
      row(name, robin_.median(name), bench::ratio(1, robin_.beside(name, kAlone)),
          "the speed of forward + backward alone");
    }
    row_of_limit(row, all_of_linear);
    for (const auto& [kind, name] : kKinds) {
      const double time = robin_.beside(name, kStage0);
      const double limit = kind == GradientCheckpointing::kSelective ? kSelectiveLimit
                           : kind == GradientCheckpointing::kFull    ? kFullLimit
                                                                     : 0;
      const std::string of = std::string("the time of stage 0 without") +
                             (limit == 0      ? ""
                              : time <= limit ? ", within its limit"
                                              : ", ABOVE its limit") +
                             (limit == 0            ? ""
                              : limit == kFullLimit ? " 1.35"
                                                    : " 1.10");
      row(std::string("stage 0, checkpointing ") + name, robin_.median(name), time, of.c_str());
    }
  }

 private:
  template <typename Row>
  void row_of_limit(const Row& row, double all_of_linear) const {
    row(kStage0, robin_.median(kStage0), robin_.beside(kProducts, kStage0) * all_of_linear,
        "the speed of the products (GEMM limit)");
  }
  void step(model::Transformer& model, zero::ZeroEngine& engine) {
    (void)train::run_step(config_, model, engine, batches_, steps_,
                          {config_.optimizer.lr, steps_ + 1});
    ++steps_;
  }

  runtime::Collectives& collectives_;
  config::RunConfig config_;
  bool limit_alone_;
  Products products_;
  bench::RoundRobin robin_;
  data::StepBatches batches_;
  std::unique_ptr<model::Transformer> plain_;
  std::array<std::unique_ptr<model::Transformer>, std::size(kKinds)> recomputing_;
  std::unique_ptr<LocalSource> local_;
  std::array<std::unique_ptr<zero::ZeroEngine>, 4> engines_;
  std::int64_t steps_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  model::observe_torch_memory();
  try {
    const runtime::MpiSession session(argc, argv);
    const auto collectives = runtime::make_mpi_collectives(MPI_COMM_WORLD);
    const runtime::Communicator node = runtime::Communicator::split_shared(MPI_COMM_WORLD);
    bench::RoundRobin::initialize(argc, argv, collectives->rank() == 0);
    const bool limit_alone = argc > 1 && std::string_view(argv[1]) == "--limit";
    if (limit_alone) {
      std::rotate(argv + 1, argv + 2, argv + argc);
      --argc;
    }
    config::RunConfig config = bench::deck_of(argc, argv).config;
    if (config.data.synthetic == config::Synthetic::kNone)
      throw DeckError(
          "bench_step wants a deck with data.synthetic=random_ids, as inputs/benchmark.in");
    at::set_num_threads(static_cast<int>(config.run.threads));
    const train::OverlapChoice overlap =
        train::resolve_overlap(config, collectives->control(), node, std::nullopt);
    config.comm.overlap = overlap.overlap;
    if (collectives->rank() == 0) {
      std::printf("Communication beside compute: %s (%s)\n",
                  overlap.overlap == config::Overlap::kOn ? "on" : "off", overlap.reason.c_str());
    }
    c10::InferenceMode no_grad;
    StepBench bench(config, limit_alone, *collectives, node);
    bench.run();
    bench.report();
    collectives->barrier();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
