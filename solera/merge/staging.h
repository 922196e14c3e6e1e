// OUT.partial: where an output is made until it is whole, and what a kill may have left there.
#pragma once

#include <optional>
#include <string>

#include "solera/checkpoint/writer.h"

namespace solera::merge {

std::string staging_of(const std::string& out);  // "blend/" gives "blend.partial"

// What identifies a finished file before and after it gets its name: the inode.
std::uint64_t file_number(const std::string& path);

enum class Leftover {
  kNothing,     // no folder, or one that held nothing of use and is gone now
  kUnfinished,  // a journal that says how far it came
  kPublished,   // the output already has its name; only the folder is left
};

// Looks at a staging folder and clears what a kill before any work, or between a finished file's renaming and the
// removal of the folder, has left. Throws Error (io) for a folder of that name which is not ours.
Leftover settle_staging(const std::string& staging, const std::string& out, const checkpoint::Layout& layout);

}  // namespace solera::merge
