#include "solera/checkpoint/source.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/checkpoint/descriptor.h"
#include "solera/checkpoint/mapping_guard.h"
#include "solera/checkpoint/remote.h"

namespace solera::checkpoint {
namespace {

constexpr std::uint32_t kTmpfs = 0x01021994;

// File systems whose pages another machine may take away, or whose mappings are slow or not coherent (statfs f_type).
constexpr std::array<std::uint32_t, 20> kNetworkFileSystems = {
    0x6969,      // NFS
    0x517B,      // SMB
    0xFE534D42,  // SMB2
    0xFF534D42,  // CIFS
    0x65735546,  // FUSE (sshfs, s3fs, gcsfuse, ...)
    0x01021997,  // 9p
    0x0BD00BD0,  // Lustre
    0x47504653,  // GPFS
    0x00C36400,  // Ceph
    0x19830326,  // BeeGFS
    0xAAD7AAEA,  // PanFS
    0x20030528,  // OrangeFS
    0x7461636F,  // OCFS2
    0x01161970,  // GFS2
    0x5346414F,  // OpenAFS
    0x6B414653,  // kAFS
    0x73757245,  // Coda
    0x564C,      // NCP
    0x786F4256,  // VirtualBox shared folders
    0xBACBACBC,  // VMware shared folders
};

void require_inside(const Source& source, std::uint64_t offset, std::uint64_t length) {
  if (offset <= source.size() && length <= source.size() - offset) return;
  throw io_error(cat(length, " bytes at ", offset, " pass the end of the file, which has ", source.size(), " bytes"),
                 source.path());
}

Error shrank(const std::string& path) {
  return io_error(cat(path, ": the file shrank while it was read"), "", "run again when nothing else writes to it");
}

class MemorySource final : public Source {
 public:
  MemorySource(std::string name, std::vector<std::byte> bytes) : name_(std::move(name)), bytes_(std::move(bytes)) {}
  const std::string& path() const override { return name_; }
  std::uint64_t size() const override { return bytes_.size(); }
  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length, std::vector<std::byte>&) const override {
    require_inside(*this, offset, length);
    return std::span(bytes_).subspan(offset, length);
  }

