// Snapshot averages: the sheet's oracles through files, orders and selections, and what is refused.
#include "solera/merge/average.h"

#include <cmath>

#include <gmock/gmock.h>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/merge/execute.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AverageTest : public ::testing::Test {
 protected:
  std::string run_folder(const std::string& run) {
    make_folders(folder_ / run);
    return folder_ / run;
  }
  // A snapshot with one float tensor and one integer.
  std::string snapshot(const std::string& run, const std::string& name, const std::vector<double>& values,
                       DType dtype = DType::kF32, double steps = 0) {
    return test::write_model(join_path(run_folder(run), name),
                             {test::tensor("num_batches_tracked", DType::kI64, {}, {steps}),
                              test::tensor("w", dtype, {static_cast<std::int64_t>(values.size())}, values)});
  }
  checkpoint::Checkpoint averaged(const AverageOptions& options) {
    Average average = plan_average(options, pool_);
    warnings_ = average.warnings;
    Plan plan = make_plan(average.config, {.single_file = true});
    const std::string out = folder_ / cat("out", ++outputs_, ".safetensors");
    execute(plan, {.out = out, .threads = 1}, no_progress());
    return checkpoint::open_checkpoint(out);
  }
  std::vector<double> mean(const AverageOptions& options) { return test::values(averaged(options), "w"); }
  std::string refusal(const AverageOptions& options) {
    return message_of([&] { plan_average(options, pool_); });
  }

  TemporaryFolder folder_;
  Pool pool_{2};
  std::vector<std::string> warnings_;
  int outputs_ = 0;
};

