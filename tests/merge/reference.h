// Every deterministic merge method once more, over whole tensors in float64: as its definition reads, without a thought
// for speed or memory. What random_test.cpp holds the engine against.
//
// A mask can hang on less than float32 resolves: two magnitudes at a cut, votes that nearly cancel. Such elements are
// marked undecided; of exact ties the lower index wins, and they are decided.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace solera::merge::reference {

using Vector = std::vector<double>;
using Values = std::map<std::string, double>;  // parameters; enumerations by number, booleans as 0 and 1

struct Tensor {
  std::vector<std::int64_t> shape;
  Vector base;  // empty where the merge has none
  std::vector<Vector> models;
  std::vector<Vector> statistics;  // one a model, or none
  Values global;
  std::vector<Values> each;  // one a model
};

struct Answer {
  Vector values;
  std::vector<bool> undecided;
};

// One answer a tensor, for all tensors of a merge. Throws std::out_of_range for a method or parameter it lacks.
std::vector<Answer> merge(const std::string& method, const std::vector<Tensor>& tensors);

// The methods that there are.
std::vector<std::string> methods();

}  // namespace solera::merge::reference
