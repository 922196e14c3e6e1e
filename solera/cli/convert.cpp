#include <memory>
#include <optional>
#include <ostream>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/cli/verbs.h"
#include "solera/weights/convert.h"

namespace solera::cli {
namespace {

struct ConvertArguments {
  std::string in, dtype;
  weights::ConvertOptions options;
  int threads = hardware_threads();
};

// GGUF's readers say f32, f16 and bf16.
std::optional<checkpoint::DType> type_named(const std::string& text) {
  if (text == "f32") return checkpoint::DType::kF32;
  if (text == "f16") return checkpoint::DType::kF16;
  if (text == "bf16") return checkpoint::DType::kBF16;
  return checkpoint::parse_dtype(text);
}

int run(ConvertArguments& arguments, Context& context) {
  const std::vector<std::string> types = {"float64",       "float32",     "float16", "bfloat16",
                                          "float8_e4m3fn", "float8_e5m2", "q8_0"};
  if (arguments.dtype == "q8_0") {
    arguments.options.q8_0 = true;
  } else if (!arguments.dtype.empty()) {
    arguments.options.dtype = type_named(arguments.dtype);
    if (!arguments.options.dtype || !checkpoint::is_float(*arguments.options.dtype)) {
      const std::string near = did_you_mean(arguments.dtype, types);
      throw usage_error(cat("\"", arguments.dtype, "\" is not a floating-point type"), "",
                        near.empty() ? "one of " + join(types, ", ") : near);
    }
  }
  const auto model = checkpoint::open_checkpoint(arguments.in);
  Pool pool(arguments.threads);
  weights::convert_checkpoint(model, arguments.options, pool, context.progress);
  const auto made = checkpoint::open_checkpoint(arguments.options.out, {.as_stored = true});
  if (context.json)
    context.out << to_json(Node::map({{"schema", Node::integer(1)},
                                      {"path", Node::text(made.path())},
                                      {"tensors", Node::integer(static_cast<std::int64_t>(made.tensors().size()))},
                                      {"bytes", Node::integer(static_cast<std::int64_t>(made.stored_bytes()))}}))
                << "\n";
  else
    context.out << made.path() << ": " << made.tensors().size() << " tensors, " << bytes_text(made.stored_bytes())
                << "\n";
  return 0;
}

}  // namespace

Verb convert_verb() {
  return {.name = "convert",
          .summary = "Write a model in another format, type or sharding",
          .examples = {"solera convert model.pt model.safetensors", "solera convert model half --dtype bfloat16",
                       "solera convert model model.gguf --dtype q8_0", "solera convert model.gguf folder"},
          .prepare =
              [](OptionList& options) {
                auto arguments = std::make_shared<ConvertArguments>();
                options.positional("IN", "a model, or its URL", arguments->in);
                options.positional("OUT", "*.safetensors, *.gguf, *.pt, *.bin, *.npz, else a model folder",
                                   arguments->options.out);
                options.value("--dtype", "", "TYPE",
                              "type of the floating-point tensors, also q8_0 for *.gguf (default: as they are)",
                              arguments->dtype);
                options.bytes("--shard-size", "", "largest file of a folder", arguments->options.shard_bytes);
                options.value("--threads", "", "N", "worker threads", arguments->threads);
                options.flag("--force", "", "replace an existing output", arguments->options.force);
                return [arguments](Context& context) { return run(*arguments, context); };
              },
          .has_json = true};
}

}  // namespace solera::cli
