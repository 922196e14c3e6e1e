// Merges that read statistics files: what the plan makes of them, what it refuses, and that they count as inputs.
#include "solera/merge/statistics_files.h"

#include <gmock/gmock.h>

#include "solera/merge/execute.h"
#include "solera/merge/methods/fisher.h"
#include "solera/merge/methods/regmean.h"
#include "tests/merge/formulas.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using checkpoint::NamedBytes;
using solera::test::message_of;
using solera::test::tensor;
using test::Values;
using testing::ElementsAre;

class StatisticsMerge : public testing::Test {
 protected:
  StatisticsMerge() {
    for (const char* name : {"a", "b"}) {
      const double shift = *name - 'a';
      write(name, {tensor("bn.running_mean", DType::kF32, {1}, {shift}),
                   tensor("w", DType::kF32, {2, 2}, {1 + shift, 2, 3, 4 - shift})});
      statistics(cat(name, ".stats"), {1 + 2 * shift, 1, 2, 1});
    }
  }

  void write(const std::string& name, const std::vector<NamedBytes>& tensors) {
    solera::test::write_model(folder_ / (name + ".safetensors"), tensors);
  }
  void statistics(const std::string& name, const std::vector<double>& fisher) {
    write(name,
          {tensor("w.fisher", DType::kF32, {2, 2}, fisher),
           tensor("w.gram", DType::kF32, {2, 2}, {fisher[0], 0, 0, fisher[3]}), tensor("n", DType::kI64, {}, {9})});
  }

  std::string yaml(const std::string& method, const std::string& of_a = "a.stats",
                   const std::string& of_b = "b.stats") {
    const std::string key = method == "fisher" ? "fisher" : "statistics";
    const auto entry = [&](const std::string& model, const std::string& file) {
      return cat("  - {model: ", model, ".safetensors, parameters: {",
                 file.empty() ? "" : cat(key, ": ", file, ".safetensors"), "}}\n");
    };
    return cat("merge_method: ", method, "\nmodels:\n", entry("a", of_a), entry("b", of_b));
  }
  Plan plan(const std::string& text) {
    MergeConfig config = parse_merge_config(parse_yaml(text, "f.yaml"));
    config.folder = folder_.path();
    return make_plan(std::move(config), {.single_file = true});
  }
  std::string message(const std::function<void()>& action) {
    std::string text = message_of(action);
    const std::string root = folder_.path() + "/";
    for (auto at = text.find(root); at != std::string::npos; at = text.find(root)) text.erase(at, root.size());
    return text;
  }
  std::string refusal(const std::string& text) {
    return message([&] { plan(text); });
  }
  std::vector<double> merged(const std::string& text) {
    Plan p = plan(text);
    execute(p, {.out = out_, .force = true, .block = 4, .blocks_per_chunk = 1}, no_progress());
    return solera::test::values(checkpoint::open_checkpoint(out_), "w");
  }

  TemporaryFolder folder_;
  const std::string out_ = folder_ / "out.safetensors";
};

TEST_F(StatisticsMerge, FilesLieBesideTheConfigurationAndStreamLikeModels) {
  const Plan p = plan(yaml("fisher"));
  ASSERT_EQ(p.tensors.size(), 2u);
  EXPECT_EQ(p.tensors[0].statistics, 0u);
  EXPECT_EQ(p.tensors[1].statistics, 2u);
  EXPECT_EQ(p.tensors[1].operands.size(), 4u);
  EXPECT_EQ(p.tensors[1].operands[3].label, "b.stats.safetensors");
  EXPECT_EQ(p.program->describe(1),
            "normalize true, favor_target true, floor 1e-06, require matrices [weight 1, fisher a.stats.safetensors] "
            "[weight 1, fisher "
            "b.stats.safetensors]");
  EXPECT_THAT(p.warnings, ElementsAre("no file has a .fisher for bn.running_mean: merged without"));
  EXPECT_EQ(p.inputs().size(), 4u);
  EXPECT_EQ(p.bytes_to_read(), 2 * 4u + 4 * 16u);
}

TEST_F(StatisticsMerge, GivesTheFormulasBits) {
  const std::vector<Values> inputs = {{1, 2, 3, 4}, {2, 2, 3, 3}}, fishers = {{1, 1, 2, 1}, {3, 1, 2, 1}};
  Values expected(4);
  const std::vector<FisherModel> equal(2);
  fisher(test::spans(inputs), test::spans(fishers), {}, equal, expected);
  EXPECT_EQ(merged(yaml("fisher")), std::vector<double>(expected.begin(), expected.end()));
  EXPECT_EQ(solera::test::values(checkpoint::open_checkpoint(out_), "bn.running_mean"), std::vector<double>{0.5});
  const std::vector<Values> grams = {{1, 0, 0, 1}, {3, 0, 0, 1}};
  const std::vector<RegMeanModel> models(2);
  regmean(test::spans(inputs), test::spans(grams), 2, {}, models, expected);
  EXPECT_EQ(merged(yaml("regmean")), std::vector<double>(expected.begin(), expected.end()));
  EXPECT_NEAR(expected[0], 1.75, 1e-6);
  EXPECT_EQ(solera::test::values(checkpoint::open_checkpoint(out_), "bn.running_mean"), std::vector<double>{0.5});
}

