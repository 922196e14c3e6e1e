#include <unistd.h>

#include <fstream>

#include <gmock/gmock.h>

#include "solera/base/document.h"
#include "solera/checkpoint/writer.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;
using test::slurp;
using ::testing::ElementsAre;

class PublishTest : public ::testing::Test {
 protected:
  std::string touch(const std::string& name, const std::string& content = "x") {
    make_folders(parent_folder(folder_ / name));
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }
  std::string refusal(const std::string& out, bool force, const std::vector<std::string>& inputs = {}) {
    return message_of([&] { require_writable(out, force, inputs); });
  }
  TemporaryFolder folder_;
};

TEST(IsSingleFileTest, BySuffix) {
  EXPECT_TRUE(is_single_file("a/b.safetensors"));
  EXPECT_FALSE(is_single_file("a.safetensors/"));
  EXPECT_FALSE(is_single_file("blend"));
}

TEST_F(PublishTest, ANewOutputIsFineAndAnOldOneNeedsForce) {
  const std::string out = folder_ / "out";
  const std::vector<std::string> inputs = {touch("in/model.safetensors"), folder_ / "in"};
  require_writable(out, false, inputs);
  require_writable(out + "/", false, inputs);
  touch("out/model.safetensors");
  EXPECT_EQ(refusal(out, false), out + " exists; use --force to replace it");
  require_writable(out, true, inputs);
  ASSERT_EQ(::symlink("nowhere", (folder_ / "dangling").c_str()), 0);
  EXPECT_EQ(refusal(folder_ / "dangling", false), (folder_ / "dangling") + " exists; use --force to replace it");
}

TEST_F(PublishTest, InputsAreNeverOverwritten) {
  const std::string file = touch("in/model.safetensors"), in = folder_ / "in";
  ASSERT_EQ(::symlink("model.safetensors", (folder_ / "in/soft.safetensors").c_str()), 0);
  ASSERT_EQ(::link(file.c_str(), (folder_ / "hard.safetensors").c_str()), 0);
  ASSERT_EQ(::symlink("in", (folder_ / "alias").c_str()), 0);
  const std::string end = "; choose another output";
  for (const std::string& out :
       {file, in + "/soft.safetensors", folder_ / "hard.safetensors", folder_ / "in/../in/model.safetensors"}) {
    EXPECT_EQ(refusal(out, true, {file}), "the output " + out + " is an input" + end);
  }
  EXPECT_EQ(refusal(folder_ / "alias", true, {in}), "the output " + (folder_ / "alias") + " is an input" + end);
  EXPECT_EQ(refusal(in, true, {file}), "the output " + in + " contains the input " + file + end);
  EXPECT_EQ(refusal(folder_.path(), true, {in}), "the output " + folder_.path() + " contains the input " + in + end);
  EXPECT_EQ(refusal(in + "/new.safetensors", false, {in}),
            "the output " + in + "/new.safetensors lies in the input " + in + end);
  EXPECT_EQ(refusal(folder_ / "alias/new", false, {in}),
            "the output " + (folder_ / "alias/new") + " lies in the input " + in + end);
  require_writable(in + "/new.safetensors", false, std::vector{file});
  require_writable(folder_ / "in2", false, std::vector{in});
}

TEST_F(PublishTest, OnlyModelsAreReplaced) {
  touch("work/notes.txt");
  const std::string work = folder_ / "work";
  EXPECT_EQ(refusal(work, true), work + " is a folder that holds no model, and is not replaced; choose another output");
  touch("work/model.safetensors");
  require_writable(work, true, {});
  make_folders(folder_ / "empty");
  require_writable(folder_ / "empty", true, {});
  EXPECT_THROW(require_writable(".", true, {}), Error);
}

TEST_F(PublishTest, AMissingParentIsNamed) {
  const std::string parent = folder_ / "no";
  EXPECT_EQ(refusal(parent + "/out", false),
            "cannot write " + parent + "/out: there is no folder " + parent + "; make it first");
  EXPECT_EQ(refusal("", false), "the output has no name");
}

TEST_F(PublishTest, AFolderTakesItsPlace) {
  touch("out.partial/model.safetensors", "new");
  publish(folder_ / "out.partial", folder_ / "out/");
  EXPECT_EQ(slurp(folder_ / "out/model.safetensors"), "new");
  EXPECT_THAT(list_folder(folder_.path()), ElementsAre("out"));
}

TEST_F(PublishTest, AnOldFolderIsReplacedWhole) {
  touch("out/model.safetensors", "old");
  touch("out/stale.json", "old");
  touch("out.partial/model.safetensors", "new");
  publish(folder_ / "out.partial", folder_ / "out");
  EXPECT_THAT(list_folder(folder_ / "out"), ElementsAre("model.safetensors"));
  EXPECT_EQ(slurp(folder_ / "out/model.safetensors"), "new");
  EXPECT_THAT(list_folder(folder_.path()), ElementsAre("out"));
}

TEST_F(PublishTest, ASingleFileLeavesItsStagingFolder) {
  for (const char* content : {"one", "two"}) {  // new, then over the old one
    touch("out.partial/model.safetensors", content);
    touch("out.partial/journal", "j");
    publish(folder_ / "out.partial", folder_ / "out.safetensors");
    EXPECT_EQ(slurp(folder_ / "out.safetensors"), content);
    EXPECT_THAT(list_folder(folder_.path()), ElementsAre("out.safetensors"));
  }
}

TEST_F(PublishTest, NothingToPublishLeavesTheOldOutput) {
  touch("out.safetensors", "old");
  touch("out.partial/journal");
  EXPECT_EQ(message_of([&] { publish(folder_ / "out.partial", folder_ / "out.safetensors"); }),
            "no .safetensors file to publish (" + folder_.path() +
                "/out.partial); this is a bug in Solera, please report it");
  EXPECT_EQ(slurp(folder_ / "out.safetensors"), "old");
}

TEST_F(PublishTest, SideFilesTravelWithTheNewConfig) {
  test::write_model(folder_ / "in.safetensors", {});
  make_folders(folder_ / "in");
  rename_path(folder_ / "in.safetensors", folder_ / "in/model.safetensors");
  touch("in/config.json", R"({"torch_dtype": "float32", "n": 1})");
  touch("in/tokenizer.json", "t");
  touch("in/chat_templates/a.jinja", "c");
  touch("in/README.md");
  const Checkpoint model = open_checkpoint(folder_ / "in");
  Node config = model.config();
  config.set("torch_dtype", Node::text("bfloat16"));
  make_folders(folder_ / "out");
  carry_side_files(model, folder_ / "out", config);
  EXPECT_THAT(list_folder(folder_ / "out"), ElementsAre("chat_templates", "config.json", "tokenizer.json"));
  EXPECT_EQ(slurp(folder_ / "out/chat_templates/a.jinja"), "c");
  EXPECT_EQ(slurp(folder_ / "out/config.json"), "{\n  \"torch_dtype\": \"bfloat16\",\n  \"n\": 1\n}\n");
  carry_side_files(model, folder_ / "out", {});
  EXPECT_EQ(slurp(folder_ / "out/config.json"), R"({"torch_dtype": "float32", "n": 1})");
}

}  // namespace
}  // namespace solera::checkpoint
