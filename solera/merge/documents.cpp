#include "solera/merge/documents.h"

#include <algorithm>
#include <memory>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/merge/output_files.h"
#include "solera/merge/staging.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;

std::string part_path(const std::string& parts, const std::string& name) { return join_path(parts, name); }
std::string stamp_path(const std::string& parts, const std::string& name) {
  return cat(part_path(parts, name), ".plan");
}

bool is_plain_name(const std::string& name) {
  return !name.starts_with('.') && name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

std::vector<std::string> references(const MergeConfig& config) {
  std::vector<std::string> names = {config.base_model};
  for (const ModelEntry& entry : config.models) names.push_back(entry.path);
  for (const SliceEntry& slice : config.slices) {
    names.push_back(slice.base_model);
    for (const ModelEntry& entry : slice.sources) names.push_back(entry.path);
  }
  return names;
}

bool uses(const MergeConfig& config, const std::string& name) {
  const std::vector<std::string> names = references(config);
  return std::find(names.begin(), names.end(), name) != names.end();
}

void require_names(const std::vector<MergeConfig>& configs, const std::string& file) {
  const MergeConfig* unnamed = nullptr;
  for (std::size_t i = 0; i < configs.size(); ++i) {
    const MergeConfig& config = configs[i];
    if (config.name.empty()) {
      if (unnamed)
        throw usage_error(cat("two documents have no name, this and that at ", unnamed->file), config.file,
                          "give a `name` to all but the one that makes the output");
      unnamed = &config;
      continue;
    }
    if (!is_plain_name(config.name))
      throw usage_error(cat("the name \"", config.name, "\" of a document is no file name"), config.file);
    for (std::size_t k = 0; k < i; ++k)
      if (configs[k].name == config.name)
        throw usage_error(cat("two documents are called \"", config.name, "\", this and that at ", configs[k].file),
                          config.file);
  }
  if (!unnamed)
    throw usage_error(cat("all ", configs.size(), " documents have a name"), file,
                      "remove the `name` of the one that makes the output");
}

// Each after those that it uses, otherwise as in the file; the output last.
std::vector<MergeConfig> in_order(std::vector<MergeConfig> configs) {
  std::vector<MergeConfig> done;
  while (!configs.empty()) {
    const auto ready = std::find_if(configs.begin(), configs.end(), [&](const MergeConfig& config) {
      if (config.name.empty()) return configs.size() == 1;
      return std::none_of(configs.begin(), configs.end(),
                          [&](const MergeConfig& other) { return !other.name.empty() && uses(config, other.name); });
    });
    if (ready == configs.end())
      throw usage_error(cat("the documents \"", configs.front().name.empty() ? configs[1].name : configs.front().name,
                            "\" and those that it uses need each other"),
                        configs.front().file, "none of them can be made first");
    done.push_back(std::move(*ready));
    configs.erase(ready);
  }
  return done;
}

// The output of a plan as if it were there; its tensors cannot be read. `files` has what is new of its tokenizer.
struct StandIn {
  std::unique_ptr<TemporaryFolder> files;
  std::unique_ptr<Checkpoint> model;
};

std::shared_ptr<const Checkpoint> stand_in(const Plan& plan, const std::string& path) {
  const Checkpoint& donor = *plan.models[static_cast<std::size_t>(plan.donor)];
  auto result = std::make_shared<StandIn>();
  Checkpoint::Parts parts;
  parts.path = path;
  parts.folder = donor.is_folder() ? donor.folder() : path;
  parts.is_folder = true;
  if (plan.tokenizer) {
    result->files = std::make_unique<TemporaryFolder>();
    parts.folder = result->files->path();
    write_tokenizer(*plan.tokenizer, *plan.models[plan.tokenizer->donor], parts.folder);
  }
  const auto source = checkpoint::memory_source(join_path(path, "model.safetensors"), {});
  for (const checkpoint::TensorInfo& info : plan.layout.tensors) {
    Tensor tensor;
    static_cast<checkpoint::TensorInfo&>(tensor) = info;
    tensor.source = source;
    parts.tensors.push_back(std::move(tensor));
  }
  parts.config = output_config(plan);
  result->model = std::make_unique<Checkpoint>(std::move(parts));
  const Checkpoint* model = result->model.get();
  return {std::move(result), model};
}

PlanOptions of_part(PlanOptions options, bool last) {
  options.single_file = options.single_file && last;
  return options;
}

// Makes a named document's model, unless an earlier call has.
void make_part(Plan& plan, ExecuteOptions options, const std::string& parts, Progress& progress) {
  const std::string name = plan.config.name, stamp = stamp_path(parts, name), hash = plan.hash();
  options.out = part_path(parts, name);
  if (exists(stamp) && exists(options.out) && !options.restart && trim(read_file(stamp, 4096)) == hash) {
    progress.note(cat(name, ": is there already, in ", options.out));
    return;
  }
  // The stamp is there before its model is: what has none is somebody else's.
  if (exists(options.out) && !exists(stamp))
    throw usage_error(cat(options.out, " is there and was not made for this file"), "",
                      "remove it, or let --parts name another folder");
  options.force = true;
  make_folders(parts);
  write_atomically(stamp, "unfinished\n");
  execute(plan, options, progress);
  write_atomically(stamp, hash + "\n");
}

void remove_parts(const std::vector<std::string>& names, const std::string& parts) {
  for (const std::string& name : names) {
    remove_all(part_path(parts, name));
    remove_all(stamp_path(parts, name));
  }
  if (is_folder(parts) && list_folder(parts).empty()) remove_all(parts);
}

}  // namespace

