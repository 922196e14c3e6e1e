#include "examples/cifar/gradients.h"

#include <algorithm>
#include <cmath>

#include "examples/cifar/convolution.h"

namespace solera::examples {
namespace {

template <class T>
using View = Eigen::Map<Matrix<T>>;
template <class T>
using ConstView = Eigen::Map<const Matrix<T>>;

int side_of(const auto& planes) { return static_cast<int>(std::lround(std::sqrt(static_cast<double>(planes.cols())))); }

// visit(column row, pixel, input pixel) for every tap of the kernel that falls into the image of side `side`.
template <class Visit>
void for_taps(int channels, int side, int stride, Visit visit) {
  const int half = side / stride;
  for (int c = 0; c < channels; ++c)
    for (int ky = 0; ky < 3; ++ky)
      for (int kx = 0; kx < 3; ++kx)
        for (int y = 0; y < half; ++y) {
          const int v = y * stride + ky - 1;
          if (v < 0 || v >= side) continue;
          for (int x = 0; x < half; ++x) {
            const int u = x * stride + kx - 1;
            if (u >= 0 && u < side) visit(c, (c * 3 + ky) * 3 + kx, y * half + x, v * side + u);
          }
        }
}

template <class T>
Matrix<T> relu(Matrix<T> planes) {
  return planes.cwiseMax(T(0));
}

// Every second pixel, with zeros around the channels: the shortcut where a stage begins, and its way back.
template <class T>
Matrix<T> subsample(const Matrix<T>& from) {
  const int side = side_of(from), half = side / 2;
  const auto pad = from.rows() / 2;
  Matrix<T> to = Matrix<T>::Zero(2 * from.rows(), half * half);
  for (Eigen::Index c = 0; c < from.rows(); ++c)
    for (int i = 0; i < half * half; ++i) to(pad + c, i) = from(c, i / half * 2 * side + i % half * 2);
  return to;
}
template <class T>
void add_subsample_back(const Matrix<T>& d_to, Matrix<T>& d_from) {
  const int half = side_of(d_to), side = 2 * half;
  const auto pad = d_from.rows() / 2;
  for (Eigen::Index c = 0; c < d_from.rows(); ++c)
    for (int i = 0; i < half * half; ++i) d_from(c, i / half * 2 * side + i % half * 2) += d_to(pad + c, i);
}

}  // namespace

template <class T>
std::int64_t TrainableResNet<T>::add(TensorReader& reader, const std::string& name, const checkpoint::Shape& shape) {
  const auto values = reader.take(name, shape);
  const auto offset = static_cast<std::int64_t>(values_.size());
  parameters_.push_back({name, shape, offset});
  values_.insert(values_.end(), values.begin(), values.end());
  return offset;
}

template <class T>
TrainableResNet<T>::TrainableResNet(const checkpoint::Checkpoint& model) {
  TensorReader reader(model);
  convolutions_ = reader.convolutions();
  for (const ConvolutionNames& names : convolutions_) {
    Layer& layer = layers_.emplace_back();
    layer.weight = add(reader, names.conv + ".weight", {names.out, names.in, 3, 3});
    layer.scale = add(reader, names.norm + ".weight", {names.out});
    layer.shift = add(reader, names.norm + ".bias", {names.out});
    const auto mean = reader.take(names.norm + ".running_mean", {names.out});
    layer.mean.assign(mean.begin(), mean.end());
    for (const float variance : reader.take(names.norm + ".running_var", {names.out}))
      layer.inverse_deviation.push_back(static_cast<T>(1.0 / std::sqrt(variance + kNormEpsilon)));
  }
  linear_weight_ = add(reader, "linear.weight", {kClasses, features()});
  linear_bias_ = add(reader, "linear.bias", {kClasses});
  reader.refuse_others();
  model.check();
}

template <class T>
void TrainableResNet<T>::convolve(std::size_t index, const Matrix<T>& input, Tape<T>& tape) const {
  const ConvolutionNames& names = convolutions_[index];
  const Layer& layer = layers_[index];
  typename Tape<T>::Layer& record = tape.layers[index];
  const int side = side_of(input), half = side / names.stride;
  record.columns = Matrix<T>::Zero(names.in * 9, half * half);
  for_taps(names.in, side, names.stride,
           [&](int c, int row, int pixel, int from) { record.columns(row, pixel) = input(c, from); });
  record.normalized.noalias() = ConstView<T>(values_.data() + layer.weight, names.out, names.in * 9) * record.columns;
  record.output.resize(names.out, half * half);
  for (int o = 0; o < names.out; ++o) {
    record.normalized.row(o) = (record.normalized.row(o).array() - layer.mean[o]) * layer.inverse_deviation[o];
    record.output.row(o) = record.normalized.row(o).array() * values_[layer.scale + o] + values_[layer.shift + o];
  }
}

template <class T>
void TrainableResNet<T>::forward(const float* image, Tape<T>& tape) const {
  tape.layers.resize(layers_.size());
  Matrix<T> now(3, 32 * 32);
  for (int c = 0; c < 3; ++c)
    for (int i = 0; i < 32 * 32; ++i) now(c, i) = image[((i / 32 + 1) * 34 + i % 32 + 1) * 3 + c];
  convolve(0, now, tape);
  tape.layers[0].output = relu<T>(tape.layers[0].output);
  for (std::size_t i = 1; i < layers_.size(); i += 2) {
    const Matrix<T>& input = tape.layers[i - 1].output;
    convolve(i, input, tape);
    tape.layers[i].output = relu<T>(tape.layers[i].output);
    convolve(i + 1, tape.layers[i].output, tape);
    Matrix<T>& output = tape.layers[i + 1].output;
    output += convolutions_[i].stride == 2 ? subsample<T>(input) : input;
    output = relu<T>(output);
  }
  const Matrix<T>& last = tape.layers.back().output;
  tape.features.resize(static_cast<std::size_t>(features()));
  for (int c = 0; c < features(); ++c) tape.features[c] = last.row(c).mean();
  tape.logits.resize(kClasses);
  for (int k = 0; k < kClasses; ++k) {
    tape.logits[k] = values_[linear_bias_ + k];
    for (int c = 0; c < features(); ++c)
      tape.logits[k] += values_[linear_weight_ + k * features() + c] * tape.features[c];
  }
}

template <class T>
void TrainableResNet<T>::convolve_back(std::size_t index, const Tape<T>& tape, const Matrix<T>& d_sum,
                                       std::vector<T>& gradient, Matrix<T>* d_input) const {
  const ConvolutionNames& names = convolutions_[index];
  const Layer& layer = layers_[index];
  const typename Tape<T>::Layer& record = tape.layers[index];
  Matrix<T> d_product = d_sum;
  for (int o = 0; o < names.out; ++o) {
    gradient[layer.scale + o] = d_sum.row(o).dot(record.normalized.row(o));
    gradient[layer.shift + o] = d_sum.row(o).sum();
    d_product.row(o) *= values_[layer.scale + o] * layer.inverse_deviation[o];
  }
  View<T>(gradient.data() + layer.weight, names.out, names.in * 9).noalias() = d_product * record.columns.transpose();
  if (!d_input) return;
  Matrix<T> d_columns;
  d_columns.noalias() = ConstView<T>(values_.data() + layer.weight, names.out, names.in * 9).transpose() * d_product;
  const int side = side_of(d_sum) * names.stride;
  *d_input = Matrix<T>::Zero(names.in, side * side);
  for_taps(names.in, side, names.stride,
           [&](int c, int row, int pixel, int to) { (*d_input)(c, to) += d_columns(row, pixel); });
}

template <class T>
void TrainableResNet<T>::backward(const Tape<T>& tape, const std::vector<T>& d_logits, std::vector<T>& gradient) const {
  gradient.resize(values_.size());
  const Matrix<T>& last = tape.layers.back().output;
  Matrix<T> d_now(last.rows(), last.cols());
  for (int c = 0; c < features(); ++c) {
    T d_feature = 0;
    for (int k = 0; k < kClasses; ++k) {
      d_feature += d_logits[k] * values_[linear_weight_ + k * features() + c];
      gradient[linear_weight_ + k * features() + c] = d_logits[k] * tape.features[c];
    }
    d_now.row(c).setConstant(d_feature / static_cast<T>(last.cols()));
  }
  for (int k = 0; k < kClasses; ++k) gradient[linear_bias_ + k] = d_logits[k];
  const auto mask = [&](std::size_t layer, Matrix<T>& d) {
    d = (tape.layers[layer].output.array() > T(0)).select(d, T(0));
  };
  for (std::size_t i = layers_.size() - 2;; i -= 2) {  // blocks of layers i and i + 1, the last first
    mask(i + 1, d_now);
    Matrix<T> d_inner, d_input;
    convolve_back(i + 1, tape, d_now, gradient, &d_inner);
    mask(i, d_inner);
    convolve_back(i, tape, d_inner, gradient, &d_input);
    if (convolutions_[i].stride == 2) {
      add_subsample_back<T>(d_now, d_input);
      d_now = std::move(d_input);
    } else {
      d_now += d_input;
    }
    if (i == 1) break;
  }
  mask(0, d_now);
  convolve_back(0, tape, d_now, gradient, nullptr);
}

template class TrainableResNet<float>;
template class TrainableResNet<double>;

}  // namespace solera::examples
