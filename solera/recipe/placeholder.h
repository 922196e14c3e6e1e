// Placeholders: names between single braces, as in "train --seed {seed} {data.train} > out"; {{ and }} are braces.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace solera::recipe {

struct Piece {
  bool is_name = false;  // a placeholder's name, or text as it stands
  std::string text;
  char quote = 0;  // of a placeholder: the shell's quotes that it stands in, ' or "; 0: none
};

std::vector<Piece> pieces_of(const std::string& text);
std::vector<std::string> placeholders(const std::string& text);  // the names, in the order of the text

// A needed step's output: {step.output}, or {step.*.output} for those of all values of the variables.
struct Reference {
  std::string step, output;
  bool all = false;
};
std::optional<Reference> reference_of(const std::string& name);  // empty: it has another form

}  // namespace solera::recipe
