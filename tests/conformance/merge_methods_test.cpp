// What every merge method promises, whatever its formula: a row in merge/methods.cpp enrols it here.
//
// The same bytes for every number of threads, chunk size and SIMD target; a kill after any tensor costs nothing but
// time; a value that is no number is found and named, and nothing remains.

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "solera/base/random.h"
#include "solera/base/text.h"
#include "solera/merge/execute.h"
#include "solera/merge/methods.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;

bool has_base(const Method& method) {
  return method.base == BasePolicy::kRequired || method.base == BasePolicy::kOptional;
}

// Four relatives with sizes around the block, the tile and the vector: scalars, empty ones and halves included.
class Family {
 public:
  Family() {
    for (std::uint64_t model = 0; model < 4; ++model) write(model, -1);
  }

  std::string path(const std::string& name) const { return folder_ / (name + ".safetensors"); }

  // Model a once more, with NaN in one place.
  void poison() { write(1, 5); }

  MergeConfig config(const Method& method) const {
    std::string text = "merge_method: " + method.name + "\n";
    if (has_base(method)) text += "base_model: " + path("base") + "\n";
    text += "models:\n";
    const std::vector<std::string> names = {"a", "b", "c"};
    const int count = std::min<int>(3, method.max_models);
    for (int i = 0; i < count; ++i) {
      text += "  - model: " + path(names[static_cast<std::size_t>(i)]) + "\n";
      std::string parameters;
      for (const Field& field : method.model_parameters())
        parameters += (parameters.empty() ? "" : ", ") + field.name + ": " +
                      (field.is_file() ? measured(names[static_cast<std::size_t>(i)]) : some_value(field, i));
      if (!parameters.empty()) text += "    parameters: {" + parameters + "}\n";
    }
    text += "parameters: {";
    bool first = true;
    for (const Field& field : method.parameters())
      if (field.required) {
        text += (first ? "" : ", ") + field.name + ": " + some_value(field, 0);
        first = false;
      }
    return parse_merge_config(parse_yaml(text + "}\n", "test.yaml"));
  }

  const TemporaryFolder& folder() const { return folder_; }

 private:
  // A value within every range that occurs: fractions stay below a half.
  static std::string some_value(const Field& field, int model) {
    if (field.name == "remove") return "0.05";
    if (field.name == "epsilon") return "0.1";
    return field.choices().empty() ? number_text(0.31 + 0.07 * model) : field.choices().front();
  }

  // Statistics of a model, as every method that reads some wants them: of all tensors that can have any.
  std::string measured(const std::string& model) const {
    const std::string file = path(model + "-measured");
    if (exists(file)) return file;  // an input stays as it is between a kill and the resumption
    std::vector<checkpoint::NamedBytes> tensors = {test::tensor("n", DType::kI64, {}, {12})};
    const auto weights = checkpoint::open_checkpoint(path(model));
    for (const auto& tensor : weights.tensors()) {
      if (!checkpoint::is_float(tensor.dtype)) continue;
      const RandomStream stream({.seed = 2, .purpose = model, .name = tensor.name});
      std::vector<double> fisher(static_cast<std::size_t>(tensor.elements()));
      for (std::size_t i = 0; i < fisher.size(); ++i) fisher[i] = i % 4 == 1 ? 0 : stream.uniform(i);
      tensors.push_back(test::tensor(tensor.name + ".fisher", DType::kF32, tensor.shape, fisher));
      const auto in = static_cast<std::size_t>(checkpoint::input_features(tensor.shape));
      if (in == 0) continue;
      std::vector<double> gram(in * in);  // of two vectors and the identity
      for (std::size_t i = 0; i < in; ++i)
        for (std::size_t j = 0; j < in; ++j)
          gram[i * in + j] =
              (i == j) + stream.normal(i) * stream.normal(j) + stream.normal(in + i) * stream.normal(in + j);
      const auto size = static_cast<std::int64_t>(in);
      tensors.push_back(test::tensor(tensor.name + ".gram", DType::kBF16, {size, size}, gram));
    }
    return test::write_model(file, tensors);
  }

