#pragma once
// Files that survive a kill: written under a temporary name, fsync, rename, fsync of the folder.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::state {

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never a part.
/// Throws Error(io or not_found) with the path and the system's reason; a half-written temporary is removed.
void write_file_durably(const std::filesystem::path& path, const std::string& bytes);

/// The whole file. Throws Error(not_found), Error(io), or Error(corruption) above `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);

/// A checkpoint: named parts, each a byte string (an archive of to_bytes, torch's own serialisation, …).
struct Checkpoint {
  std::int64_t step = 0;
  std::vector<std::pair<std::string, std::string>> parts;

  /// Throws Error(not_found) naming the part.
  const std::string& part(const std::string& name) const;
};

/// Writes `directory/checkpoint-<step, 12 digits>.lsc`: magic, version, step, parts, CRC-32C over all of it;
/// then removes all but the `keep` newest of this step and those before it (2: if the newest is damaged, the
/// one before is still there). Files of greater steps are another run's and stay. Makes `directory`. One
/// process at a time writes into a folder. Throws Error(io) and leaves what was there when the disk refuses.
void write_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint, int keep = 2);

/// Throws Error(not_found, io, corruption, or unsupported for another version). Damage is detected by size,
/// magic and CRC.
Checkpoint read_checkpoint(const std::filesystem::path& file);

struct CheckpointSearch {
  std::optional<Checkpoint> checkpoint;  ///< the newest whole one
  std::filesystem::path file;
  std::vector<std::string> damaged;  ///< messages for newer files that were passed over
};

/// The newest checkpoint of a folder that is whole. No file or no folder: `checkpoint` is empty, `damaged` is
/// empty; files but none whole: `damaged` names them all.
CheckpointSearch find_checkpoint(const std::filesystem::path& directory);

}  // namespace lockstep::state
