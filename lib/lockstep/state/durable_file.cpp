#include "lockstep/state/durable_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lockstep/base/error.h"

namespace lockstep::state {
namespace {

namespace fs = std::filesystem;

/// A descriptor that closes itself.
class File {
 public:
  File(const fs::path& path, int flags) : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }
  /// The error that close() reports, or 0: some file systems tell of a full disk only here.
  int close() {
    const int result = ::close(descriptor_);
    descriptor_ = -1;
    return result == 0 ? 0 : errno;
  }

 private:
  int descriptor_;
};

/// Removes the temporary unless the rename took it away.
class Temporary {
 public:
  explicit Temporary(fs::path path) : path_(std::move(path)) {}
  ~Temporary() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove(path_, ignored);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  const fs::path& path() const { return path_; }
  void release() { path_.clear(); }

 private:
  fs::path path_;
};

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  std::string name = ".";
  name += path.filename().string();
  name += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
  return folder_of(path) / name;
}

int write_all(int descriptor, const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t written = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) done += static_cast<std::size_t>(written);
  }
  return 0;
}

void sync_folder(const fs::path& folder) {
  const File file(folder, O_RDONLY | O_DIRECTORY);
  if (!file.is_open()) fail_errno(errno, folder.string(), "cannot open the folder");
  // EINVAL: a file system without fsync on folders; its rename is as durable as it can be.
  if (::fsync(file.get()) != 0 && errno != EINVAL)
    fail_errno(errno, folder.string(), "cannot sync the folder");
}

}  // namespace

void write_file_durably(const fs::path& path, const std::string& bytes) {
  const std::string where = path.string();
  if (!path.has_filename()) {
    fail(ErrorCode::invalid_argument, {"write_file_durably", "path", "the name of a file", where, {}});
  }
  Temporary temporary(temporary_name(path));
  File file(temporary.path(), O_WRONLY | O_CREAT | O_EXCL);
  if (!file.is_open())
    fail_errno(errno, where, "cannot create a file in its folder", "Is the folder there and writable?");
  if (const int error = write_all(file.get(), bytes)) {
    fail_errno(error, where, "cannot write " + std::to_string(bytes.size()) + " bytes",
               "The former file, if any, is untouched");
  }
  if (::fsync(file.get()) != 0)
    fail_errno(errno, where, "cannot sync", "The former file, if any, is untouched");
  if (const int error = file.close()) fail_errno(error, where, "cannot close");
  if (::rename(temporary.path().c_str(), path.c_str()) != 0) {
    fail_errno(errno, where, "cannot rename the temporary file to this name");
  }
  temporary.release();
  sync_folder(folder_of(path));
}

std::string read_file(const fs::path& path, std::uint64_t max_bytes) {
  const std::string where = path.string();
  const File file(path, O_RDONLY);
  if (!file.is_open()) fail_errno(errno, where, "cannot open");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno(errno, where, "cannot stat");
  std::string bytes;
  if (S_ISREG(status.st_mode)) {
    const auto size = static_cast<std::uint64_t>(status.st_size);
    bytes.reserve(static_cast<std::size_t>(std::min(size, max_bytes)));
  }
  std::string block(1 << 16, '\0');
  while (true) {
    const ssize_t count = ::read(file.get(), block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(errno, where, "cannot read");
    if (count == 0) return bytes;
    bytes.append(block, 0, static_cast<std::size_t>(count));
    if (bytes.size() > max_bytes) {
      fail(ErrorCode::corruption,
           {where, "size", "at most " + std::to_string(max_bytes) + " bytes", "more", {}});
    }
  }
}

}  // namespace lockstep::state
