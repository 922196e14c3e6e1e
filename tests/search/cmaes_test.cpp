// CMA-ES against table 1 of the tutorial, against steps worked out with other formulas, and on the usual functions.
#include "solera/search/cmaes.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::search {
namespace {

using test::message_of;
using ::testing::ElementsAre;
using ::testing::Pointwise;

using Vector = std::vector<double>;
using Function = double (*)(const Vector&);

double sphere(const Vector& x) { return std::inner_product(x.begin(), x.end(), x.begin(), 0.0); }

double ellipsoid(const Vector& x) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += std::pow(1e6, static_cast<double>(i) / static_cast<double>(x.size() - 1)) * x[i] * x[i];
  return sum;
}

double rosenbrock(const Vector& x) {
  double sum = 0;
  for (std::size_t i = 0; i + 1 < x.size(); ++i)
    sum += 100 * std::pow(x[i] * x[i] - x[i + 1], 2) + std::pow(x[i] - 1, 2);
  return sum;
}

double rastrigin(const Vector& x) {
  double sum = 10 * static_cast<double>(x.size());
  for (const double t : x) sum += t * t - 10 * std::cos(2 * std::acos(-1.0) * t);
  return sum;
}

void step(Cmaes& cmaes, const std::function<double(const Vector&)>& f) {
  Vector values;
  for (const Vector& x : cmaes.ask()) values.push_back(f(x));
  cmaes.tell(values);
}

// Evaluations until the target, 0 if it is not reached within `most`.
std::int64_t evaluations_to(Cmaes& cmaes, const std::function<double(const Vector&)>& f, double target,
                            std::int64_t most) {
  while (cmaes.best_value() > target && cmaes.evaluations() < most) {
    if (cmaes.stop() != CmaesStop::kNone) cmaes.restart();
    step(cmaes, f);
  }
  return cmaes.best_value() <= target ? cmaes.evaluations() : 0;
}

// Rows of an orthogonal matrix, by Gram and Schmidt.
std::vector<Vector> rotation(std::size_t n, std::uint64_t seed) {
  const RandomStream stream({seed, "rotation"});
  std::vector<Vector> rows;
  for (std::size_t r = 0; r < n; ++r) {
    Vector row(n);
    for (std::size_t i = 0; i < n; ++i) row[i] = stream.normal(r * n + i);
    for (const Vector& other : rows) {
      const double dot = std::inner_product(row.begin(), row.end(), other.begin(), 0.0);
      for (std::size_t i = 0; i < n; ++i) row[i] -= dot * other[i];
    }
    const double length = std::sqrt(sphere(row));
    for (double& entry : row) entry /= length;
    rows.push_back(row);
  }
  return rows;
}

TEST(CmaesTable1, InTwoDimensions) {
  const CmaesConstants c = cmaes_constants(2, default_population(2), true, false);
  EXPECT_EQ(c.lambda, 6);
  EXPECT_EQ(c.mu, 3);
  const Vector weights = {.63704257, .28457026, .07838717, -.28638378, -.76495809, -1.15598178};
  EXPECT_THAT(c.weights, Pointwise(::testing::DoubleNear(5e-9), weights));
  EXPECT_NEAR(c.mu_eff, 2.02861146, 5e-9);
  EXPECT_NEAR(c.c_1, .15481540, 5e-9);
  EXPECT_NEAR(c.c_mu, .05785909, 5e-9);
  EXPECT_NEAR(c.c_sigma, .44620499, 5e-9);
  EXPECT_NEAR(c.d_sigma, 1.44620499, 5e-9);
  EXPECT_NEAR(c.c_c, .62455454, 5e-9);
  EXPECT_NEAR(c.chi_n, 1.25427274, 5e-9);
}

