#include "solera/soup/evaluator.h"

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"
#include "solera/merge/average.h"
#include "solera/merge/plan.h"

namespace solera::soup {

merge::MergeConfig blend_config(const Ingredients& ingredients, std::vector<Node> weights) {
  if (!ingredients.fishers.empty()) {
    merge::MergeConfig config = merge::mean_config(ingredients.paths, std::move(weights));
    config.method = "fisher";
    for (std::size_t i = 0; i < config.models.size(); ++i)
      config.models[i].parameters.set("fisher", Node::text(ingredients.fishers[i]));
    return config;
  }
  std::vector<std::string> paths;
  std::vector<Node> used;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i].is_scalar() && weights[i].try_double() == 0.0) continue;
    paths.push_back(ingredients.paths[i]);
    used.push_back(std::move(weights[i]));
  }
  return merge::mean_config(paths, std::move(used));
}

merge::ExecuteReport write_blend(const Ingredients& ingredients, const Groups& groups, const Blend& blend,
                                 const merge::ExecuteOptions& options, Progress& progress) {
  const auto setting = [&](std::size_t i) {
    if (blend.rows.size() == 1) return Node::number(blend.rows.front()[i]);
    Node entries = Node::list();
    for (const Groups::Member& member : groups.members)
      entries.push(Node::map({{"tensor", Node::text(member.tensor)},
                              {"value", Node::number(blend.rows[static_cast<std::size_t>(member.group)][i])}}));
    return entries;
  };
  std::vector<Node> weights;
  for (std::size_t i = 0; i < ingredients.paths.size(); ++i)
    weights.push_back(blend.reach()[i] == 0 ? Node::number(0) : setting(i));
  merge::MergeConfig config = blend_config(ingredients, std::move(weights));
  config.text = merge::config_yaml(config);
  merge::Plan plan = merge::make_plan(std::move(config), {.single_file = checkpoint::is_single_file(options.out)});
  for (const std::string& line : plan.warnings) progress.warn(line);
  return merge::execute(plan, options, progress);
}

Evaluator::Evaluator(const Ingredients& ingredients, Cache& cache, EvaluatorOptions options, Progress& progress,
                     Groups groups)
    : ingredients_(ingredients),
      groups_(std::move(groups)),
      scorer_(cache, std::move(options), ingredients.folders, progress) {
  for (const auto& model : ingredients_.models) hashes_.push_back(hash_of_model(model, cache));
  for (const std::string& path : ingredients_.fishers) fisher_hashes_.push_back(cache.hash(path));
}

std::string Evaluator::key_of(const Blend& blend) const {
  Hasher hasher;
  hasher.add(scorer_.context_hash());
  if (!fisher_hashes_.empty()) {
    hasher.add("fisher").add(hashes_.front());  // the target counts even where its weight is 0
    for (const std::string& hash : fisher_hashes_) hasher.add(hash);
  }
  if (blend.rows.size() > 1) hasher.add("groups").add(groups_.hash());
  for (const Mix& mix : blend.rows) {
    const std::vector<double> weights = normalized(mix);
    if (blend.rows.size() > 1) hasher.add("row");
    for (std::size_t i = 0; i < mix.size(); ++i)
      if (mix[i] != 0) hasher.add(hashes_[i]).add(exact_text(weights[i]));
  }
  return hasher.hex();
}

Evaluation Evaluator::operator()(const Blend& given) {
  const Blend blend = given.simplest();
  const Mix mix = blend.reach();
  std::size_t members = 0, member = 0;
  for (std::size_t i = 0; i < mix.size(); ++i)
    if (mix[i] != 0) {
      ++members;
      member = i;
    }
  const std::string key = key_of(blend), name = ingredients_.name_of(mix);
  // Where the weight of a Fisher merge lies on one model alone, it is that model if it is the target.
  const bool alone = members == 1 && (ingredients_.fishers.empty() || member == 0);
  const bool as_it_is = alone && !checkpoint::is_remote(ingredients_.paths[member]) &&
                        (ingredients_.folders || checkpoint::is_single_file(ingredients_.paths[member]));
  if (as_it_is) return scorer_.existing(key, name, ingredients_.paths[member]);
  return scorer_.made(key, name, [&](const std::string& path) {
    write_blend(
        ingredients_, groups_, blend,
        {.out = path, .threads = scorer_.options().threads, .memory = scorer_.options().memory, .model_card = false},
        no_progress());
  });
}

}  // namespace solera::soup
