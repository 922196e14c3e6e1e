#include "solera/weights/combine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "solera/base/random.h"
#include "solera/weights/make_delta.h"
#include "tests/support/support.h"

namespace solera::weights {
namespace {

using checkpoint::Checkpoint;
using checkpoint::NamedBytes;
using test::message_of;
using test::tensor;

using Values = std::vector<double>;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Every entry any bits, so that there are NaNs, infinities, subnormals and minus zeros in all types.
NamedBytes any_bits(const std::string& name, DType dtype, checkpoint::Shape shape, std::uint64_t seed) {
  NamedBytes result{{name, dtype, std::move(shape)}, {}};
  result.bytes.resize(result.info.bytes());
  const RandomStream stream({seed, "bits", 0, name});
  for (std::size_t i = 0; i < result.bytes.size(); ++i) result.bytes[i] = static_cast<std::byte>(stream.u32(i));
  return result;
}

class CombineTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return folder_ / name + ".safetensors"; }
  Checkpoint model(const std::string& name, const std::vector<NamedBytes>& tensors) {
    return checkpoint::open_checkpoint(test::write_model(at(name), tensors));
  }
  Checkpoint vector(const std::string& name, const Values& values, DType dtype = DType::kF32) {
    return model(name, {tensor("w", dtype, {static_cast<std::int64_t>(values.size())}, values)});
  }
  // The path of a delta of that name.
  std::string delta(const std::string& name, const Checkpoint& base, const Checkpoint& tuned,
                    DeltaOptions options = {}) {
    options.out = at(name);
    options.force = true;
    make_delta(base, tuned, options, pool_, no_progress());
    return options.out;
  }
  Checkpoint apply(const Checkpoint& base, const std::vector<std::pair<std::string, double>>& deltas,
                   CombineOptions options = {}) {
    if (options.out.empty()) options.out = at("out");
    options.force = true;
    std::vector<Term> terms;
    for (const auto& [path, coefficient] : deltas) terms.push_back(open_term(path, coefficient));
    report_ = combine(base, std::move(terms), options, pool_, no_progress());
    return checkpoint::open_checkpoint(options.out);
  }
  Values applied(const Checkpoint& base, const std::vector<std::pair<std::string, double>>& deltas,
                 CombineOptions options = {}) {
    return test::values(apply(base, deltas, options), "w");
  }
  void adapter(const std::string& name, const std::vector<NamedBytes>& tensors, const std::string& settings) {
    make_folders(folder_ / name);
    checkpoint::write_safetensors(folder_ / name + "/adapter_model.safetensors", tensors);
    write_atomically(folder_ / name + "/adapter_config.json", cat("{\"peft_type\":\"LORA\",", settings, "}"));
  }
  std::string refusal(const std::function<void()>& action) {
    std::string text = message_of(action);
    for (std::size_t i; (i = text.find(folder_.path())) != std::string::npos;)
      text.replace(i, folder_.path().size(), "HERE");
    return text;
  }

  TemporaryFolder folder_;
  Pool pool_{3};
  CombineReport report_;
};

TEST_F(CombineTest, AnExactDeltaGivesTheTunedModelAndBack) {
  std::vector<NamedBytes> from, to, few;
  for (int d = 0; d <= static_cast<int>(DType::kBool); ++d) {
    const auto dtype = static_cast<DType>(d);
    if (dtype == DType::kF4) continue;
    for (const std::int64_t n : {0, 1, 7, 9, 1000, 70001}) {
      const std::string name = cat(checkpoint::name(dtype), ".", n);
      from.push_back(any_bits(name, dtype, {n}, 1));
      to.push_back(any_bits(name, dtype, {n}, 2));
      few.push_back(from.back());
      for (std::size_t i = 0; i < few.back().bytes.size(); i += 977) few.back().bytes[i] ^= std::byte{0x41};
    }
  }
  const Checkpoint base = model("base", from);
  const std::string base_bytes = test::slurp(at("base"));
  for (const auto& [name, tensors] : {std::pair{"all", to}, std::pair{"few", few}}) {
    const Checkpoint tuned = model(name, tensors);
    const std::string path = delta("d", base, tuned);
    const Checkpoint made = apply(base, {{path, 1}});
    EXPECT_TRUE(test::slurp(at("out")) == test::slurp(at(name))) << name;
    apply(made, {{path, 1}}, {.out = at("back"), .revert = true});
    EXPECT_TRUE(test::slurp(at("back")) == base_bytes) << name;
  }
}