// For ten dimensions by an independent calculation: lambda 10, mu 5.
TEST(CmaesTable1, InTenDimensions) {
  const CmaesConstants c = cmaes_constants(10, 10, true, false);
  const Vector weights = {0.45627265,  0.27075310,  0.16223112,  0.08523355,  0.02550959,
                          -0.08532086, -0.23647660, -0.36741366, -0.48290833, -0.58622183};
  EXPECT_THAT(c.weights, Pointwise(::testing::DoubleNear(5e-9), weights));
  EXPECT_NEAR(c.mu_eff, 3.16729928, 5e-9);
  EXPECT_NEAR(c.c_1, 0.01528382, 5e-9);
  EXPECT_NEAR(c.c_mu, 0.02015428, 5e-9);
  EXPECT_NEAR(c.c_sigma, 0.28442859, 5e-9);
  EXPECT_NEAR(c.d_sigma, 1.28442859, 5e-9);
  EXPECT_NEAR(c.c_c, 0.29499038, 5e-9);
  EXPECT_NEAR(c.chi_n, 3.08472657, 5e-9);
}

TEST(CmaesTable1, Populations) {
  const int expected[][2] = {{1, 4}, {2, 6}, {5, 8}, {10, 10}, {20, 12}, {50, 15}};
  for (const auto& [n, lambda] : expected) EXPECT_EQ(default_population(n), lambda) << n;
}

TEST(CmaesTable1, KeepsItsPromisesEverywhere) {
  for (int n = 1; n <= 300; n = n * 3 / 2 + 1)
    for (int lambda : {2, 3, 4, default_population(n), 4 * default_population(n), 20 * n})
      for (const bool separable : {false, true})
        for (const bool active : {false, true}) {
          if (lambda < 2) continue;
          const CmaesConstants c = cmaes_constants(n, lambda, active, separable);
          SCOPED_TRACE(cat("n ", n, " lambda ", lambda, separable ? " separable" : "", active ? " active" : ""));
          const auto half = c.weights.begin() + c.mu;
          EXPECT_NEAR(std::accumulate(c.weights.begin(), half, 0.0), 1, 1e-12);
          EXPECT_GE(c.c_mu, 0);
          EXPECT_LE(c.c_1 + c.c_mu, 1);
          const double negative = -std::accumulate(half, c.weights.end(), 0.0);
          EXPECT_EQ(negative > 0, active && c.c_mu > 0 && c.c_1 + c.c_mu < 1);
          // C stays positive definite, and with the second bound its trace does not decay of itself.
          EXPECT_LE(negative * n * c.c_mu, (1 - c.c_1 - c.c_mu) * (1 + 1e-12));
          EXPECT_LE(negative * c.c_mu, (c.c_mu + c.c_1) * (1 + 1e-12));
        }
}

