#include "solera/weights/staging.h"

#include "solera/base/error.h"
#include "solera/base/files.h"

namespace solera::weights {

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

void in_staging(const std::string& out, std::string_view suffix, const std::function<void(const std::string&)>& work) {
  const std::string staging = cat(out, suffix);
  if (exists(staging)) throw io_error(cat(staging, ": is in the way"), "", "remove it, it is left from an earlier run");
  make_folders(staging);
  try {
    work(staging);
  } catch (...) {
    remove_all(staging);
    throw;
  }
}

}  // namespace solera::weights