TEST_F(CombineTest, ASparseExactDeltaSelects) {  // Panigrahi et al., worked by hand
  const Checkpoint base = vector("base", {1, 2, 3, 4}), tuned = vector("tuned", {2, 2.5, 3.1, 0});
  const auto region = [&](std::int64_t count) {
    return delta("d", base, tuned, {.sparsity = {.how = Sparsify::kMagnitude, .count = count, .whole_model = true}});
  };
  const Checkpoint made = apply(base, {{region(2), 1}});
  EXPECT_EQ(test::values(made, "w"), (Values{2, 2, 3, 0}));
  EXPECT_EQ(report_.changed, 2);
  EXPECT_EQ(applied(made, {{at("d"), 1}}, {.out = at("back"), .revert = true}), (Values{1, 2, 3, 4}));
  EXPECT_EQ(applied(base, {{region(4), 1}}), test::values(tuned, "w"));
}

TEST_F(CombineTest, CoefficientsScaleWhateverIsStored) {
  const Checkpoint base = vector("base", {1, 2, -0.0, 4}), tuned = vector("tuned", {2, 2, -0.0, 0});
  for (const DeltaValues values : {DeltaValues::kExact, DeltaValues::kDifference}) {
    const std::string path = delta("d", base, tuned, {.values = values});
    EXPECT_EQ(applied(base, {{path, 0.5}}), (Values{1.5, 2, 0, 2}));
    EXPECT_EQ(applied(base, {{path, -2}}), (Values{-1, 2, 0, 12}));
    EXPECT_EQ(applied(base, {{path, 0}}), (Values{1, 2, 0, 4}));
    EXPECT_TRUE(std::signbit(applied(base, {{path, 0.5}})[2]));  // unchanged entries keep their bits
  }
}

TEST_F(CombineTest, RegionsThatDoNotMeetAreExactSideBySide) {
  // base + (tuned - base) would lose the small values in float64 already.
  const Checkpoint base = vector("base", {1e300, 1e300, 1}, DType::kF64);
  const Checkpoint a = vector("a", {1e-300, 1e300, 1}, DType::kF64), b = vector("b", {1e300, 3e-300, 1}, DType::kF64);
  const std::string first = delta("da", base, a), second = delta("db", base, b);
  EXPECT_EQ(applied(base, {{first, 1}, {second, 1}}), (Values{1e-300, 3e-300, 1}));
  EXPECT_EQ(applied(base, {{second, 1}, {first, 1}}), (Values{1e-300, 3e-300, 1}));
}

TEST_F(CombineTest, RegionsThatMeetAreSummedOrAveraged) {
  const Checkpoint base = vector("base", {1, 1, 1}), a = vector("a", {3, 3, 1}), b = vector("b", {1, 5, 2});
  const std::string first = delta("da", base, a), second = delta("db", base, b);
  EXPECT_EQ(applied(base, {{first, 1}, {second, 1}}), (Values{3, 7, 2}));
  EXPECT_EQ(applied(base, {{first, 1}, {second, 1}}, {.shared = Shared::kMean}), (Values{3, 4, 2}));
}

