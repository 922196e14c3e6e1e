// Archives made by hand, right and wrong: a zip writer that writes what it is told, and pickles opcode by opcode.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/files.h"
#include "solera/checkpoint/bytes.h"
#include "solera/checkpoint/source.h"
#include "tests/support/support.h"

namespace solera::checkpoint {

inline std::shared_ptr<const Source> source_of(std::string_view content, const std::string& name = "f.pt") {
  std::vector<std::byte> bytes(content.size());
  if (!content.empty()) std::memcpy(bytes.data(), content.data(), content.size());
  return memory_source(name, std::move(bytes));
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads by copying, as a file on a network does.
class CopyingSource final : public Source {
 public:
  explicit CopyingSource(std::string content) : content_(std::move(content)) {}
  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return content_.size(); }
  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    largest = std::max(largest, length);
    const auto bytes = std::as_bytes(std::span<const char>(content_)).subspan(offset, length);
    scratch.assign(bytes.begin(), bytes.end());
    return scratch;
  }
  mutable std::uint64_t largest = 0;  // bytes of one view

 private:
  std::string path_ = "copied", content_;
};

inline std::string deflated(std::string_view text) {
  std::string packed(compressBound(text.size()) + 64, '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

struct TestMember {
  std::string name, content;  // content as it is in the archive
  std::uint16_t method = 0, flags = 0;
  std::optional<std::uint64_t> size;  // claimed; the content's if absent
  std::optional<std::uint32_t> crc;
  std::optional<std::uint64_t> header;  // claimed place of the local header
  bool wide = false;                    // zip64 fields for sizes and place
};

inline TestMember packed_member(std::string name, std::string_view text) {
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size());
  return {std::move(name), deflated(text), 8, 0, text.size(), static_cast<std::uint32_t>(crc)};
}

inline std::string zip_of(const std::vector<TestMember>& members, std::string_view comment = "",
                          bool zip64_end = false) {
  std::string out, directory;
  for (const TestMember& m : members) {
    const std::uint64_t place = m.header.value_or(out.size()), size = m.size.value_or(m.content.size());
    const auto crc = m.crc.value_or(
        static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(m.content.data()), m.content.size())));
    for (const bool local : {true, false}) {
      std::string& to = local ? out : directory;
      std::string extra;
      if (m.wide) {
        append_little<std::uint16_t>(extra, 1);
        append_little<std::uint16_t>(extra, local ? 16 : 24);
        append_little<std::uint64_t>(extra, size);
        append_little<std::uint64_t>(extra, m.content.size());
        if (!local) append_little<std::uint64_t>(extra, place);
      }
      const std::uint32_t full = 0xffffffff;
      append_little<std::uint32_t>(to, local ? 0x04034b50 : 0x02014b50);
      if (!local) append_little<std::uint16_t>(to, 20);
      append_little<std::uint16_t>(to, 20);
      append_little<std::uint16_t>(to, m.flags);
      append_little<std::uint16_t>(to, m.method);
      append_little<std::uint32_t>(to, 0);
      append_little<std::uint32_t>(to, crc);
      append_little<std::uint32_t>(to, m.wide ? full : static_cast<std::uint32_t>(m.content.size()));
      append_little<std::uint32_t>(to, m.wide ? full : static_cast<std::uint32_t>(size));
      append_little<std::uint16_t>(to, static_cast<std::uint16_t>(m.name.size()));
      append_little<std::uint16_t>(to, static_cast<std::uint16_t>(extra.size()));
      if (!local) {
        to.append(10, '\0');  // comment, disk, attributes
        append_little<std::uint32_t>(to, m.wide ? full : static_cast<std::uint32_t>(place));
      }
      to += m.name + extra;
      if (local) to += m.content;
    }
  }
  const std::uint64_t begin = out.size(), bytes = directory.size();
  out += directory;
  if (zip64_end) {
    const std::uint64_t end = out.size();
    append_little<std::uint32_t>(out, 0x06064b50);
    append_little<std::uint64_t>(out, 44);
    append_little<std::uint32_t>(out, 45 | 45 << 16);
    append_little<std::uint64_t>(out, 0);
    for (const std::uint64_t value : {members.size(), members.size(), bytes, begin})
      append_little<std::uint64_t>(out, value);
    append_little<std::uint32_t>(out, 0x07064b50);
    append_little<std::uint32_t>(out, 0);
    append_little<std::uint64_t>(out, end);
    append_little<std::uint32_t>(out, 1);
  }
  append_little<std::uint32_t>(out, 0x06054b50);
  append_little<std::uint32_t>(out, 0);
  for (int i = 0; i < 2; ++i)
    append_little<std::uint16_t>(out, zip64_end ? std::uint16_t{0xffff} : static_cast<std::uint16_t>(members.size()));
  append_little<std::uint32_t>(out, zip64_end ? 0xffffffff : static_cast<std::uint32_t>(bytes));
  append_little<std::uint32_t>(out, zip64_end ? 0xffffffff : static_cast<std::uint32_t>(begin));
  append_little<std::uint16_t>(out, static_cast<std::uint16_t>(comment.size()));
  return out + std::string(comment);
}

// Pieces of a protocol 2 pickle.
namespace pickles {

inline std::string text(std::string_view value) {
  std::string out = "X";
  append_little<std::uint32_t>(out, static_cast<std::uint32_t>(value.size()));
  return out + std::string(value);
}
inline std::string integer(std::int64_t value) {
  std::string out = "\x8a\x08";
  append_little<std::uint64_t>(out, static_cast<std::uint64_t>(value));
  return out;
}
inline std::string tuple(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t value : values) out += integer(value);
  return out + "t";
}
inline std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string storage(std::string_view type, std::string_view key, std::int64_t count) {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(count) + "tQ";
}
inline std::string tensor(std::string_view type, std::string_view key, std::int64_t count, std::int64_t offset,
                          const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage(type, key, count) + integer(offset) +
         tuple(shape) + tuple(strides) + "\x89" + global("collections", "OrderedDict") + ")RtR";
}
// A whole pickle of a dictionary; entries are keys and values in turn.
inline std::string dictionary(const std::string& entries) { return "\x80\x02}(" + entries + "u."; }

}  // namespace pickles

inline std::string torch_zip(const std::string& pickle, const std::vector<TestMember>& more) {
  std::vector<TestMember> members = {{"archive/data.pkl", pickle}, {"archive/byteorder", "little"}};
  members.insert(members.end(), more.begin(), more.end());
  members.push_back({"archive/version", "3\n"});
  return zip_of(members);
}

using test::hex_example;

}  // namespace solera::checkpoint
