#include "solera/checkpoint/pickle.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/checkpoint/bytes.h"

namespace solera::checkpoint {
namespace {

constexpr std::size_t kMaxObjects = 8'000'000;
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

// Names as in Python's pickletools.
enum Opcode : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNoneOp = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalOp = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTupleOp = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

// Opcodes that pickles have and plain data does not need, for the message.
std::string opcode_name(std::uint8_t code) {
  static constexpr std::pair<std::uint8_t, std::string_view> kNames[] = {
      {'i', "INST"},       {'o', "OBJ"},         {'F', "FLOAT"},        {'I', "INT"},
      {'L', "LONG"},       {'P', "PERSID"},      {'S', "STRING"},       {'V', "UNICODE"},
      {'d', "DICT"},       {'g', "GET"},         {'l', "LIST"},         {'p', "PUT"},
      {0x81, "NEWOBJ"},    {0x82, "EXT1"},       {0x83, "EXT2"},        {0x84, "EXT4"},
      {0x8b, "LONG4"},     {0x8f, "EMPTY_SET"},  {0x90, "ADDITEMS"},    {0x91, "FROZENSET"},
      {0x92, "NEWOBJ_EX"}, {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"}};
  for (const auto& [value, name] : kNames)
    if (value == code) return std::string(name);
  char text[8];
  std::snprintf(text, sizeof text, "0x%02x", code);
  return text;
}

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::span<const std::string_view> allowed, const std::string& where)
      : bytes_(bytes), allowed_(allowed), where_(where) {
    for (const std::int64_t value : {0, 1, 2})  // None, False and True are objects 0, 1 and 2 of every pickle
      made_.objects.push_back({value ? PickleKind::kBool : PickleKind::kNone, value == 2, 0, {}, {}});
    made_.objects.push_back({PickleKind::kTuple, 0, 0, {}, {}});
  }

  Pickle run() {
    if (bytes_.size() < 2 || byte(0) != kProto)
      throw bad("the pickle has no protocol: it is older than protocol 2 or damaged");
    while (step()) {
    }
    return std::move(made_);
  }

 private:
  Error bad(std::string what, std::string hint = "") const {
    return input_error(std::move(what), where_, std::move(hint));
  }

  std::uint8_t byte(std::size_t at) const { return static_cast<std::uint8_t>(bytes_[at]); }

  template <class T>
  T number() {
    need(sizeof(T));
    const T value = little<T>(bytes_, at_);
    at_ += sizeof(T);
    return value;
  }
  void need(std::uint64_t count) const {
    if (count > bytes_.size() - at_) throw bad("the pickle is cut off");
  }
  std::string characters(std::uint64_t count) {
    need(count);
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return text;
  }
  std::string line() {
    std::string text;
    for (;; ++at_) {
      need(1);
      if (byte(at_) == '\n') break;
      text += static_cast<char>(byte(at_));
    }
    ++at_;
    return text;
  }

  void push(PickleObject object) {
    if (made_.objects.size() >= kMaxObjects) throw bad(cat("the pickle has more than ", kMaxObjects, " objects"));
    made_.objects.push_back(std::move(object));
    stack_.push_back(static_cast<std::uint32_t>(made_.objects.size() - 1));
  }
  void push_text(std::string text, PickleKind kind) {
    if (kind == PickleKind::kText && !is_utf8(text)) throw bad("the pickle holds text that is not UTF-8");
    push({kind, 0, 0, std::move(text), {}});
  }
  void push_integer(std::int64_t value) { push({PickleKind::kInteger, value, 0, {}, {}}); }

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::uint32_t pop() {
    const std::uint32_t index = top();
    stack_.pop_back();
    return index;
  }
  std::uint32_t top() const {
    if (stack_.size() <= floor()) throw bad("the pickle takes more from its stack than it put there");
    return stack_.back();
  }
  std::vector<std::uint32_t> pop_mark() {
    if (marks_.empty()) throw bad("the pickle takes more from its stack than it put there");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<std::uint32_t> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void push_tuple(std::size_t count) {
    std::vector<std::uint32_t> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    push({PickleKind::kTuple, 0, 0, {}, std::move(items)});
  }
  void append(PickleKind kind, const std::vector<std::uint32_t>& items) {
    PickleObject& target = made_.objects[top()];
    if (target.kind != kind || (kind == PickleKind::kDict && items.size() % 2 != 0))
      throw bad(kind == PickleKind::kDict ? "the pickle sets items of something that is not a dictionary"
                                          : "the pickle appends to something that is not a list");
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  void push_global(const std::string& module, const std::string& name) {
    const std::string full = module + "." + name;
    if (std::find(allowed_.begin(), allowed_.end(), full) == allowed_.end())
      throw bad("the pickle calls " +
                    (is_utf8(full) && full.size() < 200 ? full : "something without a readable name") +
                    ", which is not part of a state dict",
                "save the model's state_dict() alone");
    push({PickleKind::kGlobal, 0, 0, full, {}});
  }
  void call() {
    const std::uint32_t arguments = pop(), callee = pop();
    if (made_[callee].kind != PickleKind::kGlobal) throw bad("the pickle calls something that is not a name");
    if (made_[arguments].kind != PickleKind::kTuple)
      throw bad("the pickle calls " + made_[callee].text + " without a tuple");
    if (made_[callee].text == kOrderedDict) {
      push({PickleKind::kDict, 0, 0, {}, pairs(arguments)});
    } else {
      push({PickleKind::kCall, 0, 0, made_[callee].text, {arguments}});
    }
  }
  std::vector<std::uint32_t> pairs(std::uint32_t arguments) {
    std::vector<std::uint32_t> result;
    if (made_[arguments].items.empty()) return result;
    const PickleObject& list = made_[made_[arguments].items.front()];
    bool good = made_[arguments].items.size() == 1 && list.kind == PickleKind::kList;
    for (std::size_t i = 0; good && i < list.items.size(); ++i) {
      const PickleObject& pair = made_[list.items[i]];
      good = pair.items.size() == 2 && (pair.kind == PickleKind::kList || pair.kind == PickleKind::kTuple);
      if (good) result.insert(result.end(), pair.items.begin(), pair.items.end());
    }
    if (!good) throw bad("the pickle makes an OrderedDict of something that is not a list of pairs");
    // One list may be named often: without a limit a small pickle would copy it without end.
    if ((copied_ += result.size()) > bytes_.size()) throw bad("the pickle unfolds to more items than it has bytes");
    return result;
  }
  // Attributes of an OrderedDict (torch puts module versions there) are dropped; nothing else has any here.
  void build() {
    pop();
    if (made_[top()].kind != PickleKind::kDict)
      throw bad("the pickle sets attributes of something that is not an OrderedDict");
  }

  void put(std::uint64_t place) {
    if (place > bytes_.size()) throw bad("the pickle stores under a number that is larger than the pickle");
    if (place >= memo_.size()) memo_.resize(static_cast<std::size_t>(place) + 1, kNothing);
    memo_[static_cast<std::size_t>(place)] = top();
    next_memo_ = std::max<std::uint64_t>(next_memo_, place + 1);
  }
  void get(std::uint64_t place) {
    if (place >= memo_.size() || memo_[static_cast<std::size_t>(place)] == kNothing)
      throw bad(cat("the pickle recalls number ", place, ", which it never stored"));
    stack_.push_back(memo_[static_cast<std::size_t>(place)]);
  }
  void long1() {
    const std::size_t count = number<std::uint8_t>();
    std::string digits = characters(count);
    if (count > 8)
      return push_text(std::move(digits), PickleKind::kBytes);  // larger than any size that a tensor can have
    const bool negative = count > 0 && (static_cast<unsigned char>(digits.back()) & 0x80);
    digits.resize(8, negative ? '\xff' : '\0');
    push_integer(static_cast<std::int64_t>(little<std::uint64_t>(std::as_bytes(std::span<const char>(digits)), 0)));
  }
  void real() {
    std::uint64_t value = 0;  // the only big-endian number in a pickle
    need(8);
    for (int i = 0; i < 8; ++i) value = value << 8 | byte(at_++);
    push({PickleKind::kReal, 0, std::bit_cast<double>(value), {}, {}});
  }
  void stack_global() {
    const std::uint32_t name = pop(), module = pop();
    if (made_[name].kind != PickleKind::kText || made_[module].kind != PickleKind::kText)
      throw bad("the pickle names something by what is not text");
    push_global(std::string(made_[module].text), std::string(made_[name].text));
  }
  void proto() {
    const int version = number<std::uint8_t>();
    if (version < 2 || version > 5) throw bad(cat("the pickle has protocol ", version, ", not 2 to 5"));
  }

  // False after STOP.
  bool step() {
    need(1);
    const std::uint8_t code = byte(at_++);
    switch (code) {
      case kProto:
        proto();
        break;
      case kFrame:
        need(number<std::uint64_t>());
        break;
      case kStop: {
        made_.root = pop();
        if (!stack_.empty() || !marks_.empty()) throw bad("the pickle leaves something on its stack");
        return false;
      }
      case kMark:
        marks_.push_back(stack_.size());
        break;
      case kPop:
        pop();
        break;
      case kPopMark:
        pop_mark();
        break;
      case kDup:
        stack_.push_back(top());
        break;
      case kNoneOp:
        stack_.push_back(0);
        break;
      case kNewFalse:
        stack_.push_back(1);
        break;
      case kNewTrue:
        stack_.push_back(2);
        break;
      case kEmptyTuple:
        stack_.push_back(3);
        break;
      case kBinInt:
        push_integer(static_cast<std::int32_t>(number<std::uint32_t>()));
        break;
      case kBinInt1:
        push_integer(number<std::uint8_t>());
        break;
      case kBinInt2:
        push_integer(number<std::uint16_t>());
        break;
      case kLong1:
        long1();
        break;
      case kBinFloat:
        real();
        break;
      case kBinUnicode:
      case kBinString:
        push_text(characters(number<std::uint32_t>()), PickleKind::kText);
        break;
      case kShortBinUnicode:
      case kShortBinString:
        push_text(characters(number<std::uint8_t>()), PickleKind::kText);
        break;
      case kBinUnicode8:
        push_text(characters(number<std::uint64_t>()), PickleKind::kText);
        break;
      case kBinBytes:
        push_text(characters(number<std::uint32_t>()), PickleKind::kBytes);
        break;
      case kShortBinBytes:
        push_text(characters(number<std::uint8_t>()), PickleKind::kBytes);
        break;
      case kBinBytes8:
        push_text(characters(number<std::uint64_t>()), PickleKind::kBytes);
        break;
      case kEmptyList:
        push({PickleKind::kList, 0, 0, {}, {}});
        break;
      case kEmptyDict:
        push({PickleKind::kDict, 0, 0, {}, {}});
        break;
      case kTupleOp:
        push({PickleKind::kTuple, 0, 0, {}, pop_mark()});
        break;
      case kTuple1:
        push_tuple(1);
        break;
      case kTuple2:
        push_tuple(2);
        break;
      case kTuple3:
        push_tuple(3);
        break;
      case kAppend:
        append_one();
        break;
      case kAppends:
        append_all(PickleKind::kList);
        break;
      case kSetItem:
        set_one();
        break;
      case kSetItems:
        append_all(PickleKind::kDict);
        break;
      case kGlobalOp:
        global();
        break;
      case kStackGlobal:
        stack_global();
        break;
      case kReduce:
        call();
        break;
      case kBuild:
        build();
        break;
      case kBinPersId:
        push({PickleKind::kPersistent, 0, 0, {}, {pop()}});
        break;
      case kMemoize:
        put(next_memo_);
        break;
      case kBinPut:
        put(number<std::uint8_t>());
        break;
      case kLongBinPut:
        put(number<std::uint32_t>());
        break;
      case kBinGet:
        get(number<std::uint8_t>());
        break;
      case kLongBinGet:
        get(number<std::uint32_t>());
        break;
      default:
        throw bad("the pickle uses " + opcode_name(code) + ", which a state dict does not need");
    }
    return true;
  }
  void global() {
    const std::string module = line();
    push_global(module, line());
  }
  void append_one() {
    const std::uint32_t item = pop();
    append(PickleKind::kList, {item});
  }
  void set_one() {
    const std::uint32_t value = pop(), key = pop();
    append(PickleKind::kDict, {key, value});
  }
  void append_all(PickleKind kind) {
    const std::vector<std::uint32_t> items = pop_mark();
    append(kind, items);
  }

  static constexpr std::uint32_t kNothing = 0xffffffff;
  std::span<const std::byte> bytes_;
  std::span<const std::string_view> allowed_;
  const std::string& where_;
  std::size_t at_ = 0;
  Pickle made_;
  std::vector<std::uint32_t> stack_, memo_;
  std::vector<std::size_t> marks_;
  std::uint64_t next_memo_ = 0, copied_ = 0;
};

}  // namespace

Pickle read_pickle(std::span<const std::byte> bytes, std::span<const std::string_view> allowed,
                   const std::string& where) {
  return Machine(bytes, allowed, where).run();
}

}  // namespace solera::checkpoint
