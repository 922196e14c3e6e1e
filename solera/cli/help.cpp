#include "solera/cli/help.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::cli {
namespace {

constexpr std::size_t kWidth = 80;
constexpr std::size_t kWidestLabel = 26;  // a longer label has its text on the next line

std::string sentence(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text + ".";
}

// Words of `text` in lines of at most kWidth columns, every line but the first indented.
std::string wrapped(std::string_view text, std::size_t first_column, std::size_t indent) {
  std::string result;
  std::size_t column = first_column;
  bool at_start = true;
  for (const std::string& word : split(text, ' ')) {
    if (!at_start && column + 1 + word.size() > kWidth) {
      result += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (!at_start) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
    at_start = false;
  }
  return result;
}

}  // namespace

std::string rows_text(const std::vector<HelpRow>& rows) {
  std::size_t widest = 0;
  for (const HelpRow& row : rows) {
    if (row.label.size() <= kWidestLabel) widest = std::max(widest, row.label.size());
  }
  const std::size_t indent = widest + 4;
  std::string result;
  for (const HelpRow& row : rows) {
    result += "  " + row.label;
    if (row.label.size() > widest) {
      result += "\n" + std::string(indent, ' ');
    } else {
      result += std::string(indent - 2 - row.label.size(), ' ');
    }
    result += wrapped(row.text, indent, indent) + "\n";
  }
  return result;
}

namespace {

std::string label(const Option& option) {
  if (option.positional) return option.value_name + (option.repeated ? " ..." : "");
  std::string result = option.short_name.empty() ? "    " : option.short_name + ", ";
  result += option.name;
  if (!option.value_name.empty()) result += " " + option.value_name;
  return result;
}

// A command line; one that is too long goes on behind a backslash, at the last option that fits.
std::string example_text(const std::string& example) {
  std::size_t cut = 0;
  if (example.size() + 2 > kWidth) {
    bool quoted = false;
    for (std::size_t i = 0; i + 5 < kWidth; ++i) {
      quoted ^= example[i] == '\'';
      if (!quoted && i > 0 && example[i] == '-' && example[i - 1] == ' ') cut = i;
    }
  }
  if (cut == 0) return "  " + example + "\n";
  return "  " + example.substr(0, cut) + "\\\n      " + example.substr(cut) + "\n";
}

std::string roff(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || c == '-') result += '\\';
    result += c;
  }
  if (!result.empty() && (result[0] == '.' || result[0] == '\'')) result.insert(0, "\\&");
  return result;
}

// Headings in the order of their first option, "Options" first.
std::vector<std::string> headings(const OptionList& options) {
  std::vector<std::string> result = {""};
  for (const Option& option : options.list()) {
    if (!option.positional && std::find(result.begin(), result.end(), option.group) == result.end()) {
      result.push_back(option.group);
    }
  }
  return result;
}

}  // namespace

std::string version_text() { return SOLERA_VERSION; }

std::string option_help(const Option& option) {
  std::string text = option.help;
  const bool says_default = text.find("default") != text.npos;
  if (option.required && !option.positional) text += " (required)";
  if (option.repeated && !option.positional && text.find("repeat") == text.npos) text += " (may be repeated)";
  if (!option.required && !says_default && !option.default_text.empty()) {
    text += " (default " + option.default_text + ")";
  }
  return text;
}

std::string front_page() {
  std::string page = "Solera turns many candidate models into the best one you can ship.\n\n";
  page += "Usage: solera VERB [options]\n\nVerbs:\n";
  std::vector<HelpRow> rows;
  for (const Verb& verb : verbs()) rows.push_back({verb.name, verb.summary});
  page += rows_text(rows);
  page += "\n`solera VERB --help` explains a verb with examples, `solera methods NAME` a\n";
  page += "merge method. `solera --version` tells which Solera this is.\n";
  return page;
}

