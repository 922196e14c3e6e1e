// By tensor, row and column: what the executor streams is the formula over each vector, or over each tensor.

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/merge/execute.h"
#include "solera/merge/methods/arcee_fusion.h"
#include "solera/merge/methods/model_stock.h"
#include "solera/merge/methods/nuslerp.h"
#include "solera/merge/methods/ramplus_tl.h"
#include "solera/merge/methods/sce.h"
#include "solera/weights/select.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using namespace test;
using checkpoint::DType;
using checkpoint::Shape;

using TensorFormula =
    std::function<void(const Shape& shape, const Values& base, const std::vector<Values>& inputs, Values& out)>;
using Formula = std::function<void(const Values& base, const std::vector<Values>& inputs, Values& out)>;

enum class Axis { kAll, kLast, kFirst };

class Vectors : public testing::Test {
 protected:
  Vectors() {
    for (std::uint64_t model = 0; model < 3; ++model) {
      std::vector<checkpoint::NamedBytes> stored;
      for (std::size_t t = 0; t < shapes_.size(); ++t) {
        const std::string name = cat("t", t);
        const RandomStream stream({.seed = 5, .purpose = "test.vectors", .input = model, .name = name});
        std::vector<double> values(static_cast<std::size_t>(checkpoint::element_count(shapes_[t])));
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(i) + (model > 0);
        stored.push_back(solera::test::tensor(name, DType::kF32, shapes_[t], values));
        tensors_[model].emplace_back(values.begin(), values.end());
      }
      solera::test::write_model(folder_ / cat("m", model, ".safetensors"), stored);
    }
  }

