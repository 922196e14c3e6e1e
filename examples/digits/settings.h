// The settings of a training by name, each once: `digits train`, `digits sweep` and their help are made from this list.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "examples/digits/train.h"

namespace solera::examples {

struct Setting {
  std::string name;        // "lr", without dashes
  std::string value_name;  // empty: a switch, set to "yes"
  std::string help;
  std::function<void(TrainSettings&, const std::string& text)> set;  // throws Error (usage)
  std::function<std::string(const TrainSettings&)> text;             // reads back to the same value
};

const std::vector<Setting>& train_settings();

}  // namespace solera::examples
