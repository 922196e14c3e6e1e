// Recipes as text: what they expand to, and every refusal as a whole message.
#include "solera/recipe/recipe.h"

#include <set>

#include "solera/base/text.h"
#include "solera/recipe/placeholder.h"
#include "tests/support/support.h"

namespace solera::recipe {
namespace {

using test::message_of;
using Texts = std::vector<std::string>;

Recipe parse(const std::string& text, bool quick = false) {
  return parse_recipe(parse_yaml(text, "r.yaml"), "folder", quick);
}
// The message for the steps of a recipe that is well otherwise; they begin in line 3.
std::string step_failure(const std::string& steps) {
  return message_of([&] { parse("name: r\nsteps:\n" + steps); });
}
std::string failure(const std::string& text) {
  return message_of([&] { parse(text); });
}

Texts labels(const Recipe& recipe) {
  Texts list;
  for (const Instance& instance : expand(recipe)) list.push_back(instance.label);
  return list;
}

constexpr const char* kSoup = R"(
name: soup
about: a sweep and its soup
paper: Wortsman
parameters: {seeds: 3, rate: 0.1}
quick: {seeds: 2}
steps:
  blend:
    foreach: {seed: "1..{seeds}"}
    run: blend {sweep.*.model} --seed {seed}
    outputs: {model: soup.bin}
  sweep:
    foreach: {seed: "1..{seeds}", lr: [0.1, "{rate}2"]}
    run: [train, --lr, "{lr}", "{here}/{data.file}"]
    outputs: {model: m.bin, log: stdout.log}
    result: r.json
  data:
    run: make-data
    inputs: data.csv
    outputs: {file: d.bin}
claims:
  - {claim: it is good, expr: "mean(blend.*.acc) > {rate}", source: table 1}
)";

TEST(RecipeText, GivesEveryPart) {
  const Recipe recipe = parse(kSoup);
  EXPECT_EQ(recipe.name + "|" + recipe.about + "|" + recipe.paper + "|" + recipe.folder,
            "soup|a sweep and its soup|Wortsman|folder");
  EXPECT_EQ(recipe.parameters, (std::map<std::string, std::string>{{"seeds", "3"}, {"rate", "0.1"}}));
  ASSERT_EQ(recipe.steps.size(), 3u);
  EXPECT_EQ(recipe.steps[0].needs, Texts{"sweep"});
  EXPECT_EQ(recipe.steps[1].needs, Texts{"data"});
  EXPECT_EQ(recipe.steps[1].argv, (Texts{"train", "--lr", "{lr}", "{here}/{data.file}"}));
  EXPECT_EQ(recipe.steps[1].result, "r.json");
  EXPECT_EQ(recipe.steps[1].where, "r.yaml:12:3");
  EXPECT_EQ(recipe.steps[1].outputs, (std::map<std::string, std::string>{{"model", "m.bin"}, {"log", "stdout.log"}}));
  EXPECT_EQ(recipe.steps[2].inputs, Texts{"data.csv"});
  ASSERT_EQ(recipe.claims.size(), 1u);
  EXPECT_EQ(recipe.claims[0].expression, "mean(blend.*.acc) > 0.1");
  EXPECT_EQ(recipe.claims[0].source, "table 1");
}

TEST(RecipeText, QuickChangesParameters) {
  EXPECT_EQ(parse(kSoup, true).parameters.at("seeds"), "2");
  EXPECT_EQ(labels(parse(kSoup, true)),
            (Texts{"data", "sweep[seed=1,lr=0.1]", "sweep[seed=1,lr=0.12]", "sweep[seed=2,lr=0.1]",
                   "sweep[seed=2,lr=0.12]", "blend[seed=1]", "blend[seed=2]"}));
}

TEST(RecipeInstances, NeedThoseThatAgreeOnTheirVariables) {
  const auto instances = expand(parse(kSoup));
  ASSERT_EQ(instances.size(), 1u + 6 + 3);
  EXPECT_EQ(instances[3].needs, std::vector<std::size_t>{0});
  EXPECT_EQ(instances[8].label, "blend[seed=2]");
  EXPECT_EQ(instances[8].needs, (std::vector<std::size_t>{3, 4}));
  EXPECT_EQ(instances[8].folder, "blend/seed=2");
}

TEST(RecipeInstances, HaveValuesOfRanges) {
  const auto values = [](const std::string& foreach) {
    return parse("name: r\nparameters: {n: 2}\nsteps:\n  a: {run: x, foreach: {v: " + foreach + "}}\n")
        .steps[0]
        .foreach[0]
        .second;
  };
  EXPECT_EQ(values("1..4"), (Texts{"1", "2", "3", "4"}));
  EXPECT_EQ(values("-1..1"), (Texts{"-1", "0", "1"}));
  EXPECT_EQ(values("'{n}..{n}'"), Texts{"2"});
  EXPECT_EQ(values("[1..2, 7, '{n}x']"), (Texts{"1", "2", "7", "2x"}));
  EXPECT_EQ(values("one"), Texts{"one"});
  EXPECT_EQ(values("[a..b, 1...2, '..']"), (Texts{"a..b", "1...2", ".."}));
  EXPECT_EQ(values("1..100000").size(), 100000u);
}

TEST(RecipeInstances, HaveFoldersOfTheirOwnInsideTheirStep) {
  const auto instances =
      expand(parse("name: r\nsteps:\n  a: {run: x, foreach: {v: [.., ../b, 'a b', 'a,w=1', 'a%20b', é, '', " +
                   std::string(300, 'x') + ", " + std::string(301, 'x') + "], w: [1, /]}}\n"));
  std::set<std::string> folders;
  for (const Instance& instance : instances) {
    folders.insert(instance.folder);
    EXPECT_EQ(split(instance.folder, '/').size(), 2u) << instance.folder;
    EXPECT_LE(instance.folder.size(), 2u + 200) << instance.folder;
  }
  EXPECT_EQ(folders.size(), instances.size());
  EXPECT_EQ(instances[0].folder, "a/v=..,w=1");
  EXPECT_EQ(instances[3].folder, "a/v=..%2Fb,w=%2F");
  EXPECT_EQ(instances[4].folder, "a/v=a%20b,w=1");
  EXPECT_EQ(instances[4].label, "a[v=a b,w=1]");
  EXPECT_EQ(instances[8].folder, "a/v=a%2520b,w=1");
}

TEST(Placeholders, AreNamesBetweenSingleBraces) {
  EXPECT_EQ(placeholders("{a} {{b}} {c.*.d}{e} }} { f"), (Texts{"a", "c.*.d", "e"}));
  EXPECT_EQ(placeholders("{{{a}}}"), Texts{"a"});
  EXPECT_EQ(placeholders("{open"), Texts{});
}

TEST(Placeholders, KnowTheQuotesThatTheyStandIn) {
  std::string quotes;
  for (const Piece& piece : pieces_of("{0} '{1}' \"{2} '{3}'\" \\'{4} '\\'{5} \"\\\"{6}\" # don't {7}\n{8}'{{{9}}}'"))
    if (piece.is_name) quotes += piece.quote ? piece.quote : '.';
  EXPECT_EQ(quotes, ".'\"\"..\"..'");
}

TEST(RecipeRefusal, NamesTheKey) {
  EXPECT_EQ(failure("name: r\nstep: {}\n"), "unknown key \"step\" in a recipe (r.yaml:2:1); did you mean \"steps\"?");
  EXPECT_EQ(failure("steps: {a: {run: x}}\n"), "missing key \"name\" (r.yaml:1:1)");
  EXPECT_EQ(failure("name: r\n"), "missing key \"steps\" (r.yaml:1:1)");
  EXPECT_EQ(failure("name: r\nsteps: {}\n"), "a recipe without steps (r.yaml:2:8)");
  EXPECT_EQ(failure("name: r\nsteps: [a]\n"), "\"steps\" is not a map of names to values (r.yaml:2:8)");
  EXPECT_EQ(failure("name: a/b\nsteps: {a: {run: x}}\n"),
            "\"a/b\" cannot name a recipe (r.yaml:1:7); it becomes a folder's name");
  EXPECT_EQ(step_failure("  a: {run: x, output: {}}\n"),
            "unknown key \"output\" in step a (r.yaml:3:15); did you mean \"outputs\"?");
  EXPECT_EQ(step_failure("  a: {needs: b}\n"), "missing key \"run\" in \"a\" (r.yaml:3:6)");
  EXPECT_EQ(step_failure("  a: {run: []}\n"), "step a runs nothing (r.yaml:3:12)");
  EXPECT_EQ(step_failure("  a: {run: x, needs: {b: c}}\n"), "\"needs\" is a map, not text (r.yaml:3:22)");
  EXPECT_EQ(failure("name: r\nsteps: {a: {run: x}}\nclaims:\n  - {claim: c, exp: 1 < 2}\n"),
            "unknown key \"exp\" in a claim (r.yaml:4:16); did you mean \"expr\"?");
}

TEST(RecipeRefusal, NamesTheName) {
  EXPECT_EQ(step_failure("  a-b: {run: x}\n"), "\"a-b\" cannot name a step (r.yaml:3:3); use letters, digits and _");
  EXPECT_EQ(step_failure("  all: {run: x}\n"), "\"all\" cannot name a step (r.yaml:3:3); it has a meaning already");
  EXPECT_EQ(step_failure("  a: {run: x, outputs: {o.p: x}}\n"),
            "\"o.p\" cannot name an output (r.yaml:3:25); use letters, digits and _");
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {here: 1}}\n"),
            "\"here\" cannot name a variable (r.yaml:3:25); it has a meaning already");
  EXPECT_EQ(failure("name: r\nparameters: {1x: 1}\nsteps: {a: {run: x}}\n"),
            "\"1x\" cannot name a parameter (r.yaml:2:14); use letters, digits and _");
  EXPECT_EQ(failure("name: r\nparameters: {seeds: 1}\nquick: {seed: 1}\nsteps: {a: {run: x}}\n"),
            "quick changes an unknown parameter seed (r.yaml:3:9); did you mean seeds?");
  EXPECT_EQ(failure("name: r\nparameters: {v: 1}\nsteps: {a: {run: x, foreach: {v: 1..2}}}\n"),
            "v is a parameter and a variable (r.yaml:3:31); rename one of them");
}

