// Training on a device with memory of its own, with and without zero.offload_*: the bits of a run
// on the host, the memory that was planned on both sides, checkpoints that go on in another
// setting.
#include <gtest/gtest.h>

#include <optional>

#include "device_run.hpp"
#include "guarded_kernels.hpp"
#include "mpi_test.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/checkpointing.hpp"
#include "th/zero/memory_plan.hpp"

namespace {

using th::ElementType;
using th::config::Overlap;
using th::config::ReduceDtype;
using th::runtime::MemoryClass;
using th::runtime::MemoryLedger;
using th::runtime::MemoryUse;
using th_test::DeviceRun;
using th_test::FakeDevice;
using th_test::GuardedOperators;
using th_test::GuardedOps;
using th_test::kSettings;
using th_test::make_config;
using th_test::Setting;

/// The losses and the state of three steps.
struct Trace {
  std::vector<double> losses;
  std::vector<float> state, whole;  ///< this rank's shard; all parameters as they are gathered
  friend bool operator==(const Trace&, const Trace&) = default;
};

std::vector<float> gathered(SmallRun& run) {
  std::vector<float> out;
  const auto whole = run.engine.units().gather_all(run.model);
  for (std::size_t u = 0; u < run.model.units().size(); ++u) {
    for (const at::Tensor& working : whole->open_forward(static_cast<std::int64_t>(u)).values) {
      const at::Tensor t = working.to(at::kFloat).contiguous();
      out.insert(out.end(), t.data_ptr<float>(), t.data_ptr<float>() + t.numel());
    }
  }
  return out;
}

Trace on_host(const th::config::RunConfig& config, th::runtime::Collectives& collectives) {
  SmallRun run(config, collectives);
  Trace trace;
  for (std::int64_t step = 1; step <= 3; ++step) trace.losses.push_back(run.train(step));
  trace.state = run.state();
  trace.whole = gathered(run);
  return trace;
}

Trace on_device(const th::config::RunConfig& config, th::runtime::Collectives& collectives,
                FakeDevice::Pace pace) {
  DeviceRun run(config, collectives, pace);
  Trace trace;
  for (std::int64_t step = 1; step <= 3; ++step) trace.losses.push_back(run.train(step));
  trace.state = run.small.state();
  trace.whole = gathered(run.small);
  EXPECT_EQ(run.device.streams().violations(), std::vector<std::string>{});
  return trace;
}

class Offload : public testing::TestWithParam<std::int64_t> {
 protected:
  std::unique_ptr<th::runtime::Collectives> collectives_ =
      th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
};

TEST_P(Offload, GivesTheBitsOfARunOnTheHost) {
  for (const auto& [dtype, reduced] : {std::pair(ElementType::kFp32, ReduceDtype::kFp32),
                                       std::pair(ElementType::kBf16, ReduceDtype::kFp32),
                                       std::pair(ElementType::kBf16, ReduceDtype::kWorking),
                                       std::pair(ElementType::kFp16, ReduceDtype::kWorking)}) {
    const Trace host =
        on_host(make_config(GetParam(), {false, false}, dtype, reduced), *collectives_);
    for (const Setting setting : kSettings) {
      if (setting.parameters && GetParam() != 3) continue;
      for (const auto pace : {FakeDevice::Pace::kLatest, FakeDevice::Pace::kCopiesEarly}) {
        for (const Overlap overlap : {Overlap::kOff, Overlap::kOn}) {
          EXPECT_EQ(on_device(make_config(GetParam(), setting, dtype, reduced, overlap),
                              *collectives_, pace),
                    host)
              << "dtype " << static_cast<int>(dtype) << ", offload of the optimizer "
              << setting.optimizer << ", of parameters " << setting.parameters << ", pace "
              << static_cast<int>(pace) << ", overlap " << static_cast<int>(overlap);
        }
      }
    }
  }
}

TEST_P(Offload, GivesTheBitsOfAFastReductionAndOfSgdToo) {
  for (const auto optimizer :
       {th::config::OptimizerKind::kAdamw, th::config::OptimizerKind::kSgd}) {
    for (const Setting setting : kSettings) {
      if (setting.parameters && GetParam() != 3) continue;
      th::config::RunConfig config = make_config(GetParam(), setting);
      config.comm.reduction = th::config::Reduction::kFast;
      config.optimizer.name = optimizer;
      const auto trace = [&](const th::config::RunConfig& c, std::optional<FakeDevice::Pace> pace) {
        std::vector<double> losses;
        if (!pace) {
          SmallRun run(c, *collectives_);
          for (std::int64_t step = 1; step <= 2; ++step) losses.push_back(run.train(step));
        } else {
          DeviceRun run(c, *collectives_, *pace);
          for (std::int64_t step = 1; step <= 2; ++step) losses.push_back(run.train(step));
        }
        return losses;
      };
      EXPECT_EQ(trace(config, FakeDevice::Pace::kLatest), trace(config, std::nullopt));
    }
  }
}

TEST_P(Offload, AModelOnTheDeviceTouchesItsMemoryInKernelsAndProductsAlone) {
  static constexpr auto kTable = th::runtime::OpTable<float>::of<GuardedOps>();
  const th::model::KernelSet kernels{&kTable, nullptr, nullptr, nullptr};
  for (const auto pace : {FakeDevice::Pace::kLatest, FakeDevice::Pace::kCopiesEarly}) {
    th::config::RunConfig config = make_config(GetParam(), {GetParam() == 3, GetParam() == 3});
    if (pace == FakeDevice::Pace::kLatest) config.model.tie_embeddings = th::config::Tying::kAll;
    // There is no attention kernel for the device.
    config.run.attention = th::config::AttentionKernels::kProducts;
    config.comm.overlap = Overlap::kOn;
    SmallRun host(config, *collectives_);
    FakeDevice device(pace);
    th_test::FakeTransport transport(*collectives_, device);
    const th::model::ComputeDevice compute{c10::kCPU, &kernels, th::runtime::DeviceMemory::kOwn,
                                           false, &device};
    SmallRun run(config, transport, &device, &compute);
    const GuardedOperators operators(device);
    for (std::int64_t step = 1; step <= 2; ++step)
      EXPECT_EQ(run.train(step), host.train(step)) << "step " << step;
    EXPECT_EQ(run.state(), host.state());
    const th::data::Batch batch = SmallRun::make_batch(9);
    // The host's products of inference are by rows and round otherwise (Gemm::rowwise).
    const double loss = host.model.evaluate(host.engine.units(), batch).loss_sum;
    EXPECT_NEAR(run.model.evaluate(run.engine.units(), batch).loss_sum, loss, 1e-6 * loss);
    EXPECT_EQ(gathered(run), gathered(host));
    EXPECT_EQ(device.streams().violations(), std::vector<std::string>{});
  }
}

/// Use of the classes that the engine allocates; activations, batches and what the test adds are
/// elsewhere.
void expect_planned(const MemoryUse& planned, const MemoryUse& measured, const char* side,
                    Setting setting) {
  for (const MemoryClass kind :
       {MemoryClass::kParameters, MemoryClass::kGradients, MemoryClass::kMaster,
        th::runtime::optimizer_state_class(0), th::runtime::optimizer_state_class(1),
        MemoryClass::kGatherSlots, MemoryClass::kCommunication, MemoryClass::kOffloadStaging}) {
    EXPECT_EQ(measured[kind], planned[kind])
        << side << ", " << th::runtime::memory_class_name(kind) << ", offload of the optimizer "
        << setting.optimizer << ", of parameters " << setting.parameters;
  }
}

TEST_P(Offload, TakesTheMemoryThatWasPlannedOnBothSidesToTheByte) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
  th::model::observe_torch_memory();
  using Way = std::pair<Overlap, std::int64_t>;  // units ahead
  for (const auto& [dtype, way] : {std::pair(ElementType::kFp32, Way(Overlap::kOff, 1)),
                                   std::pair(ElementType::kBf16, Way(Overlap::kOn, 1)),
                                   std::pair(ElementType::kFp32, Way(Overlap::kOn, 2))}) {
    for (const Setting setting : kSettings) {
      if (setting.parameters && GetParam() != 3) continue;
      th::config::RunConfig config =
          make_config(GetParam(), setting, dtype, ReduceDtype::kFp32, way.first);
      config.zero.prefetch_units = way.second;
      config.model.d_model = 128;  // block sums from 16 KiB on are in the ledger
      config.model.d_ff = 1024;
      th::zero::PlanRequest request;
      request.config = config;
      request.source_vocabulary = request.target_vocabulary = SmallRun::kVocabulary;
      request.longest = 16;
      request.ranks = collectives_->size();
      request.slots = SmallRun::kSlots;
      request.memory = th::runtime::DeviceMemory::kOwn;
      const th::zero::MemoryPlan plan = th::zero::plan_memory(request);
      const auto& update = plan.peak();
      ASSERT_EQ(update.name, "update");
      MemoryLedger::process().restart();
      MemoryLedger::device().restart();
      DeviceRun run(config, *collectives_, FakeDevice::Pace::kLatest);
      run.train(1);
      expect_planned(update.use, MemoryLedger::device().current(), "device", setting);
      EXPECT_EQ(run.device.bytes(th::runtime::Place::kDevice),
                MemoryLedger::device().current().total())
          << "device memory that no ledger has";
      const th::zero::EngineBuffers& buffers = run.small.engine.buffers();
      expect_planned(update.host, MemoryLedger::process().current(), "host", setting);
      EXPECT_EQ(run.device.bytes(th::runtime::Place::kHost), buffers.host_use().total());
      const std::int64_t in_flight = way.first == Overlap::kOff ? 1 : 1 + way.second;
      EXPECT_EQ(buffers.gather_sources, setting.parameters ? in_flight : 0)
          << "a source for each gather in flight";
      const bool moved = setting.optimizer || setting.parameters;
      const std::int64_t outcomes =
          th::zero::EngineBuffers::kOutcomes * std::int64_t{sizeof(th::runtime::StepOutcome)};
      EXPECT_EQ(buffers.host_use().total() > outcomes,
                moved && !(setting.optimizer && !setting.parameters && buffers.states == 0));
    }
  }
}

