#include "solera/base/text.h"

#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "solera/base/random.h"
#include "tests/support/support.h"

namespace solera {
namespace {

using test::message_of;

// Levenshtein with swaps of neighbours, straight from the recursive definition.
int edits_by_definition(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return static_cast<int>(a.size() + b.size());
  const auto cut = [](std::string_view text, std::size_t n) { return text.substr(0, text.size() - n); };
  int best = std::min({edits_by_definition(cut(a, 1), b) + 1, edits_by_definition(a, cut(b, 1)) + 1,
                       edits_by_definition(cut(a, 1), cut(b, 1)) + (a.back() != b.back())});
  if (a.size() > 1 && b.size() > 1 && a.back() == b[b.size() - 2] && b.back() == a[a.size() - 2]) {
    best = std::min(best, edits_by_definition(cut(a, 2), cut(b, 2)) + 1);
  }
  return best;
}

TEST(Nearest, FindsWithinThreeEdits) {
  const std::vector<std::string> names = {"linear", "slerp", "ties", "dare_ties", "breadcrumbs"};
  EXPECT_EQ(nearest("tise", names), "ties");
  EXPECT_EQ(nearest("breadcrums", names), "breadcrumbs");
  EXPECT_EQ(nearest("lenir", names), "linear");
  EXPECT_EQ(nearest("dare", names), "");
  EXPECT_EQ(nearest("", names), "");
  EXPECT_EQ(nearest("abc", std::vector<std::string>{"xyz"}), "") << "nothing in common";
  EXPECT_EQ(nearest("ab", std::vector<std::string>{"ac", "ad"}), "ac") << "the first on a tie";
  EXPECT_EQ(did_you_mean("tise", names), "did you mean ties?");
  EXPECT_EQ(did_you_mean("quantum", names), "");
}

TEST(Nearest, AgreesWithTheDefinitionOnAllShortWords) {
  std::vector<std::string> words = {""};
  for (std::size_t i = 0; words[i].size() < 3; ++i) {
    for (const char c : {'a', 'b', 'c'}) words.push_back(words[i] + c);
  }
  const std::vector<std::string> names = {"abca", "ba", "cabcab"};
  for (const std::string& word : words) {
    std::string expected;
    int fewest = 4;
    for (const std::string& name : names) {
      const int distance = edits_by_definition(word, name);
      if (distance >= fewest || distance >= static_cast<int>(std::max(word.size(), name.size()))) continue;
      fewest = distance;
      expected = name;
    }
    EXPECT_EQ(nearest(word, names), expected) << word;
  }
}

TEST(Text, SplitJoinTrim) {
  EXPECT_EQ(split("a,,b,", ','), (std::vector<std::string>{"a", "", "b", ""}));
  EXPECT_EQ(split("", ','), std::vector<std::string>{""});
  EXPECT_EQ(join(split("a,,b,", ','), ","), "a,,b,");
  EXPECT_EQ(join({}, ","), "");
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim(" \n"), "");
}

TEST(Text, Utf8IsStrict) {
  for (const std::string_view good :
       {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "caf\xC3\xA9"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const std::string_view bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2x", "\xE0\x9F\xBF", "\xE0\xA0", "\xED\xA0\x80",
        "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x90\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
    EXPECT_FALSE(is_utf8("ok " + std::string(bad) + " ok")) << bad;
  }
}

TEST(Text, ParsesBytes) {
  const std::map<std::string, std::uint64_t> sizes = {
      {"0", 0},
      {"4096", 4096},
      {"512 B", 512},
      {"1.5k", 1500},
      {"5GB", 5'000'000'000},
      {"5g", 5'000'000'000},
      {"256 MiB", 256ull << 20},
      {"1GiB", 1ull << 30},
      {"1gib", 1ull << 30},
      {"2Ti", 2ull << 40},
      {" .5 Ki ", 512},
      {"1.3KiB", 1331},
      {"0.0000001 TB", 100'000},
      {"18446744073709551615", UINT64_MAX},
      {"16777215.99999999999999999999Ti", UINT64_MAX - (1ull << 40) + (1ull << 40)}};
  for (const auto& [text, bytes] : sizes) EXPECT_EQ(parse_bytes(text), bytes) << text;
  for (const std::string bad : {"", "k", ".", "-1", "1 XB", "1GIB", "1e3", "1kk", "1 k B", "0x10", "nan", "1.2.3"}) {
    EXPECT_EQ(message_of([&] { parse_bytes(bad); }),
              "'" + bad + "' is not a size in bytes; write it like 4096, 512MB or 2GiB");
  }
  for (const std::string big : {"18446744073709551616", "16777216Ti", "99999999999999999999999999999999999999999999"}) {
    EXPECT_EQ(message_of([&] { parse_bytes(big); }),
              "'" + big + "' is not a size in bytes: too large; write it like 4096, 512MB or 2GiB");
  }
}

TEST(Text, WritesBytes) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1000), "1.0 kB");
  EXPECT_EQ(bytes_text(999'949), "999.9 kB");
  EXPECT_EQ(bytes_text(999'950), "1.0 MB");
  EXPECT_EQ(bytes_text(6'700'000'000), "6.7 GB");
  EXPECT_EQ(bytes_text(UINT64_MAX), "18.4 EB");
  EXPECT_EQ(binary_text(1023), "1023 B");
  EXPECT_EQ(binary_text(1024), "1.0 KiB");
  EXPECT_EQ(binary_text(1ull << 30), "1.0 GiB");
  EXPECT_EQ(binary_text((1ull << 30) - 1), "1.0 GiB");
  EXPECT_EQ(binary_text(UINT64_MAX), "16.0 EiB");
}

TEST(Text, WritesDurations) {
  const std::vector<std::pair<double, std::string>> texts = {
      {0, "0 ms"},           {0.0042, "4 ms"},          {0.9994, "999 ms"},
      {0.9996, "1.0 s"},     {3.24, "3.2 s"},           {9.96, "10 s"},
      {11.2, "11 s"},        {59.6, "1 min 0 s"},       {125, "2 min 5 s"},
      {3599.7, "1 h 0 min"}, {12'000, "3 h 20 min"},    {360'000, "100 h 0 min"},
      {-1, "unknown"},       {std::nan(""), "unknown"}, {HUGE_VAL, "unknown"}};
  for (const auto& [seconds, text] : texts) EXPECT_EQ(duration_text(seconds), text) << seconds;
}

TEST(Text, WritesNumbers) {
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(1.0 / 3), "0.333333");
  EXPECT_EQ(number_text(2.0 / 3, 2), "0.67");
  EXPECT_EQ(number_text(1e20), "1e+20");
  EXPECT_EQ(number_text(-std::nan("")), "nan");
  EXPECT_EQ(exact_text(0.1), "0.1");
  EXPECT_EQ(exact_text(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(exact_text(-HUGE_VAL), "-inf");
  EXPECT_EQ(exact_text(HUGE_VAL), "inf");
  EXPECT_EQ(exact_text(-std::nan("")), "nan");
  EXPECT_EQ(exact_text(-0.0), "-0");
  EXPECT_EQ(shape_text({}), "[]");
  EXPECT_EQ(shape_text(std::vector<std::int64_t>{64, 128}), "[64, 128]");
}

TEST(Text, ExactTextReadsBackToTheSameBits) {
  const RandomStream stream({7, "exact"});
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const std::uint64_t bits = std::uint64_t{stream.u32(2 * i)} << 32 | stream.u32(2 * i + 1);
    const double value = std::bit_cast<double>(bits);
    if (std::isnan(value)) continue;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(parse_double(exact_text(value)).value()), bits) << value;
  }
}

TEST(Text, ParsesWholeNumbersOnly) {
  EXPECT_EQ(parse_double("1e-3"), 0.001);
  EXPECT_EQ(parse_double("+.5"), 0.5);
  EXPECT_EQ(parse_double("1."), 1.0);
  EXPECT_EQ(parse_double("-inf"), -HUGE_VAL);
  EXPECT_TRUE(std::isnan(parse_double("nan").value()));
  EXPECT_EQ(parse_double("5e-324"), std::numeric_limits<double>::denorm_min());
  for (const char* bad : {"", "+", "-", " 1", "1 ", "1x", "0x10", "+-1", "++1", "1,5", "nan(1)", "1e", "1e400", "."}) {
    EXPECT_EQ(parse_double(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(parse_int("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(parse_int("+7"), 7);
  for (const char* bad : {"", "1.0", "9223372036854775808", "1 ", "0x1", "+-1"})
    EXPECT_EQ(parse_int(bad), std::nullopt);
}

TEST(FloorCount, CountsTheDecimalTextThatWasWritten) {
  EXPECT_EQ(floor_count(0.29, 100), 29);  // 28 in double arithmetic
  EXPECT_EQ(floor_count(0.57, 100), 57);
  EXPECT_EQ(floor_count(1, INT64_MAX), INT64_MAX);
  EXPECT_EQ(floor_count(0.5, INT64_MAX), INT64_MAX / 2);
  EXPECT_EQ(floor_count(1e-300, INT64_MAX), 0);
  EXPECT_EQ(floor_count(-1e-300, INT64_MAX), -1);
  EXPECT_EQ(floor_count(-0.29, 100), -29);
  EXPECT_EQ(floor_count(-0.291, 100), -30);
  EXPECT_EQ(floor_count(2.5, 3), 7);
  EXPECT_EQ(floor_count(1e10, 3), 30'000'000'000);
  EXPECT_EQ(floor_count(0, 5), 0);
  EXPECT_EQ(floor_count(1e300, 0), 0);
}

TEST(FloorCount, SweepAgreesWithIntegers) {
  for (const std::int64_t scale : {10, 100, 1000}) {
    for (std::int64_t k = 0; k <= scale; ++k) {
      const double fraction = static_cast<double>(k) / static_cast<double>(scale);  // nearest, so its text is k/scale
      for (const std::int64_t n : {0, 1, 2, 3, 7, 64, 100, 1000, 123'456'789}) {
        EXPECT_EQ(floor_count(fraction, n), k * n / scale) << k << "/" << scale << " of " << n;
        const std::int64_t up = (k * n + scale - 1) / scale;
        EXPECT_EQ(floor_count(-fraction, n), -up) << "-" << k << "/" << scale << " of " << n;
      }
    }
  }
}

TEST(FloorCount, RefusesWhatCannotBeCounted) {
  EXPECT_EQ(message_of([] { floor_count(std::nan(""), 3); }), "a fraction of nan is not finite");
  EXPECT_EQ(message_of([] { floor_count(-HUGE_VAL, 3); }), "a fraction of -inf is not finite");
  EXPECT_EQ(message_of([] { floor_count(1e300, 3); }), "1e+300 of 3 is too large to count");
  EXPECT_EQ(message_of([] { floor_count(1.1, INT64_MAX); }), "1.1 of 9223372036854775807 is too large to count");
  EXPECT_EQ(message_of([] { floor_count(0.5, -1); }),
            "a count of -1 is negative; this is a bug in Solera, please report it");
}

TEST(Text, QuotesForTheShell) {
  EXPECT_EQ(shell_quote(""), "''");
  EXPECT_EQ(shell_quote("a b$c"), "'a b$c'");
  EXPECT_EQ(shell_quote("it's"), "'it'\\''s'");
}

}  // namespace
}  // namespace solera
