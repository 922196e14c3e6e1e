// A duty that one of several processes does, and another one if that dies: on a file system that they share, without
// locks, so that nothing has to be taken from the dead.
//
// Claims on a duty are files NAME-1, NAME-2, ... in one folder. Who creates NAME-1 has the duty. Whoever finds its
// holder gone creates the next number; only one can, and the highest number holds. A claim says who holds it (rank,
// host, process), how it stands ("works", "left", "failed") and a beat that its holder counts up every two seconds. Of
// a process on this machine the system knows whether it lives; another is given up when its claim has not changed for
// as long as the caller says.
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace solera::merge {

class Claim {
 public:
  ~Claim();  // left, if nothing else was said: others may take the duty at once
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  void fail(const std::string& why);  // those who wait stop with it
  bool is_latest() const;             // nobody took the duty over meanwhile

 private:
  friend class ClaimWatch;
  struct State;
  explicit Claim(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Waits for a duty, or gets it.
class ClaimWatch {
 public:
  // `rank` in our claims; `silence` seconds without a beat are a death.
  ClaimWatch(std::string folder, std::string name, int rank, double silence);

  // The duty, if nobody has it who lives; none else. To be called again and again. Throws Error (input) with the
  // holder's words if it failed since the last call, Error (io) if the folder is gone.
  std::unique_ptr<Claim> take();

  const std::string& holder() const { return holder_; }  // after take() gave none: "rank 0 (process 7 on red)"

 private:
  std::string folder_, name_;
  int rank_;
  double silence_;
  std::string holder_, seen_;
  int generation_ = 0;
  std::chrono::steady_clock::time_point changed_{};
};

// Is a duty in the hands of a process that is not known to be dead? For a look without waiting.
bool is_claimed(const std::string& folder, const std::string& name);

// Is `file` a claim on the duty?
bool is_claim(const std::string& file, const std::string& name);

}  // namespace solera::merge
