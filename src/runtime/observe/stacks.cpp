#include "runtime/observe/stacks.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "th/base/error.hpp"

namespace th::runtime {

namespace {

constexpr int kDeepest = 64;
constexpr std::size_t kMostThreads = 64;

/// One thread's stack at a time, written by its own signal handler.
struct Frames {
  std::array<void*, kDeepest> at;
  int count = 0;
  std::atomic<pid_t> asked{0}, answered{0};
};
Frames asked_frames;

int signal_of_stacks() { return SIGRTMAX - 3; }

pid_t this_thread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

void answer_with_stack(int) {
  const int before = errno;
  const pid_t self = this_thread();
  if (asked_frames.asked.load() == self) {
    asked_frames.count = backtrace(asked_frames.at.data(), kDeepest);
    asked_frames.answered.store(self);
  }
  errno = before;
}

std::vector<pid_t> threads_of_this_process() {
  std::vector<pid_t> out;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", none)) {
    const std::string name = entry.path().filename();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    if (thread != 0) out.push_back(thread);
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// Functions of the program itself by its symbol table: they are not exported, so that dladdr()
/// does not know them.
class ProgramSymbols {
 public:
  ProgramSymbols() {
    std::ifstream in("/proc/self/exe", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    const auto* head = at<Elf64_Ehdr>(0, 1);
    if (head == nullptr || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_ident[EI_CLASS] != ELFCLASS64)
      return;
    moved_ = head->e_type == ET_DYN;
    const auto* sections = at<Elf64_Shdr>(head->e_shoff, head->e_shnum);
    if (sections == nullptr) return;
    for (const Elf64_Shdr& section : std::span(sections, head->e_shnum)) {
      if (section.sh_type != SHT_SYMTAB || section.sh_link >= head->e_shnum) continue;
      const std::size_t count = section.sh_size / sizeof(Elf64_Sym);
      const auto* symbols = at<Elf64_Sym>(section.sh_offset, count);
      if (symbols == nullptr) continue;
      symbols_ = {symbols, count};
      names_ = sections[section.sh_link].sh_offset;
    }
  }

  /// The mangled name of the function at an address in the program, which is loaded at `base`;
  /// null: not known.
  [[nodiscard]] const char* name_at(std::uintptr_t address, std::uintptr_t base) const {
    const std::uintptr_t offset = moved_ ? address - base : address;
    for (const Elf64_Sym& symbol : symbols_) {
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && offset >= symbol.st_value &&
          offset < symbol.st_value + symbol.st_size)
        return at<char>(names_ + symbol.st_name, 1);
    }
    return nullptr;
  }

 private:
  template <typename T>
  [[nodiscard]] const T* at(std::size_t offset, std::size_t count) const {
    const bool inside = offset <= bytes_.size() && count <= (bytes_.size() - offset) / sizeof(T);
    return inside ? reinterpret_cast<const T*>(bytes_.data() + offset) : nullptr;
  }

  std::string bytes_;
  std::span<const Elf64_Sym> symbols_;
  std::size_t names_ = 0;
  bool moved_ = true;  ///< symbols are offsets from where the program is loaded
};

std::string demangled(const char* mangled) {
  int code = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &code), std::free);
  return code == 0 ? text.get() : mangled;
}

std::string stack_line(void* address, const ProgramSymbols& program) {
  Dl_info info{};
  link_map* map = nullptr;
  if (dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) return "?";
  // What a frame holds is the address behind its call.
  const auto place = reinterpret_cast<std::uintptr_t>(address) - 1;
  const auto base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  const std::string file = std::filesystem::path(info.dli_fname).filename();
  const bool own = map != nullptr && *map->l_name == '\0';
  const char* name = own ? program.name_at(place, base) : info.dli_sname;
  std::array<char, 24> offset{};
  std::snprintf(offset.data(), offset.size(), "+0x%zx", static_cast<std::size_t>(place - base));
  return (name == nullptr ? "?" : demangled(name)) + "  (" + file + offset.data() + ")";
}

/// Whether the thread blocks the signal: it would never answer.
bool blocks_signals(pid_t thread) {
  std::ifstream status("/proc/self/task/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kBlocked = "SigBlk:\t";
    if (!line.starts_with(kBlocked)) continue;
    const std::uint64_t mask = std::strtoull(line.c_str() + kBlocked.size(), nullptr, 16);
    return (mask >> (signal_of_stacks() - 1) & 1) != 0;
  }
  return false;
}

/// Whether the thread wrote its stack to `frames`.
bool ask_for_stack(pid_t thread) {
  asked_frames.answered.store(0);
  asked_frames.asked.store(thread);
  if (syscall(SYS_tgkill, getpid(), thread, signal_of_stacks()) != 0) return false;
  for (int i = 0; i < 50 && asked_frames.answered.load() != thread; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  asked_frames.asked.store(0);
  return asked_frames.answered.load() == thread;
}

}  // namespace

void prepare_stacks() {
  static const bool once = [] {
    std::array<void*, 2> room{};
    (void)backtrace(room.data(), 2);  // loads what it needs: a handler can't
    struct sigaction action {};
    action.sa_handler = answer_with_stack;
    action.sa_flags = SA_RESTART;
    sigaction(signal_of_stacks(), &action, nullptr);
    return true;
  }();
  (void)once;
}

std::string stacks_file(const std::string& log, int rank) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "stacks.%05d.txt", rank);
  return (std::filesystem::path(log).parent_path() / name.data()).string();
}

void write_stacks(const std::string& file) {
  const ProgramSymbols program;
  std::ofstream out(file);
  std::vector<pid_t> threads = threads_of_this_process();
  if (threads.size() > kMostThreads) threads.resize(kMostThreads);
  for (const pid_t thread : threads) {
    if (thread == this_thread() || blocks_signals(thread)) continue;
    const bool known = ask_for_stack(thread);
    out << "thread " << thread << (thread == getpid() ? " (main)" : "")
        << (known ? "" : ": no answer") << '\n';
    // The first two frames are the handler's own and the signal's.
    for (int i = 2; known && i < asked_frames.count; ++i)
      out << "  " << stack_line(asked_frames.at[static_cast<std::size_t>(i)], program) << '\n';
  }
  if (!out.flush()) throw CommunicationError(file + " can't be written");
}

}  // namespace th::runtime
