#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "solera/base/error.h"
#include "solera/checkpoint/bytes.h"
#include "solera/checkpoint/torch.h"
#include "solera/checkpoint/zip_writer.h"

namespace solera::checkpoint {
namespace {

// Types that PyTorch stores under a class of their own; the others are bytes with a dtype beside them.
std::string_view storage_class(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "DoubleStorage";
    case DType::kF32:
      return "FloatStorage";
    case DType::kF16:
      return "HalfStorage";
    case DType::kBF16:
      return "BFloat16Storage";
    case DType::kI64:
      return "LongStorage";
    case DType::kI32:
      return "IntStorage";
    case DType::kI16:
      return "ShortStorage";
    case DType::kI8:
      return "CharStorage";
    case DType::kU8:
      return "ByteStorage";
    case DType::kBool:
      return "BoolStorage";
    default:
      return "";
  }
}

// Protocol 2 without a memo: longer by some bytes a tensor, and nothing to get wrong.
class PickleWriter {
 public:
  void text(std::string_view value) {
    out += 'X';
    append_little<std::uint32_t>(out, static_cast<std::uint32_t>(value.size()));
    out += value;
  }
  void integer(std::int64_t value) {
    if (value >= 0 && value < 256) {
      out += 'K';
      append_little<std::uint8_t>(out, static_cast<std::uint8_t>(value));
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
      out += 'J';
      append_little<std::uint32_t>(out, static_cast<std::uint32_t>(value));
    } else {
      out += "\x8a\x08";
      append_little<std::uint64_t>(out, static_cast<std::uint64_t>(value));
    }
  }
  void tuple(const Shape& values) {
    out += '(';
    for (const std::int64_t value : values) integer(value);
    out += 't';
  }
  void global(std::string_view module, std::string_view name) {
    out += 'c';
    out += module;
    out += '\n';
    out += name;
    out += '\n';
  }
  std::string out = "\x80\x02";
};

Shape row_strides(const Shape& shape) {
  Shape strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    strides[d] = step;
    step *= shape[d] > 0 ? shape[d] : 1;
  }
  return strides;
}

void write_entry(PickleWriter& pickle, const Tensor& tensor, const std::string& key) {
  const std::string_view own_class = storage_class(tensor.dtype);
  const bool typed = own_class.empty();
  pickle.text(tensor.name);
  pickle.global("torch._utils", typed ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
  pickle.out += "((";
  pickle.text("storage");
  pickle.global(typed ? "torch.storage" : "torch", typed ? "UntypedStorage" : own_class);
  pickle.text(key);
  pickle.text("cpu");
  pickle.integer(typed ? static_cast<std::int64_t>(tensor.bytes()) : tensor.elements());
  pickle.out += "tQ";
  pickle.integer(0);
  pickle.tuple(tensor.shape);
  pickle.tuple(row_strides(tensor.shape));
  pickle.out += '\x89';
  pickle.global("collections", "OrderedDict");
  pickle.out += ")R";
  if (typed) pickle.global("torch", torch_name(tensor.dtype));
  pickle.out += "tR";
}

}  // namespace

void write_torch(const std::string& path, const Checkpoint& model) {
  PickleWriter pickle;
  pickle.global("collections", "OrderedDict");
  pickle.out += ")R(";
  std::vector<const Tensor*> storages;
  std::map<std::string, std::string> key_of;  // storage of tied tensors to key
  for (const Tensor& tensor : model.tensors()) {
    if (tensor.dtype == DType::kF4)
      throw usage_error("F4 cannot be written to a PyTorch archive", tensor.name, "write *.safetensors");
    std::string key = std::to_string(storages.size());
    const auto [tied, is_new] =
        tensor.storage.empty() ? std::pair(key_of.end(), true) : key_of.emplace(tensor.storage, key);
    if (is_new)
      storages.push_back(&tensor);
    else
      key = tied->second;
    write_entry(pickle, tensor, key);
  }
  pickle.out += "u.";

  ZipWriter zip(path);
  zip.add("archive/data.pkl", pickle.out);
  zip.add("archive/byteorder", "little");
  for (std::size_t i = 0; i < storages.size(); ++i) {
    zip.begin("archive/data/" + std::to_string(i), storages[i]->bytes());
    zip.write_tensor(model, *storages[i]);
    zip.end();
  }
  zip.add("archive/version", "3\n");
  model.check();
  zip.finish();
}

}  // namespace solera::checkpoint
