// Random masks in a merge: what the executor streams is the formula over each tensor, bit for bit, whatever the threads
// and chunks; the seed is the configuration's and part of the plan; and the masks are distributed as mergekit's, whose
// statistics over a hundred seeds lie below $SOLERA_TEST_DATA.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "solera/base/document.h"
#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/merge/execute.h"
#include "solera/merge/methods/dare.h"
#include "solera/merge/methods/della.h"
#include "solera/merge/output_files.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using checkpoint::Checkpoint;
using checkpoint::DType;
using checkpoint::Shape;

class RandomMasks : public testing::Test {
 protected:
  RandomMasks() {
    for (std::uint64_t model = 0; model < 3; ++model) {
      std::vector<checkpoint::NamedBytes> stored;
      for (std::size_t t = 0; t < shapes_.size(); ++t) {
        const std::string name = cat("t", t);
        const RandomStream stream({.seed = 8, .purpose = "test.masks", .input = model, .name = name});
        std::vector<double> values(static_cast<std::size_t>(checkpoint::element_count(shapes_[t])));
        for (std::size_t i = 0; i < values.size(); ++i)
          values[i] = model == 0 ? 0.5 : 0.5 + (static_cast<double>(stream.below(i, 11)) - 5) / 8;  // ties, and zeros
        stored.push_back(solera::test::tensor(name, DType::kF32, shapes_[t], values));
        tensors_[model].emplace_back(values.begin(), values.end());
      }
      solera::test::write_model(path(model), stored);
    }
  }

  std::string path(std::uint64_t model) const { return folder_ / cat("m", model, ".safetensors"); }

  MergeConfig config(const std::string& method, const std::string& global, const std::string& model,
                     const std::string& top = "random_seed: 3", const std::string& second = "") const {
    const std::string text = cat("{merge_method: ", method, ", rules: paper, ", top, ", base_model: ", path(0),
                                 ", parameters: {", global, "}, models: [{model: ", path(1), ", parameters: {", model,
                                 "}}, {model: ", path(2), ", parameters: {", second.empty() ? model : second, "}}]}");
    return parse_merge_config(parse_yaml(text, "f.yaml"));
  }

  std::vector<Values> merged(MergeConfig config, int threads = 2, std::int64_t chunk = 3) {
    Plan plan = make_plan(std::move(config), {.single_file = true});
    const std::string out = folder_ / "out.safetensors";
    execute(plan, {.out = out, .threads = threads, .force = true, .block = 16, .blocks_per_chunk = chunk},
            no_progress());
    const auto made = checkpoint::open_checkpoint(out);
    std::vector<Values> all;
    for (const auto& tensor : made.tensors()) {
      const auto values = solera::test::values(made, tensor.name);
      all.emplace_back(values.begin(), values.end());
    }
    return all;
  }

  using Formula = std::function<void(const Values& base, const std::vector<std::span<const float>>& tuned,
                                     const MaskContext& context, Values& out)>;

  void compare(const std::string& method, const std::string& global, const std::string& model, const Formula& formula,
               const std::string& second = "") {
    std::vector<Values> right;
    for (std::size_t t = 0; t < shapes_.size(); ++t) {
      Values& out = right.emplace_back(tensors_[0][t].size());
      const std::string name = cat("t", t);
      const MaskContext context{.seed = 3,
                                .tensor = name,
                                .row = shapes_[t].empty() ? 1 : shapes_[t].back(),
                                .elements = static_cast<std::int64_t>(out.size())};
      formula(tensors_[0][t], spans({tensors_[1][t], tensors_[2][t]}), context, out);
    }
    for (const int threads : {1, 3})
      for (const std::int64_t chunk : {1, 5})
        EXPECT_EQ(merged(config(method, global, model, "random_seed: 3", second), threads, chunk), right)
            << method << " " << global << " " << model;
  }

  TemporaryFolder folder_;
  const std::vector<Shape> shapes_ = {{4, 6}, {100}, {3, 2, 5}, {}, {7, 1}};
  std::vector<Values> tensors_[3];
};

