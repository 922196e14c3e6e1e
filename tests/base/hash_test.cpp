#include "solera/base/hash.h"

#include <set>

#include "tests/support/support.h"

namespace solera {
namespace {

TEST(Hash, IsXxh3OfThePublishedVectors) {
  EXPECT_EQ(hash_text(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash_bytes({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2u);
}

TEST(Hash, FileTextAndBytesAgree) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 240u, 241u, (1u << 20) - 1, 1u << 20, (1u << 20) + 1}) {
    std::string text(size, 'a');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
    write_atomically(folder / "file", text);
    EXPECT_EQ(hash_file(folder / "file"), hash_text(text)) << size;
    EXPECT_EQ(hash_bytes(std::as_bytes(std::span(text))), hash_text(text)) << size;
  }
  EXPECT_EQ(test::message_of([&] { hash_file(folder / "flie"); }),
            (folder / "flie") + ": no such file; did you mean " + (folder / "file") + "?");
  EXPECT_EQ(test::message_of([&] { hash_file(folder.path()); }), "cannot read: Is a directory (" + folder.path() + ")");
}

TEST(Hasher, PiecesKeepTheirBorders) {
  const auto of = [](std::initializer_list<std::string_view> pieces) {
    Hasher hasher;
    for (const std::string_view piece : pieces) hasher.add(piece);
    return hasher.hex();
  };
  const std::set<std::string> all = {of({}),
                                     of({""}),
                                     of({"", ""}),
                                     of({"ab", "c"}),
                                     of({"a", "bc"}),
                                     of({"abc"}),
                                     Hasher().add(std::uint64_t{0x63}).hex(),
                                     of({"c", "", "", ""}),
                                     of({std::string_view("c\0\0\0\0\0\0\0", 8)})};
  EXPECT_EQ(all.size(), 9u);
  EXPECT_EQ(of({"ab", "c"}), of({"ab", "c"}));
}

TEST(Hasher, HexIsOfAllPiecesSoFar) {
  Hasher hasher;
  hasher.add("a");
  const std::string first = hasher.hex();
  EXPECT_EQ(hasher.hex(), first);
  hasher.add(std::uint64_t{1});
  EXPECT_EQ(hasher.hex(), Hasher().add("a").add(std::uint64_t{1}).hex());
  EXPECT_NE(hasher.hex(), first);
}

}  // namespace
}  // namespace solera
