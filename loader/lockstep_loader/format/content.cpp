#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/record_memory.h"
#include "lockstep_loader/format/content_internal.h"
#include "lockstep_loader/format/mapped_file.h"

namespace lockstep::loader {

Content map_file(const std::filesystem::path& path) {
  auto file = std::make_shared<const MappedFile>(path);
  const std::span<const std::byte> bytes = file->bytes();
  return {path.string(), bytes, std::move(file)};
}

OwnedBytes allocate(std::uint64_t bytes, const std::string& name) {
  try {
    std::shared_ptr<std::byte[]> memory(new std::byte[bytes]);
    prefer_large_pages(memory.get(), bytes);
    const std::span<std::byte> view(memory.get(), bytes);
    return {std::move(memory), view};
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::io, {name, "memory", fmt::format("{} bytes for its inflated content", bytes), "none left",
                         "Inflate the file first: a plain file is mapped, not loaded."});
  }
}

ContentReader::ContentReader(Content raw, bool may_be_gzip) : raw_(std::move(raw)) {
  if (may_be_gzip && is_gzip(raw_.bytes))
    inflate_ = std::make_unique<InflateReader>(raw_.bytes, raw_.name, Wrapping::gzip);
}

std::span<const std::byte> ContentReader::head(std::size_t bytes) {
  if (plain()) return raw_.bytes.first(std::min(bytes, raw_.bytes.size()));
  if (head_.size() < bytes) {
    const std::size_t before = head_.size();
    head_.resize(bytes);
    head_.resize(before + inflate_->read(std::span(head_).subspan(before)));
  }
  return std::span<const std::byte>(head_).first(std::min(bytes, head_.size()));
}

void ContentReader::fail_size(std::uint64_t bytes, const std::string& says, const std::string& got) const {
  fail(ErrorCode::corruption,
       {raw_.name, plain() ? "size" : "inflated size", fmt::format("{} bytes ({})", bytes, says), got,
        "The file is truncated, has something appended, or is of another kind; get it again."});
}

Content ContentReader::exactly(std::uint64_t bytes, const std::string& says) {
  if (plain()) {
    if (raw_.bytes.size() != bytes) fail_size(bytes, says, fmt::format("{} bytes", raw_.bytes.size()));
    return raw_;
  }
  if (bytes < head_.size()) fail_size(bytes, says, fmt::format("at least {} bytes", head_.size()));
  const std::uint64_t most = raw_.bytes.size() * kDeflateRatio + 64;
  if (bytes > most)
    fail_size(bytes, says, fmt::format("at most {} bytes from {} compressed ones", most, raw_.bytes.size()));
  OwnedBytes content = allocate(bytes, raw_.name);
  std::copy(head_.begin(), head_.end(), content.bytes.begin());
  const std::size_t got = head_.size() + inflate_->read(content.bytes.subspan(head_.size()));
  if (got < bytes) fail_size(bytes, says, fmt::format("{} bytes", got));
  std::byte more;
  if (inflate_->read({&more, 1}) != 0) fail_size(bytes, says, "more than that");
  return {raw_.name, content.bytes, std::move(content.memory)};
}

Content ContentReader::all(std::uint64_t limit_bytes) {
  if (plain()) return raw_;
  auto content = std::make_shared<std::vector<std::byte>>(std::move(head_));
  while (true) {
    const std::size_t before = content->size();
    const auto target =
        std::min<std::uint64_t>(std::max<std::uint64_t>(2 * before, 64 << 10), limit_bytes + 1);
    content->resize(std::max<std::uint64_t>(target, before));
    const std::size_t wanted = content->size();
    content->resize(before + inflate_->read(std::span(*content).subspan(before)));
    if (content->size() > limit_bytes) {
      fail(ErrorCode::unsupported,
           {raw_.name, "inflated size", fmt::format("at most {} bytes", limit_bytes), "more",
            "Inflate the file first (gzip -d), or raise max_inflated_bytes."});
    }
    if (content->size() < wanted) break;
  }
  return {raw_.name, *content, content};
}

}  // namespace lockstep::loader
