#include "solera/base/hash.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>
#include <cerrno>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/files.h"

namespace solera {
namespace {

std::string hex_of(XXH128_hash_t hash) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint64_t half : {hash.high64, hash.low64}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(half >> shift) & 15];
  }
  return text;
}

class State128 {
 public:
  State128() : state_(XXH3_createState()) {
    if (state_ == nullptr || XXH3_128bits_reset(state_) != XXH_OK) throw std::bad_alloc();
  }
  ~State128() { XXH3_freeState(state_); }
  State128(const State128&) = delete;
  State128& operator=(const State128&) = delete;
  void add(const void* data, std::size_t size) {
    if (size > 0) XXH3_128bits_update(state_, data, size);
  }
  std::string hex() const { return hex_of(XXH3_128bits_digest(state_)); }

 private:
  XXH3_state_t* state_;
};

}  // namespace

std::string hash_bytes(std::span<const std::byte> bytes) { return hex_of(XXH3_128bits(bytes.data(), bytes.size())); }

std::string hash_text(std::string_view text) { return hex_of(XXH3_128bits(text.data(), text.size())); }

std::string hash_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    const int code = errno;
    if (code == ENOENT) throw missing_file(path);
    throw io_error("cannot open: " + errno_text(code), path);
  }
  State128 state;
  std::vector<char> block(std::size_t{1} << 20);
  for (;;) {
    const ssize_t got = ::read(file, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int code = errno;
      ::close(file);
      throw io_error("cannot read: " + errno_text(code), path);
    }
    if (got == 0) break;
    state.add(block.data(), static_cast<std::size_t>(got));
  }
  ::close(file);
  return state.hex();
}

std::uint64_t hash64(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

struct Hasher::State : State128 {
  void add_number(std::uint64_t number) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(number >> (8 * i));
    add(bytes, sizeof bytes);
  }
};

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;

Hasher& Hasher::add(std::string_view piece) {
  state_->add_number(piece.size());
  state_->add(piece.data(), piece.size());
  return *this;
}

Hasher& Hasher::add(std::uint64_t number) {
  state_->add_number(UINT64_MAX);  // no text is this long, so a number never equals eight characters
  state_->add_number(number);
  return *this;
}

std::string Hasher::hex() const { return state_->hex(); }

}  // namespace solera
