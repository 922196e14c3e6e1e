// The directory of a zip archive (PKWARE APPNOTE 6.3, zip64 included): where each member's bytes are.
//
// Strict on purpose: what two readers could understand in two ways is refused. The directory must end where its end
// record begins, every member must lie before it, and a member's local header must say what the directory says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "solera/checkpoint/source.h"

namespace solera::checkpoint {

struct ZipMember {
  std::string name;
  std::uint16_t method = 0;  // 0 stored, 8 deflated; others are refused when read
  std::uint64_t offset = 0;  // of the member's bytes
  std::uint64_t packed = 0, size = 0;
  std::uint32_t crc = 0;
};

// Deflate codes at most 258 bytes in 2 bits. A directory that claims more is lying.
inline constexpr std::uint64_t kDeflateRatio = 1032;

// Throws Error (input): no directory, absurd counts, names that repeat or leave the archive, members that overlap each
// other or the directory, local headers that disagree with it, sizes that no packing gives, encryption.
std::vector<ZipMember> read_zip_directory(const Source& source);

// A member's bytes, unpacked if need be, never more than member.size; its checksum is compared. Throws Error (input).
std::vector<std::byte> read_zip_member(const Source& source, const ZipMember& member);

// A hash of the directory: names, places, sizes and checksums. Another archive at the same path has another hash.
std::string zip_hash(const std::vector<ZipMember>& members);

}  // namespace solera::checkpoint