TEST(RecipeRefusal, NamesTheValues) {
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {v: 3..1}}\n"), "the range 3..1 is empty (r.yaml:3:28)");
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {v: 0..100000}}\n"),
            "the range 0..100000 has more than 100000 numbers (r.yaml:3:28)");
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {v: -9223372036854775808..9223372036854775807}}\n"),
            "the range -9223372036854775808..9223372036854775807 has more than 100000 numbers (r.yaml:3:28)");
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {v: 1..1000, w: 1..1000}}\n"),
            "step a has more than 100000 combinations of values (r.yaml:3:3)");
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {v: []}}\n"), "no values for v (r.yaml:3:28)");
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {v: [1, 0..2]}}\n"), "v has the value 1 twice (r.yaml:3:28)");
  EXPECT_EQ(step_failure("  a: {run: x, foreach: {v: '1..{n}'}}\n"),
            "unknown placeholder {n} (r.yaml:3:28); write {{ for a brace");
  for (const char* path : {"/tmp/x", "../x", "x/../../y", "./x"})
    EXPECT_EQ(step_failure(cat("  a: {run: x, outputs: {o: ", path, "}}\n")),
              cat("the path \"", path,
                  "\" is not inside the step's folder (r.yaml:3:28); "
                  "write it from there, as in model.safetensors"));
  EXPECT_EQ(step_failure("  a: {run: x, result: step.json}\n"),
            "step.json is the runner's own file (r.yaml:3:23); choose another name");
}

