#include "solera/checkpoint/fetcher.h"

#include <algorithm>
#include <utility>

namespace solera::checkpoint {
namespace {

// Connections, not work: they wait for the network. More gain nothing from one server, and some would mind.
constexpr std::size_t kThreads = 8;

}  // namespace

std::shared_ptr<Fetcher> Fetcher::shared() {
  static std::mutex mutex;
  static std::weak_ptr<Fetcher> known;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Fetcher> fetcher = known.lock();
  if (!fetcher) known = fetcher = std::make_shared<Fetcher>();
  return fetcher;
}

Fetcher::~Fetcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Fetcher::push(Piece piece, bool urgent) {
  {
    const std::lock_guard lock(mutex_);
    (urgent ? urgent_ : announced_).push_back(std::move(piece));
    if (idle_ < urgent_.size() + announced_.size() && threads_.size() < kThreads)
      threads_.emplace_back([this] { work(); });
  }
  wake_.notify_one();
}

void Fetcher::hurry(const void* owner, std::uint64_t first, std::uint64_t end) {
  const std::lock_guard lock(mutex_);
  const auto later = std::stable_partition(announced_.begin(), announced_.end(), [&](const Piece& piece) {
    return piece.owner == owner && piece.first < end && first < piece.end;
  });
  urgent_.insert(urgent_.end(), std::make_move_iterator(announced_.begin()), std::make_move_iterator(later));
  announced_.erase(announced_.begin(), later);
}

std::size_t Fetcher::drop(const void* owner) {
  const std::lock_guard lock(mutex_);
  const auto ours = [&](const Piece& piece) { return piece.owner == owner; };
  return std::erase_if(urgent_, ours) + std::erase_if(announced_, ours);
}

void Fetcher::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return stopping_ || !urgent_.empty() || !announced_.empty(); });
    --idle_;
    if (stopping_) return;
    std::deque<Piece>& queue = urgent_.empty() ? announced_ : urgent_;
    const Piece piece = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    piece.fetch(piece.first, piece.end);
    lock.lock();
  }
}

}  // namespace solera::checkpoint
