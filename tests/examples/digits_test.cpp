#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "examples/digits/data.h"
#include "examples/digits/evaluate.h"
#include "examples/digits/mlp.h"
#include "examples/digits/sweep.h"
#include "examples/digits/train.h"
#include "solera/base/hash.h"
#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"
#include "solera/checkpoint/statistics.h"
#include "tests/support/support.h"

namespace solera::examples {
namespace {

using test::message_of;

std::string as_csv(const Digits& digits) {
  std::string csv;
  for (std::int64_t i = 0; i < digits.count(); ++i) {
    for (const float pixel : digits.image(i)) csv += cat(static_cast<int>(pixel * 16.0f), ",");
    csv += cat(digits.labels[i], "\n");
  }
  return csv;
}

TEST(DigitsData, IsTheUciSet) {
  const Digits& digits = all_digits();
  ASSERT_EQ(digits.count(), 1797);
  std::vector<int> counts(10);
  for (const int label : digits.labels) ++counts[label];
  EXPECT_EQ(counts, (std::vector<int>{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}));
  const std::string hash = hash_text(as_csv(digits));
  EXPECT_EQ(hash, "c0190c36d374a46af13d279cdb7a84f5");
  if (test::data_folder().empty()) return;
  EXPECT_EQ(hash, hash_file(test::data_folder() + "/tabular/digits.csv"));
}

TEST(DigitsData, SplitsAreDisjointAndDependOnTheSeed) {
  std::multiset<std::int64_t> seen;
  std::vector<std::int64_t> sizes;
  for (const char* name : {"pretrain", "fine_tune", "held_out", "test"}) {
    const Digits part = digits_split(name, 3);
    sizes.push_back(part.count());
    seen.insert(part.ids.begin(), part.ids.end());
    for (std::int64_t i = 0; i < part.count(); ++i) ASSERT_EQ(part.labels[i], all_digits().labels[part.ids[i]]);
  }
  EXPECT_EQ(sizes, (std::vector<std::int64_t>{400, 600, 300, 497}));
  std::multiset<std::int64_t> all;
  for (std::int64_t i = 0; i < 1797; ++i) all.insert(i);
  EXPECT_EQ(seen, all);
  EXPECT_EQ(digits_split("-597:", 3).ids, digits_split("1200:1797", 3).ids);
  EXPECT_EQ(digits_split(":400", 3).ids, digits_split("pretrain", 3).ids);
  EXPECT_NE(digits_split("test", 3).ids, digits_split("test", 4).ids);
  for (const char* wrong : {"tset", "5:5", "6:5", ":1798", "-1798:", "1:2:3", "a:b", ""}) {
    EXPECT_EQ(message_of([&] { digits_split(wrong, 0); }),
              cat("\"", wrong,
                  "\" is no part of the 1797 digits; pretrain, fine_tune, held_out, test, all, or a range "
                  "like 400:1000 or -597:"));
  }
}

TEST(DigitsData, ShiftsMoveByOnePixel) {
  const Digits plain = digits_split("0:3", 1);
  Digits digits = plain;
  add_shifted(digits);
  ASSERT_EQ(digits.count(), 15);
  const auto at = [&](std::int64_t i, int y, int x) { return digits.pixels[i * 64 + y * 8 + x]; };
  for (std::int64_t i = 0; i < 3; ++i) {
    for (int y = 0; y < 8; ++y) {
      for (int x = 0; x < 8; ++x) {
        EXPECT_EQ(at(3 + i, y, x), y < 7 ? at(i, y + 1, x) : 0.0f);
        EXPECT_EQ(at(6 + i, y, x), y > 0 ? at(i, y - 1, x) : 0.0f);
        EXPECT_EQ(at(9 + i, y, x), x < 7 ? at(i, y, x + 1) : 0.0f);
        EXPECT_EQ(at(12 + i, y, x), x > 0 ? at(i, y, x - 1) : 0.0f);
      }
    }
    EXPECT_EQ(digits.labels[12 + i], plain.labels[i]);
  }
  Digits down = plain;
  distort(down, parse_distortion("shift_down=1"), 0);
  EXPECT_TRUE(std::equal(down.pixels.begin(), down.pixels.end(), digits.pixels.begin() + 6 * 64));
}

TEST(DigitsData, DistortionsBelongToTheImage) {
  Digits all = digits_split("all", 2), part = digits_split("1300:1797", 2);
  Digits noisy = part;
  distort(noisy, parse_distortion("noise=0.5"), 9);
  double square = 0.0;
  for (std::size_t i = 0; i < noisy.pixels.size(); ++i) square += std::pow(noisy.pixels[i] - part.pixels[i], 2);
  EXPECT_NEAR(square / static_cast<double>(noisy.pixels.size()), 0.25, 0.01);
  const Distortion both = parse_distortion("noise=0.5,clip,drop=0.3");
  distort(all, both, 9);
  distort(part, both, 9);
  EXPECT_TRUE(std::equal(part.pixels.begin(), part.pixels.end(), all.pixels.begin() + 1300 * 64));
  EXPECT_GE(*std::min_element(part.pixels.begin(), part.pixels.end()), 0.0f);
  EXPECT_LE(*std::max_element(part.pixels.begin(), part.pixels.end()), 1.0f);
  Digits dropped = digits_split("all", 2);
  std::fill(dropped.pixels.begin(), dropped.pixels.end(), 1.0f);
  distort(dropped, parse_distortion("drop=0.3"), 9);
  const double zeros = static_cast<double>(std::count(dropped.pixels.begin(), dropped.pixels.end(), 0.0f));
  EXPECT_NEAR(zeros / static_cast<double>(dropped.pixels.size()), 0.3, 0.01);
  for (const char* wrong : {"nois=1", "noise", "noise=-1", "noise=x", "drop=1.5", "shift_down=0.5", ""}) {
    EXPECT_EQ(message_of([&] { parse_distortion(wrong); }),
              cat("\"", wrong,
                  "\" is no distortion; none, or some of noise=0.3, clip, shift_down=1 and drop=0.3 with "
                  "commas between"));
  }
}

TEST(DigitsData, KeepsImagesOfSomeDigits) {
  const Digits all = digits_split("0:300", 3);
  const auto kept = [&](const std::string& which) {
    Digits digits = all;
    keep_digits(digits, which);
    return digits;
  };
  EXPECT_EQ(kept("").ids, all.ids);
  EXPECT_EQ(kept("0-9").ids, all.ids);
  const Digits low = kept("0-4"), some = kept("1,3,7-9");
  EXPECT_EQ(low.count() + kept("5-9").count(), 300);
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < all.count(); ++i) {
    if (all.labels[i] > 4) continue;
    ASSERT_EQ(low.ids[at], all.ids[i]);
    ASSERT_EQ(low.labels[at], all.labels[i]);
    ASSERT_TRUE(std::ranges::equal(low.image(at), all.image(i)));
    ++at;
  }
  EXPECT_EQ(at, low.count());
  EXPECT_EQ(std::set(some.labels.begin(), some.labels.end()), (std::set{1, 3, 7, 8, 9}));
  for (const char* wrong : {"-3", "3-", "3-1", "1-2-3", "10", "8-10", "a", "1,,2", "-"}) {
    EXPECT_EQ(message_of([&] { kept(wrong); }),
              cat("\"", wrong, "\" is no list of digits; write it like 0-4 or 1,3,7-9"));
  }
  Digits zeros = kept("0");
  EXPECT_EQ(message_of([&] { keep_digits(zeros, "1-9"); }),
            cat("none of ", zeros.count(), " images is of the digits 1-9"));
}

TEST(DigitsData, Tasks) {
  const auto answers = [](const std::string& task) {
    Digits digits;
    for (int label = 0; label < 10; ++label) digits.labels.push_back(label);
    digits.labels.push_back(apply_task(digits, task));
    return digits.labels;
  };
  EXPECT_EQ(answers("digit"), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(answers("parity"), (std::vector<int>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 2}));
  EXPECT_EQ(answers("ge5"), (std::vector<int>{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2}));
  EXPECT_EQ(answers("mod3"), (std::vector<int>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 3}));
  EXPECT_EQ(answers("loop"), (std::vector<int>{1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2}));
  EXPECT_EQ(answers("prime"), (std::vector<int>{0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 2}));
  EXPECT_EQ(answers("mod4"), (std::vector<int>{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 4}));
  EXPECT_EQ(message_of([&] { answers("mod5"); }),
            "no task \"mod5\"; the tasks are digit, parity, ge5, mod3, loop, prime, mod4");
}

