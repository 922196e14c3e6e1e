#include "solera/checkpoint/zip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <unordered_set>

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/bytes.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50, kEndSignature = 0x06054b50,
                        kEnd64Signature = 0x06064b50, kLocatorSignature = 0x07064b50;
constexpr std::uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocatorBytes = 20;
constexpr std::uint32_t kMax32 = 0xffffffff;
constexpr std::uint16_t kEncrypted = 1 | 1 << 6 | 1 << 13, kSizesFollow = 1 << 3;
constexpr std::uint64_t kMaxDirectory = 256u << 20;  // a million members take about a third of it

using Bytes = std::span<const std::byte>;

std::string_view text_at(Bytes bytes, std::size_t at, std::size_t length) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, length};
}

struct End {
  std::uint64_t count = 0, bytes = 0, offset = 0;
  std::uint64_t begin = 0;  // where the end records begin: the directory must end here
};

// The zip64 fields of an extra block, in the order in which their 32-bit fields are full.
void read_zip64_extra(Bytes extra, std::span<std::uint64_t* const> wanted, const std::string& where) {
  if (wanted.empty()) return;
  for (std::size_t at = 0; at + 4 <= extra.size();) {
    const auto tag = little<std::uint16_t>(extra, at), length = little<std::uint16_t>(extra, at + 2);
    at += 4;
    if (length > extra.size() - at) break;
    if (tag == 1) {
      if (length < 8 * wanted.size()) break;
      for (std::size_t i = 0; i < wanted.size(); ++i) *wanted[i] = little<std::uint64_t>(extra, at + 8 * i);
      return;
    }
    at += length;
  }
  throw input_error("a zip member's sizes need a zip64 field that is not there", where);
}

End find_end(const Source& source) {
  const std::uint64_t size = source.size();
  const auto none = [&] {
    return input_error("no zip directory at the end: the file is cut off or not an archive", source.path());
  };
  if (size < kEndBytes) throw none();
  const std::uint64_t tail = std::min<std::uint64_t>(size, kEndBytes + 0xffff);
  std::vector<std::byte> scratch;
  const Bytes bytes = source.view(size - tail, tail, scratch);
  // The comment's length must reach the file's end exactly, so a signature inside the comment is not mistaken for the
  // end.
  std::int64_t at = static_cast<std::int64_t>(tail - kEndBytes);
  for (; at >= 0; --at) {
    const auto i = static_cast<std::size_t>(at);
    if (little<std::uint32_t>(bytes, i) == kEndSignature &&
        i + kEndBytes + little<std::uint16_t>(bytes, i + 20) == bytes.size())
      break;
  }
  if (at < 0) throw none();
  const auto i = static_cast<std::size_t>(at);
  End end{little<std::uint16_t>(bytes, i + 10), little<std::uint32_t>(bytes, i + 12),
          little<std::uint32_t>(bytes, i + 16), size - tail + i};
  const std::uint16_t disk = little<std::uint16_t>(bytes, i + 4),
                      disk_of_directory = little<std::uint16_t>(bytes, i + 6);
  const std::uint64_t count_here = little<std::uint16_t>(bytes, i + 8);
  if (count_here != end.count || (disk != 0 && disk != 0xffff) ||
      (disk_of_directory != 0 && disk_of_directory != 0xffff))
    throw input_error("the zip archive is split over several files", source.path());

  std::vector<std::byte> more;
  if (end.begin >= kLocatorBytes) {
    const Bytes locator = source.view(end.begin - kLocatorBytes, kLocatorBytes, more);
    if (little<std::uint32_t>(locator, 0) == kLocatorSignature) {
      const auto begin = little<std::uint64_t>(locator, 8);
      if (little<std::uint32_t>(locator, 4) != 0 || little<std::uint32_t>(locator, 16) > 1)
        throw input_error("the zip archive is split over several files", source.path());
      if (end.begin < kLocatorBytes + kEnd64Bytes || begin > end.begin - kLocatorBytes - kEnd64Bytes)
        throw input_error("the zip64 end record lies outside the file", source.path());
      const Bytes record = source.view(begin, kEnd64Bytes, more);
      if (little<std::uint32_t>(record, 0) != kEnd64Signature ||
          little<std::uint64_t>(record, 4) != end.begin - kLocatorBytes - begin - 12)
        throw input_error("the zip64 end record is damaged", source.path());
      const End wide{little<std::uint64_t>(record, 32), little<std::uint64_t>(record, 40),
                     little<std::uint64_t>(record, 48), begin};
      const bool agree =
          (end.count == 0xffff || end.count == wide.count) && (end.bytes == kMax32 || end.bytes == wide.bytes) &&
          (end.offset == kMax32 || end.offset == wide.offset) && little<std::uint64_t>(record, 24) == wide.count &&
          little<std::uint32_t>(record, 16) == 0 && little<std::uint32_t>(record, 20) == 0;
      if (!agree) throw input_error("the two end records of the zip directory disagree", source.path());
      end = wide;
    }
  }
  return end;
}

