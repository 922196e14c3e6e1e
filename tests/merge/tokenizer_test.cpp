// Vocabularies that differ: what is united, where rows come from, what is written. Outputs of mergekit are compared in
// golden_test.cpp.
#include "solera/merge/tokenizer.h"

#include <gmock/gmock.h>

#include "solera/merge/execute.h"
#include "solera/merge/plan.h"
#include "solera/merge/vocabulary.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;

// A folder whose token k has the embedding row [scale + k, -(scale + k)].
void write_folder(const std::string& path, const std::vector<std::string>& vocab, const std::vector<std::string>& added,
                  double scale, std::int64_t spare_rows = 0) {
  make_folders(path);
  const auto rows = static_cast<std::int64_t>(vocab.size() + added.size()) + spare_rows;
  std::vector<double> values;
  for (std::int64_t k = 0; k < rows; ++k) values.insert(values.end(), {scale + double(k), -scale - double(k)});
  test::write_model(join_path(path, "model.safetensors"),
                    {test::tensor("model.embed_tokens.weight", DType::kF32, {rows, 2}, values)});
  write_atomically(join_path(path, "config.json"), cat("{\"model_type\": \"llama\", \"vocab_size\": ", rows, "}"));
  Node map = Node::map(), list = Node::list();
  std::int64_t id = 0;
  for (const std::string& token : vocab) map.set(token, Node::integer(id++));
  for (const std::string& token : added)
    list.push(
        Node::map({{"id", Node::integer(id++)}, {"content", Node::text(token)}, {"special", Node::boolean(true)}}));
  write_atomically(join_path(path, "tokenizer.json"),
                   to_json(Node::map({{"added_tokens", list}, {"model", Node::map({{"vocab", map}})}})));
  write_atomically(join_path(path, "tokenizer_config.json"), "{\"chat_template\": \"of " + path + "\"}");
}

class Tokenizer : public testing::Test {
 protected:
  Tokenizer() {
    write_folder(folder_ / "base", {"a", "b"}, {"<s>"}, 10);
    write_folder(folder_ / "x", {"a", "c"}, {"<s>", "<pad>"}, 100);
    write_folder(folder_ / "y", {"c", "d"}, {}, 1000);
  }
  Plan plan(const std::string& text) const {
    MergeConfig config = parse_merge_config(parse_yaml(text, "c.yaml"));
    config.folder = folder_.path();
    return make_plan(std::move(config), {});
  }
  // The first column of the merged embedding.
  std::vector<double> column(const std::string& text) const {
    Plan one = plan(text);
    execute(one, {.out = folder_ / "out", .threads = 2, .memory = 64u << 20, .force = true}, no_progress());
    const auto all = test::values(checkpoint::open_checkpoint(folder_ / "out"), "model.embed_tokens.weight");
    std::vector<double> first;
    for (std::size_t i = 0; i < all.size(); i += 2) {
      EXPECT_EQ(all[i], -all[i + 1]);
      first.push_back(all[i]);
    }
    return first;
  }
  TemporaryFolder folder_;
};

const std::string kBody =
    "merge_method: linear\nmodels: [{model: base, parameters: {weight: 0.5}}, {model: x, parameters: {weight: 0.5}}]\n";

TEST_F(Tokenizer, UnionKeepsTheBaseAndAppends) {
  // a b <s> | c <pad>: b is only in base, c and <pad> only in x; whoever lacks a token takes the other's row.
  EXPECT_THAT(column(kBody + "base_model: base\ntokenizer_source: union"),
              testing::ElementsAre((10 + 100) / 2.0, 11, (12 + 102) / 2.0, 101, 103));
  const Vocabulary merged = parse_vocabulary(read_json(folder_ / "out/tokenizer.json"));
  EXPECT_THAT(merged.tokens, testing::ElementsAre("a", "b", "<s>", "c", "<pad>"));
  EXPECT_TRUE(merged.added.at("<pad>").at("special").as_bool());
  EXPECT_FALSE(merged.added.at("c").at("special").as_bool());
  EXPECT_EQ(read_json(folder_ / "out/config.json").at("vocab_size").as_int(), 5);
}

TEST_F(Tokenizer, WithoutABaseSeveralOwnersAreAveraged) {
  const std::string text =
      "merge_method: linear\nmodels:\n- {model: base, parameters: {weight: 0.5}}\n- {model: x, parameters: {weight: "
      "0.25}}\n- {model: y, parameters: {weight: 0.25}}\ntokenizer_source: union";
  // c is in x (101) and y (1000): base gets their mean.
  EXPECT_THAT(column(text),
              testing::ElementsAre(0.5 * 10 + 0.25 * 100 + 0.25 * 55, 11, 0.5 * 12 + 0.25 * 102 + 0.25 * 57,
                                   0.5 * 550.5 + 0.25 * 101 + 0.25 * 1000, 103, 1001));
}

TEST_F(Tokenizer, TokensAreGivenRowsAndPadded) {
  const std::string text =
      kBody +
      "base_model: base\ntokenizer:\n  source: base\n  tokens:\n    b: {source: {kind: zero}, force: "
      "true}\n    new: {source: {kind: model_token, model: x, token_id: 3}}\n    '<s>': {source: x, force: true}\n"
      "  pad_to_multiple_of: 6";
  const double mean = (55 + 0 + 102 + 103) / 4.0;
  EXPECT_THAT(column(text), testing::ElementsAre(55, 0, 102, 103, mean, mean));
}

