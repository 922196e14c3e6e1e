#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/http.h"
#include "solera/checkpoint/hub.h"
#include "solera/checkpoint/peft.h"
#include "solera/checkpoint/remote.h"
#include "solera/checkpoint/torch.h"
#include "tests/support/http_server.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::ServedFile;

class RemoteFolders : public test::RemoteTest {
 protected:
  std::string message(const std::function<void()>& action) const {
    std::string text = test::message_of(action);
    for (auto at = text.find(server_.url()); at != std::string::npos; at = text.find(server_.url()))
      text.replace(at, server_.url().size(), "SERVER");
    return text;
  }
  std::string open_message(const std::string& path) const {
    return message([&] { (void)open_checkpoint(path); });
  }

  // A folder of two shards.
  std::string model(const std::string& name) const {
    const std::string folder = folder_ / name;
    make_folders(folder);
    test::write_model(folder + "/model-1.safetensors", {test::tensor("a", DType::kF32, {2}, {1, 2})});
    test::write_model(folder + "/model-2.safetensors", {test::tensor("b", DType::kBF16, {1}, {3})});
    write_atomically(folder + "/model.safetensors.index.json",
                     R"({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})");
    write_atomically(folder + "/config.json", R"({"model_type": "tiny"})");
    write_atomically(folder + "/tokenizer.json", "{}");
    write_atomically(folder + "/README.md", "mine");
    return folder;
  }

  // The hub's API and files for a model folder, as commit c0ffee.
  void hub(const std::string& name, const std::string& folder, const std::string& revision = "main") {
    Node files = Node::list();
    for (const std::string& file : list_folder(folder)) files.push(Node::map({{"rfilename", Node::text(file)}}));
    server_.serve(cat("/api/models/", name, "/revision/", revision),
                  {.content = to_json(Node::map({{"sha", Node::text("c0ffee")}, {"siblings", files}}))});
    server_.serve_folder(cat("/", name, "/resolve/c0ffee"), folder);
    set("HF_ENDPOINT", server_.url());
  }
};

TEST_F(RemoteFolders, AModelIsFoundByTheUsualNames) {
  server_.serve_folder("/m", model("m"));
  for (const std::string& path :
       {server_.url("/m/"), server_.url("/m"), server_.url("/m/model.safetensors.index.json")}) {
    const Checkpoint model = open_checkpoint(path);
    EXPECT_EQ(model.path(), server_.url("/m"));
    EXPECT_TRUE(model.is_folder());
    EXPECT_EQ(model.tensors().size(), 2u);
    EXPECT_EQ(test::values(model, "a"), (std::vector<double>{1, 2}));
    EXPECT_EQ(test::values(model, "b"), (std::vector<double>{3}));
    EXPECT_EQ(model.config().at("model_type").as_text(), "tiny");
    EXPECT_EQ(std::vector<std::string>(model.side_files().begin(), model.side_files().end()),
              (std::vector<std::string>{"config.json", "tokenizer.json"}));
    EXPECT_EQ(list_folder(model.folder()), (std::vector<std::string>{"config.json", "tokenizer.json"}));
    model.check();
  }
}

TEST_F(RemoteFolders, SideFilesComeWhenTheyAreAskedForAndAreKept) {
  server_.serve_folder("/m", model("m"));
  std::string local;
  {
    const Checkpoint first = open_checkpoint(server_.url("/m/"));
    EXPECT_EQ(server_.count("/m/tokenizer.json"), 1u);  // is it there?
    local = first.folder();
    EXPECT_EQ(test::slurp(join_path(local, "tokenizer.json")), "{}");
    EXPECT_EQ(first.folder(), local);
    EXPECT_EQ(server_.count("/m/tokenizer.json"), 2u);
    server_.forget();
    EXPECT_EQ(open_checkpoint(server_.url("/m")).folder(), local);
    EXPECT_EQ(server_.count("/m/tokenizer.json"), 0u);
  }
  EXPECT_FALSE(exists(local));
  const Checkpoint again = open_checkpoint(server_.url("/m/"));
  EXPECT_EQ(test::slurp(join_path(again.folder(), "tokenizer.json")), "{}");
  EXPECT_EQ(server_.count("/m/tokenizer.json"), 2u);
  std::string asked;
  for (const auto& request : server_.requests())
    if (request.path == "/m/tokenizer.json") asked = request.header("if-none-match");
  EXPECT_FALSE(asked.empty());
}

