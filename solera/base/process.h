// Running other programs: a child in its own process group, with a time limit, and a metric from what it printed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/document.h"

namespace solera {

struct Command {
  // Exactly one is used: a shell line (run by /bin/sh -c) or an argv without a shell.
  std::string shell;
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;  // added to ours
  std::string folder;                              // working folder; ours if empty
  double timeout_seconds = 0;                      // 0: none
  double grace_seconds = 5;                        // between SIGTERM and SIGKILL
  bool echo = false;  // pass the child's stdout and stderr through to our stderr as it comes
};

struct Outcome {
  int status = 0;          // exit status; 128 + signal if a signal ended it
  bool timed_out = false;  // its whole group was ended: SIGTERM, then SIGKILL
  std::string output;      // stdout, the last 16 MiB
  std::string errors;      // stderr, the last 64 KiB
  double seconds = 0;
};

// Runs to the end; what the child leaves running in its group is ended with it. Throws Error (io) if it cannot be
// started, Error (interrupted) after ending the group when a stop is requested. Thread-safe: several threads may run
// commands at once. The child starts with default signal handling, no inherited descriptors but 0 (/dev/null), 1 and 2,
// and is ended if we die. A program without a slash is looked for in the PATH that the child gets.
Outcome run(const Command& command);

// A variable of our own environment; "" if it is not set.
std::string environment(const char* name);

// Fills {name} placeholders: `{{` and `}}` are braces. In a shell line (`quote`) every value arrives as one word or
// part of one, whatever it contains, in unquoted places and inside quotes alike. In an argv it is put in as it is.
// Throws Error (usage) for an unknown placeholder, with the known ones.
std::string fill_placeholders(std::string_view text, const std::map<std::string, std::string>& values, bool quote);

// The JSON value that a program printed: the last non-empty line, or everything from a line that begins with { (after
// blanks) to the end, so JSON spread over lines counts, also after log lines. A line that is only a number counts too.
// Empty if there is none. Time goes with the length of the output.
std::optional<Node> result_in_output(std::string_view output);

// A metric from a program's output. `metric` empty: the last non-empty line is a number, or a JSON object with exactly
// one number. A name: that key of a JSON object (see result_in_output). "/a/b": a JSON pointer into it. `source` names
// the command in errors. NaN and infinity are refused. Throws Error (input) quoting the line.
double metric_from_output(std::string_view output, std::string_view metric, const std::string& source);
double metric_from_file(const std::string& path, std::string_view metric);

}  // namespace solera
