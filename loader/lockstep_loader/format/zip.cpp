#include <algorithm>
#include <limits>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <zlib.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/zip_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kLocator64Signature = 0x07064b50;
constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kCentralBytes = 46;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::uint32_t kIn64 = 0xffffffff;  // the value is in the zip64 extra field
constexpr std::uint16_t kEncrypted = 1;
constexpr std::uint16_t kStored = 0;
constexpr std::uint16_t kDeflated = 8;

[[noreturn]] void fail_zip(const std::string& name, const std::string& what, const std::string& got) {
  fail(ErrorCode::corruption, {name, what, {}, got, "This is no whole .npz archive; get it again."});
}

/// Little-endian numbers at offsets of a part of the archive whose length was checked.
class Part {
 public:
  /// Throws Error(corruption) unless [offset, offset + bytes) lies in the archive.
  Part(const Content& archive, std::uint64_t offset, std::uint64_t bytes, const std::string& what) {
    if (offset > archive.bytes.size() || bytes > archive.bytes.size() - offset) {
      fail_zip(archive.name, what,
               fmt::format("it lies at {}, outside of {} bytes", offset, archive.bytes.size()));
    }
    bytes_ = archive.bytes.subspan(offset, bytes);
  }
  explicit Part(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint16_t u16(std::size_t at) const { return static_cast<std::uint16_t>(number(at, 2)); }
  std::uint32_t u32(std::size_t at) const { return static_cast<std::uint32_t>(number(at, 4)); }
  std::uint64_t u64(std::size_t at) const { return number(at, 8); }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::uint64_t number(std::size_t at, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t byte = count; byte-- > 0;)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes_[at + byte]);
    return value;
  }

  std::span<const std::byte> bytes_;
};

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

/// The end record is the last thing but a comment, whose length must fit exactly.
std::size_t find_end(const Content& archive) {
  const std::size_t size = archive.bytes.size();
  const std::size_t farthest = kEndBytes + std::numeric_limits<std::uint16_t>::max();
  for (std::size_t back = kEndBytes; back <= std::min(size, farthest); ++back) {
    const Part end(archive.bytes.subspan(size - back));
    if (end.u32(0) == kEndSignature && end.u16(20) == back - kEndBytes) return size - back;
  }
  fail_zip(archive.name, "zip archive", "no end of central directory; it is truncated or of another kind");
}

Directory directory64(const Content& archive, std::size_t end_offset) {
  if (end_offset < kLocator64Bytes) fail_zip(archive.name, "zip64 locator", "missing");
  const Part locator(archive, end_offset - kLocator64Bytes, kLocator64Bytes, "zip64 locator");
  if (locator.u32(0) != kLocator64Signature) fail_zip(archive.name, "zip64 locator", "missing");
  const std::uint64_t offset = locator.u64(8);
  const Part end(archive, offset, kEnd64Bytes, "zip64 end of central directory");
  if (end.u32(0) != kEnd64Signature || offset + kEnd64Bytes > end_offset - kLocator64Bytes) {
    fail_zip(archive.name, "zip64 end of central directory", "missing");
  }
  return {end.u64(48), end.u64(40), end.u64(32)};
}

Directory find_directory(const Content& archive) {
  const std::size_t end_offset = find_end(archive);
  const Part end(archive, end_offset, kEndBytes, "end of central directory");
  Directory directory{end.u32(16), end.u32(12), end.u16(10)};
  const bool wide = directory.offset == kIn64 || directory.bytes == kIn64 || directory.entries == 0xffff;
  if (!wide && (end.u16(4) != 0 || end.u16(6) != 0 || end.u16(8) != end.u16(10))) {
    fail(ErrorCode::unsupported,
         {archive.name, "zip archive", "one disk", "a part of several", "Join the parts first."});
  }
  if (wide) directory = directory64(archive, end_offset);
  if (directory.offset > end_offset || directory.bytes > end_offset - directory.offset ||
      directory.entries > directory.bytes / kCentralBytes ||
      (!wide && directory.offset + directory.bytes != end_offset)) {
    fail_zip(archive.name, "central directory", "it does not lie before its end record");
  }
  return directory;
}

/// Takes the 64-bit values, which stand in this order and only for those that do not fit.
void read_extra(const Content& archive, std::span<const std::byte> extra, ZipEntry& entry) {
  while (extra.size() >= 4) {
    const Part head(extra);
    const std::size_t bytes = head.u16(2);
    if (bytes > extra.size() - 4) break;
    if (head.u16(0) == 1) {
      std::size_t at = 4;
      for (std::uint64_t* value : {&entry.bytes, &entry.compressed_bytes, &entry.header_offset}) {
        if (*value != kIn64) continue;
        if (at + 8 > 4 + bytes)
          fail_zip(archive.name, fmt::format("entry '{}'", entry.name), "a zip64 value is missing");
        *value = head.u64(at);
        at += 8;
      }
      return;
    }
    extra = extra.subspan(4 + bytes);
  }
}

