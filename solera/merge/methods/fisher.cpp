#include "solera/merge/methods/fisher.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/methods/weighted.h"
#include "solera/weights/precision.h"
#include "solera/weights/vector.h"

namespace solera::merge {
namespace {

constexpr double kTiny = 1e-38;

void check(const FisherParams& params, std::span<const FisherModel> models) {
  if (params.floor < 0) throw usage_error(cat("\"floor\" is ", params.floor, ", less than 0"));
  require_shares(models);
}

// What one tensor's models count, norms included.
struct Shares {
  std::vector<double> coefficients, floors;
  Shares(const FisherParams& params, std::span<const FisherModel> models, std::span<const double> norms) {
    for (std::size_t i = 0; i < models.size(); ++i) {
      coefficients.push_back(models[i].weight / norms[i]);
      floors.push_back(i == 0 || !params.favor_target ? params.floor : 0.0);
    }
  }
};

double norm_of(const weights::LaneSum& squares, const std::string& path) {
  const double norm = std::sqrt(squares.total());
  if (norm == 0)
    throw input_error("every Fisher is 0: the norm is 0 and cannot normalize", path,
                      "measure on data that the model depends on, or set normalize: false");
  return norm;
}

template <class T>
void require_nonnegative(const weights::Operand& operand, const T* values, std::int64_t first, std::int64_t n) {
  if (weights::all_nonnegative(values, n)) return;
  const T* bad = std::find_if(values, values + n, [](T v) { return !(v >= 0); });
  throw input_error(cat(operand.tensor->name, " is ", *bad, " at element ", first + (bad - values),
                        ", and a Fisher is never negative"),
                    operand.tensor->source->path());
}

struct Squares {
  std::vector<weights::LaneSum> sums;  // of every statistics operand
  void merge(const Squares& right) {
    for (std::size_t k = 0; k < sums.size() && k < right.sums.size(); ++k) sums[k].merge(right.sums[k]);
  }
};

template <class T>
std::vector<weights::LaneSum> squares_of(const TensorPass& pass) {
  const auto fishers = pass.statistic_operands();
  auto squares = weights::reduce<T, Squares>(pass.engine, fishers, [&](const weights::Tile<T>& tile, Squares& state) {
    state.sums.resize(fishers.size());
    for (std::size_t k = 0; k < fishers.size(); ++k) {
      require_nonnegative(fishers[k], tile[k], tile.first, tile.count);
      state.sums[k].add_product(tile[k], tile[k], tile.count);
    }
  });
  squares.sums.resize(fishers.size());
  return std::move(squares.sums);
}

class FisherProgram final : public TypedProgram<FisherParams, FisherModel> {
 public:
  FisherProgram() : TypedProgram(nullptr, check) {}

  void bind(std::size_t index, const Binding& binding) override {
    TypedProgram::bind(index, binding);
    const FisherRequired require = params(index).require;
    if (binding.statistics > 0 || require == FisherRequired::kNone) return;
    if (require == FisherRequired::kMatrices && binding.shape.size() < 2) return;
    std::vector<std::string> files;
    for (const FisherModel& model : models(index)) files.push_back(model.fisher.path);
    throw input_error(cat("no file has a Fisher for ", binding.tensor), join(files, ", "),
                      cat("measure it too, --exclude '", binding.tensor, "' to keep that of ",
                          binding.model_names.front(), ", or set require: none to average it"));
  }

  bool wants_survey() const override {
    for (std::size_t i = 0; i < count(); ++i)
      if (params(i).normalize) return true;
    return false;
  }

  void survey(std::span<const TensorPass> passes) override {
    std::map<const checkpoint::Checkpoint*, weights::LaneSum> squares;
    for (const TensorPass& pass : passes) {
      if (pass.statistics == 0) continue;
      const auto sums =
          weights::needs_double(pass.statistic_operands()) ? squares_of<double>(pass) : squares_of<float>(pass);
      for (std::size_t k = 0; k < sums.size(); ++k) squares[pass.statistic_operands()[k].model].merge(sums[k]);
    }
    std::map<const checkpoint::Checkpoint*, double> norms;
    norms_.assign(passes.size(), {});
    for (std::size_t i = 0; i < passes.size(); ++i)
      for (const weights::Operand& one : passes[i].statistic_operands()) {
        const auto [norm, is_new] = norms.emplace(one.model, 0);
        if (is_new) norm->second = norm_of(squares.at(one.model), one.model->path());
        norms_[i].push_back(norm->second);
      }
  }

