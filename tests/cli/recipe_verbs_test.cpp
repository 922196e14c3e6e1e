// `solera run` and `solera recipes` without their process: statuses, reports, what is printed.
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "solera/base/document.h"
#include "solera/base/text.h"
#include "solera/cli/verbs.h"
#include "tests/support/support.h"

namespace solera::cli {
namespace {

constexpr const char* kToy = R"(
name: toy
about: counts bytes
parameters: {least: 3}
quick: {least: 1}
steps:
  text: {run: 'printf abcd > t', outputs: {t: t}}
  count: {run: 'echo "{{\"bytes\": $(wc -c < {text.t})}}"'}
claims:
  - {claim: long enough, expr: "count.bytes >= {least}", source: table 1}
)";

class RecipeVerbs : public testing::Test {
 protected:
  struct Result {
    int status;
    std::string out, err;
  };
  Result call(const std::vector<std::string>& arguments) {
    std::ostringstream out, err;
    const int status = run_command(arguments, out, err);
    return {status, out.str(), err.str()};
  }
  std::string write(const std::string& name, const std::string& text) {
    write_atomically(folder_ / name, text);
    return folder_ / name;
  }
  Result run(const std::string& text, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"run", write("r.yaml", text), "-o", folder_ / "out"};
    words.insert(words.end(), more.begin(), more.end());
    return call(words);
  }
  static std::string changed(std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
  }

  TemporaryFolder folder_;
};

TEST_F(RecipeVerbs, EndWithZeroWhereEveryClaimHolds) {
  const Result result = run(kToy);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, cat("claim        measured  verdict  source\nlong enough  4 >= 3    holds    table 1\n"
                            "2 steps run, 0 cached; report in ",
                            folder_ / "out/report.md", "\n"));
  EXPECT_NE(run(kToy).out.find("0 steps run, 2 cached;"), std::string::npos);
}

TEST_F(RecipeVerbs, EndWithThreeWhereOneDoesNot) {
  const Result result = run(changed(kToy, "least: 3", "least: 5"));
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.out.find("long enough  4 >= 5    does not hold  table 1\n"), std::string::npos) << result.out;
  EXPECT_EQ(run(changed(kToy, "least: 3", "least: 5"), {"--quick"}).status, 0);
}

TEST_F(RecipeVerbs, EndWithOneWhereAStepFails) {
  const Result result = run(changed(kToy, "printf abcd > t", "echo oh >&2; exit 4"));
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.ends_with(
      cat("solera: error: step text ended with status 4: oh (log: ", folder_ / "out/text~failed/stderr.log",
          "); its command was: echo oh >&2; exit 4\n")))
      << result.err;
  EXPECT_FALSE(exists(folder_ / "out/report.json"));
}

TEST_F(RecipeVerbs, RefuseWrongCalls) {
  EXPECT_EQ(run(kToy, {"--jobs", "-1"}).status, 2);
  const Result result = run(kToy, {"--only", "cont"});
  EXPECT_EQ(result.status, 2);
  EXPECT_TRUE(result.err.ends_with("solera: error: recipe toy has no step cont; did you mean count?\n")) << result.err;
  EXPECT_EQ(call({"run", folder_ / "none.yaml"}).status, 1);
}

TEST_F(RecipeVerbs, WriteAReportForMachinesAndPeople) {
  const Result result = run(kToy, {"--json"});
  const Node printed = parse_json(result.out), kept = read_json(folder_ / "out/report.json");
  EXPECT_EQ(to_json(printed), to_json(kept));
  EXPECT_EQ(kept.pointer("/schema")->as_int(), 1);
  EXPECT_EQ(kept.pointer("/recipe")->as_text(), "toy");
  EXPECT_EQ(kept.pointer("/steps/1/result/bytes")->as_int(), 4);
  EXPECT_EQ(kept.pointer("/claims/0/verdict")->as_text(), "holds");
  const std::string page = read_file(folder_ / "out/report.md");
  EXPECT_TRUE(page.starts_with("# toy\n\ncounts bytes\n\n- least: 3\n\n2 runs of steps, ")) << page;
  EXPECT_NE(page.find("| long enough | 4 >= 3 | holds | table 1 |\n"), std::string::npos) << page;
}

TEST_F(RecipeVerbs, CheckOnlyTheClaimsWhoseStepsRan) {
  const Result result = run(changed(kToy, "least: 3", "least: 5"), {"--only", "text"});
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.out.find("not checked"), std::string::npos) << result.out;
}

TEST_F(RecipeVerbs, ListTheRecipesThatCanBeRead) {
  write("toy.yaml", kToy);
  write("bad.yaml", "name: bad\n");
  write("notes.txt", "");
  ::setenv("SOLERA_RECIPES", folder_.path().c_str(), 1);
  const Result table = call({"recipes"}), json = call({"recipes", "--json"});
  ::unsetenv("SOLERA_RECIPES");
  EXPECT_EQ(table.status, 0);
  EXPECT_NE(table.out.find(cat(folder_ / "toy.yaml", "  counts bytes")), std::string::npos) << table.out;
  EXPECT_EQ(table.err, cat("solera: warning: missing key \"steps\" (", folder_ / "bad.yaml", ":1:1)\n"));
  EXPECT_EQ(parse_json(json.out).pointer("/recipes/0/name")->as_text(), "toy");
}

}  // namespace
}  // namespace solera::cli
