#include "mpi_test.hpp"

#include "th/base/error.hpp"
#include "th/runtime/plugin/cuda_plugin.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"

#include <unistd.h>

#include <filesystem>

// On any machine, with a GPU or without: the plugin loads, and says in clear words what there is.
namespace th::runtime {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(CudaPlugin, AMissingLibraryIsNamedWithTheFoldersAndTheWayOut) {
  try {
    const CudaPlugin plugin({"/nonexistent/one", "/nonexistent/two"});
    FAIL() << "loaded from nowhere";
  } catch (const DeviceError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(contains(text,
                         "the CUDA build is not here: libth_cuda.so is in none of "
                         "/nonexistent/one, /nonexistent/two"))
        << text;
    EXPECT_TRUE(contains(text, "-DTH_WITH_CUDA=ON")) << text;
    EXPECT_EQ(error.exit_code(), ExitCode::kCommunication);
  }
}

TEST(CudaPlugin, ALibraryThatCannotBeLoadedIsNamedWithTheReason) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("th_cuda_plugin_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file("/proc/self/cmdline", folder / "libth_cuda.so",
                             std::filesystem::copy_options::overwrite_existing);
  try {
    const CudaPlugin plugin({folder.string()});
    ADD_FAILURE() << "loaded what is no library";
  } catch (const DeviceError& error) {
    EXPECT_TRUE(contains(error.what(), "the CUDA build cannot be loaded: " + folder.string()))
        << error.what();
  }
  std::filesystem::remove_all(folder);
}

TEST(CudaPlugin, TheDeviceListAlwaysBeginsWithTheCpu) {
  const std::string text = device_list_text();
  EXPECT_EQ(text.find("cpu"), 0U) << text;
  EXPECT_TRUE(contains(text, "\n  cuda:0 ") || contains(text, "cpu (cuda: ")) << text;
}

TEST(CudaPlugin, ARunWithoutADriverLoadsNothingAndSaysSo) {
  EXPECT_EQ(why_cpu("/nonexistent"), "no NVIDIA driver on this machine");
}

#if TH_EXPECT_CUDA
/// Whether the text is one of the answers for a machine without a usable GPU.
bool says_what_is_missing(const std::string& text) {
  return contains(text, "no NVIDIA driver") ||
         contains(text, "the NVIDIA driver serves CUDA up to") ||
         contains(text, "no GPU is visible");
}

TEST(CudaPlugin, LoadsOnThisMachineAndAnswersAboutDevices) {
  const CudaPlugin plugin;
  EXPECT_TRUE(contains(plugin.version(), ", CUDA ") && contains(plugin.version(), ", NCCL 2."))
      << plugin.version();
  try {
    const std::vector<std::string> lines = plugin.devices();
    ASSERT_FALSE(lines.empty());
    EXPECT_TRUE(contains(lines[0], "cuda:0 ") && contains(lines[0], "compute capability"))
        << lines[0];
  } catch (const DeviceError& error) {
    EXPECT_TRUE(says_what_is_missing(error.what())) << error.what();
  }
}

TEST(CudaPlugin, WithADriverTheReasonForTheCpuIsThePlugins) {
  const std::string reason = why_cpu("/proc");
  EXPECT_TRUE(reason.empty() || says_what_is_missing(reason)) << reason;
}

TEST(CudaPlugin, EveryRankHearsWhyItGetsNoDevice) {
  const CudaPlugin plugin;
  const auto control = make_mpi_collectives(MPI_COMM_WORLD);
  try {
    const CudaPlugin::Selection selection =
        plugin.select_device(*control, "here", DeviceSharing::kAllowed);
    EXPECT_TRUE(contains(selection.map, "rank 0 on here: cuda:0 ")) << selection.map;
  } catch (const DeviceError& error) {
    EXPECT_TRUE(contains(error.what(), "rank 0: here: ") && says_what_is_missing(error.what()))
        << error.what();
  }
}

TEST(CudaPlugin, ItsErrorsAreCaughtAsThoseOfTheProgram) {
  const CudaPlugin plugin;
  TreeSum sum;
  sum.first_slot = 1;  // level 0 is pending, but has no buffer
  EXPECT_THROW(plugin.kernels().tree_sum(sum, nullptr), InternalError);
  try {
    (void)plugin.devices();
  } catch (const DeviceError&) {
    EXPECT_THROW(
        plugin.kernels().block_square_sums(nullptr, ElementType::kFp32, 1, nullptr, nullptr),
        DeviceError);
    const auto control = make_mpi_collectives(MPI_COMM_WORLD);
    EXPECT_THROW((void)plugin.make_device(nullptr), DeviceError);
    EXPECT_THROW((void)plugin.make_nccl_collectives(*control, 10, nullptr), DeviceError);
  }
}
#endif

}  // namespace
}  // namespace th::runtime

TH_MPI_TEST_MAIN
