// Models of one number and evaluators that read it: soups whose every score can be worked out by hand.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "solera/base/text.h"
#include "solera/soup/soup.h"
#include "tests/support/support.h"

namespace solera::soup::test {

using solera::test::message_of;
using solera::test::tensor;

// Keeps what it is told.
class Recorder final : public Progress {
 public:
  void begin(std::string_view, std::uint64_t, std::string_view) override {}
  void advance(std::uint64_t) override {}
  void note(std::string_view line) override {
    notes.emplace_back(line);
    if (on_note) on_note();
  }
  void warn(std::string_view line) override { warnings.emplace_back(line); }
  void status(std::string_view) override {}
  void end() override {}

  std::vector<std::string> notes, warnings;
  std::function<void()> on_note;
};

class Scalars : public ::testing::Test {
 protected:
  // A file whose last four bytes are the number, with a count beside it.
  std::string file(const std::string& name, double value, double count = 0) {
    return solera::test::write_model(folder_ / name, {tensor("steps", checkpoint::DType::kI64, {}, {count}),
                                                      tensor("w", checkpoint::DType::kF32, {1}, {value})});
  }
  std::string model_folder(const std::string& name, double value) {
    make_folders(folder_ / name);
    file(name + "/model.safetensors", value);
    write_atomically(folder_ / name + "/config.json", "{\"model_type\": \"scalar\"}");
    write_atomically(folder_ / name + "/tokenizer.json", "{}");
    return folder_ / name;
  }
  std::vector<std::string> files(const std::vector<double>& values) {
    std::vector<std::string> paths;
    for (std::size_t i = 0; i < values.size(); ++i)
      paths.push_back(file(cat("m", i, ".safetensors"), values[i], static_cast<double>(i)));
    return paths;
  }
  // A program that prints -(t - 0.6)^2 and counts how often it ran.
  std::string peak_script(const std::string& name = "peak.sh") {
    write_atomically(folder_ / name, cat("echo x >> ", shell_quote(runs_file()),
                                         "\ntail -c 4 \"$1\" | od -An -tf4 | awk '{print -($1-0.6)^2}'\n"));
    return cat("sh ", shell_quote(folder_ / name), " {checkpoint}");
  }
  std::string runs_file() const { return folder_ / "runs"; }
  int runs() const {
    if (!exists(runs_file())) return 0;
    const std::string text = read_file(runs_file());
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }
  SoupOptions options(std::vector<std::string> checkpoints, std::string command) {
    SoupOptions result;
    result.checkpoints = std::move(checkpoints);
    result.out = folder_ / "soup.safetensors";
    result.evaluator.shell = std::move(command);
    return result;
  }
  SoupReport make(const SoupOptions& soup) {
    recorder_.notes.clear();
    recorder_.warnings.clear();
    return make_soup(soup, recorder_);
  }
  std::string refusal(const SoupOptions& soup) {
    return message_of([&] { make(soup); });
  }
  double value(const std::string& path) { return solera::test::values(checkpoint::open_checkpoint(path), "w").front(); }
  double count(const std::string& path) {
    return solera::test::values(checkpoint::open_checkpoint(path), "steps").front();
  }
  // The cache holds no workplace.
  void expect_only_scores() {
    const std::string cache = folder_ / ".solera-cache";
    if (!exists(cache)) return;
    for (const std::string& name : list_folder(cache)) EXPECT_TRUE(name.ends_with(".jsonl")) << name;
  }
  void expect_nothing_half_written(const SoupOptions& soup) {
    EXPECT_FALSE(exists(soup.out));
    EXPECT_FALSE(exists(soup.out + ".partial"));
    expect_only_scores();
  }

  TemporaryFolder folder_;
  Recorder recorder_;
};

}  // namespace solera::soup::test
