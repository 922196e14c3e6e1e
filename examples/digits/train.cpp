#include "examples/digits/train.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "examples/digits/data.h"
#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"

namespace solera::examples {
namespace {

void require(bool condition, const std::string& setting, const auto& value, const std::string& range) {
  if (!condition) throw usage_error(cat(setting, " is ", value, ", not ", range));
}

void validate(const TrainSettings& s) {
  const auto finite_from_0 = [](double value) { return value >= 0.0 && std::isfinite(value); };
  require(s.epochs >= 1, "epochs", s.epochs, "at least 1");
  require(s.batch >= 1, "batch", s.batch, "at least 1");
  require(s.run >= 0, "run", s.run, "at least 0");
  require(s.snapshots >= 0, "snapshots", s.snapshots, "at least 0");
  require(finite_from_0(s.lr), "lr", s.lr, "a number from 0");
  require(finite_from_0(s.weight_decay), "weight decay", s.weight_decay, "a number from 0");
  require(finite_from_0(s.input_noise), "input noise", s.input_noise, "a number from 0");
  require(s.momentum >= 0.0 && s.momentum < 1.0, "momentum", s.momentum, "in [0, 1)");
  require(s.warmup >= 0.0 && s.warmup <= 1.0, "warmup", s.warmup, "in [0, 1]");
  require(s.label_smoothing >= 0.0 && s.label_smoothing <= 1.0, "label smoothing", s.label_smoothing, "in [0, 1]");
  require(s.optimizer == "adamw" || s.optimizer == "sgd", "optimizer", s.optimizer, "adamw or sgd");
  require(s.schedule == "constant" || s.schedule == "linear" || s.schedule == "cosine", "schedule", s.schedule,
          "constant, linear or cosine");
  require(!s.new_head || !s.from.empty(), "new head", "yes", "possible without a checkpoint to start from");
}

Mlp starting_point(const TrainSettings& s, int classes) {
  const auto seed = static_cast<std::uint64_t>(s.seed), run = static_cast<std::uint64_t>(s.run);
  Mlp network;
  if (s.from.empty()) {
    network = he_mlp(parse_widths(s.layers), seed, run);
  } else {
    network = read_mlp(s.from);
    if (s.new_head) {
      std::vector<int> widths(1, network.inputs());
      for (const auto& layer : network.layers) widths.push_back(layer.out);
      widths.back() = classes;
      network.layers.back() = std::move(he_mlp(widths, seed, run).layers.back());
    }
  }
  if (network.inputs() != Digits::kPixels || network.classes() != classes) {
    throw input_error(cat("the network goes from ", network.inputs(), " to ", network.classes(), ", the task ", s.task,
                          " from 64 to ", classes),
                      s.from, s.from.empty() ? "change --layers" : "--new-head starts a last layer that fits");
  }
  return network;
}

// One tensor under training.
struct Slot {
  int layer;
  std::vector<float>* value;
  std::vector<float> BasicMlp<float>::Layer::* member;
  std::vector<float> first, second;  // moments
};

std::vector<Slot> trainable(Mlp& network, const std::string& freeze) {
  const auto patterns = parse_patterns(freeze);
  std::vector<bool> used(patterns.size(), false);
  std::vector<Slot> slots;
  for (int k = 0; k < static_cast<int>(network.layers.size()); ++k) {
    auto& layer = network.layers[k];
    for (const auto member : {&Mlp::Layer::weight, &Mlp::Layer::bias}) {
      const std::string name = cat("fc", k + 1, member == &Mlp::Layer::weight ? ".weight" : ".bias");
      bool frozen = false;
      for (std::size_t p = 0; p < patterns.size(); ++p) {
        if (!patterns[p].matches(name)) continue;
        used[p] = true;
        frozen = true;
      }
      const std::size_t n = (layer.*member).size();
      if (!frozen) slots.push_back({k, &(layer.*member), member, std::vector<float>(n), std::vector<float>(n)});
    }
  }
  for (std::size_t p = 0; p < patterns.size(); ++p) {
    if (!used[p]) throw usage_error(cat("--freeze ", patterns[p].text(), " matches no tensor of the network"));
  }
  if (slots.empty()) throw usage_error("--freeze leaves nothing to train");
  return slots;
}

void update(const TrainSettings& s, double lr, std::int64_t step, const std::vector<float>& gradient, Slot& slot) {
  const auto rate = static_cast<float>(lr), decay = static_cast<float>(s.weight_decay);
  float* w = slot.value->data();
  float* m = slot.first.data();
  float* v = slot.second.data();
  const float* g = gradient.data();
  const std::size_t n = gradient.size();
  if (s.optimizer == "sgd") {
    const auto momentum = static_cast<float>(s.momentum);
    for (std::size_t i = 0; i < n; ++i) {
      m[i] = momentum * m[i] + (g[i] + decay * w[i]);
      w[i] -= rate * m[i];
    }
    return;
  }
  const auto unbias_m = static_cast<float>(1.0 / (1.0 - std::pow(0.9, static_cast<double>(step))));
  const auto unbias_v = static_cast<float>(1.0 / (1.0 - std::pow(0.999, static_cast<double>(step))));
  for (std::size_t i = 0; i < n; ++i) {
    m[i] = 0.9f * m[i] + 0.1f * g[i];
    v[i] = 0.999f * v[i] + 0.001f * (g[i] * g[i]);
    w[i] -= rate * (decay * w[i] + unbias_m * m[i] / (std::sqrt(unbias_v * v[i]) + 1e-8f));
  }
}

}  // namespace

std::vector<std::int64_t> snapshot_steps(std::int64_t steps, std::int64_t snapshots) {
  if (snapshots < 1 || snapshots > steps) {
    throw usage_error(cat(snapshots, " snapshots of a training of ", steps, " steps"), "",
                      "ask for one a step at most");
  }
  std::vector<std::int64_t> result;
  for (std::int64_t i = 1; i <= snapshots; ++i) result.push_back((2 * i * steps + snapshots) / (2 * snapshots));
  return result;
}

double schedule_factor(const std::string& schedule, double warmup, std::int64_t step, std::int64_t steps) {
  const std::int64_t rising = floor_count(warmup, steps);
  if (step < rising) return static_cast<double>(step + 1) / static_cast<double>(rising);
  const double done = static_cast<double>(step - rising) / static_cast<double>(steps - rising);
  if (schedule == "linear") return 1.0 - done;
  if (schedule == "cosine") return 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return 1.0;
}

std::vector<Pattern> parse_patterns(const std::string& text) {
  std::vector<Pattern> patterns;
  if (text.empty()) return patterns;
  for (const auto& piece : split(text, ',')) patterns.emplace_back(std::string(trim(piece)));
  return patterns;
}

Trained train(const TrainSettings& s, const std::function<void(std::int64_t, const Mlp&)>& snapshot) {
  validate(s);
  const auto seed = static_cast<std::uint64_t>(s.seed), run = static_cast<std::uint64_t>(s.run);
  Digits digits = digits_split(s.split, seed);
  keep_digits(digits, s.digits);
  const int classes = apply_task(digits, s.task);
  if (s.shifts) add_shifted(digits);

  Trained result{.network = starting_point(s, classes)};
  std::vector<Slot> slots = trainable(result.network, s.freeze);
  const int lowest = slots.front().layer;
  const std::int64_t n = digits.count();
  result.steps = s.epochs * ((n + s.batch - 1) / s.batch);
  const auto steps = s.snapshots > 0 ? snapshot_steps(result.steps, s.snapshots) : std::vector<std::int64_t>();

  const RandomStream noise({.seed = seed, .purpose = "input noise", .input = run});
  Mlp gradient;
  std::vector<float> images, draws;
  std::vector<int> labels;
  std::int64_t step = 0;
  std::uint64_t seen = 0;
  for (std::int64_t epoch = 0; epoch < s.epochs; ++epoch) {
    const std::string name = cat("epoch ", epoch);
    const auto order = RandomStream({.seed = seed, .purpose = "order", .input = run, .name = name}).permutation(n);
    result.loss = 0.0;
    for (std::int64_t first = 0; first < n; first += s.batch) {
      const std::int64_t last = std::min(n, first + s.batch);
      images.clear();
      labels.clear();
      for (std::int64_t i = first; i < last; ++i) {
        const auto image = digits.image(order[i]);
        images.insert(images.end(), image.begin(), image.end());
        labels.push_back(digits.labels[order[i]]);
      }
      if (s.input_noise > 0.0) {
        draws.resize(images.size());
        noise.fill_normal(seen, draws);
        for (std::size_t i = 0; i < images.size(); ++i) images[i] += static_cast<float>(s.input_noise) * draws[i];
        seen += images.size();
      }
      const double loss = mlp_gradient<float>(result.network, images, labels, s.label_smoothing, lowest, gradient);
      if (!std::isfinite(loss))
        throw input_error(cat("the loss is ", exact_text(loss), " at step ", step + 1, " of ", result.steps), "",
                          "lower --lr");
      result.loss += loss * static_cast<double>(last - first) / static_cast<double>(n);
      const double lr = s.lr * schedule_factor(s.schedule, s.warmup, step, result.steps);
      ++step;
      for (Slot& slot : slots) update(s, lr, step, gradient.layers[slot.layer].*slot.member, slot);
      if (snapshot && std::binary_search(steps.begin(), steps.end(), step)) snapshot(step, result.network);
    }
  }
  return result;
}

}  // namespace solera::examples
