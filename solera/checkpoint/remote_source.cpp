#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/checkpoint/fetcher.h"
#include "solera/checkpoint/http.h"
#include "solera/checkpoint/hub.h"
#include "solera/checkpoint/remote.h"
#include "solera/checkpoint/remote_cache.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint64_t kBlocksPerPiece = 8;  // of one request

enum class State : std::uint8_t {
  kAbsent,
  kKept,     // listed by the cache, not looked at yet
  kLooking,  // a thread compares it with its hash
  kComing,   // queued or under way
  kHere,
};

class RemoteSource final : public Source {
 public:
  explicit RemoteSource(const Address& address)
      : file_(address),
        store_(address.url.text(), address.name, file_.version(), file_.size()),
        states_(static_cast<std::size_t>(store_.blocks())) {
    for (std::uint64_t block = 0; block < store_.blocks(); ++block)
      if (store_.listed(block)) at(block) = State::kKept;
  }

  ~RemoteSource() override {
    canceled_ = true;
    std::unique_lock lock(mutex_);
    pieces_ -= fetcher_->drop(this);
    changed_.wait(lock, [this] { return pieces_ == 0; });
  }
  RemoteSource(const RemoteSource&) = delete;
  RemoteSource& operator=(const RemoteSource&) = delete;

  const std::string& path() const override { return file_.address().name; }
  std::uint64_t size() const override { return file_.size(); }
  std::string version() const override { return file_.version(); }

  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    if (offset > size() || length > size() - offset)
      throw io_error(cat(length, " bytes at ", offset, " pass the end of the file, which has ", size(), " bytes"),
                     path());
    if (length == 0) return {};
    have(offset / kRemoteBlock, (offset + length - 1) / kRemoteBlock + 1);
    return store_.bytes().view(offset, length, scratch);
  }

  void expect(std::uint64_t offset, std::uint64_t length) const override {
    if (length == 0 || offset >= size()) return;
    const std::uint64_t last = (offset + std::min(length, size() - offset) - 1) / kRemoteBlock;
    if (all_here(offset / kRemoteBlock, last + 1)) return;
    const std::lock_guard lock(mutex_);
    order(offset / kRemoteBlock, last + 1, false);
  }
  void want(std::uint64_t offset, std::uint64_t length) const override { expect(offset, length); }
  void release(std::uint64_t offset, std::uint64_t length) const override { store_.bytes().release(offset, length); }

  void check() const override {
    store_.bytes().check();
    const std::lock_guard lock(mutex_);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<State>& at(std::uint64_t block) const { return states_[static_cast<std::size_t>(block)]; }

  bool all_here(std::uint64_t first, std::uint64_t end) const {
    for (std::uint64_t block = first; block < end; ++block)
      if (at(block).load(std::memory_order_acquire) != State::kHere) return false;
    return true;
  }

  // Returns when the blocks are here.
  void have(std::uint64_t first, std::uint64_t end) const {
    if (all_here(first, end)) return;
    std::unique_lock lock(mutex_);
    for (std::uint64_t block = first; block < end; ++block)
      if (at(block) == State::kKept) look_at(block, lock);
    while (!all_here(first, end)) {
      if (error_) std::rethrow_exception(error_);
      throw_if_stopped();
      order(first, end, true);
      changed_.wait_for(lock, std::chrono::milliseconds(100));
    }
  }

  void look_at(std::uint64_t block, std::unique_lock<std::mutex>& lock) const {
    at(block) = State::kLooking;
    lock.unlock();
    bool intact = false;
    try {
      intact = store_.intact(block);
    } catch (const Error&) {
      intact = false;  // then it is fetched
    }
    lock.lock();
    at(block).store(intact ? State::kHere : State::kAbsent, std::memory_order_release);
    changed_.notify_all();
  }

  // Sees to it that the absent blocks come; with the lock held.
  void order(std::uint64_t first, std::uint64_t end, bool urgent) const {
    if (error_) return;
    if (urgent) fetcher_->hurry(this, first, end);
    for (std::uint64_t block = first; block < end;) {
      std::uint64_t last = block;
      for (; last < end && last - block < kBlocksPerPiece && at(last) == State::kAbsent; ++last)
        at(last) = State::kComing;
      if (last > block) {
        ++pieces_;
        fetcher_->push({this, block, last, [this](std::uint64_t from, std::uint64_t to) { fetch(from, to); }}, urgent);
      }
      block = std::max(last, block + 1);
    }
  }

  // On a thread of the fetcher.
  void fetch(std::uint64_t first, std::uint64_t end) const {
    std::exception_ptr error;
    try {
      if (!canceled_) fill(first, end);
    } catch (const Error& problem) {
      if (problem.kind() != ErrorKind::kInterrupted) error = std::current_exception();
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    for (std::uint64_t block = first; block < end; ++block)
      if (at(block) == State::kComing) at(block) = State::kAbsent;
    if (error && !error_) error_ = error;
    --pieces_;
    changed_.notify_all();
  }

  void fill(std::uint64_t first, std::uint64_t end) const {
    std::uint64_t block = first;
    const auto arrive = [&](std::uint64_t offset, std::span<const std::byte> bytes) {
      store_.write(offset, bytes);
      const std::uint64_t have = offset + bytes.size();
      for (; block < end && have >= std::min((block + 1) * kRemoteBlock, size()); ++block) {
        store_.complete(block);
        const std::lock_guard lock(mutex_);
        at(block).store(State::kHere, std::memory_order_release);
        changed_.notify_all();
      }
    };
    file_.fetch(first * kRemoteBlock, std::min(end * kRemoteBlock, size()), arrive, &canceled_);
  }

  mutable RemoteFile file_;
  mutable SparseFile store_;
  mutable std::vector<std::atomic<State>> states_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::exception_ptr error_;
  mutable std::size_t pieces_ = 0;  // queued or under way
  std::atomic<bool> canceled_ = false;
  std::shared_ptr<Fetcher> fetcher_ = Fetcher::shared();
};

// What was opened: a name leaves out what may be secret in a URL, so that another look needs the URL itself.
struct Opened {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<const Source>> sources;        // by path
  std::map<std::pair<std::string, std::string>, std::string> paths;  // by name and version
};

Opened& opened() {
  static Opened all;
  return all;
}

}  // namespace

std::shared_ptr<const Source> open_remote(const std::string& path) {
  const std::lock_guard lock(opened().mutex);
  std::weak_ptr<const Source>& place = opened().sources[path];
  if (auto open = place.lock()) return open;
  auto source = std::make_shared<const RemoteSource>(address_of(path));
  place = source;
  opened().paths[{source->path(), source->version()}] = path;
  return source;
}

void require_same_version(const std::string& name, const std::string& version) {
  std::string path = name;
  {
    const std::lock_guard lock(opened().mutex);
    if (const auto known = opened().paths.find({name, version}); known != opened().paths.end()) path = known->second;
  }
  const auto now = probe(address_of(path));
  if (!now || now->version != version)
    throw io_error(cat(name, ": the file changed on the server while it was read"), "",
                   "run again to read the new one");
}

}  // namespace solera::checkpoint