TEST_P(Offload, ACheckpointGoesOnInAnySetting) {
  SharedFolder folder(*collectives_);
  const std::int64_t stage = GetParam();
  for (const ElementType dtype : {ElementType::kFp32, ElementType::kBf16}) {
    const th::config::RunConfig plain = make_config(stage, {false, false}, dtype);
    SmallRun straight(plain, *collectives_);
    for (std::int64_t step = 1; step <= 2; ++step) (void)straight.train(step);
    const double expected = straight.train(3);
    std::int64_t number = 10 * (1 + static_cast<std::int64_t>(dtype));
    for (const Setting from : kSettings) {
      if (from.parameters && stage != 3) continue;
      ++number;
      {
        DeviceRun run(make_config(stage, from, dtype), *collectives_, FakeDevice::Pace::kLatest);
        for (std::int64_t step = 1; step <= 2; ++step) (void)run.train(step);
        using Mode = th::train::CheckpointSaver::Mode;
        th::train::CheckpointSaver saver(run.transport.control(), folder.path(), {},
                                         from.optimizer ? Mode::kBackground : Mode::kWait);
        saver.save(run.small.engine, run.small.info(number), {});
        saver.finish();
      }
      const th::io::CheckpointReader reader(folder.path() + "/" + th::io::step_name(number));
      for (const Setting to : kSettings) {
        if (to.parameters && stage != 3) continue;
        DeviceRun run(make_config(stage, to, dtype), *collectives_, FakeDevice::Pace::kLatest);
        load_checkpoint(reader, run.small.engine, run.transport.control(),
                        th::train::LoadWhat::kEverything);
        EXPECT_EQ(run.train(3), expected) << "from " << from.optimizer << from.parameters << " to "
                                          << to.optimizer << to.parameters;
        EXPECT_EQ(run.small.state(), straight.state())
            << "from " << from.optimizer << from.parameters << " to " << to.optimizer
            << to.parameters;
      }
      SmallRun host(plain, *collectives_);
      load_checkpoint(reader, host.engine, collectives_->control(),
                      th::train::LoadWhat::kEverything);
      EXPECT_EQ(host.train(3), expected);
      EXPECT_EQ(host.state(), straight.state());
    }
  }
}

