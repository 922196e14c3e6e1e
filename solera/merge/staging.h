// OUT.partial: where an output is made until it is whole, and what a kill may have left there.
//
// Only a journal makes such a folder ours: it is the first thing made in it and the last one removed, and where the
// output is a folder it stays with the output until an old one, which then lies in OUT.partial, is gone.
#pragma once

#include <cstdint>
#include <string>

#include "solera/merge/journal.h"

namespace solera::merge {

std::string staging_of(const std::string& out);  // "blend/" gives "blend.partial"

// What identifies a finished output before and after it gets its name: the inode.
std::uint64_t file_number(const std::string& path);

enum class Leftover {
  kNothing,     // no folder, or one that held nothing of use and is gone now
  kUnfinished,  // a journal that says how far it came
  kPublished,   // this very output already has its name; nothing else is left
};

// Looks at a staging folder and clears what a kill before any work, or between a finished output's renaming and the
// removal of the folder, has left. `file` is the output's name in the folder, "" if the output is the folder. Throws
// Error (io) for a folder of that name which is not ours, or in which another process is at work.
Leftover settle_staging(const std::string& staging, const std::string& out, const std::string& file,
                        const JournalHeader& header);

// Removes a staging folder that is ours, its journal last.
void discard_staging(const std::string& staging);

}  // namespace solera::merge
