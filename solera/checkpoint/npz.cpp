#include "solera/checkpoint/npz.h"

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"
#include "solera/checkpoint/bytes.h"
#include "solera/checkpoint/inflated.h"
#include "solera/checkpoint/strided.h"
#include "solera/checkpoint/zip.h"
#include "solera/checkpoint/zip_writer.h"

namespace solera::checkpoint {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::uint64_t kMaxHeader = 1u << 16;
constexpr std::size_t kMaxRank = 64;

struct Code {
  std::string_view text;  // without the byte order
  DType dtype;
};
constexpr std::array kCodes = {
    Code{"f8", DType::kF64}, Code{"f4", DType::kF32}, Code{"f2", DType::kF16}, Code{"i8", DType::kI64},
    Code{"i4", DType::kI32}, Code{"i2", DType::kI16}, Code{"i1", DType::kI8},  Code{"u8", DType::kU64},
    Code{"u4", DType::kU32}, Code{"u2", DType::kU16}, Code{"u1", DType::kU8},  Code{"b1", DType::kBool},
};

DType dtype_of(const std::string& text, const std::string& where) {
  const auto refuse = [&](std::string_view what) {
    return input_error("the array's type is '" + (is_utf8(text) ? text : "?") + "', " + std::string(what), where);
  };
  if (text.find('O') != text.npos) throw refuse("Python objects, which only Python can read");
  if (text.size() < 2) throw refuse("which is no tensor's");
  if (text[0] == '>' && text.substr(1) != "i1" && text.substr(1) != "u1" && text.substr(1) != "b1")
    throw refuse("big-endian, which is not read");
  const std::string_view code =
      std::string_view(text).substr(std::string_view("<>|=").find(text[0]) != std::string_view::npos);
  for (const Code& row : kCodes)
    if (row.text == code) return row.dtype;
  throw refuse("which is no tensor's");
}

struct Header {
  std::string descr;
  bool fortran = false;
  Shape shape;
};

// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }: a dictionary of exactly these three, in any order.
class Literal {
 public:
  Literal(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Header read() {
    Header header;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !std::exchange(has_descr, true)) {
        if (peek() == '[') throw input_error("the array's type is structured, which is no tensor's", where_);
        header.descr = quoted();
      } else if (key == "fortran_order" && !std::exchange(has_order, true)) {
        header.fortran = boolean();
      } else if (key == "shape" && !std::exchange(has_shape, true)) {
        header.shape = tuple();
      } else {
        throw bad();
      }
      if (!accept(',') && peek() != '}') throw bad();
    }
    skip_space();
    if (at_ != text_.size() || !has_descr || !has_order || !has_shape) throw bad();
    return header;
  }

 private:
  Error bad() const { return input_error("the .npy header is not the literal that NumPy writes", where_); }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) throw bad();
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') throw bad();
    const std::size_t end = text_.find(quote, ++at_);
    if (end == text_.npos) throw bad();
    std::string value(text_.substr(at_, end - at_));
    if (value.find('\\') != value.npos) throw bad();
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    peek();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return word == "True";
    }
    throw bad();
  }
  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      peek();
      const std::size_t begin = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      const std::optional<std::int64_t> value = parse_int(text_.substr(begin, at_ - begin));
      if (!value || shape.size() == kMaxRank) throw bad();
      shape.push_back(*value);
      accept('L');  // Python 2 wrote long integers so
      if (!accept(',') && (peek() != ')' || shape.size() == 1)) throw bad();
    }
    return shape;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view numpy_code(DType dtype) {
  for (const Code& row : kCodes)
    if (row.dtype == dtype) return row.text;
  return "";
}

