// Merges whose inputs come over HTTP give the bytes that local ones give, whatever happens to the connections.
#include "solera/checkpoint/remote.h"
#include "solera/merge/execute.h"
#include "tests/support/http_server.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::DType;
using test::ServedFile;

class RemoteMerge : public test::RemoteTest {
 protected:
  // Three models of two shards, some MiB each, here and on the server.
  void SetUp() override {
    RemoteTest::SetUp();
    for (const std::string name : {"base", "a", "b"}) {
      const std::string folder = folder_ / name;
      make_folders(folder);
      std::vector<double> values(900'000);
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<double>((i * 7919 + 31 * static_cast<std::size_t>(name[0])) % 1009) / 1009 - 0.5;
      test::write_model(folder + "/1.safetensors", {test::tensor("layers.0.w", DType::kF32, {900, 1000}, values)});
      test::write_model(folder + "/2.safetensors",
                        {test::tensor("layers.1.w", DType::kBF16, {900, 1000}, values),
                         test::tensor("norm", DType::kF32, {4}, {1, 2, 3, static_cast<double>(name[0])})});
      write_atomically(folder + "/model.safetensors.index.json",
                       R"({"weight_map": {"layers.0.w": "1.safetensors", "layers.1.w": "2.safetensors",
                           "norm": "2.safetensors"}})");
      write_atomically(folder + "/config.json", R"({"model_type": "tiny", "num_hidden_layers": 2})");
      write_atomically(folder + "/tokenizer.json", "{}");
      server_.serve_folder("/" + name, folder);
    }
  }

  MergeConfig config(const std::string& method, const std::string& place) const {
    return parse_merge_config(
        parse_yaml(cat("merge_method: ", method, "\nbase_model: ", place, "/base\nmodels:\n  - {model: ", place,
                       "/a, parameters: {weight: 0.7, density: 0.6}}\n  - {model: ", place,
                       "/b, parameters: {weight: 0.4, density: 0.4}}\n"),
                   "c.yaml"));
  }
  void merge(const std::string& method, const std::string& place, const std::string& out) const {
    Plan plan = make_plan(config(method, place), {});
    execute(plan, {.out = out, .threads = 3, .model_card = false}, no_progress());
  }
  void expect_equal(const std::string& a, const std::string& b) const {
    ASSERT_EQ(list_folder(a), list_folder(b));
    for (const std::string& name : list_folder(a))
      EXPECT_EQ(test::slurp(join_path(a, name)), test::slurp(join_path(b, name))) << name;
  }
};

TEST_F(RemoteMerge, GivesTheBytesOfALocalOne) {
  for (const char* method : {"ties", "task_arithmetic"}) {
    const std::string local = folder_ / cat(method, "-local"), remote = folder_ / cat(method, "-remote");
    merge(method, folder_.path(), local);
    merge(method, server_.url(), remote);
    expect_equal(local, remote);
  }
}

TEST_F(RemoteMerge, GivesThemWithoutACacheAndOverBreakingConnections) {
  merge("ties", folder_.path(), folder_ / "local");
  set("SOLERA_CACHE", "off");
  for (const char* file : {"/base/1.safetensors", "/a/1.safetensors", "/a/2.safetensors", "/b/2.safetensors"})
    server_.change(file, [](ServedFile& served) {
      served.breaks_after = 333'333;
      served.breaks = 4;
      served.milliseconds_per_chunk = 1;
    });
  merge("ties", server_.url(), folder_ / "remote");
  expect_equal(folder_ / "local", folder_ / "remote");
  server_.change("/a/1.safetensors", [](ServedFile& served) { EXPECT_LT(served.breaks, 4); });
  EXPECT_FALSE(exists(folder_ / "cache"));
}

TEST_F(RemoteMerge, IsRefusedWhenAnInputChangesAndLeavesNothing) {
  std::atomic<int> parts = 0;
  server_.on_request([&](const test::HttpServer::Request& request) {
    if (request.path == "/b/2.safetensors" && request.header("range") != "bytes=0-0" && ++parts == 2)
      server_.change(request.path, [](ServedFile& file) {
        file.etag = "\"new\"";
        file.content[file.content.size() - 1] ^= 1;
      });
  });
  EXPECT_EQ(test::message_of([&] { merge("ties", server_.url(), folder_ / "out"); }),
            cat(server_.url("/b/2.safetensors"),
                ": the file changed on the server while it was read; run again to read the new one"));
  EXPECT_FALSE(exists(folder_ / "out"));
  EXPECT_FALSE(exists(folder_ / "out.partial"));
}

TEST_F(RemoteMerge, OfAChangeAfterTheLastByteIsRefusedToo) {
  Plan plan = make_plan(config("task_arithmetic", server_.url()), {});
  server_.change("/a/model.safetensors.index.json", [](ServedFile& file) { file.etag = "\"new\""; });
  EXPECT_EQ(test::message_of([&] { execute(plan, {.out = folder_ / "out", .threads = 1}, no_progress()); }),
            cat(server_.url("/a/model.safetensors.index.json"),
                ": the file changed on the server while it was read; run again to read the new one"));
}

TEST_F(RemoteMerge, ItsPlanDependsOnTheVersionOfItsInputs) {
  const std::string before = make_plan(config("task_arithmetic", server_.url()), {}).hash();
  EXPECT_EQ(make_plan(config("task_arithmetic", server_.url()), {}).hash(), before);
  server_.change("/a/1.safetensors", [](ServedFile& file) { file.etag = "\"new\""; });
  EXPECT_NE(make_plan(config("task_arithmetic", server_.url()), {}).hash(), before);
}

TEST_F(RemoteMerge, OneModelTwiceIsSeen) {
  const auto merge_of = [&](const std::string& a, const std::string& b) {
    return test::message_of([&] {
      (void)make_plan(
          parse_merge_config(parse_yaml(
              cat("{merge_method: linear, models: [\"", a, "\", \"", b, "\"], parameters: {weight: 1}}"), "c.yaml")),
          {});
    });
  };
  EXPECT_EQ(merge_of(server_.url("/a"), server_.url("/a/")),
            cat(server_.url("/a"), " and ", server_.url("/a/"), " are the same model (c.yaml:1:",
                cat("{merge_method: linear, models: [\"", server_.url("/a"), "\", ").size() + 1, ")"));
}

}  // namespace
}  // namespace solera::merge
