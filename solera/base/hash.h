// Fast content hashes (XXH3, 128 bits): cache keys and identities, not signatures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace solera {

// 32 lower-case hexadecimal digits of XXH3-128 with seed 0.
std::string hash_bytes(std::span<const std::byte> bytes);
std::string hash_text(std::string_view text);
std::string hash_file(const std::string& path);  // streamed; throws Error (io)

// A 64-bit key for random numbers and tables: XXH3-64 with seed 0.
std::uint64_t hash64(std::string_view text);

// A hash of many pieces, each with its length, so that ("ab", "c") and ("a", "bc") differ.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  Hasher& add(std::string_view piece);
  Hasher& add(std::uint64_t number);
  std::string hex() const;  // of all pieces so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace solera