BasicMlp<double> random_network(const std::vector<int>& widths) {
  BasicMlp<double> network;
  for (std::size_t k = 1; k < widths.size(); ++k) {
    BasicMlp<double>::Layer layer{widths[k - 1], widths[k], {}, {}};
    const RandomStream stream({.seed = 11, .purpose = "test", .input = k});
    for (int i = 0; i < layer.in * layer.out; ++i) layer.weight.push_back(stream.normal(i));
    for (int i = 0; i < layer.out; ++i) layer.bias.push_back(stream.normal(1000 + i));
    network.layers.push_back(layer);
  }
  return network;
}

TEST(Mlp, GradientEqualsDifferencesOfTheLoss) {
  for (const auto& widths : {std::vector<int>{5, 3}, {5, 7, 4}, {5, 6, 3, 2}}) {
    for (const double smoothing : {0.0, 0.2}) {
      auto network = random_network(widths);
      const RandomStream stream({.seed = 12, .purpose = "images"});
      std::vector<double> images;
      std::vector<int> labels;
      for (int i = 0; i < 4 * 5; ++i) images.push_back(stream.normal(i));
      for (int i = 0; i < 4; ++i) labels.push_back(i % widths.back());
      BasicMlp<double> gradient, scratch;
      const auto loss = [&] { return mlp_gradient<double>(network, images, labels, smoothing, 0, scratch); };
      mlp_gradient<double>(network, images, labels, smoothing, 0, gradient);
      for (std::size_t k = 0; k < network.layers.size(); ++k) {
        for (const auto member : {&BasicMlp<double>::Layer::weight, &BasicMlp<double>::Layer::bias}) {
          auto& values = network.layers[k].*member;
          for (std::size_t i = 0; i < values.size(); ++i) {
            constexpr double kStep = 1e-6;
            const double before = values[i];
            values[i] = before + kStep;
            const double up = loss();
            values[i] = before - kStep;
            const double down = loss();
            values[i] = before;
            EXPECT_NEAR((gradient.layers[k].*member)[i], (up - down) / (2 * kStep), 1e-7) << "layer " << k << " " << i;
          }
        }
      }
      // Layers under the lowest trained one get no gradient, the others the same.
      BasicMlp<double> top;
      const int lowest = static_cast<int>(widths.size()) - 2;
      mlp_gradient<double>(network, images, labels, smoothing, lowest, top);
      EXPECT_EQ(top.layers[lowest].weight, gradient.layers[lowest].weight);
      EXPECT_TRUE(lowest == 0 || top.layers[0].weight.empty());
    }
  }
}

