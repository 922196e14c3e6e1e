#include "solera/checkpoint/safetensors.h"

#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;

std::shared_ptr<const Source> source_of(std::string_view content) {
  const auto bytes = std::as_bytes(std::span(content));
  return memory_source("f.safetensors", {bytes.begin(), bytes.end()});
}

// The length word, the header as given and so many bytes of tensors.
std::string file_of(std::string_view header, std::size_t data_bytes) {
  std::string text(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) text[i] = static_cast<char>(header.size() >> (8 * i));
  text += header;
  for (std::size_t i = 0; i < data_bytes; ++i) text += static_cast<char>(i + 1);
  return text;
}

SafetensorsFile parse(std::string_view header, std::size_t data_bytes) {
  return parse_safetensors(source_of(file_of(header, data_bytes)));
}

// One tensor's entry.
std::string entry(std::string_view name, std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return cat('"', name, R"(":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets, '}');
}

TEST(SafetensorsTest, ReadsTensorsInFileOrder) {
  const std::string header = "{" + entry("b", "F32", "[1,2]", "[0,8]") + "," + entry("a", "U8", "[3]", "[8,11]") +
                             R"(,"__metadata__":{"format":"pt","by":"us"}}  )";
  const SafetensorsFile file = parse(header, 11);
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].name, "b");
  EXPECT_EQ(file.tensors[0].dtype, DType::kF32);
  EXPECT_EQ(file.tensors[0].shape, (Shape{1, 2}));
  EXPECT_EQ(file.tensors[0].offset, 8 + header.size());
  EXPECT_EQ(file.tensors[1].name, "a");
  EXPECT_EQ(file.tensors[1].offset, 8 + header.size() + 8);
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"by", "us"}, {"format", "pt"}}));
  EXPECT_EQ(file.header_hash.size(), 32u);
}

TEST(SafetensorsTest, EveryDTypeIsRead) {
  for (int i = 0; i <= 16; ++i) {
    const auto dtype = static_cast<DType>(i);
    const auto bytes = static_cast<std::size_t>(bits(dtype) * 2 / 8);
    const SafetensorsFile file = parse("{" + entry("t", name(dtype), "[2]", cat("[0,", bytes, "]")) + "}", bytes);
    EXPECT_EQ(file.tensors.at(0).dtype, dtype);
  }
}

TEST(SafetensorsTest, ScalarsEmptyTensorsAndEmptyFilesAreFine) {
  const SafetensorsFile file =
      parse("{" + entry("none", "F32", "[0,3]", "[0,0]") + "," + entry("s", "F32", "[]", "[0,4]") + "," +
                entry("also_none", "F64", "[5,0]", "[4,4]") + R"(,"__metadata__":null})",
            4);
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors[0].elements(), 0);
  EXPECT_EQ(file.tensors[1].elements(), 1);
  EXPECT_TRUE(parse("{}", 0).tensors.empty());
}

TEST(SafetensorsTest, EscapedNamesAreUnescaped) {
  EXPECT_EQ(parse("{" + entry(R"(a\"\u00e9\n)", "U8", "[1]", "[0,1]") + "}", 1).tensors.at(0).name, "a\"\xC3\xA9\n");
}

struct BadHeader {
  const char* header;
  std::size_t data_bytes;
  const char* message;
};

class BadHeaderTest : public ::testing::TestWithParam<BadHeader> {};

TEST_P(BadHeaderTest, IsRefusedWithOneLine) {
  const BadHeader& bad = GetParam();
  EXPECT_EQ(message_of([&] { parse(bad.header, bad.data_bytes); }), bad.message);
}

#define ENTRY(name, dtype, shape, offsets) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