// Two generations in two dimensions by closed formulas for 2 x 2 matrices and the constants of the sheet.
TEST(CmaesUpdate, ByHand) {
  Cmaes cmaes({.start = {1, -2}, .sigma = 0.5, .seed = 7});
  const double w[] = {.63704257, .28457026, .07838717, -.28638378, -.76495809, -1.15598178};
  const double mu_eff = 2.02861146, c1 = .15481540, cmu = .05785909, cs = .44620499, ds = 1.44620499, cc = .62455454,
               chi = 1.25427274;
  double m[2] = {1, -2}, sigma = 0.5, ps[2] = {0, 0}, pc[2] = {0, 0};
  double a = 1, b = 0, d = 1;  // C = (a b; b d)
  for (int generation = 1; generation <= 2; ++generation) {
    const auto xs = cmaes.ask();
    ASSERT_EQ(xs.size(), 6u);
    // Ranked 3, 1, 5, 0, 2, 4, whatever they are.
    const std::size_t best_first[] = {3, 1, 5, 0, 2, 4};
    Vector values(6);
    for (std::size_t rank = 0; rank < 6; ++rank) values[best_first[rank]] = static_cast<double>(rank);
    double y[6][2], step[2] = {0, 0};
    for (int r = 0; r < 6; ++r)
      for (int i = 0; i < 2; ++i) y[r][i] = (xs[best_first[r]][static_cast<std::size_t>(i)] - m[i]) / sigma;
    for (int r = 0; r < 3; ++r)
      for (int i = 0; i < 2; ++i) step[i] += w[r] * y[r][i];
    const double det = a * d - b * b;
    // The root of C is (C + sqrt(det) 1) / t with t^2 = trace + 2 sqrt(det); its inverse by the adjugate.
    const double s = std::sqrt(det), t = std::sqrt(a + d + 2 * s);
    const double white[2] = {((d + s) * step[0] - b * step[1]) / (t * s), (-b * step[0] + (a + s) * step[1]) / (t * s)};
    for (int i = 0; i < 2; ++i) {
      m[i] += sigma * step[i];
      ps[i] = (1 - cs) * ps[i] + std::sqrt(cs * (2 - cs) * mu_eff) * white[i];
    }
    const double length = std::hypot(ps[0], ps[1]);
    const bool h = length / std::sqrt(1 - std::pow(1 - cs, 2 * generation)) < (1.4 + 2.0 / 3) * chi;
    for (int i = 0; i < 2; ++i) pc[i] = (1 - cc) * pc[i] + (h ? std::sqrt(cc * (2 - cc) * mu_eff) * step[i] : 0);
    double sum = 0, rank[3] = {0, 0, 0};
    for (int r = 0; r < 6; ++r) {
      sum += w[r];
      const double distance = (d * y[r][0] * y[r][0] - 2 * b * y[r][0] * y[r][1] + a * y[r][1] * y[r][1]) / det;
      const double weight = w[r] < 0 ? w[r] * 2 / distance : w[r];
      rank[0] += weight * y[r][0] * y[r][0];
      rank[1] += weight * y[r][0] * y[r][1];
      rank[2] += weight * y[r][1] * y[r][1];
    }
    const double kept = 1 + (h ? 0 : c1 * cc * (2 - cc)) - c1 - cmu * sum;
    a = kept * a + c1 * pc[0] * pc[0] + cmu * rank[0];
    b = kept * b + c1 * pc[0] * pc[1] + cmu * rank[1];
    d = kept * d + c1 * pc[1] * pc[1] + cmu * rank[2];
    sigma *= std::exp(cs / ds * (length / chi - 1));
    cmaes.tell(values);
    // The constants above have eight digits.
    EXPECT_THAT(cmaes.mean(), Pointwise(::testing::DoubleNear(1e-7), m));
    EXPECT_THAT(cmaes.covariance(), Pointwise(::testing::DoubleNear(1e-6), Vector{a, b, b, d}));
    EXPECT_NEAR(cmaes.sigma(), sigma, 1e-7);
  }
}

// A diagonal C takes the diagonal of the full update with rates (n + 2) / 3 times as large.
TEST(CmaesUpdate, OfADiagonalByHand) {
  Cmaes cmaes({.start = {0, 0, 0, 0}, .separable = true});
  const CmaesConstants c = cmaes_constants(4, 8, true, false), fast = cmaes_constants(4, 8, true, true);
  EXPECT_NEAR(fast.c_1, 2 * c.c_1, 1e-15);
  EXPECT_NEAR(fast.c_mu, 2 * c.c_mu, 1e-15);
  EXPECT_EQ(fast.c_c, c.c_c);
  const auto xs = cmaes.ask();
  cmaes.tell(Vector{0, 1, 2, 3, 4, 5, 6, 7});
  Vector expected(4), step(4);
  double length = 0, sum = std::accumulate(fast.weights.begin(), fast.weights.end(), 0.0);
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t k = 0; k < 4; ++k) step[i] += fast.weights[k] * xs[k][i];
    length += c.c_sigma * (2 - c.c_sigma) * c.mu_eff * step[i] * step[i];
  }
  const bool h = std::sqrt(length / (1 - (1 - c.c_sigma) * (1 - c.c_sigma))) < 1.8 * c.chi_n;
  for (std::size_t i = 0; i < 4; ++i) {
    expected[i] = 1 + (h ? 0 : fast.c_1 * c.c_c * (2 - c.c_c)) - fast.c_1 - fast.c_mu * sum;
    if (h) expected[i] += fast.c_1 * c.c_c * (2 - c.c_c) * c.mu_eff * step[i] * step[i];
    for (std::size_t k = 0; k < 8; ++k) {
      const double w = fast.weights[k] < 0 ? fast.weights[k] * 4 / sphere(xs[k]) : fast.weights[k];
      expected[i] += fast.c_mu * w * xs[k][i] * xs[k][i];
    }
  }
  EXPECT_THAT(cmaes.covariance(), Pointwise(::testing::DoubleNear(1e-14), expected));
}

