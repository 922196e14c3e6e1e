#include "solera/weights/graft.h"

#include "solera/weights/make_delta.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

using test::message_of;
using test::tensor;

using Values = std::vector<double>;
using Counts = std::vector<std::int64_t>;

class GraftTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return folder_ / name + ".safetensors"; }
  std::string model(const std::string& name, const Values& values) {
    return test::write_model(at(name), {tensor("w", DType::kF32, {static_cast<std::int64_t>(values.size())}, values)});
  }
  Values grafted(const std::vector<std::string>& inputs, GraftOptions options) {
    options.force = true;
    report_ = graft(checkpoint::open_checkpoint(at("base")), inputs, options, pool_, no_progress());
    if (options.out.empty()) return {};
    return test::values(checkpoint::open_checkpoint(options.out), "w");
  }
  GraftOptions of(std::int64_t count) const {
    return {.out = at("out"), .region = {.how = Sparsify::kMagnitude, .count = count, .whole_model = true}};
  }

  TemporaryFolder folder_;
  Pool pool_{2};
  GraftReport report_;
};

TEST_F(GraftTest, CopiesTheRegionThatMovedMost) {  // Panigrahi et al., worked by hand
  model("base", {1, 2, 3, 4});
  const std::string tuned = model("tuned", {2, 2.5, 3.1, 0});
  EXPECT_EQ(grafted({tuned}, of(2)), (Values{2, 2, 3, 0}));
  EXPECT_EQ(report_.overlap.sizes, Counts{2});
  EXPECT_EQ(report_.combined.changed, 2);
  model("base", {0, 0, 0, 0});
  EXPECT_EQ(grafted({model("b", {0.5, 0.4, 0.3, 0.2})}, of(2)), (Values{0.5, static_cast<double>(0.4f), 0, 0}));
}

TEST_F(GraftTest, MeasuresOverlapAgainstTheOtherRegion) {  // regions 11100 and 01111
  model("base", {0, 0, 0, 0, 0});
  const std::string i = model("i", {1, 2, 3, 0, 0}), j = model("j", {0, 1, 1, 1, 1});
  // i's region by count 3; j as a delta file with 4 entries.
  make_delta(checkpoint::open_checkpoint(at("base")), checkpoint::open_checkpoint(j),
             {.out = at("dj"), .sparsity = {.how = Sparsify::kMagnitude, .count = 4, .whole_model = true}}, pool_,
             no_progress());
  GraftOptions options = of(3);
  options.out = "";
  grafted({i, at("dj")}, options);
  EXPECT_EQ(report_.overlap.sizes, (Counts{3, 4}));
  EXPECT_EQ(report_.overlap.shared[0][1], 2);
  EXPECT_EQ(report_.overlap.together, 5);
  EXPECT_EQ(report_.overlap.share(0, 1), 0.5);
  EXPECT_EQ(report_.overlap.share(1, 0), 2.0 / 3);
  EXPECT_EQ(report_.overlap.share(1, 1), 1);
}

TEST_F(GraftTest, WhereRegionsMeetTheChangesAreAveragedOrSummed) {
  model("base", {1, 1, 1, 1});
  const std::string a = model("a", {4, 3, 1, 1}), b = model("b", {1, 5, 8, 1.5});
  GraftOptions options = of(2);
  EXPECT_EQ(grafted({a, b}, options), (Values{4, 4, 8, 1}));
  EXPECT_EQ(grafted({b, a}, options), (Values{4, 4, 8, 1}));
  options.shared = Shared::kSum;
  EXPECT_EQ(grafted({a, b}, options), (Values{4, 7, 8, 1}));
}

TEST_F(GraftTest, TakesValuesFromOneModelInTheUnion) {
  model("base", {1, 1, 1, 1});
  const std::string a = model("a", {4, 3, 1, 1}), b = model("b", {1, 5, 8, 1.5}), all = model("all", {10, 20, 30, 40});
  GraftOptions options = of(2);
  options.from = all;
  EXPECT_EQ(grafted({a, b}, options), (Values{10, 20, 30, 1}));
}

TEST_F(GraftTest, RefusalsLeaveNothing) {
  const std::string base = model("base", {1, 1}), same = model("same", {1, 1});
  EXPECT_EQ(message_of([&] { grafted({same}, of(1)); }),
            cat(same, " equals ", base, " wherever its region was looked for; is it the right model?"));
  make_folders(folder_ / "l");
  write_atomically(folder_ / "l/adapter_config.json", "{}");
  EXPECT_EQ(
      message_of([&] { grafted({folder_ / "l"}, of(1)); }),
      cat(folder_ / "l", " is an adapter: it has no region, it changes whole matrices; apply it with `solera apply`"));
  EXPECT_EQ(list_folder(folder_.path()), (std::vector<std::string>{"base.safetensors", "l", "same.safetensors"}));
}

TEST(Overlap, CountsDenseTensorsAndEmptyRegions) {
  const TemporaryFolder folder;
  Pool pool(2);
  const auto model = [&](const std::string& name, const Values& w) {
    return checkpoint::open_checkpoint(
        test::write_model(folder / name, {tensor("w", DType::kU8, {static_cast<std::int64_t>(w.size())}, w)}));
  };
  const auto base = model("base.safetensors", Values(11, 1));
  std::vector<checkpoint::Delta> deltas;
  for (const double value : {1.0, 2.0}) {
    const std::string path = folder / cat("d", value, ".safetensors");
    make_delta(base, model("t.safetensors", Values(11, value)), {.out = path}, pool, no_progress());
    deltas.push_back(checkpoint::open_delta(path));
  }
  const Overlap overlap = find_overlap({&pool}, deltas);
  EXPECT_EQ(overlap.sizes, (Counts{0, 11}));  // the padding of the last byte is not counted
  EXPECT_EQ(overlap.together, 11);
  EXPECT_EQ(overlap.share(1, 0), 0);
}

}  // namespace
}  // namespace solera::weights
