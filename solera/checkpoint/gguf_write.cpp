#include <algorithm>
#include <bit>

#include "solera/base/error.h"
#include "solera/checkpoint/bytes.h"
#include "solera/checkpoint/gguf.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kAlignment = 32;  // GGUF's own, unless general.alignment says otherwise
constexpr std::size_t kMaxName = 63;      // bytes that ggml has room for

std::uint64_t aligned(std::uint64_t at) { return (at + kAlignment - 1) / kAlignment * kAlignment; }

void append_text(std::string& to, std::string_view text) {
  append_little<std::uint64_t>(to, text.size());
  to += text;
}

void append_entry(std::string& to, const GgufTensor& tensor, std::uint64_t offset) {
  if (tensor.name.size() > kMaxName)
    throw input_error(
        cat(tensor.name, ": the name has ", tensor.name.size(), " bytes, more than the ", kMaxName, " of GGUF"));
  append_text(to, tensor.name);
  append_little<std::uint32_t>(to, static_cast<std::uint32_t>(tensor.shape.size()));
  for (std::size_t d = tensor.shape.size(); d-- > 0;)
    append_little<std::uint64_t>(to, static_cast<std::uint64_t>(tensor.shape[d]));
  append_little<std::uint32_t>(to, tensor.type->number);
  append_little<std::uint64_t>(to, offset);
}

}  // namespace

void GgufMetadata::key(std::string_view key, GgufKind kind) {
  append_text(bytes_, key);
  append_little<std::uint32_t>(bytes_, static_cast<std::uint32_t>(kind));
  ++count_;
}

void GgufMetadata::array(std::string_view name, GgufKind element, std::size_t count) {
  key(name, GgufKind::kArray);
  append_little<std::uint32_t>(bytes_, static_cast<std::uint32_t>(element));
  append_little<std::uint64_t>(bytes_, count);
}

void GgufMetadata::text(std::string_view name, std::string_view value) {
  key(name, GgufKind::kText);
  append_text(bytes_, value);
}

void GgufMetadata::u32(std::string_view name, std::uint32_t value) {
  key(name, GgufKind::kU32);
  append_little<std::uint32_t>(bytes_, value);
}

void GgufMetadata::f32(std::string_view name, float value) {
  key(name, GgufKind::kF32);
  append_little<std::uint32_t>(bytes_, std::bit_cast<std::uint32_t>(value));
}

void GgufMetadata::boolean(std::string_view name, bool value) {
  key(name, GgufKind::kBool);
  append_little<std::uint8_t>(bytes_, value ? 1 : 0);
}

void GgufMetadata::texts(std::string_view name, std::span<const std::string> values) {
  array(name, GgufKind::kText, values.size());
  for (const std::string& value : values) append_text(bytes_, value);
}

void GgufMetadata::f32s(std::string_view name, std::span<const float> values) {
  array(name, GgufKind::kF32, values.size());
  for (const float value : values) append_little<std::uint32_t>(bytes_, std::bit_cast<std::uint32_t>(value));
}

void GgufMetadata::i32s(std::string_view name, std::span<const std::int32_t> values) {
  array(name, GgufKind::kI32, values.size());
  for (const std::int32_t value : values) append_little<std::uint32_t>(bytes_, static_cast<std::uint32_t>(value));
}

std::uint64_t GgufTensor::bytes() const {
  return static_cast<std::uint64_t>(element_count(shape) / type->block) * type->bytes;
}

Layout plan_gguf(std::span<const GgufTensor> tensors, const GgufMetadata& metadata) {
  std::string header = "GGUF";
  append_little<std::uint32_t>(header, 3);
  append_little<std::uint64_t>(header, tensors.size());
  append_little<std::uint64_t>(header, metadata.count());
  header += metadata.bytes();

  Layout layout;
  std::uint64_t end = 0;
  for (const GgufTensor& tensor : tensors) {
    append_entry(header, tensor, end);
    layout.places.push_back({0, end});
    layout.tensors.push_back({tensor.name, DType::kU8, {static_cast<std::int64_t>(tensor.bytes())}});
    end = aligned(end + tensor.bytes());
  }
  header.resize(aligned(header.size()), '\0');
  for (Layout::Place& place : layout.places) place.offset += header.size();
  Layout::File file{"model.gguf", std::move(header)};
  file.bytes = file.header.size() + end;
  layout.files.push_back(std::move(file));
  return layout;
}

}  // namespace solera::checkpoint
