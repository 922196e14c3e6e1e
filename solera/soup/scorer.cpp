#include "solera/soup/scorer.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <map>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/hash.h"
#include "solera/base/process.h"
#include "solera/base/text.h"

namespace solera::soup {
namespace {

// Words in a metric's name for which less is better.
constexpr std::string_view kLossWords[] = {"loss", "perplexity", "ppl", "error",         "wer",   "cer", "mse",
                                           "mae",  "rmse",       "nll", "bits_per_byte", "brier", "fid"};

constexpr std::string_view kScratchPrefix = "scratch-";

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "host";
}

// What killed processes of this machine left in the cache folder: scratch-HOST-PID-N.
void remove_abandoned(const std::string& folder) {
  if (!exists(folder)) return;
  const std::string ours = cat(kScratchPrefix, host_name(), "-");
  for (const std::string& name : list_folder(folder)) {
    if (!name.starts_with(ours)) continue;
    const auto pieces = split(std::string_view(name).substr(ours.size()), '-');
    const auto pid = pieces.size() == 2 ? parse_int(pieces[0]) : std::nullopt;
    if (pid && *pid > 0 && ::kill(static_cast<::pid_t>(*pid), 0) != 0 && errno == ESRCH)
      remove_all(join_path(folder, name));
  }
}

// A path that stays good when the program changes its folder. Links stay: their names may carry the format.
std::string absolute(const std::string& path) { return std::filesystem::absolute(path).lexically_normal().string(); }

// Programs and scripts that a command names: changing one changes the score.
std::vector<std::string> programs_in(const EvaluatorOptions& options) {
  std::string text = options.shell;
  for (const std::string& argument : options.argv) text += "\n" + argument;
  std::vector<std::string> found;
  const std::string_view separators = " \t\n'\"=;|&()<>`";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t from = text.find_first_not_of(separators, at);
    if (from == std::string::npos) break;
    at = std::min(text.find_first_of(separators, from), text.size());
    const std::string word = text.substr(from, at - from);
    struct stat info;
    if (::stat(word.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    bool program = (info.st_mode & 0111) != 0;
    for (const std::string_view ending : {".py", ".sh", ".r", ".R", ".jl", ".pl", ".rb", ".js", ".lua"})
      program = program || word.ends_with(ending);
    if (program) found.push_back(word);
  }
  return found;
}

std::string last_line(std::string_view text) {
  text = trim(text);
  const std::size_t at = text.rfind('\n');
  return std::string(trim(at == std::string_view::npos ? text : text.substr(at + 1)).substr(0, 200));
}

}  // namespace

void require_evaluator(const EvaluatorOptions& options) {
  if (options.threads < 1) throw usage_error(cat("--threads is ", options.threads, ", less than 1"));
  if (!(options.timeout_seconds >= 0))
    throw usage_error(cat("--timeout is ", exact_text(options.timeout_seconds), ", less than 0"));
  for (const std::string& path : options.data)
    if (!exists(path)) throw missing_file(path);
}

EvaluatorOptions share_of(EvaluatorOptions all, int jobs) {
  all.threads = std::max(1, all.threads / jobs);
  all.memory /= static_cast<std::uint64_t>(jobs);
  return all;
}

void require_share(const EvaluatorOptions& all, int jobs, std::uint64_t least, const std::string& candidate) {
  if (least <= share_of(all, jobs).memory) return;
  throw usage_error(cat("--memory ", binary_text(all.memory), " for ", jobs, jobs == 1 ? " job" : " jobs",
                        " leaves less than the ", binary_text(least), " that ", candidate, " needs"));
}

std::optional<std::string> loss_word(std::string_view metric) {
  std::string lower(metric.substr(metric.rfind('/') == std::string_view::npos ? 0 : metric.rfind('/') + 1));
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  for (const std::string_view word : kLossWords)
    for (std::size_t at = lower.find(word); at != std::string::npos; at = lower.find(word, at + 1)) {
      const std::size_t end = at + word.size();
      if ((at == 0 || !letter(lower[at - 1])) && (end == lower.size() || !letter(lower[end]))) return std::string(word);
    }
  return std::nullopt;
}

std::string hash_of_model(const checkpoint::Checkpoint& model, Cache& cache) {
  Hasher hasher;
  for (const checkpoint::FileIdentity& file : model.files())
    hasher.add(model.is_folder() ? file_name(file.path) : "")
        .add(file.version.empty() ? cache.hash(file.path) : file.version);
  if (model.is_folder())
    for (const std::string& name : model.side_files())
      hasher.add(name).add(cache.hash(join_path(model.folder(), name)));
  return hasher.hex();
}

// A folder for one evaluation, gone at the end of the scope.
class Scorer::Workplace {
 public:
  explicit Workplace(Scorer& owner)
      : path_(absolute(join_path(owner.cache_.folder(),
                                 cat(kScratchPrefix, host_name(), "-", ::getpid(), "-", ++owner.workplaces_)))) {
    make_folders(scratch());
  }
  ~Workplace() {
    try {
      remove_all(path_);
    } catch (const Error&) {
      // Nothing here matters any more; the next run tries again.
    }
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  std::string scratch() const { return join_path(path_, "scratch"); }
  std::string candidate(bool folder) const { return join_path(path_, folder ? "candidate" : "candidate.safetensors"); }

 private:
  std::string path_;
};

Scorer::Scorer(Cache& cache, EvaluatorOptions options, bool folders, Progress& progress)
    : cache_(cache), options_(std::move(options)), folders_(folders) {
  if (trim(options_.shell).empty() && options_.argv.empty()) throw usage_error("the evaluation command is empty");
  command_ = options_.shell;
  if (command_.empty()) {
    std::vector<std::string> words;
    for (const std::string& word : options_.argv)
      words.push_back(word.find_first_of(" \t\n'\"$\\") == std::string::npos && !word.empty() ? word
                                                                                              : shell_quote(word));
    command_ = join(words, " ");
  }
  const std::map<std::string, std::string> blanks = {{"checkpoint", ""}, {"scratch", ""}};
  fill_placeholders(options_.shell, blanks, true);
  for (const std::string& word : options_.argv) fill_placeholders(word, blanks, false);
  if (command_.find("{checkpoint}") == std::string::npos && command_.find("SOLERA_CHECKPOINT") == std::string::npos)
    progress.warn(
        cat("the command has no {checkpoint}: ", command_, " must take the model from $SOLERA_CHECKPOINT by itself"));
  remove_abandoned(cache_.folder());

  Hasher context;
  context.add("solera soup evaluation 1").add(folders_ ? "folder" : "file").add(options_.metric);
  context.add(options_.shell).add(options_.argv.size());
  for (const std::string& word : options_.argv) context.add(word);
  for (const auto& paths : {options_.data, programs_in(options_)}) {
    context.add(paths.size());
    for (const std::string& path : paths) context.add(cache_.hash(path));
  }
  context_hash_ = context.hex();
}

double Scorer::run_on(const std::string& checkpoint, const std::string& scratch, const std::string& name,
                      double& seconds) const {
  const std::map<std::string, std::string> values = {{"checkpoint", checkpoint}, {"scratch", scratch}};
  Command command;
  if (options_.argv.empty()) command.shell = fill_placeholders(options_.shell, values, true);
  for (const std::string& word : options_.argv) command.argv.push_back(fill_placeholders(word, values, false));
  command.environment = {{"SOLERA_CHECKPOINT", checkpoint}, {"SOLERA_SCRATCH", scratch}};
  command.timeout_seconds = options_.timeout_seconds;
  command.echo = options_.echo;
  const Outcome outcome = run(command);
  seconds = outcome.seconds;
  if (outcome.timed_out)
    throw input_error(cat("the evaluation of ", name, " took longer than ", duration_text(options_.timeout_seconds)),
                      command_, "raise --timeout; scores so far are kept");
  if (outcome.status != 0) {
    const std::string words = last_line(outcome.errors);
    throw input_error(
        cat("the evaluation of ", name, " ended with status ", outcome.status, words.empty() ? "" : cat(": ", words)),
        command_, "scores so far are kept");
  }
  return metric_from_output(outcome.output, options_.metric, cat("the evaluation of ", name));
}

Evaluation Scorer::score(const std::string& key, const std::string& name,
                         const std::function<std::string(const Workplace& place)>& candidate) {
  if (const auto known = cache_.find(key)) {
    ++cached_;
    return {known->score, known->seconds, true};
  }
  const Workplace place(*this);
  const std::string checkpoint = candidate(place);
  Evaluation evaluation;
  evaluation.score = run_on(checkpoint, place.scratch(), name, evaluation.seconds);
  ++ran_;
  cache_.add(key, {evaluation.score, evaluation.seconds}, name, command_);
  return evaluation;
}

Evaluation Scorer::existing(const std::string& key, const std::string& name, const std::string& path) {
  return score(key, name, [&](const Workplace&) { return absolute(path); });
}

Evaluation Scorer::made(const std::string& key, const std::string& name,
                        const std::function<void(const std::string& path)>& write) {
  return score(key, name, [&](const Workplace& place) {
    const std::string path = place.candidate(folders_);
    write(path);
    return path;
  });
}

}  // namespace solera::soup
