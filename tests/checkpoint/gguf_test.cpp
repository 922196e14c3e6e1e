#include "solera/checkpoint/gguf.h"

#include "solera/base/files.h"
#include "tests/checkpoint/archives.h"
#include "tests/checkpoint/gguf_files.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using namespace std::string_literals;
using test::message_of;

GgufFile parse(const std::string& bytes) { return parse_gguf(source_of(bytes, "f.gguf")); }
std::string refusal(const std::string& bytes) {
  return message_of([&] { parse(bytes); });
}
std::string bytes_of(const Tensor& tensor) {
  std::vector<std::byte> scratch;
  return text_of(tensor.source->view(tensor.offset, tensor.bytes(), scratch));
}

// Two tensors, of F32 and of Q8_0, and some metadata.
TestGguf example() {
  TestGguf file;
  file.metadata.text("general.architecture", "llama");
  file.metadata.u32("llama.block_count", 1);
  file.metadata.f32("llama.rope.freq_base", 1e-5f);
  file.metadata.boolean("flag", true);
  const std::vector<std::string> words = {"a", "bc"};
  file.metadata.texts("words", words);
  const std::vector<float> scores = {0, -1};
  file.metadata.f32s("scores", scores);
  file.tensors = {{"w", {3, 2}, 0, 0}, {"q", {32}, 8, 32}};
  file.data = "aaaabbbbccccddddeeeeffff" + std::string(8, '\0') + "\x00\x3c"s + std::string(32, '\x02');
  return file;
}

TEST(GgufTest, ReadsMetadataAndTensors) {
  for (const std::uint32_t version : {2, 3}) {
    TestGguf made = example();
    made.version = version;
    const GgufFile file = parse(made.bytes());
    EXPECT_EQ(file.version, version);
    ASSERT_EQ(file.metadata.size(), 6u);
    EXPECT_EQ(file.find("general.architecture")->summary(), "llama");
    EXPECT_EQ(file.find("llama.block_count")->integer(), 1);
    EXPECT_EQ(file.find("llama.rope.freq_base")->number(), 1e-5);  // not 9.99999974737875e-06
    EXPECT_EQ(file.find("flag")->summary(), "true");
    EXPECT_EQ(file.find("words")->summary(), "[2 strings]");
    EXPECT_EQ(file.find("scores")->summary(), "[2 float32]");
    EXPECT_EQ(file.find("none"), nullptr);
    ASSERT_EQ(file.tensors.size(), 2u);
    EXPECT_EQ(file.tensors[0].shape, (Shape{2, 3}));
    EXPECT_EQ(bytes_of(file.tensors[0]), "aaaabbbbccccddddeeeeffff");
    EXPECT_EQ(file.tensors[1].dtype, DType::kF32);
    EXPECT_EQ(file.tensors[1].encoding, "Q8_0");
    EXPECT_EQ(file.tensors[1].encoded_bytes, 34u);
    std::string twos;
    for (int i = 0; i < 32; ++i) twos += "\x00\x00\x00\x40"s;
    EXPECT_EQ(bytes_of(file.tensors[1]), twos);
    EXPECT_EQ(file.header_hash, parse(made.bytes()).header_hash);
  }
}

TEST(GgufTest, ReadsWithoutAMapping) {
  const std::string bytes = example().bytes();
  const GgufFile file = parse_gguf(std::make_shared<CopyingSource>(bytes));
  EXPECT_EQ(file.header_hash, parse(bytes).header_hash);
  EXPECT_EQ(bytes_of(file.tensors[1]), bytes_of(parse(bytes).tensors[1]));
}