TEST(Mlp, LogitsAndLossByHand) {
  BasicMlp<double> network;
  network.layers = {{2, 2, {1, -1, 2, 1}, {0, 1}}, {2, 2, {1, 0, 0, 1}, {0.5, 0}}};
  // h = relu(1 - 2, 2 + 2 + 1) = (0, 5); logits = (0.5, 5)
  EXPECT_EQ(mlp_logits<double>(network, std::vector<double>{1, 2}), (std::vector<double>{0.5, 5.0}));
  BasicMlp<double> gradient;
  const std::vector<double> image = {1, 2};
  const double rest = std::log1p(std::exp(-4.5));
  EXPECT_NEAR(mlp_gradient<double>(network, image, std::vector<int>{1}, 0.0, 0, gradient), rest, 1e-15);
  EXPECT_NEAR(mlp_gradient<double>(network, image, std::vector<int>{1}, 0.2, 0, gradient), rest + 0.1 * 4.5, 1e-14);
}

TEST(Mlp, HeInitialization) {
  const Mlp network = he_mlp(std::vector<int>{200, 100, 10}, 1, 0);
  double square = 0.0;
  for (const float w : network.layers[0].weight) square += w * w;
  EXPECT_NEAR(square / 20000.0, 2.0 / 200.0, 3e-4);
  EXPECT_EQ(network.layers[1].bias, std::vector<float>(10, 0.0f));
  EXPECT_NE(he_mlp(std::vector<int>{200, 100, 10}, 1, 1).layers[0].weight, network.layers[0].weight);
  for (const char* wrong : {"64", "64-0", "64-x", "", "64--10"}) {
    EXPECT_EQ(message_of([&] { parse_widths(wrong); }),
              cat("\"", wrong, "\" is no list of layer widths; write it like 64-64-64-10"));
  }
}

