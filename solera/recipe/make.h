// One instance of a step: made in its folder, or found there.
//
// The folder is made under the name FOLDER~making and renamed when the command has succeeded, with step.json (keys,
// digest, result, seconds), stdout.log and stderr.log beside its outputs; FOLDER~failed keeps the logs of a failure.
// Values in folder names have no ~. What counts as made is a folder with a step.json whose keys are today's and all
// whose outputs are there.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "solera/recipe/command.h"

namespace solera::recipe {

// What is known of an instance once it is made.
struct Made {
  bool cached = false;
  double seconds = 0;
  Node result;
  std::string digest;  // of its outputs; of what it is, where it has none
};

// What an instance depends on, as hashes with names for people: command, inputs, needed steps, program.
using Keys = std::vector<std::pair<std::string, std::string>>;

class Maker {
 public:
  explicit Maker(const Scene& scene) : scene_(scene) {}

  // `digests` of the needed instances are those of their Made. Thread-safe for different instances.
  Keys keys_of(std::size_t i, const std::vector<std::string>& digests);

  // Why it has to be made: "its command changed"; empty if what is there is good.
  std::string reason(std::size_t i, const Keys& keys) const;
  Made load(std::size_t i) const;

  // Runs its command. Throws Error (input) if that fails, Error (interrupted) when a stop is requested.
  Made make(std::size_t i, const Keys& keys) const;

 private:
  std::string hash_of(const std::string& path);  // once a run
  std::string programs_hash(const std::vector<std::string>& words);

  const Scene& scene_;
  std::mutex mutex_;
  std::map<std::string, std::string> hashes_;  // of inputs and programs
};

}  // namespace solera::recipe