std::string usage_line(const Verb& verb, const OptionList& options) {
  std::string line = "solera " + verb.name;
  bool more = false;
  for (const Option& option : options.list()) {
    if (!option.positional) continue;
    const std::string name = option.value_name + (option.repeated ? "..." : "");
    line += option.required ? " " + name : " [" + name + "]";
  }
  for (const Option& option : options.list()) {
    if (option.positional) continue;
    if (option.required) {
      line += " " + option.name + " " + option.value_name;
    } else {
      more = true;
    }
  }
  if (more) line += " [options]";
  if (!options.rest_name().empty()) line += " -- " + options.rest_name();
  return line;
}

std::string verb_page(const Verb& verb, const OptionList& options) {
  std::string page = wrapped(sentence(verb.summary), 0, 0) + "\n\n";
  page += "Usage: " + wrapped(usage_line(verb, options), 7, 7) + "\n";

  std::vector<HelpRow> arguments;
  for (const Option& option : options.list()) {
    if (option.positional) arguments.push_back({label(option), option_help(option)});
  }
  if (!options.rest_name().empty()) arguments.push_back({"-- " + options.rest_name(), options.rest_help()});
  if (!arguments.empty()) page += "\nArguments:\n" + rows_text(arguments);

  for (const std::string& heading : headings(options)) {
    std::vector<HelpRow> rows;
    for (const Option& option : options.list()) {
      if (!option.positional && option.group == heading) rows.push_back({label(option), option_help(option)});
    }
    if (!rows.empty()) page += "\n" + (heading.empty() ? "Options" : heading) + ":\n" + rows_text(rows);
  }
  if (!verb.examples.empty()) {
    page += "\nExamples:\n";
    for (const std::string& example : verb.examples) page += example_text(example);
  }
  return page;
}

std::string manual_page() {
  std::string page = ".TH SOLERA 1 \"\" \"Solera " + version_text() + "\" \"User Commands\"\n";
  page += ".SH NAME\nsolera \\- turns many candidate models into the best one you can ship\n";
  page += ".SH SYNOPSIS\n.B solera\n.I VERB\n[options]\n.SH VERBS\n";
  for (const Verb& verb : verbs()) {
    Prepared prepared;
    prepare_verb(verb, prepared);
    page += ".SS " + roff(usage_line(verb, prepared.options)) + "\n" + roff(sentence(verb.summary)) + "\n";
    for (const Option& option : prepared.options.list()) {
      std::string name = label(option);
      name.erase(0, name.find_first_not_of(' '));
      page += ".TP\n.B " + roff(name) + "\n" + roff(option_help(option)) + "\n";
    }
    for (const std::string& example : verb.examples) page += ".PP\n.EX\n" + roff(example) + "\n.EE\n";
  }
  page +=
      ".SH EXIT STATUS\n0 done; 1 failed; 2 wrong usage; 3 a recipe ran and a claim did not hold; 130 interrupted.\n";
  page += "diff alone: 0 equal, 1 different, 2 trouble.\n";
  page += ".SH ENVIRONMENT\n.B NO_COLOR\nturns color off,\n.B CLICOLOR_FORCE\non.\n";
  page += ".PP\n.B SOLERA_CACHE\nnames the folder of what was fetched from URLs; off keeps nothing.\n";
  page += ".PP\n.B HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME\nas for the Hugging Face hub's own tools.\n";
  return page;
}

Verb help_verb() {
  Verb verb;
  verb.name = "help";
  verb.summary = "explain a verb, or print the manual page";
  verb.examples = {"solera help merge", "solera help --man > solera.1"};
  verb.prepare = [](OptionList& options) {
    struct Arguments {
      std::string verb;
      bool man = false;
    };
    auto arguments = std::make_shared<Arguments>();
    options.positional("VERB", "the verb to explain (default: the list of verbs)", arguments->verb).optional();
    options.flag("--man", "", "print the whole manual as a page for man(1)", arguments->man);
    return [arguments](Context& context) {
      if (arguments->man) {
        context.out << manual_page();
      } else if (arguments->verb.empty()) {
        context.out << front_page();
      } else {
        const Verb& explained = find_verb(arguments->verb);
        Prepared prepared;
        prepare_verb(explained, prepared);
        context.out << verb_page(explained, prepared.options);
      }
      return 0;
    };
  };
  return verb;
}

}  // namespace solera::cli
