#include "solera/cli/options.h"

#include <algorithm>
#include <climits>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::cli {
namespace {

std::string shown(const Option& option) { return option.positional ? option.value_name : option.name; }

Error bad_value(const Option& option, std::string_view text, std::string_view wanted) {
  return usage_error(cat(shown(option), " is \"", text, "\", not ", wanted));
}

std::int64_t read_integer(const Option& option, std::string_view text, std::int64_t low, std::int64_t high) {
  const auto value = parse_int(text);
  if (!value) throw bad_value(option, text, "a whole number");
  if (*value < low || *value > high)
    throw usage_error(cat(shown(option), " is ", text, ", outside ", low, " .. ", high));
  return *value;
}

// Whether an argument is an option: "-" means a standard stream and "-1" is a number.
bool looks_like_option(std::string_view argument) {
  return argument.size() > 1 && argument[0] == '-' && !parse_double(argument);
}

// The arguments of one call against the declared options.
class Parser {
 public:
  explicit Parser(const std::vector<Option>& options) : options_(options), given_(options.size()) {}

  void read_option(const std::vector<std::string>& arguments, std::size_t& i) {
    std::string_view argument = arguments[i];
    std::optional<std::string_view> inline_value;
    std::size_t index = options_.size();
    if (argument.starts_with("--")) {
      if (const auto equals = argument.find('='); equals != argument.npos) {
        inline_value = argument.substr(equals + 1);
        argument = argument.substr(0, equals);
      }
      index = find([&](const Option& o) { return o.name == argument; });
    } else {
      index = find([&](const Option& o) { return !o.short_name.empty() && argument.starts_with(o.short_name); });
      if (index < options_.size() && argument.size() > options_[index].short_name.size()) {
        inline_value = argument.substr(options_[index].short_name.size());
      }
    }
    if (index == options_.size()) throw unknown(argument);
    const Option& option = options_[index];
    mark(index);
    if (option.value_name.empty()) {
      if (inline_value) throw usage_error(cat(option.name, " takes no value"));
      option.read("");
      return;
    }
    if (!inline_value) {
      if (i + 1 >= arguments.size()) throw usage_error(cat(option.name, " needs a value: ", option.value_name));
      if (looks_like_option(arguments[i + 1])) {
        throw usage_error(cat(option.name, " needs a value: ", option.value_name), "",
                          cat("write ", option.name, "=", arguments[i + 1], " if that is the value"));
      }
      inline_value = arguments[++i];
    }
    option.read(*inline_value);
  }

  void read_positionals(const std::vector<std::string>& values) {
    std::size_t next = 0;
    for (std::size_t index = 0; index < options_.size(); ++index) {
      const Option& option = options_[index];
      if (!option.positional) continue;
      while (next < values.size()) {
        given_[index] = true;
        option.read(values[next++]);
        if (!option.repeated) break;
      }
    }
    if (next < values.size()) throw usage_error(cat("one argument too many: \"", values[next], "\""));
  }

  void require_all() const {
    for (std::size_t index = 0; index < options_.size(); ++index) {
      const Option& option = options_[index];
      if (!option.required || given_[index]) continue;
      if (option.positional) throw usage_error(cat("missing argument ", option.value_name));
      throw usage_error(cat("missing option ", option.name, " ", option.value_name));
    }
  }

 private:
  template <class Match>
  std::size_t find(Match match) const {
    const auto found =
        std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return !o.positional && match(o); });
    return static_cast<std::size_t>(found - options_.begin());
  }

  void mark(std::size_t index) {
    if (given_[index] && !options_[index].repeated) throw usage_error(cat(options_[index].name, " is given twice"));
    given_[index] = true;
  }

  Error unknown(std::string_view argument) const {
    std::vector<std::string> names;
    for (const Option& option : options_) {
      if (!option.positional) names.push_back(option.name);
    }
    return usage_error(cat("unknown option \"", argument, "\""), "",
                       argument.starts_with("--") ? did_you_mean(argument, names) : "");
  }

  const std::vector<Option>& options_;
  std::vector<bool> given_;
};

}  // namespace

Option& OptionList::add(Option option) {
  options_.push_back(std::move(option));
  return options_.back();
}

Option& OptionList::flag(std::string name, std::string short_name, std::string help, bool& target) {
  Option option{.name = std::move(name), .short_name = std::move(short_name), .help = std::move(help)};
  option.read = [&target](std::string_view) { target = true; };
  return add(std::move(option));
}