  bool survey_state(SurveyState& state) override {
    state(norms_);
    return true;
  }

  // Where nothing is normalized, a model whose every Fisher is 0 counts for nothing, or by the floor alone.
  std::vector<std::string> remarks() const override {
    std::vector<std::string> lines;
    for (const auto& [path, nonzero] : nonzero_)
      if (!nonzero)
        lines.push_back(cat(path, ": every Fisher is 0, so its model counts nowhere or by the floor alone"));
    return lines;
  }

  void merge(std::size_t index, const TensorPass& pass) override {
    if (pass.statistics == 0) return merge_by_shares(pass, models(index));
    pass.wide() ? run<double>(index, pass) : run<float>(index, pass);
  }

 private:
  template <class T>
  void run(std::size_t index, const TensorPass& pass) {
    const auto fishers = pass.statistic_operands();
    const Shares shares(params(index), models(index),
                        params(index).normalize ? norms_.at(index) : std::vector<double>(fishers.size(), 1.0));
    const std::size_t count = models(index).size();
    std::vector<std::atomic<bool>> nonzero(count);
    weights::map<T>(pass.engine, pass.operands, *pass.sink, [&](const weights::Tile<T>& tile, T* out) {
      for (std::size_t k = 0; k < count; ++k) {
        const T* f = tile[count + k];
        require_nonnegative(fishers[k], f, tile.first, tile.count);
        if (!nonzero[k] && std::any_of(f, f + tile.count, [](T v) { return v != 0; })) nonzero[k] = true;
      }
      weights::precision_mean<T>(shares.coefficients, shares.floors, kTiny, tile.inputs.first(count),
                                 tile.inputs.subspan(count, count), tile.count, out);
    });
    const std::lock_guard lock(mutex_);
    for (std::size_t k = 0; k < count; ++k) {
      bool& known = nonzero_[fishers[k].model->path()];
      known = known || nonzero[k];
    }
  }

  std::vector<std::vector<double>> norms_;  // of each tensor's statistics operands: their file's
  std::mutex mutex_;
  std::map<std::string, bool> nonzero_;  // by file, of all tensors merged so far
};

}  // namespace

void fisher(std::span<const std::span<const float>> inputs, std::span<const std::span<const float>> fishers,
            const FisherParams& params, std::span<const FisherModel> models, std::span<float> out) {
  check(params, models);
  std::vector<std::vector<float>> rows;
  std::vector<float*> values, precisions;
  std::vector<double> norms;
  const auto n = static_cast<std::int64_t>(out.size());
  rows.reserve(inputs.size() + fishers.size());
  for (const auto& input : inputs) values.push_back(rows.emplace_back(input.begin(), input.end()).data());
  for (std::size_t i = 0; i < fishers.size(); ++i) {
    const std::string where = cat("Fisher ", i);
    if (!weights::all_nonnegative(fishers[i].data(), n)) throw input_error("a Fisher is never negative", where);
    precisions.push_back(rows.emplace_back(fishers[i].begin(), fishers[i].end()).data());
    weights::LaneSum squares;
    squares.add_product(fishers[i].data(), fishers[i].data(), n);
    norms.push_back(params.normalize ? norm_of(squares, where) : 1.0);
  }
  const Shares shares(params, models, norms);
  weights::precision_mean<float>(shares.coefficients, shares.floors, kTiny, values, precisions, n, out.data());
}

Method fisher_method() {
  return {.name = "fisher",
          .summary = "mean in which every element counts by its Fisher information",
          .citation = "Matena and Raffel 2022, arXiv 2111.09832",
          .base = BasePolicy::kNone,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> { return std::make_unique<FisherProgram>(); },
          .parameters = described_fields<FisherParams>,
          .model_parameters = described_fields<FisherModel>,
          .statistics = StatisticsUse{"fisher", checkpoint::Statistic::kFisher}};
}

}  // namespace solera::merge
