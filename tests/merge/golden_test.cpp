// What mergekit 0.1.5 made of these configurations, tensor by tensor: a small part is carried in tests/merge/golden,
// the whole set lies below $SOLERA_TEST_DATA. cases.json says for each case how close an output must be; `undecided`
// lists elements that more than one answer is right for.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "solera/base/document.h"
#include "solera/base/text.h"
#include "solera/merge/documents.h"
#include "solera/merge/methods.h"
#include "solera/merge/names.h"
#include "solera/merge/output_files.h"
#include "solera/merge/vocabulary.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;
using checkpoint::Tensor;

// Does a configuration use only what is offered here?
bool is_offered(const std::string& path) {
  for (const Node& document : parse_yaml_stream(read_file(path), path)) {
    if (!document.is_map()) return false;
    const std::string& name = document.at("merge_method").as_text();
    if (std::none_of(methods().begin(), methods().end(), [&](const Method& one) { return one.name == name; }))
      return false;
  }
  return true;
}

PlanOptions options_for(const Node& one) {
  PlanOptions options;
  const std::vector<std::string> words = split(one.at("command").as_text(), ' ');
  if (const auto flag = std::find(words.begin(), words.end(), "--out-shard-size"); flag != words.end())
    options.shard_bytes = parse_bytes(*(flag + 1));
  options.truncate_embeddings = std::find(words.begin(), words.end(), "--unsafe-truncate-embeddings") != words.end();
  return options;
}

std::vector<Plan> plans_for(const std::string& root, const Node& one, const std::string& parts = "parts") {
  std::vector<MergeConfig> configs = read_merge_configs(join_path(root, one.at("config").as_text()));
  for (MergeConfig& config : configs) config.folder = root;
  return plan_documents(configs, options_for(one), parts);
}

class Allowance {
 public:
  Allowance(const std::string& root, const Node& one) : rule_(one.at("tolerance")) {
    kind_ = rule_.at("kind").as_text();
    if (const Node* list = one.find("undecided"))
      for (const Node documents = read_json(join_path(root, list->at("file").as_text()));
           const auto& [name, items] : documents.entries())
        for (const Node& item : items.items()) undecided_[name].insert(item.as_int());
  }

  bool decided(const std::string& name, std::int64_t i) const {
    const auto found = undecided_.find(name);
    return found == undecided_.end() || !found->second.contains(i);
  }

  // Elements are one of the inputs', as a mask decides that is rounding noise in mergekit; here it is not.
  bool is_membership() const { return kind_ == "membership"; }

  // Of every element of a tensor.
  std::vector<double> of(const TensorPlan& tensor, const std::vector<double>& golden) const {
    std::vector<double> allowed(golden.size());
    const std::vector<double> steps = kind_ == "low" ? summed_steps(tensor) : std::vector<double>(golden.size());
    for (std::size_t i = 0; i < golden.size(); ++i) {
      const double size = std::abs(golden[i]);
      if (kind_ == "relative") allowed[i] = rule_.at("atol").as_double() + rule_.at("rtol").as_double() * size;
      if (kind_ == "ulp")
        allowed[i] = std::max(rule_.at("atol").as_double(), rule_.at("ulps").as_double() * ulp(size, tensor.out.dtype));
      if (kind_ == "low") allowed[i] = rule_.at("factor").as_double() * rule_.at("eps").as_double() * (size + steps[i]);
    }
    return allowed;
  }

 private:
  static double ulp(double size, DType dtype) {
    if (size == 0) return 0;
    return std::ldexp(1.0, std::ilogb(size) - (dtype == DType::kBF16 ? 7 : 10));
  }

  // sum over the models of |x_i - base|
  static std::vector<double> summed_steps(const TensorPlan& tensor) {
    std::vector<double> sum(static_cast<std::size_t>(tensor.out.elements()));
    const auto& operands = tensor.operands;
    const auto base = test::values(*operands[0].model, operands[0].tensor->name);
    for (std::size_t k = 1; k < operands.size(); ++k) {
      const auto model = test::values(*operands[k].model, operands[k].tensor->name);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += std::abs(model[i] - base[i]);
    }
    return sum;
  }

  const Node& rule_;
  std::string kind_;
  std::map<std::string, std::set<std::int64_t>> undecided_;
};

std::vector<std::string> names_of(const Checkpoint& model) {
  std::vector<std::string> names;
  for (const Tensor& tensor : model.tensors()) names.push_back(tensor.name);
  return names;
}

