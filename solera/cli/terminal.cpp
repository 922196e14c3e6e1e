#include "solera/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::cli {
namespace {

constexpr double kRepaintSeconds = 0.2;
constexpr double kPlainSeconds = 10;
constexpr double kRateWindowSeconds = 15;  // long enough to be calm, short enough to follow a change
constexpr double kFirstRateSeconds = 0.5;  // before that a rate is noise

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value && *value;
}

// Units come as plurals: "trials".
std::string amount_text(std::uint64_t amount, const std::string& unit) {
  if (unit == "bytes") return bytes_text(amount);
  const bool one = amount == 1 && unit.ends_with('s');
  return std::to_string(amount) + " " + (one ? unit.substr(0, unit.size() - 1) : unit);
}

// "25.0 of 40.4 GB": the unit once where both share it.
std::string share_text(std::uint64_t done, std::uint64_t total, const std::string& unit) {
  std::string left = amount_text(done, unit);
  const std::string right = amount_text(total, unit);
  const auto tail = [](const std::string& text) { return text.substr(std::min(text.find(' '), text.size())); };
  if (tail(left) == tail(right)) left.resize(left.find(' '));
  return left + " of " + right;
}

std::string rate_text(double rate, const std::string& unit) {
  if (unit == "bytes") return bytes_text(static_cast<std::uint64_t>(rate)) + "/s";
  if (rate >= 1) return number_text(rate, 3) + " " + unit + "/s";
  return number_text(rate * 60, 3) + " " + unit + "/min";
}

struct Sample {
  double time;
  std::uint64_t amount;
};

struct Stage {
  std::string name, unit, status;
  std::uint64_t total = 0, done = 0;
  double started = 0;
  std::deque<Sample> samples;
};

struct Warning {
  std::string text;
  std::uint64_t count = 0;
};

double rate_of(Stage& stage, double now) {
  stage.samples.push_back({now, stage.done});
  while (stage.samples.size() > 2 && now - stage.samples[1].time > kRateWindowSeconds) stage.samples.pop_front();
  const Sample& first = stage.samples.front();
  const double span = now - first.time;
  return span < kFirstRateSeconds ? 0 : static_cast<double>(stage.done - first.amount) / span;
}

std::string progress_text(Stage& stage, double now) {
  const double rate = rate_of(stage, now);
  std::string line;
  if (stage.total > 0) {
    const double fraction = std::min(1.0, static_cast<double>(stage.done) / static_cast<double>(stage.total));
    const std::string percent = std::to_string(static_cast<int>(std::floor(100 * fraction)));
    line = std::string(3 - std::min<std::size_t>(3, percent.size()), ' ') + percent + " %  " +
           share_text(stage.done, stage.total, stage.unit);
  } else {
    line = amount_text(stage.done, stage.unit);
  }
  if (rate > 0) {
    line += "  " + rate_text(rate, stage.unit);
    if (stage.total > stage.done)
      line += "  ETA " + duration_text(static_cast<double>(stage.total - stage.done) / rate);
  }
  if (!stage.status.empty()) line += "  " + stage.status;
  return line;
}

std::size_t columns(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

// Where the code point number `index` begins.
std::size_t offset_of(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80 && index-- == 0) break;
  }
  return at;
}

}  // namespace

std::string elide_middle(std::string_view text, std::size_t width) {
  const std::size_t have = columns(text);
  if (have <= width) return std::string(text);
  if (width <= 3) return std::string(width, '.');
  const std::size_t kept = width - 3, head = (kept + 1) / 2, tail = kept - head;
  return std::string(text.substr(0, offset_of(text, head))) + "..." +
         std::string(text.substr(offset_of(text, have - tail)));
}

std::string painted(std::string_view word, std::string_view code, bool color) {
  return color ? cat("\033[", code, "m", word, "\033[0m") : std::string(word);
}

TerminalStyle style_for(const std::ostream& stream) {
  TerminalStyle style;
  const char* term = std::getenv("TERM");
  const bool dumb = term && std::string_view(term) == "dumb";
  const bool terminal = &stream == &std::cerr && isatty(STDERR_FILENO) == 1;
  style.live = terminal && !dumb;
  style.color = terminal && !dumb && !is_set("NO_COLOR");
  const char* force = std::getenv("CLICOLOR_FORCE");
  if (force && *force && std::string_view(force) != "0" && !is_set("NO_COLOR")) style.color = true;
  style.width = [] {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? static_cast<int>(size.ws_col) : 80;
  };
  return style;
}

