#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/checkpoint/checkpoint_writer.hpp"
#include "th/io/checkpoint/shard_reader.hpp"
#include "th/io/failure_point.hpp"
#include "th/io/hdf5.hpp"

namespace {
namespace fs = std::filesystem;
using namespace th::io;
using th::zero::FlatLayout;

float value_of(std::size_t tensor, std::int64_t i, int kind) {
  return static_cast<float>(tensor) * 10000.0F + static_cast<float>(i) +
         0.25F * static_cast<float>(kind);
}

class Checkpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = (fs::temp_directory_path() / ("th_io_" + std::to_string(getpid()))).string();
    fs::remove_all(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  static CheckpointInfo info(std::int64_t ranks, std::int64_t step) {
    CheckpointInfo result;
    result.step = step;
    result.world_size = ranks;
    result.deck = std::string(100000, 'x');
    result.source_tokens = {"<pad>", "é"};
    result.units = {{"a", {{"m", {37, 29}}, {"b", {5}}}}, {"c", {{"w", {100, 7}}}}};
    result.aliases = {{"tied", "w"}};
    result.state_names = {"exp_avg"};
    return result;
  }

  static std::vector<float> shard(const FlatLayout& layout, std::int64_t rank, int kind,
                                  float padding) {
    std::vector<float> values(static_cast<std::size_t>(layout.shard_total()), padding);
    for (const auto& p : layout.pieces(rank)) {
      for (std::int64_t i = 0; i < p.count; ++i) {
        values[static_cast<std::size_t>(p.shard_offset + i)] =
            value_of(static_cast<std::size_t>(p.tensor), p.tensor_begin + i, kind);
      }
    }
    return values;
  }

  std::string save(std::int64_t ranks, std::int64_t step) const {
    const auto meta = info(ranks, step);
    const FlatLayout layout(meta.units, ranks);
    const std::string folder = begin_checkpoint(dir_, step, 0);
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const auto parameters = shard(layout, rank, 0, 777.0F);
      const auto average = shard(layout, rank, 1, 777.0F);
      write_shard(folder, rank, layout, parameters, {{"exp_avg", average}});
    }
    write_model_file(folder, layout, meta);
    publish_checkpoint(dir_, step);
    return dir_ + "/" + step_name(step);
  }

  /// Overwrites a byte of a dataset.
  static void spoil(const std::string& path, const std::string& dataset, std::int64_t byte) {
    haddr_t offset = 0;
    {
      const Hdf5Lock lock;
      const Hdf5Id file = open_file(path);
      offset = H5Dget_offset(open_dataset(file.get(), dataset, path).get());
    }
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset) + byte);
    file.put('\x5a');
  }

  /// What stands in the checkpoints folder, but for `latest`.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(dir_)) {
      if (entry.path().filename() != "latest") found.push_back(entry.path().filename().string());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  std::string dir_;
};

TEST_F(Checkpoint, RoundTripsBetweenAnyRankCounts) {
  for (const std::int64_t writers : {1, 2, 3, 5, 8}) {
    const CheckpointReader reader(save(writers, writers));
    EXPECT_EQ(reader.info().deck.size(), 100000U);
    EXPECT_EQ(reader.info().source_tokens, info(1, 1).source_tokens);
    EXPECT_TRUE(reader.verify().empty());
    for (const std::int64_t readers : {1, 2, 3, 4, 5, 8}) {
      const FlatLayout layout(info(1, 1).units, readers);
      for (std::int64_t rank = 0; rank < readers; ++rank) {
        std::vector<float> out(static_cast<std::size_t>(layout.shard_total()), -1.0F);
        reader.read_shard(layout, rank, "exp_avg", out);
        ASSERT_EQ(out, shard(layout, rank, 1, 0.0F)) << writers << " to " << readers;
      }
    }
  }
}

