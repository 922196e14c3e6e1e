// A zip archive from anywhere: an Error, or members that lie within the file and unpack to what the directory says.
#include <cstdlib>

#include "fuzz/bytes.h"
#include "solera/base/error.h"
#include "solera/checkpoint/zip.h"

using namespace solera::checkpoint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto source = fuzz::source_of(data, size, "fuzz.zip");
  std::vector<ZipMember> members;
  try {
    members = read_zip_directory(*source);
  } catch (const solera::Error&) {
    return 0;
  }
  for (const ZipMember& member : members) {
    if (member.offset > size || member.packed > size - member.offset) std::abort();
    if (member.size > 1 << 20) continue;  // a claim; unpacking it is refused or fills memory that it deserves
    try {
      if (read_zip_member(*source, member).size() != member.size) std::abort();
    } catch (const solera::Error&) {
    }
  }
  return 0;
}
