#include "solera/checkpoint/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <unordered_set>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/bytes.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kWindow = 1u << 20;   // bytes of the header that are looked at together
constexpr std::uint32_t kMaxRank = 4;
// The least that an entry takes: an empty name, a kind and a byte; an empty name, no extents, a type and a place.
constexpr std::uint64_t kLeastMetadata = 8 + 4 + 1, kLeastTensor = 8 + 4 + 4 + 8;

struct KindRow {
  std::string_view name, plural;
  std::uint64_t bytes;  // 0: not of a fixed size
};
constexpr std::array<KindRow, 13> kKinds = {{
    {"uint8", "uint8", 1},
    {"int8", "int8", 1},
    {"uint16", "uint16", 2},
    {"int16", "int16", 2},
    {"uint32", "uint32", 4},
    {"int32", "int32", 4},
    {"float32", "float32", 4},
    {"bool", "bools", 1},
    {"string", "strings", 0},
    {"array", "arrays", 0},
    {"uint64", "uint64", 8},
    {"int64", "int64", 8},
    {"float64", "float64", 8},
}};
const KindRow& row(GgufKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

// A name as it may stand in a one-line message.
std::string shown(std::string_view text, std::size_t longest = 80) {
  std::string piece(text.substr(0, longest));
  for (char& c : piece)
    if (static_cast<unsigned char>(c) < 32 || static_cast<unsigned char>(c) >= 127) c = '?';
  return text.size() > longest ? piece + "..." : piece;
}

class Parser {
 public:
  explicit Parser(std::shared_ptr<const Source> source) : source_(std::move(source)) {}

  GgufFile parse() {
    if (left() < 24) throw refused(cat("not a GGUF file: ", left(), " bytes are too few for a header"));
    if (number<std::uint32_t>() != kMagic) throw refused("not a GGUF file: it does not begin with GGUF");
    GgufFile file;
    file.version = number<std::uint32_t>();
    if (file.version != 2 && file.version != 3) {
      if (file.version != 0 && file.version % 65536 == 0)
        throw refused("the file is big-endian GGUF, which is not read");
      throw refused(cat("version ", file.version, " of GGUF is not read"), "versions 2 and 3 are");
    }
    const auto tensors = number<std::uint64_t>(), pairs = number<std::uint64_t>();
    require_count(pairs, kLeastMetadata, "metadata entries");
    require_count(tensors, kLeastTensor, "tensors");
    read_metadata(pairs, file);
    read_tensors(tensors, alignment_of(file), file);
    return file;
  }

 private:
  Error refused(std::string what, std::string hint = "") const {
    return input_error(std::move(what), source_->path(), std::move(hint));
  }
  std::uint64_t left() const { return source_->size() - at_; }

  void require_count(std::uint64_t count, std::uint64_t least, std::string_view what) const {
    if (count > left() / least)
      throw refused(cat("the header claims ", count, " ", what, ", but only ", left(), " bytes follow"),
                    "the file is truncated or damaged");
  }

  // The next `count` bytes, through a window so that a file that is not mapped is not read in crumbs.
  std::span<const std::byte> take(std::uint64_t count) {
    if (count > left()) {
      throw refused(cat("the header ends inside ", inside_, ": ", count, " bytes wanted, ", left(), " left"),
                    "the file is truncated or damaged");
    }
    if (at_ < window_at_ || at_ + count > window_at_ + window_.size()) {
      window_at_ = at_;
      window_ = source_->view(at_, std::max(count, std::min(kWindow, left())), scratch_);
    }
    const auto bytes = window_.subspan(static_cast<std::size_t>(at_ - window_at_), static_cast<std::size_t>(count));
    at_ += count;
    return bytes;
  }
  template <class T>
  T number() {
    return little<T>(take(sizeof(T)), 0);
  }
  std::uint64_t text_length() {
    const auto length = number<std::uint64_t>();
    if (length > left())
      throw refused(cat("a string in ", inside_, " claims ", length, " bytes, but only ", left(), " follow"),
                    "the file is truncated or damaged");
    return length;
  }
  std::string text() {
    const auto bytes = take(text_length());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  GgufKind kind(std::string_view key) {
    const auto number_of_kind = number<std::uint32_t>();
    if (number_of_kind >= kKinds.size())
      throw refused(cat("metadata ", shown(key), " has the unknown kind ", number_of_kind));
    return static_cast<GgufKind>(number_of_kind);
  }
  std::uint64_t scalar(GgufKind of, std::string_view key) {
    const auto bytes = take(row(of).bytes);
    std::uint64_t bits = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) bits = bits << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    if (of == GgufKind::kBool && bits > 1) throw refused(cat("metadata ", shown(key), " is a bool of value ", bits));
    return bits;
  }

  GgufValue value(std::string_view key) {
    GgufValue result;
    result.kind = kind(key);
    if (result.kind == GgufKind::kText) {
      result.text = text();
    } else if (result.kind != GgufKind::kArray) {
      result.bits = scalar(result.kind, key);
    } else {
      result.element = kind(key);
      result.count = number<std::uint64_t>();
      if (result.element == GgufKind::kArray) throw refused(cat("metadata ", shown(key), " is an array of arrays"));
      const std::uint64_t width = row(result.element).bytes, least = width > 0 ? width : 8;
      if (result.count > left() / least) {
        throw refused(cat("metadata ", shown(key), " claims ", result.count, " ", row(result.element).plural,
                          ", but only ", left(), " bytes follow"),
                      "the file is truncated or damaged");
      }
      if (width > 0) {
        at_ += result.count * width;
      } else {
        for (std::uint64_t i = 0; i < result.count; ++i) at_ += text_length();
      }
    }
    return result;
  }

  void read_metadata(std::uint64_t count, GgufFile& file) {
    std::unordered_set<std::string> seen;
    for (std::uint64_t i = 0; i < count; ++i) {
      inside_ = "the metadata";
      std::string key = text();
      inside_ = cat("metadata ", shown(key));
      if (!is_utf8(key)) throw refused(cat("the key of metadata ", shown(key), " is not valid UTF-8"));
      if (!seen.insert(key).second) throw refused(cat("metadata ", shown(key), " appears twice"));
      GgufValue entry = value(key);
      file.metadata.emplace_back(std::move(key), std::move(entry));
    }
  }

  std::uint64_t alignment_of(const GgufFile& file) const {
    const GgufValue* value = file.find("general.alignment");
    if (value == nullptr) return 32;
    if (value->kind != GgufKind::kU32)
      throw refused(cat("general.alignment is of kind ", row(value->kind).name, ", not uint32"));
    if (!std::has_single_bit(value->bits))
      throw refused(cat("general.alignment is ", value->bits, ", not a power of two"));
    return value->bits;
  }

  void read_tensors(std::uint64_t count, std::uint64_t alignment, GgufFile& file) {
    std::unordered_set<std::string> seen;
    for (std::uint64_t i = 0; i < count; ++i) {
      inside_ = "the table of tensors";
      Tensor tensor;
      tensor.name = text();
      inside_ = cat("the entry of ", shown(tensor.name));
      if (!is_utf8(tensor.name)) throw refused(cat(shown(tensor.name), ": the name is not valid UTF-8"));
      if (!seen.insert(tensor.name).second) throw refused(cat(shown(tensor.name), " appears twice"));
      read_entry(alignment, tensor);
      file.tensors.push_back(std::move(tensor));
    }
    const std::uint64_t header = at_;
    // ggml lets a file without tensors end with its header.
    const std::uint64_t data = count == 0 ? header : (header + alignment - 1) / alignment * alignment;
    require_places(file.tensors, data);
    for (Tensor& tensor : file.tensors) {
      tensor.offset += data;
      tensor.source = source_;
      if (tensor.encoding.empty()) continue;
      tensor.source = dequantized_source(source_, tensor.offset, gguf_type(tensor.encoding), tensor.elements());
      tensor.offset = 0;
    }
    file.header_hash = hash_bytes(source_->view(0, header, scratch_));
  }

  // Shape, type and place, the last counted from the first tensor's byte.
  void read_entry(std::uint64_t alignment, Tensor& tensor) {
    const auto fail = [&](const std::string& what) { return refused(cat(shown(tensor.name), ": ", what)); };
    const auto rank = number<std::uint32_t>();
    if (rank > kMaxRank) throw fail(cat(rank, " dimensions, more than GGUF's ", kMaxRank));
    tensor.shape.resize(rank);
    for (std::size_t d = rank; d-- > 0;) {
      const auto extent = number<std::uint64_t>();
      if (extent > INT64_MAX) throw fail(cat("an extent of ", extent, " is more than 63 bits count"));
      tensor.shape[d] = static_cast<std::int64_t>(extent);
    }
    const auto type_number = number<std::uint32_t>();
    const GgufType* type = find_gguf_type(type_number);
    if (type == nullptr) throw fail(cat("unknown type ", type_number));
    if (type->block == 0) throw fail(cat("type ", type_number, " (", type->name, ") is not read"));
    tensor.dtype = type->plain.value_or(DType::kF32);
    try {
      tensor.bytes();  // must be countable
    } catch (const Error& error) {
      throw fail(error.problem());
    }
    const std::int64_t row_length = rank > 0 ? tensor.shape.back() : 1;
    if (row_length % type->block != 0)
      throw fail(cat("rows of ", row_length, " are no whole blocks of ", type->name, ", which have ", type->block));
    if (!type->plain) {
      tensor.encoding = type->name;
      tensor.encoded_bytes = static_cast<std::uint64_t>(tensor.elements() / type->block) * type->bytes;
    }
    tensor.offset = number<std::uint64_t>();
    if (tensor.offset % alignment != 0)
      throw fail(cat("begins at ", tensor.offset, ", which is no multiple of ", alignment));
  }

  void require_places(const std::vector<Tensor>& tensors, std::uint64_t data) const {
    std::vector<const Tensor*> order;
    for (const Tensor& tensor : tensors) order.push_back(&tensor);
    std::stable_sort(order.begin(), order.end(),
                     [](const Tensor* a, const Tensor* b) { return a->offset < b->offset; });
    const std::uint64_t available = data < source_->size() ? source_->size() - data : 0;
    std::uint64_t end = 0;
    const Tensor* before = nullptr;
    for (const Tensor* tensor : order) {
      const std::uint64_t bytes = tensor->stored_bytes();
      if (tensor->offset > available || bytes > available - tensor->offset) {
        throw refused(cat(shown(tensor->name), ": ", bytes, " bytes at ", tensor->offset, " pass the end of the ",
                          available, " bytes of tensors"),
                      "the file is truncated or damaged");
      }
      if (bytes == 0) continue;
      if (tensor->offset < end) {
        throw refused(cat(shown(tensor->name), ": begins at ", tensor->offset, ", inside ", shown(before->name),
                          ", which ends at ", end));
      }
      end = tensor->offset + bytes;
      before = tensor;
    }
  }

  std::shared_ptr<const Source> source_;
  std::vector<std::byte> scratch_;
  std::span<const std::byte> window_;
  std::uint64_t at_ = 0, window_at_ = 0;
  std::string inside_ = "the header";  // what is being read, for messages
};

}  // namespace

