#include <memory>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/remote.h"
#include "solera/cli/combine_report.h"
#include "solera/cli/verbs.h"
#include "solera/weights/combine.h"

namespace solera::cli {
namespace {

struct ApplyArguments {
  std::string base;
  std::vector<std::string> deltas;
  weights::CombineOptions options;
  int threads = hardware_threads();
};

// "task.safetensors:0.5", or a path alone. What is there under the whole name is a path.
weights::Term parse_term(const std::string& text) {
  auto colon = text.rfind(':');
  // In a URL, what follows the colon of a coefficient has no slash.
  if (checkpoint::is_remote(text) && text.find('/', colon) != std::string::npos) colon = std::string::npos;
  if (!exists(text) && colon != std::string::npos && colon > 0) {
    const std::string number = text.substr(colon + 1);
    const auto coefficient = parse_double(number);
    if (!coefficient)
      throw usage_error(cat("the coefficient in ", text, " is \"", number, "\", not a number"), "",
                        "write DELTA:COEFFICIENT");
    return weights::open_term(text.substr(0, colon), *coefficient);
  }
  return weights::open_term(text, 1);
}

int run(ApplyArguments& arguments, Context& context) {
  if (arguments.threads < 1) throw usage_error(cat("--threads is ", arguments.threads, ", less than 1"));
  const auto base = checkpoint::open_checkpoint(arguments.base);
  std::vector<weights::Term> terms;
  for (const std::string& text : arguments.deltas) terms.push_back(parse_term(text));
  Pool pool(arguments.threads);
  const auto report = weights::combine(base, std::move(terms), arguments.options, pool, context.progress);
  for (const std::string& line : report.warnings) context.progress.warn(line);
  if (context.json)
    context.out << to_json(report_node(arguments.options.out, report)) << "\n";
  else
    context.out << report_line(arguments.options.out, report) << "\n";
  return 0;
}

}  // namespace

Verb apply_verb() {
  return {
      .name = "apply",
      .summary = "Add deltas and LoRA adapters to a base, or take them off again",
      .examples = {"solera apply base task.safetensors -o fine", "solera apply base lang.safetensors task:0.8 -o out",
                   "solera apply fine task.safetensors -o base --revert"},
      .prepare =
          [](OptionList& options) {
            auto arguments = std::make_shared<ApplyArguments>();
            options.positional("BASE", "the model, or its URL", arguments->base);
            options.positional("DELTA", "a delta file, an adapter's folder or the URL of one, or DELTA:COEFFICIENT",
                               arguments->deltas);
            options
                .value("--output", "-o", "OUT", "where the result goes: a folder or *.safetensors",
                       arguments->options.out)
                .must();
            options.flag("--revert", "", "take the deltas off BASE instead; exact for exact deltas",
                         arguments->options.revert);
            options.flag("--any-base", "", "apply differences that were made for another base",
                         arguments->options.any_base);
            options.bytes("--shard-size", "", "largest file of a folder", arguments->options.shard_bytes);
            options.value("--threads", "", "N", "worker threads", arguments->threads);
            options.flag("--force", "", "replace an existing output", arguments->options.force);
            return [arguments](Context& context) { return run(*arguments, context); };
          },
      .has_json = true};
}

}  // namespace solera::cli
