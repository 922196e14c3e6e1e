#include "solera/checkpoint/writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <utility>

#include "solera/base/document.h"
#include "solera/base/error.h"
#include "solera/base/files.h"
#include "solera/base/text.h"
#include "solera/checkpoint/descriptor.h"
#include "solera/checkpoint/mapping_guard.h"
#include "solera/checkpoint/safetensors.h"

namespace solera::checkpoint {
namespace {

// A file's tensors are [first, last) of the layout's.
struct Shard {
  std::size_t first = 0, last = 0;
};

std::vector<Shard> fill_shards(std::span<const TensorInfo> tensors, const LayoutOptions& options) {
  std::vector<Shard> shards = {{0, 0}};
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::uint64_t bytes = tensors[i].bytes();
    const bool fits = used <= options.shard_bytes && bytes <= options.shard_bytes - used;
    if (!options.single_file && !fits && shards.back().last > shards.back().first) {
      shards.push_back({i, i});
      used = 0;
    }
    used += bytes;
    shards.back().last = i + 1;
  }
  return shards;
}

std::string shard_name(std::size_t number, std::size_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", number, count);
  return text;
}

void add_file(const Shard& shard, std::string name, const std::map<std::string, std::string>& metadata,
              Layout& layout) {
  std::vector<std::size_t> order(shard.last - shard.first);
  std::iota(order.begin(), order.end(), shard.first);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const int wide = bits(layout.tensors[a].dtype), other = bits(layout.tensors[b].dtype);
    return wide != other ? wide > other : a < b;  // the tensors are sorted by name
  });
  std::vector<TensorInfo> tensors;
  tensors.reserve(order.size());
  for (const std::size_t i : order) tensors.push_back(layout.tensors[i]);

  std::vector<std::uint64_t> offsets;
  Layout::File file{std::move(name), safetensors_header(tensors, metadata, offsets)};
  file.bytes = file.header.size();
  for (std::size_t k = 0; k < order.size(); ++k) {
    layout.places[order[k]] = {static_cast<int>(layout.files.size()), file.header.size() + offsets[k]};
    file.bytes += tensors[k].bytes();
  }
  layout.files.push_back(std::move(file));
}

std::string index_text(const Layout& layout) {
  std::uint64_t total = 0;
  std::vector<std::pair<std::string, Node>> places;
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    total += layout.tensors[i].bytes();
    places.emplace_back(layout.tensors[i].name,
                        Node::text(layout.files[static_cast<std::size_t>(layout.places[i].file)].name));
  }
  Node index;
  index.set("metadata", Node::map({{"total_size", Node::integer(static_cast<std::int64_t>(total))}}));
  index.set("weight_map", Node::map(std::move(places)));
  return to_json(index, 2) + "\n";
}

Error cannot(std::string_view what, const std::string& path, int code) {
  return io_error(cat("cannot ", what, ": ", errno_text(code)), path);
}

std::uint64_t free_bytes(const std::string& folder) {
  struct statvfs system = {};
  if (::statvfs(folder.c_str(), &system) != 0) return UINT64_MAX;
  return static_cast<std::uint64_t>(system.f_bavail) * system.f_frsize;
}

Error disk_too_small(const std::string& folder, std::uint64_t needed) {
  return io_error(cat("needs ", bytes_text(needed), ", ", bytes_text(free_bytes(folder)), " free"), folder,
                  "free some space or choose another disk");
}

// Bytes that come from a mapped file may have been lost: then pwrite says EFAULT where our own reading would be helped
// by the mapping guard, so we read a byte of each page before trying again. The input's check() reports it.
void touch_pages(std::span<const std::byte> bytes) {
  const volatile std::byte* data = bytes.data();
  for (std::size_t i = 0; i < bytes.size(); i += page_size()) (void)data[i];
  if (!bytes.empty()) (void)data[bytes.size() - 1];
}

