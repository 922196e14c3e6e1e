// Keeps the process alive when a mapped file shrinks: reading a page past the new end raises SIGBUS; the guard's
// handler puts zero pages from there to the end of the mapping and marks it.
//
// The handler is installed with the first mapping and passes every fault outside our mappings on to the handler that
// was there before. It allocates nothing and takes no lock. Mappings come and go from any thread.
#pragma once

#include <cstddef>

namespace solera::checkpoint {

class GuardedMapping;  // an entry of the table that the handler searches; never freed, but used again

// The range must stay mapped until unguard().
GuardedMapping* guard(const void* begin, std::size_t length);
void unguard(GuardedMapping* mapping) noexcept;
bool lost_pages(const GuardedMapping& mapping);

std::size_t page_size();

}  // namespace solera::checkpoint