/// One entry of the directory at `at`, which moves to the next one.
ZipEntry read_entry(const Content& archive, const Directory& directory, std::uint64_t& at) {
  const std::uint64_t left = directory.offset + directory.bytes - at;
  if (left < kCentralBytes) fail_zip(archive.name, "central directory", "it ends within an entry");
  const Part fixed(archive, at, kCentralBytes, "central directory");
  if (fixed.u32(0) != kCentralSignature)
    fail_zip(archive.name, "central directory", "an entry lacks its signature");
  const std::uint64_t name_bytes = fixed.u16(28);
  const std::uint64_t extra_bytes = fixed.u16(30);
  const std::uint64_t total = kCentralBytes + name_bytes + extra_bytes + fixed.u16(32);
  if (total > left) fail_zip(archive.name, "central directory", "it ends within an entry");
  const Part whole(archive, at, total, "central directory");
  const auto* name = reinterpret_cast<const char*>(whole.bytes().data() + kCentralBytes);
  ZipEntry entry{{name, name_bytes}, fixed.u16(8),  fixed.u16(10), fixed.u32(16),
                 fixed.u32(20),      fixed.u32(24), fixed.u32(42)};
  read_extra(archive, whole.bytes().subspan(kCentralBytes + name_bytes, extra_bytes), entry);
  at += total;
  return entry;
}

/// The compressed bytes of an entry.
std::span<const std::byte> stored_bytes(const Content& archive, const ZipEntry& entry) {
  const std::string what = fmt::format("entry '{}'", entry.name);
  const Part local(archive, entry.header_offset, kLocalBytes, what);
  if (local.u32(0) != kLocalSignature)
    fail_zip(archive.name, what, "no local header where the directory says");
  const std::uint64_t offset = entry.header_offset + kLocalBytes + local.u16(26) + local.u16(28);
  return Part(archive, offset, entry.compressed_bytes, what).bytes();
}

/// Overlapping entries make an archive expand without bound.
void check_layout(const Content& archive, const std::vector<ZipEntry>& entries, const Directory& directory) {
  std::vector<const ZipEntry*> sorted;
  sorted.reserve(entries.size());
  for (const ZipEntry& entry : entries) sorted.push_back(&entry);
  std::ranges::sort(sorted, {}, [](const ZipEntry* entry) { return entry->header_offset; });
  const std::byte* begin = archive.bytes.data();
  for (std::size_t at = 0; at < sorted.size(); ++at) {
    const std::span<const std::byte> bytes = stored_bytes(archive, *sorted[at]);
    const auto end = static_cast<std::uint64_t>(bytes.data() + bytes.size() - begin);
    const std::uint64_t limit = at + 1 < sorted.size() ? sorted[at + 1]->header_offset : directory.offset;
    if (end > limit)
      fail_zip(archive.name, fmt::format("entry '{}'", sorted[at]->name), "it overlaps what follows it");
  }
}

void check_names(const Content& archive, const std::vector<ZipEntry>& entries) {
  std::set<std::string> names;
  for (const ZipEntry& entry : entries) {
    if (!names.insert(entry.name).second)
      fail_zip(archive.name, fmt::format("entry '{}'", entry.name), "it comes twice");
  }
}

Content inflate_entry(const Content& archive, const ZipEntry& entry, std::span<const std::byte> compressed) {
  const std::string name = archive.name + ":" + entry.name;
  if (entry.bytes / kDeflateRatio > compressed.size() + 1) {
    fail_zip(name, "inflated size",
             fmt::format("{} bytes cannot come from {} compressed ones", entry.bytes, compressed.size()));
  }
  OwnedBytes content = allocate(entry.bytes, name);
  InflateReader reader(compressed, name, Wrapping::raw);
  std::byte more;
  if (reader.read(content.bytes) != entry.bytes || reader.read({&more, 1}) != 0) {
    fail_zip(name, "inflated size", fmt::format("not the {} bytes of the directory", entry.bytes));
  }
  return {name, content.bytes, std::move(content.memory)};
}

std::uint32_t crc_of(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

std::vector<ZipEntry> read_zip_directory(const Content& archive) {
  const Directory directory = find_directory(archive);
  std::vector<ZipEntry> entries;
  std::uint64_t at = directory.offset;
  for (std::uint64_t number = 0; number < directory.entries; ++number) {
    entries.push_back(read_entry(archive, directory, at));
  }
  if (at != directory.offset + directory.bytes)
    fail_zip(archive.name, "central directory", "more bytes than entries");
  check_names(archive, entries);
  check_layout(archive, entries, directory);
  return entries;
}

Content read_zip_entry(const Content& archive, const ZipEntry& entry) {
  const std::string name = archive.name + ":" + entry.name;
  if ((entry.flags & kEncrypted) != 0) {
    fail(ErrorCode::unsupported,
         {name, "zip entry", "no encryption", "an encrypted entry", "Save it again with numpy.savez."});
  }
  if (entry.method != kStored && entry.method != kDeflated) {
    fail(ErrorCode::unsupported,
         {name, "compression method", "stored or deflated", fmt::to_string(entry.method),
          "Save it again with numpy.savez_compressed."});
  }
  const std::span<const std::byte> bytes = stored_bytes(archive, entry);
  if (entry.method == kStored && entry.bytes != bytes.size())
    fail_zip(name, "size", "two different ones for a stored entry");
  Content content =
      entry.method == kStored ? Content{name, bytes, archive.owner} : inflate_entry(archive, entry, bytes);
  if (const std::uint32_t crc = crc_of(content.bytes); crc != entry.crc) {
    fail(ErrorCode::corruption, {name, "CRC-32", fmt::format("{:08x}", entry.crc), fmt::format("{:08x}", crc),
                                 "The archive is damaged; get it again."});
  }
  return content;
}

}  // namespace lockstep::loader