TEST_F(RemoteFolders, IdentityIsTheServersVersion) {
  server_.serve_folder("/m", model("m"));
  const Checkpoint model = open_checkpoint(server_.url("/m/"));
  ASSERT_EQ(model.files().size(), 3u);
  for (const FileIdentity& file : model.files()) {
    EXPECT_TRUE(file.path.starts_with(server_.url("/m/model"))) << file.path;
    EXPECT_EQ(file.modified_ns, 0);
    EXPECT_EQ(file.version.size(), 14u) << file.version;
  }
  server_.change("/m/model-2.safetensors", [](ServedFile& file) { file.etag = "\"later\""; });
  EXPECT_EQ(message([&] { model.check(); }),
            "SERVER/m/model-2.safetensors: the file changed on the server while it was read; run again to read the new "
            "one");
}

TEST_F(RemoteFolders, AnyFormatIsReadByItsRanges) {
  test::write_model(folder_ / "one.safetensors", {test::tensor("a", DType::kF32, {2}, {1, 2})});
  write_torch(folder_ / "one.pt", open_checkpoint(folder_ / "one.safetensors"));
  server_.serve("/one.safetensors", {.content = test::slurp(folder_ / "one.safetensors")});
  server_.serve("/one.pt", {.content = test::slurp(folder_ / "one.pt")});
  server_.serve("/any.bin?name=one", {.content = test::slurp(folder_ / "one.safetensors")});
  for (const char* path : {"/one.safetensors", "/one.pt", "/any.bin?name=one"}) {
    const Checkpoint model = open_checkpoint(server_.url(path));
    EXPECT_FALSE(model.is_folder());
    EXPECT_EQ(model.path().find('?'), std::string::npos);
    EXPECT_EQ(test::values(model, "a"), (std::vector<double>{1, 2}));
    model.check();
  }
}

TEST_F(RemoteFolders, WhatIsNoModelSaysWhatWasLookedFor) {
  EXPECT_EQ(open_message(server_.url("/none/")),
            "the server has no file of a model in this folder: no config.json, model.safetensors or its index "
            "(SERVER/none); give the URL of the file itself");
  server_.serve("/c/config.json", {.content = "{}"});
  EXPECT_EQ(open_message(server_.url("/c")),
            "SERVER/c holds no model: no model.safetensors, pytorch_model.bin or index of either");
  EXPECT_EQ(open_message(server_.url("/c/?token=secret")),
            "a folder's URL has no query (SERVER/c/); give the URL of the file itself");
  server_.serve("/i/model.safetensors.index.json", {.content = R"({"weight_map": {"a": "../x.safetensors"}})"});
  EXPECT_EQ(open_message(server_.url("/i")),
            "the index names \"../x.safetensors\", which is not a path inside its folder "
            "(SERVER/i/model.safetensors.index.json)");
  server_.serve("/i/model.safetensors.index.json", {.content = R"({"weight_map": {"a": "x.safetensors?y"}})"});
  EXPECT_NE(open_message(server_.url("/i")).find("not a path inside its folder"), std::string::npos);
  server_.serve("/i/model.safetensors.index.json", {.content = R"({"weight_map": {"a": "x.safetensors"}})"});
  EXPECT_EQ(open_message(server_.url("/i")), "the server has no such file (SERVER/i/x.safetensors)");
  server_.serve("/h/model.safetensors", {.content = "<html>not found</html>"});
  EXPECT_NE(open_message(server_.url("/h")).find("(SERVER/h/model.safetensors)"), std::string::npos);
}

TEST_F(RemoteFolders, StoresThatForbidWhatIsNotThereAreUnderstood) {
  server_.serve_folder("/m", model("m"));
  server_.serve("/m/model.safetensors", {.status = 403});
  server_.serve("/m/vocab.json", {.status = 403});
  EXPECT_EQ(open_checkpoint(server_.url("/m")).tensors().size(), 2u);
  for (const char* name : {"model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json", "config.json",
                           "tokenizer.json", "README.md"})
    server_.serve(cat("/m/", name), {.status = 403});
  EXPECT_EQ(open_message(server_.url("/m")),
            "the server answers 403 (no access) (SERVER/m/model.safetensors); put a name and password for this host "
            "into ~/.netrc");
}

