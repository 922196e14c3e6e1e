#include "solera/recipe/run.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/process.h"
#include "solera/base/text.h"
#include "solera/base/threads.h"

namespace solera::recipe {

namespace {

constexpr const char* kKeyVersion = "solera recipe step 1";

std::string hash_tree(const std::string& path) {
  if (!is_folder(path)) return hash_file(path);
  Hasher hasher;
  for (const std::string& name : list_folder(path)) hasher.add(name).add(hash_tree(join_path(path, name)));
  return hasher.hex();
}

std::string last_line(const std::string& text) {
  const std::string_view trimmed = trim(text);
  const std::size_t end = trimmed.rfind('\n');
  return std::string(end == std::string_view::npos ? trimmed : trimmed.substr(end + 1));
}

enum class State { kWaiting, kRunning, kDone, kFailed, kSkipped };

class Runner {
 public:
  Runner(const Recipe& recipe, const RunOptions& options, Progress& progress)
      : recipe_(recipe), options_(options), progress_(progress), instances_(expand(recipe)) {
    states_.resize(instances_.size());
    digests_.resize(instances_.size());
    results_.resize(instances_.size());
    choose();
  }

  RunReport run() {
    progress_.begin(recipe_.name,
                    static_cast<std::uint64_t>(std::count(states_.begin(), states_.end(), State::kWaiting)), "steps");
    std::vector<std::thread> threads;
    const int jobs = options_.jobs > 0 ? options_.jobs : hardware_threads();
    for (int i = 0; i < jobs; ++i) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    progress_.end();
    if (failure_) std::rethrow_exception(failure_);
    return {std::move(instances_), std::move(results_)};
  }

 private:
  const Step& step_of(std::size_t i) const { return recipe_.steps[instances_[i].step]; }
  std::string folder_of(std::size_t i) const { return join_path(options_.out, instances_[i].folder); }

  // With --only, the steps named and all that they need.
  void choose() {
    require_steps(options_.only);
    require_steps(options_.rerun);
    if (options_.only.empty()) return;
    std::vector<bool> wanted(instances_.size());
    for (std::size_t i = instances_.size(); i-- > 0;) {
      if (std::find(options_.only.begin(), options_.only.end(), step_of(i).name) != options_.only.end())
        wanted[i] = true;
      if (wanted[i])
        for (const std::size_t need : instances_[i].needs) wanted[need] = true;
      else
        states_[i] = State::kSkipped;
    }
  }

  void require_steps(const std::vector<std::string>& names) const {
    std::vector<std::string> known;
    for (const Step& step : recipe_.steps) known.push_back(step.name);
    for (const std::string& name : names)
      if (name != "all" && std::find(known.begin(), known.end(), name) == known.end())
        throw usage_error(cat("recipe ", recipe_.name, " has no step ", name), "", did_you_mean(name, known));
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      std::optional<std::size_t> next;
      bool waiting = false;
      for (std::size_t i = 0; i < instances_.size() && !next; ++i) {
        if (states_[i] != State::kWaiting) continue;
        waiting = true;
        if (blocked_for_good(i))
          states_[i] = State::kSkipped;
        else if (ready(i))
          next = i;
      }
      if (interrupted_ || !waiting) return;
      if (!next) {
        changed_.wait(lock);
        continue;
      }
      states_[*next] = State::kRunning;
      lock.unlock();
      const std::exception_ptr error = attempt(*next);
      lock.lock();
      states_[*next] = error ? State::kFailed : State::kDone;
      if (error && !failure_) failure_ = error;
      changed_.notify_all();
    }
  }

  bool ready(std::size_t i) const {
    return std::all_of(instances_[i].needs.begin(), instances_[i].needs.end(),
                       [this](std::size_t need) { return states_[need] == State::kDone; });
  }
  bool blocked_for_good(std::size_t i) const {
    return std::any_of(instances_[i].needs.begin(), instances_[i].needs.end(), [this](std::size_t need) {
      return states_[need] == State::kFailed || states_[need] == State::kSkipped;
    });
  }