TEST_P(Offload, GradientsThatAreNotFiniteAreNamedFromTheDevicesMemory) {
  th::config::RunConfig config = make_config(GetParam(), {true, GetParam() == 3});
  DeviceRun run(config, *collectives_, FakeDevice::Pace::kLatest);
  const std::vector<float> before = run.small.state();
  const th::zero::StepResult result = run.small.step(1, 1e38, [&](const auto& accumulate) {
    const FakeDevice::Kernel model(run.device);
    accumulate();
  });
  SmallRun host(config, *collectives_);
  const th::zero::StepResult expected =
      host.step(1, 1e38, [](const auto& accumulate) { accumulate(); });
  EXPECT_FALSE(result.not_finite.empty());
  EXPECT_EQ(result.not_finite, expected.not_finite);
  EXPECT_EQ(run.small.state(), before);
}

TEST_P(Offload, GradientsLeaveForTheHostWhileBackwardGoesOn) {
  for (const auto reduction : {th::config::Reduction::kExact, th::config::Reduction::kFast}) {
    th::config::RunConfig config = make_config(GetParam(), {true, false}, ElementType::kFp32,
                                               ReduceDtype::kFp32, Overlap::kOn);
    config.comm.reduction = reduction;
    DeviceRun run(config, *collectives_, FakeDevice::Pace::kCopiesEarly);
    const th::zero::EngineBuffers& buffers = run.small.engine.buffers();
    const bool own_part = GetParam() > 0 || reduction == th::config::Reduction::kFast;
    EXPECT_EQ(buffers.host_gradients, !own_part        ? 0
                                      : GetParam() > 0 ? run.small.engine.layout().shard_total()
                                                       : run.small.engine.layout().padded_total());
    const std::int64_t before = run.device.copied_to_host();
    std::int64_t backward_done = 0;
    run.small.enqueue(1, 1.0 / 48.0, [&](const auto& accumulate) {
      const FakeDevice::Kernel model(run.device);
      accumulate();
      backward_done = run.device.copied_to_host() - before;
    });
    (void)run.small.engine.result();
    // Bytes of the unit whose backward is the last.
    const std::int64_t last = run.small.engine.layout().largest_unit() * 4;
    EXPECT_GE(backward_done, own_part ? buffers.host_gradients * 4 - last : 0)
        << "in the last round, and copies as early as they may";
  }
}

