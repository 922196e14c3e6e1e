// A recipe: steps that make artefacts, and claims about what they measured. docs/recipes.md is the user's page.
//
//   name: model-soups
//   about: uniform and greedy soups of a sweep on digits
//   paper: Wortsman et al. 2022, arXiv 2203.05482
//   parameters: {seeds: 10}
//   quick: {seeds: 2}                      # what --quick changes
//   steps:
//     base:
//       foreach: {seed: "1..{seeds}"}      # one step a value; lists too: {lr: [0.1, 0.01]}
//       run: digits train --seed {seed} -o base.safetensors
//       outputs: {model: base.safetensors}
//     soup:
//       foreach: {seed: "1..{seeds}"}
//       run: solera soup {sweep.*.model} --eval '...' -o soup.safetensors --json
//   claims:
//     - {claim: greedy is at least the best single, expr: "all(soup.*.greedy >= soup.*.best)", source: section 4}
//
// A step runs in a folder of its own. {step.output} is the path of a needed step's output: of the same variables where
// both have them; {step.*.output} is all of those. {name} is a parameter or a variable, {here} the recipe's folder. In
// a shell line what is put in is quoted where it has to be.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "solera/base/document.h"

namespace solera::recipe {

struct Step {
  std::string name;
  std::string shell;               // a command line, or
  std::vector<std::string> argv;   // its words
  std::vector<std::string> needs;  // as written, and those its placeholders name
  std::vector<std::string> inputs;
  std::map<std::string, std::string> outputs;                             // name to path inside the step's folder
  std::vector<std::pair<std::string, std::vector<std::string>>> foreach;  // variables and values, in file order
  std::string result;  // a JSON file; empty: the last line of stdout, where it is an object
  std::string where;
};

struct Claim {
  std::string text, expression, source, where;
};

struct Recipe {
  std::string name, about, paper;
  std::map<std::string, std::string> parameters;
  std::vector<Step> steps;  // in file order
  std::vector<Claim> claims;
  std::string folder;  // of the file
};

// Throws Error (input) with file:line:column for all that can be known before anything runs: unknown keys, names that
// cannot be used, unknown steps, outputs and placeholders, circles, empty ranges, {step.output} that is not one path,
// claims that are no expression or name no step.
Recipe parse_recipe(const Node& document, const std::string& folder, bool quick);
Recipe read_recipe(const std::string& path, bool quick);

// A step with values for its variables.
struct Instance {
  std::size_t step = 0;
  std::vector<std::string> values;  // one a variable
  std::vector<std::size_t> needs;   // instances
  std::string label;                // "base[seed=3]"
  std::string folder;               // "base/seed=3", characters unfit for file names as %2F
};

// Every instance of every step, needed ones before those that need them.
std::vector<Instance> expand(const Recipe& recipe);

}  // namespace solera::recipe
