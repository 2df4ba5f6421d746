// Checkpoints whose checksums are right, or that have none because another program wrote them anew,
// and that say what no save says.
#include <filesystem>

#include "temporary_folder.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/checkpoint/checkpoint_writer.hpp"
#include "th/io/hdf5.hpp"

namespace {
using namespace th::io;
using th::zero::FlatLayout;

class CheckpointDamage : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    CheckpointInfo info;
    info.units = {{"u", {{"m", {3, 4}}, {"b", {5}}}}};
    const FlatLayout layout(info.units, 1);
    const std::vector<float> values(static_cast<std::size_t>(layout.shard_total()), 0.5F);
    write_shard(dir_, 0, layout, values, {});
    write_model_file(dir_, layout, info);
  }
  /// Changes a file as another program would.
  template <class Change>
  void change(const std::string& name, Change body) const {
    {
      const Hdf5Lock lock;
      const Hdf5Id file(H5Fopen((dir_ + "/" + name).c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose,
                        "open");
      body(file.get());
    }
    if (name == "model.h5")
      std::fstream(dir_ + "/" + name, std::ios::in | std::ios::out | std::ios::binary)
          .write(std::string(512, '\0').data(), 512);  // no seal
  }
  static void put_integers(hid_t object, const char* name, const std::vector<hsize_t>& dims,
                           const std::vector<std::int64_t>& values) {
    H5Adelete(object, name);
    const Hdf5Id space = create_space(dims);
    const Hdf5Id attribute(
        H5Acreate2(object, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
        "attribute");
    check_hdf5(H5Awrite(attribute.get(), H5T_NATIVE_INT64, values.data()), "attribute");
  }
  [[nodiscard]] std::string problem() const {
    try {
      const CheckpointReader reader(dir_);
      reader.require_complete();
      (void)reader.read_tensor("parameters", "m");
    } catch (const th::CheckpointError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(CheckpointDamage, AnAttributeOfManyValuesIsNotReadIntoOne) {
  EXPECT_EQ(problem(), "");
  change("model.h5", [](hid_t file) {
    put_integers(file, "step", {1000}, std::vector<std::int64_t>(1000, 7));
  });
  EXPECT_EQ(problem(), "attribute step has 1000 values instead of 1");
  change("model.h5", [](hid_t file) { put_integers(file, "step", {1}, {7}); });
  EXPECT_EQ(problem(), "");
  change(shard_name(0), [](hid_t file) { put_integers(file, "rank", {2, 2}, {0, 0, 0, 0}); });
  EXPECT_EQ(problem(), "attribute rank has 4 values instead of 1");
}

TEST_F(CheckpointDamage, AShardOfTwoDimensionsIsNotReadByOneBegin) {
  change(shard_name(0), [](hid_t file) {
    H5Ldelete(file, "parameters", H5P_DEFAULT);
    const Hdf5Id space = create_space({17, 1});
    const Hdf5Id dataset(H5Dcreate2(file, "parameters", H5T_IEEE_F32LE, space.get(), H5P_DEFAULT,
                                    H5P_DEFAULT, H5P_DEFAULT),
                         H5Dclose, "dataset");
  });
  EXPECT_NE(problem().find("parameters has 2 dimensions instead of 1"), std::string::npos)
      << problem();
}

TEST_F(CheckpointDamage, NobodyAsksForMemoryThatNoFileFills) {
  const auto huge = [](hid_t file, const char* name, hid_t type) {
    H5Ldelete(file, name, H5P_DEFAULT);
    const Hdf5Id space = create_space({hsize_t{1} << 40});
    const Hdf5Id list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "list");
    const hsize_t chunk = 1 << 10;
    check_hdf5(H5Pset_chunk(list.get(), 1, &chunk), "chunks");  // none of them is there
    const Hdf5Id links = link_creation();
    const Hdf5Id dataset(
        H5Dcreate2(file, name, type, space.get(), links.get(), list.get(), H5P_DEFAULT), H5Dclose,
        "dataset");
  };
  change("model.h5", [&](hid_t file) { huge(file, "vocabulary/source", string_type().get()); });
  EXPECT_NE(problem().find("1099511627776 elements in a file of"), std::string::npos) << problem();
}

/// What the layout's text is refused by.
std::string layout_problem(const std::string& text) {
  try {
    CheckpointInfo info;
    layout_from_json(text, info);
  } catch (const th::CheckpointError& error) {
    return error.what();
  }
  return "";
}

TEST(CheckpointLayout, NumbersThatNoModelHasAreRefused) {
  const auto layout = [](const std::string& alignment, const std::string& tensors) {
    return R"({"alignment":)" + alignment + R"(,"units":[{"name":"u","tensors":[)" + tensors +
           R"(]}],"aliases":[{"alias":"t","tensor":"m"}],"state_names":[]})";
  };
  const std::string m = R"({"name":"m","shape":[3,4]})";
  EXPECT_EQ(layout_problem(layout("32", m)), "");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {layout("0", m), "its alignment is 0"},
      {layout("-1", m), "its alignment is -1"},
      {layout("9223372036854775807", m), "its alignment is"},
      {layout("1e300", m), "integer"},
      {layout("32", R"({"name":"m","shape":[3,-4]})"), "m has an extent of -4"},
      {layout("32", R"({"name":"m","shape":[4294967296,4294967296]})"), "m has an extent of"},
      {layout("32", R"({"name":"m","shape":[9223372036854775807]})"), "m has an extent of"},
      {layout("32", R"({"name":"m","shape":[1125899906842624]},{"name":"b","shape":[1]})"),
       "more elements than any model"},
      {layout("32", m + "," + m), "two tensors have the name m"},
      {layout("32", R"({"name":"t","shape":[]})"), "two tensors have the name t"}};
  for (const auto& [text, expected] : cases)
    EXPECT_NE(layout_problem(text).find(expected), std::string::npos) << text << "\n"
                                                                      << layout_problem(text);
}

}  // namespace