TEST(RecipeRefusal, NamesThePlaceholder) {
  EXPECT_EQ(step_failure("  base: {run: x}\n  a: {run: x, needs: bsae}\n"),
            "step a needs an unknown step bsae (r.yaml:4:3); did you mean base?");
  EXPECT_EQ(step_failure("  base: {run: x}\n  a: {run: 'x {bse.model}'}\n"),
            "step a needs an unknown step bse (r.yaml:4:3); did you mean base?");
  EXPECT_EQ(step_failure("  base: {run: x, outputs: {model: m}}\n  a: {run: 'x {base.modle}'}\n"),
            "step base has no output modle, which step a names (r.yaml:4:3); did you mean model?");
  EXPECT_EQ(step_failure("  base: {run: x}\n  a: {run: 'x {base.*.model}'}\n"),
            "step base has no output model, which step a names (r.yaml:4:3); list it under outputs of base");
  EXPECT_EQ(step_failure("  a: {run: 'x {sed}', foreach: {seed: 1..2}}\n"),
            "unknown placeholder {sed} in step a (r.yaml:3:3); did you mean seed?");
  EXPECT_EQ(step_failure("  a: {run: \"awk '{print $1}'\"}\n"),
            "unknown placeholder {print $1} in step a (r.yaml:3:3); known: here; write {{ for a brace");
  EXPECT_EQ(step_failure("  base: {run: x, outputs: {m: m}}\n  a: {run: [x, '--m={base.*.m}']}\n"),
            "{base.*.m} in step a is many words, so it has to be a word of its own (r.yaml:4:3)");
  EXPECT_EQ(step_failure("  base: {run: x, outputs: {m: m}, foreach: {s: 1..3}}\n  a: {run: 'x {base.m}'}\n"),
            "{base.m} is 3 paths in a (r.yaml:4:3); write {base.*.m} for all of them");
  EXPECT_EQ(step_failure("  base: {run: x, outputs: {m: m}, foreach: {s: 1..3}}\n"
                         "  a: {run: 'x {base.*.m}', foreach: {s: 3..4}}\n"),
            "{base.*.m} is no path in a[s=4] (r.yaml:4:3); step base has no such values");
}

