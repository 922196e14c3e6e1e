// Drawing progress. On a terminal: one line, repainted at most five times a second, its middle left out where the
// terminal is too narrow. Elsewhere: plain lines, at the beginning and end of a stage and every ten seconds between.
//
//   62 %  25.0 of 40.4 GB  1.4 GB/s  ETA 11 s  best 0.8583
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>

#include "solera/base/progress.h"

namespace solera::cli {

struct TerminalStyle {
  bool live = false;  // repaint a line
  bool color = false;
  std::function<int()> width = [] { return 80; };  // columns, asked at every painting
  std::function<double()> clock;                   // seconds; empty: the steady clock
};

// What suits this stream: looks at the terminal behind std::cerr, TERM, NO_COLOR and CLICOLOR_FORCE.
TerminalStyle style_for(const std::ostream& stream);

// Draws what is reported to it. finish() clears the line and tells how often a warning came; call it before the last
// words to the user. Thread-safe.
class TerminalProgress : public Progress {
 public:
  TerminalProgress(std::ostream& out, TerminalStyle style);
  ~TerminalProgress() override;

  void begin(std::string_view stage, std::uint64_t total, std::string_view unit) override;
  void advance(std::uint64_t amount) override;
  void note(std::string_view line) override;
  void warn(std::string_view line) override;
  void status(std::string_view text) override;
  void end() override;
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// `text` in at most `width` columns, its middle replaced by "..."; code points are counted as columns.
std::string elide_middle(std::string_view text, std::size_t width);

// "warning" or "error", colored where the style says so.
std::string painted(std::string_view word, std::string_view code, bool color);

}  // namespace solera::cli
