#include "solera/soup/rescale_search.h"

#include <gmock/gmock.h>

#include "solera/weights/combine.h"
#include "tests/soup/scalars.h"

namespace solera::soup {
namespace {

using solera::test::message_of;
using solera::test::tensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Rescale : public test::Scalars {
 protected:
  std::string model(const std::string& name, const std::vector<double>& w) {
    return solera::test::write_model(
        folder_ / name, {tensor("w", checkpoint::DType::kF32, {static_cast<std::int64_t>(w.size()), 1}, w)});
  }
  RescaleOptions rescale(double density, const std::string& command) {
    RescaleOptions options;
    options.delta.out = folder_ / "delta.safetensors";
    options.delta.force = true;
    options.delta.sparsity = {.how = weights::Sparsify::kQ, .density = density};
    options.evaluator.shell = command;
    return options;
  }
  RescaleReport search(const RescaleOptions& options) {
    recorder_.notes.clear();
    recorder_.warnings.clear();
    return search_rescale(checkpoint::open_checkpoint(base_), checkpoint::open_checkpoint(tuned_), options, recorder_);
  }
  std::string refusal(const RescaleOptions& options) {
    return message_of([&] { search(options); });
  }
  std::string applied() {
    std::vector<weights::Term> terms;
    terms.push_back(weights::open_term(folder_ / "delta.safetensors", 1));
    Pool pool(1);
    weights::combine(checkpoint::open_checkpoint(base_), std::move(terms),
                     {.out = folder_ / "out.safetensors", .force = true}, pool, no_progress());
    return folder_ / "out.safetensors";
  }
  // A program that prints the distance of the mean of n numbers from 1.
  std::string distance_script(int n) {
    write_atomically(folder_ / "distance.sh", cat("echo x >> ", shell_quote(runs_file()), "\ntail -c ", 4 * n,
                                                  " \"$1\" | od -An -v -w4 -tf4 | awk '{s += $1} END {d = s / ", n,
                                                  " - 1; print d < 0 ? -d : d}'\n"));
    return cat("sh ", shell_quote(folder_ / "distance.sh"), " {checkpoint}");
  }

  std::string base_ = model("base.safetensors", {0}), tuned_ = model("tuned.safetensors", {1});
};

TEST_F(Rescale, FindsThePeakByLabels) {  // all is kept: the candidate is 1 / q, best at 0.6
  RescaleOptions options = rescale(1, peak_script());
  options.to = 2;
  const RescaleReport report = search(options);
  EXPECT_EQ(report.value, 1.665);
  EXPECT_EQ(report.sparsity.q, 1.665);
  EXPECT_NEAR(report.score, -(1 / 1.665 - 0.6) * (1 / 1.665 - 0.6), 1e-7);
  EXPECT_NEAR(report.base_score, -0.36, 1e-6);
  EXPECT_NEAR(report.tuned_score, -0.16, 1e-6);
  EXPECT_FALSE(report.lower_is_better);
  EXPECT_EQ(solera::test::values(checkpoint::open_checkpoint(applied()), "w").front(),
            static_cast<double>(static_cast<float>(1 / 1.665)));
  EXPECT_EQ(runs(), report.evaluations);
  EXPECT_EQ(recorder_.notes.size(), 2 + report.scan.trials.size());
  EXPECT_EQ(recorder_.notes[0], "the base: -0.36");
  EXPECT_THAT(recorder_.notes[2], StartsWith("q 1: -0.16, better"));
  EXPECT_THAT(recorder_.warnings, ElementsAre());
  expect_only_scores();

  const RescaleReport again = search(options);  // from the cache, with the same result
  EXPECT_EQ(again.evaluations, 0);
  EXPECT_EQ(again.value, 1.665);
  options.delta.sparsity.seed = 1;           // another mask, another candidate; the models' scores stay
  EXPECT_EQ(search(options).cached, 2 + 1);  // and the one fine value that was a coarse one
}

TEST_F(Rescale, GoesOnAfterAFailure) {
  const std::string flag = folder_ / "ready";
  RescaleOptions options = rescale(1, cat("grep -q . ", shell_quote(flag), " || test $(wc -l < ",
                                          shell_quote(runs_file()), ") -lt 5 || exit 3; ", peak_script()));
  options.to = 2;
  write_atomically(runs_file(), "");
  write_atomically(flag, "");
  EXPECT_THAT(refusal(options), StartsWith("the evaluation of the delta with q 1.15, seed 0 ended with status 3"));
  EXPECT_FALSE(exists(folder_ / "delta.safetensors"));
  expect_only_scores();
  write_atomically(flag, "go on\n");
  const RescaleReport report = search(options);
  EXPECT_EQ(report.value, 1.665);
  EXPECT_EQ(report.cached, 5 + 1);
}

TEST_F(Rescale, ChangeIsAveragedOverMasks) {
  constexpr int kEntries = 64;
  base_ = model("base.safetensors", std::vector<double>(kEntries, 0));
  tuned_ = model("tuned.safetensors", std::vector<double>(kEntries, 1));
  RescaleOptions options = rescale(0.5, distance_script(kEntries));
  options.judge = Judge::kChange;
  const RescaleReport report = search(options);
  EXPECT_TRUE(report.lower_is_better);
  EXPECT_EQ(report.base_score, 1);
  EXPECT_EQ(report.tuned_score, 0);
  // Four masks a value; one fine value was a coarse one.
  EXPECT_EQ(report.evaluations, 2 + 4 * static_cast<int>(report.scan.trials.size() - 1));
  std::vector<double> distances;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    weights::DeltaOptions delta = options.delta;
    delta.sparsity.q = report.value;
    delta.sparsity.seed = seed;
    Pool pool(1);
    const auto made = weights::make_delta(checkpoint::open_checkpoint(base_), checkpoint::open_checkpoint(tuned_),
                                          delta, pool, no_progress());
    distances.push_back(std::abs(static_cast<double>(made.kept) / report.value / kEntries - 1));
  }
  EXPECT_NEAR(report.score, mean_without_farthest(distances), 1e-5);
  EXPECT_EQ(search(options).evaluations, 0);
}

TEST_F(Rescale, EveryLayerByEta) {
  base_ = solera::test::write_model(folder_ / "base.safetensors",
                                    {tensor("a.weight", checkpoint::DType::kF32, {1, 3}, {0, 0, 0}),
                                     tensor("b", checkpoint::DType::kF32, {2}, {0, 0})});
  tuned_ = solera::test::write_model(folder_ / "tuned.safetensors",
                                     {tensor("a.weight", checkpoint::DType::kF32, {1, 3}, {.5, -.2, .3}),
                                      tensor("b", checkpoint::DType::kF32, {2}, {1, 1})});
  RescaleOptions options = rescale(0.1, "echo 1; : {checkpoint}");
  options.statistics = solera::test::write_model(
      folder_ / "stats.safetensors", {tensor("n", checkpoint::DType::kI64, {}, {1}),
                                      tensor("a.weight.input_mean", checkpoint::DType::kF32, {3}, {1, 1, 1})});
  options.from = 0.45;
  const RescaleReport report = search(options);
  EXPECT_TRUE(report.per_layer);
  EXPECT_EQ(report.value, 0.45);  // all score alike: the first
  EXPECT_EQ(report.sparsity.divisors, (std::map<std::string, double>{{"a.weight", 0.519}}));
  EXPECT_EQ(report.sparsity.q, 0.519);  // of the tensor without inputs
  EXPECT_THAT(recorder_.warnings.back(), StartsWith("no delta of density 0.1 beats the base (1)"));
  options.statistics = folder_ / "base.safetensors";
  EXPECT_THAT(refusal(options), HasSubstr("no tensor n"));
}

TEST_F(Rescale, WarnsOfAQBelowTheDensity) {
  RescaleOptions options = rescale(1, "echo 1; : {checkpoint}");
  options.from = 0.5;
  search(options);
  EXPECT_THAT(recorder_.warnings, ElementsAre(StartsWith("no delta of density 1 beats the base"),
                                              StartsWith("q is 0.5, below the density")));
}

TEST_F(Rescale, Refusals) {
  const std::string good = peak_script();
  EXPECT_EQ(refusal(rescale(0.1, "")),
            "a search needs scores; add --eval 'COMMAND {checkpoint}', which prints a metric on labelled data; without "
            "labels take --search change");
  RescaleOptions options = rescale(0.1, good);
  options.masks = 0;
  EXPECT_EQ(refusal(options), "--masks is 0, less than 1");
  options = rescale(0.1, good);
  options.from = 0;
  EXPECT_EQ(refusal(options), "--from is 0, not above 0");
  options = rescale(0.1, good);
  options.delta.out = folder_ / "delta";
  EXPECT_EQ(refusal(options), cat("a delta is one file, *.safetensors, not ", folder_ / "delta"));
  options = rescale(0, good);
  EXPECT_EQ(refusal(options), "density is 0, outside (0, 1]");
  options = rescale(0.1, good);
  options.delta.sparsity.how = weights::Sparsify::kMagnitude;
  EXPECT_EQ(refusal(options), "only q and columns have a divisor to search");
  EXPECT_EQ(runs(), 0);
}

TEST(MeanWithoutFarthest, ByHand) {
  EXPECT_EQ(mean_without_farthest(std::vector<double>{1, 2, 3, 10}), 2);
  EXPECT_EQ(mean_without_farthest(std::vector<double>{1, 3, 1, 3}), (3 + 1 + 3) / 3.0);  // the first of equally far
  EXPECT_EQ(mean_without_farthest(std::vector<double>{1, 2}), 1.5);
  EXPECT_EQ(mean_without_farthest(std::vector<double>{4}), 4);
}

}  // namespace
}  // namespace solera::soup
