#include "solera/cli/verbs.h"

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::cli {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table = {
      inspect_verb(), diff_verb(),    convert_verb(), merge_verb(), delta_verb(),   apply_verb(),      graft_verb(),
      soup_verb(),    average_verb(), methods_verb(), run_verb(),   recipes_verb(), completion_verb(), help_verb(),
  };
  return table;
}

const Verb& find_verb(std::string_view name) {
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) {
    if (verb.name == name) return verb;
    names.push_back(verb.name);
  }
  const std::string hint = did_you_mean(name, names);
  throw usage_error(cat("unknown verb \"", name, "\""), "", hint.empty() ? "`solera` lists the verbs" : hint);
}

void prepare_verb(const Verb& verb, Prepared& prepared) {
  prepared.work = verb.prepare(prepared.options);
  if (verb.has_json) {
    prepared.options.flag("--json", "", "print one JSON object, errors included, on standard output", prepared.json);
  }
  prepared.options.flag("--help", "-h", "print this page", prepared.help);
}

}  // namespace solera::cli
