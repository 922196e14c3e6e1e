#include <memory>
#include <ostream>

#include "examples/digits/commands.h"
#include "examples/digits/evaluate.h"
#include "examples/digits/sweep.h"
#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"

namespace solera::examples {
namespace {

struct Arguments {
  std::string out, score_on = "held_out";
  bool force = false;
  SettingTexts given;
  std::vector<std::unique_ptr<std::string>> texts;
  std::vector<std::unique_ptr<bool>> switches;
};

void declare_settings(cli::OptionList& options, const std::shared_ptr<Arguments>& arguments) {
  const TrainSettings defaults;
  for (const Setting& setting : train_settings()) {
    const std::string name = "--" + setting.name;
    if (setting.value_name.empty()) {
      arguments->switches.push_back(std::make_unique<bool>(false));
      arguments->texts.push_back(nullptr);
      options.flag(name, "", setting.help, *arguments->switches.back());
    } else {
      arguments->switches.push_back(nullptr);
      arguments->texts.push_back(std::make_unique<std::string>(setting.text(defaults)));
      options.value(name, "", setting.value_name, setting.help, *arguments->texts.back());
    }
  }
  options.value("--score-on", "", "PART", "images for the accuracy that is printed", arguments->score_on);
  options.flag("--force", "", "replace an existing output", arguments->force);
}

SettingTexts texts_of(const Arguments& arguments) {
  SettingTexts texts;
  for (std::size_t i = 0; i < train_settings().size(); ++i) {
    const Setting& setting = train_settings()[i];
    texts[setting.name] = arguments.texts[i] ? *arguments.texts[i] : *arguments.switches[i] ? "yes" : "no";
  }
  return texts;
}

// Makes way for an output, or refuses to.
void clear_output(const std::string& out, bool force) {
  if (!exists(out)) return;
  if (!force) throw usage_error("the output exists", out, "--force replaces it");
  remove_all(out);
}

std::string padded(std::int64_t number, int digits) {
  std::string text = cat(number);
  return text.size() >= static_cast<std::size_t>(digits) ? text : std::string(digits - text.size(), '0') + text;
}

// Trains and writes one network (a file) or its snapshots (a folder); returns the line to print.
Node train_to(const TrainSettings& settings, const std::string& out, const std::string& score_on) {
  const auto save = parse_patterns(settings.save);
  Digits scored = digits_split(score_on, static_cast<std::uint64_t>(settings.seed));
  apply_task(scored, settings.task);
  Trained trained;
  if (settings.snapshots > 0) {
    make_folders(out);
    trained = train(settings, [&](std::int64_t step, const Mlp& network) {
      write_mlp(join_path(out, cat("step-", padded(step, 6), ".safetensors")), network, save);
    });
  } else {
    trained = train(settings);
    write_mlp(out, trained.network, save);
  }
  const Score score = score_logits(digit_logits(trained.network, scored, out), scored.labels);
  Node line = Node::map();
  line.set("checkpoint", Node::text(out));
  line.set("steps", Node::integer(trained.steps));
  line.set("train_loss", Node::number(trained.loss));
  line.set("accuracy", Node::number(score.accuracy));
  line.set("loss", Node::number(score.loss));
  line.set("n", Node::integer(score.n));
  return line;
}

}  // namespace

Command train_command() {
  return {"train",
          "train a network, from random weights or from a checkpoint",
          {"Prints one line of JSON with the accuracy and loss on --score-on."},
          [](cli::OptionList& options) -> std::function<void(std::ostream&)> {
            auto arguments = std::make_shared<Arguments>();
            options.positional("OUT", "the network to write, or a folder with --snapshots", arguments->out);
            declare_settings(options, arguments);
            return [arguments](std::ostream& out) {
              TrainSettings settings;
              const SettingTexts texts = texts_of(*arguments);
              for (const Setting& setting : train_settings()) setting.set(settings, texts.at(setting.name));
              clear_output(arguments->out, arguments->force);
              out << to_json(train_to(settings, arguments->out, arguments->score_on)) << '\n';
            };
          }};
}

Command sweep_command() {
  return {"sweep",
          "train many networks with settings that are drawn or listed",
          {"Any setting may be log(a, b), uniform(a, b), int(a, b) or one(a, b, ...), drawn for every training, or "
           "each(a, b, "
           "...): all of these. The networks are OUT/run-000.safetensors and so on (folders with --snapshots); "
           "OUT/sweep.json "
           "lists their settings and scores, and the same lines are printed."},
          [](cli::OptionList& options) -> std::function<void(std::ostream&)> {
            auto arguments = std::make_shared<Arguments>();
            auto runs = std::make_shared<std::int64_t>(1);
            auto threads = std::make_shared<int>(0);
            options.positional("OUT", "the folder to write", arguments->out);
            options.value("--runs", "", "N", "trainings, at every point of a grid", *runs);
            options.value("--threads", "", "N", "worker threads; 0 is all", *threads);
            declare_settings(options, arguments);
            return [arguments, runs, threads](std::ostream& out) {
              const auto sweep = plan_sweep(texts_of(*arguments), *runs);
              clear_output(arguments->out, arguments->force);
              make_folders(arguments->out);
              std::vector<Node> lines(sweep.size());
              Pool pool(*threads > 0 ? *threads : hardware_threads());
              pool.for_each(static_cast<std::int64_t>(sweep.size()), [&](std::int64_t i, int) {
                const auto& [settings, varied] = sweep[static_cast<std::size_t>(i)];
                const std::string name = cat("run-", padded(i, 3), settings.snapshots > 0 ? "" : ".safetensors");
                Node line = train_to(settings, join_path(arguments->out, name), arguments->score_on);
                Node values = Node::map();
                for (const auto& [setting, text] : varied) {
                  const auto number = parse_double(text);
                  values.set(setting, number ? Node::number(*number) : Node::text(text));
                }
                line.set("settings", std::move(values));
                lines[static_cast<std::size_t>(i)] = std::move(line);
              });
              for (const Node& line : lines) out << to_json(line) << '\n';
              write_atomically(join_path(arguments->out, "sweep.json"), to_json(Node::list(lines), 1) + "\n");
            };
          }};
}

}  // namespace solera::examples
