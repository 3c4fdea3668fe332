#include "output.h"

#include <bit>
#include <cerrno>
#include <iterator>
#include <string>
#include <unistd.h>

#include "lockstep/base/error.h"

namespace lockstep::list_samples {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
constexpr int kInterruptedExit = 130;

static_assert(std::endian::native == std::endian::little, "digests are over little-endian integers");

}  // namespace

volatile std::sig_atomic_t interrupted = 0;

void Output::print_ids(std::span<const std::int64_t> ids, bool more) {
  for (const std::int64_t id : ids) {
    if (more) buffer_.push_back(',');
    more = true;
    const fmt::format_int text(id);
    buffer_.append(text.data(), text.data() + text.size());
  }
  flush_when_full();
}

void Output::flush_when_full() {
  if (buffer_.size() >= kBufferBytes) flush();
}

void Output::flush() {
  if (interrupted) throw Stopped{kInterruptedExit};
  for (std::size_t done = 0; done < buffer_.size();) {
    const ssize_t written = ::write(STDOUT_FILENO, buffer_.data() + done, buffer_.size() - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno == EPIPE) {
      throw Stopped{0};
    } else if (errno != EINTR) {
      fail_errno(errno, "list_samples", "writing to stdout", "Check that there is space where it goes");
    } else if (interrupted) {
      throw Stopped{kInterruptedExit};
    }
  }
  buffer_.clear();
}

void IdsDigest::add(std::span<const std::int64_t> ids) {
  sha256_.update(ids.data(), ids.size_bytes());
  count_ += static_cast<std::int64_t>(ids.size());
}

}  // namespace lockstep::list_samples
