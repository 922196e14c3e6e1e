// A parameter of a method, written once: the list that `fields()` makes of a params struct.
//
//   struct TaskParams { double lambda = 1.0; };
//   template <class Visitor> void fields(TaskParams& p, Visitor&& field) {
//     field("lambda", p.lambda, "factor on the summed changes", "finite").alias("alpha");
//   }
//
// The struct's initialisers are the paper's defaults. mergekit() gives the default that a configuration file gets under
// mergekit's rules where it differs; mergekit_required() says that such a file must give it. From these lists come the
// YAML reader, `--help`, `solera methods NAME`, the tables of docs/methods.md and the Python signatures.
//
// Ranges are text that is checked: "finite", "(0, 1]", "[0, inf)", "{a | b}" for names (without braces: "a | b"), or
// anything else, which the method checks itself ("[0, 1 - keep]").
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "solera/base/document.h"

namespace solera::merge {

enum class Rules { kMergekit, kPaper };

struct EnumTarget {
  std::function<void(int)> set;
  std::function<int()> get;
};
struct FilePath {
  std::string path;  // as the configuration writes it
};
using FieldTarget = std::variant<double*, std::int64_t*, bool*, EnumTarget, FilePath*>;

struct Field {
  std::string name, meaning, range;
  FieldTarget target;
  std::vector<std::string> aliases;
  std::optional<std::string> mergekit_default;  // as text
  bool required = false;                        // under either rules
  bool required_by_mergekit = false;
  bool of_group = false;  // counts over a group of entries: one value for all tensors where the model is one group

  Field& alias(std::string other) {
    aliases.push_back(std::move(other));
    return *this;
  }
  Field& mergekit(std::string text) {
    mergekit_default = std::move(text);
    return *this;
  }
  Field& mergekit(const char* text) { return mergekit(std::string(text)); }  // else text would turn into a bool
  Field& mergekit(double value);
  Field& mergekit(int value) { return mergekit(static_cast<double>(value)); }
  Field& mergekit(bool value);
  Field& must() {
    required = true;
    return *this;
  }
  Field& mergekit_required() {
    required_by_mergekit = true;
    return *this;
  }

  Field& per_group() {
    of_group = true;
    return *this;
  }

  std::string default_text() const;          // the present value of the target
  bool is_file() const;                      // names a file
  bool discrete() const;                     // a gradient picks one of its values instead of going between two
  std::vector<std::string> choices() const;  // of an enumeration: the names in `range`
  // Reads a scalar into the target. Under mergekit's rules a number outside the range is taken as it is and reported
  // through the return value (a warning line); under the paper's it is an Error (usage) with the node's position.
  std::optional<std::string> assign(const Node& value, Rules rules) const;
};

class FieldCollector {
 public:
  template <class T>
  Field& operator()(std::string name, T& value, std::string meaning, std::string range = "") {
    Field field{std::move(name), std::move(meaning), std::move(range), {}, {}, {}, false, false};
    if constexpr (std::is_enum_v<T>) {
      field.target =
          EnumTarget{[&value](int i) { value = static_cast<T>(i); }, [&value] { return static_cast<int>(value); }};
    } else {
      field.target = &value;
    }
    list.push_back(std::move(field));
    return list.back();
  }
  std::vector<Field> list;
};

// The fields of a params object, bound to it; it must outlive them and stay where it is.
template <class Params>
std::vector<Field> fields_of(Params& params) {
  FieldCollector collector;
  fields(params, collector);
  return std::move(collector.list);
}

// The value of a name for the tensor at hand, gradients and filters already applied; null if the file gives none.
using Lookup = std::function<std::optional<Node>(const std::string& name)>;

// Is the number inside a range such as "(0, 1]", "[0, inf)" or "finite"? True for texts that are no such range.
bool in_range(double value, std::string_view range);

// Fills a params struct: each field from the file (by name or alias; giving both is an error), else from mergekit's
// default under its rules, else as initialised. Throws Error (usage) for a missing required value: `missing parameter
// "weight" for fine-a`. Warnings are appended.
void resolve_fields(std::vector<Field>& fields, const Lookup& lookup, Rules rules, const std::string& owner,
                    std::vector<std::string>& warnings);

// Where the whole model is one group: the fields per_group() have the values that they had at its first tensor. Throws
// Error (usage): `granularity: model takes one "density" for all tensors, and that of fine-a is 0.5 at w but 0.3`.
void require_values_of_group(std::span<const Field> first, std::span<const Field> here, const std::string& owner,
                             const std::string& first_tensor);

struct NoParams {};
template <class Visitor>
void fields(NoParams&, Visitor&&) {}

}  // namespace solera::merge
