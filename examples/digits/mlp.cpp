#include "examples/digits/mlp.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/weights/elements.h"

namespace solera::examples {
namespace {

// y += a x, the loop that everything else is made of; no sum is reordered, so any vector width gives the same bits.
template <class Real>
inline void add_scaled(Real a, const Real* __restrict x, int n, Real* __restrict y) {
  for (int i = 0; i < n; ++i) y[i] += a * x[i];
}

template <class Real>
std::vector<Real> transposed(const typename BasicMlp<Real>::Layer& layer) {
  std::vector<Real> result(layer.weight.size());
  for (int o = 0; o < layer.out; ++o) {
    for (int i = 0; i < layer.in; ++i)
      result[static_cast<std::size_t>(i) * layer.out + o] = layer.weight[static_cast<std::size_t>(o) * layer.in + i];
  }
  return result;
}

template <class Real>
std::vector<Real> layer_forward(const typename BasicMlp<Real>::Layer& layer, std::span<const Real> input, bool relu) {
  const std::size_t n = input.size() / layer.in;
  const std::vector<Real> weight = transposed<Real>(layer);
  std::vector<Real> output(n * layer.out);
  for (std::size_t image = 0; image < n; ++image) {
    Real* y = output.data() + image * layer.out;
    const Real* x = input.data() + image * layer.in;
    std::copy(layer.bias.begin(), layer.bias.end(), y);
    for (int i = 0; i < layer.in; ++i) {
      if (x[i] != Real(0)) add_scaled(x[i], weight.data() + static_cast<std::size_t>(i) * layer.out, layer.out, y);
    }
    for (int o = 0; relu && o < layer.out; ++o) y[o] = std::max(y[o], Real(0));
  }
  return output;
}

}  // namespace

std::vector<int> parse_widths(const std::string& text) {
  std::vector<int> widths;
  for (const auto& piece : split(text, '-')) {
    const auto width = parse_int(piece);
    if (!width || *width < 1 || *width > 65536) widths.clear();
    if (!width || *width < 1 || *width > 65536) break;
    widths.push_back(static_cast<int>(*width));
  }
  if (widths.size() < 2)
    throw usage_error(cat("\"", text, "\" is no list of layer widths"), "", "write it like 64-64-64-10");
  return widths;
}

Mlp he_mlp(std::span<const int> widths, std::uint64_t seed, std::uint64_t run) {
  Mlp network;
  for (std::size_t k = 1; k < widths.size(); ++k) {
    Mlp::Layer layer{widths[k - 1], widths[k], {}, {}};
    layer.weight.resize(static_cast<std::size_t>(layer.in) * layer.out);
    layer.bias.assign(layer.out, 0.0f);
    const std::string name = cat("fc", k, ".weight");
    RandomStream({.seed = seed, .purpose = "init", .input = run, .name = name}).fill_normal(0, layer.weight);
    const auto deviation = static_cast<float>(std::sqrt(2.0 / layer.in));
    for (float& value : layer.weight) value *= deviation;
    network.layers.push_back(std::move(layer));
  }
  return network;
}

template <class Real>
std::vector<Real> mlp_logits(const BasicMlp<Real>& network, std::span<const Real> images) {
  std::vector<Real> values(images.begin(), images.end());
  for (const auto& layer : network.layers)
    values = layer_forward<Real>(layer, values, &layer != &network.layers.back());
  return values;
}

std::vector<std::vector<float>> mlp_inputs(const Mlp& network, std::span<const float> images) {
  std::vector<std::vector<float>> inputs(1, std::vector<float>(images.begin(), images.end()));
  for (std::size_t k = 0; k + 1 < network.layers.size(); ++k)
    inputs.push_back(layer_forward<float>(network.layers[k], inputs[k], true));
  return inputs;
}

template <class Real>
double mlp_gradient(const BasicMlp<Real>& network, std::span<const Real> images, std::span<const int> labels,
                    double smoothing, int lowest, BasicMlp<Real>& gradient) {
  const int depth = static_cast<int>(network.layers.size()), classes = network.classes();
  const std::size_t n = labels.size();
  std::vector<std::vector<Real>> values(1, std::vector<Real>(images.begin(), images.end()));
  for (int k = 0; k < depth; ++k) values.push_back(layer_forward<Real>(network.layers[k], values[k], k + 1 < depth));

  // d loss / d logits = (softmax - q) / n
  std::vector<Real> delta(n * classes);
  double loss = 0.0;
  for (std::size_t image = 0; image < n; ++image) {
    const Real* logits = values[depth].data() + image * classes;
    const double top = *std::max_element(logits, logits + classes);
    double sum = 0.0;
    for (int c = 0; c < classes; ++c) sum += std::exp(logits[c] - top);
    for (int c = 0; c < classes; ++c) {
      const double log_p = logits[c] - top - std::log(sum);
      const double q = smoothing / classes + (c == labels[image] ? 1.0 - smoothing : 0.0);
      loss -= q * log_p / static_cast<double>(n);
      delta[image * classes + c] = static_cast<Real>((std::exp(log_p) - q) / static_cast<double>(n));
    }
  }

  gradient.layers.resize(network.layers.size());
  for (int k = depth - 1; k >= lowest; --k) {
    const auto& layer = network.layers[k];
    auto& target = gradient.layers[k];
    target.in = layer.in;
    target.out = layer.out;
    target.weight.assign(layer.weight.size(), Real(0));
    target.bias.assign(layer.bias.size(), Real(0));
    std::vector<Real> below(k > lowest ? n * layer.in : 0, Real(0));
    for (std::size_t image = 0; image < n; ++image) {
      const Real* d = delta.data() + image * layer.out;
      const Real* x = values[k].data() + image * layer.in;
      add_scaled(Real(1), d, layer.out, target.bias.data());
      for (int o = 0; o < layer.out; ++o) {
        if (d[o] == Real(0)) continue;
        const std::size_t row = static_cast<std::size_t>(o) * layer.in;
        add_scaled(d[o], x, layer.in, target.weight.data() + row);
        if (k > lowest) add_scaled(d[o], layer.weight.data() + row, layer.in, below.data() + image * layer.in);
      }
      if (k > lowest) {
        Real* b = below.data() + image * layer.in;
        for (int i = 0; i < layer.in; ++i) b[i] = x[i] > Real(0) ? b[i] : Real(0);
      }
    }
    delta = std::move(below);
  }
  return loss;
}

template std::vector<float> mlp_logits(const BasicMlp<float>&, std::span<const float>);
template std::vector<double> mlp_logits(const BasicMlp<double>&, std::span<const double>);
template double mlp_gradient(const BasicMlp<float>&, std::span<const float>, std::span<const int>, double, int,
                             BasicMlp<float>&);
template double mlp_gradient(const BasicMlp<double>&, std::span<const double>, std::span<const int>, double, int,
                             BasicMlp<double>&);

TensorValues mlp_tensors(const Mlp& network) {
  TensorValues tensors;
  for (std::size_t k = 0; k < network.layers.size(); ++k) {
    const auto& layer = network.layers[k];
    tensors[cat("fc", k + 1, ".weight")] = {{layer.out, layer.in}, layer.weight};
    tensors[cat("fc", k + 1, ".bias")] = {{layer.out}, layer.bias};
  }
  return tensors;
}

TensorValues read_tensors(const std::string& path) {
  const auto model = checkpoint::open_checkpoint(path);
  TensorValues tensors;
  std::vector<std::byte> scratch;
  for (const auto& tensor : model.tensors()) {
    if (!tensor.name.starts_with("fc")) continue;
    if (!checkpoint::is_float(tensor.dtype))
      throw input_error(cat(tensor.name, " is ", checkpoint::name(tensor.dtype), ", no float"), path);
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    const auto bytes = model.read(tensor, 0, tensor.bytes(), scratch);
    if (!weights::load(tensor.dtype, bytes.data(), tensor.elements(), values.data())) {
      throw input_error(cat(tensor.name, " has a value that is not finite"), path);
    }
    tensors[tensor.name] = {tensor.shape, std::move(values)};
  }
  model.check();
  return tensors;
}

Mlp mlp_from(const TensorValues& tensors, const std::string& where) {
  Mlp network;
  for (int k = 1; k == 1 || tensors.count(cat("fc", k, ".weight")); ++k) {
    const std::string weight_name = cat("fc", k, ".weight"), bias_name = cat("fc", k, ".bias");
    for (const auto& name : {weight_name, bias_name}) {
      if (!tensors.count(name))
        throw input_error(cat("no tensor ", name), where, "a digits network has fc1.weight, fc1.bias, fc2.weight, ...");
    }
    const auto& [shape, weight] = tensors.at(weight_name);
    const auto& [bias_shape, bias] = tensors.at(bias_name);
    const std::int64_t in = network.layers.empty() ? 0 : network.layers.back().out;
    if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || (in > 0 && shape[1] != in)) {
      throw input_error(
          cat(weight_name, " is ", shape_text(shape), ", the network needs [out, ", in > 0 ? cat(in) : "in", "]"),
          where);
    }
    if (bias_shape != checkpoint::Shape{shape[0]}) {
      throw input_error(cat(bias_name, " is ", shape_text(bias_shape), ", the network needs [", shape[0], "]"), where);
    }
    network.layers.push_back({static_cast<int>(shape[1]), static_cast<int>(shape[0]), weight, bias});
  }
  return network;
}

Mlp read_mlp(const std::string& path, const std::string& head) {
  TensorValues tensors = read_tensors(path);
  if (!head.empty()) tensors.merge(read_tensors(head));
  return mlp_from(tensors, path);
}

checkpoint::NamedBytes stored(const std::string& name, checkpoint::DType dtype, checkpoint::Shape shape,
                              const void* data) {
  checkpoint::NamedBytes tensor{{name, dtype, std::move(shape)}, {}};
  tensor.bytes.resize(tensor.info.bytes());
  std::memcpy(tensor.bytes.data(), data, tensor.bytes.size());
  return tensor;
}

void write_mlp(const std::string& path, const Mlp& network, std::span<const Pattern> save) {
  std::vector<checkpoint::NamedBytes> tensors;
  for (const auto& [name, tensor] : mlp_tensors(network)) {
    if (!selected(name, save, {})) continue;
    tensors.push_back(stored(name, checkpoint::DType::kF32, tensor.first, tensor.second.data()));
  }
  if (tensors.empty()) throw usage_error("--save matches no tensor of the network");
  checkpoint::write_safetensors(path, tensors);
}

}  // namespace solera::examples
