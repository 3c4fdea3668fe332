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

/// Writes `directory/checkpoint-<step, 12 digits>.lsc`: magic, version, step, parts, CRC-32C over all of it; then removes
/// all but the `keep` newest steps (2: if the newest is damaged, the one before is still there). Makes `directory`.
void write_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint, int keep = 2);

/// Throws Error(not_found, corruption). Damage of any kind is detected by size, magic and CRC.
Checkpoint read_checkpoint(const std::filesystem::path& file);

struct CheckpointSearch {
  std::optional<Checkpoint> checkpoint;  ///< the newest whole one
  std::filesystem::path file;
  std::vector<std::string> damaged;  ///< messages for newer files that were passed over
};

/// The newest checkpoint of a folder that is whole. No file at all: `checkpoint` is empty, `damaged` is empty.
CheckpointSearch find_checkpoint(const std::filesystem::path& directory);

}  // namespace lockstep::state