TEST(GgufTest, NumbersOfEveryKind) {
  TestGguf file;
  const auto add = [&](const std::string& key, std::uint32_t kind, const std::string& value) {
    file.more_metadata += gguf_text(key);
    append_little<std::uint32_t>(file.more_metadata, kind);
    file.more_metadata += value;
    ++file.more_pairs;
  };
  add("u8", 0, "\xff");
  add("i8", 1, "\xff");
  add("u16", 2, "\xff\xff");
  add("i16", 3, "\xfe\xff");
  add("i32", 5, "\xfd\xff\xff\xff");
  add("u64", 10, "\xff\xff\xff\xff\xff\xff\xff\xff");
  add("i64", 11, "\xfc\xff\xff\xff\xff\xff\xff\xff");
  add("f64", 12, "\x00\x00\x00\x00\x00\x00\xe0\x3f"s);
  add("text", 8, gguf_text("line\nand \"quote\" " + std::string(120, 'x')));
  const GgufFile parsed = parse(file.bytes());
  const auto summary = [&](const char* key) { return parsed.find(key)->summary(); };
  EXPECT_EQ(summary("u8"), "255");
  EXPECT_EQ(summary("i8"), "-1");
  EXPECT_EQ(summary("u16"), "65535");
  EXPECT_EQ(summary("i16"), "-2");
  EXPECT_EQ(summary("i32"), "-3");
  EXPECT_EQ(summary("u64"), "18446744073709551615");
  EXPECT_EQ(parsed.find("u64")->integer(), std::nullopt);
  EXPECT_EQ(summary("i64"), "-4");
  EXPECT_EQ(summary("f64"), "0.5");
  EXPECT_EQ(summary("text"), "line\\nand \\\"quote\\\" " + std::string(80, 'x') + "... (137 bytes)");
}

TEST(GgufTest, TheAlignmentIsTheFiles) {
  TestGguf file = example();
  file.metadata.u32("general.alignment", 64);
  file.alignment = 64;
  file.tensors[1].offset = 64;
  file.data.insert(32, 32, '\0');
  EXPECT_EQ(bytes_of(parse(file.bytes()).tensors[0]), "aaaabbbbccccddddeeeeffff");
  file.tensors[1].offset = 32;
  EXPECT_EQ(refusal(file.bytes()), "q: begins at 32, which is no multiple of 64 (f.gguf)");
  for (const std::uint32_t wrong : {0u, 24u}) {
    TestGguf bad = example();
    bad.metadata.u32("general.alignment", wrong);
    EXPECT_EQ(refusal(bad.bytes()), cat("general.alignment is ", wrong, ", not a power of two (f.gguf)"));
  }
  TestGguf text = example();
  text.metadata.text("general.alignment", "32");
  EXPECT_EQ(refusal(text.bytes()), "general.alignment is of kind string, not uint32 (f.gguf)");
}

TEST(GgufTest, HeadersThatAreNone) {
  const std::string whole = example().bytes();
  EXPECT_EQ(refusal("GGUF"), "not a GGUF file: 4 bytes are too few for a header (f.gguf)");
  EXPECT_EQ(refusal(std::string(24, 'x')), "not a GGUF file: it does not begin with GGUF (f.gguf)");
  TestGguf file = example();
  for (const std::uint32_t version : {0, 1, 4}) {
    file.version = version;
    EXPECT_EQ(refusal(file.bytes()), cat("version ", version, " of GGUF is not read (f.gguf); versions 2 and 3 are"));
  }
  file.version = 0x03000000;
  EXPECT_EQ(refusal(file.bytes()), "the file is big-endian GGUF, which is not read (f.gguf)");
}

