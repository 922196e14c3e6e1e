#include "solera/checkpoint/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

using simdjson::dom::element;

// One file's header, with what its messages need.
class Header {
 public:
  explicit Header(std::shared_ptr<const Source> source) : source_(std::move(source)) {}

  SafetensorsFile parse() {
    read_text();
    simdjson::dom::parser parser;
    element root;
    // The text carries simdjson's padding, so nothing is copied; the parser's memory is a small multiple of the text's.
    const auto problem = parser.parse(text_.data(), text_.size(), false).get(root);
    if (problem == simdjson::UTF8_ERROR) throw refused("the header is not valid UTF-8");
    if (problem != simdjson::SUCCESS) throw refused("the header is not valid JSON");
    const simdjson::dom::object entries = root.get_object();  // it begins with a brace

    SafetensorsFile file;
    file.header_hash = hash_text(text_);
    file.tensors.reserve(entries.size());
    bool has_metadata = false;
    for (const auto& [key, value] : entries) {
      if (key != kMetadataKey) {
        file.tensors.push_back(parse_tensor(key, value));
      } else if (std::exchange(has_metadata, true)) {
        throw refused("__metadata__ appears twice");
      } else {
        file.metadata = parse_metadata(value);
      }
    }
    require_distinct_names(file.tensors);
    std::sort(file.tensors.begin(), file.tensors.end(), [](const Tensor& a, const Tensor& b) {
      return std::tuple(a.offset, end_of(a), std::string_view(a.name)) <
             std::tuple(b.offset, end_of(b), std::string_view(b.name));
    });
    require_exact_cover(file.tensors);
    for (Tensor& tensor : file.tensors) tensor.offset += data_begin_;
    return file;
  }

 private:
  Error refused(std::string what, std::string hint = "") const {
    return input_error(std::move(what), source_->path(), std::move(hint));
  }

  // A name as it may stand in a one-line message.
  static std::string shown(std::string_view name) {
    constexpr std::size_t kLongest = 200;
    const std::string quoted = to_json(Node::text(std::string(name.substr(0, kLongest))));
    const bool plain = quoted.size() == name.size() + 2;
    return plain ? std::string(name) : name.size() > kLongest ? quoted + "..." : quoted;
  }

  static std::uint64_t end_of(const Tensor& tensor) { return tensor.offset + tensor.bytes(); }

