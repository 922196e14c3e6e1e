#include "solera/checkpoint/torch.h"

#include <map>

#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/zip.h"
#include "tests/checkpoint/archives.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using namespace std::string_literals;
using test::message_of;

TorchFile parse(const std::string& archive) { return parse_torch(source_of(archive)); }

// "name dtype shape: bytes in hex" of every tensor, in the file's order.
std::vector<std::string> lines(const TorchFile& file) {
  std::vector<std::string> result;
  for (const Tensor& tensor : file.tensors) {
    std::vector<std::byte> scratch;
    std::string line = cat(tensor.name, " ", name(tensor.dtype), " ", shape_text(tensor.shape), ": ");
    for (const char c : text_of(tensor.source->view(tensor.offset, tensor.bytes(), scratch))) {
      line += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
      line += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
    }
    result.push_back(line);
  }
  return result;
}
using Lines = std::vector<std::string>;

const TestMember kBytes{"archive/data/0", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"s};  // NOLINT

// An archive with entries "name: value" and the storage 0 of twelve bytes.
std::string archive_of(const std::string& entries) { return torch_zip(pickles::dictionary(entries), {kBytes}); }

std::string bytes_tensor(std::int64_t offset, const std::vector<std::int64_t>& shape,
                         const std::vector<std::int64_t>& strides) {
  return pickles::tensor("ByteStorage", "0", 12, offset, shape, strides);
}
std::string refusal(const std::string& entries) {
  return message_of([&] { parse(archive_of(entries)); });
}

TEST(TorchTest, ReadsViewsInRowMajorOrder) {
  using pickles::text;
  const TorchFile file = parse(archive_of(text("whole") + bytes_tensor(0, {3, 4}, {4, 1}) +     //
                                          text("turned") + bytes_tensor(0, {4, 3}, {1, 4}) +    //
                                          text("slice") + bytes_tensor(5, {2, 2}, {4, 2}) +     //
                                          text("expanded") + bytes_tensor(2, {2, 3}, {0, 1}) +  //
                                          text("scalar") + bytes_tensor(11, {}, {}) +           //
                                          text("empty") + bytes_tensor(12, {0, 5}, {5, 1}) +    //
                                          text("short") + pickles::tensor("ShortStorage", "0", 6, 1, {2}, {3})));
  EXPECT_EQ(lines(file), (Lines{"whole U8 [3, 4]: 000102030405060708090a0b",
                                "turned U8 [4, 3]: 000408010509"
                                "02060a03070b",
                                "slice U8 [2, 2]: 0507090b", "expanded U8 [2, 3]: 020304020304", "scalar U8 []: 0b",
                                "empty U8 [0, 5]: ", "short I16 [2]: 02030809"}));
}

TEST(TorchTest, EveryStorageClassAndDType) {
  using namespace pickles;
  const std::vector<std::pair<std::string, DType>> classes = {
      {"DoubleStorage", DType::kF64},    {"FloatStorage", DType::kF32}, {"HalfStorage", DType::kF16},
      {"BFloat16Storage", DType::kBF16}, {"LongStorage", DType::kI64},  {"IntStorage", DType::kI32},
      {"ShortStorage", DType::kI16},     {"CharStorage", DType::kI8},   {"ByteStorage", DType::kU8},
      {"BoolStorage", DType::kBool}};
  for (const auto& [storage_class, dtype] : classes)
    EXPECT_EQ(parse(archive_of(text("t") + tensor(storage_class, "0", 1, 0, {1}, {1}))).tensors.at(0).dtype, dtype);
  for (const DType dtype :
       {DType::kF8E4M3, DType::kF8E5M2, DType::kF8E8M0, DType::kU16, DType::kU32, DType::kU64, DType::kF32}) {
    const std::string untyped = "(" + text("storage") + global("torch.storage", "UntypedStorage") + text("0") +
                                text("cpu") + integer(12) + "tQ";
    const std::string call = global("torch._utils", "_rebuild_tensor_v3") + "(" + untyped + integer(0) + tuple({1}) +
                             tuple({1}) + "\x89" + global("collections", "OrderedDict") + ")R" +
                             global("torch", torch_name(dtype)) + "tR";
    EXPECT_EQ(parse(archive_of(text("t") + call)).tensors.at(0).dtype, dtype);
  }
}

TEST(TorchTest, ParametersAreTheirTensors) {
  const std::string hooks = pickles::global("collections", "OrderedDict") + ")R";
  const std::string parameter =
      pickles::global("torch._utils", "_rebuild_parameter") + "(" + bytes_tensor(1, {2}, {1}) + "\x88" + hooks + "tR";
  EXPECT_EQ(lines(parse(archive_of(pickles::text("p") + parameter))), Lines{"p U8 [2]: 0102"});
  EXPECT_EQ(refusal(pickles::text("p") + pickles::global("torch._utils", "_rebuild_parameter") + "(N\x88tR"),
            "the parameter is made of something that is not a tensor (f.pt: p)");
}

TEST(TorchTest, NamesOfNestedEntries) {
  using pickles::text;
  const std::string t = bytes_tensor(0, {1}, {1});
  const TorchFile file =
      parse(archive_of(text("a") + "}(" + text("b") + t + text("list") + "](" + t + "N" + t + "eu" +  //
                       "K\x07" + t + text("epoch") + "K\x03" + text("options") + "}" + text("x") + "Ns"));
  Lines names;
  for (const Tensor& tensor : file.tensors) names.push_back(tensor.name);
  EXPECT_EQ(names, (Lines{"a.b", "a.list.0", "a.list.2", "7"}));
  EXPECT_EQ(file.skipped, (Lines{"a.list.1", "epoch", "options"}));
}

TEST(TorchTest, AWrapperIsKeptOutOfTheNames) {
  using pickles::text;
  const std::string t = bytes_tensor(0, {1}, {1}), inner = "}" + text("w") + t + "s", optimizer = "}K\x00"s + t + "s";
  for (const std::string wrapper : {"state_dict", "model", "model_state_dict"}) {
    const TorchFile file =
        parse(archive_of(text("epoch") + "K\x03" + text(wrapper) + inner + text("optimizer") + optimizer));
    ASSERT_EQ(file.tensors.size(), 1u);
    EXPECT_EQ(file.tensors[0].name, "w");
    EXPECT_EQ(file.skipped, (Lines{"epoch", "optimizer"}));
  }
  // Not a wrapper: beside a tensor, twice, or of another name.
  EXPECT_EQ(parse(archive_of(text("model") + inner + text("t") + t)).tensors.at(0).name, "model.w");
  EXPECT_EQ(parse(archive_of(text("model") + inner + text("state_dict") + inner)).tensors.size(), 2u);
  EXPECT_EQ(parse(archive_of(text("net") + inner)).tensors.at(0).name, "net.w");
}

TEST(TorchTest, TiedTensorsShareTheirStorage) {
  using pickles::text;
  const TorchFile file =
      parse(archive_of(text("b") + bytes_tensor(0, {4}, {1}) + text("a") + bytes_tensor(0, {4}, {1}) + text("other") +
                       bytes_tensor(4, {4}, {1}) + text("shape") + bytes_tensor(0, {2, 2}, {2, 1})));
  EXPECT_EQ(file.tensors[0].storage, "b");
  EXPECT_EQ(file.tensors[1].storage, "b");
  EXPECT_EQ(file.tensors[2].storage, "");  // the same storage, other bytes
  EXPECT_EQ(file.tensors[3].storage, "");
}

TEST(TorchTest, RefusesOtherFormatsByName) {
  const auto message = [](const std::string& bytes) { return message_of([&] { parse(bytes); }); };
  EXPECT_EQ(message("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e\x80\x02M\xe9\x03."s),
            "the file has the format that PyTorch wrote before 1.6 (f.pt); load it with torch.load and save it again");
  EXPECT_EQ(message("\x80\x04N."), "the file is a plain pickle, not a PyTorch archive (f.pt); save it with torch.save");
  EXPECT_EQ(message(zip_of({{"a/b.txt", "x"}})), "the zip archive has no data.pkl: it is not from torch.save (f.pt)");
  const std::string pickle = pickles::dictionary("");
  for (const std::string member : {"archive/constants.pkl", "archive/code/__torch__.py"})
    EXPECT_EQ(message(torch_zip(pickle, {{member, "x"}})),
              "the archive is a TorchScript program (f.pt); save the model's state_dict() alone");
  EXPECT_EQ(message(torch_zip(pickle, {{"other/data.pkl", pickle}})), "the archive has two data.pkl (f.pt)");
  EXPECT_EQ(message(torch_zip(pickle, {packed_member("archive/data/0", "xxxxxxxxxx")})),
            "the member is compressed, which torch.save never does (f.pt: archive/data/0)");
  EXPECT_EQ(message(zip_of({{"archive/data.pkl", pickle}, {"archive/byteorder", "big"}})),
            "the archive's byte order is not little (f.pt)");
}

TEST(TorchTest, Refusals) {
  using namespace pickles;
  const std::string t = text("t");
  EXPECT_EQ(refusal(t + global("os", "system") + text("ls") + "\x85R"),
            "the pickle calls os.system, which is not part of a state dict (f.pt: archive/data.pkl); "
            "save the model's state_dict() alone");
  EXPECT_EQ(refusal(t + bytes_tensor(0, {13}, {1})),
            "the tensor reaches to element 0 + 13 of storage data/0, which has 12 (f.pt: t)");
  EXPECT_EQ(refusal(t + bytes_tensor(13, {0}, {1})),
            "the tensor reaches to element 13 + 0 of storage data/0, which has 12 (f.pt: t)");
  EXPECT_EQ(refusal(t + bytes_tensor(INT64_MAX, {2}, {1})),
            "the tensor reaches to element 9223372036854775807 + 2 of storage data/0, which has 12 (f.pt: t)");
  EXPECT_EQ(refusal(t + bytes_tensor(0, {2}, {INT64_MAX})), "shape and strides reach further than 63 bits (f.pt: t)");
  EXPECT_EQ(refusal(t + bytes_tensor(0, {2}, {})), "a tensor has 1 dimensions but 0 strides (f.pt: t)");
  EXPECT_EQ(refusal(t + bytes_tensor(0, {-2}, {1})),
            "the tensor is described by something that is not a whole number of at least 0 (f.pt: t)");
  EXPECT_EQ(refusal(t + bytes_tensor(0, {20'000'000'000}, {0})), "the tensor would expand 12 B to 20.0 GB (f.pt: t)");
  EXPECT_EQ(refusal(t + tensor("FloatStorage", "0", 4, 0, {1}, {1})),
            "storage data/0 has 12 bytes, fewer than its 4 elements of 4 bytes need (f.pt: t)");
  EXPECT_EQ(refusal(t + tensor("FloatStorage", "9", 4, 0, {1}, {1})),
            "the archive lacks the tensor's storage data/9 (f.pt: t)");
  EXPECT_EQ(refusal(t + tensor("Size", "0", 4, 0, {1}, {1})),
            "the tensor is stored as torch.Size, which is no storage (f.pt: t)");
  EXPECT_EQ(refusal(t + tensor("UntypedStorage", "0", 4, 0, {1}, {1})),
            "the tensor's element type is not known (f.pt: t)");
  EXPECT_EQ(refusal(t + global("torch._utils", "_rebuild_tensor_v2") + ")R"),
            "the tensor is made of 0 pieces, fewer than 4 (f.pt: t)");
  EXPECT_EQ(refusal(t + global("torch._utils", "_rebuild_tensor_v2") + "(K\x01K\x01K\x01K\x01tR"),
            "the tensor's storage is not named as PyTorch names it (f.pt: t)");
  EXPECT_EQ(refusal(t + bytes_tensor(0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1))),
            "the tensor's shape is not a tuple of at most 64 numbers (f.pt: t)");
  EXPECT_EQ(refusal("N" + bytes_tensor(0, {1}, {1})),
            "a key of the dictionary is neither text nor a whole number (f.pt)");
  EXPECT_EQ(refusal(text(std::string(5000, 'n')) + bytes_tensor(0, {1}, {1})),
            "a tensor's name has more than 4096 bytes (f.pt)");
  EXPECT_EQ(message_of([] { parse(torch_zip("\x80\x02K\x01.", {})); }),
            "the archive does not hold a dictionary of tensors (f.pt)");
  EXPECT_EQ(message_of([] { parse(torch_zip("\x80\x02" + bytes_tensor(0, {1}, {1}) + ".", {kBytes})); }),
            "the archive holds one tensor without a name, not a state dict (f.pt)");
}

TEST(TorchTest, NestingIsBounded) {
  using namespace pickles;
  const std::string deep = "the pickle is nested more than 64 deep (f.pt)";
  for (const bool with_tensor : {false, true}) {
    const auto nested = [&](int depth) {
      std::string value = with_tensor ? bytes_tensor(0, {1}, {1}) : "N";
      for (int i = 0; i < depth; ++i) value += "\x85";
      return text("t") + value;
    };
    EXPECT_EQ(parse(archive_of(nested(64))).tensors.size(), with_tensor ? 1u : 0u);
    EXPECT_EQ(refusal(nested(65)), deep);
    EXPECT_EQ(refusal(nested(100'000)), deep);
  }
  EXPECT_EQ(refusal(text("t") + "]q\x01h\x01"
                                "a"),
            "the pickle holds a container that contains itself (f.pt)");
}

TEST(TorchTest, SharedContainersDoNotUnfoldWithoutEnd) {
  std::string value = bytes_tensor(0, {1}, {1});
  for (int i = 0; i < 40; ++i) value += "2\x86";  // each level names the one below twice: 2^40 tensors
  EXPECT_EQ(refusal(pickles::text("t") + value),
            "the pickle unfolds to more than 1000000 entries or their names to more than 100.0 MB (f.pt)");
}

// What is accepted in spite of a cut or a flip is a table of tensors whose bytes can be read.
TEST(TorchTest, CutAndFlippedArchives) {
  const std::string whole = archive_of(pickles::text("turned") + bytes_tensor(0, {4, 3}, {1, 4}));
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(message_of([&] { parse(whole.substr(0, n)); }), "") << n;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (const int bit : {1, 2, 4, 8, 16, 32, 64, 128}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ bit);
      try {
        EXPECT_EQ(lines(parse(damaged)).size(), 1u);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInput) << error.what();
      }
    }
  }
  // The same inside the pickle, past its checksum.
  const std::string pickle = pickles::dictionary(pickles::text("turned") + bytes_tensor(0, {4, 3}, {1, 4}));
  for (std::size_t i = 0; i < pickle.size(); ++i) {
    for (const int bit : {1, 2, 4, 8, 16, 32, 64, 128}) {
      std::string damaged = pickle;
      damaged[i] = static_cast<char>(damaged[i] ^ bit);
      try {
        lines(parse(torch_zip(damaged, {kBytes})));
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInput) << error.what();
      }
    }
  }
}

TEST(TorchTest, ARealArchiveEqualsItsSafetensors) {
  SOLERA_NEEDS_DATA();
  const std::string folder = join_path(test::data_folder(), "checkpoints");
  const Checkpoint a = open_checkpoint(join_path(folder, "cifar-resnet20.pt")),
                   b = open_checkpoint(join_path(folder, "cifar-resnet20.safetensors"));
  EXPECT_EQ(a.format(), Format::kTorch);
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  ASSERT_GT(a.tensors().size(), 50u);
  std::vector<std::byte> first, second;
  for (std::size_t i = 0; i < a.tensors().size(); ++i) {
    const Tensor &x = a.tensors()[i], &y = b.tensors()[i];
    EXPECT_EQ(x.name, y.name);
    EXPECT_EQ(x.shape, y.shape);
    ASSERT_EQ(x.dtype, y.dtype);
    EXPECT_EQ(text_of(a.read(x, 0, x.bytes(), first)), text_of(b.read(y, 0, y.bytes(), second))) << x.name;
  }
}

// Written by PyTorch 2.15; the document names the call.
TEST(TorchTest, TheDocumentedExample) {
  const std::string archive = hex_example(SOLERA_SOURCE_DIR "/docs/formats/pytorch.md");
  const TorchFile file = parse(archive);
  EXPECT_EQ(lines(file), Lines{"w F32 [3, 2]: 0000000000004040"
                               "0000803f00008040"
                               "000000400000a040"});
}

class TorchWriteTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path_ = folder_ / "out.pt";
};

TEST_F(TorchWriteTest, RoundTripsEveryDType) {
  std::vector<NamedBytes> tensors;
  for (int i = 0; i <= 16; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (dtype == DType::kF4) continue;
    for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{2, 3}, Shape{300}}) {
      NamedBytes tensor{{cat(name(dtype), ".", shape.size(), ".", element_count(shape)), dtype, shape}, {}};
      tensor.bytes.resize(tensor.info.bytes());
      for (std::size_t k = 0; k < tensor.bytes.size(); ++k)
        tensor.bytes[k] = static_cast<std::byte>(k * 37 + tensors.size());
      tensors.push_back(std::move(tensor));
    }
  }
  write_safetensors(folder_ / "in.safetensors", tensors);
  write_torch(path_, open_checkpoint(folder_ / "in.safetensors"));
  const Checkpoint back = open_checkpoint(path_);
  EXPECT_EQ(back.format(), Format::kTorch);
  ASSERT_EQ(back.tensors().size(), tensors.size());
  for (const NamedBytes& tensor : tensors) {
    const Tensor& found = back.at(tensor.info.name);
    EXPECT_EQ(found.dtype, tensor.info.dtype);
    EXPECT_EQ(found.shape, tensor.info.shape);
    std::vector<std::byte> scratch;
    EXPECT_EQ(text_of(back.read(found, 0, found.bytes(), scratch)), text_of(tensor.bytes)) << tensor.info.name;
  }
}