TEST_F(Checkpoint, ViewHoldsWholeTensorsAndNoPadding) {
  const std::string folder = save(3, 7);
  const Hdf5Lock lock;
  const Hdf5Id file = open_file(folder + "/model.h5");
  for (const auto& [name, tensor] :
       {std::pair<std::string, std::size_t>{"m", 0}, {"b", 1}, {"w", 2}, {"tied", 2}}) {
    const Hdf5Id data = open_dataset(file.get(), "parameters/" + name, folder);
    std::vector<float> values(static_cast<std::size_t>(dataset_count(data.get())));
    check_hdf5(H5Dread(data.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
               "read");
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], value_of(tensor, static_cast<std::int64_t>(i), 0)) << name << i;
  }
  std::int64_t total = 0;
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    const Hdf5Id part = open_file(folder + "/" + shard_name(rank));
    total += dataset_count(open_dataset(part.get(), "parameters", folder).get());
  }
  EXPECT_EQ(total, 37 * 29 + 5 + 700);
}

TEST_F(Checkpoint, DamageIsNamedAndTheOneBeforeIsUsed) {
  const std::string older = save(2, 1);
  const std::string newer = save(2, 2);
  const std::string broken = newer + "/" + shard_name(1);
  std::vector<std::string> notes;
  EXPECT_EQ(find_latest(dir_, notes), newer);
  fs::resize_file(broken, fs::file_size(broken) - 100);
  EXPECT_EQ(find_latest(dir_, notes), older);
  ASSERT_FALSE(notes.empty());
  EXPECT_NE(notes[0].find("shard_00001.h5"), std::string::npos);
  fs::remove(broken);
  EXPECT_NE(CheckpointReader(newer).verify().at(0).find("missing"), std::string::npos);
}

TEST_F(Checkpoint, FlippedByteIsFound) {
  const std::string folder = save(1, 1);
  spoil(folder + "/" + shard_name(0), "parameters", 41);
  const auto problems = CheckpointReader(folder).verify();
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_NE(problems[0].find("shard_00000.h5:parameters"), std::string::npos);
  spoil(folder + "/" + shard_name(0), "pieces", 3);
  EXPECT_NE(CheckpointReader(folder).verify().at(0).find("shard_00000.h5:pieces"),
            std::string::npos);
}

TEST_F(Checkpoint, AnotherModelIsExplainedAndOldStepsGo) {
  const CheckpointReader reader(save(2, 1));
  auto units = info(2, 1).units;
  units[0].tensors[1].shape = {6};
  try {
    reader.require_same_tensors(FlatLayout(units, 2));
    FAIL();
  } catch (const th::CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("b: [5] in the checkpoint, [6] in the model"),
              std::string::npos);
  }
  save(2, 1);  // replaces the folder of the same step
  save(2, 2);
  remove_old_checkpoints(dir_, {.keep_last = 1});
  EXPECT_FALSE(fs::exists(dir_ + "/step_00000001"));
  EXPECT_EQ(CheckpointReader(dir_).info().step, 2);
  EXPECT_THROW(require_free_space(dir_, std::int64_t{1} << 60), th::CheckpointError);
}

TEST_F(Checkpoint, UnitsStreamBetweenAnyRankCountsAndPaddingBecomesZero) {
  for (const std::int64_t writers : {1, 2, 3}) {
    const CheckpointReader reader(save(writers, writers));
    for (const std::int64_t readers : {1, 2, 3, 5}) {
      const FlatLayout layout(info(1, 1).units, readers);
      EXPECT_EQ(reader.is_read_whole(layout), readers == 1 || readers == writers);
      for (std::int64_t rank = 0; rank < readers; ++rank) {
        ShardReader stream(reader, layout, rank);
        const auto expected = shard(layout, rank, 1, 0.0F);
        for (std::size_t u = 0; u < layout.units().size(); ++u) {
          const auto& unit = layout.units()[u];
          std::vector<float> out(static_cast<std::size_t>(unit.shard), -1.0F);
          stream.read_unit("exp_avg", static_cast<std::int64_t>(u), out);
          const auto begin = expected.begin() + unit.shard_offset;
          ASSERT_EQ(out, std::vector<float>(begin, begin + unit.shard))
              << writers << " to " << readers << " unit " << u;
        }
      }
    }
  }
}

