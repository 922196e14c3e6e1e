// One HTTP exchange through libcurl, which is loaded when the first URL asks for it: the program starts without it.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/url.h"

namespace solera::checkpoint {

struct Exchange {
  Url url;
  std::vector<std::string> headers;           // "Name: value"
  std::string range;                          // "0-99"; empty for the whole
  bool netrc = false;                         // name and password from ~/.netrc, if it knows the host
  const std::atomic<bool>* cancel = nullptr;  // ends the transfer when it becomes true
};

struct Answer {
  int status = 0;                              // 0 if no answer came
  std::map<std::string, std::string> headers;  // names in lower case; of the last answer
  std::string broken;                          // why the transfer ended early; empty if it did not
  bool hopeless = false;                       // broken, and another try will break, too
  std::string header(const std::string& name) const;
};

// `body` gets the bytes as they come, with the answer's status and headers complete; false ends the transfer, which
// then does not count as broken. No redirect is followed. Throws Error (io) if there is no libcurl and what body
// throws. Each thread keeps its connections.
using Body = std::function<bool(const Answer& answer, std::span<const std::byte> bytes)>;
Answer exchange(const Exchange& request, const Body& body);

// Throws the same Error (io) if libcurl cannot be loaded.
void require_curl();

}  // namespace solera::checkpoint
