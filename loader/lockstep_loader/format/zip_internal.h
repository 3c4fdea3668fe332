#pragma once
// The zip archives that NumPy writes (PKWARE's APPNOTE 6.3.x, zip64 included): stored or deflated entries, no
// encryption, one disk, nothing before or after the archive.

#include <cstdint>
#include <string>
#include <vector>

#include "lockstep_loader/format/content_internal.h"

namespace lockstep::loader {

struct ZipEntry {
  std::string name;
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint32_t crc = 0;
  std::uint64_t compressed_bytes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t header_offset = 0;
};

/// The central directory, in its order. Throws Error(corruption) for what is no archive, is truncated, or has
/// entries that overlap, lie outside of the archive, or share a name; Error(unsupported) for one of several
/// disks.
std::vector<ZipEntry> read_zip_directory(const Content& archive);

/// The content of an entry, borrowed when stored, else inflated. Throws Error(corruption) for a wrong size or
/// CRC, Error(unsupported) for encryption and other methods.
Content read_zip_entry(const Content& archive, const ZipEntry& entry);

}  // namespace lockstep::loader