  void write(std::uint64_t model, std::int64_t poisoned) {
    const std::vector<checkpoint::Shape> shapes = {{}, {0}, {3}, {5, 7}, {2, 3, 4}, {4097}, {64, 80}};
    std::vector<checkpoint::NamedBytes> tensors;
    for (std::size_t t = 0; t < shapes.size(); ++t) {
      const std::string name = "layers." + std::to_string(t) + ".weight";
      const RandomStream base({.seed = 1, .purpose = "test.base", .name = name});
      const RandomStream step({.seed = 1, .purpose = "test.step", .input = model, .name = name});
      std::vector<double> values(static_cast<std::size_t>(checkpoint::element_count(shapes[t])));
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = std::round(64 * base.normal(i)) / 64;
        if (model > 0 && i % 3 != model % 3) values[i] += std::round(32 * step.normal(i)) / 256;
      }
      if (poisoned >= 0 && t == 3) values[static_cast<std::size_t>(poisoned)] = std::nan("");
      tensors.push_back(test::tensor(name, t % 2 ? DType::kBF16 : DType::kF32, shapes[t], values));
    }
    tensors.push_back(test::tensor("steps", DType::kI64, {2}, {static_cast<double>(model), 7}));
    const char* names[] = {"base", "a", "b", "c"};
    test::write_model(path(names[model]), tensors);
  }

  TemporaryFolder folder_;
};

class MergeMethods : public testing::TestWithParam<const Method*> {
 protected:
  std::string run(ExecuteOptions options, Progress& progress = no_progress()) {
    Plan plan = make_plan(family_.config(*GetParam()), {.single_file = true});
    options.out = family_.folder() / "out.safetensors";
    options.force = true;
    options.block = 16;
    if (options.blocks_per_chunk == 0) options.blocks_per_chunk = 3;
    execute(plan, options, progress);
    return test::slurp(options.out);
  }

  Family family_;
};

TEST_P(MergeMethods, SameBytesForAllThreadsAndChunks) {
  const std::string expected = run({.threads = 1, .blocks_per_chunk = 1});
  for (const int threads : {1, 2, 7})
    for (const std::int64_t chunk : {1, 7, 4096})
      EXPECT_TRUE(run({.threads = threads, .blocks_per_chunk = chunk}) == expected)
          << threads << " threads, chunk " << chunk;
}

TEST_P(MergeMethods, SameBytesOnEverySimdTarget) {
  const std::string expected = run({.threads = 2});
  for (const std::string& target : weights::simd_targets()) {
    weights::pin_simd_target(target);
    EXPECT_TRUE(run({.threads = 2}) == expected) << target;
  }
  weights::pin_simd_target("");
}

// Ends the process, as a kill would, at the given event.
class Killer final : public Progress {
 public:
  explicit Killer(int at) : left_(at) {}
  void begin(std::string_view, std::uint64_t, std::string_view) override {}
  void advance(std::uint64_t) override {
    if (left_-- == 0) ::_exit(9);
  }
  void note(std::string_view) override {}
  void warn(std::string_view) override {}
  void status(std::string_view) override {}
  void end() override {
    if (left_-- == 0) ::_exit(9);
  }

 private:
  int left_;
};

TEST_P(MergeMethods, KilledAtEveryEventAndResumed) {
  const std::string expected = run({.threads = 1});
  const std::string out = family_.folder() / "out.safetensors";
  std::size_t most = 0;
  for (int event = 0;; ++event) {
    remove_all(out);
    const pid_t child = ::fork();
    if (child == 0) {
      Killer killer(event);
      run({.threads = 1, .journal_bytes = 1}, killer);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 0) break;
    ASSERT_EQ(WEXITSTATUS(status), 9);
    EXPECT_FALSE(exists(out));
    Plan plan = make_plan(family_.config(*GetParam()), {.single_file = true});
    const ExecuteReport report =
        execute(plan, {.out = out, .threads = 2, .block = 16, .blocks_per_chunk = 5}, no_progress());
    most = std::max(most, report.resumed);
    EXPECT_TRUE(test::slurp(out) == expected) << "killed at event " << event;
    EXPECT_FALSE(exists(out + ".partial"));
  }
  EXPECT_GE(most, 7u);  // the last kill leaves all but one tensor done
}

