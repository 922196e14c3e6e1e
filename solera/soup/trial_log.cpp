#include "solera/soup/trial_log.h"

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"

namespace solera::soup {

TrialLog::TrialLog(const std::string& path) : path_(path) {
  make_folders(parent_folder(path));
  file_.open(path, std::ios::trunc);
  if (!file_) throw io_error(cat("cannot write ", path));
}

void TrialLog::add(const Node& object) {
  file_ << to_json(object) + "\n" << std::flush;
  if (!file_) throw io_error(cat("cannot write ", path_));
}

}  // namespace solera::soup