  void read_text() {
    const std::uint64_t file_bytes = source_->size();
    if (file_bytes < kLengthBytes) {
      throw refused(cat("not a safetensors file: ", file_bytes, " bytes are too few for a header"));
    }
    std::vector<std::byte> scratch;
    std::uint64_t length = 0;
    const auto word = source_->view(0, kLengthBytes, scratch);
    for (int i = 7; i >= 0; --i)
      length = length << 8 | std::to_integer<std::uint64_t>(word[static_cast<std::size_t>(i)]);
    if (length > kMaxHeaderBytes) {
      throw refused(cat("the header's length is ", length, " bytes, more than the format's ", kMaxHeaderBytes),
                    "not a safetensors file, or damaged");
    }
    if (length > file_bytes - kLengthBytes) {
      throw refused(cat("the header's length is ", length, " bytes, but the file ends ", file_bytes - kLengthBytes,
                        " bytes after it"),
                    "the file is truncated or not a safetensors file");
    }
    text_.reserve(length + simdjson::SIMDJSON_PADDING);
    const auto bytes = source_->view(kLengthBytes, length, scratch);
    text_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!text_.starts_with('{')) throw refused("the header does not begin with a brace", "not a safetensors file");
    data_begin_ = kLengthBytes + length;
  }

  std::map<std::string, std::string> parse_metadata(const element& value) const {
    std::map<std::string, std::string> result;
    if (value.is_null()) return result;
    simdjson::dom::object entries;
    if (value.get(entries) != simdjson::SUCCESS) throw refused("__metadata__ is not an object");
    for (const auto& [key, entry] : entries) {
      std::string_view text;
      if (entry.get(text) != simdjson::SUCCESS) throw refused(cat("__metadata__: ", shown(key), " is not a string"));
      if (!result.emplace(key, text).second) throw refused(cat("__metadata__: ", shown(key), " appears twice"));
    }
    return result;
  }

  Tensor parse_tensor(std::string_view name, const element& value) const {
    simdjson::dom::object fields;
    if (value.get(fields) != simdjson::SUCCESS) throw refused(cat(shown(name), ": its entry is not an object"));
    std::optional<element> dtype, shape, offsets;
    for (const auto& [key, field] : fields) {
      std::optional<element>* known = key == "dtype"          ? &dtype
                                      : key == "shape"        ? &shape
                                      : key == "data_offsets" ? &offsets
                                                              : nullptr;
      if (known == nullptr) continue;  // the reference reader skips unknown keys, too
      if (known->has_value()) throw refused(cat(shown(name), ": ", key, " appears twice"));
      *known = field;
    }
    if (!dtype) throw refused(cat(shown(name), ": no dtype"));
    if (!shape) throw refused(cat(shown(name), ": no shape"));
    if (!offsets) throw refused(cat(shown(name), ": no data_offsets"));

    Tensor tensor;
    tensor.name = name;
    tensor.dtype = parse_type(name, *dtype);
    tensor.shape = parse_shape(name, *shape);
    tensor.source = source_;
    const auto [begin, end] = parse_offsets(name, *offsets);
    tensor.offset = begin;
    std::uint64_t bytes = 0;
    try {
      bytes = tensor.bytes();
    } catch (const Error& error) {
      throw refused(cat(shown(name), ": ", error.problem()));
    }
    if (bytes != end - begin) {
      throw refused(cat(shown(name), ": ", shape_text(tensor.shape), " of ", checkpoint::name(tensor.dtype), " takes ",
                        bytes, " bytes, but data_offsets give ", end - begin));
    }
    return tensor;
  }

  DType parse_type(std::string_view name, const element& value) const {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) throw refused(cat(shown(name), ": dtype is not a string"));
    for (const DType dtype : {DType::kBF16, DType::kF32, DType::kF16}) {
      if (text == checkpoint::name(dtype)) return dtype;
    }
    const std::optional<DType> dtype = parse_dtype(text);
    if (!dtype || checkpoint::name(*dtype) != text) {
      throw refused(cat(shown(name), ": unknown dtype ", to_json(Node::text(std::string(text.substr(0, 40))))));
    }
    return *dtype;
  }

  Shape parse_shape(std::string_view name, const element& value) const {
    simdjson::dom::array extents;
    if (value.get(extents) != simdjson::SUCCESS) throw refused(cat(shown(name), ": shape is not a list"));
    Shape shape;
    shape.reserve(extents.size());
    for (const element extent : extents) {
      std::int64_t n = 0;
      if (extent.get(n) != simdjson::SUCCESS || n < 0) {
        throw refused(cat(shown(name), ": shape holds something that is not a size"));
      }
      shape.push_back(n);
    }
    return shape;
  }

  std::pair<std::uint64_t, std::uint64_t> parse_offsets(std::string_view name, const element& value) const {
    simdjson::dom::array pair;
    std::uint64_t begin = 0, end = 0;
    if (value.get(pair) != simdjson::SUCCESS || pair.size() != 2 || pair.at(0).get(begin) != simdjson::SUCCESS ||
        pair.at(1).get(end) != simdjson::SUCCESS) {
      throw refused(cat(shown(name), ": data_offsets is not a pair of offsets"));
    }
    if (begin > end) throw refused(cat(shown(name), ": data_offsets end at ", end, ", before their begin at ", begin));
    return {begin, end};
  }

  void require_distinct_names(const std::vector<Tensor>& tensors) const {
    std::vector<std::string_view> names;
    names.reserve(tensors.size());
    for (const Tensor& tensor : tensors) names.push_back(tensor.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) throw refused(cat(shown(*twice), " appears twice"));
  }

  // Sorted by place: each tensor begins where the one before ends, and the last ends with the file.
  void require_exact_cover(const std::vector<Tensor>& tensors) const {
    const std::uint64_t data_bytes = source_->size() - data_begin_;
    std::uint64_t covered = 0;
    const Tensor* before = nullptr;
    for (const Tensor& tensor : tensors) {
      if (tensor.offset < covered) {
        throw refused(cat(shown(tensor.name), ": begins at ", tensor.offset, ", inside ", shown(before->name),
                          ", which ends at ", covered));
      }
      if (tensor.offset > covered) {
        throw refused(
            cat("bytes ", covered, " to ", tensor.offset, ", before ", shown(tensor.name), ", belong to no tensor"));
      }
      covered = end_of(tensor);
      if (covered > data_bytes) {
        throw refused(
            cat(shown(tensor.name), ": ends at ", covered, ", but the file has ", data_bytes, " bytes of tensors"),
            "the file is truncated");
      }
      before = &tensor;
    }
    if (covered < data_bytes) {
      throw refused(cat("the last ", data_bytes - covered, " bytes of the file belong to no tensor"));
    }
  }

  std::shared_ptr<const Source> source_;
  std::string text_;
  std::uint64_t data_begin_ = 0;
};

Error too_long() {
  return input_error(cat("the header would be longer than safetensors' ", kMaxHeaderBytes, " bytes"), "",
                     "write more shards");
}

void append_json(std::string& text, std::string_view value, std::string_view what) {
  if (!is_utf8(value)) throw input_error(cat(what, " is not valid UTF-8, as safetensors requires"));
  text += to_json(Node::text(std::string(value)));
}

}  // namespace

SafetensorsFile parse_safetensors(std::shared_ptr<const Source> source) { return Header(std::move(source)).parse(); }

std::string safetensors_header(std::span<const TensorInfo> tensors, const std::map<std::string, std::string>& metadata,
                               std::vector<std::uint64_t>& offsets) {
  std::string text(kLengthBytes, '\0');
  text += '{';
  if (!metadata.empty()) {
    text += cat('"', kMetadataKey, "\":{");
    for (const auto& [key, value] : metadata) {
      if (text.back() != '{') text += ',';
      append_json(text, key, "a metadata key");
      text += ':';
      append_json(text, value, cat("the metadata value of ", key));
    }
    text += '}';
  }
  offsets.clear();
  offsets.reserve(tensors.size());
  std::uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name == kMetadataKey) {
      throw input_error(cat("a tensor is named ", kMetadataKey, ", which safetensors reserves"));
    }
    if (text.size() + tensor.name.size() > kMaxHeaderBytes) throw too_long();
    if (text.back() != '{') text += ',';
    append_json(text, tensor.name, "a tensor's name");
    text += ":{\"dtype\":\"";
    text += name(tensor.dtype);
    text += "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      if (i > 0) text += ',';
      text += std::to_string(tensor.shape[i]);
    }
    offsets.push_back(end);
    const std::uint64_t bytes = tensor.bytes();
    if (bytes > INT64_MAX - end) throw input_error("the tensors take more bytes than a file can have");
    text += "],\"data_offsets\":[" + std::to_string(end);
    end += bytes;
    text += ',' + std::to_string(end) + "]}";
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size() - kLengthBytes;
  if (length > kMaxHeaderBytes) throw too_long();
  for (std::size_t i = 0; i < kLengthBytes; ++i) text[i] = static_cast<char>(length >> (8 * i));
  return text;
}

}  // namespace solera::checkpoint
