// Many trainings with settings that are drawn or listed, as texts in place of plain values:
//
//   log(a, b)      10^U(log a, log b), rounded to six digits        int(a, b)     a whole number from a to b
//   uniform(a, b)  U(a, b), rounded to six digits                   one(a, b, c)  one of these
//   each(a, b, c)  all of these: settings with each() form a grid
//
// `runs` trainings are made at every point of the grid. The grid's first setting in the list's order varies slowest. A
// draw depends on (seed, place in the sweep, setting's name) alone.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "examples/digits/settings.h"

namespace solera::examples {

using SettingTexts = std::map<std::string, std::string>;  // by the setting's name, without dashes

struct SweepRun {
  TrainSettings settings;  // run counts on from the `run` that was given
  SettingTexts varied;     // the texts of settings that were drawn or listed
};

// Throws Error (usage): an unknown kind, bounds that are no numbers or out of order, the first bound of log() not above
// 0.
std::vector<SweepRun> plan_sweep(const SettingTexts& texts, std::int64_t runs);

}  // namespace solera::examples