std::optional<std::int64_t> GgufValue::integer() const {
  switch (kind) {
    case GgufKind::kI8:
      return static_cast<std::int8_t>(bits);
    case GgufKind::kI16:
      return static_cast<std::int16_t>(bits);
    case GgufKind::kI32:
      return static_cast<std::int32_t>(bits);
    case GgufKind::kU8:
    case GgufKind::kU16:
    case GgufKind::kU32:
    case GgufKind::kU64:
    case GgufKind::kI64:
      if (kind == GgufKind::kU64 && bits > INT64_MAX) return std::nullopt;
      return static_cast<std::int64_t>(bits);
    default:
      return std::nullopt;
  }
}

std::optional<double> GgufValue::number() const {
  if (kind == GgufKind::kF64) return std::bit_cast<double>(bits);
  if (kind == GgufKind::kF32) {
    char digits[32];
    const auto end =
        std::to_chars(digits, digits + sizeof digits, std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    return parse_double({digits, static_cast<std::size_t>(end.ptr - digits)});
  }
  const auto whole = integer();
  return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

std::string GgufValue::summary() const {
  if (kind == GgufKind::kText) {
    const std::string quoted = to_json(Node::text(is_utf8(text) ? text : shown(text, text.size())));
    const std::string line = quoted.substr(1, quoted.size() - 2);
    constexpr std::size_t kLongest = 100;
    if (line.size() <= kLongest) return line;
    std::size_t cut = kLongest;
    while (cut > 0 && (static_cast<unsigned char>(line[cut]) & 0xc0) == 0x80) --cut;
    return cat(line.substr(0, cut), "... (", text.size(), " bytes)");
  }
  if (kind == GgufKind::kArray) return cat("[", count, " ", row(element).plural, "]");
  if (kind == GgufKind::kBool) return bits != 0 ? "true" : "false";
  if (kind == GgufKind::kU64) return std::to_string(bits);
  if (const auto whole = integer()) return std::to_string(*whole);
  return exact_text(number().value_or(0));
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found =
      std::find_if(metadata.begin(), metadata.end(), [&](const auto& pair) { return pair.first == key; });
  return found == metadata.end() ? nullptr : &found->second;
}

GgufFile parse_gguf(std::shared_ptr<const Source> source) { return Parser(std::move(source)).parse(); }

}  // namespace solera::checkpoint