TEST(RecipeRefusal, NamesTheCircle) {
  EXPECT_EQ(step_failure("  a: {run: x, needs: a}\n"), "steps need each other in a circle: a needs a (r.yaml:3:3)");
  EXPECT_EQ(step_failure("  z: {run: x, needs: a}\n  a: {run: x, needs: [b]}\n  b: {run: 'x {c.o}'}\n"
                         "  c: {run: x, needs: a, outputs: {o: o}}\n"),
            "steps need each other in a circle: a needs b needs c needs a (r.yaml:4:3)");
}

TEST(RecipeRefusal, NamesTheClaim) {
  const auto claim_failure = [](const std::string& expression) {
    return failure(
        "name: r\nsteps: {base: {run: x, foreach: {s: 1..2}}, one: {run: x}}\nclaims:\n  - claim: good\n    expr: " +
        expression + "\n");
  };
  EXPECT_EQ(claim_failure("1 <"), "claim \"good\": expected a value, not the end, column 4 of \"1 <\" (r.yaml:5:11)");
  EXPECT_EQ(claim_failure("bse.1.x < 1"), "claim \"good\": no step bse (r.yaml:5:11); did you mean base?");
  EXPECT_EQ(claim_failure("base < 1"),
            "claim \"good\": base is not base.s.KEY (r.yaml:5:11); give a value for each, or * for all");
  EXPECT_EQ(claim_failure("one.x < {n}"), "unknown placeholder {n} (r.yaml:5:11); write {{ for a brace");
}

}  // namespace
}  // namespace solera::recipe
