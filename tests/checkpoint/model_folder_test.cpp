#include "solera/checkpoint/model_folder.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "solera/checkpoint/torch.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;
using test::tensor;
using test::write_model;
using ::testing::ElementsAre;

class ModelFolderTest : public ::testing::Test {
 protected:
  void touch(const std::string& name, const std::string& content = "x") {
    make_folders(parent_folder(folder_ / name));
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  void shard(const std::string& name, const std::vector<std::string>& tensors) {
    make_folders(parent_folder(folder_ / name));
    std::vector<NamedBytes> all;
    for (const std::string& t : tensors) all.push_back(tensor(t, DType::kF32, {1}, {1}));
    write_model(folder_ / name, all);
  }
  void index(const std::string& weight_map) {
    touch("model.safetensors.index.json", R"({"metadata": {"total_size": 8}, "weight_map": )" + weight_map + "}");
  }
  std::string found() { return file_name(find_weights(folder_.path())); }
  std::string refusal() {
    return message_of([&] { open_checkpoint(folder_.path()); });
  }
  TemporaryFolder folder_;
  std::string at_ = folder_.path();
  std::string index_at_ = "(" + folder_.path() + "/model.safetensors.index.json)";
};

TEST_F(ModelFolderTest, TheBetterFormatWins) {
  // From the last choice to the first.
  for (const char* name :
       {"pytorch_model.bin.index.json", "pytorch_model.bin", "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json", "model.safetensors"}) {
    touch(name);
    touch("adapter_model.safetensors");
    touch(".hidden.safetensors");
    EXPECT_EQ(found(), name);
  }
}

TEST_F(ModelFolderTest, SeveralFilesWithoutAnIndexAreListed) {
  touch("a.safetensors");
  touch("b.safetensors");
  EXPECT_EQ(refusal(),
            at_ +
                " has 2 files *.safetensors and no model.safetensors or index: a.safetensors, b.safetensors; "
                "name one of them");
  for (const char* more : {"c", "d", "e", "f", "g"}) touch(more + std::string(".safetensors"));
  EXPECT_EQ(refusal(),
            at_ +
                " has 7 files *.safetensors and no model.safetensors or index: a.safetensors, b.safetensors, "
                "c.safetensors, d.safetensors, e.safetensors and 2 more; name one of them");
}

TEST_F(ModelFolderTest, FoldersWithoutAModelSayWhatTheyAre) {
  EXPECT_EQ(refusal(), at_ + " holds no model: no model.safetensors, pytorch_model.bin or index of either");
  touch("model-q4.gguf", "GGUF");
  touch("model-q8.gguf", "GGUF");
  EXPECT_EQ(refusal(), at_ + " has 2 GGUF files: model-q4.gguf, model-q8.gguf; name one of them");
  touch("adapter_model.safetensors");
  EXPECT_EQ(refusal(),
            at_ + " is an adapter (adapter_model.safetensors), not a whole model; merge it into its base model first");
}

TEST_F(ModelFolderTest, ShardsBecomeOneTable) {
  shard("s/2.safetensors", {"a", "d"});
  shard("1.safetensors", {"b", "c"});
  index(R"({"a": "s/2.safetensors", "b": "1.safetensors", "c": "1.safetensors", "d": "s/2.safetensors"})");
  touch("config.json", R"({"model_type": "llama"})");
  for (const std::string& path : {at_, at_ + "/", at_ + "/model.safetensors.index.json"}) {
    const Checkpoint model = open_checkpoint(path);
    EXPECT_TRUE(model.is_folder());
    EXPECT_EQ(model.path(), path);
    EXPECT_EQ(canonical(model.folder()), canonical(at_));
    ASSERT_EQ(model.tensors().size(), 4u);
    EXPECT_EQ(model.tensors()[3].name, "d");
    EXPECT_EQ(model.files().size(), 3u);
    EXPECT_EQ(model.config().at("model_type").as_text(), "llama");
  }
}

TEST_F(ModelFolderTest, ShardsMayBeOfPyTorch) {
  for (const char* name : {"a", "b"}) {
    shard(cat(name, ".safetensors"), {name});
    write_torch(folder_ / cat(name, ".bin"), open_checkpoint(folder_ / cat(name, ".safetensors")));
    remove_all(folder_ / cat(name, ".safetensors"));
  }
  touch("pytorch_model.bin.index.json", R"({"weight_map": {"a": "a.bin", "b": "b.bin"}})");
  const Checkpoint model = open_checkpoint(folder_.path());
  EXPECT_EQ(model.format(), Format::kTorch);
  EXPECT_EQ(test::values(model, "b"), std::vector<double>{1});
}

TEST_F(ModelFolderTest, AnIndexThatDisagreesWithItsShardsIsRefused) {
  shard("1.safetensors", {"a", "b"});
  shard("2.safetensors", {"c"});
  index(R"({"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"})");
  EXPECT_EQ(refusal(), "b: the index places it in 2.safetensors, but it is in 1.safetensors " + index_at_);
  index(R"({"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors", "d": "2.safetensors"})");
  EXPECT_EQ(refusal(), "d: the index places it in 2.safetensors, but it is in no shard " + index_at_);
  shard("2.safetensors", {"b", "c"});
  index(R"({"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"})");
  EXPECT_EQ(refusal(), "b is in both 1.safetensors and 2.safetensors (" + at_ + ")");
}

TEST_F(ModelFolderTest, AnIndexIsCheckedBeforeItsShards) {
  touch("model.safetensors.index.json", R"({"metadata": {}})");
  EXPECT_EQ(refusal(), "not an index of shards: no weight_map " + index_at_);
  touch("model.safetensors.index.json", R"([])");
  EXPECT_EQ(refusal(), "not an index of shards: no weight_map " + index_at_);
  index("{}");
  EXPECT_EQ(refusal(), "weight_map names no tensor " + index_at_);
  index(R"({"a": "1.safetensors"})");
  EXPECT_EQ(refusal(), "the index names 1.safetensors, which is not there " + index_at_ + "; the folder is incomplete");
  for (const char* path : {"/etc/passwd", "../x", "a/../../x", ".", "", "a//b", "./a"}) {
    index(cat(R"({"a": ")", path, R"("})"));
    EXPECT_EQ(refusal(), cat("the index names \"", path, "\", which is not a path inside its folder ", index_at_));
  }
}

TEST_F(ModelFolderTest, LinksStayInTheFolderOrInTheHubsBlobs) {
  const TemporaryFolder elsewhere;
  write_model(elsewhere / "real", {tensor("a", DType::kF32, {1}, {1})});
  const auto link = [](const std::string& target, const std::string& path) {
    make_folders(parent_folder(path));
    ASSERT_EQ(::symlink(target.c_str(), path.c_str()), 0);
  };
  link(elsewhere / "real", folder_ / "1.safetensors");
  index(R"({"a": "1.safetensors"})");
  EXPECT_EQ(refusal(), "the index names 1.safetensors, a link that leaves its folder " + index_at_ +
                           "; put the file itself in its place");

  const std::string cache = folder_ / "models--x";
  const std::string snapshot = cache + "/snapshots/abc";
  make_folders(cache + "/blobs");
  copy_file(elsewhere / "real", cache + "/blobs/123");
  link("../../blobs/123", snapshot + "/1.safetensors");
  copy_file(folder_ / "model.safetensors.index.json", snapshot + "/model.safetensors.index.json");
  EXPECT_EQ(open_checkpoint(snapshot).tensors().size(), 1u);
}

TEST_F(ModelFolderTest, ATruncatedShardIsNamed) {
  shard("1.safetensors", {"a", "b"});
  index(R"({"a": "1.safetensors", "b": "1.safetensors"})");
  const std::string path = folder_ / "1.safetensors";
  ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(file_size(path) - 1)), 0);
  EXPECT_EQ(refusal(), "b: ends at 8, but the file has 7 bytes of tensors (" + path + "); the file is truncated");
}

