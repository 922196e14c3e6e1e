#include "examples/digits/sweep.h"

#include <cmath>
#include <optional>

#include "solera/base/error.h"
#include "solera/base/random.h"
#include "solera/base/text.h"

namespace solera::examples {
namespace {

struct Choice {
  std::string kind;
  std::vector<std::string> values;
};

// "kind(a, b)" in pieces; nothing for a plain value.
std::optional<Choice> parse_choice(const std::string& text) {
  const std::size_t open = text.find('(');
  if (open == std::string::npos || !text.ends_with(')')) return std::nullopt;
  Choice choice{std::string(trim(text.substr(0, open))), {}};
  for (const auto& piece : split(std::string_view(text).substr(open + 1, text.size() - open - 2), ',')) {
    choice.values.emplace_back(trim(piece));
  }
  return choice;
}

std::string draw(const std::string& name, const Choice& choice, const RandomStream& stream) {
  const auto wrong = [&](const std::string& problem) {
    return usage_error(cat("--", name, " ", choice.kind, "(", join(choice.values, ", "), "): ", problem), "",
                       "log(a, b), uniform(a, b), int(a, b), one(a, b, ...) and each(a, b, ...) are known");
  };
  if (choice.kind == "one") return choice.values[stream.below(0, choice.values.size())];
  if (choice.kind != "log" && choice.kind != "uniform" && choice.kind != "int") throw wrong("no such choice");
  if (choice.values.size() != 2) throw wrong("two bounds are needed");
  const auto low = parse_double(choice.values[0]), high = parse_double(choice.values[1]);
  if (!low || !high || !std::isfinite(*low) || !std::isfinite(*high)) throw wrong("a bound is no number");
  if (*low > *high) throw wrong("the bounds are out of order");
  if (choice.kind == "int") {
    const auto first = parse_int(choice.values[0]), last = parse_int(choice.values[1]);
    if (!first || !last) throw wrong("a bound is no whole number");
    return cat(*first + static_cast<std::int64_t>(stream.below(0, static_cast<std::uint64_t>(*last - *first) + 1)));
  }
  const double u = stream.uniform(0);
  if (choice.kind == "uniform") return number_text(*low + (*high - *low) * u);
  if (*low <= 0.0) throw wrong("the bounds must be above 0");
  return number_text(std::exp(std::log(*low) + (std::log(*high) - std::log(*low)) * u));
}

}  // namespace

std::vector<SweepRun> plan_sweep(const SettingTexts& texts, std::int64_t runs) {
  if (runs < 1) throw usage_error(cat("--runs is ", runs, ", not at least 1"));
  TrainSettings plain;
  std::vector<std::pair<const Setting*, Choice>> listed, drawn;
  for (const Setting& setting : train_settings()) {
    const auto found = texts.find(setting.name);
    if (found == texts.end()) continue;
    auto choice = parse_choice(found->second);
    if (!choice) {
      setting.set(plain, found->second);
    } else if (setting.name == "seed" || setting.name == "run") {
      throw usage_error(cat("--", setting.name, " takes one value for the whole sweep"));
    } else {
      (choice->kind == "each" ? listed : drawn).emplace_back(&setting, std::move(*choice));
    }
  }
  std::int64_t points = 1;
  for (const auto& entry : listed) points *= static_cast<std::int64_t>(entry.second.values.size());
  std::vector<SweepRun> sweep;
  for (std::int64_t place = 0; place < points * runs; ++place) {
    SweepRun run{plain, {}};
    run.settings.run += place;
    std::int64_t rest = place / runs;
    for (auto entry = listed.rbegin(); entry != listed.rend(); ++entry) {
      const auto& [setting, choice] = *entry;
      const auto n = static_cast<std::int64_t>(choice.values.size());
      run.varied[setting->name] = choice.values[static_cast<std::size_t>(rest % n)];
      rest /= n;
    }
    for (const auto& [setting, choice] : drawn) {
      const RandomStream stream({.seed = static_cast<std::uint64_t>(plain.seed),
                                 .purpose = "sweep",
                                 .input = static_cast<std::uint64_t>(run.settings.run),
                                 .name = setting->name});
      run.varied[setting->name] = draw(setting->name, choice, stream);
    }
    for (const auto& [name, text] : run.varied) {
      for (const Setting& setting : train_settings()) {
        if (setting.name == name) setting.set(run.settings, text);
      }
    }
    sweep.push_back(std::move(run));
  }
  return sweep;
}

}  // namespace solera::examples
