#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/monitor/header.hpp"
#include "th/monitor/log_tail.hpp"
#include "th/monitor/metrics.hpp"
#include "th/monitor/progress.hpp"
#include "th/monitor/tensorboard.hpp"

namespace {

namespace fs = std::filesystem;
using th::monitor::MetricsWriter;
using th::monitor::OpenMode;

std::string file_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Monitor : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  void write(MetricsWriter& writer, std::int64_t step) const {
    writer.step({step, 1, 0.1, 1.0, 1e-3, 3, 4, 0.5});
  }
  [[nodiscard]] std::string kinds() const {  // one letter a record
    std::ifstream in(path_);
    std::string out;
    for (std::string line; std::getline(in, line);)
      out += nlohmann::json::parse(line)["kind"].get<std::string>().substr(0, 2) + " ";
    return out;
  }
  fs::path folder_ = fs::path(testing::TempDir()) / "th_monitor_test";
  std::string path_ = (folder_ / "metrics.jsonl").string();
};

TEST_F(Monitor, NumbersReadBackToTheSameBits) {
  MetricsWriter writer(path_, OpenMode::kTruncate);
  writer.step({7, 2, 0.1 + 0.2, std::numeric_limits<double>::infinity(), 1.0 / 3, 11, 13, 0.25});
  writer.epoch({2, 1.5, std::nullopt, 3});
  const std::string text = file_text(path_);
  const auto step = nlohmann::json::parse(text.substr(0, text.find('\n')));
  EXPECT_EQ(step["step"], 7);
  EXPECT_EQ(step["loss"].get<double>(), 0.1 + 0.2);
  EXPECT_TRUE(step["grad_norm"].is_null());
  EXPECT_EQ(step["lr"].get<double>(), 1.0 / 3);
  EXPECT_TRUE(nlohmann::json::parse(text.substr(text.find('\n') + 1))["valid_loss"].is_null());
}

TEST_F(Monitor, TruncationDropsWhatIsLaterThanTheCheckpoint) {
  const auto fill = [&] {
    MetricsWriter writer(path_, OpenMode::kTruncate);
    write(writer, 1);
    write(writer, 2);
    writer.epoch({1, 0.5, 0.25, 1});
    write(writer, 3);
    writer.eval({"valid", 3, "bleu", 1, "tok:13a"});
    writer.eval({"test", 3, "bleu", 1, ""});
    writer.summary({});
    std::ofstream(path_, std::ios::app) << "{\"kind\":\"st";
  };
  fill();
  EXPECT_NE(MetricsWriter::truncate_metrics(path_, 3, {}).find("not written whole"),
            std::string::npos);
  EXPECT_EQ(kinds(), "st st ep st ");
  fill();
  (void)MetricsWriter::truncate_metrics(path_, 3, {.epoch = true, .validation = true});
  EXPECT_EQ(kinds(), "st st ep st ev ");
  EXPECT_NE(file_text(path_).find("\"valid\""), std::string::npos);
  fill();
  (void)MetricsWriter::truncate_metrics(path_, 2, {.epoch = true, .validation = false});
  EXPECT_EQ(kinds(), "st st ep ");
  fill();
  (void)MetricsWriter::truncate_metrics(path_, 2, {});
  EXPECT_EQ(kinds(), "st st ");
  fill();
  (void)MetricsWriter::truncate_metrics(path_, 0, {});
  EXPECT_EQ(kinds(), "");
  {
    MetricsWriter writer(path_, OpenMode::kAppend);
    write(writer, 1);
  }
  EXPECT_EQ(kinds(), "st ");
}

TEST_F(Monitor, DamageBehindTheCheckpointsStepIsCut) {
  const auto fill = [&](const std::string& tail) {
    MetricsWriter writer(path_, OpenMode::kTruncate);
    write(writer, 1);
    write(writer, 2);
    std::ofstream(path_, std::ios::app | std::ios::binary) << tail;
  };
  const std::string zeros(5000, '\0');
  for (const std::string& tail :
       {zeros, zeros + "\n", "{\"kind\":\"st" + zeros + "\n", "{\"kind\"\n" + zeros}) {
    fill(tail);
    EXPECT_FALSE(MetricsWriter::truncate_metrics(path_, 2, {}).empty());
    EXPECT_EQ(kinds(), "st st ");
    EXPECT_EQ(MetricsWriter::truncate_metrics(path_, 2, {}), "");
  }
  fill(zeros + "\n");
  EXPECT_EQ(MetricsWriter::last_exit(path_), "");
  EXPECT_EQ(MetricsWriter::truncate_metrics(path_, 1, {}),
            path_ +
                ": line 3 holds zero bytes, behind the checkpoint's step 1; the file is cut "
                "there");
  EXPECT_EQ(kinds(), "st ");
  fill(zeros + "\n");
  EXPECT_THROW((void)MetricsWriter::truncate_metrics(path_, 3, {}), th::DataError)
      << "records that the checkpoint knows are lost";
}

