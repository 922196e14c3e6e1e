// "model+adapter" as an input of a merge.
#include <gtest/gtest.h>

#include "solera/merge/execute.h"
#include "solera/merge/plan.h"
#include "solera/weights/combine.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using test::tensor;

using Values = std::vector<double>;

class AdapterInputTest : public testing::Test {
 protected:
  AdapterInputTest() {
    test::write_model(folder_ / "base.safetensors", {tensor("m.q.bias", DType::kF32, {2}, {1, 1}),
                                                     tensor("m.q.weight", DType::kF32, {2, 3}, {1, 1, 1, 1, 1, 1})});
    make_folders(folder_ / "l");
    test::write_model(folder_ / "l/adapter_model.safetensors",
                      {tensor("base_model.model.m.q.lora_A.weight", DType::kF32, {1, 3}, {1, 2, 3}),
                       tensor("base_model.model.m.q.lora_B.weight", DType::kF32, {2, 1}, {1, -1}),
                       tensor("base_model.model.m.q.lora_B.bias", DType::kF32, {2}, {4, 0})});
    write_atomically(folder_ / "l/adapter_config.json", R"({"peft_type":"LORA","r":1,"lora_alpha":2})");
  }
  Plan plan(const std::string& models) {
    MergeConfig config = parse_merge_config(
        parse_yaml(cat("merge_method: linear\nparameters: {weight: 1}\nmodels: ", models), "c.yaml"));
    config.folder = folder_.path();
    return make_plan(std::move(config), {.single_file = true});
  }
  checkpoint::Checkpoint merged(const std::string& models) {
    Plan made = plan(models);
    execute(made, {.out = folder_ / "out.safetensors", .threads = 2, .force = true}, no_progress());
    return checkpoint::open_checkpoint(folder_ / "out.safetensors");
  }
  std::string refusal(const std::string& models) {
    std::string text = test::message_of([&] { (void)plan(models); });
    for (std::size_t i; (i = text.find(folder_.path())) != std::string::npos;)
      text.replace(i, folder_.path().size(), "HERE");
    return text;
  }
  TemporaryFolder folder_;
};

TEST_F(AdapterInputTest, IsTheModelWithTheAdapterInIt) {  // the mean of W and W + 2 B A
  for (const char* models : {"[base.safetensors+l, base.safetensors]",
                             "[{model: {model: base.safetensors, lora: l}}, {model: base.safetensors}]"}) {
    const checkpoint::Checkpoint made = merged(models);
    EXPECT_EQ(test::values(made, "m.q.weight"), (Values{2, 3, 4, 0, -1, -2})) << models;
    EXPECT_EQ(test::values(made, "m.q.bias"), (Values{5, 1})) << models;
  }
}

TEST_F(AdapterInputTest, EqualsTheAppliedAdapter) {
  Pool pool(2);
  std::vector<weights::Term> terms;
  terms.push_back(weights::open_term(folder_ / "l", 1));
  weights::combine(checkpoint::open_checkpoint(folder_ / "base.safetensors"), std::move(terms),
                   {.out = folder_ / "applied.safetensors"}, pool, no_progress());
  const checkpoint::Checkpoint made = merged("[base.safetensors+l]"),
                               applied = checkpoint::open_checkpoint(folder_ / "applied.safetensors");
  for (const char* name : {"m.q.bias", "m.q.weight"})
    EXPECT_EQ(test::values(made, name), test::values(applied, name)) << name;
}

TEST_F(AdapterInputTest, Refusals) {
  make_folders(folder_ / "empty");
  EXPECT_EQ(refusal("[base.safetensors+empty]"),
            "HERE/empty is no adapter: it has no adapter_config.json (c.yaml:3:10)");
  EXPECT_EQ(refusal("[base.safetensors+k]").substr(0, 15), "k: no such file");
  test::write_model(folder_ / "other.safetensors", {tensor("q.weight", DType::kF32, {2, 3}, {1, 1, 1, 1, 1, 1})});
  EXPECT_EQ(
      refusal("[other.safetensors+l]"),
      "HERE/l changes m.q.weight, which HERE/other.safetensors lacks; the base has q.weight: was the adapter made "
      "for a model with another prefix?");
}

}  // namespace
}  // namespace solera::merge
