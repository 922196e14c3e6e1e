// Which models are told apart, on random vectors whose relations are known.
#include "solera/soup/ancestry.h"

#include <cmath>
#include <memory>

#include <gmock/gmock.h>

#include "solera/base/random.h"
#include "tests/support/support.h"

namespace solera::soup {
namespace {

using checkpoint::DType;
using ::testing::ElementsAre;

constexpr int kSize = 4000;

std::vector<double> noise(std::uint64_t which, double scale) {
  std::vector<double> values(kSize);
  const RandomStream stream({which, "ancestry test"});
  for (std::size_t i = 0; i < kSize; ++i) values[i] = scale * stream.normal(i);
  return values;
}

std::vector<double> plus(std::vector<double> a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

std::vector<double> gram(const std::vector<std::vector<double>>& models) {
  std::vector<double> result;
  for (const auto& a : models)
    for (const auto& b : models) {
      double sum = 0;
      for (std::size_t i = 0; i < kSize; ++i) sum += a[i] * b[i];
      result.push_back(sum);
    }
  return result;
}

std::vector<bool> suspicious(const std::vector<std::vector<double>>& models, bool has_base) {
  std::vector<bool> result;
  for (const Kinship& pair : kinship(gram(models), static_cast<int>(models.size()), has_base))
    result.push_back(pair.suspicious());
  return result;
}

TEST(Ancestry, DistanceAndCosineByHand) {
  // (3, 4) and (4, 3): distance sqrt 2 over norm 5; around the base (3, 3) the changes (0, 1) and (1, 0) are
  // orthogonal.
  const std::vector<double> g = {25, 24, 21, 24, 25, 21, 21, 21, 18};
  const auto based = kinship(g, 3, true);
  ASSERT_EQ(based.size(), 1u);
  EXPECT_NEAR(based[0].distance, std::sqrt(2.0) / 5, 1e-12);
  EXPECT_NEAR(based[0].cosine, 0, 1e-12);
  EXPECT_EQ(kinship(g, 3, false).size(), 3u);
  const std::vector<double> two = {25, 24, 24, 25};
  EXPECT_NEAR(kinship(two, 2, false)[0].cosine, -1, 1e-12);  // around their own mean
}

TEST(Ancestry, RelatedModelsAreNotSuspected) {
  const auto origin = noise(0, 1);
  const std::vector<std::vector<double>> tuned = {plus(origin, noise(1, 0.3)), plus(origin, noise(2, 0.2)),
                                                  plus(origin, noise(3, 0.4))};
  EXPECT_THAT(suspicious(tuned, false), ElementsAre(false, false, false));
  auto with_base = tuned;
  with_base.push_back(origin);
  EXPECT_THAT(suspicious(with_base, true), ElementsAre(false, false, false));
}

TEST(Ancestry, UnrelatedModelsAre) {
  EXPECT_THAT(suspicious({noise(1, 1), noise(2, 1)}, false), ElementsAre(true));
  EXPECT_THAT(suspicious({noise(1, 1), noise(2, 0.5), noise(3, 2)}, false), ElementsAre(true, true, true));
  // With a base that is nobody's (cosine 1/2), and with one that is the first's only (cosine 0).
  EXPECT_THAT(suspicious({noise(1, 1), noise(2, 1), noise(3, 1)}, true), ElementsAre(true));
  EXPECT_THAT(suspicious({plus(noise(3, 1), noise(1, 0.1)), noise(2, 1), noise(3, 1)}, true), ElementsAre(true));
}

TEST(Ancestry, AStrangerAmongRelativesIsFound) {
  const auto origin = noise(0, 1);
  const std::vector<std::vector<double>> models = {plus(origin, noise(1, 0.2)), plus(origin, noise(2, 0.2)),
                                                   noise(3, 1)};
  EXPECT_THAT(suspicious(models, false), ElementsAre(false, true, true));
}

TEST(Ancestry, AJointLongWayFromTheBaseIsForgiven) {
  // Far from the base in one direction, and far apart compared with their norms, because that direction shrinks them.
  const auto origin = noise(0, 1);
  std::vector<double> shrink = origin;
  for (double& x : shrink) x *= -0.95;
  const auto moved = plus(origin, shrink);
  const std::vector<std::vector<double>> models = {plus(moved, noise(1, 0.1)), plus(moved, noise(2, 0.1)), origin};
  EXPECT_GT(kinship(gram(models), 3, true)[0].distance, kFarApart);
  EXPECT_THAT(suspicious(models, true), ElementsAre(false));
}

TEST(Ancestry, ZeroModelsHaveNoDirection) {
  EXPECT_THAT(suspicious({noise(1, 0), noise(2, 0)}, false), ElementsAre(false));
}

TEST(Ancestry, TheWarningNamesTheFarthestPair) {
  const std::vector<std::string> labels = {"a", "b", "c"};
  const std::vector<Kinship> none = {{0, 1, 0.3, -1}};
  EXPECT_EQ(kinship_warning(none, labels), "");
  const std::vector<Kinship> one = {{0, 1, 0.3, -1}, {0, 2, 1.41, -0.5}};
  EXPECT_EQ(kinship_warning(one, labels),
            "a and c probably do not share an initialization: they are 1.41 of their norm apart; the average of "
            "unrelated networks is worthless");
  const std::vector<Kinship> two = {{0, 1, 0.3, -1}, {0, 2, 1.41, -0.5}, {1, 2, 1.42, -0.5}};
  EXPECT_EQ(kinship_warning(two, labels),
            "b and c (and 1 more of 3 pairs) probably do not share an initialization: they are 1.42 of their norm "
            "apart; the average of unrelated networks is worthless");
}

class Gram : public ::testing::Test {
 protected:
  const checkpoint::Checkpoint* model(const std::string& name, const std::vector<checkpoint::NamedBytes>& tensors) {
    kept_.push_back(std::make_unique<checkpoint::Checkpoint>(
        checkpoint::open_checkpoint(test::write_model(folder_ / name, tensors))));
    return kept_.back().get();
  }
  TemporaryFolder folder_;
  std::vector<std::unique_ptr<checkpoint::Checkpoint>> kept_;
  Pool pool_{2};
  const std::vector<std::string> labels_ = {"a", "b"};
};

TEST_F(Gram, CountsMatricesOnly) {
  const auto make = [&](const std::string& name, double x) {
    return model(name,
                 {test::tensor("bias", DType::kF32, {2}, {100, 100}), test::tensor("ids", DType::kI64, {1, 2}, {7, 7}),
                  test::tensor("u", DType::kF32, {1, 2}, {1, x}), test::tensor("v", DType::kBF16, {2, 1}, {2, x})});
  };
  const std::vector<const checkpoint::Checkpoint*> models = {make("a.safetensors", 1), make("b.safetensors", 3)};
  EXPECT_THAT(gram_matrix(models, labels_, pool_), ElementsAre(7, 11, 11, 23));
  // A budget for one tensor of two elements with three products each.
  EXPECT_THAT(gram_matrix(models, labels_, pool_, 6), ElementsAre(5, 7, 7, 13));
}

TEST_F(Gram, CountsVectorsWhereThereAreNoMatrices) {
  const std::vector<const checkpoint::Checkpoint*> models = {
      model("a.safetensors", {test::tensor("bias", DType::kF32, {2}, {1, 2})}),
      model("b.safetensors", {test::tensor("bias", DType::kF32, {2}, {3, 4})})};
  EXPECT_THAT(gram_matrix(models, labels_, pool_), ElementsAre(5, 11, 11, 25));
}

TEST_F(Gram, NamesAModelThatIsNotFinite) {
  const std::vector<const checkpoint::Checkpoint*> models = {
      model("a.safetensors", {test::tensor("w", DType::kF32, {1, 2}, {1, 2})}),
      model("b.safetensors", {test::tensor("w", DType::kF32, {1, 2}, {3, std::nan("")})})};
  const std::string message = test::message_of([&] { gram_matrix(models, labels_, pool_); });
  EXPECT_THAT(message, ::testing::HasSubstr("b"));
  EXPECT_THAT(message, ::testing::HasSubstr("w"));
}

}  // namespace
}  // namespace solera::soup
