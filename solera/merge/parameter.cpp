#include "solera/merge/parameter.h"

#include <cmath>
#include <optional>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/method.h"

namespace solera::merge {
namespace {

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overload(Cases...) -> Overload<Cases...>;

std::string given(const Field& field, const Node& value) {
  return cat("\"", field.name, "\" is \"", value.as_text(), "\"");
}

Error not_a(const Field& field, const Node& value, std::string_view what) {
  if (!value.is_scalar())
    return usage_error(cat("\"", field.name, "\" is not a single value"), value.where(), cat("give ", what));
  return usage_error(cat(given(field, value), ", not ", what), value.where());
}

std::optional<double> bound_of(std::string_view text) {
  text = trim(text);
  if (text == "inf") return INFINITY;
  if (text == "-inf") return -INFINITY;
  return parse_double(text);
}

}  // namespace

bool in_range(double value, std::string_view range) {
  range = trim(range);
  if (range.size() < 5 || (range.front() != '(' && range.front() != '[') ||
      (range.back() != ')' && range.back() != ']'))
    return true;
  const std::size_t comma = range.find(',');
  if (comma == std::string_view::npos) return true;
  const auto low = bound_of(range.substr(1, comma - 1));
  const auto high = bound_of(range.substr(comma + 1, range.size() - comma - 2));
  if (!low || !high) return true;
  const bool above = range.front() == '(' ? value > *low : value >= *low;
  const bool below = range.back() == ')' ? value < *high : value <= *high;
  return above && below;
}

Field& Field::mergekit(double value) { return mergekit(exact_text(value)); }
Field& Field::mergekit(bool value) { return mergekit(std::string(value ? "true" : "false")); }

bool Field::is_file() const { return std::holds_alternative<FilePath*>(target); }

bool Field::discrete() const {
  return !std::holds_alternative<double*>(target) && !std::holds_alternative<std::int64_t*>(target);
}

std::string Field::default_text() const {
  return std::visit(
      Overload{[](const double* p) { return exact_text(*p); }, [](const std::int64_t* p) { return std::to_string(*p); },
               [](const bool* p) { return std::string(*p ? "true" : "false"); },
               [](const FilePath* p) { return p->path; },
               [this](const EnumTarget& e) {
                 const auto names = choices();
                 const auto i = static_cast<std::size_t>(e.get());
                 return i < names.size() ? names[i] : std::to_string(i);
               }},
      target);
}

std::vector<std::string> Field::choices() const {
  std::vector<std::string> names;
  std::string_view text = trim(range);
  if (text.size() >= 2 && text.front() == '{' && text.back() == '}') text = text.substr(1, text.size() - 2);
  if (text.find('|') == std::string_view::npos) return names;
  for (const std::string& piece : split(text, '|')) names.emplace_back(trim(piece));
  return names;
}

std::optional<std::string> Field::assign(const Node& value, Rules rules) const {
  if (!value.is_scalar())
    throw not_a(*this, value, is_file() ? "the name of a file" : discrete() ? "a value" : "a number");
  const auto check = [&](double number) -> std::optional<std::string> {
    if (!std::isfinite(number)) throw usage_error(cat(given(*this, value), ", not finite"), value.where());
    if (in_range(number, range)) return std::nullopt;
    const std::string problem = cat("\"", name, "\" is ", exact_text(number), ", outside ", range);
    if (rules == Rules::kPaper) throw usage_error(problem, value.where());
    return value.where().empty() ? problem : cat(problem, " (", value.where(), ")");
  };
  return std::visit(Overload{[&](double* p) {
                               const auto number = value.try_double();
                               const auto truth = number ? std::nullopt : value.try_bool();
                               if (!number && !truth) throw not_a(*this, value, "a number");
                               *p = number ? *number : (*truth ? 1.0 : 0.0);
                               return check(*p);
                             },
                             [&](std::int64_t* p) {
                               const auto number = value.try_double();
                               if (!number || *number != std::floor(*number) || std::fabs(*number) > 9e15)
                                 throw not_a(*this, value, "a whole number");
                               *p = static_cast<std::int64_t>(*number);
                               return check(*number);
                             },
                             [&](bool* p) -> std::optional<std::string> {
                               const auto number = value.try_double();
                               const auto truth =
                                   number && (*number == 0 || *number == 1) ? *number == 1 : value.try_bool();
                               if (!truth) throw not_a(*this, value, "true or false");
                               *p = *truth;
                               return std::nullopt;
                             },
                             [&](FilePath* p) -> std::optional<std::string> {
                               if (value.as_text().empty()) throw not_a(*this, value, "the name of a file");
                               p->path = value.as_text();
                               return std::nullopt;
                             },
                             [&](const EnumTarget& e) -> std::optional<std::string> {
                               const auto names = choices();
                               for (std::size_t i = 0; i < names.size(); ++i)
                                 if (names[i] == value.as_text()) {
                                   e.set(static_cast<int>(i));
                                   return std::nullopt;
                                 }
                               throw usage_error(cat(given(*this, value), ", not one of ", join(names, ", ")),
                                                 value.where(), did_you_mean(value.as_text(), names));
                             }},
                    target);
}

void resolve_fields(std::vector<Field>& fields, const Lookup& lookup, Rules rules, const std::string& owner,
                    std::vector<std::string>& warnings) {
  for (Field& field : fields) {
    std::optional<Node> value = lookup ? lookup(field.name) : std::nullopt;
    const std::string* spelled = &field.name;
    for (const std::string& alias : field.aliases) {
      std::optional<Node> other = lookup ? lookup(alias) : std::nullopt;
      if (!other) continue;
      if (value)
        throw usage_error(cat("\"", *spelled, "\" and \"", alias, "\" are both given, and are one parameter"),
                          other->where(), "keep one of them");
      value = std::move(other);
      spelled = &alias;
    }
    if (value) {
      if (auto warning = field.assign(*value, rules))
        warnings.push_back(owner.empty() ? *warning : cat(owner, ": ", *warning));
      continue;
    }
    if (field.required || (field.required_by_mergekit && rules == Rules::kMergekit))
      throw usage_error(cat("missing parameter \"", field.name, "\"", owner.empty() ? "" : " for ", owner));
    if (field.mergekit_default && rules == Rules::kMergekit)
      (void)field.assign(Node::text(*field.mergekit_default), Rules::kMergekit);
  }
}

void require_values_of_group(std::span<const Field> first, std::span<const Field> here, const std::string& owner,
                             const std::string& first_tensor) {
  for (std::size_t i = 0; i < here.size(); ++i) {
    const std::string before = first[i].default_text(), now = here[i].default_text();
    if (!here[i].of_group || before == now) continue;
    throw usage_error(
        cat("granularity: model takes one \"", here[i].name, "\" for all tensors, and ",
            owner.empty() ? "it" : "that of " + owner, " is ", before, " at ", first_tensor, " but ", now),
        "", "give one value, without gradient, filter or slice, or set granularity: tensor");
  }
}

std::string describe_fields(std::span<const Field> fields) {
  std::string text;
  for (const Field& field : fields) text += cat(text.empty() ? "" : ", ", field.name, " ", field.default_text());
  return text;
}

}  // namespace solera::merge
