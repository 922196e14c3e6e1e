// Random trees of configurations (random_tree.h) against reference.h.
//
// Each document's output is compared with the reference on the inputs that the engine had. The error of a tensor is
// max |out - reference| by the largest value of inputs and reference, less half a unit in the last place of a 16-bit
// output. How long is SOLERA_RANDOM_SECONDS (docs/reliability.md has the figures of a long run), the first seed
// SOLERA_RANDOM_SEED: a failure names the seed of its tree and prints its YAML.
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include <gtest/gtest.h>

#include "solera/base/text.h"
#include "solera/merge/documents.h"
#include "tests/merge/random_tree.h"
#include "tests/merge/reference.h"
#include "tests/support/support.h"

namespace solera::merge {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;
using random::Document;
using random::Level;
using random::SlicePart;
using random::Source;
using random::Tree;
using reference::Vector;

struct Tally {
  std::int64_t documents = 0, elements = 0, undecided = 0;
  std::map<std::string, double> worst;  // by method
};

class Check {
 public:
  Check(const Tree& tree, const Document& document) : tree_(tree), document_(document) { gather(); }

  // "" or what is wrong.
  std::string run(Tally& tally) const {
    const auto out = checkpoint::open_checkpoint(tree_.output(document_));
    if (out.tensors().size() != names_.size()) return cat(out.tensors().size(), " tensors, not ", names_.size());
    const std::vector<reference::Answer> answers = reference::merge(document_.method->name, tensors_);
    for (std::size_t t = 0; t < names_.size(); ++t) {
      const checkpoint::Tensor* tensor = out.find(names_[t]);
      if (!tensor) return names_[t] + " is missing";
      const Vector got = test::values(out, names_[t]);
      double most = largest(answers[t].values), error = 0;
      for (const Vector& input : tensors_[t].models) most = std::max(most, largest(input));
      most = std::max(most, largest(tensors_[t].base));
      for (std::size_t i = 0; i < got.size(); ++i) {
        ++tally.elements;
        const bool too_large = tensor->dtype == DType::kF16 && std::abs(answers[t].values[i]) > 65504;
        if (answers[t].undecided[i] || too_large) {
          ++tally.undecided;
          continue;
        }
        const double expected = answers[t].values[i];
        const double off = std::abs(got[i] - expected) - half_step(expected, tensor->dtype);
        if (!(off <= error)) error = off;
      }
      const double relative = most > 0 ? error / most : error;
      double& worst = tally.worst[document_.method->name];
      worst = std::max(worst, relative);
      if (!(relative <= 1e-5)) return cat(names_[t], ": relative error ", number_text(relative, 3));
    }
    ++tally.documents;
    return "";
  }

 private:
  static double largest(const Vector& values) {
    double most = 0;
    for (const double v : values) most = std::max(most, std::abs(v));
    return most;
  }

  // Half the distance between numbers of a type; what float32 and float64 round away counts as error.
  static double half_step(double value, DType type) {
    if (type != DType::kBF16 && type != DType::kF16) return 0;
    const int bits = type == DType::kBF16 ? 8 : 11, least = type == DType::kBF16 ? -126 : -14;
    const int exponent = value == 0 ? least : std::max(least, std::ilogb(value));
    return std::ldexp(1.0, exponent - bits) * (1 + 1e-6);
  }

  // In the order that decides between equal magnitudes of a whole model: slice by slice, and by name.
  void gather() {
    int first = 0;
    for (const SlicePart& slice : document_.slices) {
      if (&slice == &document_.slices.back()) add(slice, "lm_head.weight");
      if (&slice == &document_.slices.front()) add(slice, "model.embed_tokens.weight");
      for (int l = 0; l < slice.count; ++l)
        for (const std::string& part : Tree::layer_parts())
          add(slice, cat("model.layers.%.", part), l, first + l,
              slice.count > 1 ? static_cast<double>(l) / (slice.count - 1) : 1.0);
      first += slice.count;
      if (&slice == &document_.slices.back()) add(slice, "model.norm.weight");
    }
  }