void write_all(int file, std::uint64_t offset, std::span<const std::byte> bytes, const std::string& path) {
  bool touched = false;
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EFAULT && !std::exchange(touched, true)) {
      touch_pages(bytes);
      continue;
    }
    if (done < 0) throw cannot("write", path, errno);
    offset += static_cast<std::uint64_t>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

// Gives the file its size; with its blocks where the file system can reserve them.
void reserve(int file, std::uint64_t bytes, const std::string& folder, std::uint64_t needed, const std::string& path) {
  int status = 0;
  do {
    // Not posix_fallocate, which writes a byte to every block where the file system cannot reserve.
    status = ::fallocate(file, 0, 0, static_cast<off_t>(bytes));
  } while (status != 0 && errno == EINTR);
  if (status == 0) return;
  if (errno == ENOSPC || errno == EDQUOT) throw disk_too_small(folder, needed);
  if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) throw cannot("reserve space", path, errno);
  if (::ftruncate(file, static_cast<off_t>(bytes)) != 0) throw cannot("reserve space", path, errno);
}

struct Created {
  Descriptor file;
  bool fresh = false;  // it was not there
};

// Of at most `bytes`. What is in it stays: another process may be writing the same there.
Created create(const std::string& path, std::uint64_t bytes) {
  Created created{Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)), true};
  if (!created.file && errno == EEXIST) created = {Descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC)), false};
  if (!created.file) throw cannot("create the file", path, errno);
  struct stat status = {};
  if (::fstat(created.file.get(), &status) != 0) throw cannot("create the file", path, errno);
  if (static_cast<std::uint64_t>(status.st_size) > bytes &&
      ::ftruncate(created.file.get(), static_cast<off_t>(bytes)) != 0)
    throw cannot("create the file", path, errno);
  return created;
}

// Of the disk, that a file has already.
std::uint64_t reserved_bytes(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

Descriptor reopen(const std::string& path, const Layout::File& expected) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) throw cannot("open the unfinished file", path, errno);
  struct stat status = {};
  std::string header(expected.header.size(), '\0');
  const bool same = ::fstat(file.get(), &status) == 0 && static_cast<std::uint64_t>(status.st_size) == expected.bytes &&
                    ::pread(file.get(), header.data(), header.size(), 0) == static_cast<ssize_t>(header.size()) &&
                    header == expected.header;
  if (!same) throw io_error("the unfinished file is not of this output", path, "start afresh");
  return file;
}

}  // namespace

std::uint64_t Layout::total_bytes() const {
  std::uint64_t sum = 0;
  for (const File& file : files) sum += file.bytes;
  return sum;
}

Layout plan_layout(std::vector<TensorInfo> tensors, const LayoutOptions& options) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(tensors.begin(), tensors.end(),
                                        [](const TensorInfo& a, const TensorInfo& b) { return a.name == b.name; });
  if (twice != tensors.end()) throw input_error(cat("two tensors are named ", twice->name));

  Layout layout;
  layout.tensors = std::move(tensors);
  layout.places.resize(layout.tensors.size());
  const std::vector<Shard> shards = fill_shards(layout.tensors, options);
  if (shards.size() == 1) {
    add_file(shards[0], "model.safetensors", options.metadata, layout);
    return layout;
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    add_file(shards[i], shard_name(i + 1, shards.size()), options.metadata, layout);
  }
  layout.index = index_text(layout);
  return layout;
}

struct ShardWriter::Impl {
  struct File {
    std::string path;
    Descriptor descriptor;
    std::atomic<bool> unsynced{true};
  };
  std::string folder;
  std::vector<Layout::Place> places;
  std::vector<std::uint64_t> bytes;  // of each tensor
  std::unique_ptr<File[]> files;
  std::size_t file_count = 0;
  bool folder_synced = false;