// A method with a survey shares what it found, or is refused by name before anything is written.
TEST_P(MergeMethods, RanksMakeTheFolderOfOneProcess) {
  const auto make = [&](const std::string& out, int rank, int of) {
    Plan plan = make_plan(family_.config(*GetParam()), {.shard_bytes = 4096});
    return execute(plan, {.out = family_.folder() / out, .threads = 2, .block = 16, .rank = rank, .of = of},
                   no_progress());
  };
  make("one", 0, 1);
  SurveyState state;
  const Plan plan = make_plan(family_.config(*GetParam()), {});
  if (plan.program->wants_survey() && !plan.program->survey_state(state)) {
    EXPECT_TRUE(test::message_of([&] { make("many", 0, 3); }).starts_with("`" + GetParam()->name + "` looks at"));
    EXPECT_FALSE(exists(family_.folder() / "many.partial"));
    return;
  }
  for (const int rank : {2, 0, 1}) EXPECT_EQ(make("many", rank, 3).published, rank == 1);
  const std::vector<std::string> names = list_folder(family_.folder() / "one");
  EXPECT_EQ(list_folder(family_.folder() / "many"), names);
  for (const std::string& name : names)
    EXPECT_TRUE(test::slurp(family_.folder() / ("one/" + name)) == test::slurp(family_.folder() / ("many/" + name)))
        << name;
}

TEST_P(MergeMethods, ValuesThatAreNoNumbersAreNamedAndNothingRemains) {
  family_.poison();
  const std::string out = family_.folder() / "out.safetensors";
  Plan plan = make_plan(family_.config(*GetParam()), {.single_file = true});
  const std::string message = test::message_of([&] { execute(plan, {.out = out}, no_progress()); });
  EXPECT_EQ(message, family_.path("a") + ": layers.3.weight holds NaN at element 5 (" + family_.path("a") +
                         "); use --allow-nonfinite to let it through");
  EXPECT_FALSE(exists(out));
  EXPECT_FALSE(exists(out + ".partial"));
  Plan again = make_plan(family_.config(*GetParam()), {.single_file = true});
  execute(again, {.out = out, .allow_nonfinite = true}, no_progress());
  EXPECT_TRUE(exists(out));
}

TEST_P(MergeMethods, IntegersComeFromTheBaseOrTheFirstModel) {
  run({.threads = 2});
  const auto steps = test::values(checkpoint::open_checkpoint(family_.folder() / "out.safetensors"), "steps");
  EXPECT_EQ(steps[0], has_base(*GetParam()) ? 0 : 1);
}

TEST_P(MergeMethods, TooLittleMemoryIsRefusedWithTheLeast) {
  Plan plan = make_plan(family_.config(*GetParam()), {.single_file = true});
  const std::uint64_t least = least_memory(plan, 1, 16);
  const std::string out = family_.folder() / "out.safetensors";
  const std::string message = test::message_of(
      [&] { execute(plan, {.out = out, .threads = 1, .memory = least - 1, .block = 16}, no_progress()); });
  EXPECT_EQ(message.rfind("needs ", 0), 0u) << message;
  EXPECT_FALSE(exists(out + ".partial"));
  execute(plan, {.out = out, .threads = 1, .memory = least, .block = 16}, no_progress());
}

std::vector<const Method*> all_methods() {
  std::vector<const Method*> list;
  for (const Method& method : methods()) list.push_back(&method);
  return list;
}

INSTANTIATE_TEST_SUITE_P(All, MergeMethods, testing::ValuesIn(all_methods()),
                         [](const auto& method) { return method.param->name; });

}  // namespace
}  // namespace solera::merge