  static std::string named(std::string pattern, int layer) {
    if (const auto at = pattern.find('%'); at != std::string::npos) pattern.replace(at, 1, std::to_string(layer));
    return pattern;
  }

  void add(const SlicePart& slice, const std::string& pattern, int layer = 0, int out_layer = 0, double t = 0) {
    reference::Tensor tensor;
    const std::string out_name = named(pattern, out_layer);
    if (slice.base) tensor.base = values(slice.base->model, named(pattern, slice.base->first + layer));
    for (const Source& source : slice.sources) {
      const std::string name = named(pattern, source.first + layer);
      tensor.models.push_back(values(source.model, name));
      tensor.shape = opened(source.model).find(name)->shape;
      reference::Values each;
      for (const Field& field : document_.method->model_parameters())
        if (!field.is_file())
          each[field.name] = document_.value(field, {&source.own, &slice.level, &document_.level}, name, t);
      tensor.each.push_back(std::move(each));
      if (!source.statistics.empty()) add_statistics(source.statistics, name, tensor);
    }
    for (const Field& field : document_.method->parameters())
      tensor.global[field.name] = document_.value(field, {&slice.level, &document_.level}, out_name, t);
    names_.push_back(out_name);
    tensors_.push_back(std::move(tensor));
  }

  void add_statistics(const std::string& file, const std::string& name, reference::Tensor& tensor) {
    const auto measured = checkpoint::open_checkpoint(file);
    const std::string full = name + (document_.method->name == "fisher" ? ".fisher" : ".gram");
    if (measured.find(full)) tensor.statistics.push_back(test::values(measured, full));
  }

  Vector values(std::size_t model, const std::string& name) { return test::values(opened(model), name); }

  const Checkpoint& opened(std::size_t model) {
    auto& place = opened_[model];
    if (!place) place = std::make_unique<Checkpoint>(checkpoint::open_checkpoint(tree_.model(model).path));
    return *place;
  }

  const Tree& tree_;
  const Document& document_;
  std::map<std::size_t, std::unique_ptr<Checkpoint>> opened_;
  std::vector<std::string> names_;
  std::vector<reference::Tensor> tensors_;
};

double number_from(const char* variable, double otherwise) {
  const char* text = std::getenv(variable);
  return text ? Node::text(text).as_double() : otherwise;
}

TEST(RandomMerges, AgreeWithWholeTensorsInFloat64) {
  const double seconds = number_from("SOLERA_RANDOM_SECONDS", 5);
  auto seed = static_cast<std::uint64_t>(number_from("SOLERA_RANDOM_SEED", 1));
  Tally tally;
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  std::uint64_t trees = 0;
  for (; trees == 0 || elapsed() < seconds; ++seed, ++trees) {
    const TemporaryFolder folder;
    Tree tree(seed, folder);
    const std::string file = folder / "tree.yaml";
    write_atomically(file, tree.yaml());
    try {
      const ExecuteOptions options = tree.draw_execution();
      std::vector<Plan> plans = plan_documents(read_merge_configs(file), {}, tree.parts());
      execute_documents(std::move(plans), {}, options, tree.parts(), true, no_progress());
      for (const Document& document : tree.documents()) {
        const std::string wrong = Check(tree, document).run(tally);
        ASSERT_EQ(wrong, "") << "seed " << seed << ", document " << document.name << "\n" << tree.yaml();
      }
    } catch (const Error& error) {
      FAIL() << "seed " << seed << ": " << error.what() << "\n" << tree.yaml();
    }
  }
  std::cout << trees << " trees, " << tally.documents << " documents, " << tally.elements << " elements, "
            << tally.undecided << " undecided\n";
  for (const auto& [method, error] : tally.worst) std::cout << "  " << method << " " << number_text(error, 2) << "\n";
  EXPECT_LT(tally.undecided, tally.elements / 20);
}

}  // namespace
}  // namespace solera::merge
