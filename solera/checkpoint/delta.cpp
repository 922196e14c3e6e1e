#include "solera/checkpoint/delta.h"

#include <algorithm>
#include <set>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::checkpoint {
namespace {

constexpr const char* kVersionKey = "solera_delta";
constexpr const char* kTensorsKey = "tensors";
constexpr const char* kVersion = "1";

std::int64_t mask_bytes(std::int64_t elements) { return elements / 8 + (elements % 8 != 0 ? 1 : 0); }

bool is_hash(const std::string& text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string described(const TensorInfo& info) { return cat(name(info.dtype), " ", shape_text(info.shape)); }

// What the metadata says of one tensor.
DeltaTensor read_description(const std::string& tensor, const Node& node, const std::string& path) {
  const auto bad = [&](const std::string& what) {
    return input_error(cat(tensor, ": ", what), path, "the file is damaged or not a delta");
  };
  if (!node.is_map()) throw bad("its description is not an object");
  const std::vector<std::string> known = {"dtype", "shape", "change", "base", "result"};
  require_known_keys(node, known, "in a tensor's description");
  DeltaTensor result;
  result.base.name = tensor;
  const auto dtype = parse_dtype(node.at("dtype").as_text());
  if (!dtype) throw bad(cat("unknown dtype \"", node.at("dtype").as_text(), "\""));
  result.base.dtype = *dtype;
  if (!node.at("shape").is_list()) throw bad("its shape is not a list");
  for (const Node& extent : node.at("shape").items()) result.base.shape.push_back(extent.as_int());
  (void)result.base.bytes();  // a shape that can be counted
  const std::string& change = node.at("change").as_text();
  if (change == "xor") {
    result.change = Change::kXor;
  } else if (change == "difference") {
    result.change = Change::kDifference;
  } else if (change != "none") {
    throw bad(cat("unknown change \"", change, "\""));
  }
  result.base_hash = node.at("base").as_text();
  if (const Node* hash = node.find("result")) result.result_hash = hash->as_text();
  if (!is_hash(result.base_hash) || is_hash(result.result_hash) != (result.change == Change::kXor))
    throw bad("its hashes are not what they should be");
  return result;
}

void attach(DeltaEntry& entry, const Checkpoint& file) {
  const auto require = [&](const Tensor& found, const TensorInfo& expected) {
    if (found.dtype != expected.dtype || found.shape != expected.shape)
      throw input_error(cat(found.name, " is ", described(found), ", not ", described(expected)), file.path(),
                        "the file is damaged or not a delta");
  };
  if (entry.change == Change::kNone) return;
  if (entry.change == Change::kDifference && !is_float(entry.base.dtype))
    throw input_error(cat(entry.base.name, " is ", name(entry.base.dtype), ", which has no difference"), file.path());
  entry.values = &file.at(entry.values_name());
  entry.mask = file.find(entry.mask_name());
  entry.sparse = entry.mask != nullptr;
  entry.value_type = entry.values->dtype == DType::kF64 ? DType::kF64 : DType::kF32;
  entry.kept = entry.values->elements();
  if (entry.sparse && entry.kept > entry.base.elements())
    throw input_error(cat(entry.values->name, " has ", entry.kept, " values for ", entry.base.elements(), " entries"),
                      file.path());
  for (const TensorInfo& expected : entry.stored()) require(file.at(expected.name), expected);
}

Node description(const DeltaTensor& tensor) {
  static constexpr const char* kChanges[] = {"none", "xor", "difference"};
  Node shape = Node::list();
  for (const std::int64_t extent : tensor.base.shape) shape.push(Node::integer(extent));
  Node node = Node::map({{"dtype", Node::text(std::string(name(tensor.base.dtype)))},
                         {"shape", std::move(shape)},
                         {"change", Node::text(kChanges[static_cast<int>(tensor.change)])},
                         {"base", Node::text(tensor.base_hash)}});
  if (tensor.change == Change::kXor) node.set("result", Node::text(tensor.result_hash));
  return node;
}

}  // namespace

DType bits_type(DType dtype, const std::string& tensor) {
  switch (bits(dtype)) {
    case 8:
      return DType::kU8;
    case 16:
      return DType::kU16;
    case 32:
      return DType::kU32;
    case 64:
      return DType::kU64;
    default:
      throw input_error(cat(tensor, " is ", name(dtype), ", whose entries are not whole bytes"), "",
                        cat("leave it out with --exclude '", tensor, "'"));
  }
}

std::string DeltaTensor::values_name() const { return base.name + (change == Change::kXor ? "/xor" : "/difference"); }
std::string DeltaTensor::mask_name() const { return base.name + "/mask"; }

std::vector<TensorInfo> DeltaTensor::stored() const {
  if (change == Change::kNone) return {};
  const DType type = change == Change::kXor ? bits_type(base.dtype, base.name) : value_type;
  if (!sparse) return {{values_name(), type, base.shape}};
  return {{mask_name(), DType::kU8, {mask_bytes(base.elements())}}, {values_name(), type, {kept}}};
}

bool is_delta(const Checkpoint& file) { return file.metadata().contains(kVersionKey); }

Delta::Delta(Checkpoint file) : file_(std::move(file)) {
  if (!is_delta(file_))
    throw input_error(cat(path(), " is not a delta file"), "",
                      "make one with `solera delta BASE TUNED -o DELTA.safetensors`");
  const std::string& version = file_.metadata().at(kVersionKey);
  if (version != kVersion)
    throw input_error(cat("the delta is of version ", version, ", this program reads version ", kVersion), path());
  const auto text = file_.metadata().find(kTensorsKey);
  if (text == file_.metadata().end())
    throw input_error("the delta's metadata lists no tensors", path(), "the file is damaged or not a delta");
  const Node list = parse_json(text->second, path());
  if (!list.is_map()) throw input_error("the delta's list of tensors is not an object", path());
  std::set<std::string> used;
  for (const auto& [tensor, node] : list.entries()) {
    DeltaEntry& entry = entries_.emplace_back();
    static_cast<DeltaTensor&>(entry) = read_description(tensor, node, path());
    attach(entry, file_);
    for (const TensorInfo& stored : entry.stored()) used.insert(stored.name);
  }
  for (const Tensor& tensor : file_.tensors())
    if (!used.contains(tensor.name))
      throw input_error(cat(tensor.name, " belongs to no tensor that the delta describes"), path(),
                        "the file is damaged or not a delta");
  std::sort(entries_.begin(), entries_.end(),
            [](const DeltaEntry& a, const DeltaEntry& b) { return a.base.name < b.base.name; });
}

const DeltaEntry* Delta::find(std::string_view wanted) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), wanted,
                       [](const DeltaEntry& entry, std::string_view text) { return entry.base.name < text; });
  return found != entries_.end() && found->base.name == wanted ? &*found : nullptr;
}

Delta open_delta(const std::string& path) { return Delta(open_checkpoint(path)); }

Layout plan_delta(std::span<const DeltaTensor> tensors, const std::string& made) {
  std::vector<TensorInfo> infos;
  Node list = Node::map();
  for (const DeltaTensor& tensor : tensors) {
    for (TensorInfo& info : tensor.stored()) infos.push_back(std::move(info));
    list.set(tensor.base.name, description(tensor));
  }
  const std::map<std::string, std::string> metadata = {
      {kVersionKey, kVersion}, {"made", made}, {kTensorsKey, to_json(list)}};
  return plan_layout(std::move(infos), {.single_file = true, .metadata = metadata});
}

}  // namespace solera::checkpoint
