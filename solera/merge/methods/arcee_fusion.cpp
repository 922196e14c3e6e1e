#include "solera/merge/methods/arcee_fusion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "solera/weights/columns.h"
#include "solera/weights/mixing.h"
#include "solera/weights/select.h"
#include "solera/weights/vector.h"

namespace solera::merge {

namespace {

// exp(x - max) of a row, and their sum.
template <class T>
double exponentials(const T* row, std::int64_t n, std::vector<double>& out) {
  const auto most = static_cast<double>(*std::max_element(row, row + n));
  double sum = 0;
  out.resize(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    out[static_cast<std::size_t>(i)] = std::exp(static_cast<double>(row[i]) - most);
    sum += out[static_cast<std::size_t>(i)];
  }
  return sum;
}

// KL of one row; never below 0 by rounding, 0 where a value is no number.
template <class T>
T divergence(const T* base, const T* other, std::int64_t n) {
  constexpr double kFloor = 1e-8;
  if (n < 2) return 0;
  std::vector<double> p, q;
  const double p_sum = exponentials(other, n, p), q_sum = exponentials(base, n, q);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double of_other = p[i] / p_sum + kFloor, of_base = q[i] / q_sum + kFloor;
    sum += of_other * std::log(of_other / of_base);
  }
  return static_cast<T>(std::max(0.0, sum));
}

// The scores of elements [first, first + n) of a tensor, with signs, from their changes.
template <class T>
void score(std::span<const T> divergences, std::int64_t row, std::int64_t first, std::int64_t n, const T* changes,
           T* out) {
  weights::for_row_pieces(first, n, row, [&](std::int64_t at, std::int64_t, std::int64_t count) {
    const T factor = divergences[static_cast<std::size_t>((first + at) / row)];
    weights::scaled_sum(factor, changes + at, T(0), changes + at, count, out + at);
  });
}

// The three quantiles as places from the smallest score, of n.
std::array<std::int64_t, 3> places(std::int64_t n) { return {(n - 1) / 4, (n - 1) / 2, 3 * (n - 1) / 4}; }

// The cut as a bound in T: the smallest one that is not below it.
template <class T>
T cut_of(T q1, T median, T q3) {
  const double cut = static_cast<double>(median) + 1.5 * (static_cast<double>(q3) - static_cast<double>(q1));
  const T rounded = static_cast<T>(cut);
  return static_cast<double>(rounded) < cut ? std::nextafter(rounded, std::numeric_limits<T>::infinity()) : rounded;
}

template <class T>
T cut_in_memory(std::vector<T> scores) {
  for (T& s : scores) s = std::isnan(s) ? T(0) : std::abs(s);
  std::sort(scores.begin(), scores.end());
  const auto [q1, median, q3] = places(static_cast<std::int64_t>(scores.size()));
  return cut_of(scores[static_cast<std::size_t>(q1)], scores[static_cast<std::size_t>(median)],
                scores[static_cast<std::size_t>(q3)]);
}

std::int64_t row_of(std::span<const std::int64_t> shape) { return shape.empty() ? 1 : shape.back(); }

template <class T>
std::vector<T> divergences_of(const TensorPass& pass) {
  const std::int64_t row = row_of(pass.shape);
  std::vector<T> divergences(static_cast<std::size_t>(pass.elements() / row));
  if (row > 1)
    weights::for_rows<T>(pass.engine, pass.operands, row, 0, [&](const weights::Tile<T>& tile) {
      divergences[static_cast<std::size_t>(tile.first / row)] = divergence(tile[0], tile[1], row);
    });
  return divergences;
}

template <class T>
T cut_of_tensor(const TensorPass& pass, std::span<const T> divergences) {
  const std::int64_t n = pass.elements(), row = row_of(pass.shape);
  const weights::Score<T> into_first{
      1, [&](std::size_t, std::int64_t first, std::int64_t count, std::span<T* const> rows) {
        score(divergences, row, first, count, rows[1], rows[0]);
      }};
  std::vector<weights::RankRequest> requests;
  for (const std::int64_t place : places(n)) requests.push_back({0, n - place, true});
  const weights::Segment segment{pass.operands};
  const auto cuts = weights::select_score_cuts<T>(pass.engine, std::span(&segment, 1), weights::Reading::kChanges,
                                                  into_first, requests);
  return cut_of(cuts[0].value, cuts[1].value, cuts[2].value);
}

template <class T>
void run(const TensorPass& pass) {
  if (pass.elements() == 0) return;
  const std::int64_t row = row_of(pass.shape);
  const std::vector<T> divergences = divergences_of<T>(pass);
  const T cut = cut_of_tensor<T>(pass, divergences);
  weights::map<T>(pass.engine, pass.operands, *pass.sink, [&](const weights::Tile<T>& tile, T* out) {
    std::array<T, weights::kTile> scores;
    weights::difference(tile[1], tile[0], tile.count, scores.data());
    score<T>(divergences, row, tile.first, tile.count, scores.data(), scores.data());
    weights::take_above(cut, scores.data(), tile[0], tile[1], tile.count, out);
  });
}

class ArceeFusionProgram final : public TypedProgram<NoParams, NoParams> {
 public:
  ArceeFusionProgram() : TypedProgram(nullptr) {}

  void bind(std::size_t index, const Binding& binding) override {
    TypedProgram::bind(index, binding);
    const std::int64_t row = std::max<std::int64_t>(1, row_of(binding.shape));
    const std::int64_t rows = checkpoint::element_count(binding.shape) / row;
    memory_.push_back(static_cast<std::uint64_t>(8 * rows + 16 * row));
  }
  std::uint64_t extra_memory(std::size_t index) const override { return memory_[index]; }

  void merge(std::size_t, const TensorPass& pass) override { pass.wide() ? run<double>(pass) : run<float>(pass); }

 private:
  std::vector<std::uint64_t> memory_;
};

}  // namespace

void arcee_fusion(std::span<const float> base, std::span<const float> other, std::size_t row, std::span<float> out) {
  const auto n = static_cast<std::int64_t>(out.size()), length = static_cast<std::int64_t>(row);
  if (n == 0) return;
  std::vector<float> divergences, scores(out.size());
  for (std::size_t at = 0; at < out.size(); at += row)
    divergences.push_back(divergence(base.data() + at, other.data() + at, length));
  weights::difference(other.data(), base.data(), n, scores.data());
  score<float>(divergences, length, 0, n, scores.data(), scores.data());
  weights::take_above(cut_in_memory(scores), scores.data(), base.data(), other.data(), n, out.data());
}

Method arcee_fusion_method() {
  return {.name = "arcee_fusion",
          .summary = "the entries of another model that changed most",
          .citation = "Arcee AI, in mergekit; without a publication",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .max_models = 1,
          .program = []() -> std::unique_ptr<Program> { return std::make_unique<ArceeFusionProgram>(); },
          .parameters = described_fields<NoParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
