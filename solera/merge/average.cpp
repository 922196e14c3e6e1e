#include "solera/merge/average.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <set>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/remote.h"
#include "solera/merge/names.h"
#include "solera/weights/pass.h"
#include "solera/weights/vector.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Tensor;

// Unrelated heads are sqrt 2 of their norm apart; heads of one initialization stay well below after a share of a
// fine-tuning run.
constexpr double kUnrelatedHeads = 0.8;

constexpr std::string_view kModelEndings[] = {".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".npz"};
// What trainers put beside the weights.
constexpr std::string_view kNotModels[] = {"optimizer", "scheduler",     "scaler",
                                           "rng_state", "training_args", "trainer_state"};

std::optional<std::string> stem_of_model_file(const std::string& name) {
  for (const std::string_view ending : kModelEndings)
    if (name.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  return std::nullopt;
}

bool is_snapshot_file(const std::string& name) {
  static const std::regex shard("-[0-9]+-of-[0-9]+$");
  const auto stem = stem_of_model_file(name);
  if (!stem || std::regex_search(*stem, shard)) return false;
  return std::none_of(std::begin(kNotModels), std::end(kNotModels),
                      [&](std::string_view other) { return stem->starts_with(other); });
}

bool is_adapter_folder(const std::string& path) {
  return exists(join_path(path, "adapter_config.json")) || exists(join_path(path, "adapter_model.safetensors"));
}

bool is_model_folder(const std::string& path) {
  if (!is_folder(path)) return false;
  const auto names = list_folder(path);
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
           name.starts_with("pytorch_model.bin") || name == "adapter_config.json";
  });
}

// "a", "a and b", "a, b and 3 more"
std::string some_of(const std::vector<std::string>& names, std::size_t limit = 5) {
  if (names.size() > limit)
    return cat(join(std::span(names).first(limit), ", "), " and ", names.size() - limit, " more");
  if (names.size() == 1) return names.front();
  return cat(join(std::span(names).first(names.size() - 1), ", "), " and ", names.back());
}

[[noreturn]] void refuse_adapter(const std::string& label) {
  throw input_error(cat(label, " is a LoRA adapter: the average of its A and of its B is not the average of B A"), "",
                    "merge each adapter into its base model, then average the results");
}

std::unique_ptr<Checkpoint> open_snapshot(const Snapshot& snapshot) {
  if (is_folder(snapshot.path) && is_adapter_folder(snapshot.path)) refuse_adapter(snapshot.label);
  auto model = std::make_unique<Checkpoint>(checkpoint::open_checkpoint(snapshot.path));
  for (const Tensor& tensor : model->tensors())
    if (tensor.name.find("lora_A") != std::string::npos || tensor.name.find("lora_B") != std::string::npos)
      refuse_adapter(snapshot.label);
  return model;
}

// The files of a model, all of their bytes or a few looks at each: two models that differ in a look differ.
std::string fingerprint(const Checkpoint& model, bool whole) {
  constexpr std::uint64_t kLooks = 16, kLook = 4096;
  Hasher hasher;
  std::vector<std::byte> scratch;
  for (const checkpoint::FileIdentity& file : model.files()) {
    hasher.add(file.size);
    if (whole) {
      hasher.add(hash_file(file.path));
      continue;
    }
    const auto source = checkpoint::open_file(file.path);
    for (std::uint64_t look = 0; look < kLooks; ++look) {
      const std::uint64_t from = file.size / kLooks * look;
      hasher.add(hash_bytes(source->view(from, std::min(kLook, file.size - from), scratch)));
    }
  }
  return hasher.hex();
}

