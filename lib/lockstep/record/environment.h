#pragma once
// What the core knows about where a run happens: for a recording's header. torch's part is in the torch room.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::record {

/// Keys "host.*" (name, os, kernel, libc), "cpu.*" (model, count, instruction_set, flush_to_zero, rounding),
/// "build.*" (lockstep, commit, compiler, type, numeric_flags, cuda, libstdc++), "git.*" (commit, branch of
/// the working folder) and "env.*" (environment variables that can change results). What is unknown or unset
/// is left out.
std::map<std::string, std::string> environment();

struct GitHead {
  std::string commit;  ///< 40 or 64 hex digits
  std::string branch;  ///< empty when HEAD is detached
};

/// The commit that is checked out in the folder that holds `folder`, read from the files of .git (worktrees
/// and packed references too) without running git. Whether the tree has changes on top is not known. Nothing
/// outside a checkout.
std::optional<GitHead> git_head(const std::filesystem::path& folder);

/// The running program's arguments, as the system keeps them; empty where it does not.
std::vector<std::string> command_line();

}  // namespace lockstep::record
