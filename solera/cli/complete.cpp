// `solera completion`: scripts for three shells, made from the option objects.
#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/cli/verbs.h"

namespace solera::cli {
namespace {

// The options and the words that may stand alone, of one verb.
struct Words {
  std::vector<Option> options;
  std::vector<std::string> choices;  // of positionals
};

Words words_of(const Verb& verb) {
  Prepared prepared;
  prepare_verb(verb, prepared);
  Words words;
  for (const Option& option : prepared.options.list()) {
    if (option.positional) {
      words.choices.insert(words.choices.end(), option.choices.begin(), option.choices.end());
    } else {
      words.options.push_back(option);
    }
  }
  return words;
}

std::string verb_names() {
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) names.push_back(verb.name);
  return join(names, " ");
}

std::string option_names(const Words& words) {
  std::vector<std::string> names;
  for (const Option& option : words.options) names.push_back(option.name);
  return join(names, " ");
}

std::string bash_script() {
  std::string cases, values;
  for (const Verb& verb : verbs()) {
    const Words words = words_of(verb);
    cases +=
        cat("    ", verb.name, ") options='", option_names(words), "'; words='", join(words.choices, " "), "' ;;\n");
    for (const Option& option : words.options) {
      if (option.choices.empty()) continue;
      values += cat("    ", verb.name, ":", option.name, ") COMPREPLY=($(compgen -W '", join(option.choices, " "),
                    "' -- \"$current\")); return ;;\n");
    }
  }
  return cat(
      "# Completion of solera for bash: source this file, or keep it as\n"
      "# ~/.local/share/bash-completion/completions/solera\n"
      "_solera() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
      "  local options= words=\n"
      "  COMPREPLY=()\n"
      "  if [[ $COMP_CWORD -eq 1 ]]; then\n"
      "    COMPREPLY=($(compgen -W '",
      verb_names(),
      " --help --version' -- \"$current\"))\n"
      "    return\n"
      "  fi\n"
      "  case $verb in\n",
      cases,
      "  esac\n"
      "  case $verb:$previous in\n",
      values,
      "    '') ;;\n"
      "  esac\n"
      "  if [[ $current == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
      "  else\n"
      "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\") $(compgen -f -- \"$current\"))\n"
      "  fi\n"
      "}\n"
      "complete -o filenames -F _solera solera\n");
}

// In zsh's _arguments a bracket or a colon in an explanation needs a backslash.
std::string zsh_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_script() {
  std::string names, cases;
  for (const Verb& verb : verbs()) {
    names += cat("    ", shell_quote(cat(verb.name, ":", verb.summary)), "\n");
    const Words words = words_of(verb);
    cases += cat("    ", verb.name, ")\n      _arguments \\\n");
    for (const Option& option : words.options) {
      std::string spec = cat(option.repeated ? "*" : "", option.name, "[", zsh_text(option.help), "]");
      if (!option.value_name.empty()) {
        spec += option.choices.empty() ? cat(":", zsh_text(option.value_name), ":_files")
                                       : cat(":value:(", join(option.choices, " "), ")");
      }
      cases += cat("        ", shell_quote(spec), " \\\n");
    }
    cases += words.choices.empty()
                 ? "        '*:file:_files' ;;\n"
                 : cat("        ", shell_quote(cat("*:word:(", join(words.choices, " "), ")")), " ;;\n");
  }
  return cat(
      "#compdef solera\n"
      "# Completion of solera for zsh: keep it as _solera in a folder of $fpath\n"
      "_solera() {\n"
      "  local -a verbs\n"
      "  verbs=(\n",
      names,
      "  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe verb verbs\n"
      "    return\n"
      "  fi\n"
      "  local verb=${words[2]}\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $verb in\n",
      cases,
      "  esac\n"
      "}\n"
      "compdef _solera solera\n");
}

std::string fish_script() {
  std::string script =
      "# Completion of solera for fish: keep it as ~/.config/fish/completions/solera.fish\n"
      "complete -c solera -n __fish_use_subcommand -l version -d 'tell the version'\n";
  for (const Verb& verb : verbs()) {
    script +=
        cat("complete -c solera -f -n __fish_use_subcommand -a ", verb.name, " -d ", shell_quote(verb.summary), "\n");
    const std::string here = cat("complete -c solera -n '__fish_seen_subcommand_from ", verb.name, "'");
    const Words words = words_of(verb);
    for (const Option& option : words.options) {
      script += cat(here, " -l ", option.name.substr(2));
      if (!option.short_name.empty()) script += cat(" -s ", option.short_name.substr(1));
      if (!option.value_name.empty()) script += " -r";
      if (!option.choices.empty()) script += cat(" -f -a ", shell_quote(join(option.choices, " ")));
      script += cat(" -d ", shell_quote(option.help), "\n");
    }
    if (!words.choices.empty()) script += cat(here, " -f -a ", shell_quote(join(words.choices, " ")), "\n");
  }
  return script;
}

}  // namespace

Verb completion_verb() {
  Verb verb;
  verb.name = "completion";
  verb.summary = "print a script that completes verbs and options in a shell";
  verb.examples = {"solera completion bash > ~/.local/share/bash-completion/completions/solera",
                   "solera completion fish > ~/.config/fish/completions/solera.fish"};
  verb.prepare = [](OptionList& options) {
    auto shell = std::make_shared<std::string>();
    options.positional("SHELL", "bash, zsh or fish", *shell).offers({"bash", "zsh", "fish"});
    return [shell](Context& context) {
      const std::vector<std::string> shells = {"bash", "zsh", "fish"};
      if (*shell == "bash") {
        context.out << bash_script();
      } else if (*shell == "zsh") {
        context.out << zsh_script();
      } else if (*shell == "fish") {
        context.out << fish_script();
      } else {
        throw usage_error(cat("SHELL is \"", *shell, "\", not one of bash, zsh, fish"), "",
                          did_you_mean(*shell, shells));
      }
      return 0;
    };
  };
  return verb;
}

}  // namespace solera::cli
