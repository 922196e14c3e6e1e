#include "solera/merge/references.h"

#include <cstdlib>

#include <gtest/gtest.h>

#include "tests/support/support.h"

namespace solera::merge {
namespace {

// A hub cache of its own for the time of a test.
class References : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) ::unsetenv(name);
    ::setenv("HF_HOME", (folder_ / "hf").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("HF_HOME");
    ::unsetenv("HF_HUB_OFFLINE");
  }

  std::string snapshot(const std::string& cache, const std::string& model, const std::string& commit) const {
    const std::string path = join_path(cache, "models--" + model + "/snapshots/" + commit);
    make_folders(path);
    return path;
  }
  void ref(const std::string& cache, const std::string& model, const std::string& name,
           const std::string& commit) const {
    const std::string path = join_path(cache, "models--" + model + "/refs/" + name);
    make_folders(parent_folder(path));
    write_atomically(path, commit);
  }
  ModelPlace find(const std::string& text) const { return locate_model(text, folder_ / "configs", "c.yaml:1:1"); }
  std::string message(const std::string& text) const {
    std::string result = test::message_of([&] { (void)find(text); });
    for (auto at = result.find(folder_.path()); at != std::string::npos; at = result.find(folder_.path()))
      result.replace(at, folder_.path().size(), "ROOT");
    return result;
  }

  TemporaryFolder folder_;
};

TEST_F(References, AFolderIsFoundBeforeTheCache) {
  const std::string cached = snapshot(folder_ / "hf/hub", "org--name", "c1");
  ref(folder_ / "hf/hub", "org--name", "main", "c1");
  EXPECT_EQ(find("org/name").path, cached);
  EXPECT_EQ(find("org/name").hub_name, "org/name");
  make_folders(folder_ / "configs/org/name");
  EXPECT_EQ(find("org/name").path, folder_ / "configs/org/name");
  EXPECT_EQ(find("org/name").hub_name, "");
}

TEST_F(References, RevisionsAreBranchesTagsOrCommits) {
  const std::string cache = folder_ / "hf/hub";
  const std::string first = snapshot(cache, "org--name", "c1"), second = snapshot(cache, "org--name", "c2");
  ref(cache, "org--name", "main", "c1\n");
  ref(cache, "org--name", "refs/pr/3", "c2");
  EXPECT_EQ(find("org/name").path, first);
  EXPECT_EQ(find("org/name@c2").path, second);
  EXPECT_EQ(find("org/name@refs/pr/3").path, second);
  EXPECT_EQ(find("org/name@c2").hub_name, "org/name");
  EXPECT_EQ(find("org/name@v2").path, "hf://org/name@v2");  // the hub may have it
  EXPECT_EQ(message("org/name@../../c1"),
            "org/name@../../c1: no such folder, and not in the Hugging Face cache; "
            "hf://org/name@..%2F..%2Fc1 has no valid revision (c.yaml:1:1); write hf://ORG/NAME, or "
            "hf://ORG/NAME@REVISION");
}

TEST_F(References, TheCacheIsWhereTheHubsOwnToolsPutIt) {
  const std::string bare = snapshot(folder_ / "hf/hub", "gpt2", "c1");
  ref(folder_ / "hf/hub", "gpt2", "main", "c1");
  EXPECT_EQ(find("gpt2").path, bare);
  const std::string other = snapshot(folder_ / "cache", "gpt2", "c3");
  ref(folder_ / "cache", "gpt2", "main", "c3");
  ::setenv("HF_HUB_CACHE", (folder_ / "cache").c_str(), 1);
  EXPECT_EQ(find("gpt2").path, other);
  ::unsetenv("HF_HUB_CACHE");
  ::unsetenv("HF_HOME");
  const std::string usual = snapshot(folder_ / "xdg/huggingface/hub", "gpt2", "c4");
  ref(folder_ / "xdg/huggingface/hub", "gpt2", "main", "c4");
  ::setenv("XDG_CACHE_HOME", (folder_ / "xdg").c_str(), 1);
  EXPECT_EQ(find("gpt2").path, usual);
  ::unsetenv("XDG_CACHE_HOME");
}

TEST_F(References, TheHubComesLast) {
  EXPECT_EQ(find("org/name").path, "hf://org/name@main");
  EXPECT_EQ(find("org/name").hub_name, "org/name");
  EXPECT_EQ(find("org/name@refs/pr/3").path, "hf://org/name@refs%2Fpr%2F3");
  EXPECT_EQ(find("gpt2@main").path, "hf://gpt2@main");
  snapshot(folder_ / "hf/hub", "org--name", "c1");  // of another revision
  EXPECT_EQ(find("org/name").path, "hf://org/name@main");
}

TEST_F(References, UrlsAreTakenAsTheyAre) {
  EXPECT_EQ(find("hf://org/name").path, "hf://org/name");
  EXPECT_EQ(find("hf://org/name@v1").hub_name, "org/name");
  EXPECT_EQ(find("https://host/model/").path, "https://host/model/");
  EXPECT_EQ(find("https://host/model/").hub_name, "");
  EXPECT_EQ(message("hf://"), "hf:// names no model; write hf://ORG/NAME, or hf://ORG/NAME@REVISION");
}

TEST_F(References, WhatIsNowhereSaysWhatToDo) {
  EXPECT_EQ(
      message("./orgs-of-nobody/name"),
      "./orgs-of-nobody/name: no such file (c.yaml:1:1); looked for it in the working folder and in ROOT/configs");
  EXPECT_EQ(message("nameless-model"),
            "nameless-model: no such file (c.yaml:1:1); looked for it in the working folder and in ROOT/configs");
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_EQ(message("org/name"),
            "org/name: no such folder, and not in the Hugging Face cache; HF_HUB_OFFLINE forbids to ask the Hugging "
            "Face hub (c.yaml:1:1); unset it, or give the model's folder");
}

TEST(ModelReference, IsOneTextHoweverItIsWritten) {
  const auto text = [](const std::string& yaml) { return model_reference(parse_yaml(yaml, "c.yaml"), "model"); };
  const auto message = [&](const std::string& yaml) { return test::message_of([&] { text(yaml); }); };
  EXPECT_EQ(text("org/name"), "org/name");
  EXPECT_EQ(text("{path: org/name, revision: v1}"), "org/name@v1");
  EXPECT_EQ(text("{model: {path: org/name, revision: v1}}"), "org/name@v1");
  EXPECT_EQ(text("a+b"), "a+b");
  EXPECT_EQ(text("{model: {path: org/name, revision: v1}, lora: b}"), "org/name@v1+b");
  EXPECT_EQ(message("{revision: v1}"), "\"model\" names no model (c.yaml:1:1); write {model: FOLDER}");
  EXPECT_EQ(message("{model: a, override_architecture: X}"),
            "override_architecture is not supported yet (c.yaml:1:35); remove it: no architecture is needed here");
}

}  // namespace
}  // namespace solera::merge