TEST_F(TorchWriteTest, TiedTensorsAreWrittenOnce) {
  using pickles::text;
  write_atomically(folder_ / "in.pt", archive_of(text("b") + bytes_tensor(0, {4}, {1}) + text("a") +
                                                 bytes_tensor(0, {4}, {1}) + text("c") + bytes_tensor(4, {4}, {1})));
  write_torch(path_, open_checkpoint(folder_ / "in.pt"));
  const Checkpoint back = open_checkpoint(path_);
  EXPECT_EQ(back.at("a").storage, back.at("b").storage);
  EXPECT_NE(back.at("a").storage, "");
  EXPECT_EQ(back.at("a").offset, back.at("b").offset);
  EXPECT_EQ(back.at("c").storage, "");
  EXPECT_EQ(read_zip_directory(*source_of(read_file(path_))).size(), 5u);  // pickle, byte order, two storages, version
}

TEST_F(TorchWriteTest, RefusesF4AndLeavesNothing) {
  write_safetensors(folder_ / "in.safetensors", std::vector<NamedBytes>{{{"t", DType::kF4, {2}}, {std::byte{1}}}});
  EXPECT_EQ(message_of([&] { write_torch(path_, open_checkpoint(folder_ / "in.safetensors")); }),
            "F4 cannot be written to a PyTorch archive (t); write *.safetensors");
  EXPECT_EQ(list_folder(folder_.path()), std::vector<std::string>{"in.safetensors"});
}

}  // namespace
}  // namespace solera::checkpoint
