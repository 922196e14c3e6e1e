// Progress as events: work reports, somebody else draws. The command line's drawer is in cli/; the library never
// prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace solera {

// A stage of long work. Calls may come from any thread.
class Progress {
 public:
  virtual ~Progress() = default;
  // A stage begins: "merge", total amount of `unit` ("bytes", "trials", "steps"); total 0 if unknown.
  virtual void begin(std::string_view stage, std::uint64_t total, std::string_view unit) = 0;
  virtual void advance(std::uint64_t amount) = 0;
  virtual void note(std::string_view line) = 0;    // a line of its own, kept: a trial's result
  virtual void warn(std::string_view line) = 0;    // a warning; the same text is shown once, with its count
  virtual void status(std::string_view text) = 0;  // short text behind the bar: "best .8583"
  virtual void end() = 0;
};

Progress& no_progress();  // swallows everything

}  // namespace solera
