#include "solera/checkpoint/npz.h"

#include "solera/base/files.h"
#include "tests/checkpoint/archives.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using namespace std::string_literals;
using test::message_of;

std::string npy(const std::string& literal, const std::string& data, int version = 1) {
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  if (version == 1)
    append_little<std::uint16_t>(out, static_cast<std::uint16_t>(literal.size()));
  else
    append_little<std::uint32_t>(out, static_cast<std::uint32_t>(literal.size()));
  return out + literal + data;
}
std::string literal(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }   \n";
}
std::string one(const std::string& content) { return zip_of({{"t.npy", content}}); }
NpzFile parse(const std::string& archive) { return parse_npz(source_of(archive, "f.npz")); }
std::string bytes_of(const Tensor& tensor) {
  std::vector<std::byte> scratch;
  return text_of(tensor.source->view(tensor.offset, tensor.bytes(), scratch));
}
std::string refusal(const std::string& content) {
  return message_of([&] { parse(one(content)); });
}

TEST(NpzTest, ReadsEveryDTypeAndVersion) {
  const std::vector<std::pair<std::string, DType>> types = {
      {"<f8", DType::kF64}, {"<f4", DType::kF32},  {"<f2", DType::kF16}, {"<i8", DType::kI64}, {"<i4", DType::kI32},
      {"<i2", DType::kI16}, {"|i1", DType::kI8},   {"<u8", DType::kU64}, {"<u4", DType::kU32}, {"<u2", DType::kU16},
      {"|u1", DType::kU8},  {"|b1", DType::kBool}, {"=f4", DType::kF32}, {">u1", DType::kU8},  {"f4", DType::kF32}};
  for (const auto& [descr, dtype] : types) {
    for (const int version : {1, 2, 3}) {
      const std::string data(static_cast<std::size_t>(bits(dtype) / 8) * 2, 'x');
      const NpzFile file = parse(one(npy(literal(descr, "(2,)"), data, version)));
      ASSERT_EQ(file.tensors.size(), 1u);
      EXPECT_EQ(file.tensors[0].name, "t");
      EXPECT_EQ(file.tensors[0].dtype, dtype);
      EXPECT_EQ(file.tensors[0].shape, Shape{2});
      EXPECT_EQ(bytes_of(file.tensors[0]), data);
    }
  }
}

TEST(NpzTest, Shapes) {
  const auto shape = [](const std::string& text, std::size_t bytes) {
    return parse(one(npy(literal("|u1", text), std::string(bytes, 'x')))).tensors.at(0).shape;
  };
  EXPECT_EQ(shape("()", 1), Shape{});
  EXPECT_EQ(shape("(3,)", 3), Shape{3});
  EXPECT_EQ(shape("(2, 3)", 6), (Shape{2, 3}));
  EXPECT_EQ(shape("(2L, 3L,)", 6), (Shape{2, 3}));
  EXPECT_EQ(shape("(0, 3)", 0), (Shape{0, 3}));
}

TEST(NpzTest, FortranOrderIsGatheredStoredOrDeflated) {
  const std::string content = npy(literal("|u1", "(2, 3)", "True"), "adbecf");
  for (const TestMember& member : {TestMember{"t.npy", content}, packed_member("t.npy", content)})
    EXPECT_EQ(bytes_of(parse(zip_of({member})).tensors.at(0)), "abcdef");
}

TEST(NpzTest, DeflatedMembersReadLikeStoredOnes) {
  const std::string data(100'000, 'z'), content = npy(literal("|u1", "(100000,)"), data);
  const std::string archive = zip_of({packed_member("z.npy", content)});
  EXPECT_LT(archive.size(), 1000u);
  EXPECT_EQ(bytes_of(parse(archive).tensors.at(0)), data);
}

TEST(NpzTest, Refusals) {
  EXPECT_EQ(message_of([] { parse(zip_of({{"t.txt", "x"}})); }), "the member is not an .npy array (f.npz: t.txt)");
  EXPECT_EQ(message_of([] { parse(zip_of({{"t.npy", "x", 12}})); }),
            "the zip member is packed by method 12 (f.npz: t.npy); only stored and deflated are read");
  EXPECT_EQ(refusal("short"), "the member is too short for an .npy array (f.npz: t.npy)");
  EXPECT_EQ(refusal(npy(literal("<f4", "()"), "1234", 4)),
            "the member is not an .npy array of version 1 to 3 (f.npz: t.npy)");
  EXPECT_EQ(refusal("\x93NUMPX\x01\x00xxxxxxx"s), "the member is not an .npy array of version 1 to 3 (f.npz: t.npy)");
  EXPECT_EQ(refusal("\x93NUMPY\x01\x00\xff\xff{}"s), "the .npy header claims 65535 bytes (f.npz: t.npy)");
  EXPECT_EQ(refusal("\x93NUMPY\x02\x00\xff\xff\xff\xff{}"s), "the .npy header claims 4294967295 bytes (f.npz: t.npy)");
  EXPECT_EQ(refusal(npy(literal("|O", "(1,)"), "x")),
            "the array's type is '|O', Python objects, which only Python can read (f.npz: t.npy)");
  EXPECT_EQ(refusal(npy(literal(">f4", "(1,)"), "1234")),
            "the array's type is '>f4', big-endian, which is not read (f.npz: t.npy)");
  for (const std::string descr : {"<c8", "<U2", "|V2", "<f16", "<M8[ns]", "<i3"})
    EXPECT_EQ(refusal(npy(literal(descr, "(1,)"), "x")),
              "the array's type is '" + descr + "', which is no tensor's (f.npz: t.npy)");
  EXPECT_EQ(refusal(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "1234")),
            "the array's type is structured, which is no tensor's (f.npz: t.npy)");
  EXPECT_EQ(refusal(npy(literal("<f4", "(2, 2)"), "1234")),
            "the array [2, 2] of F32 needs 16 bytes, the member has 4 (f.npz: t.npy)");
}