// The norm is that of the whole model's Fisher, not of the tensor's.
TEST_F(StatisticsMerge, NormsRunOverAllTensors) {
  for (const char* name : {"a", "b"}) {
    const bool is_a = *name == 'a';
    write(name, {tensor("v", DType::kF32, {1}, {is_a ? 1.0 : 5}), tensor("w", DType::kF32, {1}, {is_a ? 1.0 : 5})});
    write(cat(name, ".stats"),
          {tensor("v.fisher", DType::kF32, {1}, {is_a ? 3.0 : 0}),
           tensor("w.fisher", DType::kF32, {1}, {is_a ? 4.0 : 2}), tensor("n", DType::kI64, {}, {9})});
  }
  EXPECT_NEAR(merged(yaml("fisher"))[0], 3.222222, 1e-6);
  EXPECT_EQ(solera::test::values(checkpoint::open_checkpoint(out_), "v"), std::vector<double>{1});
}

TEST_F(StatisticsMerge, WhatIsMissingIsNamed) {
  EXPECT_EQ(refusal(yaml("fisher", "a.stats", "")),
            "missing parameter \"fisher\" for b.safetensors at bn.running_mean (f.yaml); give it to the model, or for "
            "the whole file under parameters");
  EXPECT_EQ(
      refusal(yaml("fisher", "a.stats", "b.stat")),
      "b.stat.safetensors: no such file (f.yaml:4:49); looked for it in the working folder and in " + folder_.path());
  EXPECT_EQ(refusal(yaml("fisher", "a.stats", "a")),
            "no tensor n (a.safetensors); a statistics file says how many "
            "examples it was measured on");
  write("b.stats", {tensor("w.input_sq", DType::kF32, {2}, {1, 1}), tensor("n", DType::kI64, {}, {9})});
  EXPECT_EQ(refusal(yaml("fisher")), "holds no .fisher tensor, so that fisher can do nothing (b.stats.safetensors)");
  write("b.stats", {tensor("bn.running_mean.fisher", DType::kF32, {1}, {1}), tensor("n", DType::kI64, {}, {9})});
  EXPECT_EQ(refusal(yaml("fisher")),
            "bn.running_mean.fisher is in b.stats.safetensors but not in a.stats.safetensors (f.yaml); measure all "
            "models alike, or --exclude 'bn.running_mean' keeps that of a.safetensors");
}

// What no file has is a vector without a gradient, or a measurement that left it out.
TEST_F(StatisticsMerge, AMatrixWithoutAFisherIsRefused) {
  const auto global = [](const std::string& require) { return cat("parameters: {require: ", require, "}\n"); };
  const std::string where = " (a.stats.safetensors, b.stats.safetensors); measure it too, --exclude '";
  const std::string end = "' to keep that of a.safetensors, or set require: none to average it";
  EXPECT_EQ(refusal(yaml("fisher") + global("all")),
            "no file has a Fisher for bn.running_mean" + where + "bn.running_mean" + end);
  for (const char* name : {"a", "b"}) {
    write(name, {tensor("frozen", DType::kF32, {1, 2}, {double(*name - 'a'), 2}),
                 tensor("w", DType::kF32, {2, 2}, {1, 2, 3, 4})});
  }
  const std::string frozen = "no file has a Fisher for frozen" + where + "frozen" + end;
  EXPECT_EQ(refusal(yaml("fisher")), frozen);
  EXPECT_EQ(refusal(yaml("fisher") + global("[{filter: w, value: none}, {value: matrices}]")), frozen);
  for (const char* require : {"none", "[{tensor: frozen, value: none}, {value: all}]"}) {
    EXPECT_THAT(plan(yaml("fisher") + global(require)).warnings,
                ElementsAre("no file has a .fisher for frozen: merged without"));
    merged(yaml("fisher") + global(require));
    EXPECT_EQ(solera::test::values(checkpoint::open_checkpoint(out_), "frozen"), (std::vector<double>{0.5, 2}));
  }
  EXPECT_THAT(plan(yaml("regmean")).warnings, ElementsAre("no file has a .gram for frozen: merged without"));
}

