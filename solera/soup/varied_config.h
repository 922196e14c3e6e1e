// A merge configuration with some of its numbers open: the weights of its models, or any other parameter that is a
// number.
//
//   VariedConfig open("merge.yaml", {parse_variation("weight=0..2"), parse_variation("lambda=0.5..3")});
//   open.coordinates();       // a weight for each model, and lambda
//   open.with({1, 0.4, 1.5})  // the configuration with these values, ready to plan
//
// A parameter of a model is one coordinate for each model that is merged, a parameter of the merge is one. Each starts
// from the value that the file gives, which must be a plain number, else from its default.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "solera/merge/config.h"

namespace solera::soup {

struct Variation {
  std::string parameter;
  std::optional<std::pair<double, double>> range;  // empty: of `weight`, which has a default
};

// "lambda=0.5..3" or "weight". Throws Error (usage).
Variation parse_variation(std::string_view text);

struct Coordinate {
  std::string parameter;  // by its first name
  std::string model;      // a short name; empty for a parameter of the merge
  double low = 0, high = 0, start = 0;

  std::string label() const;  // "weight of fine-a"
};

class VariedConfig {
 public:
  // Reads the file. No variations: `weight`, from 0 to 2. Throws Error (usage): what read_merge_config() refuses,
  // several documents, slices, a parameter that the method lacks, that is no number, that has other values for other
  // tensors, or that starts outside its range; a range that the parameter does not allow.
  VariedConfig(const std::string& path, std::vector<Variation> variations);

  const merge::MergeConfig& config() const { return config_; }  // as the file has it
  std::span<const Coordinate> coordinates() const { return coordinates_; }
  std::vector<double> start() const;

  // The configuration with these values, one a coordinate. Paths that count from the file's folder count from the
  // working folder in it.
  Node document(std::span<const double> values) const;
  merge::MergeConfig with(std::span<const double> values) const;  // its text is that document as YAML

 private:
  void add(const Variation& variation);
  void add_coordinate(const merge::Field& field, const Node* own, const std::string& model, double low, double high);
  void require_listed_base() const;
  bool is_base(const merge::ModelEntry& entry) const;  // that changes are taken from: it has no parameters
  bool names_base(const merge::ModelEntry& entry) const;

  merge::MergeConfig config_;
  Node document_;
  std::vector<std::string> labels_;  // of config_.models
  std::vector<Coordinate> coordinates_;
  std::vector<int> places_;                      // of each coordinate: its entry in config_.models, or -1
  std::vector<std::vector<std::string>> names_;  // of each coordinate's parameter, aliases included
};

}  // namespace solera::soup