TEST_F(RandomMasks, DareIsTheFormulaOverEachTensor) {
  const std::vector<DareModel> models(2, {0.6, 0.4});
  compare("dare_linear", "lambda: 0.7", "density: 0.4, weight: 0.6",
          [&](const auto& base, const auto& tuned, const auto& context, Values& out) {
            dare_linear(base, tuned, {.lambda = 0.7}, models, context, out);
          });
  compare("dare_linear", "rescale_by: l1, normalize: true", "density: 0.4, weight: 0.6",
          [&](const auto& base, const auto& tuned, const auto& context, Values& out) {
            dare_linear(base, tuned, {.normalize = true, .rescale_by = RescaleBy::kL1}, models, context, out);
          });
  compare("dare_ties", "rescale_by: l1, lambda: 0.7", "density: 0.4, weight: 0.6",
          [&](const auto& base, const auto& tuned, const auto& context, Values& out) {
            dare_ties(base, tuned, {.lambda = 0.7, .rescale_by = RescaleBy::kL1}, models, context, out);
          });
}

TEST_F(RandomMasks, ModelsMayBeKeptWhole) {
  for (const auto& [first, second] : {std::pair(1.0, 1.0), std::pair(1.0, 0.4), std::pair(0.4, 1.0)}) {
    const std::vector<DareModel> models = {{0.6, first}, {0.6, second}};
    compare(
        "dare_ties", "rescale_by: l1", cat("weight: 0.6, density: ", first),
        [&](const auto& base, const auto& tuned, const auto& context, Values& out) {
          dare_ties(base, tuned, {.rescale_by = RescaleBy::kL1}, models, context, out);
        },
        cat("weight: 0.6, density: ", second));
  }
}

TEST_F(RandomMasks, DellaIsTheFormulaOverEachTensor) {
  const std::vector<DellaModel> models(2, {0.6, 0.4, 0.3});
  for (const auto& [name, group] : {std::pair("row", RankGroup::kRow), std::pair("tensor", RankGroup::kTensor)})
    for (const auto& [by, rescale] :
         {std::pair("l1", RescaleBy::kL1), std::pair("probability", RescaleBy::kProbability)}) {
      const std::string global = cat("granularity: ", name, ", rescale_by: ", by);
      compare(
          "della_linear", global, "density: 0.4, weight: 0.6, epsilon: 0.3",
          [&, group = group, rescale = rescale](const auto& base, const auto& tuned, const auto& context, Values& out) {
            della_linear(base, tuned, {.rescale_by = rescale, .granularity = group}, models, context, out);
          });
      compare(
          "della", global, "density: 0.4, weight: 0.6, epsilon: 0.3",
          [&, group = group, rescale = rescale](const auto& base, const auto& tuned, const auto& context, Values& out) {
            della(base, tuned, {.rescale_by = rescale, .granularity = group}, models, context, out);
          });
    }
}

TEST_F(RandomMasks, TheSeedIsTheConfigurationsAndPartOfThePlan) {
  const auto plan = [&](const std::string& method, const std::string& top) {
    return make_plan(config(method, "", "density: 0.5", top), {.single_file = true}).hash();
  };
  EXPECT_EQ(plan("dare_linear", "name: x"), plan("dare_linear", "random_seed: 0"));
  EXPECT_NE(plan("dare_linear", "random_seed: 1"), plan("dare_linear", "random_seed: 0"));
  EXPECT_EQ(plan("ties", "random_seed: 1"), plan("ties", "random_seed: 0"));
  EXPECT_NE(merged(config("dare_linear", "", "density: 0.5", "random_seed: 1")),
            merged(config("dare_linear", "", "density: 0.5", "random_seed: 0")));
  MergeConfig seeded = config("dare_linear", "", "density: 0.5", "random_seed: 9");
  seeded.text = "merge_method: dare_linear\n";
  EXPECT_NE(model_card(make_plan(std::move(seeded), {.single_file = true}), "x")
                .find("`solera merge mergekit_config.yml -o OUT --seed 9` makes it again"),
            std::string::npos);
  EXPECT_EQ(solera::test::message_of([&] { config("dare_linear", "", "density: 0.5", "random_seed: -1"); }),
            "\"random_seed\" is \"-1\", not a whole number from 0 (f.yaml:1:56)");
}

