#include "solera/checkpoint/inflated.h"

#include <zlib.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "solera/base/error.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kSpacing = 4u << 20;  // of kept states, in unpacked bytes
constexpr std::size_t kPiece = 1u << 18;      // packed bytes that are handed to zlib at once

// A decoder somewhere in the member.
struct Decoder {
  z_stream stream{};
  std::uint64_t in = 0, out = 0;

  Decoder() {
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw internal_error("zlib cannot start");
  }
  Decoder(const Decoder& other) : in(other.in), out(other.out) {
    if (inflateCopy(&stream, const_cast<z_stream*>(&other.stream)) != Z_OK)
      throw internal_error("zlib cannot copy its state");
  }
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { inflateEnd(&stream); }
};

class Inflated final : public Source {
 public:
  Inflated(std::shared_ptr<const Source> archive, ZipMember member)
      : archive_(std::move(archive)), member_(std::move(member)), path_(archive_->path() + ": " + member_.name) {
    states_.push_back(std::make_unique<Decoder>());
  }

  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return member_.size; }
  void check() const override { archive_->check(); }

  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    if (offset > size() || length > size() - offset) throw io_error("a read past the end of a zip member", path_);
    if (scratch.size() < length) scratch.resize(static_cast<std::size_t>(length));
    Decoder decoder = nearest_state(offset);
    if (decoder.out < offset) skip(decoder, offset - decoder.out);
    unpack(decoder, scratch.data(), length);
    if (decoder.out == size()) finish(decoder);
    return std::span<const std::byte>(scratch).first(static_cast<std::size_t>(length));
  }

 private:
  Decoder nearest_state(std::uint64_t offset) const {
    const std::size_t wanted = static_cast<std::size_t>(offset / kSpacing);
    const std::lock_guard lock(mutex_);
    while (states_.size() <= wanted) {
      auto next = std::make_unique<Decoder>(*states_.back());
      skip(*next, kSpacing);
      states_.push_back(std::move(next));
    }
    return *states_[wanted];
  }

  void skip(Decoder& decoder, std::uint64_t count) const {
    std::vector<std::byte> sink(static_cast<std::size_t>(std::min<std::uint64_t>(count, 1u << 16)));
    while (count > 0) {
      const std::uint64_t n = std::min<std::uint64_t>(count, sink.size());
      unpack(decoder, sink.data(), n);
      count -= n;
    }
  }

  // Exactly `count` more bytes.
  void unpack(Decoder& decoder, std::byte* target, std::uint64_t count) const {
    std::vector<std::byte> scratch;
    while (count > 0) {
      const std::uint64_t give = std::min<std::uint64_t>(kPiece, member_.packed - decoder.in);
      const std::uint64_t room = std::min<std::uint64_t>(count, 1u << 30);
      const std::span<const std::byte> packed = archive_->view(member_.offset + decoder.in, give, scratch);
      z_stream& stream = decoder.stream;
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
      stream.avail_in = static_cast<uInt>(give);
      stream.next_out = reinterpret_cast<Bytef*>(target);
      stream.avail_out = static_cast<uInt>(room);
      const int status = inflate(&stream, Z_NO_FLUSH);
      const std::uint64_t made = room - stream.avail_out, used = give - stream.avail_in;
      decoder.in += used;
      decoder.out += made;
      target += made;
      count -= made;
      if ((status != Z_OK && status != Z_STREAM_END) ||
          (count > 0 && (status == Z_STREAM_END || (made == 0 && used == 0))))
        throw damaged();
    }
  }

  // The stream must end where the directory says.
  void finish(Decoder& decoder) const {
    std::vector<std::byte> scratch;
    int status = Z_OK;
    while (status == Z_OK) {
      const std::uint64_t give = std::min<std::uint64_t>(kPiece, member_.packed - decoder.in);
      const std::span<const std::byte> packed = archive_->view(member_.offset + decoder.in, give, scratch);
      std::byte beyond{};
      z_stream& stream = decoder.stream;
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
      stream.avail_in = static_cast<uInt>(give);
      stream.next_out = reinterpret_cast<Bytef*>(&beyond);
      stream.avail_out = 1;
      status = inflate(&stream, Z_NO_FLUSH);
      decoder.in += give - stream.avail_in;
      if (stream.avail_out == 0) throw damaged();
    }
    if (status != Z_STREAM_END || decoder.in != member_.packed) throw damaged();
  }

  Error damaged() const {
    return input_error("the deflated zip member does not unpack to " + std::to_string(member_.size) + " bytes", path_);
  }

  std::shared_ptr<const Source> archive_;
  ZipMember member_;
  std::string path_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Decoder>> states_;  // state k has unpacked k * kSpacing bytes
};

}  // namespace

std::shared_ptr<const Source> inflated_source(std::shared_ptr<const Source> archive, ZipMember member) {
  return std::make_shared<Inflated>(std::move(archive), std::move(member));
}

}  // namespace solera::checkpoint