TEST(NpzTest, TheHeaderIsALiteralAndNothingElse) {
  for (const std::string& text :
       std::vector<std::string>{"", "{", "{}", "{'descr': '|u1', 'fortran_order': False}",
                                "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': (1)}",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': [1]}",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
                                "{'descr': '|u1' 'fortran_order': False, 'shape': (1,)}",
                                "{'descr': '\\x7c', 'fortran_order': False, 'shape': (1,)}",
                                "{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,)}",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999999999,)}",
                                "{'descr': '|u1', 'fortran_order': False, 'shape': (,)}"})
    EXPECT_EQ(refusal(npy(text, "xxxxxx")), "the .npy header is not the literal that NumPy writes (f.npz: t.npy)")
        << text;
}

TEST(NpzTest, CutAndFlippedArchives) {
  const std::string content = npy(literal("<f4", "(2,)"), "12345678");
  for (const TestMember& member : {TestMember{"t.npy", content}, packed_member("t.npy", content)}) {
    const std::string whole = zip_of({member});
    for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(message_of([&] { parse(whole.substr(0, n)); }), "") << n;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (const int bit : {1, 2, 4, 8, 16, 32, 64, 128}) {
        std::string damaged = whole;
        damaged[i] = static_cast<char>(damaged[i] ^ bit);
        try {
          for (const Tensor& tensor : parse(damaged).tensors) EXPECT_EQ(bytes_of(tensor).size(), tensor.bytes());
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::kInput) << error.what();
        }
      }
    }
  }
}

// Written by NumPy 2.4; the document names the call.
TEST(NpzTest, TheDocumentedExample) {
  const NpzFile file = parse(hex_example(SOLERA_SOURCE_DIR "/docs/formats/npz.md"));
  ASSERT_EQ(file.tensors.size(), 1u);
  EXPECT_EQ(file.tensors[0].name, "w");
  EXPECT_EQ(file.tensors[0].dtype, DType::kF16);
  EXPECT_EQ(file.tensors[0].shape, (Shape{2, 3}));
  EXPECT_EQ(bytes_of(file.tensors[0]), "\x00\x00\x00\x3c\x00\x40\x00\x42\x00\x44\x00\x45"s);
}

TEST(NpzWriteTest, RoundTripsWhatNumPyHas) {
  const TemporaryFolder folder;
  std::vector<NamedBytes> tensors;
  for (int i = 0; i <= 16; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (is_float(dtype) ? dtype > DType::kF16 : !is_integer(dtype)) continue;
    for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{2, 3}, Shape{40}}) {
      NamedBytes tensor{{cat(name(dtype), "/", shape.size(), ".", element_count(shape)), dtype, shape}, {}};
      tensor.bytes.resize(tensor.info.bytes());
      for (std::size_t k = 0; k < tensor.bytes.size(); ++k)
        tensor.bytes[k] = static_cast<std::byte>(k * 37 + tensors.size());
      tensors.push_back(std::move(tensor));
    }
  }
  ASSERT_EQ(tensors.size(), 4u * 12);
  write_safetensors(folder / "in.safetensors", tensors);
  write_npz(folder / "out.npz", open_checkpoint(folder / "in.safetensors"));
  const Checkpoint back = open_checkpoint(folder / "out.npz");
  EXPECT_EQ(back.format(), Format::kNpz);
  ASSERT_EQ(back.tensors().size(), tensors.size());
  for (const NamedBytes& tensor : tensors) {
    const Tensor& found = back.at(tensor.info.name);
    EXPECT_EQ(found.dtype, tensor.info.dtype);
    EXPECT_EQ(found.shape, tensor.info.shape);
    EXPECT_EQ(found.offset % 64, 0u);
    EXPECT_EQ(bytes_of(found), text_of(tensor.bytes)) << tensor.info.name;
  }
}

TEST(NpzWriteTest, TypesThatNumPyLacks) {
  const TemporaryFolder folder;
  for (const DType dtype : {DType::kBF16, DType::kF8E4M3, DType::kF8E5M2}) {
    test::write_model(folder / "in.safetensors", {test::tensor("t", dtype, {1}, {1})});
    EXPECT_EQ(message_of([&] { write_npz(folder / "out.npz", open_checkpoint(folder / "in.safetensors")); }),
              "NumPy has no type for " + std::string(name(dtype)) + " (t); --dtype float32");
  }
  EXPECT_FALSE(exists(folder / "out.npz"));
}

}  // namespace
}  // namespace solera::checkpoint
