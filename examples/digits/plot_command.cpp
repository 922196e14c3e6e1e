#include <memory>
#include <ostream>

#include "examples/digits/commands.h"
#include "examples/digits/evaluate.h"
#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/plot.h"

namespace solera::examples {
namespace {

struct Arguments {
  std::string out, title = "Digits", distort = "none";
  std::vector<std::string> groups;
  std::int64_t seed = 0;
};

// The networks of a group: a file, or the *.safetensors of a folder.
std::vector<std::string> members(const std::string& path) {
  if (!is_folder(path)) return {path};
  std::vector<std::string> result;
  for (const auto& name : list_folder(path)) {
    if (name.ends_with(".safetensors")) result.push_back(join_path(path, name));
  }
  if (result.empty()) throw input_error("no *.safetensors in the folder", path);
  return result;
}

}  // namespace

Command plot_command() {
  return {"plot",
          "a picture of held-out and test accuracy of networks",
          {"Example: digits plot soup.svg --seed 3 --group ingredients=sweep --group soup=soup.safetensors"},
          [](cli::OptionList& options) -> std::function<void(std::ostream&)> {
            auto a = std::make_shared<Arguments>();
            options.positional("OUT", "the SVG file to write", a->out);
            options.value("--group", "", "NAME=PATH", "a network, or all in a folder; repeatable", a->groups).must();
            options.value("--seed", "", "N", "permutes the digits and draws the distortion", a->seed);
            options.value("--distort", "", "TEXT", "of the test images, for example noise=0.3", a->distort);
            options.value("--title", "", "TEXT", "over the picture", a->title);
            return [a](std::ostream& out) {
              const auto seed = static_cast<std::uint64_t>(a->seed);
              const Digits held_out = digits_split("held_out", seed);
              Digits test = digits_split("test", seed);
              distort(test, parse_distortion(a->distort), seed);
              const std::string suffix = a->distort == "none" ? "" : " (" + a->distort + ")";
              Plot plot;
              plot.title = a->title;
              plot.x_label = "held-out accuracy";
              plot.y_label = "test accuracy" + suffix;
              for (const auto& group : a->groups) {
                const std::size_t equals = group.find('=');
                if (equals == std::string::npos || equals == 0) {
                  throw usage_error(cat("--group ", group, " is not NAME=PATH"));
                }
                Series series{.name = group.substr(0, equals)};
                for (const auto& path : members(group.substr(equals + 1))) {
                  const Mlp network = read_mlp(path);
                  const auto accuracy = [&](const Digits& digits) {
                    return score_logits(digit_logits(network, digits, path), digits.labels).accuracy;
                  };
                  series.x.push_back(accuracy(held_out));
                  series.y.push_back(accuracy(test));
                }
                plot.scatter(std::move(series));
              }
              write_atomically(a->out, plot.svg());
              out << to_json(Node::map({{"picture", Node::text(a->out)}})) << '\n';
            };
          }};
}

}  // namespace solera::examples
