#include "solera/checkpoint/strided.h"

#include <random>

#include "tests/checkpoint/archives.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using test::message_of;

// The definition: every element by its index.
std::string gathered(const std::string& storage, std::size_t offset, std::size_t width, const Shape& shape,
                     const Shape& strides) {
  std::string out;
  const std::int64_t count = element_count(shape);
  for (std::int64_t flat = 0; flat < count; ++flat) {
    std::int64_t rest = flat, place = 0;
    for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) place += rest % shape[d] * strides[d];
    out += storage.substr(offset + static_cast<std::size_t>(place) * width, width);
  }
  return out;
}

TEST(StridedTest, EveryRangeOfRandomViewsEqualsTheDefinition) {
  std::mt19937 random(7);
  const auto below = [&](int n) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 300; ++round) {
    Shape shape(static_cast<std::size_t>(below(5))), strides(shape.size());
    for (auto& n : shape) n = 1 + below(4) - (below(12) == 0);
    for (auto& s : strides) s = below(7);
    if (round % 3 == 0) strides = column_strides(shape);
    const std::size_t width = std::size_t{1} << below(4), offset = static_cast<std::size_t>(below(9));
    const std::int64_t elements = reach(shape, strides, "t");
    std::string storage(offset + static_cast<std::size_t>(elements) * width, '\0');
    for (char& c : storage) c = static_cast<char>(random());
    const std::string expected = gathered(storage, offset, width, shape, strides);
    for (int kind = 0; kind < 2; ++kind) {
      std::shared_ptr<const Source> base = source_of(storage);
      if (kind == 1) base = std::make_shared<CopyingSource>(storage);
      const auto source = strided_source(base, offset, static_cast<int>(width), shape, strides);
      ASSERT_EQ(source->size(), expected.size());
      std::vector<std::byte> scratch;
      for (std::size_t first = 0; first <= expected.size(); ++first) {
        for (const std::size_t wanted : {std::size_t{0}, std::size_t{1}, std::size_t{3}, expected.size()}) {
          const std::size_t count = std::min(wanted, expected.size() - first);
          ASSERT_EQ(text_of(source->view(first, count, scratch)), expected.substr(first, count));
        }
      }
    }
    if (is_contiguous(shape, strides)) {
      EXPECT_EQ(expected, storage.substr(offset, expected.size()));
    }
  }
}

TEST(StridedTest, ReadsBoundedWindowsWhereNothingIsMapped) {
  const std::size_t columns = 5'000'000;
  std::string storage(4 * columns, '\0');
  for (std::size_t i = 0; i < storage.size(); ++i) storage[i] = static_cast<char>(i % 251);
  const Shape shape = {4, static_cast<std::int64_t>(columns)}, strides = {1, 4};
  const auto base = std::make_shared<CopyingSource>(storage);
  const auto source = strided_source(base, 0, 1, shape, strides);
  std::vector<std::byte> scratch;
  EXPECT_TRUE(text_of(source->view(0, storage.size(), scratch)) == gathered(storage, 0, 1, shape, strides));
  EXPECT_LE(base->largest, 16u << 20);
}

TEST(StridedTest, Contiguity) {
  EXPECT_TRUE(is_contiguous(Shape{}, Shape{}));
  EXPECT_TRUE(is_contiguous(Shape{2, 3}, Shape{3, 1}));
  EXPECT_TRUE(is_contiguous(Shape{2, 1, 3}, Shape{3, 77, 1}));
  EXPECT_TRUE(is_contiguous(Shape{2, 0, 3}, Shape{9, 9, 9}));
  EXPECT_FALSE(is_contiguous(Shape{2, 3}, Shape{1, 2}));
  EXPECT_FALSE(is_contiguous(Shape{2, 3}, Shape{4, 1}));
  EXPECT_FALSE(is_contiguous(Shape{5}, Shape{0}));
}

TEST(StridedTest, ReachAndItsRefusals) {
  EXPECT_EQ(reach(Shape{}, Shape{}, "t"), 1);
  EXPECT_EQ(reach(Shape{3, 0}, Shape{INT64_MAX, INT64_MAX}, "t"), 0);
  EXPECT_EQ(reach(Shape{3, 4}, Shape{10, 2}, "t"), 27);
  EXPECT_EQ(reach(Shape{1'000'000'000'000}, Shape{0}, "t"), 1);
  EXPECT_EQ(message_of([] { reach(Shape{2}, Shape{}, "t"); }), "a tensor has 1 dimensions but 0 strides (t)");
  EXPECT_EQ(message_of([] { reach(Shape{-1}, Shape{1}, "t"); }), "dimension 0 is -1, less than 0 (t)");
  EXPECT_EQ(message_of([] { reach(Shape{2}, Shape{-1}, "t"); }), "the stride of dimension 0 is -1, less than 0 (t)");
  EXPECT_EQ(message_of([] { reach(Shape{3}, Shape{INT64_MAX}, "t"); }),
            "shape and strides reach further than 63 bits (t)");
  EXPECT_EQ(message_of([] {
              strided_source(source_of("ab"), 0, 1, {2}, {1})->view(1, 2, *std::make_unique<std::vector<std::byte>>());
            }),
            "a read past the end of a tensor (f.pt)");
}

}  // namespace
}  // namespace solera::checkpoint
