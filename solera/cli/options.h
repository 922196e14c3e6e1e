// Options of a verb as objects: the parser, --help, completion, the man page and docs all come from the same list.
//
//   std::string out; int threads = 0;
//   OptionList options;
//   options.value("--output", "-o", "OUT", "where the result goes: *.safetensors or a folder", out).must();
//   options.value("--threads", "", "N", "worker threads (default: all)", threads);
//   options.flag("--force", "", "replace an existing output", force);
//   options.positional("CONFIG", "a merge configuration", config);
//
// `--name value`, `--name=value`, `-o value` and `-ovalue` all work, `--` ends options. Everything after `--` goes to
// rest() where the verb takes it, else to the positionals. The value that a target has when it is declared is its
// default; help shows it unless the help text speaks of a default itself.
// A reference that a declaration returns is good until the next declaration.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace solera::cli {

struct Option {
  std::string name, short_name;  // "--output", "-o"; a positional has only `value_name`
  std::string value_name;        // empty: a flag
  std::string help;
  bool required = false, repeated = false, positional = false;
  std::string group;                           // heading in --help; empty: "Options"
  std::string default_text;                    // as --help shows it; empty: none
  std::vector<std::string> choices;            // values that completion offers
  std::function<void(std::string_view)> read;  // throws Error (usage)

  Option& must() {
    required = true;
    return *this;
  }
  Option& optional() {
    required = false;
    return *this;
  }
  Option& in(std::string heading) {
    group = std::move(heading);
    return *this;
  }
  Option& offers(std::vector<std::string> values) {
    choices = std::move(values);
    return *this;
  }
};

class OptionList {
 public:
  Option& flag(std::string name, std::string short_name, std::string help, bool& target);
  Option& value(std::string name, std::string short_name, std::string value_name, std::string help,
                std::string& target);
  Option& value(std::string name, std::string short_name, std::string value_name, std::string help, int& target);
  Option& value(std::string name, std::string short_name, std::string value_name, std::string help,
                std::int64_t& target);
  Option& value(std::string name, std::string short_name, std::string value_name, std::string help, double& target);
  Option& value(std::string name, std::string short_name, std::string value_name, std::string help,
                std::vector<std::string>& target);                                                   // repeatable
  Option& bytes(std::string name, std::string short_name, std::string help, std::uint64_t& target);  // 1GiB, 500MB
  Option& choice(std::string name, std::string short_name, std::string help, std::vector<std::string> names,
                 std::string& target);
  Option& positional(std::string value_name, std::string help, std::string& target);               // required
  Option& positional(std::string value_name, std::string help, std::vector<std::string>& target);  // one or more; last
  void takes_rest(std::string value_name, std::string help);                                       // what follows `--`

  // Fills the targets. Throws Error (usage): unknown option (nearest known), an option given twice, missing value,
  // missing argument, too many.
  void parse(std::vector<std::string> arguments);
  const std::vector<std::string>& rest() const { return rest_; }
  const std::vector<Option>& list() const { return options_; }
  const std::string& rest_name() const { return rest_name_; }
  const std::string& rest_help() const { return rest_help_; }

 private:
  Option& add(Option option);
  std::vector<Option> options_;
  std::vector<std::string> rest_;
  std::string rest_name_, rest_help_;
};

}  // namespace solera::cli
