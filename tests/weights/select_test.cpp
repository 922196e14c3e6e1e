#include "solera/weights/select.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "solera/base/random.h"
#include "tests/weights/fixture.h"

namespace solera::weights {
namespace {

using checkpoint::DType;

// The first `rank` entries by (magnitude descending, index ascending), as a mask.
template <class T>
std::vector<bool> brute_force(const std::vector<T>& values, std::int64_t rank) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(values[a]) > std::abs(values[b]); });
  std::vector<bool> mask(values.size());
  for (std::int64_t i = 0; i < std::min<std::int64_t>(rank, static_cast<std::int64_t>(values.size())); ++i)
    mask[order[static_cast<std::size_t>(i)]] = true;
  return mask;
}

// Entries kept between two cuts; entries are shifted by 10 so that a kept zero shows.
template <class T>
std::vector<bool> kept(const Cut<T>& upper, const Cut<T>& lower, std::vector<T> values, std::size_t segment = 0,
                       std::int64_t first = 0) {
  std::vector<bool> mask(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    // keep_between on one entry at a time: its place in the tensor decides ties.
    T probe = values[i];
    const bool zero = probe == 0;
    keep_between(upper, lower, segment, first + static_cast<std::int64_t>(i), 1, &probe);
    mask[i] = zero ? false : probe != 0;
  }
  keep_between(upper, lower, segment, first, static_cast<std::int64_t>(values.size()), values.data());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i] != 0, mask[i]) << i;
  return mask;
}

template <class T>
void forget_zeros(std::vector<bool>& mask, const std::vector<T>& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] == 0) mask[i] = false;
}

std::vector<float> tied_values(std::int64_t n, std::uint64_t seed) {
  const RandomStream stream({.seed = seed, .purpose = "test.select"});
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(stream.below(i, 7)) - 3;
  return values;
}

TEST(Select, EveryRankOfTinyTiedInputs) {
  for (std::int64_t n = 0; n <= 64; ++n) {
    const auto values = tied_values(n, static_cast<std::uint64_t>(n));
    for (std::int64_t rank = 0; rank <= n + 1; ++rank) {
      auto expected = brute_force(values, rank);
      forget_zeros(expected, values);
      EXPECT_EQ(kept(Cut<float>{}, select_cut<float>(values, rank), values), expected) << n << " " << rank;
      auto complement = brute_force(values, rank);
      complement.flip();
      forget_zeros(complement, values);
      EXPECT_EQ(kept(select_cut<float>(values, rank), select_cut<float>(values, n), values), complement);
    }
  }
}

// A model of base and two tuned tensors over two segments, whose changes have ties (small integers) or not.
struct Streams {
  std::vector<std::vector<float>> changes;  // stream by stream, segments one after the other
  std::vector<std::int64_t> sizes;
  std::unique_ptr<test::Model> model;
  std::vector<std::vector<Operand>> operands;
  std::vector<Segment> segments;

  Streams(std::vector<std::int64_t> lengths, int kind) : changes(2), sizes(std::move(lengths)) {
    std::vector<checkpoint::NamedBytes> tensors;
    for (std::size_t s = 0; s < sizes.size(); ++s) {
      const RandomStream stream({.seed = s, .purpose = "test.streams"});
      const auto n = static_cast<std::size_t>(sizes[s]);
      std::vector<double> base(n);
      for (std::size_t i = 0; i < n; ++i) base[i] = static_cast<double>(stream.below(i, 9));
      tensors.push_back(test::tensor("base" + std::to_string(s), DType::kF32, {sizes[s]}, base));
      for (std::size_t t = 0; t < 2; ++t) {
        std::vector<double> tuned(n);
        for (std::size_t i = 0; i < n; ++i) {
          const std::size_t draw = n * (t + 1) + i;
          double change = kind == 0 ? static_cast<double>(stream.below(draw, 5)) - 2
                                    : std::ldexp(std::round(256 * stream.normal(draw)), -8);
          if (kind == 2) change = static_cast<double>(i) / 4;  // sorted: neighbours tell nothing of the rest
          if (kind == 3) change = i < n / 2 ? 0.0 : 1.0;       // two values
          tuned[i] = base[i] + change;
          changes[t].push_back(static_cast<float>(tuned[i]) - static_cast<float>(base[i]));
        }
        tensors.push_back(test::tensor("t" + std::to_string(t) + std::to_string(s), DType::kF32, {sizes[s]}, tuned));
      }
    }
    model = std::make_unique<test::Model>(tensors);
    for (std::size_t s = 0; s < sizes.size(); ++s) {
      const std::string number = std::to_string(s);
      operands.push_back(
          {model->operand("base" + number), model->operand("t0" + number), model->operand("t1" + number)});
    }
    for (const auto& list : operands) segments.push_back({list});
  }
};