INSTANTIATE_TEST_SUITE_P(
    Safetensors, BadHeaderTest,
    ::testing::Values(
        BadHeader{"", 0, "the header does not begin with a brace (f.safetensors); not a safetensors file"},
        BadHeader{" {}", 0, "the header does not begin with a brace (f.safetensors); not a safetensors file"},
        BadHeader{"{]", 0, "the header is not valid JSON (f.safetensors)"},
        BadHeader{"{} {}", 0, "the header is not valid JSON (f.safetensors)"},
        BadHeader{"{\"\xFF\":1}", 0, "the header is not valid UTF-8 (f.safetensors)"},
        BadHeader{R"({"a":1})", 0, "a: its entry is not an object (f.safetensors)"},
        BadHeader{R"({"a":{"shape":[],"data_offsets":[0,0]}})", 0, "a: no dtype (f.safetensors)"},
        BadHeader{R"({"a":{"dtype":"F32","data_offsets":[0,0]}})", 0, "a: no shape (f.safetensors)"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[]}})", 0, "a: no data_offsets (f.safetensors)"},
        BadHeader{R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4,
                  "a: dtype appears twice (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[1]", "[0,1]") "," ENTRY("b", "U8", "[1]", "[1,2]") "," ENTRY("a", "U8", "[1]",
                                                                                                      "[2,3]") "}",
                  3, "a appears twice (f.safetensors)"},
        BadHeader{R"({"__metadata__":{},"__metadata__":{}})", 0, "__metadata__ appears twice (f.safetensors)"},
        BadHeader{R"({"__metadata__":{"k":"1","k":"2"}})", 0, "__metadata__: k appears twice (f.safetensors)"},
        BadHeader{R"({"__metadata__":{"k":1}})", 0, "__metadata__: k is not a string (f.safetensors)"},
        BadHeader{R"({"__metadata__":[]})", 0, "__metadata__ is not an object (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F6_E2M3", "[4]", "[0,3]") "}", 3, "a: unknown dtype \"F6_E2M3\" (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "float32", "[1]", "[0,4]") "}", 4, "a: unknown dtype \"float32\" (f.safetensors)"},
        BadHeader{R"({"a":{"dtype":5,"shape":[],"data_offsets":[0,4]}})", 4,
                  "a: dtype is not a string (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "4", "[0,4]") "}", 4, "a: shape is not a list (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[-1]", "[0,4]") "}", 4,
                  "a: shape holds something that is not a size (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[1.0]", "[0,4]") "}", 4,
                  "a: shape holds something that is not a size (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[9223372036854775808]", "[0,4]") "}", 4,
                  "a: shape holds something that is not a size (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0,
                  "a: shape [4294967296, 4294967296] has more entries than 63 bits count (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[0,4294967296,4294967296]", "[0,0]") "}", 0,
                  "a: shape [0, 4294967296, 4294967296] has more entries than 63 bits count (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[4611686018427387904]", "[0,0]") "}", 0,
                  "a: 4611686018427387904 entries of F32 take more bytes than 63 bits count (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F4", "[3]", "[0,2]") "}", 2,
                  "a: 3 entries of F4 do not fill whole bytes (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[2,3]", "[0,20]") "}", 20,
                  "a: [2, 3] of F32 takes 24 bytes, but data_offsets give 20 (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[1]", "[4,0]") "}", 4,
                  "a: data_offsets end at 0, before their begin at 4 (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[1]", "[0,4,8]") "}", 4,
                  "a: data_offsets is not a pair of offsets (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "F32", "[1]", "[-4,0]") "}", 4,
                  "a: data_offsets is not a pair of offsets (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[4]", "[0,4]") "," ENTRY("b", "U8", "[4]", "[2,6]") "}", 6,
                  "b: begins at 2, inside a, which ends at 4 (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[4]", "[0,4]") "," ENTRY("b", "U8", "[0]", "[2,2]") "}", 4,
                  "b: begins at 2, inside a, which ends at 4 (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[2]", "[0,2]") "," ENTRY("b", "U8", "[2]", "[3,5]") "}", 5,
                  "bytes 2 to 3, before b, belong to no tensor (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[2]", "[0,2]") "}", 5,
                  "the last 3 bytes of the file belong to no tensor (f.safetensors)"},
        BadHeader{"{" ENTRY("a", "U8", "[8]", "[0,8]") "}", 5,
                  "a: ends at 8, but the file has 5 bytes of tensors (f.safetensors); the file is truncated"},
        BadHeader{"{" ENTRY("a", "U8", "[0]", "[18446744073709551615,18446744073709551615]") "}", 0,
                  "bytes 0 to 18446744073709551615, before a, belong to no tensor (f.safetensors)"},
        BadHeader{R"({"a\n":1})", 0, "\"a\\n\": its entry is not an object (f.safetensors)"}));

#undef ENTRY

TEST(SafetensorsTest, LengthsThatCannotBeAreRefusedBeforeAnythingIsRead) {
  const auto with_length = [](std::uint64_t length) {
    std::string text(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) text[i] = static_cast<char>(length >> (8 * i));
    return source_of(text + "{}");
  };
  EXPECT_EQ(message_of([&] { parse_safetensors(source_of("1234567")); }),
            "not a safetensors file: 7 bytes are too few for a header (f.safetensors)");
  EXPECT_EQ(message_of([&] { parse_safetensors(with_length(100'000'001)); }),
            "the header's length is 100000001 bytes, more than the format's 100000000 (f.safetensors); "
            "not a safetensors file, or damaged");
  EXPECT_EQ(message_of([&] { parse_safetensors(with_length(100'000'000)); }),
            "the header's length is 100000000 bytes, but the file ends 2 bytes after it (f.safetensors); "
            "the file is truncated or not a safetensors file");
  EXPECT_THROW(parse_safetensors(with_length(UINT64_MAX)), Error);
}

// A small file with a bit of everything.
std::string whole_file() {
  std::vector<std::uint64_t> offsets;
  const std::vector<TensorInfo> tensors = {
      {"w.weight", DType::kF32, {2, 3}}, {"b", DType::kBF16, {3}}, {"n", DType::kU8, {}}};
  return safetensors_header(tensors, {{"format", "pt"}}, offsets) + std::string(31, '\x11');
}