TEST_F(CombineTest, TheOrderOfDeltasNeverMatters) {
  const RandomStream stream({5, "test"});
  Values from(3000);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = stream.normal(i);
  const Checkpoint base = vector("base", from, DType::kF64);
  std::vector<std::pair<std::string, double>> deltas;
  for (std::size_t d = 0; d < 4; ++d) {
    Values to = from;
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += stream.normal((d + 1) * 10000 + i);
    const Checkpoint tuned = vector(cat("t", d), to, DType::kF64);
    const Sparsity sparsity = d == 3 ? Sparsity{.how = Sparsify::kRandom, .density = 0.5} : Sparsity{};
    deltas.emplace_back(delta(cat("d", d), base, tuned, {.sparsity = sparsity}), 0.3 + 0.1 * static_cast<double>(d));
  }
  const Values expected = applied(base, deltas);
  std::sort(deltas.begin(), deltas.end());
  int orders = 0;
  do {
    EXPECT_EQ(applied(base, deltas), expected);
    ++orders;
  } while (std::next_permutation(deltas.begin(), deltas.end()));
  EXPECT_EQ(orders, 24);
}

TEST_F(CombineTest, RevertingDifferencesStaysWithinAUlp) {
  const RandomStream stream({6, "test"});
  Values from(2000), to(2000);
  for (std::size_t i = 0; i < from.size(); ++i) {
    from[i] = static_cast<float>(stream.normal(i));
    to[i] = static_cast<float>(from[i] + stream.normal(i + 5000));
  }
  const Checkpoint base = vector("base", from), tuned = vector("tuned", to);
  const std::string path = delta("d", base, tuned, {.values = DeltaValues::kDifference});
  const Values back = applied(apply(base, {{path, 1}}), {{path, 1}}, {.out = at("back"), .revert = true});
  for (std::size_t i = 0; i < from.size(); ++i) {
    const double largest = std::max({std::abs(from[i]), std::abs(to[i]), std::abs(to[i] - from[i])});
    const float ulp = std::nextafter(static_cast<float>(largest), INFINITY) - static_cast<float>(largest);
    EXPECT_LE(std::abs(back[i] - from[i]), ulp) << i;
  }
}

TEST_F(CombineTest, AnAdapterAddsItsProduct) {
  // W0 + s B A with s = 4 / 2 and B A = [[1, 3, 3], [3, 6, 9]].
  const Checkpoint base = model("base", {tensor("m.q.bias", DType::kF32, {2}, {1, 1}),
                                         tensor("m.q.weight", DType::kF32, {2, 3}, {10, 10, 10, 10, 10, 10})});
  adapter("l",
          {tensor("base_model.model.m.q.lora_A.weight", DType::kF32, {2, 3}, {1, 2, 3, 0, 1, 0}),
           tensor("base_model.model.m.q.lora_B.weight", DType::kF32, {2, 2}, {1, 1, 3, 0}),
           tensor("base_model.model.m.q.lora_B.bias", DType::kF32, {2}, {0.5, 0})},
          R"("r":2,"lora_alpha":4,"lora_bias":true)");
  const Checkpoint made = apply(base, {{folder_ / "l", 1}});
  EXPECT_EQ(test::values(made, "m.q.weight"), (Values{12, 16, 16, 16, 22, 28}));
  EXPECT_EQ(test::values(made, "m.q.bias"), (Values{2, 1}));
  EXPECT_EQ(test::values(apply(made, {{folder_ / "l", 1}}, {.out = at("back"), .revert = true}), "m.q.weight"),
            (Values{10, 10, 10, 10, 10, 10}));
  EXPECT_EQ(test::values(apply(base, {{folder_ / "l", 0.5}}), "m.q.weight"), (Values{11, 13, 13, 13, 16, 19}));
}