// The output of a mask: each element is the base's or the other model's, to the bit, and the masks differ in no more
// elements than mergekit's differs from that of a float64 calculation.
void compare_masks(const Checkpoint& golden, const Checkpoint& ours, const Plan& plan, std::int64_t differing) {
  ASSERT_EQ(names_of(ours), names_of(golden));
  std::int64_t count = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    const auto right = test::values(golden, tensor.out.name), values = test::values(ours, tensor.out.name);
    const auto base = test::values(*tensor.operands[0].model, tensor.operands[0].tensor->name);
    const auto other = test::values(*tensor.operands.back().model, tensor.operands.back().tensor->name);
    ASSERT_EQ(right.size(), values.size()) << tensor.out.name;
    for (std::size_t i = 0; i < right.size(); ++i) {
      ASSERT_TRUE(values[i] == base[i] || values[i] == other[i]) << tensor.out.name << "[" << i << "]";
      // What mergekit writes is the base plus the step, rounded: nearer to one of the two.
      const bool theirs = std::abs(right[i] - other[i]) < std::abs(right[i] - base[i]);
      count += base[i] != other[i] && theirs != (values[i] == other[i]);
    }
  }
  EXPECT_LE(count, differing);
}

// Rows of golden's tables in the order of our tokens, where the order of new tokens is arbitrary there.
void order_rows(const Checkpoint& golden, const Checkpoint& ours, const Tensor& table, std::vector<double>& values) {
  const Vocabulary theirs = read_vocabulary(golden, "golden"), own = read_vocabulary(ours, "ours");
  ASSERT_THAT(own.tokens, testing::UnorderedElementsAreArray(theirs.tokens));
  const std::vector<double> before = values;
  const auto width = static_cast<std::size_t>(table.elements() / table.shape[0]);
  for (const std::string& token : own.tokens) {
    const auto from = static_cast<std::size_t>(theirs.ids.at(token)), to = static_cast<std::size_t>(own.ids.at(token));
    std::copy_n(before.begin() + static_cast<std::ptrdiff_t>(from * width), width,
                values.begin() + static_cast<std::ptrdiff_t>(to * width));
  }
}

void compare_tensors(const Checkpoint& golden, const Checkpoint& ours, const Plan& plan, const Allowance& allowance,
                     bool by_token) {
  ASSERT_EQ(names_of(ours), names_of(golden));
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.note == "not selected") continue;
    const Tensor& expected = golden.at(tensor.out.name);
    EXPECT_EQ(ours.at(tensor.out.name).shape, expected.shape) << tensor.out.name;
    ASSERT_EQ(ours.at(tensor.out.name).dtype, expected.dtype) << tensor.out.name;
    auto right = test::values(golden, tensor.out.name);
    const auto values = test::values(ours, tensor.out.name);
    ASSERT_EQ(values.size(), right.size()) << tensor.out.name;
    if (by_token && may_span_vocabulary(tensor.out.name)) order_rows(golden, ours, expected, right);
    const auto allowed =
        checkpoint::is_float(expected.dtype) ? allowance.of(tensor, right) : std::vector<double>(right.size());
    std::size_t wrong = 0, worst = 0;
    for (std::size_t i = 0; i < right.size(); ++i) {
      if (!allowance.decided(tensor.out.name, static_cast<std::int64_t>(i)) ||
          std::abs(values[i] - right[i]) <= allowed[i])
        continue;
      ++wrong;
      if (std::abs(values[i] - right[i]) > std::abs(values[worst] - right[worst])) worst = i;
    }
    EXPECT_EQ(wrong, 0u) << tensor.out.name << "[" << worst << "] is " << values[worst] << ", not " << right[worst];
  }
}

void compare_configs(const std::string& golden, const std::string& ours, const Node& one) {
  const Node right = read_json(join_path(golden, "config.json")), config = read_json(join_path(ours, "config.json"));
  for (const std::string_view key :
       {"architectures", "num_hidden_layers", "n_layer", "vocab_size", "tie_word_embeddings", "model_type"}) {
    if (!config.find(key) || !right.find(key)) continue;
    // mergekit leaves a head beside a config that ties it away.
    if (key == "tie_word_embeddings" && one.at("name").as_text() == "linear_tied_and_untied_head") {
      EXPECT_EQ(to_json(right.at(key)), "true");
      EXPECT_EQ(to_json(config.at(key)), "false");
    } else {
      EXPECT_EQ(to_json(config.at(key)), to_json(right.at(key))) << key;
    }
  }
  // mergekit's own word is wrong in two cases; the type of the tensors counts.
  EXPECT_EQ(config.at("torch_dtype").as_text(), one.at("dtypes").items()[0].as_text());
}

