// Every verb that opens a model takes a URL where it takes a path, and makes the same of it.
#include <sstream>

#include "solera/base/text.h"
#include "solera/cli/verbs.h"
#include "tests/support/http_server.h"
#include "tests/support/support.h"

namespace solera::cli {
namespace {

using checkpoint::DType;

class RemoteVerbs : public test::RemoteTest {
 protected:
  void SetUp() override {
    RemoteTest::SetUp();
    make_folders(folder_ / "in");
    for (const char name : {'a', 'b', 'c'})
      test::write_model(folder_ / cat("in/", name, ".safetensors"),
                        {test::tensor("w", DType::kF32, {2, 2}, {1, 2, 3, static_cast<double>(name - 'a')}),
                         test::tensor("x", DType::kF32, {2}, {static_cast<double>(name - 'a'), 1})});
    server_.serve_folder("", folder_ / "in");
  }

  // The verb's output, "PLACE" standing for where the models are; a word "OUT" for what it writes, whose bytes follow.
  std::string run(const std::vector<std::string>& words, const std::string& place, const std::string& out) {
    std::vector<std::string> arguments;
    for (std::string word : words) {
      if (const auto at = word.find("PLACE"); at != std::string::npos) word.replace(at, 5, place);
      if (const auto at = word.find("OUT"); at != std::string::npos) word.replace(at, 3, out);
      arguments.push_back(word);
    }
    std::ostringstream printed, talk;
    const int status = run_command(arguments, printed, talk);
    EXPECT_LE(status, words.front() == "diff" ? 1 : 0) << talk.str();
    std::string text = words.front() == "inspect" || words.front() == "diff" ? printed.str() : "";
    for (auto at = text.find(place); at != std::string::npos; at = text.find(place))
      text.replace(at, place.size(), "PLACE");
    if (exists(out)) text += test::slurp(out);
    return text;
  }
};

TEST_F(RemoteVerbs, GiveWhatTheyGiveOfLocalFiles) {
  const std::vector<std::vector<std::string>> calls = {
      {"inspect", "PLACE/a.safetensors"},
      {"diff", "PLACE/a.safetensors", "PLACE/b.safetensors"},
      {"convert", "PLACE/a.safetensors", "OUT"},
      {"delta", "PLACE/a.safetensors", "PLACE/b.safetensors", "-o", "OUT"},
      {"soup", "PLACE/a.safetensors", "PLACE/b.safetensors", "PLACE/c.safetensors", "--method", "uniform", "-o", "OUT"},
  };
  for (const auto& words : calls) {
    const std::string name = words.front();
    const std::string local = run(words, folder_ / "in", folder_ / (name + "-local.safetensors"));
    const std::string remote = run(words, server_.url(), folder_ / (name + "-remote.safetensors"));
    EXPECT_EQ(local, remote) << name;
    EXPECT_FALSE(local.empty()) << name;
  }
}

TEST_F(RemoteVerbs, ADeltaMayBeRemoteAndHaveACoefficient) {
  run({"delta", "PLACE/a.safetensors", "PLACE/b.safetensors", "-o", "OUT"}, folder_ / "in",
      folder_ / "in/d.safetensors");
  server_.serve_folder("", folder_ / "in");
  for (const char* coefficient : {"", ":0.5"}) {
    const std::vector<std::string> words = {
        "apply", "PLACE/a.safetensors", cat("PLACE/d.safetensors", coefficient), "-o", "OUT", "--force"};
    EXPECT_EQ(run(words, folder_ / "in", folder_ / "local.safetensors"),
              run(words, server_.url(), folder_ / "remote.safetensors"));
  }
}

TEST_F(RemoteVerbs, AnAverageWantsToSeeTheRunsFolder) {
  std::ostringstream out, err;
  EXPECT_EQ(run_command({"average", "https://host/run/", "-o", folder_ / "x.safetensors"}, out, err), 2);
  EXPECT_EQ(err.str(),
            "solera: error: https://host/run/ is on a server, which does not list a run's snapshots; average single "
            "models with solera soup --method uniform\n");
}

TEST_F(RemoteVerbs, ASoupIsJudgedByFiles) {
  // The evaluation gets a file on this machine, also of a single remote ingredient.
  const std::vector<std::string> words = {"soup",
                                          "PLACE/a.safetensors",
                                          "PLACE/b.safetensors",
                                          "--eval",
                                          "test -f {checkpoint} && wc -c < {checkpoint}",
                                          "-o",
                                          "OUT"};
  EXPECT_EQ(run(words, folder_ / "in", folder_ / "local.safetensors"),
            run(words, server_.url(), folder_ / "remote.safetensors"));
}

}  // namespace
}  // namespace solera::cli