TEST_F(CombineTest, AdaptersOfTablesTurnedMatricesAndConvolutions) {
  const Checkpoint base = model("base", {tensor("conv.weight", DType::kF32, {2, 1, 2}, {0, 0, 0, 0}),
                                         tensor("emb.weight", DType::kF32, {3, 2}, {0, 0, 0, 0, 0, 0}),
                                         tensor("turned.weight", DType::kF32, {3, 2}, {0, 0, 0, 0, 0, 0})});
  const std::string p = "base_model.model.";
  adapter("l",
          {tensor(p + "emb.lora_embedding_A", DType::kF32, {1, 3}, {0, 1, 2}),
           tensor(p + "emb.lora_embedding_B", DType::kF32, {2, 1}, {1, -1}),
           tensor(p + "turned.lora_A.weight", DType::kF32, {1, 3}, {0, 1, 2}),
           tensor(p + "turned.lora_B.weight", DType::kF32, {2, 1}, {1, -1}),
           tensor(p + "conv.lora_A.weight", DType::kF32, {1, 1, 2}, {3, 5}),
           tensor(p + "conv.lora_B.weight", DType::kF32, {2, 1, 1}, {1, 2})},
          R"("r":1,"lora_alpha":1)");
  const Checkpoint made = apply(base, {{folder_ / "l", 1}});
  EXPECT_EQ(test::values(made, "emb.weight"), (Values{0, 0, 1, -1, 2, -2}));
  EXPECT_EQ(test::values(made, "turned.weight"), (Values{0, 0, 1, -1, 2, -2}));
  EXPECT_EQ(test::values(made, "conv.weight"), (Values{3, 5, 6, 10}));
}

TEST_F(CombineTest, KindsMixAndSmallChangesAreCounted) {
  const Checkpoint base = model("base", {tensor("q.weight", DType::kBF16, {1, 4}, {1, 1, 1, 1})});
  const Checkpoint tuned = model("tuned", {tensor("q.weight", DType::kBF16, {1, 4}, {2, 1, 1, 1})});
  adapter("l",
          {tensor("q.lora_A.weight", DType::kF32, {1, 4}, {0, 1, 0.001, 0}),
           tensor("q.lora_B.weight", DType::kF32, {1, 1}, {1})},
          R"("r":1,"lora_alpha":1)");
  const std::string exact = delta("d", base, tuned),
                    difference = delta("e", base, tuned, {.values = DeltaValues::kDifference});
  const Checkpoint made = apply(base, {{folder_ / "l", 1}, {exact, 1}, {difference, 2}});
  EXPECT_EQ(test::values(made, "q.weight"), (Values{4, 2, 1, 1}));
  EXPECT_EQ(report_.changed, 2);
  EXPECT_EQ(report_.lost, 1);  // 1.001 is 1 in BF16
}

TEST_F(CombineTest, AnotherBaseIsRefused) {
  const Checkpoint base = vector("base", {1, 2}), tuned = vector("tuned", {1, 3}), other = vector("other", {5, 2});
  const std::string exact = delta("d", base, tuned),
                    difference = delta("e", base, tuned, {.values = DeltaValues::kDifference});
  const std::string was = "HERE/e.safetensors was made for another base than HERE/other.safetensors: w has the hash ";
  const std::string text = refusal([&] { apply(other, {{difference, 1}}); });
  EXPECT_EQ(text.substr(0, was.size()), was);
  EXPECT_EQ(text.substr(was.size() + 32), cat(", not ", checkpoint::open_delta(difference).find("w")->base_hash,
                                              "; --any-base applies it nevertheless"));
  EXPECT_EQ(applied(other, {{difference, 1}}, {.any_base = true}), (Values{5, 3}));
  EXPECT_NE(refusal([&] { apply(other, {{exact, 1}}, {.any_base = true}); }).find("its changed bits mean nothing"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              apply(other, {{exact, 1}}, {.revert = true});
            }).find("HERE/d.safetensors was not applied last to HERE/other.safetensors: w has the hash "),
            std::string::npos);
}

