#include "solera/search/scan.h"

#include <cmath>

#include "tests/support/support.h"

namespace solera::search {
namespace {

using test::message_of;

std::vector<double> values_of(const ScanResult& result, bool fine) {
  std::vector<double> values;
  for (const ScanTrial& trial : result.trials)
    if (trial.fine == fine) values.push_back(trial.value);
  return values;
}

TEST(Scan, CoarseThenFineAroundThePeak) {
  const auto score = [](double q) { return -std::abs(q - 0.27); };
  const ScanResult result = scan({.from = 0.1, .to = 1, .step = 0.05}, score);
  // Best at .25; .30, .35, .40 and .45 are four without a gain.
  EXPECT_EQ(values_of(result, false), (std::vector<double>{0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45}));
  // From .25 - .045 on, up to four values behind .27, never reaching .30.
  EXPECT_EQ(values_of(result, true), (std::vector<double>{0.205, 0.21, 0.215, 0.22, 0.225, 0.23, 0.235, 0.24, 0.245,
                                                          0.25, 0.255, 0.26, 0.265, 0.27, 0.275, 0.28, 0.285, 0.29}));
  EXPECT_EQ(result.best_trial().value, 0.27);
  EXPECT_TRUE(result.best_trial().better);
}

TEST(Scan, TheFirstOfEqualsWinsAndTiesGoOn) {
  const ScanResult flat = scan({.from = 0.1, .to = 0.3, .step = 0.1}, [](double) { return 1.0; });
  EXPECT_EQ(values_of(flat, false), (std::vector<double>{0.1, 0.2, 0.3}));
  EXPECT_EQ(values_of(flat, true), (std::vector<double>{0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19}));
  EXPECT_EQ(flat.best, 0u);
  // A dip of three values is walked through, one of four ends the scan.
  const auto dip = [](int length) {
    return [length](double v) {
      const int i = static_cast<int>(std::llround(v));
      return i == 0 ? 1.0 : i <= length ? 0.0 : 2.0;
    };
  };
  EXPECT_EQ(scan({.from = 0, .to = 9, .step = 1}, dip(3)).best_trial().value, 4);
  EXPECT_EQ(scan({.from = 0, .to = 9, .step = 1}, dip(4)).trials.front().value,
            scan({.from = 0, .to = 9, .step = 1}, dip(4)).best_trial().value);
}

TEST(Scan, TheEndsAreMetExactly) {
  std::vector<double> seen;
  const auto rising = [&](double v) {
    seen.push_back(v);
    return v;
  };
  const ScanResult result = scan({.from = 0.1, .to = 1, .step = 0.1}, rising);
  EXPECT_EQ(values_of(result, false), (std::vector<double>{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}));
  EXPECT_EQ(values_of(result, true).front(), 0.91);
  EXPECT_EQ(values_of(result, true).back(), 1.09);  // below v* + step
  EXPECT_EQ(seen.size(), result.trials.size());
  EXPECT_EQ(scan({.from = 1, .to = 1, .step = 0.05}, rising).trials.front().value, 1);
}

TEST(Scan, Refusals) {
  const auto refused = [](const ScanOptions& options) {
    return message_of([&] { scan(options, [](double) { return 0.0; }); });
  };
  EXPECT_EQ(refused({.from = 1, .to = 0.5}), "a scan from 1 to 0.5 has no values");
  EXPECT_EQ(refused({.from = NAN}), "a scan cannot have nan in its bounds");
  EXPECT_EQ(refused({.step = 0}), "the step is 0, too small or not above 0");
  EXPECT_EQ(refused({.decay = 1}), "decay is 1, outside (0, 1)");
  EXPECT_EQ(refused({.patience = 0}), "patience is 0, less than 1");
}

}  // namespace
}  // namespace solera::search
