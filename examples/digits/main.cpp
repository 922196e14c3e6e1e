// digits: train, sweep and score small networks on the UCI optical digits.

#include <iostream>

#include "examples/digits/commands.h"
#include "solera/base/error.h"
#include "solera/base/text.h"

namespace {

using solera::examples::Command;

std::vector<Command> commands() {
  using namespace solera::examples;
  return {train_command(), sweep_command(), eval_command(), ensemble_command(), plot_command()};
}

void print_line(const std::string& left, const std::string& right) {
  std::cout << "  " << left << (left.size() < 26 ? std::string(26 - left.size(), ' ') : "\n" + std::string(28, ' '))
            << right << '\n';
}

void print_front_page() {
  std::cout << "Small networks on the UCI optical digits: 1797 images of 8 x 8 pixels, embedded.\n\nUsage: digits "
               "COMMAND ...\n\n";
  for (const auto& command : commands()) print_line(command.name, command.summary);
  std::cout << "\ndigits COMMAND --help explains a command.\n";
}

void print_page(const Command& command, const solera::cli::OptionList& options) {
  std::cout << "digits " << command.name << ": " << command.summary << "\n\n";
  for (const auto& option : options.list()) {
    const std::string value = option.value_name.empty() || option.positional ? "" : " " + option.value_name;
    print_line(option.positional ? option.value_name : option.name + value,
               option.default_text.empty() ? option.help : option.help + " (default: " + option.default_text + ")");
  }
  for (const auto& note : command.notes) std::cout << '\n' << note << '\n';
}

void run(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") return print_front_page();
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    names.push_back(command.name);
    if (command.name != arguments[0]) continue;
    solera::cli::OptionList options;
    const auto work = command.prepare(options);
    for (const auto& argument : arguments) {
      if (argument == "--help" || argument == "-h") return print_page(command, options);
    }
    options.parse({arguments.begin() + 1, arguments.end()});
    return work(std::cout);
  }
  const std::string hint = solera::did_you_mean(arguments[0], names);
  throw solera::usage_error("no command \"" + arguments[0] + "\"", "", hint.empty() ? "see digits --help" : hint);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run({argv + 1, argv + argc});
    return 0;
  } catch (const solera::Error& error) {
    std::cerr << "digits: error: " << error.what() << '\n';
    return error.kind() == solera::ErrorKind::kUsage ? 2 : 1;
  }
}
