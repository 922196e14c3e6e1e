// --unsafe-truncate-embeddings: vocabularies of different sizes cut to their first common rows.
#include "solera/merge/execute.h"
#include "solera/merge/output_files.h"
#include "tests/merge/plan_fixture.h"

namespace solera::merge {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kMean = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n";

class TruncatedRows : public PlanFixture {
 protected:
  void SetUp() override {
    write("a", 3, 2);
    write("b", 4, 2);
  }
  void write(const std::string& name, std::int64_t rows, std::int64_t width) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < rows * width; ++i) values.push_back(static_cast<double>(name == "a" ? i : 10 * i));
    model(name,
          {test::tensor("lm_head.weight", checkpoint::DType::kF32, {rows, width}, values),
           test::tensor("model.embed_tokens.weight", checkpoint::DType::kF32, {rows, width}, values),
           filled("model.layers.0.w", {width})},
          cat("{\"vocab_size\": ", rows, "}"));
  }
};

TEST_F(TruncatedRows, KeepWhatAllModelsHave) {
  Plan made = plan(kMean, {.truncate_embeddings = true});
  EXPECT_THAT(made.warnings,
              ElementsAre("lm_head.weight of b: 3 of its 4 rows are used; they may be other tokens'",
                          "model.embed_tokens.weight of b: 3 of its 4 rows are used; they may be other tokens'"));
  execute(made, {.out = folder_ / "out", .threads = 1}, no_progress());
  const auto out = checkpoint::open_checkpoint(folder_ / "out");
  EXPECT_THAT(test::values(out, "model.embed_tokens.weight"), ElementsAre(0, 5.5, 11, 16.5, 22, 27.5));
  EXPECT_EQ(out.find("lm_head.weight")->shape, (checkpoint::Shape{3, 2}));
  EXPECT_EQ(out.config().at("vocab_size").as_int(), 3);
}

TEST_F(TruncatedRows, AreLeftAloneUnlessAskedFor) {
  EXPECT_THAT(message(kMean), HasSubstr("lm_head.weight is [4, 2], a has [3, 2]"));
}

TEST_F(TruncatedRows, NeedTheSameWidth) {
  write("b", 4, 3);
  EXPECT_THAT(message(kMean, {.truncate_embeddings = true}), HasSubstr("lm_head.weight is [4, 3], a has [3, 2]"));
}

}  // namespace
}  // namespace solera::merge
