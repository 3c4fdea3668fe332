#include "lockstep/record/environment.h"

#include <array>
#include <cfenv>
#include <fstream>
#include <gnu/libc-version.h>
#include <iterator>
#include <sched.h>
#include <string_view>
#include <sys/utsname.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "lockstep/base/version.h"

namespace lockstep::record {
namespace {

namespace fs = std::filesystem;
using Map = std::map<std::string, std::string>;

constexpr std::array<std::string_view, 18> kVariablePrefixes{
    "ATEN_",   "CUBLAS",    "CUDA_",    "CUDNN_", "DNNL_",       "GOMP_",
    "KMP_",    "LOCKSTEP_", "MKL_",     "NCCL_",  "NVIDIA_TF32", "OMP_",
    "ONEDNN_", "OPENBLAS_", "PYTORCH_", "TORCH_", "LD_PRELOAD=", "LD_LIBRARY_PATH="};

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return trimmed(line);
}

std::string os_name() {
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    constexpr std::string_view kKey = "PRETTY_NAME=";
    if (line.rfind(kKey, 0) != 0) continue;
    std::string name = line.substr(kKey.size());
    if (name.size() >= 2 && name.front() == '"') name = name.substr(1, name.size() - 2);
    return name;
  }
  return {};
}

void add_host(Map& map) {
  utsname names{};
  if (::uname(&names) == 0) {
    map["host.name"] = names.nodename;
    map["host.kernel"] = std::string(names.sysname) + " " + names.release;
    map["host.machine"] = names.machine;
  }
  map["host.os"] = os_name();
  map["host.libc"] = std::string("glibc ") + ::gnu_get_libc_version();
}

std::string rounding_name() {
  switch (std::fegetround()) {
    case FE_TONEAREST:
      return "to nearest";
    case FE_UPWARD:
      return "upward";
    case FE_DOWNWARD:
      return "downward";
    case FE_TOWARDZERO:
      return "toward zero";
    default:
      return {};
  }
}

std::string flush_to_zero() {
#if defined(__x86_64__)
  constexpr unsigned kFlush = 0x8000, kInputsAreZero = 0x0040;
  return (_mm_getcsr() & (kFlush | kInputsAreZero)) != 0 ? "yes" : "no";
#else
  return {};
#endif
}

void add_cpu(Map& map) {
  map["cpu.model"] = cpu_model();
  map["cpu.instruction_set"] = cpu_instruction_set();
  map["cpu.rounding"] = rounding_name();
  map["cpu.flush_to_zero"] = flush_to_zero();
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    map["cpu.count"] = std::to_string(CPU_COUNT(&allowed));
}

void add_build(Map& map) {
  const BuildInfo& info = build_info();
  map["build.lockstep"] = info.version;
  map["build.commit"] = info.commit;
  map["build.compiler"] = info.compiler;
  map["build.type"] = info.build_type;
  map["build.numeric_flags"] = info.numeric_flags;
  map["build.cuda"] = info.cuda;
}

void add_variables(Map& map) {
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    for (std::string_view prefix : kVariablePrefixes) {
      if (text.substr(0, prefix.size()) != prefix) continue;
      map["env." + std::string(text.substr(0, equals))] = text.substr(equals + 1);
    }
  }
}

void add_git(Map& map) {
  std::error_code error;
  const auto head = git_head(fs::current_path(error));
  if (!head) return;
  map["git.commit"] = head->commit;
  map["git.branch"] = head->branch;
}

bool is_commit(const std::string& text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// The folder of .git itself: `.git` may also be a file that points to it (worktrees, submodules).
fs::path git_folder(const fs::path& entry) {
  std::error_code error;
  if (fs::is_directory(entry, error)) return entry;
  constexpr std::string_view kPointer = "gitdir: ";
  const std::string line = first_line(entry);
  if (line.rfind(kPointer, 0) != 0) return {};
  return entry.parent_path() / line.substr(kPointer.size());  // an absolute path replaces the left side
}

std::string packed_reference(const fs::path& folder, const std::string& reference) {
  std::ifstream file(folder / "packed-refs");
  for (std::string line; std::getline(file, line);) {
    line = trimmed(line);
    const auto space = line.find(' ');
    if (space != std::string::npos && line.substr(space + 1) == reference) return line.substr(0, space);
  }
  return {};
}

std::optional<GitHead> read_head(const fs::path& folder) {
  constexpr std::string_view kReference = "ref: ", kBranch = "refs/heads/";
  const std::string head = first_line(folder / "HEAD");
  if (is_commit(head)) return GitHead{head, {}};
  if (head.rfind(kReference, 0) != 0) return std::nullopt;
  const std::string reference = head.substr(kReference.size());
  const std::string common = first_line(folder / "commondir");
  const fs::path shared = common.empty() ? folder : folder / common;
  std::string commit = first_line(folder / reference);
  if (!is_commit(commit)) commit = first_line(shared / reference);
  if (!is_commit(commit)) commit = packed_reference(shared, reference);
  if (!is_commit(commit)) return std::nullopt;
  return GitHead{commit, reference.rfind(kBranch, 0) == 0 ? reference.substr(kBranch.size()) : reference};
}

}  // namespace

std::optional<GitHead> git_head(const fs::path& folder) {
  std::error_code error;
  fs::path at = fs::absolute(folder, error);
  while (!at.empty()) {
    if (fs::exists(at / ".git", error)) return read_head(git_folder(at / ".git"));
    if (at == at.parent_path()) break;
    at = at.parent_path();
  }
  return std::nullopt;
}

std::map<std::string, std::string> environment() {
  Map map;
  add_host(map);
  add_cpu(map);
  add_build(map);
  add_git(map);
  add_variables(map);
  std::erase_if(map,
                [](const auto& entry) { return entry.second.empty() && entry.first.rfind("env.", 0) != 0; });
  return map;
}

std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

}  // namespace lockstep::record