TEST_F(Monitor, ATornTailOfALogIsCut) {
  const std::string text = "one\ntwo\n";
  const std::string zeros(200'000, '\0');
  for (const std::string& tail : {std::string(), std::string("thr"), zeros, "thr" + zeros,
                                  std::string(150'000, 'x'), "thr" + zeros}) {
    std::ofstream(path_, std::ios::binary) << text << tail;
    EXPECT_EQ(th::monitor::cut_torn_tail(path_), std::ssize(tail));
    EXPECT_EQ(file_text(path_), text);
  }
  std::ofstream(path_, std::ios::binary) << zeros;
  EXPECT_EQ(th::monitor::cut_torn_tail(path_), std::ssize(zeros));
  EXPECT_EQ(file_text(path_), "");
  EXPECT_EQ(th::monitor::cut_torn_tail(path_), 0);
  EXPECT_EQ(th::monitor::cut_torn_tail((folder_ / "none").string()), 0);
  EXPECT_EQ(th::monitor::cut_torn_tail("/dev/null"), 0);
}

TEST_F(Monitor, TruncationOfMissingAndBrokenFiles) {
  (void)MetricsWriter::truncate_metrics(path_, 5, {.epoch = true, .validation = false});
  EXPECT_FALSE(fs::exists(path_));
  std::ofstream(path_) << "no record\n";
  EXPECT_THROW(
      (void)MetricsWriter::truncate_metrics(path_, 5, {.epoch = true, .validation = false}),
      th::DataError);
  EXPECT_EQ(file_text(path_), "no record\n");
  EXPECT_THROW(MetricsWriter("/proc/no/metrics.jsonl", OpenMode::kAppend), th::DeckError);
}

TEST_F(Monitor, RecordsThatNoWriterMadeAreDamageAndNoMore) {
  for (const std::string record : {"{\"kind\":\"eval\"}", "{\"kind\":\"summary\",\"exit\":5}",
                                   "{\"kind\":\"step\",\"step\":1e300}", "{\"kind\":7}",
                                   "[\"kind\"]", "null", "{\"kind\":\"step\"}"}) {
    std::ofstream(path_) << record << '\n';
    EXPECT_EQ(MetricsWriter::last_exit(path_), "") << record;
    EXPECT_THROW((void)MetricsWriter::truncate_metrics(path_, 5, {}), th::DataError) << record;
  }
  std::ofstream(path_) << "{\"kind\":\"eval\",\"set\":" << std::string(1'000'000, '[') << '\n';
  EXPECT_THROW((void)MetricsWriter::truncate_metrics(path_, 5, {}), th::DataError);
}

TEST_F(Monitor, ZeroBytesDoNotCutTheMessageAboutThem) {
  std::ofstream(path_, std::ios::binary) << std::string(20, '\0') << '\n';
  try {
    (void)MetricsWriter::truncate_metrics(path_, 5, {});
    FAIL();
  } catch (const th::DataError& error) {
    EXPECT_NE(std::string(error.what()).find("repair the line to resume"), std::string::npos);
  }
}

std::uint32_t masked(const std::string& bytes) {
  const std::uint32_t crc = th::crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

std::vector<std::string> events_of(const std::string& file) {
  std::vector<std::string> events;
  for (std::size_t at = 0; at < file.size();) {
    std::uint64_t length = 0;
    std::uint32_t length_crc = 0, data_crc = 0;
    std::memcpy(&length, file.data() + at, 8);
    std::memcpy(&length_crc, file.data() + at + 8, 4);
    EXPECT_EQ(length_crc, masked(file.substr(at, 8)));
    if (length > file.size() - at - 16) return events;
    events.push_back(file.substr(at + 12, length));
    std::memcpy(&data_crc, file.data() + at + 12 + length, 4);
    EXPECT_EQ(data_crc, masked(events.back()));
    at += 16 + length;
  }
  return events;
}

TEST_F(Monitor, TensorboardRecords) {
  th::monitor::TensorboardWriter writer((folder_ / "tb").string(), 1);
  writer.scalar("loss", 1.5, 300);
  writer.flush();
  EXPECT_EQ(fs::path(writer.path()).filename().string().rfind("events.out.tfevents.", 0), 0U);
  const auto events = events_of(file_text(writer.path()));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].substr(9), std::string("\x1a\x0d"
                                             "brain.Event:2"));
  // step 300 as a varint; summary { value { tag "loss" simple_value 1.5f } }
  EXPECT_EQ(events[1].substr(9), std::string("\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04"
                                             "loss\x15\x00\x00\xc0\x3f",
                                             18));
}

TEST_F(Monitor, TensorboardTextIsATensorOfOneStringForTheTextPlugin) {
  th::monitor::TensorboardWriter writer((folder_ / "tb").string(), 1);
  writer.text("t", "hi", 3);
  writer.flush();
  const auto events = events_of(file_text(writer.path()));
  ASSERT_EQ(events.size(), 2U);
  // step 3; summary { value { tag "t" tensor { dtype 7 tensor_shape { dim { size 1 } } string_val
  // "hi" } metadata { plugin_data { plugin_name "text" } } } }
  const std::string value = std::string("\x0a\x01t") +
                            "\x42\x0c\x08\x07\x12\x04\x12\x02\x08\x01\x42\x02hi" +
                            "\x4a\x08\x0a\x06\x0a\x04text";
  EXPECT_EQ(events[1].substr(9), std::string("\x10\x03\x2a") + static_cast<char>(value.size() + 2) +
                                     "\x0a" + static_cast<char>(value.size()) + value);
}

TEST_F(Monitor, HeaderAlignsAndLeavesOutWhatIsEmpty) {
  th::monitor::HeaderInfo info;
  info.version = "0.1.0";
  info.ranks = 4;
  info.planned_bytes = 3LL << 29;
  info.more = {{"seed", "7"}};
  EXPECT_EQ(th::monitor::header_text(info),
            "th_app          0.1.0\nranks           4\nplanned memory  1.50 GiB a rank\nseed       "
            "     7");
  EXPECT_EQ(th::monitor::bytes_text(512), "512 B");
}

TEST_F(Monitor, ProgressIsSilentOnAFile) {
  const std::string path = (folder_ / "out").string();
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  {
    th::monitor::Progress progress(true, file);
    EXPECT_FALSE(progress.active());
    progress.show("step 1");
  }
  std::fclose(file);
  EXPECT_EQ(file_text(path), "");
}

}  // namespace
