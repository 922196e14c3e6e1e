// The pages that explain the program, made from the verbs and their options.
#pragma once

#include <string>

#include "solera/cli/verbs.h"

namespace solera::cli {

std::string version_text();  // "0.1.0"

// Labels in a column, texts beside them, in 80 columns.
struct HelpRow {
  std::string label, text;
};
std::string rows_text(const std::vector<HelpRow>& rows);

std::string front_page();                                             // the verbs on a page
std::string verb_page(const Verb& verb, const OptionList& options);   // 80 columns
std::string usage_line(const Verb& verb, const OptionList& options);  // "solera merge CONFIG --output OUT [options]"
std::string manual_page();                                            // all of it, as roff for man(1)
std::string option_help(const Option& option);                        // the help text with its default

}  // namespace solera::cli
