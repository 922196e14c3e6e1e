// The log of a search: a JSON object a trial, in order. It starts from scratch, since the trials of a run that stopped
// are in the cache and come again.
#pragma once

#include <fstream>
#include <string>

#include "solera/base/document.h"

namespace solera::soup {

class TrialLog {
 public:
  explicit TrialLog(const std::string& path);  // throws Error (io)
  void add(const Node& object);

 private:
  std::string path_;
  std::ofstream file_;
};

}  // namespace solera::soup