class SelectStreamed : public testing::Test {
 protected:
  void SetUp() override { detail::select_tuning() = {false, 0}; }
  void TearDown() override { detail::select_tuning() = {}; }
};

void expect_exact(const Streams& streams, int threads) {
  Pool pool(threads);
  const Engine engine{&pool, {64, 2}, false, {}};
  const auto total = static_cast<std::int64_t>(streams.changes[0].size());
  std::vector<RankRequest> requests;
  for (const double fraction : {0.0, 0.01, 0.2, 0.5, 0.77, 0.999, 1.0})
    for (std::size_t t = 0; t < 2; ++t)
      requests.push_back({t, static_cast<std::int64_t>(fraction * static_cast<double>(total))});
  requests.push_back({1, 1});
  requests.push_back({0, total - 1});
  const auto cuts = select_cuts<float>(engine, streams.segments, Reading::kChanges, requests);
  for (std::size_t r = 0; r < requests.size(); ++r) {
    const auto& values = streams.changes[requests[r].stream];
    auto expected = brute_force(values, requests[r].rank);
    forget_zeros(expected, values);
    std::vector<bool> mask;
    std::int64_t at = 0;
    for (std::size_t s = 0; s < streams.sizes.size(); ++s) {
      const std::vector<float> part(values.begin() + at, values.begin() + at + streams.sizes[s]);
      const auto one = kept(Cut<float>{}, cuts[r], part, s);
      mask.insert(mask.end(), one.begin(), one.end());
      at += streams.sizes[s];
    }
    EXPECT_EQ(mask, expected) << "request " << r << " rank " << requests[r].rank;
  }
}

TEST_F(SelectStreamed, ExactOverSegmentsWithAndWithoutTies) {
  for (const int kind : {0, 1, 2, 3})
    for (const int threads : {1, 2, 7}) expect_exact(Streams({700, 0, 1300}, kind), threads);
}

TEST_F(SelectStreamed, ExactWhenTheBracketMisses) {
  detail::select_tuning().miss = true;
  for (const int kind : {0, 1, 2, 3}) expect_exact(Streams({900, 300}, kind), 2);
}

TEST_F(SelectStreamed, InMemoryAgrees) {
  detail::select_tuning().in_memory = 1 << 20;
  for (const int kind : {0, 1, 2, 3}) expect_exact(Streams({3, 0, 40}, kind), 1);
}

TEST_F(SelectStreamed, LargeTensorThroughTheSample) {
  detail::select_tuning() = {};
  const std::int64_t n = 300000;
  for (const int kind : {0, 1}) {
    const Streams streams({n}, kind);
    Pool pool(2);
    const Engine engine{&pool, {65536, 1}, false, {}};
    const std::vector<RankRequest> requests = {{0, n / 5}, {1, n / 2}};
    const auto cuts = select_cuts<float>(engine, streams.segments, Reading::kChanges, requests);
    for (std::size_t r = 0; r < 2; ++r) {
      auto expected = brute_force(streams.changes[r], requests[r].rank);
      forget_zeros(expected, streams.changes[r]);
      std::vector<float> values = streams.changes[r];
      keep_between(Cut<float>{}, cuts[r], 0, 0, n, values.data());
      std::vector<bool> mask(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) mask[i] = values[i] != 0;
      EXPECT_TRUE(mask == expected) << kind;
    }
  }
}

TEST_F(SelectStreamed, DoublesAreExactToo) {
  const Streams streams({500}, 1);
  Pool pool(2);
  const Engine engine{&pool, {64, 1}, false, {}};
  const std::vector<RankRequest> requests = {{0, 100}};
  for (const bool miss : {false, true}) {
    detail::select_tuning().miss = miss;
    const auto narrow = select_cuts<float>(engine, streams.segments, Reading::kChanges, requests);
    const auto wide = select_cuts<double>(engine, streams.segments, Reading::kChanges, requests);
    EXPECT_EQ(wide[0].value, static_cast<double>(narrow[0].value));
    EXPECT_EQ(wide[0].last, narrow[0].last);
  }
}

