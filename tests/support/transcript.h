// Transcripts: a session with the program as text, run again and compared.
//
//   # A comment, up to the first command of a step.
//   $ solera methods tyes
//   solera: error: unknown merge method "tyes"; did you mean ties?
//   ? 2
//
//   $ cat > blend.yaml <<END        lines that begin with "> " belong to the command
//   > merge_method: linear
//   > END
//
// What follows a command is all that it prints, standard output and error as they come. A line `...` stands for any
// number of lines, `...` inside a line for any characters, and `re:EXPR` is a regular expression for a whole line.
// `? N` is the exit status where it is not 0. A blank line ends a step; blank lines of the output are written as a
// lone `\`. `needs data` skips the rest where the shared data is not there.
#pragma once

#include <string>
#include <vector>

namespace solera::test {

struct Step {
  std::string command;
  std::vector<std::string> expected;
  int status = 0;
  int line = 0;  // of the command
  bool needs_data = false;
};

std::vector<Step> parse_transcript(const std::string& text);

// The fenced blocks of a Markdown document that follow a line `<!-- transcript -->`, as one transcript.
std::string marked_blocks(const std::string& markdown);

// Whether the printed lines are those that are expected.
bool lines_match(const std::vector<std::string>& expected, const std::vector<std::string>& printed);

// Runs the steps in `folder`, with the program's folder first in PATH. Adds a test failure that shows expected and
// printed lines for each step that differs; `name` is the file in messages.
void run_transcript(const std::vector<Step>& steps, const std::string& folder, const std::string& programs,
                    const std::string& name);

}  // namespace solera::test
