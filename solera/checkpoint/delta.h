// A delta file: what a model changes of its base, as safetensors. docs/formats/delta.md is the format byte by byte.
//
//   Delta delta = open_delta("task.safetensors");
//   for (const DeltaEntry& entry : delta.entries()) ...      // sorted by name, tensors without a change included
//
// A tensor W of the base that changes is stored as W/xor (the changed bits: applying and reverting are exact) or
// W/difference (numbers to add, float32 or float64). Where W/mask is there, a bitmap of W's entries in row-major order,
// only those entries have a value, in that order. Opening validates names, types, shapes and counts that headers tell;
// that a mask has as many ones as there are values is found when it is read.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "solera/checkpoint/checkpoint.h"
#include "solera/checkpoint/writer.h"

namespace solera::checkpoint {

enum class Change { kNone, kXor, kDifference };

// One tensor of the base, and what happens to it.
struct DeltaTensor {
  TensorInfo base;  // its name, type and shape
  Change change = Change::kNone;
  bool sparse = false;
  std::int64_t kept = 0;                   // values that are stored
  DType value_type = DType::kF32;          // of kDifference
  std::string base_hash;                   // content_hash() of the base's tensor
  std::string result_hash;                 // of what kXor makes of it; empty for kDifference
  std::string values_name() const;         // "W/xor"
  std::string mask_name() const;           // "W/mask"
  std::vector<TensorInfo> stored() const;  // the tensors that hold it
};

struct DeltaEntry : DeltaTensor {
  const Tensor* values = nullptr;  // null for kNone
  const Tensor* mask = nullptr;    // null where all entries have a value
};

class Delta {
 public:
  // Throws Error (input) if the file is not a delta or not one that its metadata describes.
  explicit Delta(Checkpoint file);
  const Checkpoint& file() const { return file_; }
  const std::string& path() const { return file_.path(); }
  std::span<const DeltaEntry> entries() const { return entries_; }
  const DeltaEntry* find(std::string_view name) const;  // null if the delta says nothing of that tensor

 private:
  Checkpoint file_;
  std::vector<DeltaEntry> entries_;
};

Delta open_delta(const std::string& path);
bool is_delta(const Checkpoint& file);

// The layout of a delta file of these tensors; `made` says for people how it was made.
Layout plan_delta(std::span<const DeltaTensor> tensors, const std::string& made);

// The unsigned type as wide as another: what W/xor is made of. Throws Error (input) for F4, which has no whole bytes.
DType bits_type(DType dtype, const std::string& tensor);

}  // namespace solera::checkpoint
