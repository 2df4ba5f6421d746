#include "th/base/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <cstdio>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "th/base/error.hpp"

namespace th {

struct Log::Impl {
  int rank;
  std::string prefix;
  spdlog::logger logger{"th"};
  std::mutex mutex;
  bool holding = false;
  std::vector<std::string> held;
  void write(spdlog::level::level_enum level, const std::string& text) {
    logger.log(level, spdlog::string_view_t(text.data(), text.size()));
    logger.flush();
  }
};

std::string rank_prefix(int rank, const std::string& host) {
  return "[rank " + std::to_string(rank) + " " + host + "] ";
}

void tell_of_rank(int rank, const std::string& host, const std::string& text) {
  std::fprintf(stderr, "%s%s\n", rank_prefix(rank, host).c_str(), text.c_str());
  std::fflush(stderr);
}

Log::Log(int rank, const std::string& host) : impl_(std::make_unique<Impl>()) {
  impl_->rank = rank;
  if (rank != 0) impl_->prefix = rank_prefix(rank, host);
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (rank == 0) {
    sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
  impl_->logger.sinks().push_back(sink);
  impl_->logger.set_pattern("%v");
  impl_->logger.set_error_handler(
      [told = std::make_shared<std::once_flag>()](const std::string& what) {
        std::call_once(*told, [&] {
          std::fprintf(stderr, "warning: a line of the log can't be written: %s\n", what.c_str());
        });
      });
}

Log::~Log() {
  for (const std::string& message : take_warnings())
    impl_->write(spdlog::level::warn, impl_->prefix + "warning: " + message);
}

void Log::info(const std::string& message) {
  if (impl_->rank == 0) impl_->write(spdlog::level::info, message);
}
void Log::warn(const std::string& message) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->holding) {
      impl_->held.push_back(message);
      return;
    }
  }
  impl_->write(spdlog::level::warn, impl_->prefix + "warning: " + message);
}
void Log::error(const std::string& message) {
  impl_->write(spdlog::level::err, impl_->prefix + "error: " + message);
}

void Log::open_file(const std::string& path) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path, false);
    sink->set_pattern("%Y-%m-%d %H:%M:%S %v");
    impl_->logger.sinks().push_back(sink);
  } catch (const spdlog::spdlog_ex& e) {
    throw DeckError("run.output_dir: cannot open the log " + path + ": " + e.what());
  }
}

void Log::hold_warnings() {
  const std::lock_guard lock(impl_->mutex);
  impl_->holding = impl_->rank != 0;
}

bool Log::holds() const {
  const std::lock_guard lock(impl_->mutex);
  return !impl_->held.empty();
}

std::vector<std::string> Log::take_warnings() {
  const std::lock_guard lock(impl_->mutex);
  return std::exchange(impl_->held, {});
}

}  // namespace th
