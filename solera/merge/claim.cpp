#include "solera/merge/claim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/descriptor.h"

namespace solera::merge {
namespace {

using checkpoint::Descriptor;

constexpr std::chrono::seconds kBeat{2};
constexpr std::size_t kRoom = 512;  // a claim is rewritten in place, so it keeps its length

std::string content_of(const char* path) {
  try {
    return std::string(trim(read_file(path)));
  } catch (const Error&) {
    return "";
  }
}

std::string link_text(const char* path) {
  char text[128];
  const ssize_t size = ::readlink(path, text, sizeof text);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "";
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

// Processes of one place know each other by their numbers. "" if the system does not say.
std::string place() {
  const std::string boot = content_of("/proc/sys/kernel/random/boot_id"), space = link_text("/proc/self/ns/pid");
  return boot.empty() || space.empty() ? "" : cat(boot, " ", space);
}

// When the process began, in the system's ticks; 0 if there is none of that number, or only its remains.
std::int64_t started(std::int64_t process) {
  const std::string text = content_of(cat("/proc/", process, "/stat").c_str());
  const std::size_t name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return 0;
  const auto fields = split(trim(std::string_view(text).substr(name_end + 1)), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return 0;
  return parse_int(fields[19]).value_or(0);
}

struct Self {
  std::string host, place;
  std::int64_t process = 0, started = 0;
};

Self this_process() { return {host_name(), place(), ::getpid(), started(::getpid())}; }

std::string claim_file(const std::string& name, int generation) { return cat(name, "-", generation); }

int generation_of(const std::string& file, const std::string& name) {
  if (!file.starts_with(name + "-")) return 0;
  return static_cast<int>(parse_int(std::string_view(file).substr(name.size() + 1)).value_or(0));
}

int latest(const std::string& folder, const std::string& name) {
  int most = 0;
  for (const std::string& file : list_folder(folder)) most = std::max(most, generation_of(file, name));
  return most;
}

// A claim as another process reads it; nothing of one that is being written.
struct Reading {
  std::string text, holder, status, message;
  bool is_gone = false;  // the process is known to be dead
};

Reading read_claim(const std::string& path) {
  Reading claim;
  claim.holder = "another rank";
  try {
    claim.text = read_file(path);
    const Node node = parse_json(claim.text, path);
    const std::int64_t process = node.at("process").as_int();
    claim.holder =
        cat("rank ", node.at("rank").as_int(), " (process ", process, " on ", node.at("host").as_text(), ")");
    claim.status = node.at("status").as_text();
    claim.message = node.at("message").as_text();
    const std::string where = node.at("place").as_text();
    claim.is_gone = !where.empty() && where == place() && started(process) != node.at("started").as_int();
  } catch (const Error&) {  // empty, torn, or just gone: it tells by not changing
  }
  return claim;
}

}  // namespace

struct Claim::State {
  std::string folder, name;
  int generation = 0, rank = 0;
  Descriptor file;
  std::string status = "works", message;
  std::int64_t beat = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::thread heart;
  const Self self = this_process();  // known before the file is there: it is empty for as short as can be

  // Also when the folder has got another name: the file is open.
  void write() {
    Node node;
    node.set("rank", Node::integer(rank));
    node.set("host", Node::text(self.host));
    node.set("process", Node::integer(self.process));
    node.set("started", Node::integer(self.started));
    node.set("place", Node::text(self.place));
    node.set("beat", Node::integer(++beat));
    node.set("status", Node::text(status));
    node.set("message", Node::text(message));
    std::string text = to_json(node);
    text.resize(std::max(text.size(), kRoom - 1), ' ');
    text += '\n';
    // What cannot be written ends in a silence, which the others notice.
    if (::pwrite(file.get(), text.data(), text.size(), 0) > 0) ::fdatasync(file.get());
  }

  void keep_beating() {
    std::unique_lock lock(mutex);
    while (status == "works") {
      write();
      changed.wait_for(lock, kBeat, [&] { return status != "works"; });
    }
    write();
  }

  void end(const std::string& how, const std::string& why) {
    {
      const std::lock_guard lock(mutex);
      if (status != "works") return;
      status = how;
      message = why;
    }
    changed.notify_all();
    heart.join();
  }
};

Claim::Claim(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->write();
  state_->heart = std::thread([held = state_.get()] { held->keep_beating(); });
}

Claim::~Claim() { state_->end("left", ""); }

void Claim::fail(const std::string& why) { state_->end("failed", why); }

bool Claim::is_latest() const {
  struct stat open{}, named{};
  const std::string path = join_path(state_->folder, claim_file(state_->name, state_->generation));
  return ::fstat(state_->file.get(), &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_ino == named.st_ino &&
         latest(state_->folder, state_->name) == state_->generation;
}

ClaimWatch::ClaimWatch(std::string folder, std::string name, int rank, double silence)
    : folder_(std::move(folder)), name_(std::move(name)), rank_(rank), silence_(silence) {}

std::unique_ptr<Claim> ClaimWatch::take() {
  const auto now = std::chrono::steady_clock::now();
  const int generation = latest(folder_, name_);
  if (generation > 0) {
    const Reading claim = read_claim(join_path(folder_, claim_file(name_, generation)));
    const bool known = generation == generation_;
    if (!known || claim.text != seen_) changed_ = now;
    generation_ = generation;
    seen_ = claim.text;
    holder_ = claim.holder;
    if (claim.status == "failed" && known) throw input_error(cat(claim.holder, " failed: ", claim.message));
    const bool over = claim.status == "failed" || claim.status == "left" || claim.is_gone ||
                      now - changed_ > std::chrono::duration<double>(silence_);
    if (!over) return nullptr;
  }
  auto state = std::make_unique<Claim::State>();
  state->folder = folder_;
  state->name = name_;
  state->generation = generation + 1;
  state->rank = rank_;
  const std::string path = join_path(folder_, claim_file(name_, generation + 1));
  state->file = Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!state->file && errno == EEXIST) return nullptr;  // another was faster
  if (!state->file) throw io_error(cat("cannot create: ", errno_text(errno)), path);
  return std::unique_ptr<Claim>(new Claim(std::move(state)));
}

bool is_claimed(const std::string& folder, const std::string& name) {
  const int generation = latest(folder, name);
  if (generation == 0) return false;
  const Reading claim = read_claim(join_path(folder, claim_file(name, generation)));
  return claim.status != "failed" && claim.status != "left" && !claim.is_gone;
}

bool is_claim(const std::string& file, const std::string& name) { return generation_of(file, name) > 0; }

}  // namespace solera::merge