// Magic, version 1.0, length and literal, padded so that the array begins at a multiple of 64 bytes.
std::string npy_header(const TensorInfo& tensor) {
  const std::string_view code = numpy_code(tensor.dtype);
  if (code.empty())
    throw usage_error("NumPy has no type for " + std::string(name(tensor.dtype)), tensor.name, "--dtype float32");
  std::string literal = cat("{'descr': '", code[1] == '1' ? '|' : '<', code, "', 'fortran_order': False, 'shape': (");
  for (std::size_t d = 0; d < tensor.shape.size(); ++d) literal += cat(d ? ", " : "", tensor.shape[d]);
  literal += tensor.shape.size() == 1 ? ",), }" : "), }";
  const std::size_t used = 10 + literal.size() + 1;
  literal.append((64 - used % 64) % 64, ' ');
  literal += '\n';
  if (literal.size() > 0xffff) throw usage_error("the tensor has too many dimensions for NumPy", tensor.name);
  std::string header(kMagic);
  header += std::string("\x01\x00", 2);
  append_little<std::uint16_t>(header, static_cast<std::uint16_t>(literal.size()));
  return header + literal;
}

}  // namespace

NpzFile parse_npz(std::shared_ptr<const Source> source) {
  const std::vector<ZipMember> members = read_zip_directory(*source);
  NpzFile file;
  std::vector<std::byte> scratch;
  for (const ZipMember& member : members) {
    const std::string where = source->path() + ": " + member.name;
    if (!member.name.ends_with(".npy") || member.name.size() == 4)
      throw input_error("the member is not an .npy array", where);
    if (member.method != 0 && member.method != 8)
      throw input_error(cat("the zip member is packed by method ", member.method), where,
                        "only stored and deflated are read");
    std::shared_ptr<const Source> bytes = source;
    std::uint64_t begin = member.offset;
    if (member.method == 8) {
      bytes = inflated_source(source, member);
      begin = 0;
    }
    if (member.size < 10) throw input_error("the member is too short for an .npy array", where);
    auto head = bytes->view(begin, std::min<std::uint64_t>(member.size, 12), scratch);
    const auto version = static_cast<int>(head[6]);
    if (as_text(head.first(6)) != kMagic || version < 1 || version > 3 || (version > 1 && head.size() < 12))
      throw input_error("the member is not an .npy array of version 1 to 3", where);
    const std::uint64_t prefix = version == 1 ? 10 : 12;
    const std::uint64_t length = version == 1 ? little<std::uint16_t>(head, 8) : little<std::uint32_t>(head, 8);
    if (length > kMaxHeader || length > member.size - prefix)
      throw input_error(cat("the .npy header claims ", length, " bytes"), where);
    const Header header = Literal(as_text(bytes->view(begin + prefix, length, scratch)), where).read();

    Tensor tensor;
    tensor.name = member.name.substr(0, member.name.size() - 4);
    tensor.dtype = dtype_of(header.descr, where);
    tensor.shape = header.shape;
    const std::uint64_t data = prefix + length, expected = byte_count(tensor.dtype, element_count(tensor.shape));
    if (member.size - data != expected)
      throw input_error(cat("the array ", shape_text(tensor.shape), " of ", name(tensor.dtype), " needs ", expected,
                            " bytes, the member has ", member.size - data),
                        where);
    tensor.source = bytes;
    tensor.offset = begin + data;
    const Shape strides = column_strides(tensor.shape);
    if (header.fortran && !is_contiguous(tensor.shape, strides)) {
      tensor.source = strided_source(bytes, begin + data, bits(tensor.dtype) / 8, tensor.shape, strides);
      tensor.offset = 0;
    }
    file.tensors.push_back(std::move(tensor));
  }
  file.header_hash = zip_hash(members);
  return file;
}

void write_npz(const std::string& path, const Checkpoint& model) {
  std::vector<std::string> headers;  // first, so that a type without a NumPy name is found before anything is written
  for (const Tensor& tensor : model.tensors()) headers.push_back(npy_header(tensor));
  ZipWriter zip(path);
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    zip.begin(tensor.name + ".npy", headers[i].size() + tensor.bytes());
    zip.write(std::as_bytes(std::span<const char>(headers[i])));
    zip.write_tensor(model, tensor);
    zip.end();
  }
  model.check();
  zip.finish();
}

}  // namespace solera::checkpoint