TEST_F(Checkpoint, WhatIsReadFromEndToEndHasItsChecksumCheckedOnTheWay) {
  const std::string folder = save(2, 1);
  spoil(folder + "/" + shard_name(1), "parameters", 41);
  const CheckpointReader reader(folder);
  const FlatLayout layout(info(1, 1).units, 2);
  std::vector<float> out(static_cast<std::size_t>(layout.shard_total()));
  reader.read_shard(layout, 0, "parameters", out);
  reader.read_shard(layout, 1, "exp_avg", out);
  EXPECT_THROW(reader.read_shard(layout, 1, "parameters", out), th::CheckpointError);
  std::vector<float> buffer(7);
  reader.require_checksums(0, "parameters", buffer);
  EXPECT_THROW(reader.require_checksums(1, "parameters", buffer), th::CheckpointError);
}

TEST_F(Checkpoint, ShortStateIsReadBackExactlyAndRefusesWhatBf16DoesNotHold) {
  auto meta = info(2, 1);
  meta.short_states = {"exp_avg"};
  const FlatLayout layout(meta.units, 2);
  const std::string folder = begin_checkpoint(dir_, 1, 0);
  std::vector<std::vector<float>> states;
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    const auto parameters = shard(layout, rank, 0, 0.0F);
    auto state = shard(layout, rank, 1, 0.0F);
    for (float& value : state)
      value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xFFFF0000U);
    states.push_back(state);
    write_shard(folder, rank, layout, parameters, {{"exp_avg", state}}, meta.short_states);
    state[0] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(state[0]) | 1U);
    fs::create_directory(dir_ + "/refused" + std::to_string(rank));
    EXPECT_THROW(write_shard(dir_ + "/refused" + std::to_string(rank), rank, layout, parameters,
                             {{"exp_avg", state}}, meta.short_states),
                 th::InternalError);
  }
  write_model_file(folder, layout, meta);
  publish_checkpoint(dir_, 1);
  const CheckpointReader reader(dir_ + "/" + step_name(1));
  EXPECT_TRUE(reader.verify().empty());
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    std::vector<float> out(static_cast<std::size_t>(layout.shard_total()), -1.0F);
    reader.read_shard(layout, rank, "exp_avg", out);
    EXPECT_EQ(out, states[static_cast<std::size_t>(rank)]);
  }
}

TEST_F(Checkpoint, ShardInTheWrongPlaceIsNamed) {
  const std::string folder = save(3, 1);
  fs::copy_file(folder + "/" + shard_name(0), folder + "/" + shard_name(1),
                fs::copy_options::overwrite_existing);
  const CheckpointReader reader(folder);
  try {
    reader.require_complete();
    FAIL();
  } catch (const th::CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("shard_00001.h5 is shard 0 of 3 in place of 1 of 3"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(Checkpoint, EveryByteOfTheModelFileIsUnderItsSeal) {
  const std::string folder = save(2, 1);
  const std::string path = folder + "/model.h5";
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const auto write = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  };
  for (std::size_t at = 0; at < bytes.size(); at += at < 512 ? 5 : 997) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 4);
    write(changed);
    EXPECT_THROW(CheckpointReader{folder}, th::CheckpointError) << "byte " << at;
  }
  write(bytes.substr(0, bytes.size() - 1));
  EXPECT_THROW(CheckpointReader{folder}, th::CheckpointError);
  // Without a seal: as another program may leave it.
  write(std::string(512, '\0') + bytes.substr(512));
  EXPECT_TRUE(CheckpointReader(folder).verify().empty());
}

