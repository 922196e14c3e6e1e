// The threads that fetch pieces of remote files: what somebody waits for first, then what was announced, in order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace solera::checkpoint {

class Fetcher {
 public:
  struct Piece {
    const void* owner = nullptr;
    std::uint64_t first = 0, end = 0;                                   // blocks
    std::function<void(std::uint64_t first, std::uint64_t end)> fetch;  // throws nothing
  };

  // The one of the process; its threads end with the last of its users.
  static std::shared_ptr<Fetcher> shared();
  ~Fetcher();

  void push(Piece piece, bool urgent);
  // Announced pieces of `owner` that touch blocks [first, end) are waited for now.
  void hurry(const void* owner, std::uint64_t first, std::uint64_t end);
  // Drops the waiting pieces of `owner` and says how many.
  std::size_t drop(const void* owner);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Piece> urgent_, announced_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace solera::checkpoint
