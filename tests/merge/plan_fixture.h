// Plans of small models in a temporary folder, and how they read in a test.
#pragma once

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "solera/base/text.h"
#include "solera/merge/plan.h"
#include "tests/support/support.h"

namespace solera::merge {

inline checkpoint::NamedBytes filled(const std::string& name, checkpoint::Shape shape = {2, 2},
                                     checkpoint::DType dtype = checkpoint::DType::kF32, double value = 1.0) {
  return test::tensor(name, dtype, shape,
                      std::vector<double>(static_cast<std::size_t>(checkpoint::element_count(shape)), value));
}

// Models a, b, c, ... as folders or files of a temporary folder, and configurations over them.
class PlanFixture : public testing::Test {
 protected:
  void model(const std::string& name, const std::vector<checkpoint::NamedBytes>& tensors,
             const std::string& config = "") {
    make_folders(folder_ / name);
    test::write_model(folder_ / (name + "/model.safetensors"), tensors);
    if (!config.empty()) write_atomically(folder_ / (name + "/config.json"), config);
  }
  MergeConfig config(const std::string& yaml) const {
    MergeConfig result = parse_merge_config(parse_yaml(yaml, "c.yaml"));
    result.folder = folder_.path();
    return result;
  }
  Plan plan(const std::string& yaml, const PlanOptions& options = {}) const { return make_plan(config(yaml), options); }
  std::string message(const std::string& yaml, const PlanOptions& options = {}) const {
    std::string text = test::message_of([&] { (void)plan(yaml, options); });
    const std::string root = folder_.path() + "/";
    for (auto at = text.find(root); at != std::string::npos; at = text.find(root)) text.erase(at, root.size());
    return text;
  }
  // "name: action operands out-type parameters" of every tensor.
  static std::vector<std::string> lines(const Plan& plan) {
    std::vector<std::string> result;
    for (const TensorPlan& tensor : plan.tensors) {
      std::string text = tensor.out.name + ":";
      for (const auto& operand : tensor.operands) {
        text += " " + operand.label;
        if (operand.cast) text += cat("(", checkpoint::name(*operand.cast), ")");
      }
      text += cat(" -> ", checkpoint::name(tensor.out.dtype));
      text += tensor.action == TensorPlan::Action::kMerge ? "; " + plan.program->describe(tensor.bound)
                                                          : ", " + tensor.note;
      result.push_back(text);
    }
    return result;
  }

  TemporaryFolder folder_;
};

}  // namespace solera::merge