// What a table must be, whatever bytes it came from.
void expect_sound(const SafetensorsFile& file, std::uint64_t file_bytes) {
  for (const Tensor& tensor : file.tensors) {
    EXPECT_LE(tensor.offset, file_bytes);
    EXPECT_LE(tensor.bytes(), file_bytes - tensor.offset);
  }
}

TEST(SafetensorsTest, TruncatedAnywhereItIsRefused) {
  const std::string whole = whole_file();
  ASSERT_EQ(parse_safetensors(source_of(whole)).tensors.size(), 3u);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse_safetensors(source_of(whole.substr(0, size))), Error) << size;
  }
}

TEST(SafetensorsTest, AnyBitOfTheHeaderMayFlip) {
  const std::string whole = whole_file();
  int refused = 0;
  for (std::size_t i = 0; i < whole.size() - 31; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      try {
        expect_sound(parse_safetensors(source_of(damaged)), damaged.size());
      } catch (const Error& error) {
        ++refused;
        EXPECT_EQ(error.kind(), ErrorKind::kInput);
        EXPECT_EQ(error.where(), "f.safetensors");
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(SafetensorsHeaderTest, IsDeterministicAndPadded) {
  std::vector<std::uint64_t> offsets;
  const std::vector<TensorInfo> tensors = {{"b\"\n", DType::kF32, {2}}, {"a", DType::kU8, {}}};
  const std::string header = safetensors_header(tensors, {{"format", "pt"}}, offsets);
  std::string expected = R"({"__metadata__":{"format":"pt"},"b\"\n":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("a":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";
  expected.resize((expected.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(header.substr(8), expected);
  EXPECT_EQ(header.size() % 8, 0u);
  EXPECT_EQ(offsets, (std::vector<std::uint64_t>{0, 8}));
  EXPECT_EQ(safetensors_header({}, {}, offsets).substr(8), "{}      ");
}

TEST(SafetensorsHeaderTest, RoundTripsForEveryNameLength) {
  for (std::size_t length = 0; length < 20; ++length) {
    std::vector<std::uint64_t> offsets;
    const std::vector<TensorInfo> tensors = {{std::string(length, 'n'), DType::kI16, {1, 2}}};
    const std::string header = safetensors_header(tensors, {}, offsets);
    EXPECT_EQ(header.size() % 8, 0u);
    const SafetensorsFile file = parse_safetensors(source_of(header + "1234"));
    EXPECT_EQ(file.tensors.at(0).name, tensors[0].name);
    EXPECT_EQ(file.tensors.at(0).offset, header.size());
  }
}

TEST(SafetensorsHeaderTest, RefusesWhatNoReaderWouldTake) {
  std::vector<std::uint64_t> offsets;
  const auto header = [&](const TensorInfo& tensor) { return safetensors_header(std::span(&tensor, 1), {}, offsets); };
  EXPECT_EQ(message_of([&] { header({"\xFF", DType::kU8, {}}); }),
            "a tensor's name is not valid UTF-8, as safetensors requires");
  EXPECT_EQ(message_of([&] { header({"__metadata__", DType::kU8, {}}); }),
            "a tensor is named __metadata__, which safetensors reserves");
  EXPECT_EQ(message_of([&] { header({std::string(kMaxHeaderBytes, 'n'), DType::kU8, {}}); }),
            "the header would be longer than safetensors' 100000000 bytes; write more shards");
}

// docs/formats/safetensors.md shows a file in hexadecimal: it must be one, and be what we write.
TEST(SafetensorsDocumentTest, TheExampleIsTrue) {
  const std::string page = test::slurp(std::string(SOLERA_SOURCE_DIR) + "/docs/formats/safetensors.md");
  std::string bytes;
  for (const std::string& line : split(page, '\n')) {  // "00000000  50 00 ...  |P.......|"
    if (line.find_first_not_of("0123456789abcdef") != 8 || line.size() < 59) continue;
    for (std::size_t at = 10; at + 1 < 59; at += at == 31 ? 4 : 3) {
      if (line[at] == ' ') break;
      bytes += static_cast<char>(std::stoi(line.substr(at, 2), nullptr, 16));
    }
  }
  const SafetensorsFile file = parse_safetensors(source_of(bytes));
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].name, "b");
  EXPECT_EQ(file.tensors[1].name, "a");
  const TemporaryFolder folder;
  const std::string path = test::write_model(folder / "x.safetensors", {test::tensor("a", DType::kBF16, {3}, {1, 2, 3}),
                                                                        test::tensor("b", DType::kF32, {1}, {0.5})});
  EXPECT_EQ(test::slurp(path), bytes);
}

}  // namespace
}  // namespace solera::checkpoint