TEST(Mlp, FilesByTensorAndTheirFaults) {
  const TemporaryFolder folder;
  const Mlp network = he_mlp(std::vector<int>{64, 5, 3}, 1, 0);
  const std::string path = folder / "m.safetensors", body = folder / "body.safetensors";
  write_mlp(path, network);
  const auto model = checkpoint::open_checkpoint(path);
  EXPECT_EQ(model.at("fc1.weight").shape, (checkpoint::Shape{5, 64}));
  EXPECT_EQ(model.at("fc2.bias").shape, (checkpoint::Shape{3}));
  EXPECT_EQ(read_mlp(path).layers[1].weight, network.layers[1].weight);
  write_mlp(body, network, parse_patterns("fc1.*"));
  EXPECT_EQ(read_mlp(body).classes(), 5);
  EXPECT_EQ(read_mlp(body, path).layers[1].weight, network.layers[1].weight);
  EXPECT_EQ(message_of([&] { write_mlp(body, network, parse_patterns("fc9.*")); }),
            "--save matches no tensor of the network");

  const auto fault = [&](const std::vector<checkpoint::NamedBytes>& tensors) {
    test::write_model(path, tensors);
    return message_of([&] { read_mlp(path); });
  };
  using checkpoint::DType;
  const auto weight = test::tensor("fc1.weight", DType::kF32, {1, 2}, {1, 2});
  const auto bias = test::tensor("fc1.bias", DType::kF32, {1}, {1});
  EXPECT_EQ(fault({weight}),
            "no tensor fc1.bias (" + path + "); a digits network has fc1.weight, fc1.bias, fc2.weight, ...");
  EXPECT_EQ(fault({weight, test::tensor("fc1.bias", DType::kF32, {2}, {1, 1})}),
            "fc1.bias is [2], the network needs [1] (" + path + ")");
  EXPECT_EQ(fault({weight, bias, test::tensor("fc2.weight", DType::kF32, {1, 2}, {1, 1}),
                   test::tensor("fc2.bias", DType::kF32, {1}, {1})}),
            "fc2.weight is [1, 2], the network needs [out, 1] (" + path + ")");
  EXPECT_EQ(fault({weight, test::tensor("fc1.bias", DType::kF32, {1}, {INFINITY})}),
            "fc1.bias has a value that is not finite (" + path + ")");
  test::write_model(path, {weight, bias});
  EXPECT_EQ(message_of([&] { digit_logits(read_mlp(path), all_digits(), path); }),
            "fc1.weight takes 2 inputs, an image has 64 pixels (" + path + ")");
}

