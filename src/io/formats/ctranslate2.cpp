#include "th/io/formats/ctranslate2.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "th/base/error.hpp"

namespace th::io {
namespace {

using Type = Ctranslate2Variable::Type;

constexpr std::uint32_t kBinaryVersion = 6;

template <typename T>
void put(OutputFile& file, T value) {
  file.write(std::as_bytes(std::span(&value, 1)));
}

/// A length of 16 bits, the end counted, the bytes, and a zero byte.
void put_text(OutputFile& file, const std::string& text) {
  if (text.size() + 1 > std::numeric_limits<std::uint16_t>::max())
    throw CheckpointError(file.path() + ": a name of " + std::to_string(text.size()) + " bytes");
  put(file, static_cast<std::uint16_t>(text.size() + 1));
  file.write(std::as_bytes(std::span(text.c_str(), text.size() + 1)));
}

std::int64_t size_of(Type type) {
  switch (type) {
    case Type::kInt8:
      return 1;
    case Type::kInt16:
    case Type::kFloat16:
    case Type::kBfloat16:
      return 2;
    case Type::kFloat32:
    case Type::kInt32:
      break;
  }
  return 4;
}

void put_number(OutputFile& file, Type type, double number) {
  switch (type) {
    case Type::kInt8:
      return put(file, static_cast<std::int8_t>(number));
    case Type::kInt16:
      return put(file, static_cast<std::int16_t>(number));
    case Type::kInt32:
      return put(file, static_cast<std::int32_t>(number));
    case Type::kFloat32:
      return put(file, static_cast<float>(number));
    case Type::kFloat16:
    case Type::kBfloat16:
      break;
  }
  throw InternalError("Ctranslate2Writer: a number of 16 bits");
}

ElementType element_type(Type type) {
  return type == Type::kFloat16    ? ElementType::kFp16
         : type == Type::kBfloat16 ? ElementType::kBf16
                                   : ElementType::kFp32;
}

}  // namespace

Ctranslate2Variable Ctranslate2Variable::array(std::string name, std::vector<std::int64_t> shape,
                                               ElementType type) {
  const Type stored = type == ElementType::kFp16   ? Type::kFloat16
                      : type == ElementType::kBf16 ? Type::kBfloat16
                                                   : Type::kFloat32;
  return {std::move(name), stored, std::move(shape), 0};
}

Ctranslate2Variable Ctranslate2Variable::scalar(std::string name, Type type, double number) {
  return {std::move(name), type, {}, number};
}

Ctranslate2Variable Ctranslate2Variable::flag(std::string name, bool value) {
  return scalar(std::move(name), Type::kInt8, value ? 1 : 0);
}

Ctranslate2Writer::Ctranslate2Writer(OutputFile& file, const Specification& specification,
                                     std::vector<Ctranslate2Variable> variables,
                                     std::map<std::string, std::string> aliases)
    : file_(file), variables_(std::move(variables)), aliases_(std::move(aliases)) {
  std::sort(variables_.begin(), variables_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  put(file_, kBinaryVersion);
  put_text(file_, specification.name);
  put(file_, specification.revision);
  put(file_, static_cast<std::uint32_t>(variables_.size()));
}

std::vector<std::string> Ctranslate2Writer::arrays() const {
  std::vector<std::string> names;
  for (const Ctranslate2Variable& variable : variables_)
    if (!variable.shape.empty()) names.push_back(variable.name);
  return names;
}

void Ctranslate2Writer::write_head(const Ctranslate2Variable& variable, std::uint64_t bytes) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  if (bytes > kMost)
    throw CheckpointError(file_.path() + ": " + variable.name + " has " + std::to_string(bytes) +
                          " bytes; CTranslate2's format holds " + std::to_string(kMost) +
                          " an array, --dtype fp16 halves them");
  put_text(file_, variable.name);
  put(file_, static_cast<std::uint8_t>(variable.shape.size()));
  for (const std::int64_t extent : variable.shape) put(file_, static_cast<std::uint32_t>(extent));
  put(file_, static_cast<std::uint8_t>(variable.type));
  put(file_, static_cast<std::uint32_t>(bytes));
}

void Ctranslate2Writer::write_numbers() {
  for (; next_ < variables_.size() && variables_[next_].shape.empty(); ++next_) {
    const Ctranslate2Variable& variable = variables_[next_];
    write_head(variable, static_cast<std::uint64_t>(size_of(variable.type)));
    put_number(file_, variable.type, variable.number);
  }
}

void Ctranslate2Writer::write(std::span<const float> values) {
  write_numbers();
  ensure(next_ < variables_.size(), "Ctranslate2Writer: more arrays than announced");
  const Ctranslate2Variable& variable = variables_[next_++];
  std::int64_t count = 1;
  for (const std::int64_t extent : variable.shape) count *= extent;
  ensure(std::ssize(values) == count, "Ctranslate2Writer: an array of another size than announced");
  write_head(variable, static_cast<std::uint64_t>(count * size_of(variable.type)));
  file_.write(encode(values, element_type(variable.type)));
}

void Ctranslate2Writer::finish() {
  write_numbers();
  ensure(next_ == variables_.size(), "Ctranslate2Writer: fewer arrays than announced");
  put(file_, static_cast<std::uint32_t>(aliases_.size()));
  for (const auto& [alias, variable] : aliases_) {
    put_text(file_, alias);
    put_text(file_, variable);
  }
}

}  // namespace th::io