void warn_of_duplicates(const std::vector<std::unique_ptr<Checkpoint>>& models, std::span<const std::string> labels,
                        std::vector<std::string>& warnings) {
  std::map<std::string, std::vector<std::size_t>> alike;
  for (std::size_t i = 0; i < models.size(); ++i) alike[fingerprint(*models[i], false)].push_back(i);
  std::map<std::size_t, std::string> lines;  // in the order of the snapshots
  for (const auto& [looks, group] : alike) {
    if (group.size() < 2) continue;
    std::map<std::string, std::vector<std::string>> equal;
    std::map<std::string, std::size_t> first;
    for (const std::size_t i : group) {
      const std::string hash = fingerprint(*models[i], true);
      first.emplace(hash, i);
      equal[hash].push_back(labels[i]);
    }
    for (const auto& [hash, names] : equal)
      if (names.size() > 1)
        lines[first[hash]] =
            cat(some_of(names), " have the same content; the average counts it ", names.size(), " times");
  }
  for (auto& [at, line] : lines) warnings.push_back(std::move(line));
}

struct Distance {
  weights::LaneSum aa, ab, bb;
  void merge(const Distance& right) {
    for (std::size_t i = 0; i < aa.lanes.size(); ++i) {
      aa.lanes[i] += right.aa.lanes[i];
      ab.lanes[i] += right.ab.lanes[i];
      bb.lanes[i] += right.bb.lanes[i];
    }
  }
  double value() const {  // relative to the norms
    const double a = aa.total(), b = bb.total();
    if (a == 0 && b == 0) return 0;
    return std::sqrt(std::max(0.0, a + b - 2 * ab.total()) / std::max(std::sqrt(a) * std::sqrt(b), 1e-300));
  }
};

bool is_head(const std::string& name, std::span<const Pattern> heads) {
  if (!heads.empty()) return selected(name, heads, {});
  // Beyond the language models' heads, those of vision networks: torchvision's fc, the CIFAR networks' linear.
  return !head_module(name).empty() || name_facts(name).role == Role::kHead || name.starts_with("fc.") ||
         name.starts_with("linear.");
}

void require_common_heads(std::span<const Checkpoint* const> first, std::span<const std::string> labels,
                          std::span<const Pattern> heads, Pool& pool) {
  weights::Engine engine;
  engine.pool = &pool;
  bool found = false;
  for (const Tensor& tensor : first.front()->tensors()) {
    if (!checkpoint::is_float(tensor.dtype) || tensor.elements() == 0 || !is_head(tensor.name, heads)) continue;
    found = true;
    if (tensor.shape.size() < 2) continue;  // biases are small and start at zero: their relative distance says nothing
    for (std::size_t r = 1; r < first.size(); ++r) {
      const std::vector<weights::Operand> operands = {{first[0], &tensor, std::nullopt, labels[0]},
                                                      {first[r], &first[r]->at(tensor.name), std::nullopt, labels[r]}};
      const double distance =
          weights::reduce<float, Distance>(engine, operands, [](const weights::Tile<float>& t, Distance& d) {
            d.aa.add_product(t[0], t[0], t.count);
            d.ab.add_product(t[0], t[1], t.count);
            d.bb.add_product(t[1], t[1], t.count);
          }).value();
      if (distance >= kUnrelatedHeads)
        throw input_error(cat("the heads of the runs differ: ", tensor.name, " of ", labels[0], " and of ", labels[r],
                              " are ", number_text(distance, 3), " of their norm apart"),
                          "",
                          "train the runs from one initialization with a common, frozen head, or add "
                          "--allow-different-heads");
    }
  }
  if (!found && !heads.empty()) throw usage_error(cat("--head '", heads.front().text(), "' matches no tensor"));
}

void require_options(const AverageOptions& options) {
  if (options.runs.empty()) throw usage_error("no folder of snapshots is given");
  if (!(options.start >= 0 && options.start < 1))
    throw usage_error(cat("start is ", exact_text(options.start), ", not in [0, 1)"));
  if (options.last < 0) throw usage_error(cat("last is ", options.last, ", less than 1"));
  if (!options.last_of_each) return;
  const std::string_view other = options.last > 0                          ? "last"
                                 : options.start > 0                       ? "start"
                                 : options.weighting == Weighting::kEma    ? "ema"
                                 : options.weighting == Weighting::kLinear ? "weights linear"
                                                                           : "";
  if (!other.empty())
    throw usage_error(cat("runs last keeps one snapshot of each run, so ", other, " has nothing to choose from"));
}

