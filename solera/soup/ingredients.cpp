#include "solera/soup/ingredients.h"

#include <algorithm>
#include <set>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"
#include "solera/merge/average.h"
#include "solera/soup/ancestry.h"

namespace solera::soup {
namespace {

using checkpoint::Checkpoint;

bool is_model_folder(const std::string& path) {
  return checkpoint::is_remote(path) ? !checkpoint::is_remote_file(path) : is_folder(path);
}

bool same_model(const std::string& a, const std::string& b) {
  if (checkpoint::is_remote(a) && checkpoint::is_remote(b))
    return checkpoint::canonical_remote(a) == checkpoint::canonical_remote(b);
  return same_file(a, b);
}

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> parts;
  for (const std::string& part : split(path, '/'))
    if (!part.empty() && part != ".") parts.push_back(part);
  return parts;
}

std::vector<const Checkpoint*> views(const Ingredients& ingredients) {
  std::vector<const Checkpoint*> pointers;
  for (const Checkpoint& model : ingredients.models) pointers.push_back(&model);
  return pointers;
}

}  // namespace

std::string Ingredients::name_of(const Mix& mix) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < mix.size(); ++i)
    if (mix[i] != 0) names.push_back(labels[i]);
  return join(names, " + ");
}

std::vector<std::string> short_names(std::span<const std::string> paths) {
  std::size_t longest = 0;
  for (const std::string& path : paths) longest = std::max(longest, components(path).size());
  for (std::size_t length = 1; length <= longest; ++length) {
    std::vector<std::string> names;
    for (const std::string& path : paths) {
      const auto parts = components(path);
      names.push_back(join(std::span(parts).last(std::min(length, parts.size())), "/"));
    }
    if (std::set(names.begin(), names.end()).size() == names.size()) return names;
  }
  return {paths.begin(), paths.end()};
}

Ingredients open_ingredients(std::span<const std::string> paths) {
  if (paths.size() < 2)
    throw usage_error(cat("a soup needs at least two models, not ", paths.size()), paths.empty() ? "" : paths.front());
  Ingredients result;
  result.paths.assign(paths.begin(), paths.end());
  result.labels = short_names(paths);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (!checkpoint::is_remote(paths[i]) && !exists(paths[i])) throw missing_file(paths[i]);
    for (std::size_t j = 0; j < i; ++j)
      if (same_model(paths[i], paths[j])) throw usage_error(cat(paths[j], " and ", paths[i], " are the same model"));
  }
  result.folders = is_model_folder(paths.front());
  for (std::size_t i = 0; i < paths.size(); ++i)
    if (is_model_folder(paths[i]) != result.folders) {
      const auto sort = [](bool folder) { return folder ? "a folder" : "a file"; };
      throw usage_error(cat(result.labels.front(), " is ", sort(result.folders), " and ", result.labels[i], " is ",
                            sort(!result.folders)),
                        "", "give all ingredients as folders or all as files, so that candidates have their form");
    }
  for (const std::string& path : paths) {
    result.models.push_back(checkpoint::open_checkpoint(path));
    checkpoint::require_unquantized(result.models.back(), "average");
    // A folder of the hub is at a commit from now on.
    if (result.folders && checkpoint::is_remote(path))
      result.paths[result.models.size() - 1] = result.models.back().path();
  }
  merge::require_same_tensors(views(result), result.labels);
  return result;
}

std::string ancestry_warning(const Ingredients& ingredients, const std::string& base, Pool& pool) {
  auto models = views(ingredients);
  auto labels = ingredients.labels;
  std::vector<Checkpoint> opened;
  if (!base.empty()) {
    opened.push_back(checkpoint::open_checkpoint(base));
    models.push_back(&opened.back());
    labels.push_back(base);
  }
  const auto gram = gram_matrix(models, labels, pool);
  if (!base.empty() && std::all_of(gram.begin(), gram.end(), [](double product) { return product == 0; }))
    return cat(base, " has no weights in common with the ingredients; it says nothing about their ancestor");
  return kinship_warning(kinship(gram, static_cast<int>(models.size()), !base.empty()), ingredients.labels);
}

}  // namespace solera::soup
