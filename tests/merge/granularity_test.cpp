// TIES and Breadcrumbs by tensor, row and whole model: what the executor streams is the formula over each group, bit
// for bit.

#include <array>

#include <gmock/gmock.h>

#include "solera/base/random.h"
#include "solera/merge/execute.h"
#include "solera/merge/methods/breadcrumbs_ties.h"
#include "solera/merge/methods/ties.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using checkpoint::DType;
using checkpoint::Shape;

using Formula = std::function<void(const Values& base, const std::vector<Values>& tuned, Values& out)>;

class Groups : public testing::Test {
 protected:
  Groups() {
    const std::vector<Shape> shapes = {{4, 6}, {30}, {3, 2, 5}, {}};
    for (std::uint64_t model = 0; model < 3; ++model) {
      std::vector<checkpoint::NamedBytes> stored;
      for (std::size_t t = 0; t < shapes.size(); ++t) {
        const std::string name = "t" + std::to_string(t);
        const RandomStream stream({.seed = 4, .purpose = "test.groups", .input = model, .name = name});
        std::vector<double> values(static_cast<std::size_t>(checkpoint::element_count(shapes[t])));
        for (std::size_t i = 0; i < values.size(); ++i)
          values[i] = model == 0 ? 0.5 : 0.5 + (static_cast<double>(stream.below(i, 11)) - 5) / 8;  // ties, and zeros
        stored.push_back(solera::test::tensor(name, DType::kF32, shapes[t], values));
        tensors_[model].emplace_back(values.begin(), values.end());
      }
      solera::test::write_model(folder_ / cat("m", model, ".safetensors"), stored);
    }
    shapes_ = shapes;
  }