std::vector<Snapshot> chosen_of(std::vector<Snapshot> all, const AverageOptions& options, const std::string& folder) {
  const auto n = static_cast<std::int64_t>(all.size());
  if (options.last_of_each) return {all.back()};
  all.erase(all.begin(), all.begin() + floor_count(options.start, n));
  if (options.last > static_cast<int>(all.size()))
    throw usage_error(cat("last is ", options.last, ", but ", folder, " has ", all.size(), " snapshots",
                          options.start > 0 ? " after start" : ""));
  if (options.last > 0) all.erase(all.begin(), all.end() - options.last);
  return all;
}

std::vector<double> ramp_of(const AverageOptions& options, int n) {
  std::vector<double> weights(static_cast<std::size_t>(n), 1.0);
  if (options.weighting == Weighting::kLinear) std::iota(weights.begin(), weights.end(), 1.0);
  if (options.weighting == Weighting::kEma)
    for (int s = 0; s < n; ++s)
      weights[static_cast<std::size_t>(s)] = std::pow(options.decay, n - 1 - s) * (s > 0 ? 1 - options.decay : 1.0);
  return weights;
}

std::vector<double> explicit_weights(const AverageOptions& options, std::span<const int> counts) {
  const std::vector<double>& given = options.weights;
  for (const double w : given)
    if (!(w >= 0 && std::isfinite(w))) throw usage_error(cat("weight ", exact_text(w), " is not a finite number >= 0"));
  if (std::accumulate(given.begin(), given.end(), 0.0) <= 0) throw usage_error("the weights sum to zero");
  const auto size = static_cast<int>(given.size());
  if (size == std::accumulate(counts.begin(), counts.end(), 0)) return given;
  std::vector<double> weights;
  for (const int n : counts) {
    if (n != size) {
      std::vector<std::string> each;
      for (const int m : counts) each.push_back(std::to_string(m));
      throw usage_error(cat(size, " weights for ", join(each, " + "), " snapshots"), "",
                        "give one for each snapshot that is averaged");
    }
    weights.insert(weights.end(), given.begin(), given.end());
  }
  return weights;
}

}  // namespace

MergeConfig mean_config(std::span<const std::string> paths, std::span<const double> weights) {
  std::vector<Node> nodes;
  for (const double weight : weights) nodes.push_back(Node::number(weight));
  return mean_config(paths, std::move(nodes));
}

MergeConfig mean_config(std::span<const std::string> paths, std::vector<Node> weights) {
  MergeConfig config;
  config.method = "linear";
  config.rules = Rules::kPaper;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    ModelEntry entry;
    entry.path = paths[i];
    entry.parameters.set("weight", std::move(weights[i]));
    config.models.push_back(std::move(entry));
  }
  return config;
}

void require_same_tensors(std::span<const Checkpoint* const> models, std::span<const std::string> labels) {
  const Checkpoint& first = *models.front();
  for (std::size_t i = 1; i < models.size(); ++i) {
    const auto missing = [](const Checkpoint& from, const Checkpoint& in) {
      std::vector<std::string> names;
      for (const Tensor& tensor : from.tensors())
        if (!in.find(tensor.name)) names.push_back(tensor.name);
      return names;
    };
    if (const auto lacks = missing(first, *models[i]); !lacks.empty())
      throw input_error(cat(labels[i], " lacks ", some_of(lacks), ", which ", labels[0], " has"));
    if (const auto extra = missing(*models[i], first); !extra.empty())
      throw input_error(cat(labels[i], " has ", some_of(extra), ", which ", labels[0], " lacks"));
    for (const Tensor& tensor : models[i]->tensors()) {
      const Tensor& other = first.at(tensor.name);
      if (tensor.shape != other.shape)
        throw input_error(cat(labels[i], ": ", tensor.name, " is ", shape_text(tensor.shape), ", ", labels[0], " has ",
                              shape_text(other.shape)));
      if (checkpoint::is_float(tensor.dtype) != checkpoint::is_float(other.dtype))
        throw input_error(cat(labels[i], ": ", tensor.name, " is ", checkpoint::name(tensor.dtype), ", ", labels[0],
                              " has ", checkpoint::name(other.dtype)),
                          "", "floats and integers cannot be averaged");
    }
  }
}

