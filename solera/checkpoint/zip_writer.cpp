#include "solera/checkpoint/zip_writer.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/bytes.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kMax32 = 0xffffffff, kAlignment = 64, kPiece = 4u << 20;
constexpr std::uint16_t kVersion = 45, kUtf8 = 1 << 11;  // 4.5: the first with zip64
constexpr std::uint32_t kEarliest = 33u << 16;           // 1 January 1980, midnight

std::uint32_t narrow(std::uint64_t value) { return static_cast<std::uint32_t>(std::min(value, kMax32)); }

std::uint16_t narrow16(std::uint64_t value) {
  return static_cast<std::uint16_t>(std::min<std::uint64_t>(value, 0xffff));
}

// Local header and directory entry share these fields: version to read, flags, method, time, checksum, sizes, name
// length.
void append_common(std::string& text, std::string_view name, std::uint32_t crc, std::uint64_t size, bool wide) {
  append_little<std::uint16_t>(text, kVersion);
  append_little<std::uint16_t>(text, kUtf8);
  append_little<std::uint16_t>(text, 0);
  append_little<std::uint32_t>(text, kEarliest);
  append_little<std::uint32_t>(text, crc);
  for (int i = 0; i < 2; ++i)
    append_little<std::uint32_t>(text, wide ? static_cast<std::uint32_t>(kMax32) : narrow(size));
  append_little<std::uint16_t>(text, static_cast<std::uint16_t>(name.size()));
}

}  // namespace

ZipWriter::ZipWriter(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {
  file_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) throw io_error("cannot create (" + errno_text(errno) + ")", partial_);
}

ZipWriter::~ZipWriter() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(partial_.c_str());
}

void ZipWriter::put_at(std::uint64_t offset, const void* bytes, std::size_t count) {
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t n = ::pwrite(file_, from, count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw io_error("cannot write (" + errno_text(errno) + ")", partial_);
    from += n;
    offset += static_cast<std::uint64_t>(n);
    count -= static_cast<std::size_t>(n);
  }
}

void ZipWriter::put(const void* bytes, std::size_t count) {
  put_at(at_, bytes, count);
  at_ += count;
}

void ZipWriter::begin(const std::string& name, std::uint64_t size) {
  if (left_ != 0) throw internal_error("a zip member is not complete", path_);
  bool bad =
      name.empty() || name.front() == '/' || name.size() > 0xff00 || name.find('\0') != name.npos || !is_utf8(name);
  for (const std::string& piece : split(name, '/')) bad = bad || piece == "..";
  if (bad) throw usage_error("\"" + name + "\" cannot be the name of a zip member", path_);

  Entry entry{name, at_, size, 0};
  const bool wide = size >= kMax32;
  std::string header;
  append_little<std::uint32_t>(header, 0x04034b50);
  append_common(header, name, 0, size, wide);
  std::string extra;
  if (wide) {
    append_little<std::uint16_t>(extra, 1);
    append_little<std::uint16_t>(extra, 16);
    append_little<std::uint64_t>(extra, size);
    append_little<std::uint64_t>(extra, size);
  }
  // An extra field of spaces ("FB", as PyTorch calls it) fills up to the next multiple.
  const std::uint64_t begin = at_ + header.size() + 2 + name.size() + extra.size() + 4;
  const auto padding = static_cast<std::uint16_t>((kAlignment - begin % kAlignment) % kAlignment);
  append_little<std::uint16_t>(extra, 'F' | 'B' << 8);
  append_little<std::uint16_t>(extra, padding);
  extra.append(padding, 'Z');
  append_little<std::uint16_t>(header, static_cast<std::uint16_t>(extra.size()));
  header += name + extra;
  put(header.data(), header.size());
  left_ = size;
  entries_.push_back(std::move(entry));
}

void ZipWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > left_) throw internal_error("a zip member gets more bytes than announced", path_);
  std::uint32_t& crc = entries_.back().crc;
  crc = static_cast<std::uint32_t>(crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  put(bytes.data(), bytes.size());
  left_ -= bytes.size();
}

void ZipWriter::end() {
  if (left_ != 0) throw internal_error("a zip member is not complete", path_);
  std::string crc;
  append_little<std::uint32_t>(crc, entries_.back().crc);
  put_at(entries_.back().header + 14, crc.data(), crc.size());
}

