#include "solera/checkpoint/mapping_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

#include "solera/base/error.h"

namespace solera::checkpoint {

// The handler may look while another thread rewrites an entry that is not the faulting one: an odd or changed sequence
// number says so, and the entry is passed over. The entry of the faulting mapping cannot change, as someone is reading
// it.
class GuardedMapping {
 public:
  std::atomic<std::uint32_t> sequence{0};
  std::atomic<std::uintptr_t> begin{0}, end{0};  // page-aligned; 0 is free
  std::atomic<bool> lost{false};

  void set(std::uintptr_t from, std::uintptr_t to) {
    sequence.fetch_add(1);
    begin = from;
    end = to;
    lost = false;
    sequence.fetch_add(1);
  }

  // The end of the range if `address` is in it, else 0.
  std::uintptr_t end_around(std::uintptr_t address) const {
    const std::uint32_t before = sequence.load();
    const std::uintptr_t from = begin.load();
    const std::uintptr_t to = end.load();
    if (before % 2 != 0 || sequence.load() != before) return 0;
    return from <= address && address < to ? to : 0;
  }
};

namespace {

struct Block {
  std::array<GuardedMapping, 64> entries;
  Block* next = nullptr;
};

std::atomic<Block*> first_block{nullptr};
std::mutex table_mutex;  // writers only
struct sigaction previous_action;

static_assert(std::atomic<std::uintptr_t>::is_always_lock_free && std::atomic<Block*>::is_always_lock_free);

GuardedMapping* find_mapping(std::uintptr_t address, std::uintptr_t& end) {
  for (Block* block = first_block.load(); block != nullptr; block = block->next) {
    for (GuardedMapping& entry : block->entries) {
      end = entry.end_around(address);
      if (end != 0) return &entry;
    }
  }
  return nullptr;
}

void pass_on(int number, siginfo_t* info, void* context) {
  const bool from_hardware = info->si_code > 0;
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(number, info, context);
  } else if (previous_action.sa_handler == SIG_DFL || (previous_action.sa_handler == SIG_IGN && from_hardware)) {
    // The fault happens again when we return, and ends the process as it would have without us.
    struct sigaction fallback = {};
    fallback.sa_handler = SIG_DFL;
    ::sigaction(number, &fallback, nullptr);
    if (!from_hardware) ::raise(number);
  } else if (previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(number);
  }
}

void on_bus_error(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  std::uintptr_t end = 0;
  GuardedMapping* mapping = info->si_code > 0 ? find_mapping(address, end) : nullptr;
  if (mapping != nullptr) {
    const std::uintptr_t page = address / page_size() * page_size();
    mapping->lost = true;
    // The bare system call: the C library's mmap() is not on the list of what a signal handler may call.
    if (::syscall(SYS_mmap, page, end - page, PROT_READ, MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE, -1, 0) != -1) {
      errno = saved_errno;
      return;
    }
  }
  pass_on(number, info, context);
  errno = saved_errno;
}

void install_handler() {
  page_size();  // so that the handler finds it computed
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  // What was there must be known before ours can run.
  if (::sigaction(SIGBUS, nullptr, &previous_action) != 0 || ::sigaction(SIGBUS, &action, nullptr) != 0) {
    throw internal_error(cat("cannot install a handler for SIGBUS: ", errno_text(errno)));
  }
}

}  // namespace

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

GuardedMapping* guard(const void* begin, std::size_t length) {
  static std::once_flag installed;
  std::call_once(installed, install_handler);
  const auto from = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t to = from + (length + page_size() - 1) / page_size() * page_size();
  const std::lock_guard lock(table_mutex);
  for (Block* block = first_block.load(); block != nullptr; block = block->next) {
    for (GuardedMapping& entry : block->entries) {
      if (entry.begin.load() != 0) continue;
      entry.set(from, to);
      return &entry;
    }
  }
  auto* block = new Block;  // lives as long as the handler may look at it: to the end of the process
  block->entries[0].set(from, to);
  block->next = first_block.load();
  first_block = block;
  return &block->entries[0];
}

void unguard(GuardedMapping* mapping) noexcept {
  const std::lock_guard lock(table_mutex);
  mapping->set(0, 0);
}

bool lost_pages(const GuardedMapping& mapping) { return mapping.lost.load(); }

}  // namespace solera::checkpoint