std::optional<std::int64_t> step_of(std::string_view name) {
  const std::string text(name);
  for (const char* word : {"steps?", "iter(?:ation)?s?", "updates?", "(?:checkpoint|ckpt)", "epochs?"}) {
    const std::regex rule(cat(word, "[-_=. ]*([0-9]+)"), std::regex::icase);
    std::smatch match;
    if (std::regex_search(text, match, rule)) return parse_int(match[1].str());
  }
  // Not the digits of a decimal fraction, which is a loss or a rate.
  static const std::regex whole("(?:^|[^0-9.]|[^0-9]\\.)([0-9]+)(?!\\.?[0-9])");
  std::optional<std::int64_t> last;
  for (std::sregex_iterator it(text.begin(), text.end(), whole), end; it != end; ++it) last = parse_int((*it)[1].str());
  return last;
}

std::vector<Snapshot> find_snapshots(const std::string& folder, std::vector<std::string>& warnings) {
  if (checkpoint::is_remote(folder))
    throw usage_error(cat(folder, " is on a server, which does not list a run's snapshots"), "",
                      "average single models with solera soup --method uniform");
  if (!exists(folder)) throw missing_file(folder);
  if (!is_folder(folder))
    throw usage_error(cat(folder, " is a file, not a folder of snapshots"), "",
                      "give the folder of a run, or average single models with solera soup --method uniform");
  std::vector<std::string> folders, files, unnumbered;
  for (const std::string& name : list_folder(folder)) {
    if (is_model_folder(join_path(folder, name)))
      folders.push_back(name);
    else if (!is_folder(join_path(folder, name)) && is_snapshot_file(name))
      files.push_back(name);
  }
  const auto step = [](const std::string& name) { return step_of(stem_of_model_file(name).value_or(name)); };
  const bool by_folder =
      std::any_of(folders.begin(), folders.end(), [&](const auto& name) { return step(name).has_value(); });
  std::vector<Snapshot> snapshots;
  for (const std::string& name : by_folder ? folders : files) {
    if (const auto number = step(name))
      snapshots.push_back({join_path(folder, name), name, *number, 0});
    else
      unnumbered.push_back(name);
  }
  if (snapshots.empty()) {
    if (is_adapter_folder(folder)) refuse_adapter(folder);
    throw input_error(cat(folder, " holds no snapshots with a step number in their names"), "",
                      "snapshots are model files or folders such as step-100.safetensors or checkpoint-100");
  }
  if (!unnumbered.empty())
    warnings.push_back(cat(folder, ": ", some_of(unnumbered), " left out: no step number in the name"));
  std::stable_sort(snapshots.begin(), snapshots.end(),
                   [](const Snapshot& a, const Snapshot& b) { return a.step < b.step; });
  for (std::size_t i = 1; i < snapshots.size(); ++i)
    if (snapshots[i].step == snapshots[i - 1].step)
      throw input_error(
          cat(snapshots[i - 1].label, " and ", snapshots[i].label, " are both of step ", snapshots[i].step), folder,
          "keep one of them");
  return snapshots;
}

