#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lockstep/base/error.h"
#include "lockstep/record/file_sink_internal.h"

namespace lockstep::record {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckFolder =
    "Check that the folder is writable and the disk has room, or name another one";

class DiskFile final : public FileSink {
 public:
  explicit DiskFile(int descriptor) : descriptor_(descriptor) {}
  ~DiskFile() override { ::close(descriptor_); }
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;

  int write(std::uint64_t offset, std::string_view bytes, std::size_t* written) override {
    *written = 0;
    while (*written < bytes.size()) {
      const ssize_t count = ::pwrite(descriptor_, bytes.data() + *written, bytes.size() - *written,
                                     static_cast<off_t>(offset + *written));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return count < 0 ? errno : EIO;
      *written += static_cast<std::size_t>(count);
    }
    return 0;
  }
  int sync() override { return ::fdatasync(descriptor_) == 0 ? 0 : errno; }
  int truncate(std::uint64_t size) override {
    return ::ftruncate(descriptor_, static_cast<off_t>(size)) == 0 ? 0 : errno;
  }

 private:
  int descriptor_;
};

int sync_folder(const fs::path& directory) {
  const int folder = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return errno;
  const int error = ::fsync(folder) == 0 ? 0 : errno;
  ::close(folder);
  return error == EINVAL ? 0 : error;  // a file system that cannot sync folders
}

/// Gives `temporary` the name `final` unless that is taken (EEXIST): link() never replaces, rename() would.
int claim_name(const fs::path& temporary, const fs::path& final) {
  if (::link(temporary.c_str(), final.c_str()) == 0) {
    ::unlink(temporary.c_str());
    return 0;
  }
  if (errno == EEXIST) return EEXIST;
  if (::access(final.c_str(), F_OK) == 0) return EEXIST;  // a file system without hard links
  return ::rename(temporary.c_str(), final.c_str()) == 0 ? 0 : errno;
}

}  // namespace

std::unique_ptr<FileSink> create_file_sink(const fs::path& directory, const std::string& name,
                                           std::string_view first_bytes) {
  const fs::path final = directory / name;
  const fs::path temporary = directory / ("." + name + "." + std::to_string(::getpid()) + ".tmp");
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_errno(errno, directory.string(), "recording cannot be created", kCheckFolder);
  auto sink = std::make_unique<DiskFile>(descriptor);
  std::size_t written = 0;
  int error = sink->write(0, first_bytes, &written);
  if (error == 0) error = sink->sync();
  if (error == 0) error = claim_name(temporary, final);
  if (error == 0) error = sync_folder(directory);
  if (error == 0) return sink;
  ::unlink(temporary.c_str());
  if (error == EEXIST) return nullptr;
  fail_errno(error, final.string(), "recording cannot be created", kCheckFolder);
}

}  // namespace lockstep::record