Option& OptionList::value(std::string name, std::string short_name, std::string value_name, std::string help,
                          std::string& target) {
  Option option{.name = std::move(name),
                .short_name = std::move(short_name),
                .value_name = std::move(value_name),
                .help = std::move(help),
                .default_text = target};
  option.read = [&target](std::string_view text) { target = text; };
  return add(std::move(option));
}

Option& OptionList::value(std::string name, std::string short_name, std::string value_name, std::string help,
                          int& target) {
  Option option{.name = std::move(name),
                .short_name = std::move(short_name),
                .value_name = std::move(value_name),
                .help = std::move(help),
                .default_text = std::to_string(target)};
  option.read = [&target, me = Option{.name = option.name}](std::string_view text) {
    target = static_cast<int>(read_integer(me, text, INT_MIN, INT_MAX));
  };
  return add(std::move(option));
}

Option& OptionList::value(std::string name, std::string short_name, std::string value_name, std::string help,
                          std::int64_t& target) {
  Option option{.name = std::move(name),
                .short_name = std::move(short_name),
                .value_name = std::move(value_name),
                .help = std::move(help),
                .default_text = std::to_string(target)};
  option.read = [&target, me = Option{.name = option.name}](std::string_view text) {
    target = read_integer(me, text, INT64_MIN, INT64_MAX);
  };
  return add(std::move(option));
}

Option& OptionList::value(std::string name, std::string short_name, std::string value_name, std::string help,
                          double& target) {
  Option option{.name = std::move(name),
                .short_name = std::move(short_name),
                .value_name = std::move(value_name),
                .help = std::move(help),
                .default_text = exact_text(target)};
  option.read = [&target, me = Option{.name = option.name}](std::string_view text) {
    const auto value = parse_double(text);
    if (!value) throw bad_value(me, text, "a number");
    target = *value;
  };
  return add(std::move(option));
}

Option& OptionList::value(std::string name, std::string short_name, std::string value_name, std::string help,
                          std::vector<std::string>& target) {
  Option option{.name = std::move(name),
                .short_name = std::move(short_name),
                .value_name = std::move(value_name),
                .help = std::move(help),
                .repeated = true};
  option.read = [&target](std::string_view text) { target.emplace_back(text); };
  return add(std::move(option));
}

Option& OptionList::bytes(std::string name, std::string short_name, std::string help, std::uint64_t& target) {
  Option option{.name = std::move(name),
                .short_name = std::move(short_name),
                .value_name = "SIZE",
                .help = std::move(help),
                .default_text = target % 1024 == 0 ? binary_text(target) : bytes_text(target)};
  option.read = [&target, me = option.name](std::string_view text) {
    try {
      target = parse_bytes(text);
    } catch (const Error& error) {
      throw usage_error(cat(me, ": ", error.problem()), error.where(), error.hint());
    }
  };
  return add(std::move(option));
}

Option& OptionList::choice(std::string name, std::string short_name, std::string help, std::vector<std::string> names,
                           std::string& target) {
  Option option{.name = std::move(name),
                .short_name = std::move(short_name),
                .value_name = join(names, "|"),
                .help = std::move(help),
                .default_text = target,
                .choices = names};
  option.read = [&target, me = Option{.name = option.name}, names](std::string_view text) {
    if (std::find(names.begin(), names.end(), text) == names.end()) {
      throw usage_error(cat(me.name, " is \"", text, "\", not one of ", join(names, ", ")), "",
                        did_you_mean(text, names));
    }
    target = text;
  };
  return add(std::move(option));
}

Option& OptionList::positional(std::string value_name, std::string help, std::string& target) {
  Option option{.value_name = std::move(value_name), .help = std::move(help), .required = true, .positional = true};
  option.read = [&target](std::string_view text) { target = text; };
  return add(std::move(option));
}

Option& OptionList::positional(std::string value_name, std::string help, std::vector<std::string>& target) {
  Option option{.value_name = std::move(value_name),
                .help = std::move(help),
                .required = true,
                .repeated = true,
                .positional = true};
  option.read = [&target](std::string_view text) { target.emplace_back(text); };
  return add(std::move(option));
}

void OptionList::takes_rest(std::string value_name, std::string help) {
  rest_name_ = std::move(value_name);
  rest_help_ = std::move(help);
}

void OptionList::parse(std::vector<std::string> arguments) {
  Parser parser(options_);
  std::vector<std::string> positionals;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") {
      auto& target = rest_name_.empty() ? positionals : rest_;
      target.insert(target.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    if (looks_like_option(arguments[i])) {
      parser.read_option(arguments, i);
    } else {
      positionals.push_back(arguments[i]);
    }
  }
  parser.read_positionals(positionals);
  parser.require_all();
}

}  // namespace solera::cli