std::vector<MergeConfig> read_merge_configs(const std::string& path) {
  const std::string text = read_file(path);
  std::vector<Node> documents = parse_yaml_stream(text, path);
  std::erase_if(documents, [](const Node& node) { return node.is_null(); });
  if (documents.size() <= 1) return {read_merge_config(path)};
  std::vector<MergeConfig> configs;
  for (const Node& document : documents) {
    MergeConfig config = parse_merge_config(document);
    config.file = document.where();
    config.folder = parent_folder(path);
    config.text = config.name.empty() ? text : to_yaml(document);
    configs.push_back(std::move(config));
  }
  require_names(configs, path);
  return in_order(std::move(configs));
}

std::string parts_of(const std::string& out) {
  std::string parts = staging_of(out);
  parts.resize(parts.rfind('.'));
  return parts + ".parts";
}

std::vector<Plan> plan_documents(const std::vector<MergeConfig>& configs, const PlanOptions& options,
                                 const std::string& parts) {
  std::vector<Plan> plans;
  std::map<std::string, MadeModel> made;
  for (std::size_t i = 0; i < configs.size(); ++i) {
    const bool last = i + 1 == configs.size();
    MergeConfig config = configs[i];
    config.made = made;
    if (!last && std::none_of(configs.begin() + static_cast<std::ptrdiff_t>(i), configs.end(),
                              [&](const MergeConfig& other) { return uses(other, config.name); }))
      config.notes.push_back(cat("no document uses \"", config.name, "\""));
    plans.push_back(make_plan(std::move(config), of_part(options, last)));
    if (last) break;
    const std::string path = part_path(parts, configs[i].name);
    made[configs[i].name] = {path, stand_in(plans.back(), path)};
  }
  return plans;
}

ExecuteReport execute_documents(std::vector<Plan> plans, const PlanOptions& plan_options, const ExecuteOptions& options,
                                const std::string& parts, bool keep, Progress& progress) {
  if (plans.size() == 1) return execute(plans.front(), options, progress);
  if (options.of > 1)
    throw usage_error(cat("a file of ", plans.size(), " documents is merged by one process"), "",
                      "merge each document by itself, or leave --rank out (--of 1 under a launcher)");
  if (!exists(staging_of(options.out))) checkpoint::require_writable(options.out, options.force, {});
  if (options.on_start) options.on_start();
  ExecuteOptions each = options;
  each.on_start = nullptr;  // once for all
  std::vector<std::string> names;
  ExecuteReport report;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const bool last = i + 1 == plans.size();
    MergeConfig config = std::move(plans[i].config);
    for (auto& [name, model] : config.made) model.planned = nullptr;  // it is there now
    Plan plan = make_plan(std::move(config), of_part(plan_options, last));
    if (last) {
      report = execute(plan, each, progress);
    } else {
      make_part(plan, each, parts, progress);
      names.push_back(plan.config.name);
    }
  }
  if (!keep) remove_parts(names, parts);
  return report;
}

}  // namespace solera::merge