void ZipWriter::add(const std::string& name, std::string_view content) {
  begin(name, content.size());
  write(std::as_bytes(std::span<const char>(content.data(), content.size())));
  end();
}

void ZipWriter::write_tensor(const Checkpoint& model, const Tensor& tensor) {
  std::vector<std::byte> scratch;
  const std::uint64_t bytes = tensor.bytes();
  for (std::uint64_t first = 0; first < bytes; first += kPiece) {
    throw_if_stopped();
    const std::uint64_t count = std::min(kPiece, bytes - first);
    write(model.read(tensor, first, count, scratch));
    tensor.source->release(tensor.offset + first, count);
  }
}

void ZipWriter::finish() {
  std::unordered_set<std::string_view> names;
  for (const Entry& entry : entries_)
    if (!names.insert(entry.name).second) throw internal_error("two zip members are named " + entry.name, path_);
  const std::uint64_t begin = at_;
  std::string text;
  for (const Entry& entry : entries_) {
    const bool wide_size = entry.size >= kMax32, wide_place = entry.header >= kMax32;
    append_little<std::uint32_t>(text, 0x02014b50);
    append_little<std::uint16_t>(text, kVersion);
    append_common(text, entry.name, entry.crc, entry.size, wide_size);
    const int wide = (wide_size ? 2 : 0) + (wide_place ? 1 : 0);
    append_little<std::uint16_t>(text, static_cast<std::uint16_t>(wide ? 4 + 8 * wide : 0));
    append_little<std::uint16_t>(text, 0);  // comment
    append_little<std::uint16_t>(text, 0);  // disk
    append_little<std::uint16_t>(text, 0);  // internal and external attributes
    append_little<std::uint32_t>(text, 0);
    append_little<std::uint32_t>(text, narrow(entry.header));
    text += entry.name;
    if (wide) {
      append_little<std::uint16_t>(text, 1);
      append_little<std::uint16_t>(text, static_cast<std::uint16_t>(8 * wide));
      if (wide_size)
        for (int i = 0; i < 2; ++i) append_little<std::uint64_t>(text, entry.size);
      if (wide_place) append_little<std::uint64_t>(text, entry.header);
    }
  }
  const std::uint64_t count = entries_.size(), bytes = text.size(), end = begin + bytes;
  if (count >= 0xffff || bytes >= kMax32 || begin >= kMax32) {
    append_little<std::uint32_t>(text, 0x06064b50);
    append_little<std::uint64_t>(text, 44);
    append_little<std::uint16_t>(text, kVersion);
    append_little<std::uint16_t>(text, kVersion);
    append_little<std::uint32_t>(text, 0);
    append_little<std::uint32_t>(text, 0);
    append_little<std::uint64_t>(text, count);
    append_little<std::uint64_t>(text, count);
    append_little<std::uint64_t>(text, bytes);
    append_little<std::uint64_t>(text, begin);
    append_little<std::uint32_t>(text, 0x07064b50);
    append_little<std::uint32_t>(text, 0);
    append_little<std::uint64_t>(text, end);
    append_little<std::uint32_t>(text, 1);
  }
  append_little<std::uint32_t>(text, 0x06054b50);
  append_little<std::uint32_t>(text, 0);
  append_little<std::uint16_t>(text, narrow16(count));
  append_little<std::uint16_t>(text, narrow16(count));
  append_little<std::uint32_t>(text, narrow(bytes));
  append_little<std::uint32_t>(text, narrow(begin));
  append_little<std::uint16_t>(text, 0);
  put(text.data(), text.size());
  if (::fsync(file_) != 0) throw io_error("cannot write (" + errno_text(errno) + ")", partial_);
  const int file = std::exchange(file_, -1);
  if (::close(file) != 0) {
    const int code = errno;
    ::unlink(partial_.c_str());
    throw io_error("cannot write (" + errno_text(code) + ")", partial_);
  }
  try {
    rename_path(partial_, path_);
  } catch (...) {
    ::unlink(partial_.c_str());
    throw;
  }
}

}  // namespace solera::checkpoint
