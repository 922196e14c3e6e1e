#include "solera/checkpoint/writer.h"

#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;
using test::slurp;
using test::tensor;
using test::values;

TEST(LayoutTest, WidestTypesFirstInAFileButATableByName) {
  const Layout layout = plan_layout({{"d", DType::kU8, {3}},
                                     {"c", DType::kF32, {2}},
                                     {"b", DType::kBF16, {1}},
                                     {"a", DType::kU8, {1}},
                                     {"e", DType::kI64, {1}}});
  ASSERT_EQ(layout.files.size(), 1u);
  EXPECT_EQ(layout.files[0].name, "model.safetensors");
  EXPECT_EQ(layout.index, "");
  const std::uint64_t begin = layout.files[0].header.size();
  const std::vector<std::pair<std::string, std::uint64_t>> expected = {
      {"a", 18}, {"b", 16}, {"c", 8}, {"d", 19}, {"e", 0}};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(layout.tensors[i].name, expected[i].first);
    EXPECT_EQ(layout.places[i].offset, begin + expected[i].second);
    EXPECT_EQ(layout.places[i].offset % static_cast<std::uint64_t>(bits(layout.tensors[i].dtype) / 8), 0u);
  }
  EXPECT_EQ(layout.files[0].bytes, begin + 22);
  EXPECT_EQ(layout.total_bytes(), begin + 22);
}

TEST(LayoutTest, AShardClosesBeforeTheTensorThatWouldExceedIt) {
  const auto counts = [](std::uint64_t shard_bytes, bool single = false) {
    const Layout layout =
        plan_layout({{"a", DType::kU8, {4}}, {"b", DType::kU8, {4}}, {"c", DType::kU8, {9}}, {"d", DType::kU8, {0}}},
                    {.shard_bytes = shard_bytes, .single_file = single});
    std::vector<int> result(layout.files.size());
    for (const Layout::Place& place : layout.places) ++result[static_cast<std::size_t>(place.file)];
    return result;
  };
  EXPECT_EQ(counts(17), std::vector<int>{4});
  EXPECT_EQ(counts(16), (std::vector<int>{2, 2}));
  EXPECT_EQ(counts(8), (std::vector<int>{2, 1, 1}));  // c is alone, larger than a shard
  EXPECT_EQ(counts(7), (std::vector<int>{1, 1, 1, 1}));
  EXPECT_EQ(counts(0), (std::vector<int>{1, 1, 1, 1}));
  EXPECT_EQ(counts(0, true), std::vector<int>{4});
}

TEST(LayoutTest, TheIndexIsAsTheEcosystemWritesIt) {
  const Layout layout = plan_layout({{"b", DType::kF32, {1}}, {"a", DType::kF32, {1}}}, {.shard_bytes = 4});
  EXPECT_EQ(layout.files[1].name, "model-00002-of-00002.safetensors");
  EXPECT_EQ(layout.index, R"({
  "metadata": {
    "total_size": 8
  },
  "weight_map": {
    "a": "model-00001-of-00002.safetensors",
    "b": "model-00002-of-00002.safetensors"
  }
}
)");
}

TEST(LayoutTest, DuplicatesAreRefusedAndNothingIsFine) {
  EXPECT_EQ(message_of([] { plan_layout({{"a", DType::kF32, {}}, {"a", DType::kU8, {}}}); }),
            "two tensors are named a");
  const Layout empty = plan_layout({});
  ASSERT_EQ(empty.files.size(), 1u);
  EXPECT_EQ(empty.total_bytes(), empty.files[0].header.size());
}

class ShardWriterTest : public ::testing::Test {
 protected:
  static std::vector<std::byte> filled(std::size_t count, int value) {
    return std::vector<std::byte>(count, static_cast<std::byte>(value));
  }
  TemporaryFolder folder_;
  Layout layout_ =
      plan_layout({{"a", DType::kU8, {5}}, {"b", DType::kU8, {6}}, {"c", DType::kU8, {7}}}, {.shard_bytes = 11});
};

