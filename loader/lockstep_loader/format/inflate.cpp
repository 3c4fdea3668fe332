#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <zlib.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/inflate_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 30;  // zlib counts in 32 bits
constexpr int kWindow = 15;
constexpr int kGzipWindow = 16 + kWindow;

}  // namespace

struct InflateReader::Stream : z_stream {};

bool is_gzip(std::span<const std::byte> content) {
  return content.size() >= 2 && content[0] == std::byte{0x1f} && content[1] == std::byte{0x8b};
}

InflateReader::InflateReader(std::span<const std::byte> compressed, std::string name, Wrapping wrapping)
    : left_(compressed), name_(std::move(name)), wrapping_(wrapping), stream_(new Stream{}) {
  if (inflateInit2(stream_.get(), wrapping_ == Wrapping::gzip ? kGzipWindow : -kWindow) != Z_OK) {
    fail(ErrorCode::io, {name_, "zlib", {}, "cannot start, most likely for want of memory", {}});
  }
}

InflateReader::~InflateReader() { inflateEnd(stream_.get()); }

void InflateReader::fail_stream(const std::string& what, const std::string& got) const {
  fail(ErrorCode::corruption, {name_, what, {}, got, "The file is damaged; get it again."});
}

void InflateReader::refill() {
  if (stream_->avail_in > 0 || left_.empty()) return;
  const std::size_t bytes = std::min(left_.size(), kPieceBytes);
  stream_->next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(left_.data()));
  stream_->avail_in = static_cast<uInt>(bytes);
  left_ = left_.subspan(bytes);
}

void InflateReader::end_of_member() {
  refill();
  ended_ = stream_->avail_in == 0;
  if (ended_) return;
  const std::size_t unread = stream_->avail_in + left_.size();
  const std::span<const std::byte> next(reinterpret_cast<const std::byte*>(stream_->next_in),
                                        stream_->avail_in);
  // Two bytes of a next member may lie on both sides of a 1 GiB piece; zlib itself then judges the second
  // one.
  const bool member =
      wrapping_ == Wrapping::gzip && next[0] == std::byte{0x1f} && (next.size() < 2 || is_gzip(next));
  if (!member) fail_stream("compressed data", fmt::format("{} more bytes after its end", unread));
  inflateReset(stream_.get());
}

std::size_t InflateReader::read(std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size() && !ended_) {
    refill();
    const std::size_t room = std::min(out.size() - done, kPieceBytes);
    stream_->next_out = reinterpret_cast<Bytef*>(out.data() + done);
    stream_->avail_out = static_cast<uInt>(room);
    const int status = inflate(stream_.get(), Z_NO_FLUSH);
    done += room - stream_->avail_out;
    if (status == Z_STREAM_END) {
      end_of_member();
    } else if (status == Z_BUF_ERROR ||
               (status == Z_OK && stream_->avail_in == 0 && left_.empty() && stream_->avail_out > 0)) {
      fail_stream("compressed data", "it breaks off before its end");
    } else if (status != Z_OK) {
      fail_stream("compressed data", stream_->msg != nullptr ? stream_->msg : "not a deflate stream");
    }
  }
  return done;
}

}  // namespace lockstep::loader