// The score |d_0| + 2 |d_1| of two changes, against the same in memory.
template <class T>
void expect_scores(const Streams& streams, int threads) {
  Pool pool(threads);
  const Engine engine{&pool, {64, 2}, false, {}};
  const Score<T> score{1, [](std::size_t, std::int64_t, std::int64_t count, std::span<T* const> rows) {
                         for (std::int64_t i = 0; i < count; ++i)
                           rows[0][i] = std::abs(rows[1][i]) + 2 * std::abs(rows[2][i]);
                       }};
  std::vector<T> values;
  for (std::size_t i = 0; i < streams.changes[0].size(); ++i)
    values.push_back(std::abs(static_cast<T>(streams.changes[0][i])) +
                     2 * std::abs(static_cast<T>(streams.changes[1][i])));
  const auto total = static_cast<std::int64_t>(values.size());
  std::vector<RankRequest> requests;
  for (const std::int64_t rank : {std::int64_t{0}, std::int64_t{1}, total / 4, total / 2, total - 1, total, total + 5})
    requests.push_back({0, rank});
  const auto cuts =
      select_score_cuts<T>(engine, std::span(streams.segments).first(1), Reading::kChanges, score, requests);
  for (std::size_t r = 0; r < requests.size(); ++r) {
    auto expected = brute_force(values, requests[r].rank);
    forget_zeros(expected, values);
    EXPECT_EQ(kept(Cut<T>{}, cuts[r], values), expected) << "rank " << requests[r].rank;
  }
}

TEST_F(SelectStreamed, ScoresOfAllOperands) {
  for (const int kind : {0, 1, 2, 3})
    for (const bool miss : {false, true}) {
      detail::select_tuning() = {miss, 0};
      expect_scores<float>(Streams({900}, kind), 3);
      expect_scores<double>(Streams({900}, kind), 2);
      detail::select_tuning() = {miss, 1 << 16};
      expect_scores<float>(Streams({900}, kind), 1);
    }
}

// Two scores of two segments, one of them shifted by the segment's number, against a sort.
TEST_F(SelectStreamed, SeveralScoresOverSeveralSegments) {
  const Streams streams({500, 0, 800}, 1);
  Pool pool(3);
  const Engine engine{&pool, {64, 2}, false, {}};
  const Score<double> score{2, [](std::size_t segment, std::int64_t, std::int64_t n, std::span<double* const> rows) {
                              for (std::int64_t i = 0; i < n; ++i) {
                                rows[0][i] = std::abs(rows[1][i]) + static_cast<double>(segment);
                                rows[1][i] = 5 + rows[2][i];
                              }
                            }};
  std::vector<std::vector<double>> scores(2);
  for (std::size_t i = 0; i < 1300; ++i) {
    scores[0].push_back(std::abs(static_cast<double>(streams.changes[0][i])) + (i < 500 ? 0 : 2));
    scores[1].push_back(5 + static_cast<double>(streams.changes[1][i]));
  }
  for (auto& list : scores) std::sort(list.begin(), list.end(), std::greater<>());
  const std::vector<RankRequest> requests = {{0, 130}, {1, 1}, {1, 700}, {0, 1300, true}, {1, 1300, true}};
  for (const bool miss : {false, true})
    for (const std::int64_t in_memory : {0, 4096}) {
      detail::select_tuning() = {miss, in_memory};
      const auto cuts = select_score_cuts<double>(engine, streams.segments, Reading::kChanges, score, requests);
      for (std::size_t r = 0; r < requests.size(); ++r)
        EXPECT_EQ(cuts[r].value, scores[requests[r].stream][static_cast<std::size_t>(requests[r].rank) - 1]) << r;
      EXPECT_EQ(cuts[3].ties_end(0), std::numeric_limits<std::int64_t>::max());  // everything is before it
    }
}

TEST_F(SelectStreamed, NanRanksLastWhereItIsLetThrough) {
  std::vector<double> values(100, 1.0);
  values[0] = std::nan("");
  const test::Model model({test::tensor("a", DType::kF32, {100}, values)});
  const std::vector<Operand> operands = {model.operand("a")};
  const Segment segment{operands};
  Pool pool(1);
  const Engine engine{&pool, {16, 1}, true, {}};
  const std::vector<RankRequest> requests = {{0, 5}};
  const auto cuts = select_cuts<float>(engine, std::span(&segment, 1), Reading::kValues, requests);
  EXPECT_EQ(cuts[0].value, 1.0f);
  EXPECT_EQ(cuts[0].last, 5);
}

}  // namespace
}  // namespace solera::weights
