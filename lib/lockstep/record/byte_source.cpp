#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lockstep/base/error.h"
#include "lockstep/record/byte_source_internal.h"

namespace lockstep::record {
namespace {

class FileSource final : public ByteSource {
 public:
  explicit FileSource(std::string name) : name_(std::move(name)) {
    descriptor_ = ::open(name_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) fail_errno(errno, name_, "cannot be opened", "Check the path and its permissions");
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      fail(ErrorCode::io,
           {name_, "kind of file", "a regular file", S_ISDIR(status.st_mode) ? "a folder" : "another kind",
            "Name one recording, a file that ends in .lsr"});
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
    ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  ~FileSource() override { ::close(descriptor_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  std::uint64_t size() const override { return size_; }

  std::size_t read(std::uint64_t offset, std::span<std::byte> out) override {
    std::size_t done = 0;
    while (done < out.size() && offset + done < size_) {
      const std::size_t wanted = std::min<std::uint64_t>(out.size() - done, size_ - offset - done);
      const ssize_t got = ::pread(descriptor_, out.data() + done, wanted, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_errno(errno, name_, "cannot be read", "Check the disk; then read the file again");
      if (got == 0) break;  // truncated by someone while it is read
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  std::string name_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string bytes) : bytes_(std::move(bytes)) {}
  std::uint64_t size() const override { return bytes_.size(); }
  std::size_t read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset >= bytes_.size()) return 0;
    const std::size_t count = std::min<std::size_t>(out.size(), bytes_.size() - offset);
    std::memcpy(out.data(), bytes_.data() + offset, count);
    return count;
  }

 private:
  std::string bytes_;
};

}  // namespace

std::unique_ptr<ByteSource> open_file_source(const std::filesystem::path& file) {
  return std::make_unique<FileSource>(file.string());
}

std::unique_ptr<ByteSource> make_memory_source(std::string bytes) {
  return std::make_unique<MemorySource>(std::move(bytes));
}

std::span<const std::byte> Window::view(std::uint64_t offset, std::size_t bytes) {
  const std::uint64_t left = offset < size() ? size() - offset : 0;
  bytes = std::min<std::uint64_t>(bytes, left);
  const bool inside = offset >= begin_ && offset + bytes <= begin_ + filled_;
  if (!inside) {
    const std::size_t wanted = std::min<std::uint64_t>(std::max(bytes, kWindowBytes), left);
    if (buffer_.size() < wanted) {
      buffer_ = {};  // freed first: the old and the new one never exist together
      buffer_.resize(wanted);
    }
    begin_ = offset;
    filled_ = source_->read(offset, std::span(buffer_).first(wanted));
  }
  const std::size_t from = offset - begin_;
  return std::span<const std::byte>(buffer_).subspan(from, std::min(bytes, filled_ - from));
}

}  // namespace lockstep::record