  void create_files(const Layout& layout, std::span<const FileUse> uses) {
    std::uint64_t needed = 0;
    for (std::size_t i = 0; i < file_count; ++i)
      if (uses[i] == FileUse::kCreate)
        needed += layout.files[i].bytes - std::min(layout.files[i].bytes, reserved_bytes(files[i].path));
    if (needed > free_bytes(folder)) throw disk_too_small(folder, needed);
    std::vector<std::string> fresh;
    try {
      for (std::size_t i = 0; i < file_count; ++i) {
        if (uses[i] != FileUse::kCreate) continue;
        File& file = files[i];
        Created created = create(file.path, layout.files[i].bytes);
        if (created.fresh) fresh.push_back(file.path);
        file.descriptor = std::move(created.file);
        reserve(file.descriptor.get(), layout.files[i].bytes, folder, needed, file.path);
        write_all(file.descriptor.get(), 0, std::as_bytes(std::span(layout.files[i].header)), file.path);
      }
    } catch (...) {
      for (const std::string& path : fresh) ::unlink(path.c_str());
      throw;
    }
  }
};

ShardWriter::ShardWriter(const std::string& folder, const Layout& layout, bool resume)
    : ShardWriter(folder, layout,
                  std::vector<FileUse>(layout.files.size(), resume ? FileUse::kResume : FileUse::kCreate)) {}

ShardWriter::ShardWriter(const std::string& folder, const Layout& layout, std::span<const FileUse> uses)
    : impl_(std::make_unique<Impl>()) {
  impl_->folder = folder;
  impl_->places = layout.places;
  for (const TensorInfo& tensor : layout.tensors) impl_->bytes.push_back(tensor.bytes());
  impl_->file_count = layout.files.size();
  impl_->files = std::make_unique<Impl::File[]>(impl_->file_count);
  for (std::size_t i = 0; i < impl_->file_count; ++i) impl_->files[i].path = join_path(folder, layout.files[i].name);
  for (std::size_t i = 0; i < impl_->file_count; ++i)
    if (uses[i] == FileUse::kResume) impl_->files[i].descriptor = reopen(impl_->files[i].path, layout.files[i]);
  impl_->create_files(layout, uses);
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::write(std::size_t index, std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::uint64_t whole = impl_->bytes.at(index);
  if (offset > whole || bytes.size() > whole - offset) {
    throw usage_error(cat("writing ", bytes.size(), " bytes at ", offset, " of a tensor of ", whole, " bytes"));
  }
  const Layout::Place& place = impl_->places[index];
  Impl::File& file = impl_->files[static_cast<std::size_t>(place.file)];
  write_all(file.descriptor.get(), place.offset + offset, bytes, file.path);
  file.unsynced = true;
}

void ShardWriter::sync() {
  for (std::size_t i = 0; i < impl_->file_count; ++i) {
    Impl::File& file = impl_->files[i];
    if (file.descriptor && file.unsynced.exchange(false) && ::fdatasync(file.descriptor.get()) != 0) {
      file.unsynced = true;
      throw cannot("sync", file.path, errno);
    }
  }
  if (std::exchange(impl_->folder_synced, true)) return;
  const Descriptor folder(::open(impl_->folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) throw cannot("sync", impl_->folder, errno);
}

void write_safetensors(const std::string& path, std::span<const NamedBytes> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedBytes*> sorted;
  std::vector<TensorInfo> infos;
  for (const NamedBytes& tensor : tensors) {
    if (tensor.bytes.size() != tensor.info.bytes()) {
      throw usage_error(
          cat(tensor.info.name, " takes ", tensor.info.bytes(), " bytes, but ", tensor.bytes.size(), " are given"),
          path);
    }
    sorted.push_back(&tensor);
    infos.push_back(tensor.info);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const NamedBytes* a, const NamedBytes* b) { return a->info.name < b->info.name; });
  const Layout layout = plan_layout(std::move(infos), {.single_file = true, .metadata = metadata});
  std::string content = layout.files[0].header;
  content.resize(layout.files[0].bytes);
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (!sorted[i]->bytes.empty()) {
      std::memcpy(content.data() + layout.places[i].offset, sorted[i]->bytes.data(), sorted[i]->bytes.size());
    }
  }
  write_atomically(path, content);
}

}  // namespace solera::checkpoint
