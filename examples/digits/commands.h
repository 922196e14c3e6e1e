// The subcommands of `digits`. They parse, call the library and print.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "solera/cli/options.h"

namespace solera::examples {

struct Command {
  std::string name, summary;
  std::vector<std::string> notes;  // paragraphs under the options
  // Declares options and returns the work to do once they are parsed.
  std::function<std::function<void(std::ostream& out)>(cli::OptionList&)> prepare;
};

Command train_command();
Command sweep_command();
Command eval_command();
Command ensemble_command();
Command plot_command();

}  // namespace solera::examples
