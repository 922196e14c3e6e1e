// A random tree of configurations: models of random types and sizes, several documents that use one another, slices,
// gradients, filters, levels of parameters, any method that reference.h has, any output type. All a function of a seed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "solera/base/files.h"
#include "solera/base/random.h"
#include "solera/merge/execute.h"
#include "solera/merge/method.h"

namespace solera::merge::random {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : stream_({.seed = seed, .purpose = "test.random"}) {}
  int below(int n) { return static_cast<int>(stream_.below(next_++, static_cast<std::uint64_t>(n))); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(double p) { return below(1000) < 1000 * p; }
  template <class T>
  const T& one(const std::vector<T>& list) {
    return list[static_cast<std::size_t>(below(static_cast<int>(list.size())))];
  }
  double step(double low, double high, double step);  // a multiple of `step`, short as text

 private:
  RandomStream stream_;
  std::uint64_t next_ = 0;
};

// A number that may depend on the layer (a gradient) and on the tensor's name (filters; the first that fits counts).
struct Setting {
  struct Entry {
    std::string filter;  // empty: fits all
    std::vector<double> values;
  };
  std::vector<Entry> entries;

  std::string yaml() const;
  std::optional<double> at(const std::string& name, double t) const;
};
using Level = std::map<std::string, Setting>;  // by parameter

struct Model {
  std::string reference;  // as a configuration names it
  std::string path;
  int layers = 0;
};

struct Source {
  std::size_t model = 0;  // of the tree's
  int first = 0;          // layer
  Level own;
  std::string statistics;  // a file, where the method reads some
};

struct SlicePart {
  int count = 0;  // layers
  std::optional<Source> base;
  std::vector<Source> sources;
  Level level;
};

struct Document {
  std::string name;  // empty for the last
  const Method* method = nullptr;
  bool stacked = false;  // by slices; else the one slice is the whole model
  std::vector<SlicePart> slices;
  Level level;                                 // of the whole file
  std::map<std::string, std::string> choices;  // enumerations and booleans, of the whole file
  bool paper = false;                          // rules
  std::string types;                           // dtype and out_dtype
  int layers = 0;

  // A parameter that no level gives; enumerations as the number of the choice, booleans as 0 and 1.
  double default_of(const Field& field) const;
  // A parameter of a tensor: `levels` from the first to be asked to the last.
  double value(const Field& field, const std::vector<const Level*>& levels, const std::string& name, double t) const;

  bool chosen(const std::string& parameter, const std::string& choice) const;
  bool any_sign() const;                       // weights may be negative: nothing is divided by their sum
  bool whole_model(const Field& field) const;  // one value for all tensors, which are one group
};

bool is_boolean(const Field& field);

// The models "model.layers.N..." are made in `folder` at once; the documents read and write there too.
class Tree {
 public:
  Tree(std::uint64_t seed, const TemporaryFolder& folder);

  std::string yaml() const;
  ExecuteOptions draw_execution();
  std::string parts() const { return folder_ / "parts"; }

  const std::vector<Document>& documents() const { return documents_; }
  const Model& model(std::size_t i) const { return models_[i]; }
  std::string output(const Document& document) const;

  // The tensors of a layer; those outside of layers are model.embed_tokens.weight, model.norm.weight, lm_head.weight.
  static const std::vector<std::string>& layer_parts();

 private:
  struct Size {
    int vocabulary, hidden, inner;
  };
  std::map<std::string, checkpoint::Shape> shapes(int layers) const;
  void write_leaf(int m, int layers);
  std::string statistics(int leaf) const;
  Document draw_document(const std::string& name);
  std::vector<std::size_t> draw_models(const Document& document, std::size_t wanted);
  void draw_sources(Document& document);
  double number(const Document& document, const std::string& field);
  Setting draw_setting(const Document& document, const Field& field, bool whole);
  void draw_choices(Document& document);
  void draw_parameters(Document& document);
  void draw_model_parameters(Document& document);
  std::string text_of(const Document& document) const;

  Dice dice_;
  const TemporaryFolder& folder_;
  Size size_{};
  bool smooth_ = true;  // else values on a grid, whose differences are exact and often equal
  std::size_t leaves_ = 0;
  std::vector<Model> models_;  // leaves, then what documents make
  std::vector<Document> documents_;
};

}  // namespace solera::merge::random
