#include "solera/checkpoint/pickle.h"

#include "solera/base/error.h"
#include "tests/checkpoint/archives.h"
#include "tests/support/support.h"

namespace solera::checkpoint {
namespace {

using namespace std::string_literals;
using test::message_of;

constexpr std::string_view kAllowed[] = {"collections.OrderedDict", "torch.Size"};

Pickle read(const std::string& bytes) {
  return read_pickle(std::as_bytes(std::span<const char>(bytes)), kAllowed, "p");
}

// An object as Python would print it.
std::string show(const Pickle& pickle, std::uint32_t index) {
  const PickleObject& object = pickle[index];
  const auto all = [&](std::string open, const std::string& close) {
    for (std::size_t i = 0; i < object.items.size(); ++i) open += (i ? ", " : "") + show(pickle, object.items[i]);
    return open + close;
  };
  switch (object.kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return object.integer ? "True" : "False";
    case PickleKind::kInteger:
      return std::to_string(object.integer);
    case PickleKind::kReal:
      return cat(object.real);
    case PickleKind::kText:
      return "'" + object.text + "'";
    case PickleKind::kBytes:
      return "b'" + object.text + "'";
    case PickleKind::kList:
      return all("[", "]");
    case PickleKind::kTuple:
      return all("(", ")");
    case PickleKind::kDict:
      return all("{", "}");
    case PickleKind::kGlobal:
      return object.text;
    case PickleKind::kPersistent:
      return all("persistent ", "");
    case PickleKind::kCall:
      return all(object.text, "");
  }
  return "";
}

std::string shown(const std::string& body) {
  const Pickle pickle = read("\x80\x02" + body + ".");
  return show(pickle, pickle.root);
}
std::string refusal(const std::string& body) {
  return message_of([&] { read("\x80\x02" + body + "."); });
}

TEST(PickleTest, Scalars) {
  EXPECT_EQ(shown("N"), "None");
  EXPECT_EQ(shown("\x88"), "True");
  EXPECT_EQ(shown("\x89"), "False");
  EXPECT_EQ(shown("K\xff"), "255");
  EXPECT_EQ(shown("M\x01\x80"), "32769");
  EXPECT_EQ(shown("J\xfe\xff\xff\xff"), "-2");
  EXPECT_EQ(shown("\x8a\x00"s), "0");
  EXPECT_EQ(shown("\x8a\x01\xff"), "-1");
  EXPECT_EQ(shown("\x8a\x02\x00\x80"s), "-32768");
  EXPECT_EQ(shown("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), "9223372036854775807");
  EXPECT_EQ(shown("\x8a\x09"
                  "abcdefghi"),
            "b'abcdefghi'");  // more than 64 bits: kept, but no number
  EXPECT_EQ(shown("G\xbf\xf8\x00\x00\x00\x00\x00\x00"s), "-1.5");
}

TEST(PickleTest, TextOfEveryLength) {
  EXPECT_EQ(shown("X\x02\x00\x00\x00hi"s), "'hi'");
  EXPECT_EQ(shown("\x8c\x02hi"), "'hi'");
  EXPECT_EQ(shown("\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi"s), "'hi'");
  EXPECT_EQ(shown("U\x02hi"), "'hi'");
  EXPECT_EQ(shown("T\x02\x00\x00\x00hi"s), "'hi'");
  EXPECT_EQ(shown("C\x02h\xff"), "b'h\xff'");
  EXPECT_EQ(shown("B\x02\x00\x00\x00hi"s), "b'hi'");
  EXPECT_EQ(shown("\x8e\x02\x00\x00\x00\x00\x00\x00\x00hi"s), "b'hi'");
}

TEST(PickleTest, Containers) {
  EXPECT_EQ(shown(")"), "()");
  EXPECT_EQ(shown("K\x01\x85"), "(1)");
  EXPECT_EQ(shown("K\x01K\x02\x86"), "(1, 2)");
  EXPECT_EQ(shown("K\x01K\x02K\x03\x87"), "(1, 2, 3)");
  EXPECT_EQ(shown("(K\x01K\x02K\x03K\x04t"), "(1, 2, 3, 4)");
  EXPECT_EQ(shown("]K\x01"
                  "a(K\x02K\x03"
                  "e"),
            "[1, 2, 3]");
  EXPECT_EQ(shown("}K\x01K\x02s(K\x03K\x04u"), "{1, 2, 3, 4}");
  EXPECT_EQ(shown("K\x01"
                  "2\x86"),
            "(1, 1)");
  EXPECT_EQ(shown("K\x01K\x02"
                  "0(K\x03"
                  "1"),
            "1");
}

TEST(PickleTest, MemoAndFrames) {
  EXPECT_EQ(shown("]q\x05h\x05\x86"), "([], [])");
  EXPECT_EQ(shown("]r\x03\x00\x00\x00j\x03\x00\x00\x00\x86"s), "([], [])");
  EXPECT_EQ(shown("]\x94K\x07\x94h\x01h\x00\x86\x86\x86"s), "([], (7, (7, [])))");
  EXPECT_EQ(shown("\x95\x02\x00\x00\x00\x00\x00\x00\x00K\x01"s), "1");
  EXPECT_EQ(read("\x80\x05N.").root, 0u);
}

TEST(PickleTest, CallsAreRecordedNotMade) {
  EXPECT_EQ(shown("ctorch\nSize\n"), "torch.Size");
  EXPECT_EQ(shown("ctorch\nSize\nK\x03\x85\x85R"), "torch.Size((3))");
  EXPECT_EQ(shown("\x8c\x05torch\x8c\x04Size\x93)R"), "torch.Size()");
  EXPECT_EQ(shown("K\x03Q"), "persistent 3");
  const std::string dict = "ccollections\nOrderedDict\n";
  EXPECT_EQ(shown(dict + ")R"), "{}");
  EXPECT_EQ(shown(dict + "]K\x01K\x02\x86"
                         "a\x85R"),
            "{1, 2}");
  EXPECT_EQ(shown(dict + ")R}K\x01K\x02sb"), "{}");  // attributes are dropped
}

TEST(PickleTest, RefusesEveryOtherNameAtOnce) {
  const std::string message =
      "the pickle calls os.system, which is not part of a state dict (p); save the model's state_dict() alone";
  EXPECT_EQ(refusal("cos\nsystem\n"), message);
  EXPECT_EQ(refusal("cos\nsystem\nX\x02\x00\x00\x00ls\x85R0N"s), message);
  EXPECT_EQ(refusal("\x8c\x02os\x8c\x06system\x93"), message);
  EXPECT_EQ(refusal("ctorch\nSize.__class__\n"),
            "the pickle calls torch.Size.__class__, which is not part of a state dict (p); save the model's "
            "state_dict() alone");
  EXPECT_EQ(refusal("c\xff\nsystem\n"),
            "the pickle calls something without a readable name, which is not part of a state dict (p); "
            "save the model's state_dict() alone");
}

TEST(PickleTest, RefusesOtherOpcodesByName) {
  EXPECT_EQ(refusal("(ios\nsystem\n"), "the pickle uses INST, which a state dict does not need (p)");
  EXPECT_EQ(refusal("ctorch\nSize\n)\x81"), "the pickle uses NEWOBJ, which a state dict does not need (p)");
  EXPECT_EQ(refusal("\x82\x01"), "the pickle uses EXT1, which a state dict does not need (p)");
  EXPECT_EQ(refusal("\xf0"), "the pickle uses 0xf0, which a state dict does not need (p)");
}

TEST(PickleTest, Refusals) {
  const std::string empty = "the pickle takes more from its stack than it put there (p)";
  for (const std::string& body : std::vector<std::string>{"", "0", "1", "(0", "\x85", "t",
                                                          "K\x01"
                                                          "a",
                                                          "]a", "(e", "}K\x01s", "R", "Q", "K\x01(q\x01"s, "2"})
    EXPECT_EQ(refusal(body), empty) << body;
  EXPECT_EQ(refusal("NN"), "the pickle leaves something on its stack (p)");
  EXPECT_EQ(refusal("h\x01"), "the pickle recalls number 1, which it never stored (p)");
  EXPECT_EQ(refusal("]r\xff\xff\xff\x7f"), "the pickle stores under a number that is larger than the pickle (p)");
  EXPECT_EQ(refusal("X\xff\xff\xff\xff"), "the pickle is cut off (p)");
  EXPECT_EQ(refusal("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "the pickle is cut off (p)");
  EXPECT_EQ(refusal("\x95\xff\xff\xff\xff\xff\xff\xff\xff"), "the pickle is cut off (p)");
  EXPECT_EQ(refusal("U\x01\xff"), "the pickle holds text that is not UTF-8 (p)");
  EXPECT_EQ(refusal("NK\x01"
                    "a"),
            "the pickle appends to something that is not a list (p)");
  EXPECT_EQ(refusal("]K\x01K\x01s"), "the pickle sets items of something that is not a dictionary (p)");
  EXPECT_EQ(refusal("}(K\x01u"), "the pickle sets items of something that is not a dictionary (p)");
  EXPECT_EQ(refusal("K\x01)R"), "the pickle calls something that is not a name (p)");
  EXPECT_EQ(refusal("ctorch\nSize\nK\x01R"), "the pickle calls torch.Size without a tuple (p)");
  EXPECT_EQ(refusal("K\x01}b"), "the pickle sets attributes of something that is not an OrderedDict (p)");
  EXPECT_EQ(refusal("K\x01K\x01\x93"), "the pickle names something by what is not text (p)");
  EXPECT_EQ(refusal("ccollections\nOrderedDict\nK\x01\x85R"),
            "the pickle makes an OrderedDict of something that is not a list of pairs (p)");
  EXPECT_EQ(refusal("\x80\x06"), "the pickle has protocol 6, not 2 to 5 (p)");
  EXPECT_EQ(message_of([] { read("(lp0\n."); }),
            "the pickle has no protocol: it is older than protocol 2 or damaged (p)");
  EXPECT_EQ(message_of([] { read(""); }), "the pickle has no protocol: it is older than protocol 2 or damaged (p)");
}

TEST(PickleTest, ASmallPickleCannotUnfoldToALargeOne) {
  std::string body = "ccollections\nOrderedDict\nq\x01](";
  for (int i = 0; i < 100; ++i) body += "K\x01K\x02\x86";
  body +=
      "e\x85q\x02"
      "0";
  for (int i = 0; i < 100; ++i) body += "h\x01h\x02R0";
  EXPECT_EQ(refusal(body + "N"), "the pickle unfolds to more items than it has bytes (p)");
}

TEST(PickleTest, TruncationAtEveryByteIsRefused) {
  const std::string whole =
      pickles::dictionary(pickles::text("w") + "ctorch\nSize\n" + pickles::tuple({1, 2}) + "R" + pickles::text("v") +
                          "]q\x01(h\x01K\x05"
                          "e");
  EXPECT_EQ(read(whole).root, 4u);
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(message_of([&] { read(whole.substr(0, n)); }), "") << n;
}

}  // namespace
}  // namespace solera::checkpoint
