#include "solera/recipe/command.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/recipe/placeholder.h"

namespace solera::recipe {

namespace {

enum class Paths { kReal, kPortable };

// What stands for a placeholder: one value, or the paths of many outputs.
std::vector<std::string> values_of(const Scene& scene, std::size_t i, const std::string& name, Paths paths) {
  const Step& step = scene.step_of(i);
  const bool real = paths == Paths::kReal;
  if (const auto reference = reference_of(name)) {
    std::vector<std::string> list;
    for (const std::size_t need : scene.instances[i].needs) {
      const Step& needed = scene.step_of(need);
      if (needed.name != reference->step) continue;
      list.push_back(real ? join_path(canonical(scene.folder_of(need)), needed.outputs.at(reference->output))
                          : cat(scene.instances[need].folder, "/", reference->output));
    }
    return list;
  }
  if (name == "here") return {real ? canonical(scene.recipe.folder) : "{here}"};
  for (std::size_t v = 0; v < step.foreach.size(); ++v)
    if (step.foreach[v].first == name) return {scene.instances[i].values[v]};
  return {scene.recipe.parameters.at(name)};
}

bool is_plain(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("_-./,:+@%=").find(c) != std::string_view::npos;
  });
}

std::string for_shell(const std::string& value, const Piece& piece, const Scene& scene, std::size_t i) {
  if (is_plain(value)) return value;
  if (piece.quote == 0) return shell_quote(value);
  throw input_error(
      cat("{", piece.text, "} stands in quotes in step ", scene.instances[i].label, ", but is ", shell_quote(value)),
      scene.step_of(i).where, "leave out the quotes around it: values are quoted where they have to be");
}

std::string shell_line(const Scene& scene, std::size_t i) {
  std::string line;
  for (const Piece& piece : pieces_of(scene.step_of(i).shell)) {
    if (!piece.is_name) {
      line += piece.text;
      continue;
    }
    std::vector<std::string> words;
    for (const std::string& value : values_of(scene, i, piece.text, Paths::kReal))
      words.push_back(for_shell(value, piece, scene, i));
    line += join(words, " ");
  }
  return line;
}

std::string filled(const Scene& scene, std::size_t i, const std::string& text, Paths paths) {
  std::string result;
  for (const Piece& piece : pieces_of(text))
    result += piece.is_name ? join(values_of(scene, i, piece.text, paths), " ") : piece.text;
  return result;
}

// A word that is one placeholder becomes as many words as there are values.
std::vector<std::string> words_of(const Scene& scene, std::size_t i, Paths paths) {
  std::vector<std::string> words;
  for (const std::string& word : scene.step_of(i).argv) {
    const std::vector<Piece> pieces = pieces_of(word);
    if (pieces.size() == 1 && pieces[0].is_name) {
      for (std::string& value : values_of(scene, i, pieces[0].text, paths)) words.push_back(std::move(value));
    } else {
      words.push_back(filled(scene, i, word, paths));
    }
  }
  return words;
}

}  // namespace

std::string Scene::folder_of(std::size_t i) const { return join_path(out, instances[i].folder); }

Command command_of(const Scene& scene, std::size_t i, const std::string& folder) {
  Command command;
  command.folder = folder;
  if (scene.step_of(i).argv.empty())
    command.shell = shell_line(scene, i);
  else
    command.argv = words_of(scene, i, Paths::kReal);
  const char* path = std::getenv("PATH");
  if (!scene.programs.empty()) command.environment["PATH"] = cat(scene.programs, path ? ":" : "", path ? path : "");
  return command;
}

std::vector<std::string> portable_words(const Scene& scene, std::size_t i) {
  const Step& step = scene.step_of(i);
  if (step.argv.empty()) return {"sh", filled(scene, i, step.shell, Paths::kPortable)};
  return words_of(scene, i, Paths::kPortable);
}

std::vector<std::string> inputs_of(const Scene& scene, std::size_t i) {
  std::vector<std::string> paths;
  for (const std::string& input : scene.step_of(i).inputs) {
    if (const std::vector<Piece> pieces = pieces_of(input); pieces.size() == 1 && pieces[0].is_name) {
      for (std::string& path : values_of(scene, i, pieces[0].text, Paths::kReal)) paths.push_back(std::move(path));
    } else {
      paths.push_back(filled(scene, i, input, Paths::kReal));
    }
  }
  for (std::string& path : paths)
    if (!path.starts_with('/')) path = join_path(scene.recipe.folder, path);
  return paths;
}

}  // namespace solera::recipe
