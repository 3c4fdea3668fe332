#pragma once
// A checkpoint's bytes (docs/formats/checkpoint.md), apart from the file that holds them.

#include <filesystem>
#include <string>

#include "lockstep/state/durable_file.h"

namespace lockstep::state {

std::string encode_checkpoint(const Checkpoint& checkpoint);

/// Throws Error(corruption, unsupported); `file` is only named in messages.
Checkpoint decode_checkpoint(const std::filesystem::path& file, const std::string& bytes);

}  // namespace lockstep::state