TEST(GgufTest, CountsAndLengthsBeyondTheFile) {
  const auto patched = [](std::size_t at, const std::string& bytes) {
    std::string file = example().bytes();
    return file.replace(at, bytes.size(), bytes);
  };
  const std::string hint = " (f.gguf); the file is truncated or damaged", most(8, '\xff');
  const std::size_t rest = example().bytes().size() - 24;
  EXPECT_EQ(refusal(patched(8, most)),
            cat("the header claims 18446744073709551615 tensors, but only ", rest, " bytes follow", hint));
  EXPECT_EQ(refusal(patched(16, most)),
            cat("the header claims 18446744073709551615 metadata entries, but only ", rest, " bytes follow", hint));
  EXPECT_EQ(refusal(patched(24, most)),
            cat("a string in the metadata claims 18446744073709551615 bytes, but only ", rest - 8, " follow", hint));
  EXPECT_EQ(refusal(patched(24 + 8 + 20 + 4, "\xff\xff\xff\xff\xff\xff\xff\x7f")),
            cat("a string in metadata general.architecture claims 9223372036854775807 bytes, but only ",
                rest - 8 - 20 - 4 - 8, " follow", hint));
  TestGguf file;
  file.more_metadata = gguf_text("k") + "\x09\x00\x00\x00\x08\x00\x00\x00"s + most + std::string(16, '\0');
  file.more_pairs = 1;
  EXPECT_EQ(refusal(file.bytes()), "metadata k claims 18446744073709551615 strings, but only 16 bytes follow" + hint);
  file.more_metadata = gguf_text("k") + "\x09\x00\x00\x00\x0c\x00\x00\x00"s + most + std::string(16, '\0');
  EXPECT_EQ(refusal(file.bytes()), "metadata k claims 18446744073709551615 float64, but only 16 bytes follow" + hint);
  file.more_metadata = gguf_text("k") + "\x0c\x00\x00\x00\x00\x00"s;
  EXPECT_EQ(refusal(file.bytes()), "the header ends inside metadata k: 8 bytes wanted, 2 left" + hint);
}

TEST(GgufTest, MetadataThatIsWrong) {
  TestGguf file = example();
  file.metadata.u32("flag", 1);
  EXPECT_EQ(refusal(file.bytes()), "metadata flag appears twice (f.gguf)");
  const auto raw = [](const std::string& value) {
    TestGguf one;
    one.more_metadata = gguf_text("k") + value;
    one.more_pairs = 1;
    return one.bytes();
  };
  EXPECT_EQ(refusal(raw("\x0d\x00\x00\x00\x00"s)), "metadata k has the unknown kind 13 (f.gguf)");
  EXPECT_EQ(refusal(raw("\x07\x00\x00\x00\x02"s)), "metadata k is a bool of value 2 (f.gguf)");
  EXPECT_EQ(refusal(raw("\x09\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"s)),
            "metadata k is an array of arrays (f.gguf)");
  TestGguf key = example();
  key.metadata.u32("\xff", 1);
  EXPECT_EQ(refusal(key.bytes()), "the key of metadata ? is not valid UTF-8 (f.gguf)");
}

TEST(GgufTest, TensorsThatAreWrong) {
  const auto with = [](const TestTensor& tensor, std::size_t data = 1024) {
    TestGguf file;
    file.tensors = {tensor};
    file.data.resize(data);
    return refusal(file.bytes());
  };
  EXPECT_EQ(with({"t", {1}, 77}), "t: unknown type 77 (f.gguf)");
  EXPECT_EQ(with({"t", {256}, 16}), "t: type 16 (IQ2_XXS) is not read (f.gguf)");
  EXPECT_EQ(with({"t", {1, 1, 1, 1, 1}}), "t: 5 dimensions, more than GGUF's 4 (f.gguf)");
  EXPECT_EQ(with({"t", {1ull << 63}}), "t: an extent of 9223372036854775808 is more than 63 bits count (f.gguf)");
  EXPECT_EQ(with({"t", {1ull << 32, 1ull << 32}}),
            "t: shape [4294967296, 4294967296] has more entries than 63 bits count (f.gguf)");
  EXPECT_EQ(with({"t", {1ull << 62}}),
            "t: 4611686018427387904 entries of F32 take more bytes than 63 bits count (f.gguf)");
  EXPECT_EQ(with({"t", {33, 2}, 8}), "t: rows of 33 are no whole blocks of Q8_0, which have 32 (f.gguf)");
  EXPECT_EQ(with({"t", {}, 12}), "t: rows of 1 are no whole blocks of Q4_K, which have 256 (f.gguf)");
  EXPECT_EQ(with({"t", {2}, 0, 16}), "t: begins at 16, which is no multiple of 32 (f.gguf)");
  EXPECT_EQ(with({"t", {9}}, 32),
            "t: 36 bytes at 0 pass the end of the 32 bytes of tensors (f.gguf); the file is truncated or damaged");
  EXPECT_EQ(with({"t", {1}, 0, UINT64_MAX - 31}),
            "t: 4 bytes at 18446744073709551584 pass the end of the 1024 bytes of tensors (f.gguf); the file is "
            "truncated or damaged");
  EXPECT_EQ(with({"\xff", {1}}), "?: the name is not valid UTF-8 (f.gguf)");
  TestGguf file = example();
  file.tensors[1].name = "w";
  EXPECT_EQ(refusal(file.bytes()), "w appears twice (f.gguf)");
  file = example();
  file.tensors[1].offset = 0;
  EXPECT_EQ(refusal(file.bytes()), "q: begins at 0, inside w, which ends at 24 (f.gguf)");
}