TEST_F(StatisticsMerge, WhatIsNoFisherIsFoundInThePasses) {
  const auto fails = [&](const std::string& global) {
    Plan p = plan(yaml("fisher") + global);
    const std::string text = message([&] { execute(p, {.out = out_}, no_progress()); });
    EXPECT_FALSE(exists(out_));
    EXPECT_FALSE(exists(out_ + ".partial"));
    return text;
  };
  const std::string raw = "parameters: {normalize: false}\n";
  statistics("b.stats", {1, 1, -2, 1});
  const std::string negative = "w.fisher is -2 at element 2, and a Fisher is never negative (b.stats.safetensors)";
  EXPECT_EQ(fails(""), negative);
  EXPECT_EQ(fails(raw), negative);
  statistics("b.stats", {1, NAN, 2, 1});
  const std::string nan =
      "b.stats.safetensors: w.fisher holds NaN at element 1 (b.stats.safetensors); use "
      "--allow-nonfinite to let it through";
  EXPECT_EQ(fails(""), nan);
  EXPECT_EQ(fails(raw), nan);
  statistics("b.stats", {0, 0, 0, 0});
  EXPECT_EQ(fails(""),
            "every Fisher is 0: the norm is 0 and cannot normalize (b.stats.safetensors); measure on data that the "
            "model depends on, or set normalize: false");
  statistics("b.stats", {1, NAN, 2, 1});
  Plan p = plan(yaml("fisher") + raw);
  EXPECT_EQ(message([&] { execute(p, {.out = out_, .allow_nonfinite = true}, no_progress()); }),
            "w.fisher is nan at element 1, and a Fisher is never negative (b.stats.safetensors)");
}

// Not normalized, a Fisher of zeros is no error: its model counts by the floor, and that is said once the merge is
// done.
TEST_F(StatisticsMerge, AFisherOfZerosIsPointedOutWhereNothingIsNormalized) {
  struct Listener final : Progress {
    void begin(std::string_view, std::uint64_t, std::string_view) override {}
    void advance(std::uint64_t) override {}
    void note(std::string_view) override {}
    void warn(std::string_view line) override { warnings.emplace_back(line); }
    void status(std::string_view) override {}
    void end() override {}
    std::vector<std::string> warnings;
  } listener;
  const auto warnings = [&] {
    listener.warnings.clear();
    Plan p = plan(yaml("fisher") + "parameters: {normalize: false}\n");
    execute(p, {.out = out_, .force = true, .block = 4, .blocks_per_chunk = 1}, listener);
    return listener.warnings;
  };
  statistics("a.stats", {0, 0, 0, 1e-30});
  EXPECT_THAT(warnings(), ElementsAre());
  statistics("b.stats", {0, 0, 0, 0});
  const std::string line = ": every Fisher is 0, so its model counts nowhere or by the floor alone";
  EXPECT_THAT(warnings(), ElementsAre((folder_ / "b.stats.safetensors") + line));
  statistics("a.stats", {0, 0, 0, 0});
  EXPECT_THAT(warnings(),
              ElementsAre((folder_ / "a.stats.safetensors") + line, (folder_ / "b.stats.safetensors") + line));
}

TEST_F(StatisticsMerge, BadSharesAreRefusedBeforeAnythingIsRead) {
  EXPECT_EQ(refusal(yaml("fisher") + "parameters: {weight: -1}\n"),
            "\"weight\" is -1, less than 0 at bn.running_mean (f.yaml); shares are 0 or more");
  EXPECT_EQ(refusal(yaml("regmean") + "parameters: {weight: 0}\n"),
            "the weights sum to zero at bn.running_mean (f.yaml); give one model a weight above 0");
}

TEST_F(StatisticsMerge, TheFilesAreInputs) {
  const std::string text = yaml("fisher"), file = folder_ / "b.stats.safetensors";
  Plan first = plan(text);
  EXPECT_NE(message([&] { execute(first, {.out = file, .force = true}, no_progress()); }), "");
  const std::string hash = first.hash();
  EXPECT_EQ(plan(text).hash(), hash);
  EXPECT_NE(plan(yaml("fisher", "b.stats", "a.stats")).hash(), hash);

  struct Stopper final : Progress {
    void begin(std::string_view what, std::uint64_t, std::string_view) override { merging = what == "merge"; }
    void advance(std::uint64_t) override {
      if (merging) request_stop(true);
    }
    void note(std::string_view) override {}
    void warn(std::string_view) override {}
    void status(std::string_view) override {}
    void end() override {}
    bool merging = false;
  } stopper;
  EXPECT_THROW(execute(first, {.out = out_, .threads = 1}, stopper), Error);
  request_stop(false);
  ASSERT_TRUE(exists(out_ + ".partial"));
  statistics("b.stats", {1, 1, 1, 8});
  Plan second = plan(text);
  EXPECT_EQ(
      message([&] { execute(second, {.out = out_}, no_progress()); }),
      "b.stats.safetensors changed since the unfinished merge began (out.safetensors.partial); finish it with the "
      "same command and inputs, or discard it with --restart");
}

TEST_F(StatisticsMerge, WholeTensorsCountInTheLeastMemory) {
  const Plan streamed = plan(yaml("fisher")), whole = plan(yaml("regmean"));
  // 2 x 2 sums, result and weights, and 256 + 64 rows of 2.
  EXPECT_EQ(least_memory(whole, 1), least_memory(streamed, 1) + 8 * (4 + 2 * 4 + 2 * 320));
  EXPECT_EQ(whole.program->extra_memory(0), 0u);
}

}  // namespace
}  // namespace solera::merge