// Evaluations to 1e-10 (Rastrigin: 1e-6, with restarts), mean of some seeds; all seeds reach it.
TEST(Cmaes, ReachesTheTargetsOfTheUsualFunctions) {
  struct Case {
    const char* name;
    Function f;
    int n;
    double start, sigma, target;
    std::int64_t most;  // on average
  };
  const Case cases[] = {
      {"sphere", sphere, 2, 1, 0.5, 1e-10, 400},           {"ellipsoid", ellipsoid, 2, 1, 0.5, 1e-10, 750},
      {"rosenbrock", rosenbrock, 2, 0, 0.5, 1e-10, 700},   {"sphere", sphere, 5, 1, 0.5, 1e-10, 1000},
      {"ellipsoid", ellipsoid, 5, 1, 0.5, 1e-10, 2200},    {"rosenbrock", rosenbrock, 5, 0, 0.5, 1e-10, 2400},
      {"sphere", sphere, 10, 1, 0.5, 1e-10, 2000},         {"ellipsoid", ellipsoid, 10, 1, 0.5, 1e-10, 5400},
      {"rosenbrock", rosenbrock, 10, 0, 0.5, 1e-10, 7000}, {"sphere", sphere, 20, 1, 0.5, 1e-10, 3900},
      {"ellipsoid", ellipsoid, 20, 1, 0.5, 1e-10, 17000},  {"rosenbrock", rosenbrock, 20, 0, 0.5, 1e-10, 22000},
      {"rastrigin", rastrigin, 2, 3, 2, 1e-6, 2900},       {"rastrigin", rastrigin, 5, 3, 2, 1e-6, 33000},
      {"rastrigin", rastrigin, 10, 3, 2, 1e-6, 115000},    {"rastrigin", rastrigin, 20, 3, 2, 1e-6, 350000}};
  for (const Case& one : cases) {
    std::int64_t total = 0;
    constexpr int kSeeds = 5;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      Cmaes cmaes({.start = Vector(static_cast<std::size_t>(one.n), one.start), .sigma = one.sigma, .seed = seed});
      const std::int64_t count = evaluations_to(cmaes, one.f, one.target, 20 * one.most);
      EXPECT_GT(count, 0) << one.name << " " << one.n << " seed " << seed;
      total += count;
    }
    EXPECT_LE(total / kSeeds, one.most) << one.name << " " << one.n;
  }
}

TEST(Cmaes, DoesNotMindARotation) {
  double plain = 0, turned = 0;
  constexpr int kSeeds = 20;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const auto rows = rotation(8, seed);
    const auto turn = [&](const Vector& x) {
      Vector y;
      for (const Vector& row : rows) y.push_back(std::inner_product(row.begin(), row.end(), x.begin(), 0.0));
      return y;
    };
    Cmaes one({.start = Vector(8, 1), .sigma = 0.5, .seed = seed}), other = one;
    plain += static_cast<double>(evaluations_to(one, ellipsoid, 1e-8, 100000));
    turned +=
        static_cast<double>(evaluations_to(other, [&](const Vector& x) { return ellipsoid(turn(x)); }, 1e-8, 100000));
  }
  EXPECT_NEAR(turned / plain, 1, 0.06);
  // A diagonal C minds: it is the test of the test.
  Cmaes diagonal({.start = Vector(8, 1), .sigma = 0.5, .seed = 1, .separable = true});
  const auto rows = rotation(8, 1);
  EXPECT_EQ(evaluations_to(
                diagonal,
                [&](const Vector& x) {
                  Vector y;
                  for (const Vector& row : rows)
                    y.push_back(std::inner_product(row.begin(), row.end(), x.begin(), 0.0));
                  return ellipsoid(y);
                },
                1e-8, 2 * static_cast<std::int64_t>(plain / kSeeds)),
            0);
}

