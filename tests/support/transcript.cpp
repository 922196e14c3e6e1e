#include "tests/support/transcript.h"

#include <cstdlib>
#include <regex>

#include "solera/base/process.h"
#include "solera/base/text.h"
#include "tests/support/support.h"

namespace solera::test {
namespace {

bool starts_with(const std::string& line, std::string_view prefix) { return line.rfind(prefix, 0) == 0; }

// `...` inside a line is any run of characters.
bool line_matches(const std::string& expected, const std::string& printed) {
  if (starts_with(expected, "re:")) return std::regex_match(printed, std::regex(expected.substr(3)));
  if (expected == "\\") return printed.empty();
  std::size_t at = 0, from = 0;
  for (bool first = true;; first = false) {
    const std::size_t dots = expected.find("...", from);
    const std::string piece = expected.substr(from, dots == std::string::npos ? dots : dots - from);
    if (dots == std::string::npos && first) return printed == piece;
    if (dots == std::string::npos) {
      return printed.size() >= at + piece.size() &&
             printed.compare(printed.size() - piece.size(), piece.size(), piece) == 0;
    }
    const std::size_t found = first ? (starts_with(printed, piece) ? 0 : std::string::npos) : printed.find(piece, at);
    if (found == std::string::npos) return false;
    at = found + piece.size();
    from = dots + 3;
  }
}

bool match_from(const std::vector<std::string>& expected, std::size_t e, const std::vector<std::string>& printed,
                std::size_t p) {
  for (; e < expected.size(); ++e, ++p) {
    if (expected[e] == "...") {
      for (std::size_t rest = p; rest <= printed.size(); ++rest) {
        if (match_from(expected, e + 1, printed, rest)) return true;
      }
      return false;
    }
    if (p >= printed.size() || !line_matches(expected[e], printed[p])) return false;
  }
  return p == printed.size();
}

std::vector<std::string> lines_of(std::string text) {
  if (text.empty()) return {};
  if (text.back() == '\n') text.pop_back();
  return split(text, '\n');
}

}  // namespace

std::vector<Step> parse_transcript(const std::string& text) {
  std::vector<Step> steps;
  bool inside = false, needs_data = false;
  int number = 0;
  for (const std::string& line : lines_of(text)) {
    ++number;
    if (starts_with(line, "$ ")) {
      steps.push_back({line.substr(2), {}, 0, number, needs_data});
      inside = true;
    } else if (line.empty()) {
      inside = false;
    } else if (line == "needs data") {
      needs_data = true;
    } else if (!inside) {
      EXPECT_TRUE(starts_with(line, "#")) << "line " << number << " belongs to no command: " << line;
    } else if (starts_with(line, "> ") && steps.back().expected.empty()) {
      steps.back().command += "\n" + line.substr(2);
    } else if (starts_with(line, "? ")) {
      steps.back().status = static_cast<int>(parse_int(line.substr(2)).value());
    } else {
      steps.back().expected.push_back(line);
    }
  }
  return steps;
}

std::string marked_blocks(const std::string& markdown) {
  std::string text;
  bool marked = false, inside = false;
  for (const std::string& line : lines_of(markdown)) {
    if (line == "<!-- transcript -->") {
      marked = true;
    } else if (starts_with(line, "```")) {
      inside = marked && !inside;
      if (!inside) marked = false;
      text += '\n';
    } else {
      text += (inside ? line : "") + "\n";  // the document's line numbers stay
    }
  }
  return text;
}

bool lines_match(const std::vector<std::string>& expected, const std::vector<std::string>& printed) {
  return match_from(expected, 0, printed, 0);
}

void run_transcript(const std::vector<Step>& steps, const std::string& folder, const std::string& programs,
                    const std::string& name) {
  ASSERT_FALSE(steps.empty()) << name << " has no commands";
  const char* path = std::getenv("PATH");
  for (const Step& step : steps) {
    if (step.needs_data && data_folder().empty()) GTEST_SKIP() << "SOLERA_TEST_DATA is not set";
    Command command;
    command.shell = "{ " + step.command + "\n} 2>&1";
    command.folder = folder;
    command.timeout_seconds = 120;
    command.environment = {{"PATH", programs + ":" + (path ? path : "/usr/bin:/bin")},
                           {"LC_ALL", "C"},
                           {"TERM", "dumb"},
                           {"HF_HUB_OFFLINE", "1"},  // no test asks a server elsewhere
                           {"CLICOLOR_FORCE", ""}};
    const Outcome outcome = run(command);
    EXPECT_FALSE(outcome.timed_out) << name << ":" << step.line;
    EXPECT_EQ(outcome.status, step.status) << name << ":" << step.line << "\n$ " << step.command << "\n"
                                           << outcome.output;
    EXPECT_TRUE(lines_match(step.expected, lines_of(outcome.output)))
        << name << ":" << step.line << "\n$ " << step.command << "\nexpected\n"
        << join(step.expected, "\n") << "\nprinted\n"
        << outcome.output;
  }
}

}  // namespace solera::test
