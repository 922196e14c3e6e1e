// A verb of the command line: one file each, one row in verbs.cpp.
//
// A verb file defines `Verb NAME_verb();`. Its `prepare` declares options into the list and returns the function that
// does the work and gives the exit status. Verbs parse, call the library and print: nothing else. Results go to
// `context.out`, talk to `context.err`; errors are thrown and printed once, by main.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "solera/base/progress.h"
#include "solera/cli/options.h"

namespace solera::cli {

struct Context {
  std::ostream& out;
  std::ostream& err;
  Progress& progress;  // the terminal's or the plain one
  bool json = false;   // --json was given: one object on out
};

struct Verb {
  std::string name;
  std::string summary;                // one sentence, no full stop
  std::vector<std::string> examples;  // command lines that run
  std::function<std::function<int(Context&)>(OptionList&)> prepare;
  bool has_json = false;   // offers --json
  int trouble_status = 0;  // 0: the kind of error decides; diff uses 2
};

// In the order of the help page.
const std::vector<Verb>& verbs();

// The whole program without the process around it: tests call it. Returns the exit status.
int run_command(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

// One verb of it: parses, works, and turns whatever is thrown into last words and a status.
int run_verb(const Verb& verb, const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

}  // namespace solera::cli