  std::exception_ptr attempt(std::size_t i) {
    try {
      make(i);
      return nullptr;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInterrupted) interrupted_ = true;
      return std::current_exception();
    } catch (...) {
      return std::current_exception();
    }
  }

  // The values of an instance's placeholders. In the key the path of a needed output is its digest instead.
  std::string value_of(std::size_t i, const std::string& name, bool for_key, bool quote) const {
    const Step& step = step_of(i);
    for (std::size_t v = 0; v < step.foreach.size(); ++v)
      if (step.foreach[v].first == name) return instances_[i].values[v];
    if (const auto parameter = recipe_.parameters.find(name); parameter != recipe_.parameters.end())
      return parameter->second;
    if (name == "here") return for_key ? "{here}" : canonical(recipe_.folder);
    const std::string needed = name.substr(0, name.find('.')), output = name.substr(name.rfind('.') + 1);
    const bool all = name.find(".*.") != std::string::npos;
    std::vector<std::string> paths;
    for (const std::size_t need : instances_[i].needs) {
      if (step_of(need).name != needed) continue;
      const std::string path = for_key ? cat(instances_[need].label, "/", output, "#", digests_[need])
                                       : join_path(canonical(folder_of(need)), step_of(need).outputs.at(output));
      paths.push_back(quote ? shell_quote(path) : path);
    }
    if (!all && paths.size() != 1)
      throw input_error(cat("{", name, "} is ", paths.size(), " paths in ", instances_[i].label), step.where,
                        cat("write {", needed, ".*.", output, "} for all of them"));
    return join(paths, " ");
  }

  std::string filled(std::size_t i, const std::string& text, bool for_key, bool quote) const {
    std::map<std::string, std::string> values;
    for (const std::string& name : placeholders(text)) values[name] = value_of(i, name, for_key, quote);
    return fill_placeholders(text, values, false);
  }

  // The words of an argv; one that is just {step.*.output} becomes as many words as there are paths.
  std::vector<std::string> argv_of(std::size_t i, bool for_key) const {
    std::vector<std::string> words;
    for (const std::string& word : step_of(i).argv) {
      const std::string text = filled(i, word, for_key, false);
      if (word.size() > 2 && word.front() == '{' && word.back() == '}' && word.find(".*.") != std::string::npos)
        for (const std::string& one : split(text, ' ')) words.push_back(one);
      else
        words.push_back(text);
    }
    return words;
  }

  std::string key_of(std::size_t i) {
    const Step& step = step_of(i);
    Hasher hasher;
    hasher.add(kKeyVersion);
    const std::string command = step.argv.empty() ? filled(i, step.shell, true, false) : join(argv_of(i, true), "\n");
    hasher.add(command).add(step.result);
    for (const auto& [name, path] : step.outputs) hasher.add(name).add(path);
    for (const std::string& input : step.inputs) {
      const std::string path = filled(i, input, false, false);
      const std::string absolute = path.front() == '/' ? path : join_path(recipe_.folder, path);
      if (!exists(absolute)) throw missing_file(absolute);
      hasher.add(hash_tree(absolute));
    }
    for (const std::size_t need : instances_[i].needs) hasher.add(digests_[need]);
    const std::string program = std::string(trim(command)).substr(0, command.find_first_of(" \n"));
    hasher.add(program_hash(program));
    return hasher.hex();
  }

  // Of the programs that come with us; others are the system's affair.
  std::string program_hash(const std::string& name) {
    const std::string path = join_path(options_.programs, name);
    if (options_.programs.empty() || name.find('/') != std::string::npos || !exists(path)) return "";
    const std::lock_guard lock(programs_mutex_);
    std::string& hash = program_hashes_[name];
    if (hash.empty()) hash = hash_file(path);
    return hash;
  }

