#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "th/base/error.hpp"

// Numbers and texts as bytes, for another rank of the same build.
namespace th::app {

template <typename T>
requires std::is_arithmetic_v<T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline void put(std::string& bytes, const std::string& text) {
  put(bytes, std::int64_t{std::ssize(text)});
  bytes += text;
}

/// Takes from the front of bytes what put() made, in its order; the bytes are used until its end.
/// Throws InternalError for bytes that are none.
class Unpacking {
 public:
  explicit Unpacking(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  [[nodiscard]] T number() {
    T value{};
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  [[nodiscard]] std::string text() {
    const auto size = number<std::int64_t>();
    ensure(size >= 0, "a message between ranks is damaged");
    return std::string(take(static_cast<std::size_t>(size)));
  }

 private:
  std::string_view take(std::size_t count) {
    ensure(count <= rest_.size(), "a message between ranks is cut off");
    const std::string_view front = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return front;
  }

  std::string_view rest_;
};

}  // namespace th::app
