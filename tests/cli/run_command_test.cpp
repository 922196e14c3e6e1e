// The program without its process: pages, statuses and last words.
#include <sstream>

#include "solera/base/document.h"
#include "solera/cli/help.h"
#include "solera/cli/verbs.h"
#include "tests/support/support.h"

namespace solera::cli {
namespace {

struct Result {
  int status;
  std::string out, err;
};

Result call(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  const int status = run_command(arguments, out, err);
  return {status, out.str(), err.str()};
}

TEST(RunCommand, PrintsTheVerbsWithoutArguments) {
  const Result result = call({});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, front_page());
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(call({"--help"}).out, result.out);
  EXPECT_EQ(call({"help"}).out, result.out);
}

TEST(RunCommand, TellsItsVersion) { EXPECT_EQ(call({"--version"}).out, "solera " + version_text() + "\n"); }

TEST(RunCommand, ExplainsAVerbInThreeWays) {
  const std::string page = call({"help", "methods"}).out;
  EXPECT_EQ(page.rfind("List the merge methods", 0), 0u);
  EXPECT_EQ(call({"methods", "--help"}).out, page);
  EXPECT_EQ(call({"methods", "--nonsense", "-h"}).out, page);
}

TEST(RunCommand, SuggestsTheNearestVerb) {
  const Result result = call({"metods"});
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "solera: error: unknown verb \"metods\"; did you mean methods?\n");
  EXPECT_EQ(call({"zzzzzzzzz"}).err, "solera: error: unknown verb \"zzzzzzzzz\"; `solera` lists the verbs\n");
  EXPECT_EQ(call({"--json"}).err,
            "solera: error: unknown option \"--json\"; options follow the verb: solera VERB --help\n");
}

TEST(RunCommand, PointsToHelpWhereThereIsNoBetterHint) {
  const Result result = call({"completion"});
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.err, "solera: error: missing argument SHELL; see solera completion --help\n");
}

TEST(RunCommand, GivesErrorsAsJsonToo) {
  const Result result = call({"methods", "--json", "a", "b"});
  EXPECT_EQ(result.status, 2);
  const Node error = parse_json(result.out);
  EXPECT_EQ(error.pointer("/schema")->as_int(), 1);
  EXPECT_EQ(error.pointer("/error/kind")->as_text(), "usage");
  EXPECT_EQ(error.pointer("/error/message")->as_text(), "one argument too many: \"b\"");
  EXPECT_EQ(error.pointer("/error/hint")->as_text(), "see solera methods --help");
  EXPECT_EQ(error.pointer("/error/status")->as_int(), 2);
  EXPECT_EQ(result.err, "solera: error: one argument too many: \"b\"; see solera methods --help\n");
}

TEST(RunCommand, FailsWhenItsOutputCannotBeWritten) {
  std::ostringstream out, err;
  out.setstate(std::ios::badbit);
  EXPECT_EQ(run_command({"methods"}, out, err), 1);
  EXPECT_EQ(err.str(), "solera: error: cannot write to standard output; is its disk full, or its reader gone?\n");
}

// Ends with what is thrown, for the words and statuses of each kind.
class RunVerb : public testing::Test {
 protected:
  Result end_with(std::function<int(Context&)> work, int trouble_status = 0) {
    Verb verb;
    verb.name = "trial";
    verb.has_json = true;
    verb.trouble_status = trouble_status;
    verb.prepare = [work](OptionList&) { return work; };
    std::ostringstream out, err;
    const int status = run_verb(verb, {}, out, err);
    return {status, out.str(), err.str()};
  }
};

TEST_F(RunVerb, ReturnsTheVerbsStatus) {
  EXPECT_EQ(end_with([](Context&) { return 3; }).status, 3);
}

TEST_F(RunVerb, TurnsTheKindOfAnErrorIntoAStatus) {
  const auto throwing = [](const Error& error) { return [error](Context&) -> int { throw error; }; };
  EXPECT_EQ(end_with(throwing(usage_error("x"))).status, 2);
  EXPECT_EQ(end_with(throwing(input_error("x"))).status, 1);
  EXPECT_EQ(end_with(throwing(io_error("x"))).status, 1);
  EXPECT_EQ(end_with(throwing(internal_error("x"))).status, 1);
  EXPECT_EQ(end_with(throwing(Error(ErrorKind::kInterrupted, "interrupted"))).status, 130);
  EXPECT_EQ(end_with(throwing(usage_error("x")), 2).status, 2);
  EXPECT_EQ(end_with(throwing(io_error("x")), 2).status, 2);
  EXPECT_EQ(end_with(throwing(Error(ErrorKind::kInterrupted, "interrupted")), 2).status, 130);
}

TEST_F(RunVerb, SaysThatTheSameCommandResumes) {
  const Result result = end_with([](Context&) -> int { throw Error(ErrorKind::kInterrupted, "interrupted"); });
  EXPECT_EQ(result.err, "solera: interrupted; the same command resumes\n");
}

TEST_F(RunVerb, SpeaksLastAfterProgressAndWarnings) {
  const Result result = end_with([](Context& context) -> int {
    context.progress.begin("work", 5, "steps");
    context.progress.warn("odd");
    context.progress.warn("odd");
    throw input_error("bad tensor", "m.safetensors", "look at it");
  });
  EXPECT_EQ(result.err,
            "work: 5 steps\n"
            "solera: warning: odd\n"
            "solera: warning: 2 times in all: odd\n"
            "solera: error: bad tensor (m.safetensors); look at it\n");
}

TEST_F(RunVerb, ReportsStrangersExceptions) {
  EXPECT_EQ(end_with([](Context&) -> int { throw std::bad_alloc(); }).err,
            "solera: error: out of memory; lower --memory or --threads where the verb has them\n");
  const Result result = end_with([](Context&) -> int { throw std::runtime_error("oops"); });
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("oops"), std::string::npos);
}

TEST(Completion, KnowsEveryVerbAndOption) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = call({"completion", shell}).out;
    for (const Verb& verb : verbs()) {
      EXPECT_NE(script.find(verb.name), std::string::npos) << shell << " " << verb.name;
      Prepared prepared;
      prepare_verb(verb, prepared);
      for (const Option& option : prepared.options.list()) {
        const std::string name =
            std::string(shell) == "fish" && !option.positional ? option.name.substr(2) : option.name;
        EXPECT_NE(script.find(name), std::string::npos) << shell << " " << option.name;
      }
    }
  }
}

TEST(Manual, HasASectionForEveryVerb) {
  const std::string page = call({"help", "--man"}).out;
  for (const Verb& verb : verbs()) EXPECT_NE(page.find(".SS solera " + verb.name), std::string::npos) << verb.name;
}

}  // namespace
}  // namespace solera::cli