 private:
  std::string name_;
  std::vector<std::byte> bytes_;
};

class ReadSource final : public Source {
 public:
  ReadSource(std::string path, Descriptor file, std::uint64_t size)
      : path_(std::move(path)), file_(std::move(file)), size_(size) {}
  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return size_; }

  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length,
                                  std::vector<std::byte>& scratch) const override {
    require_inside(*this, offset, length);
    if (scratch.size() < length) scratch.resize(length);
    for (std::uint64_t done = 0; done < length;) {
      const ssize_t got = ::pread(file_.get(), scratch.data() + done, length - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw io_error(cat("cannot read: ", errno_text(errno)), path_);
      if (got == 0) throw shrank(path_);
      done += static_cast<std::uint64_t>(got);
    }
    return std::span(scratch).first(length);
  }

  void want(std::uint64_t offset, std::uint64_t length) const override {
    ::posix_fadvise(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
  }

  void check() const override {
    struct stat now = {};
    if (::fstat(file_.get(), &now) != 0 || static_cast<std::uint64_t>(now.st_size) < size_) throw shrank(path_);
  }

 private:
  std::string path_;
  Descriptor file_;
  std::uint64_t size_;
};

// The descriptor is closed once the file is mapped, so that a merge of many sharded models stays below the limit on
// open files.
class MappedSource final : public Source {
 public:
  MappedSource(std::string path, void* begin, const struct stat& opened, bool in_memory)
      : path_(std::move(path)),
        begin_(static_cast<const std::byte*>(begin)),
        size_(static_cast<std::uint64_t>(opened.st_size)),
        device_(opened.st_dev),
        inode_(opened.st_ino),
        in_memory_(in_memory),
        guard_(guard(begin, size_)) {}
  ~MappedSource() override {
    unguard(guard_);
    ::munmap(const_cast<std::byte*>(begin_), size_);
  }
  MappedSource(const MappedSource&) = delete;
  MappedSource& operator=(const MappedSource&) = delete;

  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return size_; }
  std::span<const std::byte> view(std::uint64_t offset, std::uint64_t length, std::vector<std::byte>&) const override {
    require_inside(*this, offset, length);
    return {begin_ + offset, length};
  }

  void want(std::uint64_t offset, std::uint64_t length) const override {
    if (length == 0 || offset >= size_) return;
    const std::uint64_t first = offset / page_size() * page_size();
    const std::uint64_t last = offset + std::min(length, size_ - offset);
    ::madvise(const_cast<std::byte*>(begin_) + first, last - first, MADV_WILLNEED);
  }

  // Gives back our mapping of whole pages; the system keeps or drops its cache of the file as it likes. A file on tmpfs
  // is memory already.
  void release(std::uint64_t offset, std::uint64_t length) const override {
    if (in_memory_ || offset >= size_) return;
    const std::uint64_t end = offset + std::min(length, size_ - offset);
    const std::uint64_t first = (offset + page_size() - 1) / page_size() * page_size();
    const std::uint64_t last = end == size_ ? end : end / page_size() * page_size();
    if (first < last) ::madvise(const_cast<std::byte*>(begin_) + first, last - first, MADV_DONTNEED);
  }

  void check() const override {
    if (lost_pages(*guard_)) throw shrank(path_);
    // Bytes lost within the last page read as zeros without a signal. A file that was removed or replaced is still
    // whole here.
    struct stat now = {};
    if (::stat(path_.c_str(), &now) == 0 && now.st_dev == device_ && now.st_ino == inode_ &&
        static_cast<std::uint64_t>(now.st_size) < size_) {
      throw shrank(path_);
    }
  }

 private:
  std::string path_;
  const std::byte* begin_;
  std::uint64_t size_;
  dev_t device_;
  ino_t inode_;
  bool in_memory_;
  GuardedMapping* guard_;
};

bool is_network(std::uint32_t type) {
  return std::find(kNetworkFileSystems.begin(), kNetworkFileSystems.end(), type) != kNetworkFileSystems.end();
}

}  // namespace

void Source::want(std::uint64_t, std::uint64_t) const {}
void Source::release(std::uint64_t, std::uint64_t) const {}
void Source::expect(std::uint64_t, std::uint64_t) const {}
std::string Source::version() const { return ""; }
void Source::check() const {}

std::shared_ptr<const Source> open_file(const std::string& path, Access access) {
  if (is_remote(path)) return open_remote(path);
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    const int code = errno;
    if (code == ENOENT || code == ENOTDIR) throw missing_file(path);
    throw io_error(cat("cannot open: ", errno_text(code)), path,
                   code == EMFILE ? "raise the limit on open files: ulimit -n" : "");
  }
  struct stat opened = {};
  if (::fstat(file.get(), &opened) != 0) throw io_error(cat("cannot open: ", errno_text(errno)), path);
  if (S_ISDIR(opened.st_mode)) throw io_error(cat(path, " is a folder, not a file"));
  if (!S_ISREG(opened.st_mode)) throw io_error(cat(path, " is not a regular file"));

  const auto size = static_cast<std::uint64_t>(opened.st_size);
  struct statfs system = {};
  const bool known = ::fstatfs(file.get(), &system) == 0;
  const auto type = static_cast<std::uint32_t>(system.f_type);
  const bool map = access == Access::kMap || (access == Access::kAuto && known && !is_network(type));
  if (map && size > 0) {
    void* begin = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
    if (begin != MAP_FAILED) return std::make_shared<MappedSource>(path, begin, opened, known && type == kTmpfs);
    if (access == Access::kMap) throw io_error(cat("cannot map: ", errno_text(errno)), path);
  }
  return std::make_shared<ReadSource>(path, std::move(file), size);
}

std::shared_ptr<const Source> memory_source(std::string name, std::vector<std::byte> bytes) {
  return std::make_shared<MemorySource>(std::move(name), std::move(bytes));
}

}  // namespace solera::checkpoint
