#include "solera/base/table.h"

#include "tests/support/support.h"

namespace solera {
namespace {

const Table kTable{{"model", "score", "note"}, {{"a", "0.5", "né"}, {"long name", "-12", ""}, {"c", "-", "x|y"}}};

TEST(Table, TextPadsToTheWidestAndPutsNumbersRight) {
  EXPECT_EQ(table_text(kTable),
            "model      score  note\n"
            "a            0.5  né\n"
            "long name    -12\n"
            "c              -  x|y\n");
  // "né" is two wide, although it has three bytes.
  EXPECT_EQ(table_text({{"n", "b"}, {{"né", "x"}, {"abc", "y"}}}), "n    b\nné   x\nabc  y\n");
}

TEST(Table, MarkdownEscapesBars) {
  EXPECT_EQ(table_markdown(kTable),
            "| model | score | note |\n"
            "| --- | ---: | --- |\n"
            "| a | 0.5 | né |\n"
            "| long name | -12 |  |\n"
            "| c | - | x\\|y |\n");
}

TEST(Table, CsvQuotesAsRfc4180) {
  EXPECT_EQ(table_csv({{"a", "b"}, {{"1,2", "say \"x\""}, {"line\nbreak", "plain"}}}),
            "a,b\r\n\"1,2\",\"say \"\"x\"\"\"\r\n\"line\nbreak\",plain\r\n");
}

TEST(Table, WithoutRowsIsItsHeader) {
  EXPECT_EQ(table_text({{"a", "b"}, {}}), "a  b\n");
  EXPECT_EQ(table_markdown({{"a"}, {}}), "| a |\n| --- |\n");
  EXPECT_EQ(table_csv({{"a"}, {}}), "a\r\n");
}

}  // namespace
}  // namespace solera
