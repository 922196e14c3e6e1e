// OUT.partial: where an output is made until it is whole, and what a kill may have left there.
//
// Only a journal (or those of ranks) makes such a folder ours: it is the first thing made in it and the last one
// removed, and where the output is a folder it stays with the output until an old one, which then lies in OUT.partial,
// is gone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "solera/merge/journal.h"

namespace solera::merge {

std::string staging_of(const std::string& out);  // "blend/" gives "blend.partial"

// What identifies a finished output before and after it gets its name: the inode.
std::uint64_t file_number(const std::string& path);

enum class Leftover {
  kNothing,     // no folder, or one that held nothing of use and is gone now
  kUnfinished,  // journals that say how far it came
  kPublished,   // this very output already has its name; nothing else is left, or a rank is about to clear it
};

// Looks at a staging folder and clears what a kill before any work, or between a finished output's renaming and the
// removal of the folder, has left. `file` is the output's name in the folder, "" if the output is the folder. Throws
// Error (io) for a folder of that name which is not ours, or in which another process is at work; ranks may be at work
// in that of a rank.
Leftover settle_staging(const std::string& staging, const std::string& out, const std::string& file,
                        const JournalHeader& header);

// Does a journal in the staging folder say that `out` is what was made there?
bool has_its_name(const std::string& out, const std::string& staging);

// Removes a staging folder that is ours, its journals last.
void discard_staging(const std::string& staging);

// Removes what lies beside the `weights` (file names): a kill while files were written leaves scratch files, which are
// nobody's output. Journals stay, and claims to publish.
void clear_beside_weights(const std::string& staging, const std::vector<std::string>& weights);

// Takes the journals and claims out of a folder that has its name, the journal that says so last.
void clear_journals(const std::string& out);

inline constexpr const char* kPublishing = "publish";  // the claim on giving the output its name

}  // namespace solera::merge
