#include "solera/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace solera {
namespace {

TEST(Error, IsTheClauseThenWhereThenHint) {
  const Error all = input_error("keep + remove is 1.05, more than 1", "blend.yaml:7", "lower keep or remove");
  EXPECT_STREQ(all.what(), "keep + remove is 1.05, more than 1 (blend.yaml:7); lower keep or remove");
  EXPECT_EQ(all.problem(), "keep + remove is 1.05, more than 1");
  EXPECT_EQ(all.where(), "blend.yaml:7");
  EXPECT_EQ(all.hint(), "lower keep or remove");
  EXPECT_STREQ(input_error("a").what(), "a");
  EXPECT_STREQ(input_error("a", "f").what(), "a (f)");
  EXPECT_STREQ(input_error("a", "", "h").what(), "a; h");
}

TEST(Error, EachMakerHasItsKind) {
  EXPECT_EQ(usage_error("a").kind(), ErrorKind::kUsage);
  EXPECT_EQ(input_error("a").kind(), ErrorKind::kInput);
  EXPECT_EQ(io_error("a").kind(), ErrorKind::kIo);
  EXPECT_EQ(internal_error("a").kind(), ErrorKind::kInternal);
  EXPECT_STREQ(internal_error("a", "f").what(), "a (f); this is a bug in Solera, please report it");
}

TEST(Error, WordsForErrnoAndPieces) {
  EXPECT_EQ(errno_text(ENOSPC), "No space left on device");
  EXPECT_EQ(cat("a", 3, 0.5, 'c'), "a30.5c");
}

}  // namespace
}  // namespace solera