/// The results of four steps, each taken when the next one was enqueued.
std::vector<th::zero::StepResult> run_ahead(DeviceRun& run, double scale_of_third) {
  std::vector<th::zero::StepResult> results;
  for (std::int64_t step = 1; step <= 4; ++step) {
    run.small.enqueue(step, step == 3 ? scale_of_third : 1.0 / 48.0, [&](const auto& accumulate) {
      const FakeDevice::Kernel model(run.device);
      accumulate();
    });
    if (step > 1) results.push_back(run.small.engine.result());
  }
  results.push_back(run.small.engine.result());
  return results;
}

TEST_P(Offload, StepsThatRunAheadGiveTheBitsOfThoseThatAreWaitedFor) {
  for (const auto dtype : {ElementType::kFp32, ElementType::kBf16}) {
    for (const auto pace : {FakeDevice::Pace::kLatest, FakeDevice::Pace::kCopiesEarly}) {
      for (const Overlap overlap : {Overlap::kOff, Overlap::kOn}) {
        const th::config::RunConfig config =
            make_config(GetParam(), {false, false}, dtype, ReduceDtype::kFp32, overlap);
        SmallRun host(config, *collectives_);
        DeviceRun run(config, *collectives_, pace);
        ASSERT_TRUE(run.small.engine.runs_ahead());
        ASSERT_FALSE(host.engine.runs_ahead());
        const std::vector<th::zero::StepResult> results = run_ahead(run, 1.0 / 48.0);
        for (std::int64_t step = 1; step <= 4; ++step) {
          const th::zero::StepResult expected =
              host.step(step, 1.0 / 48.0, [](const auto& accumulate) { accumulate(); });
          EXPECT_EQ(results[static_cast<std::size_t>(step - 1)].loss_sum, expected.loss_sum)
              << "step " << step;
          EXPECT_EQ(results[static_cast<std::size_t>(step - 1)].grad_norm, expected.grad_norm)
              << "step " << step;
        }
        EXPECT_EQ(run.small.state(), host.state());
        EXPECT_EQ(run.device.streams().violations(), std::vector<std::string>{});
      }
    }
  }
}

TEST_P(Offload, AStepThatIsNotFiniteIsNamedAndUpdatesNothingWhenTheNextOneIsUnderWay) {
  const th::config::RunConfig config = make_config(GetParam(), {false, false});
  DeviceRun run(config, *collectives_, FakeDevice::Pace::kLatest);
  const std::vector<th::zero::StepResult> results = run_ahead(run, 1e38);
  SmallRun host(config, *collectives_);
  for (std::int64_t step = 1; step <= 4; ++step) {
    const th::zero::StepResult expected = host.step(step, step == 3 ? 1e38 : 1.0 / 48.0,
                                                    [](const auto& accumulate) { accumulate(); });
    EXPECT_EQ(results[static_cast<std::size_t>(step - 1)].not_finite, expected.not_finite)
        << "step " << step;
    EXPECT_EQ(expected.not_finite.empty(), step != 3);
  }
  EXPECT_EQ(run.small.state(), host.state());
}

TEST_P(Offload, NoMoreThanTwoResultsWait) {
  DeviceRun run(make_config(GetParam(), {false, false}), *collectives_, FakeDevice::Pace::kLatest);
  const auto compute = [&](const auto& accumulate) {
    const FakeDevice::Kernel model(run.device);
    accumulate();
  };
  run.small.enqueue(1, 1.0 / 48.0, compute);
  run.small.enqueue(2, 1.0 / 48.0, compute);
  EXPECT_THROW(run.small.enqueue(3, 1.0 / 48.0, compute), th::InternalError);
}

INSTANTIATE_TEST_SUITE_P(Stages, Offload, testing::Values(0, 1, 2, 3),
                         [](const auto& p) { return "stage" + std::to_string(p.param); });

}  // namespace

TH_MPI_TEST_MAIN
