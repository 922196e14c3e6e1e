// Every verb's maker, one a file of this folder; verbs.cpp puts them into the table.
#pragma once

#include "solera/cli/verb.h"

namespace solera::cli {

Verb inspect_verb();     // inspect.cpp
Verb diff_verb();        // diff.cpp
Verb convert_verb();     // convert.cpp
Verb merge_verb();       // merge.cpp
Verb delta_verb();       // delta.cpp
Verb apply_verb();       // apply.cpp
Verb graft_verb();       // graft.cpp
Verb soup_verb();        // soup.cpp
Verb average_verb();     // average.cpp
Verb methods_verb();     // methods.cpp
Verb run_verb();         // run.cpp
Verb recipes_verb();     // recipes.cpp
Verb completion_verb();  // complete.cpp
Verb help_verb();        // help.cpp

// The row of that name; throws Error (usage) with the nearest name: `unknown verb "mrege"; did you mean merge?`
const Verb& find_verb(std::string_view name);

// A verb's options with those that every verb has, targets bound to `prepared`.
struct Prepared {
  OptionList options;
  std::function<int(Context&)> work;
  bool help = false, json = false;
};
void prepare_verb(const Verb& verb, Prepared& prepared);

}  // namespace solera::cli
