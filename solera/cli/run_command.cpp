#include <algorithm>
#include <new>
#include <ostream>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/cli/help.h"
#include "solera/cli/terminal.h"
#include "solera/cli/verbs.h"

namespace solera::cli {
namespace {

constexpr int kJsonSchema = 1;

int status_of(ErrorKind kind, int trouble_status) {
  if (kind == ErrorKind::kInterrupted) return 130;
  if (trouble_status != 0) return trouble_status;
  return kind == ErrorKind::kUsage ? 2 : 1;
}

std::string kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return "usage";
    case ErrorKind::kInput:
      return "input";
    case ErrorKind::kIo:
      return "io";
    case ErrorKind::kInterrupted:
      return "interrupted";
    case ErrorKind::kInternal:
      break;
  }
  return "internal";
}

Node error_object(const Error& error, int status) {
  Node fields = Node::map();
  fields.set("kind", Node::text(kind_name(error.kind())));
  fields.set("message", Node::text(error.problem()));
  if (!error.where().empty()) fields.set("where", Node::text(error.where()));
  if (!error.hint().empty()) fields.set("hint", Node::text(error.hint()));
  fields.set("status", Node::integer(status));
  Node object = Node::map();
  object.set("schema", Node::integer(kJsonSchema));
  object.set("error", std::move(fields));
  return object;
}

std::string last_words(const Error& error, bool color) {
  if (error.kind() == ErrorKind::kInterrupted) {
    return cat("solera: ", error.what(), error.hint().empty() ? "; the same command resumes" : "");
  }
  return cat("solera: ", painted("error", "31;1", color), ": ", error.what());
}

// Whether an option stands among the arguments before `--`, for the time before they are parsed.
bool mentioned(const std::vector<std::string>& arguments, std::string_view name) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  return std::find(arguments.begin(), end, name) != end;
}

}  // namespace

int run_verb(const Verb& verb, const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  const TerminalStyle style = style_for(err);
  TerminalProgress progress(err, style);
  const bool json = verb.has_json && mentioned(arguments, "--json");
  const auto failed = [&](const Error& error) {
    const int status = status_of(error.kind(), verb.trouble_status);
    progress.finish();
    if (json) out << to_json(error_object(error, status)) << std::endl;
    err << last_words(error, style.color) << std::endl;
    return status;
  };
  try {
    Prepared prepared;
    prepare_verb(verb, prepared);
    if (mentioned(arguments, "--help") || mentioned(arguments, "-h")) {
      out << verb_page(verb, prepared.options) << std::flush;
      return 0;
    }
    try {
      prepared.options.parse(arguments);
    } catch (const Error& error) {
      if (!error.hint().empty()) throw;
      throw Error(error.kind(), error.problem(), error.where(), cat("see solera ", verb.name, " --help"));
    }
    Context context{out, err, progress, prepared.json};
    const int status = prepared.work(context);
    progress.finish();
    out.flush();
    if (!out) throw io_error("cannot write to standard output", "", "is its disk full, or its reader gone?");
    return status;
  } catch (const Error& error) {
    return failed(error);
  } catch (const std::bad_alloc&) {
    return failed(io_error("out of memory", "", "lower --memory or --threads where the verb has them"));
  } catch (const std::exception& error) {
    return failed(internal_error(error.what()));
  }
}

int run_command(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    out << front_page() << std::flush;
    return 0;
  }
  if (arguments[0] == "--version" || arguments[0] == "-V") {
    out << "solera " << version_text() << std::endl;
    return 0;
  }
  try {
    if (arguments[0].starts_with("-")) {
      throw usage_error(cat("unknown option \"", arguments[0], "\""), "",
                        "options follow the verb: solera VERB --help");
    }
    const Verb& verb = find_verb(arguments[0]);
    return run_verb(verb, {arguments.begin() + 1, arguments.end()}, out, err);
  } catch (const Error& error) {
    err << last_words(error, style_for(err).color) << std::endl;
    return status_of(error.kind(), 0);
  }
}

}  // namespace solera::cli