TEST_F(ModelFolderTest, SideFilesAreThoseOfTheModel) {
  for (const char* name :
       {"config.json", "tokenizer.json", "vocab.txt", "merges.txt", "tokenizer.model", "chat_template.jinja",
        "chat_templates/tools.jinja", "chat_templates/notes.txt", "modeling_own.py", "LICENSE.md", "README.md",
        "model.safetensors", "pytorch_model.bin", "optimizer.pt", "training_args.bin", "run.sh", "a.py/inner.py"}) {
    touch(name);
  }
  EXPECT_THAT(find_side_files(folder_.path()),
              ElementsAre("LICENSE.md", "chat_template.jinja", "chat_templates/tools.jinja", "config.json",
                          "merges.txt", "modeling_own.py", "tokenizer.json", "tokenizer.model", "vocab.txt"));
}

// docs/formats/model-folder.md shows an index and lists the side files.
TEST_F(ModelFolderTest, TheDocumentIsTrue) {
  const std::string page = test::slurp(std::string(SOLERA_SOURCE_DIR) + "/docs/formats/model-folder.md");
  for (const std::string_view pattern : side_file_patterns()) {
    EXPECT_NE(page.find(cat('`', pattern, '`')), std::string::npos) << pattern;
  }
  const std::size_t begin = page.find("```json\n") + 8;
  const std::string example = page.substr(begin, page.find("```", begin) - begin);
  const Layout layout = plan_layout({{"a", DType::kF64, {1}}, {"b", DType::kF64, {1}}}, {.shard_bytes = 8});
  EXPECT_EQ(layout.index, example);
  shard("model-00001-of-00002.safetensors", {"a"});
  shard("model-00002-of-00002.safetensors", {"b"});
  EXPECT_EQ(parse_index(example, folder_ / "model.safetensors.index.json").places.size(), 2u);
}

}  // namespace
}  // namespace solera::checkpoint