  // All output values, tensor after tensor.
  Values merged(const std::string& method, const std::string& global, const std::string& model, int threads,
                std::int64_t chunk) {
    const std::string text =
        cat("{merge_method: ", method, ", rules: paper, base_model: ", folder_ / "m0.safetensors", ", parameters: {",
            global, "}, models: [{model: ", folder_ / "m1.safetensors", ", parameters: {", model,
            "}}, {model: ", folder_ / "m2.safetensors", ", parameters: {", model, "}}]}");
    Plan plan = make_plan(parse_merge_config(parse_yaml(text, "f.yaml")), {.single_file = true});
    const std::string out = folder_ / "out.safetensors";
    execute(plan, {.out = out, .threads = threads, .force = true, .block = 4, .blocks_per_chunk = chunk},
            no_progress());
    const auto made = checkpoint::open_checkpoint(out);
    Values all;
    for (const auto& tensor : made.tensors()) {
      const auto values = solera::test::values(made, tensor.name);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  // The formula over every group of `rows` or whole tensors or everything.
  Values expected(Granularity granularity, const Formula& formula) {
    Values all;
    std::vector<Values> group(3);
    const auto flush = [&] {
      Values out(group[0].size());
      formula(group[0], {group[1], group[2]}, out);
      all.insert(all.end(), out.begin(), out.end());
      for (Values& values : group) values.clear();
    };
    for (std::size_t t = 0; t < shapes_.size(); ++t) {
      const std::size_t n = tensors_[0][t].size();
      const std::size_t row =
          granularity == Granularity::kRow && !shapes_[t].empty() ? static_cast<std::size_t>(shapes_[t].back()) : n;
      for (std::size_t at = 0; at < n; at += row) {
        for (std::size_t m = 0; m < 3; ++m)
          group[m].insert(group[m].end(), tensors_[m][t].begin() + static_cast<std::ptrdiff_t>(at),
                          tensors_[m][t].begin() + static_cast<std::ptrdiff_t>(at + row));
        if (granularity != Granularity::kModel) flush();
      }
    }
    if (granularity == Granularity::kModel) flush();
    return all;
  }

  void compare(const std::string& method, const std::string& global, const std::string& model, const Formula& formula) {
    const std::pair<const char*, Granularity> all[] = {
        {"tensor", Granularity::kTensor}, {"row", Granularity::kRow}, {"model", Granularity::kModel}};
    for (const auto& [name, granularity] : all) {
      const Values right = expected(granularity, formula);
      for (const int threads : {1, 3})
        for (const std::int64_t chunk : {1, 5})
          EXPECT_EQ(merged(method, cat(global, ", granularity: ", name), model, threads, chunk), right)
              << method << " " << name;
    }
  }

  TemporaryFolder folder_;
  std::vector<Shape> shapes_;
  std::vector<Values> tensors_[3];
};

TEST_F(Groups, TiesWithAPlusForCancelledVotes) {
  compare("ties", "lambda: 0.7, zero_vote: positive", "density: 0.3, weight: 0.6",
          [](const Values& base, const std::vector<Values>& tuned, Values& out) {
            const std::vector<TiesModel> models(2, {0.6, 0.3});
            ties(base, spans(tuned), {.lambda = 0.7, .zero_vote = ZeroVote::kPositive}, models, out);
          });
}

TEST_F(Groups, TiesWithTheMajoritysSign) {
  compare("ties", "lambda: 1, zero_vote: majority", "density: 0.5",
          [](const Values& base, const std::vector<Values>& tuned, Values& out) {
            const std::vector<TiesModel> models(2, {1, 0.5});
            ties(base, spans(tuned), {}, models, out);
          });
}

TEST_F(Groups, TiesRescaledToTheNormOfAllChanges) {
  compare("ties", "rescale: true", "density: 0.3",
          [](const Values& base, const std::vector<Values>& tuned, Values& out) {
            const std::vector<TiesModel> models(2, {1, 0.3});
            ties(base, spans(tuned), {.rescale = true}, models, out);
          });
}

TEST_F(Groups, BreadcrumbsWithAnElection) {
  compare("breadcrumbs_ties", "alpha: 0.4, rescale: true", "keep: 0.3, remove: 0.1",
          [](const Values& base, const std::vector<Values>& tuned, Values& out) {
            const std::vector<BreadcrumbsModel> models(2, {1, 0.3, 0.1});
            breadcrumbs_ties(base, spans(tuned), {.breadcrumbs = {.alpha = 0.4, .rescale = true}}, models, out);
          });
}

TEST_F(Groups, AWholeModelIsForAllTensorsOrNone) {
  EXPECT_EQ(
      solera::test::message_of(
          [&] { merged("ties", "granularity: [{tensor: t0, value: row}, {value: model}]", "density: 0.3", 1, 1); }),
      "\"granularity\" is model for some tensors only at t1 (f.yaml); give all tensors one, or none of them model");
}

// What acts on the whole model cannot be another for a part of it; what acts on a tensor can.
TEST_F(Groups, AWholeModelTakesOneValue) {
  const auto refusal = [&](const std::string& method, const std::string& global, const std::string& model) {
    return solera::test::message_of([&] { merged(method, "granularity: model" + global, model, 1, 1); });
  };
  const std::string hint = " (f.yaml); give one value, without gradient, filter or slice, or set granularity: tensor";
  const auto two = [](const std::string& a, const std::string& b) {
    return cat("[{tensor: t1, value: ", a, "}, {value: ", b, "}]");
  };
  EXPECT_EQ(refusal("ties", "", "density: " + two("0.5", "0.3")),
            "granularity: model takes one \"density\" for all tensors, and that of " + folder_.path() +
                "/m1.safetensors is 0.3 at t0 but 0.5 at t1" + hint);
  for (const std::string name : {"keep", "remove"})
    EXPECT_THAT(refusal("breadcrumbs", "", name + ": " + two("0.2", "0.3")), testing::HasSubstr("one \"" + name));
  for (const auto& [method, name, a, b] :
       std::vector<std::array<std::string, 4>>{{"ties", "zero_vote", "positive", "majority"},
                                               {"ties", "rescale", "true", "false"},
                                               {"breadcrumbs_ties", "zero_vote", "positive", "majority"},
                                               {"breadcrumbs", "small_tensor", "zero", "keep_all"},
                                               {"breadcrumbs", "remove_first", "false", "true"},
                                               {"breadcrumbs", "overlap", "shrink", "error"},
                                               {"breadcrumbs", "rescale", "true", "false"}})
    EXPECT_EQ(refusal(method, cat(", ", name, ": ", two(a, b)), "weight: 1"),
              cat("granularity: model takes one \"", name, "\" for all tensors, and it is ", b, " at t0 but ", a,
                  " at t1", hint));
  merged("ties",
         cat("granularity: model, vote: weighted, lambda: ", two("0.5", "1"), ", normalize: ", two("false", "true")),
         "density: 0.3, weight: " + two("0.5", "1"), 1, 1);
  merged("ties", "granularity: tensor, zero_vote: " + two("positive", "majority"), "density: " + two("0.5", "0.3"), 1,
         1);
}

TEST_F(Groups, Breadcrumbs) {
  compare("breadcrumbs", "alpha: 0.4", "keep: 0.3, remove: 0.1",
          [](const Values& base, const std::vector<Values>& tuned, Values& out) {
            const std::vector<BreadcrumbsModel> models(2, {1, 0.3, 0.1});
            breadcrumbs(base, spans(tuned), {.alpha = 0.4}, models, out);
          });
}

}  // namespace
}  // namespace solera::merge
