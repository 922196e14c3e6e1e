// One kind of failure for the whole toolkit: what went wrong, where, and what to do about it.
//
//   throw input_error(cat("keep + remove is ", sum, ", more than 1"), "blend.yaml:7", "lower keep or remove");
//   prints  solera: error: keep + remove is 1.05, more than 1 (blend.yaml:7); lower keep or remove
//
// `what` is a complete clause with the numbers of both sides. `where` names a file, tensor or line, and may
// be empty. `hint` says what the reader can do next, and may be empty. The library throws; only the command
// line prints and turns the kind into an exit status.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace solera {

enum class ErrorKind {
  kUsage,        // the call itself is wrong: flags, parameters, configuration          exit status 2
  kInput,        // data that was read is not acceptable                                exit status 1
  kIo,           // the system refused: missing file, full disk, permission             exit status 1
  kInternal,     // a promise of this library does not hold; please report              exit status 1
  kInterrupted,  // stopped by a signal; the same command continues                     exit status 130
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string what, std::string where = "", std::string hint = "");

  ErrorKind kind() const { return kind_; }
  const std::string& problem() const { return problem_; }  // the clause alone
  const std::string& where() const { return where_; }
  const std::string& hint() const { return hint_; }
  // what() is the whole line: "problem (where); hint".

 private:
  ErrorKind kind_;
  std::string problem_, where_, hint_;
};

Error usage_error(std::string what, std::string where = "", std::string hint = "");
Error input_error(std::string what, std::string where = "", std::string hint = "");
Error io_error(std::string what, std::string where = "", std::string hint = "");
Error internal_error(std::string what, std::string where = "");

// What errno says now, in words: "cannot open (No space left on device)".
std::string errno_text(int code);

// cat("a", 3, 0.5) == "a30.5": the pieces of a message, printed as a stream prints them.
template <class... Pieces>
std::string cat(const Pieces&... pieces) {
  std::ostringstream out;
  (out << ... << pieces);
  return out.str();
}

}  // namespace solera
