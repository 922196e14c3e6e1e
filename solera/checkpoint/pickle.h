// Python pickles, protocols 2 to 5, read as data: nothing is imported, built or called.
//
//   Pickle pickle = read_pickle(bytes, {"collections.OrderedDict", ...}, "model.pt: data.pkl");
//   const PickleObject& root = pickle[pickle.root];
//
// A small stack machine that makes a table of objects; references are indices, so shared and even circular structures
// cost nothing and leak nothing. A call (REDUCE) becomes an object that records what would have been called with what.
// Names that are not in the list are refused as soon as they appear, whatever the pickle would do with them.
//
// Refused with one line: protocols 0 and 1, opcodes that plain data does not need (by name), more than 8,000,000
// objects, lengths past the end, a stack that runs empty, a memo entry that was never stored, text that is not UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace solera::checkpoint {

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInteger,
  kReal,
  kText,
  kBytes,
  kList,
  kTuple,
  kDict,        // items: key, value, key, value, ...; also an OrderedDict
  kGlobal,      // text: "torch.FloatStorage"
  kPersistent,  // items: the id
  kCall,        // text: what would be called; items: the argument tuple
};

struct PickleObject {
  PickleKind kind = PickleKind::kNone;
  std::int64_t integer = 0;  // of kBool and kInteger
  double real = 0;
  std::string text;
  std::vector<std::uint32_t> items;  // indices of other objects
};

struct Pickle {
  std::vector<PickleObject> objects;
  std::uint32_t root = 0;
  const PickleObject& operator[](std::uint32_t index) const { return objects[index]; }
};

// `allowed` are the names that may appear. A call of collections.OrderedDict with nothing or a list of pairs gives a
// kDict.
Pickle read_pickle(std::span<const std::byte> bytes, std::span<const std::string_view> allowed,
                   const std::string& where);

}  // namespace solera::checkpoint