TEST(Cmaes, IsDiagonalAboveAHundredCoordinates) {
  EXPECT_FALSE(Cmaes({.start = Vector(100, 1)}).separable());
  Cmaes cmaes({.start = Vector(101, 1), .sigma = 0.5, .seed = 1});
  EXPECT_TRUE(cmaes.separable());
  EXPECT_EQ(cmaes.covariance().size(), 101u);
  const std::int64_t count = evaluations_to(cmaes, ellipsoid, 1e-6, 60000);
  EXPECT_GT(count, 0);
  EXPECT_LE(count, 32000);
}

TEST(Cmaes, ContinuesExactlyFromItsState) {
  const auto f = [](const Vector& x) { return rosenbrock(x); };
  for (const bool separable : {false, true})
    for (const bool bounded : {false, true}) {
      CmaesOptions options{.start = Vector(5, 0.5), .sigma = 1, .seed = ~0ull, .separable = separable};
      if (bounded) {
        options.lower = Vector(5, -1);
        options.upper = Vector(5, 1.5);
      }
      Cmaes whole(options);
      std::vector<std::string> states;
      for (int g = 0; g < 25; ++g) {
        states.push_back(to_json(whole.to_json()));
        if (g == 15) whole.restart();
        step(whole, f);
      }
      for (const std::size_t from : {0u, 1u, 7u, 20u}) {
        Cmaes resumed = Cmaes::from_json(parse_json(states[from]));
        for (int g = static_cast<int>(from); g < 25; ++g) {
          if (g == 15) resumed.restart();
          step(resumed, f);
        }
        EXPECT_EQ(to_json(resumed.to_json()), to_json(whole.to_json()));
        EXPECT_EQ(resumed.ask(), whole.ask());
        EXPECT_EQ(resumed.evaluations(), whole.evaluations());
      }
    }
}

TEST(Cmaes, ReadsUnboundedSidesAndNoBestYet) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Cmaes cmaes({.start = {1, 1}, .lower = {0, -kInfinity}, .upper = {kInfinity, 2}});
  cmaes.tell(Vector(6, kInfinity));
  const std::string text = to_json(cmaes.to_json());
  const Cmaes read = Cmaes::from_json(parse_json(text));
  EXPECT_EQ(to_json(read.to_json()), text);
  EXPECT_EQ(read.best_value(), kInfinity);
  EXPECT_EQ(read.ask(), cmaes.ask());
}

TEST(Cmaes, StaysInItsBoundsAndFindsAnOptimumOnThem) {
  for (const bool separable : {false, true}) {
    Cmaes cmaes({.start = {0.9, 0.1, 0.5},
                 .sigma = 0.3,
                 .lower = {0, 0, 0},
                 .upper = {1, 1, 1},
                 .seed = 3,
                 .separable = separable});
    bool inner = false;
    for (int g = 0; g < 200 && cmaes.stop() == CmaesStop::kNone; ++g) {
      for (const Vector& x : cmaes.ask())
        for (const double t : x) {
          EXPECT_GE(t, 0);
          EXPECT_LE(t, 1);
          inner = inner || (t > 0 && t < 1);
        }
      step(cmaes, [](const Vector& x) {  // the optimum of the plane is the corner (0, 1), of the parabola 0.25
        return x[0] - x[1] + (x[2] - 0.25) * (x[2] - 0.25);
      });
    }
    EXPECT_TRUE(inner);
    EXPECT_NEAR(cmaes.best()[0], 0, 1e-3);
    EXPECT_NEAR(cmaes.best()[1], 1, 1e-3);
    EXPECT_NEAR(cmaes.best()[2], 0.25, 3e-2);
  }
}