struct TerminalProgress::State {
  std::ostream& out;
  TerminalStyle style;
  std::mutex mutex;
  std::vector<Stage> stages;          // the innermost last
  std::vector<Warning> warnings;      // in order of their first appearance
  std::atomic<double> next_paint{0};  // looked at without the lock by advance()
  std::atomic<std::uint64_t> pending{0};
  bool painted = false;  // a live line is on the screen

  State(std::ostream& stream, TerminalStyle chosen) : out(stream), style(std::move(chosen)) {
    if (!style.clock) {
      style.clock = [] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
      };
    }
  }

  void collect() {
    if (!stages.empty()) stages.back().done += pending.exchange(0);
  }
  void clear() {
    if (painted) out << "\r\033[K";
    painted = false;
  }
  void line(std::string_view text) {
    clear();
    out << text << '\n' << std::flush;
  }
  void paint(double now) {
    Stage& stage = stages.back();
    if (style.live) {
      // The last column stays free: some terminals wrap when it is written.
      const int width = std::max(20, style.width()) - 1;
      out << '\r' << elide_middle(progress_text(stage, now), static_cast<std::size_t>(width)) << "\033[K" << std::flush;
      painted = true;
    } else if (stages.size() == 1) {
      line(stage.name + ": " + std::string(trim(progress_text(stage, now))));
    }
    next_paint = now + (style.live ? kRepaintSeconds : kPlainSeconds);
  }
};

TerminalProgress::TerminalProgress(std::ostream& out, TerminalStyle style)
    : state_(std::make_unique<State>(out, std::move(style))) {}

TerminalProgress::~TerminalProgress() { finish(); }

void TerminalProgress::begin(std::string_view stage, std::uint64_t total, std::string_view unit) {
  const std::lock_guard lock(state_->mutex);
  state_->collect();
  const double now = state_->style.clock();
  state_->stages.push_back({std::string(stage), std::string(unit), "", total, 0, now, {{now, 0}}});
  if (state_->style.live) {
    state_->paint(now);
  } else if (state_->stages.size() == 1) {
    state_->line(total > 0 ? cat(stage, ": ", amount_text(total, std::string(unit))) : std::string(stage));
    state_->next_paint = now + kPlainSeconds;
  }
}

void TerminalProgress::advance(std::uint64_t amount) {
  state_->pending += amount;
  if (state_->style.clock() < state_->next_paint) return;
  const std::unique_lock lock(state_->mutex, std::try_to_lock);
  if (!lock || state_->stages.empty()) return;  // another thread paints
  state_->collect();
  state_->paint(state_->style.clock());
}

void TerminalProgress::note(std::string_view line) {
  const std::lock_guard lock(state_->mutex);
  const bool repaint = state_->painted;
  state_->line(line);
  state_->collect();
  if (repaint && !state_->stages.empty()) state_->paint(state_->style.clock());
}

void TerminalProgress::warn(std::string_view line) {
  {
    const std::lock_guard lock(state_->mutex);
    for (Warning& warning : state_->warnings) {
      if (warning.text == line) {
        ++warning.count;
        return;
      }
    }
    state_->warnings.push_back({std::string(line), 1});
  }
  note(cat("solera: ", painted("warning", "33", state_->style.color), ": ", line));
}

void TerminalProgress::status(std::string_view text) {
  const std::lock_guard lock(state_->mutex);
  if (!state_->stages.empty()) state_->stages.back().status = text;
}

void TerminalProgress::end() {
  const std::lock_guard lock(state_->mutex);
  if (state_->stages.empty()) return;
  state_->collect();
  const Stage stage = std::move(state_->stages.back());
  state_->stages.pop_back();
  state_->clear();
  if (!state_->style.live && state_->stages.empty()) {
    const double seconds = state_->style.clock() - stage.started;
    std::string line = cat(stage.name, ": ", amount_text(stage.done, stage.unit), " in ", duration_text(seconds));
    if (!stage.status.empty()) line += ", " + stage.status;
    state_->line(line);
  }
  state_->out << std::flush;
}

void TerminalProgress::finish() {
  const std::lock_guard lock(state_->mutex);
  state_->clear();
  for (const Warning& warning : state_->warnings) {
    if (warning.count < 2) continue;
    state_->line(cat("solera: ", painted("warning", "33", state_->style.color), ": ", warning.count,
                     " times in all: ", warning.text));
  }
  state_->warnings.clear();
  state_->stages.clear();
  state_->out << std::flush;
}

}  // namespace solera::cli