TEST_F(RemoteFolders, AdaptersAreFound) {
  server_.serve("/lora/adapter_config.json", {.content = R"({"peft_type": "LORA", "r": 1, "lora_alpha": 2,
                                                             "target_modules": ["q"]})"});
  test::write_model(folder_ / "lora.safetensors",
                    {test::tensor("base_model.model.q.lora_A.weight", DType::kF32, {1, 2}, {1, 2}),
                     test::tensor("base_model.model.q.lora_B.weight", DType::kF32, {3, 1}, {1, 2, 3})});
  server_.serve("/lora/adapter_model.safetensors", {.content = test::slurp(folder_ / "lora.safetensors")});
  server_.serve("/m.safetensors", {.content = test::slurp(folder_ / "lora.safetensors")});
  EXPECT_TRUE(is_adapter(server_.url("/lora/")));
  EXPECT_FALSE(is_adapter(server_.url("/m.safetensors")));
  EXPECT_EQ(open_adapter(server_.url("/lora")).modules().size(), 1u);
  EXPECT_NE(open_message(server_.url("/lora")).find("is an adapter"), std::string::npos);
}

TEST_F(RemoteFolders, TheHubIsAskedOnceWhatARevisionHolds) {
  hub("org/name", model("m"));
  set("HF_TOKEN", "hf_secret");
  const Checkpoint model = open_checkpoint("hf://org/name");
  EXPECT_EQ(model.path(), "hf://org/name@c0ffee");
  EXPECT_EQ(model.files().front().path, "hf://org/name@c0ffee/model.safetensors.index.json");
  EXPECT_EQ(test::values(model, "a"), (std::vector<double>{1, 2}));
  EXPECT_EQ(model.config().at("model_type").as_text(), "tiny");
  EXPECT_EQ(list_folder(model.folder()), (std::vector<std::string>{"config.json", "tokenizer.json"}));
  model.check();
  EXPECT_EQ(server_.count("/api/models/org/name/revision/main"), 1u);
  for (const auto& request : server_.requests()) EXPECT_EQ(request.header("authorization"), "Bearer hf_secret");
  const Checkpoint file = open_checkpoint("hf://org/name@c0ffee/model-1.safetensors");
  EXPECT_EQ(file.path(), "hf://org/name@c0ffee/model-1.safetensors");
}

TEST_F(RemoteFolders, TheTokenGoesToTheHubAlone) {
  const std::string folder = model("m");
  hub("org/name", folder);
  set("HF_TOKEN", "hf_secret");
  test::HttpServer store, elsewhere;
  const std::string content = test::slurp(folder + "/model-1.safetensors");
  store.serve("/x?signed", {.content = content, .etag = "\"of the store\""});
  server_.serve("/org/name/resolve/c0ffee/model-1.safetensors",
                {.redirect = store.url("/x?signed"),
                 .headers = {{"X-Linked-Etag", "\"sha\""}, {"X-Linked-Size", cat(content.size())}}});
  const Checkpoint model = open_checkpoint("hf://org/name");
  EXPECT_EQ(model.files()[1].version, "\"sha\"");
  EXPECT_EQ(test::values(model, "a"), (std::vector<double>{1, 2}));
  model.check();
  ASSERT_GE(store.requests().size(), 2u);
  for (const auto& request : store.requests()) EXPECT_EQ(request.header("authorization"), "");
  EXPECT_EQ(store.requests()[1].header("if-match"), "\"of the store\"");

  elsewhere.serve("/m.safetensors", {.content = content});
  (void)open_checkpoint(elsewhere.url("/m.safetensors"));
  for (const auto& request : elsewhere.requests()) EXPECT_EQ(request.header("authorization"), "");

  server_.serve("/api/models/org/secret/revision/main", {.status = 401});
  EXPECT_EQ(open_message("hf://org/secret"),
            "the server answers 401 (no access) (hf://org/secret@main); set HF_TOKEN, and accept the model's "
            "conditions on the hub if it has some");
  EXPECT_EQ(open_message("hf://org/none"),
            "the hub has no such model or revision (hf://org/none@main); check the name");
}