std::vector<std::int64_t> snapshot_steps(std::int64_t total_steps, std::int64_t count) {
  if (count < 1) throw usage_error(cat(count, " snapshots, less than 1"));
  if (count > total_steps) throw usage_error(cat(count, " snapshots of ", total_steps, " steps"));
  std::vector<std::int64_t> steps;
  // round(i T / k) = floor((2 i T + k) / (2 k)), with i T / k split to stay in range.
  for (std::int64_t i = 1; i <= count; ++i) {
    const std::int64_t whole = total_steps / count * i, rest = total_steps % count * i;
    steps.push_back(whole + (2 * rest + count) / (2 * count));
  }
  return steps;
}

std::vector<double> average_weights(const AverageOptions& options, std::span<const int> counts) {
  if (options.weighting == Weighting::kEma && !(options.decay >= 0 && options.decay < 1))
    throw usage_error(cat("ema is ", exact_text(options.decay), ", not in [0, 1)"));
  if (options.weighting == Weighting::kExplicit) return explicit_weights(options, counts);
  const bool equal_runs = std::all_of(counts.begin(), counts.end(), [&](int n) { return n == counts.front(); });
  std::vector<double> weights;
  for (const int n : counts) {
    std::vector<double> ramp = ramp_of(options, n);
    if (!equal_runs && options.weighting != Weighting::kUniform) {
      const double sum = std::accumulate(ramp.begin(), ramp.end(), 0.0);
      for (double& w : ramp) w *= n / sum;
    }
    weights.insert(weights.end(), ramp.begin(), ramp.end());
  }
  return weights;
}

Average plan_average(const AverageOptions& options, Pool& pool) {
  require_options(options);
  Average average;
  std::vector<int> counts;
  std::vector<Snapshot> firsts;
  for (std::size_t r = 0; r < options.runs.size(); ++r) {
    for (std::size_t other = 0; other < r; ++other)
      if (same_file(options.runs[r], options.runs[other]))
        throw usage_error(cat(options.runs[other], " and ", options.runs[r], " are the same folder"));
    std::vector<Snapshot> run = find_snapshots(options.runs[r], average.warnings);
    for (Snapshot& snapshot : run) {
      snapshot.run = static_cast<int>(r);
      if (options.runs.size() > 1) snapshot.label = snapshot.path;
    }
    firsts.push_back(run.front());
    run = chosen_of(std::move(run), options, options.runs[r]);
    counts.push_back(static_cast<int>(run.size()));
    average.snapshots.insert(average.snapshots.end(), run.begin(), run.end());
  }
  average.weights = average_weights(options, counts);

  std::vector<std::unique_ptr<Checkpoint>> models;
  std::vector<const Checkpoint*> views;
  std::vector<std::string> labels;
  for (const Snapshot& snapshot : average.snapshots) {
    models.push_back(open_snapshot(snapshot));
    views.push_back(models.back().get());
    labels.push_back(snapshot.label);
  }
  if (models.size() == 1)
    average.warnings.push_back(cat(labels.front(), " is the only snapshot: the result is a copy of it"));
  require_same_tensors(views, labels);
  if (options.runs.size() > 1 && !options.different_heads) {
    std::vector<std::unique_ptr<Checkpoint>> opened;
    std::vector<const Checkpoint*> first;
    std::vector<std::string> names;
    for (const Snapshot& snapshot : firsts) {
      opened.push_back(open_snapshot(snapshot));
      first.push_back(opened.back().get());
      names.push_back(snapshot.label);
    }
    require_same_tensors(first, names);
    require_common_heads(first, names, options.heads, pool);
  }
  warn_of_duplicates(models, labels, average.warnings);

  // The last snapshot goes first: it donates what is not averaged.
  std::vector<std::string> paths;
  std::vector<double> weights;
  for (std::size_t i = average.snapshots.size(); i-- > 0;) {
    paths.push_back(average.snapshots[i].path);
    weights.push_back(average.weights[i]);
  }
  average.config = mean_config(paths, weights);
  return average;
}

}  // namespace solera::merge