TEST_F(Checkpoint, NewerFormatIsAnErrorAndNoReasonToGoBack) {
  save(1, 1);
  const std::string newest = save(1, 2);
  {
    const Hdf5Lock lock;
    const Hdf5Id file(H5Fopen((newest + "/model.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose,
                      "open");
    check_hdf5(H5Adelete(file.get(), "format_version"), "H5Adelete");
    write_attribute(file.get(), "format_version", kModelFormatVersion + 1);
  }
  std::fstream(newest + "/model.h5", std::ios::in | std::ios::out | std::ios::binary)
      .write(std::string(512, '\0').data(), 512);  // no seal
  std::vector<std::string> notes;
  EXPECT_THROW((void)CheckpointReader(newest), th::NewerFormatError);
  EXPECT_THROW((void)find_latest(dir_, notes), th::NewerFormatError);
}

TEST_F(Checkpoint, KeepLastCountsFromTheNewestBackAndPassesOverDamagedOnes) {
  for (const std::int64_t step : {1, 2, 3, 9}) save(1, step);
  save(1, 4);  // a run that was taken up at 3: `latest` names 4
  remove_old_checkpoints(dir_, {});
  EXPECT_EQ(names(), (std::vector<std::string>{"step_00000001", "step_00000002", "step_00000003",
                                               "step_00000004", "step_00000009"}));
  remove_old_checkpoints(dir_, {.keep_last = 2, .damaged = {"step_00000003"}});
  EXPECT_EQ(names(), (std::vector<std::string>{"step_00000002", "step_00000003", "step_00000004",
                                               "step_00000009"}));
  remove_old_checkpoints(dir_, {.keep_last = 1});
  EXPECT_EQ(names(), (std::vector<std::string>{"step_00000004", "step_00000009"}));
}

TEST_F(Checkpoint, SaveInTheMakingTakesNoOldOneAway) {
  save(1, 1);
  (void)begin_checkpoint(dir_, 2, 0);
  remove_old_checkpoints(dir_, {.keep_last = 1});
  EXPECT_EQ(names(), (std::vector<std::string>{".tmp_step_00000002", "step_00000001"}));
  discard_checkpoint(dir_, 2);
  EXPECT_EQ(names(), (std::vector<std::string>{"step_00000001"}));
}

TEST_F(Checkpoint, WhatAKilledSaveLeftIsRemovedBeforeTheFreeSpaceIsLookedAt) {
  (void)begin_checkpoint(dir_, 2, 0);
  EXPECT_THROW((void)begin_checkpoint(dir_, 3, std::int64_t{1} << 60), th::CheckpointError);
  EXPECT_EQ(names(), std::vector<std::string>{});
}

TEST_F(Checkpoint, OneThatWasSetAsideForItsReplacementIsFound) {
  const std::string folder = save(2, 3);
  fs::rename(folder, dir_ + "/.old_step_00000003");
  std::vector<std::string> notes;
  EXPECT_EQ(find_latest(dir_, notes), dir_ + "/.old_step_00000003");
  (void)begin_checkpoint(dir_, 3, 0);  // removes leftovers, which this one is not
  EXPECT_EQ(find_latest(dir_, notes), dir_ + "/.old_step_00000003");
  save(2, 3);
  EXPECT_EQ(find_latest(dir_, notes), folder);
  (void)begin_checkpoint(dir_, 4, 0);
  EXPECT_FALSE(fs::exists(dir_ + "/.old_step_00000003"));
}

TEST(FailurePoint, IsReadFromItsTextForOneRank) {
  FailurePoint::arm_from(nullptr, 0);
  FailurePoint::pass("not armed");
  FailurePoint::arm_from("2@1", 0);
  FailurePoint::pass("another rank's");
  FailurePoint::pass("another rank's");
  FailurePoint::arm_from("2@1", 1);
  FailurePoint::pass("first");
  EXPECT_THROW(FailurePoint::pass("second"), th::CheckpointError);
  FailurePoint::pass("third");
  EXPECT_EQ(FailurePoint::passed(), 3);
  FailurePoint::disarm();
  for (const char* text : {"x", "0", "-1", "1:kil", "1@", "1@x", "1:kill@2x"})
    EXPECT_THROW(FailurePoint::arm_from(text, 0), th::DeckError) << text;
}

}  // namespace