TEST(Train, SnapshotSteps) {
  EXPECT_EQ(snapshot_steps(100, 10), (std::vector<std::int64_t>{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}));
  EXPECT_EQ(snapshot_steps(7, 3), (std::vector<std::int64_t>{2, 5, 7}));
  EXPECT_EQ(snapshot_steps(5, 2), (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(snapshot_steps(4, 4), (std::vector<std::int64_t>{1, 2, 3, 4}));
  for (const int k : {0, 8}) {
    EXPECT_EQ(message_of([&] { snapshot_steps(7, k); }),
              cat(k, " snapshots of a training of 7 steps; ask for one a step at most"));
  }
}

TEST(Train, ScheduleFactors) {
  const auto factors = [](const std::string& schedule, double warmup) {
    std::vector<double> result;
    for (int step = 0; step < 4; ++step) result.push_back(schedule_factor(schedule, warmup, step, 4));
    return result;
  };
  EXPECT_EQ(factors("constant", 0.0), (std::vector<double>{1, 1, 1, 1}));
  EXPECT_EQ(factors("constant", 0.5), (std::vector<double>{0.5, 1, 1, 1}));
  EXPECT_EQ(factors("linear", 0.0), (std::vector<double>{1, 0.75, 0.5, 0.25}));
  EXPECT_EQ(factors("linear", 0.5), (std::vector<double>{0.5, 1, 1, 0.5}));
  EXPECT_NEAR(factors("cosine", 0.0)[1], 0.5 * (1.0 + std::sqrt(0.5)), 1e-15);
  EXPECT_NEAR(factors("cosine", 0.0)[2], 0.5, 1e-15);
}

// Two steps of a network with one layer, in double, from the formulas of train.h.
TEST(Train, UpdatesFollowTheFormulas) {
  for (const std::string optimizer : {"adamw", "sgd"}) {
    TrainSettings settings{
        .layers = "64-10", .split = "0:8", .seed = 5, .epochs = 2, .batch = 8, .optimizer = optimizer};
    settings.lr = 0.01;
    settings.weight_decay = 0.1;
    settings.label_smoothing = 0.1;
    const Mlp start = he_mlp(parse_widths(settings.layers), 5, 0);
    BasicMlp<double> network, gradient;
    network.layers.push_back(
        {64, 10, {start.layers[0].weight.begin(), start.layers[0].weight.end()}, std::vector<double>(10)});
    const Digits digits = digits_split("0:8", 5);
    const std::vector<double> images(digits.pixels.begin(), digits.pixels.end());
    std::vector<double> m(640), v(640);
    for (int step = 1; step <= 2; ++step) {
      mlp_gradient<double>(network, images, digits.labels, 0.1, 0, gradient);
      auto& bias = network.layers[0].bias;
      static std::vector<double> bias_m, bias_v;
      if (step == 1) bias_m = bias_v = std::vector<double>(10);
      const auto update = [&](std::vector<double>& w, const std::vector<double>& g, std::vector<double>& first,
                              std::vector<double>& second) {
        for (std::size_t i = 0; i < w.size(); ++i) {
          if (optimizer == "sgd") {
            first[i] = 0.9 * first[i] + g[i] + 0.1 * w[i];
            w[i] -= 0.01 * first[i];
          } else {
            first[i] = 0.9 * first[i] + 0.1 * g[i];
            second[i] = 0.999 * second[i] + 0.001 * g[i] * g[i];
            const double mean = first[i] / (1.0 - std::pow(0.9, step)),
                         spread = second[i] / (1.0 - std::pow(0.999, step));
            w[i] -= 0.01 * (0.1 * w[i] + mean / (std::sqrt(spread) + 1e-8));
          }
        }
      };
      update(network.layers[0].weight, gradient.layers[0].weight, m, v);
      update(bias, gradient.layers[0].bias, bias_m, bias_v);
    }
    const Mlp trained = train(settings).network;
    double worst = 0.0;
    for (int i = 0; i < 640; ++i) {
      // A pixel that is zero in all eight images has no gradient; where it is tiny, AdamW amplifies its rounding.
      if (optimizer == "sgd" || std::abs(gradient.layers[0].weight[i]) > 1e-4) {
        worst = std::max(worst, std::abs(trained.layers[0].weight[i] - network.layers[0].weight[i]));
      }
    }
    EXPECT_LT(worst, 1e-6) << optimizer;
  }
}

TEST(Train, LearnsAndRepeatsItselfBesideOthers) {
  const TrainSettings settings{.layers = "64-32-10", .split = "pretrain", .shifts = true, .seed = 1, .epochs = 15};
  const Trained alone = train(settings);
  EXPECT_EQ(alone.steps, 15 * 63);  // 2000 images in batches of 32
  const Digits test_set = digits_split("test", 1);
  EXPECT_GT(score_logits(digit_logits(alone.network, test_set, ""), test_set.labels).accuracy, 0.9);
  std::vector<Mlp> beside(3);
  Pool pool(3);
  pool.for_each(3, [&](std::int64_t i, int) { beside[i] = train(settings).network; });
  for (const Mlp& network : beside) EXPECT_EQ(network.layers[0].weight, alone.network.layers[0].weight);
  TrainSettings other = settings;
  other.run = 1;
  EXPECT_NE(train(other).network.layers[0].weight, alone.network.layers[0].weight);
}

TEST(Train, SnapshotsEndWithTheResult) {
  std::vector<std::int64_t> steps;
  Mlp last;
  const TrainSettings settings{.layers = "64-10", .split = "0:70", .epochs = 3, .input_noise = 0.1, .snapshots = 4};
  const Trained trained = train(settings, [&](std::int64_t step, const Mlp& network) {
    steps.push_back(step);
    last = network;
  });
  EXPECT_EQ(steps, snapshot_steps(9, 4));
  EXPECT_EQ(last.layers[0].weight, trained.network.layers[0].weight);
  TrainSettings without = settings;
  without.snapshots = 0;
  EXPECT_EQ(train(without).network.layers[0].weight, trained.network.layers[0].weight);
}

TEST(Train, FrozenTensorsAndNewHeads) {
  const TemporaryFolder folder;
  const std::string path = folder / "base.safetensors";
  const Mlp base = he_mlp(std::vector<int>{64, 12, 10}, 1, 0);
  write_mlp(path, base);
  TrainSettings settings{.from = path, .split = "0:100", .freeze = "fc2.*", .epochs = 2};
  const Mlp body = train(settings).network;
  EXPECT_EQ(body.layers[1].weight, base.layers[1].weight);
  EXPECT_EQ(body.layers[1].bias, base.layers[1].bias);
  EXPECT_NE(body.layers[0].weight, base.layers[0].weight);

  settings.task = "mod3";
  EXPECT_EQ(message_of([&] { train(settings); }), "the network goes from 64 to 10, the task mod3 from 64 to 3 (" +
                                                      path + "); --new-head starts a last layer that fits");
  settings.new_head = true;
  settings.freeze = "fc1.*";
  const Mlp head = train(settings).network;
  EXPECT_EQ(head.layers[0].weight, base.layers[0].weight);
  EXPECT_EQ(head.classes(), 3);
  settings.freeze = "fc1.*, fc7.*";
  EXPECT_EQ(message_of([&] { train(settings); }), "--freeze fc7.* matches no tensor of the network");
  settings.freeze = "*";
  EXPECT_EQ(message_of([&] { train(settings); }), "--freeze leaves nothing to train");
}

TEST(Train, SeesOnlyTheImagesOfItsDigits) {
  const TrainSettings settings{.layers = "64-10", .split = "0:200", .digits = "0-4", .epochs = 3};
  Digits low = digits_split("0:200", 0);
  keep_digits(low, "0-4");
  const Trained trained = train(settings);
  EXPECT_EQ(trained.steps, 3 * ((low.count() + 31) / 32));
  const auto logits = digit_logits(trained.network, digits_split("200:400", 0), "");
  std::set<std::int64_t> answers;
  for (std::size_t i = 0; i < logits.size(); i += 10) {
    answers.insert(std::max_element(logits.begin() + i, logits.begin() + i + 10) - (logits.begin() + i));
  }
  EXPECT_LE(*answers.rbegin(), 4);
}

TEST(Train, RefusesSettingsOutOfRange) {
  const auto message = [](const std::function<void(TrainSettings&)>& change) {
    TrainSettings settings{.split = "0:10", .epochs = 1};
    change(settings);
    return message_of([&] { train(settings); });
  };
  EXPECT_EQ(message([](auto& s) { s.epochs = 0; }), "epochs is 0, not at least 1");
  EXPECT_EQ(message([](auto& s) { s.lr = -1; }), "lr is -1, not a number from 0");
  EXPECT_EQ(message([](auto& s) { s.momentum = 1; }), "momentum is 1, not in [0, 1)");
  EXPECT_EQ(message([](auto& s) { s.optimizer = "adam"; }), "optimizer is adam, not adamw or sgd");
  EXPECT_EQ(message([](auto& s) { s.schedule = "step"; }), "schedule is step, not constant, linear or cosine");
  EXPECT_EQ(message([](auto& s) { s.new_head = true; }),
            "new head is yes, not possible without a checkpoint to start from");
  EXPECT_EQ(message([](auto& s) { s.layers = "32-10"; }),
            "the network goes from 32 to 10, the task digit from 64 to 10; change --layers");
  EXPECT_EQ(message([](auto& s) {
              s.lr = 1e30;
              s.epochs = 9;
            }),
            "the loss is nan at step 2 of 9; lower --lr");
}

TEST(Evaluate, ScoresAndEnsembles) {
  const std::vector<float> logits = {2, 1, 1, 2, 0, 0};
  const std::vector<int> labels = {0, 0, 1};
  const Score score = score_logits(logits, labels);
  EXPECT_EQ(score.n, 3);
  EXPECT_NEAR(score.accuracy, 1.0 / 3.0, 1e-15);
  EXPECT_NEAR(score.loss, (std::log1p(std::exp(-1.0)) + std::log1p(std::exp(1.0)) + std::log(2.0)) / 3.0, 1e-15);
  const std::vector<std::vector<float>> members = {{1, 2}, {3, 5}};
  EXPECT_EQ(mean_logits(members), (std::vector<float>{2.0f, 3.5f}));
  const std::vector<std::vector<float>> unequal = {{1, 2}, {3}};
  EXPECT_EQ(message_of([&] { mean_logits(unequal); }), "members of an ensemble have different numbers of classes");
}

TEST(Sweep, GridsAndDraws) {
  const SettingTexts texts = {
      {"lr", "each(0.1, 0.2)"}, {"epochs", "each(1,2,3)"},           {"input-noise", "one(.1,.2)"},
      {"batch", "int(8, 9)"},   {"weight-decay", "log(1e-4, 1e-1)"}, {"run", "5"}};
  const auto sweep = plan_sweep(texts, 2);
  ASSERT_EQ(sweep.size(), 12u);
  for (std::size_t i = 0; i < sweep.size(); ++i) {
    const TrainSettings& s = sweep[i].settings;
    EXPECT_EQ(s.run, 5 + static_cast<std::int64_t>(i));
    EXPECT_EQ(s.epochs, 1 + static_cast<std::int64_t>(i / 4));  // epochs stand before lr in the list
    EXPECT_EQ(s.lr, i / 2 % 2 == 0 ? 0.1 : 0.2);
    EXPECT_TRUE(s.input_noise == 0.1 || s.input_noise == 0.2);
    EXPECT_TRUE(s.batch == 8 || s.batch == 9);
    EXPECT_TRUE(1e-4 <= s.weight_decay && s.weight_decay <= 1e-1);
    EXPECT_EQ(number_text(s.weight_decay), sweep[i].varied.at("weight-decay"));
  }
  EXPECT_NE(sweep[0].settings.weight_decay, sweep[1].settings.weight_decay);
  EXPECT_EQ(plan_sweep(texts, 2)[7].varied, sweep[7].varied);

  const std::string hint = "; log(a, b), uniform(a, b), int(a, b), one(a, b, ...) and each(a, b, ...) are known";
  const auto message = [&](const std::string& text) { return message_of([&] { plan_sweep({{"lr", text}}, 1); }); };
  EXPECT_EQ(message("lgo(1, 2)"), "--lr lgo(1, 2): no such choice" + hint);
  EXPECT_EQ(message("log(1)"), "--lr log(1): two bounds are needed" + hint);
  EXPECT_EQ(message("log(0,2)"), "--lr log(0, 2): the bounds must be above 0" + hint);
  EXPECT_EQ(message("uniform(2,1)"), "--lr uniform(2, 1): the bounds are out of order" + hint);
  EXPECT_EQ(message("int(1,2.5)"), "--lr int(1, 2.5): a bound is no whole number" + hint);
  EXPECT_EQ(message("fast"), "--lr is \"fast\", not a number");
  EXPECT_EQ(message_of([] { plan_sweep({{"seed", "each(1, 2)"}}, 1); }), "--seed takes one value for the whole sweep");
  EXPECT_EQ(message_of([] { plan_sweep({}, 0); }), "--runs is 0, not at least 1");
}

}  // namespace
}  // namespace solera::examples