TEST(Cmaes, StopsForAReason) {
  Cmaes flat({.start = {0, 0}});
  for (int g = 0; g < 19; ++g) {
    EXPECT_EQ(flat.stop(), CmaesStop::kNone);
    step(flat, [](const Vector&) { return 1.0; });
  }
  EXPECT_EQ(flat.stop(), CmaesStop::kNone);  // the window of 10 + 30 * 2 / 6 generations has one to go
  step(flat, [](const Vector&) { return 1.0; });
  EXPECT_EQ(flat.stop(), CmaesStop::kFlat);

  Cmaes slope({.start = {0, 0}, .sigma = 1e-3});
  for (int g = 0; g < 300 && slope.stop() == CmaesStop::kNone; ++g) step(slope, [](const Vector& x) { return x[0]; });
  EXPECT_EQ(slope.stop(), CmaesStop::kLarge);

  Cmaes cone({.start = {1, 1}});
  for (int g = 0; g < 2000 && cone.stop() == CmaesStop::kNone; ++g)
    step(cone, [](const Vector& x) { return -1 / (1e-300 + std::hypot(x[0], x[1])); });
  EXPECT_EQ(cone.stop(), CmaesStop::kSmall);

  Cmaes far({.start = {1e12, 1}, .sigma = 1e-6});
  step(far, sphere);
  EXPECT_EQ(far.stop(), CmaesStop::kNoEffect);
  EXPECT_EQ(stop_name(far.stop()), "no effect");
}

TEST(Cmaes, DoublesThePopulationAtARestart) {
  Cmaes cmaes({.start = {1, 1}, .sigma = 0.5, .lower = {0, 0}, .upper = {4, 4}, .seed = 9, .population = 5});
  step(cmaes, sphere);
  const double best = cmaes.best_value();
  cmaes.restart();
  EXPECT_EQ(cmaes.population(), 10);
  EXPECT_EQ(cmaes.ask().size(), 10u);
  EXPECT_EQ(cmaes.constants().mu, 5);
  EXPECT_EQ(cmaes.sigma(), 0.5);
  EXPECT_EQ(cmaes.best_value(), best);
  EXPECT_EQ(cmaes.restarts(), 1);
  EXPECT_NE(cmaes.mean(), Vector({1, 1}));
  cmaes.restart();
  EXPECT_EQ(cmaes.population(), 20);
}

TEST(Cmaes, RanksTiesAsAskedAndInfinityLast) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Cmaes a({.start = {1, 1}}), b = a, c = a;
  a.tell(Vector{1, 1, 1, 2, 2, 2});
  b.tell(Vector{1, 2, 3, 4, 5, kInfinity});
  c.tell(Vector{2, 1, 3, 4, 5, 6});
  EXPECT_EQ(a.mean(), b.mean());
  EXPECT_NE(a.mean(), c.mean());
}

TEST(Cmaes, RefusesNonsense) {
  const auto refusal = [](CmaesOptions options) { return message_of([&] { Cmaes cmaes(std::move(options)); }); };
  EXPECT_EQ(refusal({}), "CMA-ES has no coordinates to search");
  EXPECT_EQ(refusal({.start = {0, NAN}}), "coordinate 1 of the start is nan, not a finite number");
  EXPECT_EQ(refusal({.start = {0}, .sigma = 0}), "sigma is 0, not a finite number > 0");
  EXPECT_EQ(refusal({.start = {0}, .population = 1}), "the population is 1, less than 2");
  EXPECT_EQ(refusal({.start = {0, 0}, .lower = {0, 0}, .upper = {1}}), "1 upper bounds for 2 coordinates");
  EXPECT_EQ(refusal({.start = {0, 0}, .lower = {0, 1}, .upper = {1, 1}}),
            "coordinate 1 is bounded by [1, 1], an empty range");
  EXPECT_EQ(refusal({.start = {0, 2}, .lower = {0, 0}, .upper = {1, 1}}),
            "coordinate 1 of the start is 2, outside [0, 1]");
  Cmaes cmaes({.start = {0, 0}});
  EXPECT_EQ(message_of([&] { cmaes.tell(Vector(5, 0)); }), "5 values for 6 candidates");
  EXPECT_EQ(message_of([&] { cmaes.tell(Vector{0, 1, 2, NAN, 4, 5}); }), "the value of candidate 3 is not a number");
  Node state = cmaes.to_json();
  state.set("mean", Node::list({Node::number(1)}));
  EXPECT_EQ(message_of([&] { Cmaes::from_json(state); }), "\"mean\" has 1 numbers, not 2");
  state.set("schema", Node::integer(2));
  EXPECT_EQ(message_of([&] { Cmaes::from_json(state); }), "the state has schema 2, not 1");
}

}  // namespace
}  // namespace solera::search