// A Fisher is measured in its model's own order of tokens; rows in another order cannot be weighed by it.
TEST_F(Tokenizer, AFisherInAnotherOrderIsRefused) {
  std::string text = "merge_method: fisher\nmodels:\n";
  for (const auto& [name, rows] : {std::pair("base", 3), {"x", 4}}) {
    test::write_model(folder_ / cat(name, ".stats.safetensors"),
                      {test::tensor("n", DType::kI64, {}, {1}),
                       test::tensor("model.embed_tokens.weight.fisher", DType::kF32, {rows, 2},
                                    std::vector<double>(static_cast<std::size_t>(rows) * 2, 1))});
    text += cat("- {model: ", name, ", parameters: {fisher: ", name, ".stats.safetensors}}\n");
  }
  EXPECT_EQ(
      test::message_of([&] { plan(text + "tokenizer_source: union"); }),
      cat("model.embed_tokens.weight.fisher is in the order of base's own vocabulary, and the merge puts the rows of "
          "model.embed_tokens.weight in another (",
          folder_ / "base.stats.safetensors",
          "); leave tokenizer_source out, or --exclude 'model.embed_tokens.weight'"));
}

TEST_F(Tokenizer, RowsBeyondTheTokenizerGoAndLateTokensOfTheBaseStay) {
  write_folder(folder_ / "base", {"a", "b"}, {"<s>"}, 10, 4);
  EXPECT_EQ(column(kBody + "base_model: base\ntokenizer_source: base").size(), 3u);
  write_atomically(folder_ / "base/config.json", "{\"model_type\": \"llama\", \"vocab_size\": 2}");
  write_atomically(folder_ / "short.yaml", "");
  test::write_model(folder_ / "base/model.safetensors",
                    {test::tensor("model.embed_tokens.weight", DType::kF32, {2, 2}, {1, -1, 2, -2})});
  const Plan late = plan(kBody + "base_model: base\ntokenizer_source: base");
  EXPECT_THAT(late.warnings, testing::ElementsAre("base: the token \"<s>\" has the id 2 and its embedding 2 rows; it "
                                                  "keeps no row of its own"));
}

TEST_F(Tokenizer, SaysWhatCannotBeUnited) {
  const auto message = [&](const std::string& tail) { return test::message_of([&] { (void)plan(kBody + tail); }); };
  EXPECT_EQ(message("tokenizer_source: z"),
            "z is none of the models of this merge (c.yaml:3:19); use base, x, union or base");
  EXPECT_EQ(message("tokenizer_source: base"),
            "tokenizer_source is base, and the file has no base_model (c.yaml:3:19); name a model, or use union");
  EXPECT_EQ(message("tokenizer: {source: union, tokens: {q: {source: base}}}"),
            "base has no token \"q\" (c.yaml:3:49)");
  EXPECT_EQ(message("tokenizer: {source: union, tokens: {q: {source: {kind: model_token, model: x, token_id: 9}}}}"),
            "token_id 9 is no row of x, which has 4 (c.yaml:3:49)");
  EXPECT_EQ(message("tokenizer: {source: union, tokens: {q: {source: {kind: one}}}}"),
            "\"kind\" is \"one\", neither zero nor model_token (c.yaml:3:56)");
  EXPECT_EQ(message("tokenizer: {pad_to_multiple_of: 0}"), "\"pad_to_multiple_of\" is 0, less than 1 (c.yaml:3:33)");
  EXPECT_EQ(message("chat_template: chatmi"),
            "no chat template is called \"chatmi\" (c.yaml:3:16); did you mean chatml?");
  remove_all(folder_ / "x/tokenizer.json");
  EXPECT_EQ(message("tokenizer_source: union"),
            cat("x has no tokenizer.json, so that its vocabulary is not known (", folder_ / "x",
                "); save its tokenizer as a fast one, or merge without tokenizer_source"));
}

TEST_F(Tokenizer, ChatTemplatesAreChosenAndWritten) {
  (void)column(kBody + "base_model: base\nchat_template: '{{ x }}'\ntokenizer_source: union");
  EXPECT_EQ(test::slurp(folder_ / "out/chat_template.jinja"), "{{ x }}");
  EXPECT_EQ(read_json(folder_ / "out/tokenizer_config.json").find("chat_template"), nullptr);
  write_atomically(folder_ / "base/chat_template.jinja", "mine");
  write_atomically(folder_ / "x/chat_template.jinja", "mine");
  (void)column(kBody + "tokenizer_source: union\nchat_template: auto");
  EXPECT_EQ(test::slurp(folder_ / "out/chat_template.jinja"), "mine");
}

TEST(Vocabulary, RefusesIdsGivenTwice) {
  const auto message = [](const std::string& json) {
    return test::message_of([&] { (void)parse_vocabulary(parse_json(json, "t.json")); });
  };
  EXPECT_EQ(message("{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}}}"),
            "\"a\" and \"b\" both have the id 0 (t.json:1:1)");
  EXPECT_EQ(message("{\"model\": {\"vocab\": {\"a\": -1}}}"), "the token \"a\" has the id -1 (t.json:1:27)");
  EXPECT_EQ(message("{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"id\": 3, \"content\": \"a\"}]}"),
            "the token \"a\" has the ids 0 and 3 (t.json:1:1)");
}

TEST(Vocabulary, ReadsUnigramLists) {
  const Vocabulary vocabulary =
      parse_vocabulary(parse_json("{\"model\": {\"vocab\": [[\"<unk>\", 0], [\"a\", -1.5]]}}", "t.json"));
  EXPECT_THAT(vocabulary.tokens, testing::ElementsAre("<unk>", "a"));
  EXPECT_EQ(vocabulary.id("a"), 1);
}

}  // namespace
}  // namespace solera::merge