void check_name(std::string_view name, const std::string& where) {
  bool bad = name.empty() || name.front() == '/' || name.find('\0') != name.npos || !is_utf8(name);
  for (const std::string& piece : split(name, '/')) bad = bad || piece == "..";
  if (bad) throw input_error("a zip member's name is empty, not UTF-8 or leads out of the archive", where);
}

// Where the member's bytes begin. The local header must say what the directory says.
std::uint64_t check_local(const Source& source, const ZipMember& member, std::uint64_t header, std::uint64_t limit,
                          const std::string& where) {
  if (header > limit || limit - header < kLocalBytes) throw input_error("a zip member lies outside the file", where);
  std::vector<std::byte> scratch;
  Bytes fixed = source.view(header, kLocalBytes, scratch);
  const auto flags = little<std::uint16_t>(fixed, 6), method = little<std::uint16_t>(fixed, 8);
  const std::uint64_t name_bytes = little<std::uint16_t>(fixed, 26), extra_bytes = little<std::uint16_t>(fixed, 28);
  const auto crc = little<std::uint32_t>(fixed, 14);
  std::uint64_t packed = little<std::uint32_t>(fixed, 18), size = little<std::uint32_t>(fixed, 22);
  if (little<std::uint32_t>(fixed, 0) != kLocalSignature) throw input_error("a zip member has no local header", where);
  const std::uint64_t data = header + kLocalBytes + name_bytes + extra_bytes;
  if (data > limit || member.packed > limit - data) throw input_error("a zip member lies outside the file", where);
  const Bytes rest = source.view(header + kLocalBytes, name_bytes + extra_bytes, scratch);
  const bool later = flags & kSizesFollow;
  if (!later || size != 0 || packed != 0) {
    std::vector<std::uint64_t*> wide;
    if (size == kMax32) wide.push_back(&size);
    if (packed == kMax32) wide.push_back(&packed);
    read_zip64_extra(rest.subspan(static_cast<std::size_t>(name_bytes)), wide, where);
  }
  const bool agree = method == member.method && !(flags & kEncrypted) &&
                     text_at(rest, 0, static_cast<std::size_t>(name_bytes)) == member.name &&
                     ((later && size == 0 && packed == 0) || (size == member.size && packed == member.packed)) &&
                     ((later && crc == 0) || crc == member.crc);
  if (!agree) throw input_error("a zip member's own header and the directory disagree", where);
  return data;
}

}  // namespace

