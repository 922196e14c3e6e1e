#include "tests/merge/random_tree.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "solera/base/text.h"
#include "solera/checkpoint/statistics.h"
#include "solera/merge/methods.h"
#include "tests/merge/reference.h"
#include "tests/support/support.h"

namespace solera::merge::random {

using checkpoint::DType;
using reference::Vector;

namespace {

std::string yaml_map(const Level& level, const std::map<std::string, std::string>& plain = {}) {
  std::vector<std::string> texts;
  for (const auto& [name, setting] : level) texts.push_back(name + ": " + setting.yaml());
  for (const auto& [name, text] : plain) texts.push_back(name + ": " + text);
  return "{" + join(texts, ", ") + "}";
}

double choice_number(const Field& field, const std::string& text) {
  const auto choices = field.choices();
  return static_cast<double>(std::find(choices.begin(), choices.end(), text) - choices.begin());
}

}  // namespace

bool is_boolean(const Field& field) { return std::holds_alternative<bool*>(field.target); }

double Dice::step(double low, double high, double step) {
  return std::round(1e6 * (low + step * between(0, static_cast<int>(std::llround((high - low) / step))))) / 1e6;
}

std::string Setting::yaml() const {
  const auto value = [](const Entry& entry) {
    std::vector<std::string> texts;
    for (const double v : entry.values) texts.push_back(number_text(v));
    return texts.size() == 1 ? texts[0] : "[" + join(texts, ", ") + "]";
  };
  if (entries.size() == 1 && entries[0].filter.empty()) return value(entries[0]);
  std::vector<std::string> texts;
  for (const Entry& entry : entries)
    texts.push_back(entry.filter.empty() ? "{value: " + value(entry) + "}"
                                         : "{filter: " + entry.filter + ", value: " + value(entry) + "}");
  return "[" + join(texts, ", ") + "]";
}

std::optional<double> Setting::at(const std::string& name, double t) const {
  for (const Entry& entry : entries) {
    if (name.find(entry.filter) == std::string::npos) continue;
    const std::vector<double>& v = entry.values;
    const double place = t * static_cast<double>(v.size() - 1);
    const std::size_t left = std::min(v.size() - 1, static_cast<std::size_t>(place));
    const std::size_t right = std::min(v.size() - 1, left + 1);
    const double part = place - static_cast<double>(left);
    return (1 - part) * v[left] + part * v[right];
  }
  return std::nullopt;
}

double Document::default_of(const Field& field) const {
  const std::string text = !paper && field.mergekit_default ? *field.mergekit_default : field.default_text();
  if (!field.choices().empty()) return choice_number(field, text);
  return text == "true" ? 1 : text == "false" ? 0 : Node::text(text).as_double();
}

double Document::value(const Field& field, const std::vector<const Level*>& levels, const std::string& tensor,
                       double t) const {
  if (const auto given = choices.find(field.name); given != choices.end())
    return is_boolean(field) ? given->second == "true" : choice_number(field, given->second);
  for (const Level* one : levels)
    if (const auto setting = one->find(field.name); setting != one->end())
      if (const auto found = setting->second.at(tensor, t)) return *found;
  return default_of(field);
}

bool Document::chosen(const std::string& parameter, const std::string& choice) const {
  for (const Field& field : method->parameters())
    if (field.name == parameter)
      return value(field, {}, "", 0) == (choice == "true" ? 1 : choice_number(field, choice));
  return false;
}

bool Document::any_sign() const {
  return (method->name == "ties" || method->name == "task_arithmetic" || method->name.starts_with("breadcrumbs")) &&
         !chosen("normalize", "true");
}

bool Document::whole_model(const Field& field) const { return field.of_group && chosen("granularity", "model"); }

Tree::Tree(std::uint64_t seed, const TemporaryFolder& folder) : dice_(seed), folder_(folder) {
  size_ = {dice_.between(3, 40), dice_.between(2, 24), dice_.between(1, 60)};  // vectors of one entry can cancel
  if (dice_.chance(0.1)) size_ = {dice_.between(50, 120), dice_.between(30, 90), dice_.between(50, 150)};
  smooth_ = dice_.chance(0.6);
  const int leaves = dice_.between(4, 5), layers = dice_.between(1, 4), documents = dice_.between(1, 4);
  for (int m = 0; m < leaves; ++m) write_leaf(m, layers);
  for (int d = 0; d < documents; ++d) {
    Document document = draw_document(d + 1 == documents ? "" : cat("part", d));
    if (!document.name.empty())
      models_.push_back({document.name, folder_ / ("parts/" + document.name), document.layers});
    documents_.push_back(std::move(document));
  }
}

std::string Tree::yaml() const {
  std::string text;
  for (const Document& document : documents_) text += (text.empty() ? "" : "---\n") + text_of(document);
  return text;
}

ExecuteOptions Tree::draw_execution() {
  ExecuteOptions options;
  options.out = folder_ / "out";
  options.force = true;
  options.threads = dice_.between(1, 3);
  options.block = dice_.one<std::int64_t>({16, 100, 4096});
  options.blocks_per_chunk = dice_.between(1, 5);
  return options;
}

std::string Tree::output(const Document& document) const {
  return document.name.empty() ? folder_ / "out" : folder_ / ("parts/" + document.name);
}

const std::vector<std::string>& Tree::layer_parts() {
  static const std::vector<std::string> parts = {"input_layernorm.weight", "mlp.up_proj.weight",
                                                 "self_attn.q_proj.weight"};
  return parts;
}

std::map<std::string, checkpoint::Shape> Tree::shapes(int layers) const {
  std::map<std::string, checkpoint::Shape> shapes = {{"model.embed_tokens.weight", {size_.vocabulary, size_.hidden}},
                                                     {"model.norm.weight", {size_.hidden}},
                                                     {"lm_head.weight", {size_.vocabulary, size_.hidden}}};
  const std::vector<checkpoint::Shape> of_layer = {
      {size_.hidden}, {size_.inner, size_.hidden}, {size_.hidden, size_.hidden}};
  for (int l = 0; l < layers; ++l)
    for (std::size_t p = 0; p < of_layer.size(); ++p)
      shapes[cat("model.layers.", l, ".", layer_parts()[p])] = of_layer[p];
  return shapes;
}

void Tree::write_leaf(int m, int layers) {
  const std::string name = cat("leaf", m);
  std::vector<checkpoint::NamedBytes> tensors, measured = {test::tensor("n", DType::kI64, {}, {10})};
  const DType type = dice_.one<DType>({DType::kF32, DType::kF32, DType::kBF16, DType::kF16});
  for (const auto& [tensor, shape] : shapes(layers)) {
    const RandomStream base({.seed = 1, .purpose = "base", .name = tensor});
    const RandomStream own({.seed = static_cast<std::uint64_t>(dice_.below(1 << 30)), .purpose = "own"});
    const double scale = dice_.one<double>({0, 0.01, 0.1, 0.1, 1});
    Vector values(static_cast<std::size_t>(checkpoint::element_count(shape))), fisher(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double change = own.bernoulli(4 * i, 0.8) ? scale * own.normal(4 * i + 1) : 0;
      values[i] =
          smooth_ ? base.normal(i) + change : std::round(64 * base.normal(i)) / 64 + std::round(256 * change) / 256;
      fisher[i] = own.bernoulli(4 * i + 2, 0.7) ? std::abs(own.normal(4 * i + 3)) : 0;
    }
    tensors.push_back(test::tensor(tensor, type, shape, values));
    measured.push_back(test::tensor(tensor + ".fisher", DType::kF32, shape, fisher));
    const std::int64_t in = checkpoint::input_features(shape);
    if (in == 0 || tensor.find("embed") != std::string::npos) continue;
    const auto n = static_cast<std::size_t>(in);
    Vector gram(n * n);  // of two vectors and the identity
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        gram[i * n + j] = (i == j) + own.normal(i) * own.normal(j) + own.normal(n + i) * own.normal(n + j);
    measured.push_back(test::tensor(tensor + ".gram", DType::kF32, {in, in}, gram));
  }
  make_folders(folder_ / name);
  test::write_model(folder_ / (name + "/model.safetensors"), tensors);
  test::write_model(statistics(m), measured);
  models_.push_back({folder_ / name, folder_ / name, layers});
  ++leaves_;
}

std::string Tree::statistics(int leaf) const { return folder_ / cat("statistics", leaf, ".safetensors"); }

Document Tree::draw_document(const std::string& name) {
  Document document;
  document.name = name;
  std::vector<std::string> offered = reference::methods();
  if (!smooth_) std::erase(offered, "pcb");  // equal scores can fill the share that is kept, which is refused
  const std::string& chosen = dice_.one(offered);
  for (const Method& method : methods())
    if (method.name == chosen) document.method = &method;
  document.paper = dice_.chance(0.2);
  document.types = "dtype: " + dice_.one<std::string>({"float32", "float32", "float64"}) + "\n";
  if (name.empty())
    document.types += dice_.one<std::string>({"", "out_dtype: bfloat16\n", "out_dtype: float16\n"});
  else
    document.types += "out_dtype: float32\n";
  draw_sources(document);
  draw_choices(document);
  draw_parameters(document);
  draw_model_parameters(document);
  return document;
}

// Models of one depth, unless layers are chosen; leaves, of which there are always enough, where those are too few and
// where statistics are read, which have no more layers; and for pcb, which refuses a model that equals the base.
std::vector<std::size_t> Tree::draw_models(const Document& document, std::size_t wanted) {
  const int depth = dice_.one(models_).layers;
  std::vector<std::size_t> usable, picked;
  for (std::size_t i = 0; i < models_.size(); ++i)
    if (document.stacked || models_[i].layers == depth) usable.push_back(i);
  if (usable.size() < wanted || document.method->statistics || document.method->name == "pcb") {
    usable.resize(leaves_);
    std::iota(usable.begin(), usable.end(), 0u);
  }
  while (picked.size() < wanted) {
    const auto at = usable.begin() + dice_.below(static_cast<int>(usable.size()));
    picked.push_back(*at);
    usable.erase(at);
  }
  return picked;
}

void Tree::draw_sources(Document& document) {
  const Method& method = *document.method;
  const bool base = method.base == BasePolicy::kRequired || (method.base == BasePolicy::kOptional && dice_.chance(0.5));
  document.stacked = dice_.chance(0.3);
  const int count = std::max(method.min_models, dice_.between(1, std::min(3, method.max_models)));
  const std::vector<std::size_t> picked = draw_models(document, static_cast<std::size_t>(count + base));
  int least = models_[picked[0]].layers;
  for (const std::size_t i : picked) least = std::min(least, models_[i].layers);
  const int slices = document.stacked ? dice_.between(1, 2) : 1;
  for (int s = 0; s < slices; ++s) {
    SlicePart slice;
    slice.count = document.stacked ? dice_.between(1, least) : least;
    document.layers += slice.count;
    for (const std::size_t i : picked) {
      Source source;
      source.model = i;
      source.first = document.stacked ? dice_.between(0, models_[i].layers - slice.count) : 0;
      base && !slice.base ? void(slice.base = source) : slice.sources.push_back(source);
    }
    document.slices.push_back(std::move(slice));
  }
}

// What a number may be; fields of the same name differ by method.
double Tree::number(const Document& document, const std::string& field) {
  const std::string& method = document.method->name;
  if (field == "weight") return (document.any_sign() && dice_.chance(0.2) ? -1 : 1) * dice_.step(0.125, 2, 0.125);
  if (field == "density" && method == "pcb") return dice_.step(0.35, 1, 0.05);
  if (field == "clamp") return dice_.step(0, 0.04, 0.01);
  if (field == "density" || field == "keep" || field == "select_topk") return dice_.step(0.1, 1, 0.05);
  if (field == "remove") return dice_.step(0, 0.3, 0.02);
  if (field == "lambda" || field == "scale") return dice_.step(-1, 2, 0.05);
  if (field == "alpha") return method.starts_with("breadcrumbs") ? dice_.step(-1, 2, 0.05) : dice_.step(0, 1, 0.05);
  if (field == "t" && method == "nearswap") return dice_.one<double>({0, 0.001, 0.05, 0.3});
  if (field == "t" || field == "r") return dice_.step(0, 1, 0.05);
  if (field == "max_iter") return dice_.between(0, 12);
  if (field == "eps") return 1e-8;
  if (field == "tol" || field == "epsilon") return 1e-5;
  if (field == "floor") return dice_.one<double>({1e-6, 0.01, 1});
  if (field == "ridge") return dice_.one<double>({1e-6, 0.001, 1});
  ADD_FAILURE() << "no range for " << method << "'s " << field;
  return 0;
}

// `whole`: it has a value for every tensor.
Setting Tree::draw_setting(const Document& document, const Field& field, bool whole) {
  const bool plain = document.whole_model(field) || std::holds_alternative<std::int64_t*>(field.target);
  const auto entry = [&](const std::string& filter) {
    const int values = plain || dice_.chance(0.6) ? 1 : dice_.between(2, 4);
    Setting::Entry result{filter, {}};
    for (int v = 0; v < values; ++v) result.values.push_back(number(document, field.name));
    return result;
  };
  Setting setting;
  if (!plain && dice_.chance(0.3))
    for (int i = dice_.between(1, 2); i > 0; --i)
      setting.entries.push_back(entry(dice_.one<std::string>({"mlp", "self_attn", "norm", "layers.0.", "lm_head"})));
  if (whole || setting.entries.empty()) setting.entries.push_back(entry(""));
  return setting;
}

// Enumerations and booleans.
void Tree::draw_choices(Document& document) {
  for (const Field& field : document.method->parameters())
    if (field.name == "overlap")
      document.choices[field.name] = "shrink";  // or some draws would be refused
    else if (document.method->name == "pcb" && field.name == "granularity")
      continue;  // of a tensor the share may be less than one entry
    else if (field.discrete() && dice_.chance(0.6))
      document.choices[field.name] =
          is_boolean(field) ? (dice_.chance(0.5) ? "true" : "false") : dice_.one(field.choices());
}

void Tree::draw_parameters(Document& document) {
  for (const Field& field : document.method->parameters()) {
    const bool needed = field.required || (field.required_by_mergekit && !document.paper);
    if (field.discrete() || (!needed && dice_.chance(0.4))) continue;
    for (SlicePart& slice : document.slices)
      if (document.stacked && !document.whole_model(field) && dice_.chance(0.2))
        slice.level[field.name] = draw_setting(document, field, false);
    document.level[field.name] = draw_setting(document, field, true);
  }
}

void Tree::draw_model_parameters(Document& document) {
  for (const Field& field : document.method->model_parameters()) {
    if (field.is_file()) {
      for (SlicePart& slice : document.slices)
        for (std::size_t m = 0; m < slice.sources.size(); ++m)
          slice.sources[m].statistics = statistics(static_cast<int>(m));
      continue;
    }
    const bool for_all = dice_.chance(0.5);
    if (for_all) document.level[field.name] = draw_setting(document, field, true);
    for (std::size_t m = 0; m < document.slices[0].sources.size(); ++m) {
      const Setting same = draw_setting(document, field, true);
      for (SlicePart& slice : document.slices)
        if (document.whole_model(field))
          slice.sources[m].own[field.name] = same;
        else if (!for_all || dice_.chance(0.5))
          slice.sources[m].own[field.name] = draw_setting(document, field, !for_all);
    }
  }
}

std::string Tree::text_of(const Document& document) const {
  std::string text = document.name.empty() ? "" : "name: " + document.name + "\n";
  text += "merge_method: " + document.method->name + "\n" + document.types;
  if (document.paper) text += "rules: paper\n";
  if (document.slices[0].base) text += "base_model: " + models_[document.slices[0].base->model].reference + "\n";
  text += "parameters: " + yaml_map(document.level, document.choices) + "\n";
  text += document.stacked ? "slices:\n" : "models:\n";
  for (const SlicePart& slice : document.slices) {
    if (document.stacked) text += "  - parameters: " + yaml_map(slice.level) + "\n    sources:\n";
    std::vector<const Source*> sources;
    if (slice.base && document.stacked) sources.push_back(&*slice.base);
    for (const Source& source : slice.sources) sources.push_back(&source);
    for (const Source* source : sources) {
      text += std::string(document.stacked ? "      " : "  ") + "- {model: " + models_[source->model].reference;
      if (document.stacked) text += cat(", layer_range: [", source->first, ", ", source->first + slice.count, "]");
      std::map<std::string, std::string> plain;
      for (const Field& field : document.method->model_parameters())
        if (field.is_file() && !source->statistics.empty()) plain[field.name] = source->statistics;
      text += ", parameters: " + yaml_map(source->own, plain) + "}\n";
    }
  }
  return text;
}

}  // namespace solera::merge::random
