// Little-endian numbers in a run of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

namespace solera::checkpoint {

// The unsigned number at `at`. Requires at + sizeof(T) <= bytes.size().
template <class T>
T little(std::span<const std::byte> bytes, std::size_t at) {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | static_cast<T>(static_cast<T>(bytes[at + i]) << (8 * i)));
  return value;
}

template <class T>
void append_little(std::string& text, T value) {
  static_assert(std::is_unsigned_v<T>);
  for (std::size_t i = 0; i < sizeof(T); ++i) text += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
}

}  // namespace solera::checkpoint