  void make(std::size_t i) {
    throw_if_stopped();
    const std::string folder = folder_of(i), record = join_path(folder, "step.json"), key = key_of(i);
    const std::string why = reason_to_run(i, record, key);
    if (why.empty()) {
      const Node node = read_json(record);
      finish(i, node, true);
      return;
    }
    if (options_.explain) progress_.note(cat(instances_[i].label, " runs: ", why));
    const std::string temporary = folder + ".making";
    remove_all(temporary);
    make_folders(temporary);
    const Node node = execute(i, temporary, key);
    write_atomically(join_path(temporary, "step.json"), to_json(node, 2));
    remove_all(folder);
    rename_path(temporary, folder);
    finish(i, node, false);
  }

  std::string reason_to_run(std::size_t i, const std::string& record, const std::string& key) const {
    const auto asked = [&](const std::string& name) {
      return std::find(options_.rerun.begin(), options_.rerun.end(), name) != options_.rerun.end();
    };
    if (asked("all") || asked(step_of(i).name)) return "--rerun asks for it";
    if (!exists(record)) return "it has not run before";
    const Node node = read_json(record);
    const Node* old = node.find("key");
    return old && old->as_text() == key ? "" : "its command, inputs, needed steps or program changed";
  }

  Node execute(std::size_t i, const std::string& folder, const std::string& key) {
    const Step& step = step_of(i);
    Command command;
    command.folder = folder;
    if (step.argv.empty())
      command.shell = filled(i, step.shell, false, true);
    else
      command.argv = argv_of(i, false);
    const char* path = std::getenv("PATH");
    if (!options_.programs.empty())
      command.environment["PATH"] = cat(options_.programs, path ? ":" : "", path ? path : "");
    const Outcome outcome = solera::run(command);
    write_atomically(join_path(folder, "stdout.log"), outcome.output);
    write_atomically(join_path(folder, "stderr.log"), outcome.errors);
    if (outcome.status != 0) {
      const std::string last = last_line(outcome.errors.empty() ? outcome.output : outcome.errors);
      throw input_error(
          cat("step ", instances_[i].label, " ended with status ", outcome.status, last.empty() ? "" : ": ", last),
          cat("log in ", join_path(folder, "stderr.log")),
          cat("its command was: ", step.argv.empty() ? command.shell : join(command.argv, " ")));
    }
    Hasher digest;
    digest.add(key);
    for (const auto& [name, output] : step.outputs) {
      const std::string made = join_path(folder, output);
      if (!exists(made))
        throw input_error(cat("step ", instances_[i].label, " did not make its output ", output), step.where);
      digest.add(name).add(hash_tree(made));
    }
    Node result = result_of(step, outcome, folder);
    digest.add(to_json(result));
    return Node::map({{"key", Node::text(key)},
                      {"digest", Node::text(digest.hex())},
                      {"seconds", Node::number(outcome.seconds)},
                      {"result", std::move(result)}});
  }

  static Node result_of(const Step& step, const Outcome& outcome, const std::string& folder) {
    if (!step.result.empty()) return read_json(join_path(folder, step.result));
    const std::string line = last_line(outcome.output);
    if (line.empty() || line.front() != '{') return {};
    return parse_json(line, step.name);
  }

  void finish(std::size_t i, const Node& record, bool cached) {
    StepResult& result = results_[i];
    result.done = true;
    result.cached = cached;
    result.seconds = record.at("seconds").as_double();
    result.result = record.at("result");
    digests_[i] = record.at("digest").as_text();
    progress_.advance(1);
    if (!cached) progress_.note(cat(instances_[i].label, "  ", duration_text(result.seconds)));
  }

  const Recipe& recipe_;
  const RunOptions& options_;
  Progress& progress_;
  std::vector<Instance> instances_;
  std::vector<State> states_;
  std::vector<std::string> digests_;  // written by the thread that makes an instance, read once it is kDone
  std::vector<StepResult> results_;
  std::map<std::string, std::string> program_hashes_;
  std::mutex mutex_, programs_mutex_;
  std::condition_variable changed_;
  std::exception_ptr failure_;
  std::atomic<bool> interrupted_ = false;
};

}  // namespace

RunReport run_steps(const Recipe& recipe, const RunOptions& options, Progress& progress) {
  make_folders(options.out);
  return Runner(recipe, options, progress).run();
}

}  // namespace solera::recipe