void check_case(const std::string& root, const Node& one) {
  SCOPED_TRACE(one.at("name").as_text());
  const TemporaryFolder folder;
  const std::string out = folder / "out", parts = folder / "parts";
  std::vector<Plan> plans = plans_for(root, one, parts);
  const std::vector<Plan> again = plans_for(root, one, parts);
  execute_documents(std::move(plans), options_for(one), {.out = out, .threads = 2, .memory = 256u << 20}, parts, true,
                    no_progress());
  const Allowance allowance(root, one);
  const std::string golden = join_path(root, one.at("out").as_text());
  const Node* rows = one.find("rows");
  for (const Plan& plan : again) {
    const bool last = &plan == &again.back();
    const std::string right = last ? golden : join_path(golden + ".parts", plan.config.name);
    const std::string ours = last ? out : join_path(parts, plan.config.name);
    const auto expected = checkpoint::open_checkpoint(right), made = checkpoint::open_checkpoint(ours);
    if (allowance.is_membership()) {  // mergekit's float32 for bfloat16 inputs is a defect: its types are not compared
      compare_masks(expected, made, plan, one.at("mask").at("float64_decides_otherwise").as_int());
      continue;
    }
    compare_tensors(expected, made, plan, allowance, rows && rows->as_text() == "token");
    compare_configs(right, ours, one);
  }
}

// Runs all cases of a set that are offered here and returns their number.
std::size_t check_cases(const std::string& root) {
  const Node list = read_json(join_path(root, "cases.json"));
  std::size_t count = 0;
  for (const Node& one : list.at("cases").items()) {
    if (!is_offered(join_path(root, one.at("config").as_text()))) continue;
    check_case(root, one);
    ++count;
  }
  return count;
}

// What each refusal must name.
const std::map<std::string, std::string> kRefusals = {
    {"bad_unknown_method", "unknown merge method \"tiez\" (FILE:3:15); did you mean ties?"},
    {"bad_ties_without_base", "ties needs base_model (FILE); name the model that the others were tuned from"},
    {"bad_slices_without_base_source",
     "base_model models/qwen2/base is not a source of the slice (FILE:5:13); add it to the sources, or write `models` "
     "instead of `slices`"},
    {"bad_slerp_three_models",
     "slerp takes exactly 1 model besides the base, the file lists 2: models/qwen2/a, models/qwen2/b (FILE)"},
    {"bad_slerp_without_t",
     "missing parameter \"t\" at model.embed_tokens.weight (FILE); give it to the model, or for the whole file under "
     "parameters"},
    {"bad_linear_base_without_weight",
     "missing parameter \"weight\" for models/qwen2/base at model.embed_tokens.weight (FILE); base_model is one more "
     "model here: list it "
     "with its parameters, or set them for the whole file"},
    {"bad_filter_without_fallback",
     "missing parameter \"weight\" for models/qwen2/a at model.embed_tokens.weight (FILE); give it to the model, or "
     "for the whole file "
     "under parameters"},
    {"bad_vocabulary_mismatch",
     "models/vocab/a: lm_head.weight is [67, 16], models/vocab/base has [64, 16] "
     "(ROOT/models/vocab/a/model.safetensors); align the vocabularies with tokenizer_source: union, or use --exclude "
     "'lm_head.*' to keep that of models/vocab/base"},
    {"bad_slice_lengths",
     "layer_range [0, 3] of models/qwen2/b has 3 layers, [0, 2] of models/qwen2/a has 2 (FILE:4:17); the sources of "
     "one slice have equally many layers"},
    {"bad_layer_out_of_range",
     "layer_range [1, 5] of models/qwen2/a reaches past its 3 layers (FILE:3:17); layers count from 0 and the end is "
     "not included"},
    {"bad_models_and_slices",
     "more than one of \"models\", \"slices\" and \"modules\" is given (FILE:4:3); keep the one that is meant"},
    {"bad_same_model_twice",
     "model models/qwen2/a is listed twice (FILE:4:17); layers of one model are stacked by slices of their own"},
    {"bad_dtype", "\"dtype\" is \"float8\", not a type to merge in (FILE:4:8); did you mean float32?"},
    {"bad_della_epsilon",
     "\"density\" 0.9 with \"epsilon\" 0.15 asks for probabilities from 0.75 to 1.05 at model.embed_tokens.weight "
     "(FILE); density - epsilon and density + epsilon lie between 0 and 1"},
    {"bad_density_text", "\"density\" is \"high\", not a number (FILE:2:64)"},
    {"bad_mixed_architectures",
     "models/qwen2/a is a qwen2 model and models/gpt2/a is a gpt2 model (FILE); only models of one architecture can be "
     "merged"},
    {"bad_shapes",
     "models/llama/a: lm_head.weight is [120, 32], models/vocab/a has [67, 16] "
     "(ROOT/models/llama/a/model.safetensors); "
     "use --exclude 'lm_head.*' to keep that of models/vocab/a"},
    {"bad_chat_template",
     "no chat template is called \"nosuchtemplate\" (FILE:4:16); use auto, chatml, or write the template itself"},
    {"bad_two_tokenizer_forms", "\"tokenizer_source\" and \"tokenizer\" are both given (FILE:6:12); keep one of them"},
    {"bad_token_source", "models/vocab/b has no token \"<pad>\" (FILE:9:21)"},
    {"bad_late_token",
     "models/vocab/d: the token \"<|late|>\" has the id 64 and its embedding 64 rows (FILE:6:19); take the vocabulary "
     "of another model, or union"},
    {"bad_model_stock_two",
     "model_stock needs at least 2 models besides the base, the file lists 1: models/qwen2/a (FILE)"},
    {"bad_nuslerp_missing_pooler",
     "bert.pooler.dense.bias is in models/bert/a only, and nuslerp needs 2 models besides the base (FILE); use "
     "--exclude 'bert.pooler.dense.bias' to leave it as it is"},
    {"bad_empty", "\"models\" is missing or empty (FILE); list the models to merge"},
};

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::size_t check_refusals(const std::string& root) {
  const Node list = read_json(join_path(root, "bad.json"));
  std::size_t count = 0;
  for (const Node& one : list.at("cases").items()) {
    const auto refusal = kRefusals.find(one.at("name").as_text());
    if (refusal == kRefusals.end()) continue;
    SCOPED_TRACE(refusal->first);
    std::string message = test::message_of([&] { (void)plans_for(root, one); });
    message = replace_all(message, join_path(root, one.at("config").as_text()), "FILE");
    EXPECT_EQ(replace_all(message, root, "ROOT"), refusal->second);
    ++count;
  }
  return count;
}