TEST_F(RemoteFolders, TheTokenOfALoginIsFound) {
  hub("org/name", model("m"));
  make_folders(folder_ / "hf");
  write_atomically(folder_ / "hf/token", "hf_login\n");
  (void)open_checkpoint("hf://org/name");
  EXPECT_EQ(server_.requests().front().header("authorization"), "Bearer hf_login");
  set("HF_TOKEN", "hf_bad\nX-Evil: 1");
  EXPECT_EQ(open_message("hf://org/name"),
            "the Hugging Face token has a character that no token has; set HF_TOKEN anew");
}

TEST_F(RemoteFolders, HfHubOfflineIsHeard) {
  hub("org/name", model("m"));
  set("HF_HUB_OFFLINE", "1");
  EXPECT_EQ(open_message("hf://org/name"),
            "HF_HUB_OFFLINE forbids to ask the Hugging Face hub (hf://org/name@main); unset it, or give the model's "
            "folder");
  EXPECT_EQ(server_.requests().size(), 0u);
}

TEST_F(RemoteFolders, ARevisionMayHaveSlashes) {
  hub("org/name", model("m"), "refs%2Fpr%2F1");
  EXPECT_EQ(open_checkpoint("hf://org/name@refs/pr/1").path(), "hf://org/name@c0ffee");
  EXPECT_EQ(open_checkpoint("hf://org/name@refs%2Fpr%2F1").path(), "hf://org/name@c0ffee");
}

TEST_F(RemoteFolders, APageOfTheHubIsNotAFolder) {
  set("HF_ENDPOINT", server_.url());
  EXPECT_EQ(open_message(server_.url("/org/name")),
            "this is the page of a model, not its folder (SERVER/org/name); write hf://org/name");
}

TEST(HubNames, AreReadInTheirParts) {
  const auto parts = [](const std::string& text) {
    const HubName name = parse_hub_name(text);
    return cat(name.model, " ", name.revision, " ", name.file);
  };
  EXPECT_EQ(parts("hf://org/name"), "org/name main ");
  EXPECT_EQ(parts("hf://org/name/"), "org/name main ");
  EXPECT_EQ(parts("hf://org/name@v1.0"), "org/name v1.0 ");
  EXPECT_EQ(parts("hf://org/name@v1/sub/m.gguf"), "org/name v1 sub/m.gguf");
  EXPECT_EQ(parts("hf://org/name/m.gguf"), "org/name main m.gguf");
  EXPECT_EQ(parts("hf://org/name@refs/pr/12/m.gguf"), "org/name refs/pr/12 m.gguf");
  EXPECT_EQ(parts("hf://org/name@a%2Fb/c"), "org/name a/b c");
  EXPECT_EQ(parts("hf://gpt2"), "gpt2 main ");
  EXPECT_EQ(parts("hf://gpt2@main/x.bin"), "gpt2 main x.bin");
  EXPECT_EQ(parse_hub_name("hf://o/n@a%2Fb/c/d").text(), "hf://o/n@a%2Fb/c/d");
  for (const char* text : {"hf://", "hf:///x", "hf://o/..", "hf://o/n@", "hf://o/n@../x", "hf://o/n/a/../b",
                           "hf://o/n o", "hf://datasets/o/n", "hf://o/n@v1//x"})
    EXPECT_EQ(test::message_of([&] { (void)parse_hub_name(text); }).find(text), 0u) << text;
}

TEST(HubListings, AreReadStrictly) {
  const HubListing listing =
      parse_hub_listing(R"({"sha": "abc", "siblings": [{"rfilename": "b"}, {"rfilename": "a/c"}, 3]})", "hub");
  EXPECT_EQ(listing.commit, "abc");
  EXPECT_EQ(listing.files, (std::vector<std::string>{"a/c", "b"}));
  for (const char* text : {"[]", "{}", R"({"sha": "../x", "siblings": []})", R"({"sha": "a"})"})
    EXPECT_EQ(test::message_of([&] { (void)parse_hub_listing(text, "hub"); }),
              "the hub's answer is no list of a model's files (hub)");
}

}  // namespace
}  // namespace solera::checkpoint
