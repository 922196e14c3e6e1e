#include "solera/recipe/make.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/text.h"

namespace solera::recipe {

namespace {

constexpr const char* kKeyVersion = "solera recipe step 2";

std::string hash_tree(const std::string& path) {
  if (!is_folder(path)) return hash_file(path);
  Hasher hasher;
  for (const std::string& name : list_folder(path)) hasher.add(name).add(hash_tree(join_path(path, name)));
  return hasher.hex();
}

std::string hash_words(const std::vector<std::string>& words) {
  Hasher hasher;
  for (const std::string& word : words) hasher.add(word);
  return hasher.hex();
}

std::string last_line(std::string_view text) {
  const std::string_view trimmed = trim(text);
  return std::string(trimmed.substr(trimmed.rfind('\n') + 1));  // npos + 1 is 0
}

// The JSON object that a program's output ends with, on one line or, from a line that begins with its brace, on
// several.
Node trailing_object(std::string_view output) {
  const std::string_view text = trim(output);
  if (text.empty() || text.back() != '}') return {};
  const std::size_t line = text.rfind("\n{");
  const std::string_view object = line != std::string_view::npos ? text.substr(line + 1) : text;
  if (object.front() != '{') return {};
  try {
    return parse_json(object);
  } catch (const Error&) {  // braces of another kind: the step has no result
    return {};
  }
}

void move_folder(const std::string& from, const std::string& to) {
  remove_all(to);
  rename_path(from, to);
}

}  // namespace

std::string Maker::hash_of(const std::string& path) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = hashes_.find(path); found != hashes_.end()) return found->second;
  }
  const std::string hash = hash_tree(path);  // outside the lock: two threads may do the same work, but none waits
  const std::lock_guard lock(mutex_);
  return hashes_[path] = hash;
}

// Of the programs that come with us and that the command seems to call; others are the system's affair.
std::string Maker::programs_hash(const std::vector<std::string>& words) {
  if (scene_.programs.empty()) return "";
  std::set<std::string> names;
  for (const std::string& word : words)
    for (std::size_t begin = 0; begin < word.size();) {
      const std::size_t end = std::min(word.find_first_of(" \t\n;|&()`'\"<>", begin), word.size());
      const std::string name = word.substr(begin, end - begin);
      if (!name.empty() && name.find('/') == std::string::npos) names.insert(name);
      begin = end + 1;
    }
  Hasher hasher;
  for (const std::string& name : names) {
    const std::string path = join_path(scene_.programs, name);
    if (exists(path) && !is_folder(path)) hasher.add(name).add(hash_of(path));
  }
  return hasher.hex();
}

Keys Maker::keys_of(std::size_t i, const std::vector<std::string>& digests) {
  const Step& step = scene_.step_of(i);
  const std::vector<std::string> words = portable_words(scene_, i);
  Hasher command, inputs, needs;
  command.add(kKeyVersion).add(hash_words(words)).add(step.result);
  for (const auto& [name, path] : step.outputs) command.add(name).add(path);
  for (const std::string& path : inputs_of(scene_, i)) {
    if (!exists(path)) throw missing_file(path);
    inputs.add(hash_of(path));
  }
  for (const std::size_t need : scene_.instances[i].needs) needs.add(digests[need]);
  return {{"its command", command.hex()},
          {"its inputs", inputs.hex()},
          {"what its needed steps left", needs.hex()},
          {"the program that it calls", programs_hash(words)}};
}

std::string Maker::reason(std::size_t i, const Keys& keys) const {
  const std::string folder = scene_.folder_of(i), record = join_path(folder, "step.json");
  if (!exists(record)) return "it has not been made yet";
  Node node;
  try {
    node = read_json(record);
  } catch (const Error&) {
    return cat(record, " cannot be read");
  }
  const Node* old = node.find("keys");
  std::vector<std::string> changed;
  for (const auto& [name, hash] : keys) {
    const Node* before = old ? old->find(name) : nullptr;
    if (!before || before->as_text() != hash) changed.push_back(name);
  }
  if (!changed.empty()) return cat(join(changed, " and "), " changed");
  for (const auto& [name, path] : scene_.step_of(i).outputs)
    if (!exists(join_path(folder, path))) return cat("its output ", path, " is gone");
  return "";
}

Made Maker::load(std::size_t i) const {
  const Node node = read_json(join_path(scene_.folder_of(i), "step.json"));
  return {.cached = true,
          .seconds = node.at("seconds").as_double(),
          .result = node.at("result"),
          .digest = node.at("digest").as_text()};
}

Made Maker::make(std::size_t i, const Keys& keys) const {
  const Step& step = scene_.step_of(i);
  const std::string& label = scene_.instances[i].label;
  const std::string folder = scene_.folder_of(i), making = folder + "~making", failed = folder + "~failed";
  const Command command = command_of(scene_, i, making);
  remove_all(making);
  remove_all(failed);
  make_folders(making);
  Outcome outcome;
  try {
    outcome = run(command);
  } catch (const Error& error) {
    remove_all(making);
    if (error.kind() == ErrorKind::kInterrupted) throw;
    throw Error(error.kind(), cat("step ", label, ": ", error.problem()), error.where(), error.hint());
  }
  write_atomically(join_path(making, "stdout.log"), outcome.output);
  write_atomically(join_path(making, "stderr.log"), outcome.errors);
  const auto refuse = [&](const std::string& problem, const std::string& hint) {
    move_folder(making, failed);
    const char* log = outcome.errors.empty() && !outcome.output.empty() ? "stdout.log" : "stderr.log";
    throw input_error(cat("step ", label, " ", problem), cat("log: ", join_path(failed, log)), hint);
  };
  if (outcome.status != 0) {
    const std::string last = last_line(trim(outcome.errors).empty() ? outcome.output : outcome.errors);
    refuse(cat("ended with status ", outcome.status, last.empty() ? "" : ": ", last),
           cat("its command was: ", step.argv.empty() ? command.shell : join(command.argv, " ")));
  }
  Made made{.seconds = outcome.seconds};
  Hasher digest;
  for (const auto& [name, output] : step.outputs) {
    const std::string path = join_path(making, output);
    if (!exists(path)) refuse(cat("did not make its output ", output), "");
    digest.add(name).add(hash_tree(path));
  }
  if (!step.result.empty()) {
    const std::string path = join_path(making, step.result);
    if (!exists(path)) refuse(cat("did not make its result ", step.result), "");
    try {
      made.result = parse_json(read_file(path), step.result);
    } catch (const Error& error) {
      refuse(cat("made a result that is no JSON: ", error.problem(), " at ", error.where()), "");
    }
  } else {
    made.result = trailing_object(outcome.output);
  }
  Node record = Node::map();
  for (const auto& [name, hash] : keys) {
    record.set(name, Node::text(hash));
    if (step.outputs.empty()) digest.add(hash);
  }
  if (step.outputs.empty()) digest.add(to_json(made.result));
  made.digest = digest.hex();
  write_atomically(join_path(making, "step.json"), to_json(Node::map({{"step", Node::text(label)},
                                                                      {"keys", std::move(record)},
                                                                      {"digest", Node::text(made.digest)},
                                                                      {"seconds", Node::number(made.seconds)},
                                                                      {"result", made.result}}),
                                                           2) +
                                                       "\n");
  // The record goes first, so that a folder which loses its files for the new one never looks whole.
  remove_all(join_path(folder, "step.json"));
  move_folder(making, folder);
  return made;
}

}  // namespace solera::recipe