TEST_F(AverageTest, VisitsTheRunningMean) {
  const std::string run = run_folder("run");
  snapshot("run", "step1.safetensors", {1, 4});
  EXPECT_THAT(mean({.runs = {run}}), ElementsAre(1, 4));
  EXPECT_THAT(warnings_, ElementsAre("step1.safetensors is the only snapshot: the result is a copy of it"));
  snapshot("run", "step2.safetensors", {2, 5});
  EXPECT_THAT(mean({.runs = {run}}), ElementsAre(1.5, 4.5));
  snapshot("run", "step3.safetensors", {6, 0});
  EXPECT_THAT(mean({.runs = {run}}), ElementsAre(3, 3));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(AverageTest, OfALineIsItsMiddle) {
  for (int s = 1; s <= 10; ++s) snapshot("run", cat("step", s, ".safetensors"), {static_cast<double>(s)});
  const std::string run = run_folder("run");
  EXPECT_THAT(mean({.runs = {run}}), ElementsAre(5.5));
  EXPECT_THAT(mean({.runs = {run}, .last = 4}), ElementsAre(8.5));
  EXPECT_THAT(mean({.runs = {run}, .start = 0.5}), ElementsAre(8));
  EXPECT_THAT(mean({.runs = {run}, .start = 0.5, .last = 2}), ElementsAre(9.5));
  EXPECT_THAT(mean({.runs = {run}, .weighting = Weighting::kLinear}), ElementsAre(7));  // (2 k + 1) / 3
}

TEST_F(AverageTest, PoolsRuns) {
  snapshot("a", "1.safetensors", {1});
  snapshot("a", "2.safetensors", {3});
  snapshot("b", "1.safetensors", {5});
  const std::string a = run_folder("a"), b = run_folder("b");
  EXPECT_THAT(mean({.runs = {a, b}}), ElementsAre(3));  // unequal counts are pooled, not 3.5
  snapshot("b", "2.safetensors", {7});
  EXPECT_THAT(mean({.runs = {a}}), ElementsAre(2));
  EXPECT_THAT(mean({.runs = {b}}), ElementsAre(6));
  EXPECT_THAT(mean({.runs = {a, b}, .last_of_each = true}), ElementsAre(5));
  EXPECT_THAT(mean({.runs = {a, b}}), ElementsAre(4));
}

TEST_F(AverageTest, EmaIsTheRecursion) {
  const std::vector<double> values = {1, -2, 0.5, 8};
  for (std::size_t s = 0; s < values.size(); ++s) snapshot("run", cat("step", s, ".safetensors"), {values[s]});
  for (double d : {0.0, 0.3, 0.9, 0.999}) {
    double m = values[0];
    for (std::size_t s = 1; s < values.size(); ++s) m = d * m + (1 - d) * values[s];
    EXPECT_FLOAT_EQ(
        static_cast<float>(mean({.runs = {run_folder("run")}, .weighting = Weighting::kEma, .decay = d}).front()),
        static_cast<float>(m));
  }
}

TEST(AverageWeights, AreTheFormulas) {
  const auto weights = [](AverageOptions options, std::vector<int> counts) { return average_weights(options, counts); };
  EXPECT_THAT(weights({}, {3, 1}), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(weights({.weighting = Weighting::kLinear}, {3}), ElementsAre(1, 2, 3));
  EXPECT_THAT(weights({.weighting = Weighting::kLinear}, {2, 2}), ElementsAre(1, 2, 1, 2));
  // A run weighs as many snapshots as it has: 3 and 1.
  EXPECT_THAT(weights({.weighting = Weighting::kLinear}, {3, 1}), ElementsAre(0.5, 1, 1.5, 1));
  EXPECT_THAT(weights({.weighting = Weighting::kEma, .decay = 0.5}, {3}), ElementsAre(0.25, 0.25, 0.5));
  EXPECT_THAT(weights({.weighting = Weighting::kEma, .decay = 0}, {3}), ElementsAre(0, 0, 1));
  EXPECT_THAT(weights({.weighting = Weighting::kEma, .decay = 0.5}, {1}), ElementsAre(1));
  EXPECT_THAT(weights({.weighting = Weighting::kExplicit, .weights = {3, 0}}, {2, 2}), ElementsAre(3, 0, 3, 0));
  EXPECT_THAT(weights({.weighting = Weighting::kExplicit, .weights = {1, 2, 3}}, {2, 1}), ElementsAre(1, 2, 3));
}

TEST_F(AverageTest, EqualModelsComeBackBitForBit) {
  std::vector<double> values(777);
  const RandomStream stream({7, "average test"});
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(static_cast<float>(stream.normal(i)));
  for (int s = 1; s <= 50; ++s) snapshot("run", cat(s, ".safetensors"), values);
  const std::string run = run_folder("run");
  for (int k : {2, 3, 10, 50}) {
    EXPECT_EQ(mean({.runs = {run}, .last = k}), values) << k;
    EXPECT_EQ(mean({.runs = {run}, .last = k, .weighting = Weighting::kLinear}), values) << k;
    EXPECT_EQ(mean({.runs = {run}, .last = k, .weighting = Weighting::kEma, .decay = 0.37}), values) << k;
  }
}

TEST_F(AverageTest, RoundsOnceToTheStoredType) {
  for (int s = 0; s < 10; ++s) snapshot("run", cat(s, ".safetensors"), {s == 0 ? 1 : 1.0078125}, DType::kBF16);
  const auto model = averaged({.runs = {run_folder("run")}});
  EXPECT_THAT(test::values(model, "w"), ElementsAre(1.0078125));
  EXPECT_EQ(model.at("w").dtype, DType::kBF16);
}

TEST_F(AverageTest, IntegersComeFromTheLastSnapshotOfTheLastRun) {
  int steps = 0;
  for (const char* run : {"b", "a"})
    for (const char* name : {"9.safetensors", "10.safetensors"}) snapshot(run, name, {1}, DType::kF32, ++steps);
  const std::string a = run_folder("a"), b = run_folder("b");
  EXPECT_THAT(test::values(averaged({.runs = {b, a}}), "num_batches_tracked"), ElementsAre(4));
  EXPECT_THAT(test::values(averaged({.runs = {a, b}}), "num_batches_tracked"), ElementsAre(2));
  EXPECT_THAT(test::values(averaged({.runs = {a, b}, .last_of_each = true}), "num_batches_tracked"), ElementsAre(2));
}

TEST(StepOf, ReadsTheNumberThatCounts) {
  const std::pair<const char*, std::int64_t> cases[] = {{"step9", 9},
                                                        {"step-0010", 10},
                                                        {"checkpoint-500", 500},
                                                        {"epoch=3-step=1500", 1500},
                                                        {"run2_007", 7},
                                                        {"global_step1000", 1000},
                                                        {"model_v2_epoch_12", 12},
                                                        {"epoch=4-val_loss=0.25", 4},
                                                        {"ckpt.3", 3},
                                                        {"Iteration_40_lr0.1", 40},
                                                        {"snapshot12_0.75", 12},
                                                        {"7", 7},
                                                        {"steps_100", 100},
                                                        {"w.5", 5}};
  for (const auto& [name, step] : cases) EXPECT_EQ(step_of(name), step) << name;
  for (const char* name : {"best", "", "final-0.75", "step99999999999999999999"})
    EXPECT_EQ(step_of(name), std::nullopt) << name;
}

TEST_F(AverageTest, SortsByNumberAndLeavesTheRestOut) {
  const std::string run = run_folder("run");
  for (const char* name : {"step10.safetensors", "step9.safetensors", "step100.safetensors", "best.safetensors",
                           "model-00001-of-00002.safetensors"})
    snapshot("run", name, {1});
  write_atomically(join_path(run, "optimizer_12.pt"), "x");
  write_atomically(join_path(run, "rng_state_0.pth"), "x");
  write_atomically(join_path(run, "notes-3.txt"), "x");
  std::vector<std::string> warnings, labels;
  for (const Snapshot& s : find_snapshots(run, warnings)) labels.push_back(s.label);
  EXPECT_THAT(labels, ElementsAre("step9.safetensors", "step10.safetensors", "step100.safetensors"));
  EXPECT_THAT(warnings, ElementsAre(cat(run, ": best.safetensors left out: no step number in the name")));
}

TEST_F(AverageTest, TakesModelFoldersBeforeFiles) {
  const std::string run = run_folder("run");
  snapshot("run/checkpoint-9", "model.safetensors", {1});
  snapshot("run/checkpoint-10", "model.safetensors", {3});
  snapshot("run", "model7.safetensors", {100});
  write_atomically(folder_ / "run/checkpoint-10/config.json", "{}");
  make_folders(folder_ / "run/logs-11");
  EXPECT_THAT(mean({.runs = {run}}), ElementsAre(2));
}

TEST(SnapshotSteps, RoundHalvesUp) {
  EXPECT_THAT(snapshot_steps(100, 10), ElementsAre(10, 20, 30, 40, 50, 60, 70, 80, 90, 100));
  EXPECT_THAT(snapshot_steps(7, 3), ElementsAre(2, 5, 7));
  EXPECT_THAT(snapshot_steps(5, 2), ElementsAre(3, 5));
  EXPECT_EQ(message_of([] { snapshot_steps(3, 4); }), "4 snapshots of 3 steps");
  EXPECT_EQ(message_of([] { snapshot_steps(3, 0); }), "0 snapshots, less than 1");
}

TEST_F(AverageTest, RefusesWhatIsNotARun) {
  const std::string empty = run_folder("empty");
  EXPECT_EQ(refusal({.runs = {empty}}),
            cat(empty,
                " holds no snapshots with a step number in their names; snapshots are model files or folders such as "
                "step-100.safetensors or checkpoint-100"));
  const std::string file = snapshot("run", "1.safetensors", {1});
  EXPECT_EQ(refusal({.runs = {file}}),
            cat(file,
                " is a file, not a folder of snapshots; give the folder of a run, or average single models with "
                "solera soup --method uniform"));
  EXPECT_EQ(refusal({.runs = {folder_ / "rum"}}),
            cat(folder_ / "rum", ": no such file; did you mean ", folder_ / "run", "?"));
  EXPECT_EQ(refusal({}), "no folder of snapshots is given");
  const std::string run = run_folder("run");
  EXPECT_EQ(refusal({.runs = {run, run}}), cat(run, " and ", run, " are the same folder"));
  snapshot("run", "step-1.safetensors", {1});
  EXPECT_EQ(refusal({.runs = {run}}),
            cat("1.safetensors and step-1.safetensors are both of step 1 (", run, "); keep one of them"));
}

TEST_F(AverageTest, RefusesOptionsThatContradict) {
  for (int s = 1; s <= 3; ++s) snapshot("run", cat(s, ".safetensors"), {1.0 * s});
  const std::string run = run_folder("run");
  const std::vector<std::string> runs = {run};
  EXPECT_EQ(refusal({.runs = runs, .start = 1}), "start is 1, not in [0, 1)");
  EXPECT_EQ(refusal({.runs = runs, .start = -0.1}), "start is -0.1, not in [0, 1)");
  EXPECT_EQ(refusal({.runs = runs, .last = -1}), "last is -1, less than 1");
  EXPECT_EQ(refusal({.runs = runs, .last = 4}), cat("last is 4, but ", run, " has 3 snapshots"));
  EXPECT_EQ(refusal({.runs = runs, .start = 0.5, .last = 3}),
            cat("last is 3, but ", run, " has 2 snapshots after start"));
  EXPECT_EQ(refusal({.runs = runs, .weighting = Weighting::kEma, .decay = 1}), "ema is 1, not in [0, 1)");
  EXPECT_EQ(refusal({.runs = runs, .last_of_each = true, .last = 2}),
            "runs last keeps one snapshot of each run, so last has nothing to choose from");
  EXPECT_EQ(refusal({.runs = runs, .last_of_each = true, .weighting = Weighting::kEma, .decay = 0.5}),
            "runs last keeps one snapshot of each run, so ema has nothing to choose from");
  const auto weights = [&](std::vector<double> w) {
    return refusal({.runs = runs, .weighting = Weighting::kExplicit, .weights = std::move(w)});
  };
  EXPECT_EQ(weights({1, 2}), "2 weights for 3 snapshots; give one for each snapshot that is averaged");
  EXPECT_EQ(weights({1, -2, 1}), "weight -2 is not a finite number >= 0");
  EXPECT_EQ(weights({0, 0, 0}), "the weights sum to zero");
}

TEST_F(AverageTest, RefusesDifferentModels) {
  const auto pair = [&](const std::string& run, std::vector<checkpoint::NamedBytes> a,
                        std::vector<checkpoint::NamedBytes> b) {
    test::write_model(join_path(run_folder(run), "1.safetensors"), a);
    test::write_model(join_path(run_folder(run), "2.safetensors"), b);
    return refusal({.runs = {run_folder(run)}});
  };
  const auto w = [](DType dtype, checkpoint::Shape shape, std::vector<double> v) {
    return test::tensor("w", dtype, shape, v);
  };
  const auto v = test::tensor("v", DType::kF32, {1}, {1});
  const auto u = test::tensor("u", DType::kF32, {1}, {1});
  EXPECT_EQ(pair("lacks", {u, v, w(DType::kF32, {1}, {1})}, {w(DType::kF32, {1}, {1})}),
            "2.safetensors lacks u and v, which 1.safetensors has");
  EXPECT_EQ(pair("extra", {u}, {u, v}), "2.safetensors has v, which 1.safetensors lacks");
  EXPECT_EQ(pair("shape", {w(DType::kF32, {2}, {1, 2})}, {w(DType::kF32, {1, 2}, {1, 2})}),
            "2.safetensors: w is [1, 2], 1.safetensors has [2]");
  EXPECT_EQ(pair("sort", {w(DType::kF32, {1}, {1})}, {w(DType::kI32, {1}, {1})}),
            "2.safetensors: w is I32, 1.safetensors has F32; floats and integers cannot be averaged");
}

TEST_F(AverageTest, NamesASnapshotThatIsNotFinite) {
  snapshot("run", "1.safetensors", {1});
  const std::string bad = snapshot("run", "2.safetensors", {std::nan("")});
  const std::string message = message_of([&] { mean({.runs = {run_folder("run")}}); });
  EXPECT_THAT(message, ::testing::HasSubstr(bad));
  EXPECT_FALSE(exists(folder_ / "out1.safetensors"));
}

TEST_F(AverageTest, RefusesAdapters) {
  const auto advice = [](const std::string& label) {
    return cat(label,
               " is a LoRA adapter: the average of its A and of its B is not the average of B A; merge each adapter "
               "into its base model, then average the results");
  };
  write_atomically(join_path(run_folder("run/checkpoint-1"), "adapter_config.json"), "{}");
  EXPECT_EQ(refusal({.runs = {run_folder("run")}}), advice("checkpoint-1"));
  EXPECT_EQ(refusal({.runs = {run_folder("run/checkpoint-1")}}), advice(folder_ / "run/checkpoint-1"));
  test::write_model(join_path(run_folder("files"), "1.safetensors"),
                    {test::tensor("q.lora_A.weight", DType::kF32, {1}, {1})});
  EXPECT_EQ(refusal({.runs = {run_folder("files")}}), advice("1.safetensors"));
}

TEST_F(AverageTest, WarnsOfDuplicates) {
  snapshot("run", "1.safetensors", {1});
  snapshot("run", "2.safetensors", {2});
  snapshot("run", "3.safetensors", {1});
  EXPECT_THAT(mean({.runs = {run_folder("run")}, .weighting = Weighting::kLinear}), ElementsAre(8.0f / 6));
  EXPECT_THAT(warnings_,
              ElementsAre("1.safetensors and 3.safetensors have the same content; the average counts it 2 times"));
}

class Heads : public AverageTest {
 protected:
  // A body of its own, and a head: noise number `head`, moved a little by training.
  void run(const std::string& name, std::uint64_t head, std::uint64_t seed, const std::string& module = "classifier") {
    for (int step : {1, 2}) {
      std::vector<double> body(40), top(40);
      const RandomStream a({seed, "body"}), b({head, "head"}), c({seed, "training"});
      for (std::size_t i = 0; i < 40; ++i) {
        body[i] = a.normal(i);
        top[i] = b.normal(i) + 0.1 * step * c.normal(i);
      }
      test::write_model(join_path(run_folder(name), cat("step", step, ".safetensors")),
                        {test::tensor("body.weight", DType::kF32, {40}, body),
                         test::tensor(module + ".bias", DType::kF32, {1}, {1.0 * static_cast<double>(seed)}),
                         test::tensor(module + ".weight", DType::kF32, {4, 10}, top)});
    }
  }
  std::vector<std::string> folders(const std::string& a, const std::string& b) {
    return {run_folder(a), run_folder(b)};
  }
};

TEST_F(Heads, OfOneInitializationAreAveraged) {
  run("a", 1, 1);
  run("b", 1, 2);
  EXPECT_EQ(plan_average({.runs = folders("a", "b")}, pool_).snapshots.size(), 4u);
}

TEST_F(Heads, ThatDifferAreRefused) {
  for (const std::string module : {"classifier", "fc", "linear", "lm_head"}) {
    run(module + "-a", 1, 1, module);
    run(module + "-b", 2, 2, module);
    const auto runs = folders(module + "-a", module + "-b");
    for (const bool last : {false, true}) {
      const std::string message = refusal({.runs = runs, .last_of_each = last});
      EXPECT_THAT(message,
                  ::testing::StartsWith(cat("the heads of the runs differ: ", module, ".weight of ", runs[0],
                                            "/step1.safetensors and of ", runs[1], "/step1.safetensors are 1.")));
      EXPECT_THAT(message,
                  ::testing::EndsWith(" of their norm apart; train the runs from one initialization with a common, "
                                      "frozen head, or add --allow-different-heads"));
    }
    EXPECT_EQ(plan_average({.runs = runs, .different_heads = true}, pool_).snapshots.size(), 4u);
    EXPECT_EQ(plan_average({.runs = {runs[0]}}, pool_).snapshots.size(), 2u);
  }
}

TEST_F(Heads, CanBeNamed) {
  run("a", 1, 1, "top");
  run("b", 2, 2, "top");
  const auto runs = folders("a", "b");
  EXPECT_EQ(plan_average({.runs = runs}, pool_).snapshots.size(), 4u);
  EXPECT_THAT(refusal({.runs = runs, .heads = {Pattern("top.*")}}),
              ::testing::StartsWith("the heads of the runs differ: top"));
  EXPECT_EQ(refusal({.runs = runs, .heads = {Pattern("tip.*")}}), "--head 'tip.*' matches no tensor");
}

}  // namespace
}  // namespace solera::merge
