// A deflated zip member as bytes that are unpacked on demand, from anywhere, in bounded memory.
#pragma once

#include <memory>

#include "solera/checkpoint/zip.h"

namespace solera::checkpoint {

// Unpacks what a view asks for. The decoder's state is kept every 4 MiB of output (some 40 KiB each, so 1 % of the
// member), so a view costs at most 4 MiB of work besides its own. Thread-safe. A damaged stream is an Error (input) of
// the view.
std::shared_ptr<const Source> inflated_source(std::shared_ptr<const Source> archive, ZipMember member);

}  // namespace solera::checkpoint
