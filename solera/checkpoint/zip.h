// The directory of a zip archive (PKWARE APPNOTE 6.3, zip64 included): where each member's bytes are.
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

// Throws Error (input): no directory, absurd counts, names that repeat or leave the archive, members that overlap each other
// or the directory, local headers that disagree with it, encryption.
std::vector<ZipMember> read_zip_directory(const Source& source);

// A member's bytes, unpacked if need be, never more than member.size. Throws Error (input).
std::vector<std::byte> read_zip_member(const Source& source, const ZipMember& member);

}  // namespace solera::checkpoint