// A tensor that the first model lacks gets the second's mask of the whole model.
TEST_F(RandomMasks, AMissingModelMovesNoMask) {
  std::vector<checkpoint::NamedBytes> others;
  for (std::size_t t = 1; t < shapes_.size(); ++t)
    others.push_back(
        solera::test::tensor(cat("t", t), DType::kF32, shapes_[t], {tensors_[1][t].begin(), tensors_[1][t].end()}));
  solera::test::write_model(path(1), others);
  Plan plan = make_plan(config("dare_linear", "", "density: 0.5"), {.allow_missing = true, .single_file = true});
  const std::string out = folder_ / "out.safetensors";
  execute(plan, {.out = out}, no_progress());
  const auto made = solera::test::values(checkpoint::open_checkpoint(out), "t0");
  const std::vector<std::size_t> places = {1};
  const std::vector<DareModel> models = {{1, 0.5}};
  Values expected(made.size());
  dare_linear(tensors_[0][0], spans({tensors_[2][0]}), {}, models, {.seed = 3, .tensor = "t0", .ordinals = places},
              expected);
  EXPECT_EQ(Values(made.begin(), made.end()), expected);
}

TEST_F(RandomMasks, WholeRowsAreInTheLeastMemory) {
  const auto least = [&](const std::string& method, const std::string& global) {
    return least_memory(make_plan(config(method, global, "density: 0.5"), {}), 2);
  };
  const std::uint64_t tiles = least("dare_ties", "");
  EXPECT_GE(least("della", ""), tiles + 2 * 100 * 28) << "the longest row is a vector of 100";
  EXPECT_EQ(least("ties", "granularity: tensor"), tiles);
  EXPECT_GT(least("ties", "granularity: row"), tiles);
}

// One run against the output of density 1, over the elements that some model changes.
struct Statistics {
  std::vector<double> out, full, base;
  std::vector<bool> touched;
  std::vector<std::size_t> deciles;  // of each change's rank within its row, smallest first

  // Of one model, whose changes `full` holds.
  void rank(std::size_t row) {
    deciles.resize(base.size());
    for (std::size_t first = 0; first < base.size(); first += row) {
      std::vector<std::size_t> order(row);
      std::iota(order.begin(), order.end(), first);
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::abs(full[a] - base[a]) < std::abs(full[b] - base[b]);
      });
      for (std::size_t r = 0; r < row; ++r) deciles[order[r]] = 10 * r / row;
    }
  }

  std::map<std::string, double> all() const {
    double n = 0, kept = 0, sum = 0, squares = 0, product = 0, change = 0, noise = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!touched[i]) continue;
      const double residual = out[i] - full[i], step = full[i] - base[i];
      n += 1;
      kept += out[i] != base[i];
      sum += residual;
      squares += residual * residual;
      product += (out[i] - base[i]) * step;
      change += step * step;
      noise += residual * residual;
    }
    return {{"kept", kept / n},
            {"residual_mean", sum / n},
            {"residual_variance", squares / n - sum / n * (sum / n)},
            {"slope", product / change},
            {"noise", noise / change}};
  }
};

struct Moments {
  double n = 0, sum = 0, squares = 0;
  void add(double x) {
    n += 1;
    sum += x;
    squares += x * x;
  }
  double mean() const { return sum / n; }
  double variance() const { return std::max(0.0, (squares - sum * sum / n) / (n - 1)); }
};

// Means over seeds agree within four standard errors.
void expect_alike(const Moments& ours, const Node& golden, const std::string& what) {
  const double mean = golden.items()[0].as_double(), deviation = golden.items()[1].as_double();
  EXPECT_LE(std::abs(ours.mean() - mean), 4 * std::sqrt(deviation * deviation / 100 + ours.variance() / ours.n) + 1e-12)
      << what << ": " << ours.mean() << ", mergekit's " << mean;
}