std::vector<ZipMember> read_zip_directory(const Source& source) {
  const End end = find_end(source);
  const std::string& path = source.path();
  if (end.offset > end.begin || end.bytes != end.begin - end.offset)
    throw input_error("the zip directory is not where its end record says", path);
  if (end.bytes > kMaxDirectory || end.count > end.bytes / kCentralBytes)
    throw input_error(cat("the zip directory has ", bytes_text(end.bytes), " for ", end.count, " members"), path);

  struct Extent {
    std::uint64_t begin, end;
    std::size_t member;
  };
  std::vector<std::byte> scratch;
  const Bytes directory = source.view(end.offset, end.bytes, scratch);
  std::vector<ZipMember> members;
  std::vector<Extent> extents;
  members.reserve(static_cast<std::size_t>(end.count));
  std::size_t at = 0;
  for (std::uint64_t k = 0; k < end.count; ++k) {
    if (directory.size() - at < kCentralBytes || little<std::uint32_t>(directory, at) != kCentralSignature)
      throw input_error(cat("entry ", k + 1, " of ", end.count, " of the zip directory is damaged"), path);
    const std::size_t name_bytes = little<std::uint16_t>(directory, at + 28),
                      extra_bytes = little<std::uint16_t>(directory, at + 30),
                      comment_bytes = little<std::uint16_t>(directory, at + 32);
    if (directory.size() - at - kCentralBytes < name_bytes + extra_bytes + comment_bytes)
      throw input_error(cat("entry ", k + 1, " of ", end.count, " of the zip directory is damaged"), path);
    ZipMember member;
    member.name = text_at(directory, at + kCentralBytes, name_bytes);
    check_name(member.name, path);
    const std::string where = path + ": " + member.name;
    member.method = little<std::uint16_t>(directory, at + 10);
    member.crc = little<std::uint32_t>(directory, at + 16);
    member.packed = little<std::uint32_t>(directory, at + 20);
    member.size = little<std::uint32_t>(directory, at + 24);
    std::uint64_t header = little<std::uint32_t>(directory, at + 42);
    std::vector<std::uint64_t*> wide;
    if (member.size == kMax32) wide.push_back(&member.size);
    if (member.packed == kMax32) wide.push_back(&member.packed);
    if (header == kMax32) wide.push_back(&header);
    read_zip64_extra(directory.subspan(at + kCentralBytes + name_bytes, extra_bytes), wide, where);
    if (little<std::uint16_t>(directory, at + 8) & kEncrypted) throw input_error("the zip member is encrypted", where);
    if (little<std::uint16_t>(directory, at + 34) != 0)
      throw input_error("the zip archive is split over several files", path);
    if ((member.method == 0 && member.packed != member.size) ||
        (member.method == 8 && member.size / kDeflateRatio > member.packed))
      throw input_error(
          cat("the zip member claims to unpack ", member.packed, " bytes to ", member.size, ", which cannot be"),
          where);
    member.offset = check_local(source, member, header, end.offset, where);
    extents.push_back({header, member.offset + member.packed, members.size()});
    members.push_back(std::move(member));
    at += kCentralBytes + name_bytes + extra_bytes + comment_bytes;
  }
  if (at != directory.size())
    throw input_error(cat("the zip directory has ", directory.size() - at, " bytes behind its last entry"), path);

  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < extents.size(); ++i)
    if (extents[i].begin < extents[i - 1].end)
      throw input_error(
          cat("zip members overlap: ", members[extents[i - 1].member].name, " and ", members[extents[i].member].name),
          path);
  std::unordered_set<std::string_view> names;
  for (const ZipMember& member : members)
    if (!names.insert(member.name).second) throw input_error("two zip members are named " + member.name, path);
  return members;
}

std::vector<std::byte> read_zip_member(const Source& source, const ZipMember& member) {
  const std::string where = source.path() + ": " + member.name;
  if (member.method != 0 && member.method != 8)
    throw input_error(cat("the zip member is packed by method ", member.method), where,
                      "only stored and deflated are read");
  std::vector<std::byte> scratch, result(static_cast<std::size_t>(member.size));
  const Bytes packed = source.view(member.offset, member.packed, scratch);
  if (member.method == 0) {
    std::copy(packed.begin(), packed.end(), result.begin());
  } else {
    constexpr std::size_t kPiece = std::numeric_limits<uInt>::max() / 2;
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw internal_error("zlib cannot start");
    std::size_t in = 0, out = 0;
    std::byte beyond{};  // a byte that a right stream never writes
    int status = Z_OK;
    while (status == Z_OK) {
      const std::size_t give = std::min(packed.size() - in, kPiece), room = std::min(result.size() - out, kPiece);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data())) + in;
      stream.avail_in = static_cast<uInt>(give);
      stream.next_out = reinterpret_cast<Bytef*>(room ? result.data() + out : &beyond);
      stream.avail_out = room ? static_cast<uInt>(room) : 1;
      status = inflate(&stream, Z_NO_FLUSH);
      in += give - stream.avail_in;
      const std::size_t made = (room ? room : 1) - stream.avail_out;
      if (!room && made) status = Z_DATA_ERROR;
      out += room ? made : 0;
    }
    inflateEnd(&stream);
    if (status != Z_STREAM_END || in != packed.size() || out != result.size())
      throw input_error(cat("the deflated zip member does not unpack to ", member.size, " bytes"), where);
  }
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(result.data()), result.size());
  if (crc != member.crc) throw input_error("the zip member's checksum is wrong: the file is damaged", where);
  return result;
}

std::string zip_hash(const std::vector<ZipMember>& members) {
  Hasher hasher;
  for (const ZipMember& member : members)
    hasher.add(member.name)
        .add(member.offset)
        .add(member.size)
        .add(std::uint64_t{member.crc})
        .add(std::uint64_t{member.method});
  return hasher.hex();
}

}  // namespace solera::checkpoint