TEST(GgufTest, EmptyTensorsAndScalars) {
  TestGguf file;
  file.tensors = {{"none", {0, 3}, 0, 32}, {"one", {}, 0, 0}, {"two", {1}, 0, 32}};
  file.data = "1234" + std::string(28, '\0') + "5678";
  const GgufFile parsed = parse(file.bytes());
  EXPECT_EQ(parsed.tensors[0].shape, (Shape{3, 0}));
  EXPECT_EQ(parsed.tensors[1].shape, Shape{});
  EXPECT_EQ(bytes_of(parsed.tensors[1]), "1234");
  EXPECT_EQ(bytes_of(parsed.tensors[2]), "5678");
  EXPECT_TRUE(parse(TestGguf{}.bytes()).tensors.empty());
}

TEST(GgufTest, CutAndFlippedFiles) {
  const std::string whole = example().bytes();
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(refusal(whole.substr(0, n)), "") << n;
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

// The document's bytes, and the writer makes the same.
TEST(GgufTest, TheDocumentedExample) {
  const std::string bytes = hex_example(SOLERA_SOURCE_DIR "/docs/formats/gguf.md");
  const GgufFile file = parse(bytes);
  ASSERT_EQ(file.tensors.size(), 1u);
  EXPECT_EQ(file.tensors[0].name, "w");
  EXPECT_EQ(file.tensors[0].shape, (Shape{1, 2}));
  EXPECT_EQ(bytes_of(file.tensors[0]), "\x00\x00\x80\x3f\x00\x00\x00\x40"s);
  GgufMetadata metadata;
  metadata.text("general.architecture", "llama");
  const std::vector<GgufTensor> tensors = {{"w", {1, 2}, &gguf_type("F32")}};
  const Layout layout = plan_gguf(tensors, metadata);
  EXPECT_EQ(layout.files[0].header, bytes.substr(0, layout.files[0].header.size()));
  EXPECT_EQ(layout.files[0].bytes, bytes.size());
}

TEST(GgufWriteTest, LayoutsAreAlignedAndNamesFit) {
  const std::vector<GgufTensor> tensors = {
      {"b", {3}, &gguf_type("F16")}, {"a", {2, 64}, &gguf_type("Q8_0")}, {std::string(63, 'n'), {}, &gguf_type("F32")}};
  const Layout layout = plan_gguf(tensors, {});
  const std::uint64_t header = layout.files[0].header.size();
  EXPECT_EQ(header % 32, 0u);
  EXPECT_EQ(layout.places[0].offset, header);
  EXPECT_EQ(layout.places[1].offset, header + 32);
  EXPECT_EQ(layout.places[2].offset, header + 32 + 160);  // 136 bytes, rounded up
  EXPECT_EQ(layout.files[0].bytes, header + 32 + 160 + 32);
  EXPECT_EQ(layout.tensors[1].bytes(), 136u);
  const std::vector<GgufTensor> longer = {{std::string(64, 'n'), {}, &gguf_type("F32")}};
  EXPECT_EQ(message_of([&] { plan_gguf(longer, {}); }),
            std::string(64, 'n') + ": the name has 64 bytes, more than the 63 of GGUF");
}

}  // namespace
}  // namespace solera::checkpoint