const std::string kCarried = SOLERA_SOURCE_DIR "/tests/merge/golden";

TEST(Golden, CarriedCasesMatchMergekit) { EXPECT_EQ(check_cases(kCarried), 20u); }
TEST(Golden, CarriedMistakesAreRefused) { EXPECT_EQ(check_refusals(kCarried), 12u); }

TEST(Golden, AllCasesMatchMergekit) {
  SOLERA_NEEDS_DATA();
  EXPECT_EQ(check_cases(test::data_folder() + "/golden/mergekit"), 77u);
}

TEST(Golden, AllMistakesAreRefused) {
  SOLERA_NEEDS_DATA();
  EXPECT_EQ(check_refusals(test::data_folder() + "/golden/mergekit"), kRefusals.size());
}

// mergekit writes the tensors and stops at config.json, whose layer_types keep their length; the recipe is sound.
TEST(Golden, LayersOfQwen2AreStacked) {
  SOLERA_NEEDS_DATA();
  MergeConfig config = read_merge_config(test::data_folder() + "/golden/mergekit/configs/bad_qwen2_layer_count.yaml");
  config.folder = test::data_folder() + "/golden/mergekit";
  const Plan plan = make_plan(std::move(config), {});
  EXPECT_EQ(plan.tensors.size(), 51u);
  const Node out = output_config(plan);
  EXPECT_EQ(out.at("num_hidden_layers").as_int(), 4);
  EXPECT_EQ(out.at("tie_word_embeddings").as_bool(), false) << "d brings a head of its own";
}

// mergekit crashes on any BertModel; the recipe is sound.
TEST(Golden, BertModelIsMerged) {
  SOLERA_NEEDS_DATA();
  MergeConfig config = read_merge_config(test::data_folder() + "/golden/mergekit/configs/bad_bert_model.yaml");
  config.folder = test::data_folder() + "/golden/mergekit";
  const Plan plan = make_plan(std::move(config), {});
  EXPECT_EQ(plan.tensors.size(), 23u);
  EXPECT_THAT(plan.warnings, testing::IsEmpty());
}

}  // namespace
}  // namespace solera::merge