TEST_F(ShardWriterTest, PiecesMayComeInAnyOrderFromAnyThread) {
  ShardWriter out(folder_.path(), layout_);
  for (const Layout::File& file : layout_.files) EXPECT_EQ(file_size(folder_ / file.name), file.bytes);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = layout_.tensors[t].bytes(); i-- > 0;)
        out.write(t, i, filled(1, static_cast<int>(10 * t + i)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  out.sync();
  std::ofstream(folder_ / "model.safetensors.index.json") << layout_.index;
  const Checkpoint model = open_checkpoint(folder_.path());
  EXPECT_EQ(values(model, "a"), (std::vector<double>{0, 1, 2, 3, 4}));
  EXPECT_EQ(values(model, "c"), (std::vector<double>{20, 21, 22, 23, 24, 25, 26}));
}

TEST_F(ShardWriterTest, ResumingKeepsWhatIsThere) {
  {
    ShardWriter(folder_.path(), layout_).write(0, 0, filled(5, 1));
  }
  {
    ShardWriter out(folder_.path(), layout_, true);
    out.write(1, 0, filled(6, 2));
    out.sync();
  }
  const Checkpoint file = open_checkpoint(folder_ / layout_.files[0].name);
  EXPECT_EQ(values(file, "a"), std::vector<double>(5, 1));
  EXPECT_EQ(values(file, "b"), std::vector<double>(6, 2));
}

TEST_F(ShardWriterTest, ResumingRefusesOtherFiles) {
  const std::string path = folder_ / layout_.files[0].name;
  EXPECT_EQ(message_of([&] { ShardWriter(folder_.path(), layout_, true); }),
            "cannot open the unfinished file: No such file or directory (" + path + ")");
  {
    ShardWriter(folder_.path(), layout_);
  }
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(20).put('!');
  EXPECT_EQ(message_of([&] { ShardWriter(folder_.path(), layout_, true); }),
            "the unfinished file is not of this output (" + path + "); start afresh");
}

TEST_F(ShardWriterTest, WritesPastATensorAreRefused) {
  ShardWriter out(folder_.path(), layout_);
  EXPECT_EQ(message_of([&] { out.write(0, 3, filled(3, 1)); }), "writing 3 bytes at 3 of a tensor of 5 bytes");
  EXPECT_THROW(out.write(0, UINT64_MAX, filled(2, 1)), Error);
}

TEST_F(ShardWriterTest, ADiskThatIsTooSmallIsFoundFirstAndNothingRemains) {
  const Layout huge = plan_layout({{"a", DType::kU8, {1ll << 60}}, {"b", DType::kU8, {1}}}, {.shard_bytes = 2});
  const std::string message = message_of([&] { ShardWriter(folder_.path(), huge); });
  EXPECT_TRUE(message.starts_with("needs 1")) << message;
  EXPECT_NE(message.find(" free (" + folder_.path() + "); free some space or choose another disk"), std::string::npos)
      << message;
  EXPECT_TRUE(list_folder(folder_.path()).empty());
}

TEST_F(ShardWriterTest, FilesHaveTheUsualPermissions) {
  const mode_t before = ::umask(027);
  {
    ShardWriter(folder_.path(), layout_);
  }
  ::umask(before);
  struct stat status = {};
  ASSERT_EQ(::stat((folder_ / layout_.files[0].name).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

// A lost page of a mapped input makes pwrite fail instead of raising a signal: the input reports it, not the output.
TEST_F(ShardWriterTest, AShrunkInputIsNotAnOutputsError) {
  const std::string input = folder_ / "input";
  std::ofstream(input, std::ios::binary) << std::string(3 * 4096, 'x');
  const auto source = open_file(input, Access::kMap);
  const Layout layout = plan_layout({{"a", DType::kU8, {3 * 4096}}});
  ShardWriter out(folder_.path(), layout);
  std::vector<std::byte> scratch;
  ASSERT_EQ(::truncate(input.c_str(), 4096), 0);
  out.write(0, 0, source->view(0, 3 * 4096, scratch));
  EXPECT_THROW(source->check(), Error);
}

TEST(WriteSafetensorsTest, EveryTypeAndShapeComesBack) {
  const TemporaryFolder folder;
  std::vector<NamedBytes> tensors;
  for (int i = 0; i <= 16; ++i) {
    const auto dtype = static_cast<DType>(i);
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{2, 3}}) {
      if (shape.empty() && dtype == DType::kF4) continue;  // half a byte
      NamedBytes t{{cat(name(dtype), shape.size(), element_count(shape)), dtype, shape}, {}};
      t.bytes.resize(t.info.bytes());
      for (std::size_t k = 0; k < t.bytes.size(); ++k)
        t.bytes[k] = static_cast<std::byte>(i * 31 + static_cast<int>(k));
      tensors.push_back(std::move(t));
    }
  }
  write_safetensors(folder / "x.safetensors", tensors, {{"k", "\"v\"\n"}});
  const Checkpoint file = open_checkpoint(folder / "x.safetensors");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"k", "\"v\"\n"}}));
  std::vector<std::byte> scratch;
  for (const NamedBytes& t : tensors) {
    const Tensor& found = file.at(t.info.name);
    EXPECT_EQ(found.dtype, t.info.dtype);
    EXPECT_EQ(found.shape, t.info.shape);
    const auto bytes = file.read(found, 0, found.bytes(), scratch);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), t.bytes.begin(), t.bytes.end())) << t.info.name;
  }
}

TEST(WriteSafetensorsTest, WrongSizesAreRefusedAndNothingIsWritten) {
  const TemporaryFolder folder;
  const std::vector<NamedBytes> tensors = {{{"a", DType::kF32, {2}}, std::vector<std::byte>(7)}};
  EXPECT_EQ(message_of([&] { write_safetensors(folder / "x", tensors); }),
            "a takes 8 bytes, but 7 are given (" + folder.path() + "/x)");
  EXPECT_TRUE(list_folder(folder.path()).empty());
}

}  // namespace
}  // namespace solera::checkpoint