void check_distribution(const std::string& root, const std::string& name) {
  SCOPED_TRACE(name);
  constexpr std::uint64_t kSeeds = 100;
  const Node golden = read_json(join_path(root, cat("random/", name, ".json")));
  MergeConfig config = read_merge_config(join_path(root, golden.at("config").as_text()));
  config.folder = root;
  const TemporaryFolder folder;
  const Checkpoint full = checkpoint::open_checkpoint(join_path(root, golden.at("full_output").as_text()));
  std::map<std::string, Statistics> tensors;
  std::map<std::string, std::map<std::string, Moments>> moments;
  Moments deciles[10];
  const Plan known = make_plan(config, {.single_file = true});
  for (const TensorPlan& tensor : known.tensors) {
    Statistics& one = tensors[tensor.out.name];
    one.full = solera::test::values(full, tensor.out.name);
    one.base = solera::test::values(*tensor.operands[0].model, tensor.operands[0].tensor->name);
    one.touched.resize(one.base.size());
    for (std::size_t k = 1; k < tensor.operands.size(); ++k) {
      const auto model = solera::test::values(*tensor.operands[k].model, tensor.operands[k].tensor->name);
      for (std::size_t i = 0; i < model.size(); ++i) one.touched[i] = one.touched[i] || model[i] != one.base[i];
    }
    if (tensor.operands.size() == 2) one.rank(static_cast<std::size_t>(tensor.out.shape.back()));
  }
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    config.seed = seed;
    Plan plan = make_plan(config, {.single_file = true});
    const std::string out = folder / "out.safetensors";
    execute(plan, {.out = out, .threads = 2, .force = true}, no_progress());
    const Checkpoint made = checkpoint::open_checkpoint(out);
    Statistics whole;
    for (auto& [tensor, one] : tensors) {
      one.out = solera::test::values(made, tensor);
      if (std::find(one.touched.begin(), one.touched.end(), true) == one.touched.end()) continue;
      for (const auto& [what, value] : one.all()) moments[tensor][what].add(value);
      whole.out.insert(whole.out.end(), one.out.begin(), one.out.end());
      whole.full.insert(whole.full.end(), one.full.begin(), one.full.end());
      whole.base.insert(whole.base.end(), one.base.begin(), one.base.end());
      whole.touched.insert(whole.touched.end(), one.touched.begin(), one.touched.end());
      whole.deciles.insert(whole.deciles.end(), one.deciles.begin(), one.deciles.end());
    }
    for (const auto& [what, value] : whole.all()) moments[""][what].add(value);
    for (std::size_t decile = 0; decile < 10 && !whole.deciles.empty(); ++decile) {
      double n = 0, kept = 0;
      for (std::size_t i = 0; i < whole.out.size(); ++i) {
        if (!whole.touched[i] || whole.deciles[i] != decile) continue;
        n += 1;
        kept += whole.out[i] != whole.base[i];
      }
      deciles[decile].add(kept / n);
    }
  }
  if (const Node* list = golden.find("kept_by_rank_decile"))
    for (std::size_t decile = 0; decile < 10; ++decile)
      expect_alike(deciles[decile], list->items()[decile], cat("decile ", decile));
  EXPECT_GT(moments.size(), 20u);
  for (const auto& [tensor, own] : moments) {
    const Node& right = tensor.empty() ? golden.at("all_tensors") : golden.at("tensors").at(tensor);
    for (const auto& [what, value] : own) expect_alike(value, right.at(what), cat(tensor, " ", what));
  }
}

TEST(RandomGolden, DistributionsAreMergekits) {
  SOLERA_NEEDS_DATA();
  for (const char* name : {"random_dare_linear", "random_dare_linear_no_rescale", "random_dare_ties", "random_della",
                           "random_della_linear"})
    check_distribution(solera::test::data_folder() + "/golden/mergekit", name);
}

}  // namespace
}  // namespace solera::merge