TEST_F(CombineTest, RefusalsLeaveNothing) {
  const Checkpoint base = model("base", {tensor("n", DType::kI64, {}, {1}), tensor("w", DType::kF32, {2}, {1, 2})});
  const Checkpoint tuned = model("tuned", {tensor("n", DType::kI64, {}, {2}), tensor("w", DType::kF32, {2}, {1, 3})});
  const std::string d = delta("d", base, tuned);
  const std::vector<std::string> before = list_folder(folder_.path());
  EXPECT_EQ(refusal([&] { apply(base, {{d, 0.5}}); }),
            "n is I64: its changes are neither multiplied nor summed (HERE/d.safetensors); make the delta with "
            "--exclude 'n'");
  EXPECT_EQ(refusal([&] { apply(base, {{d, kNan}}); }), "the coefficient of HERE/d.safetensors is nan, not finite");
  EXPECT_EQ(refusal([&] { apply(vector("x", {1, 2}), {{d, 1}}); }),
            "HERE/d.safetensors changes n, which HERE/x.safetensors lacks; the delta was made for another base");
  EXPECT_EQ(
      refusal([&] {
        apply(model("x", {tensor("n", DType::kI64, {}, {1}), tensor("w", DType::kF32, {1, 2}, {1, 2})}), {{d, 1}});
      }),
      "w is F32 [1, 2] in HERE/x.safetensors, F32 [2] in HERE/d.safetensors; the delta was made for another base");
  EXPECT_EQ(refusal([&] { apply(tuned, {{d, 1}, {d, 1}}, {.revert = true}); }),
            "n is I64: its changes are neither multiplied nor summed (HERE/d.safetensors); make the delta with "
            "--exclude 'n'");
  const std::string w = delta("e", base, tuned, {.exclude = {Pattern("n")}});
  EXPECT_EQ(refusal([&] { apply(tuned, {{w, 0.5}}, {.revert = true}); }),
            "w: changed bits are reverted exactly or not at all (HERE/e.safetensors); revert one delta at a time, "
            "without a coefficient");
  EXPECT_EQ(refusal([&] { apply(base, {{w, 1e39}}); }),
            "w: the result is not finite among entries 0 to 1 (HERE/base.safetensors); a delta is broken, or a "
            "coefficient too large");
  remove_all(at("x"));
  remove_all(w);
  EXPECT_EQ(list_folder(folder_.path()), before);
}

TEST_F(CombineTest, AMaskThatDisagreesWithItsValuesIsAnError) {
  const Checkpoint base = vector("base", Values(20, 1));
  Values to(20, 1);
  to[3] = to[11] = 2;
  const std::string path = delta("d", base, vector("tuned", to));
  const std::string good = test::slurp(path);
  const auto with = [&](std::string mask) {
    const auto at_mask = good.size() - 3;  // bytes come last, after the wider values
    write_atomically(path, good.substr(0, at_mask) + mask);
    return refusal([&] { apply(base, {{path, 1}}); });
  };
  ASSERT_EQ(good.substr(good.size() - 3), std::string("\x08\x08\x00", 3));
  EXPECT_EQ(with(std::string("\x08\x18\x00", 3)), "w/mask has 3 ones for 2 values (HERE/d.safetensors)");
  EXPECT_EQ(with(std::string("\x08\x00\x10", 3)), "w/mask has ones past the last of 20 entries (HERE/d.safetensors)");
}

TEST_F(CombineTest, AFolderKeepsItsSideFilesAndShards) {
  make_folders(folder_ / "base");
  test::write_model(folder_ / "base/model.safetensors",
                    {tensor("a", DType::kF32, {2}, {1, 2}), tensor("b", DType::kF32, {2}, {3, 4})});
  write_atomically(folder_ / "base/config.json", "{}");
  const Checkpoint base = checkpoint::open_checkpoint(folder_ / "base");
  const Checkpoint tuned =
      model("tuned", {tensor("a", DType::kF32, {2}, {1, 2}), tensor("b", DType::kF32, {2}, {3, 5})});
  apply(base, {{delta("d", base, tuned), 1}}, {.out = folder_ / "made", .shard_bytes = 8});
  EXPECT_EQ(list_folder(folder_ / "made"),
            (std::vector<std::string>{"config.json", "model-00001-of-00002.safetensors",
                                      "model-00002-of-00002.safetensors", "model.safetensors.index.json"}));
  EXPECT_EQ(test::values(checkpoint::open_checkpoint(folder_ / "made"), "b"), (Values{3, 5}));
}

}  // namespace
}  // namespace solera::weights