  std::vector<Values> merged(const std::string& method, bool with_base, const std::string& global, int threads,
                             std::int64_t chunk, bool second = true) {
    const std::string text =
        cat("{merge_method: ", method, with_base ? cat(", base_model: ", folder_ / "m0.safetensors") : "",
            ", parameters: {", global, "}, models: [{model: ", folder_ / "m1.safetensors", ", parameters: {weight: 3}}",
            second ? cat(", {model: ", folder_ / "m2.safetensors", ", parameters: {weight: 1}}") : "", "]}");
    Plan plan = make_plan(parse_merge_config(parse_yaml(text, "f.yaml")), {.single_file = true});
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

  std::vector<Values> expected(Axis axis, const Formula& formula) {
    std::vector<Values> all;
    for (std::size_t t = 0; t < shapes_.size(); ++t) {
      const std::size_t n = tensors_[0][t].size();
      const bool flat = axis == Axis::kAll || shapes_[t].size() < 2;
      const auto first = flat ? 1 : static_cast<std::size_t>(shapes_[t].front());
      const auto last = flat ? n : static_cast<std::size_t>(shapes_[t].back());
      const bool columns = axis == Axis::kFirst && !flat;
      const std::size_t length = columns ? first : last, step = columns && n > 0 ? n / first : 1;
      Values result(n);
      for (std::size_t v = 0; n > 0 && v < n / length; ++v) {
        std::vector<Values> vectors(3, Values(length));
        const std::size_t start = columns ? v : v * length;
        for (std::size_t m = 0; m < 3; ++m)
          for (std::size_t i = 0; i < length; ++i) vectors[m][i] = tensors_[m][t][start + i * step];
        Values out(length);
        formula(vectors[0], {vectors[1], vectors[2]}, out);
        for (std::size_t i = 0; i < length; ++i) result[start + i * step] = out[i];
      }
      all.push_back(result);
    }
    return all;
  }

  void compare(const std::string& method, bool with_base, const std::string& global, Axis axis,
               const Formula& formula) {
    const auto right = expected(axis, formula);
    for (const int threads : {1, 3})
      for (const std::int64_t chunk : {1, 5}) {
        const auto made = merged(method, with_base, global, threads, chunk);
        ASSERT_EQ(made.size(), right.size());
        for (std::size_t t = 0; t < right.size(); ++t) {
          SCOPED_TRACE(cat(method, " ", global, " tensor ", t));
          expect_near(made[t], {right[t].begin(), right[t].end()});
        }
      }
  }

  // One formula a tensor, with the first or both models, through selection in memory and out of core.
  void compare_tensors(const std::string& method, const std::string& global, bool second, double tolerance,
                       const TensorFormula& formula) {
    for (const std::int64_t in_memory : {0, 65536}) {
      weights::detail::select_tuning().in_memory = in_memory;
      for (const int threads : {1, 3}) {
        const auto made = merged(method, true, global, threads, 2, second);
        for (std::size_t t = 0; t < shapes_.size(); ++t) {
          Values out(tensors_[0][t].size());
          std::vector<Values> inputs = {tensors_[1][t]};
          if (second) inputs.push_back(tensors_[2][t]);
          formula(shapes_[t], tensors_[0][t], inputs, out);
          SCOPED_TRACE(cat(method, " ", global, " tensor ", t));
          expect_near(made[t], {out.begin(), out.end()}, tolerance);
        }
      }
    }
    weights::detail::select_tuning() = {};
  }

  TemporaryFolder folder_;
  const std::vector<Shape> shapes_ = {{4, 6}, {30}, {3, 2, 5}, {}, {1, 7}, {1200, 3}, {0, 2}};
  std::vector<Values> tensors_[3];
};

TEST_F(Vectors, ModelStock) {
  const Formula formula = [](const Values& base, const std::vector<Values>& tuned, Values& out) {
    model_stock(base, spans(tuned), out);
  };
  compare("model_stock", true, "filter_wise: false", Axis::kAll, formula);
  compare("model_stock", true, "filter_wise: true", Axis::kLast, formula);
}

TEST_F(Vectors, Nuslerp) {
  for (const bool with_base : {false, true}) {
    const Formula formula = [&](const Values& base, const std::vector<Values>& inputs, Values& out) {
      const std::vector<NuslerpModel> models = {{3}, {1}};
      nuslerp(with_base ? base : Values(), spans(inputs), models, out);
    };
    compare("nuslerp", with_base, "", Axis::kAll, formula);
    compare("nuslerp", with_base, "nuslerp_row_wise: true", Axis::kAll, formula);
    compare("nuslerp", with_base, "nuslerp_flatten: false", Axis::kLast, formula);
    compare("nuslerp", with_base, "nuslerp_flatten: false, nuslerp_row_wise: true", Axis::kFirst, formula);
  }
}

TEST_F(Vectors, ArceeFusion) {
  compare_tensors("arcee_fusion", "", false, 0,
                  [](const Shape& shape, const Values& base, const std::vector<Values>& inputs, Values& out) {
                    const std::size_t row = shape.empty() ? 1 : static_cast<std::size_t>(shape.back());
                    arcee_fusion(base, inputs[0], row, out);
                  });
}

TEST_F(Vectors, Sce) {
  for (const double topk : {1.0, 0.3, 0.0})
    compare_tensors("sce", cat("select_topk: ", topk), true, 1e-6,
                    [&](const Shape&, const Values& base, const std::vector<Values>& inputs, Values& out) {
                      sce(base, spans(inputs), {topk}, out);
                    });
}

TEST_F(Vectors, Ram) {
  compare_tensors("ram", "epsilon: 0.8", true, 0,
                  [](const Shape&, const Values& base, const std::vector<Values>& inputs, Values& out) {
                    ram(base, spans(inputs), {0.8}, out);
                  });
  compare_tensors("ramplus_tl", "epsilon: 0.8, r: 0.5, alpha: 3", true, 0,
                  [](const Shape&, const Values& base, const std::vector<Values>& inputs, Values& out) {
                    ramplus_tl(base, spans(inputs), {.epsilon = 0.8, .r = 0.5, .alpha = 3}, out);
                  });
}

}  // namespace
}  // namespace solera::merge
