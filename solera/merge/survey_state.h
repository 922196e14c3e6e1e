// What a method's look at the whole model found, as bytes: one process of several looks, the others take it over, bit
// for bit. A method says what belongs to it once, for both directions:
//
//   bool survey_state(SurveyState& state) override {
//     state(bands_, positive_);
//     return true;
//   }
//
// Numbers, truth values, enumerations and vectors of them go as they are; a type of one's own needs a function
// visit_state(SurveyState&, Type&) beside it.
//
// The file OUT.partial/survey.state (docs/formats/journal.md): a line {"solera_survey": 1, "plan": HASH, "bytes": N,
// "xxh3": HASH}, then N bytes, little-endian.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "solera/base/error.h"

namespace solera::merge {

class SurveyState {
 public:
  SurveyState() = default;  // takes values
  explicit SurveyState(std::string bytes) : bytes_(std::move(bytes)), giving_(true) {}

  // Takes or gives the values, in the same order both times. Throws Error (input) if it holds fewer bytes.
  template <class... Types>
  void operator()(Types&... values) {
    (visit(values), ...);
  }
  const std::string& bytes() const { return bytes_; }
  bool is_used_up() const { return at_ == bytes_.size(); }

 private:
  static_assert(std::endian::native == std::endian::little);

  template <class T>
  void visit(T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>)
      raw(&value, sizeof value);
    else
      visit_state(*this, value);
  }
  template <class T>
  void visit(std::vector<T>& values) {
    static_assert(!std::is_same_v<T, bool>);
    std::uint64_t count = values.size();
    visit(count);
    if (giving_) {
      require(count);  // each has a byte at least
      values.assign(static_cast<std::size_t>(count), T());
    }
    for (T& value : values) visit(value);
  }
  void raw(void* value, std::size_t size) {
    if (!giving_) {
      bytes_.append(static_cast<const char*>(value), size);
      return;
    }
    require(size);
    std::memcpy(value, bytes_.data() + at_, size);
    at_ += size;
  }
  void require(std::uint64_t size) const {
    if (size > bytes_.size() - at_) throw input_error("the state of a survey ends early");
  }

  std::string bytes_;
  std::size_t at_ = 0;
  bool giving_ = false;
};

// The file of a survey's state in a staging folder.
std::string survey_path(const std::string& folder);
void write_survey(const std::string& folder, const std::string& plan, const SurveyState& state);  // whole or not there
// Throws Error (input): another plan's, or damaged.
SurveyState read_survey(const std::string& folder, const std::string& plan);

}  // namespace solera::merge
