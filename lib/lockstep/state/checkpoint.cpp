#include <algorithm>
#include <cstdio>
#include <limits>

#include "lockstep/base/error.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/state/archive.h"
#include "lockstep/state/checkpoint_internal.h"
#include "lockstep/state/durable_file.h"

namespace lockstep::state {
namespace {

namespace fs = std::filesystem;

// docs/formats/checkpoint.md. Persisted: do not change.
constexpr std::array<char, 8> kMagic{'L', 'S', 'C', 'K', 'P', 'T', '\r', '\n'};
constexpr std::uint32_t kVersion = 1;
constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kTemporaryPrefix = ".checkpoint-";
constexpr std::string_view kSuffix = ".lsc";
constexpr std::size_t kCrcBytes = 4;

struct Head {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint64_t file_bytes = 0;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& magic& version& file_bytes;
  }
};
constexpr std::size_t kHeadBytes = 20;

struct Body {
  std::int64_t step = 0;
  std::vector<std::pair<std::string, std::string>> parts;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& step& parts;
  }
};

[[noreturn]] void fail_damaged(const fs::path& file, std::string what, std::string expected,
                               std::string got) {
  fail(ErrorCode::corruption, {file.string(), std::move(what), std::move(expected), std::move(got),
                               "Resume from the checkpoint before it"});
}

void check_frame(const fs::path& file, const std::string& bytes) {
  if (bytes.size() < kHeadBytes + kCrcBytes) {
    fail_damaged(file, "truncated", "at least 24 bytes", std::to_string(bytes.size()));
  }
  const Head head = from_bytes<Head>(bytes.substr(0, kHeadBytes));
  if (head.magic != kMagic)
    fail_damaged(file, "magic", "LSCKPT", "other bytes: no checkpoint of this library");
  if (head.file_bytes != bytes.size()) {
    fail_damaged(file, head.file_bytes > bytes.size() ? "truncated" : "size",
                 std::to_string(head.file_bytes) + " bytes", std::to_string(bytes.size()));
  }
  const auto stored = from_bytes<std::uint32_t>(bytes.substr(bytes.size() - kCrcBytes));
  const std::uint32_t computed = checksum::crc32c(bytes.data(), bytes.size() - kCrcBytes);
  if (stored != computed) {
    fail_damaged(file, "CRC-32C", std::to_string(stored),
                 std::to_string(computed) + ": the content was changed");
  }
  if (head.version != kVersion) {
    fail(ErrorCode::unsupported, {file.string(), "checkpoint version", std::to_string(kVersion),
                                  std::to_string(head.version), "Use the version of lockstep that wrote it"});
  }
}

std::string file_name(std::int64_t step) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%012lld", static_cast<long long>(step));
  return std::string(kPrefix) + digits + std::string(kSuffix);
}

/// The step that a file name tells, or nothing for another file.
std::optional<std::int64_t> step_of(const std::string& name) {
  if (name.size() <= kPrefix.size() + kSuffix.size() || !name.starts_with(kPrefix) ||
      !name.ends_with(kSuffix))
    return {};
  const std::string digits = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  if (digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) return {};
  const std::int64_t step = std::stoll(digits);
  if (name != file_name(step)) return {};
  return step;
}

/// Steps that the folder has files for, newest first.
std::vector<std::int64_t> steps_in(const fs::path& directory) {
  std::error_code error;
  std::vector<std::int64_t> steps;
  fs::directory_iterator entries(directory, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    if (const auto step = step_of(entries->path().filename().string())) steps.push_back(*step);
  }
  if (error) fail_errno(error.value(), directory.string(), "cannot list the checkpoint folder");
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

void remove_older(const fs::path& directory, std::int64_t newest, int keep) {
  int kept = 0;
  for (const std::int64_t step : steps_in(directory)) {
    if (step > newest || ++kept <= keep) continue;
    std::error_code error;
    fs::remove(directory / file_name(step), error);
    if (error)
      fail_errno(error.value(), (directory / file_name(step)).string(), "cannot remove an old checkpoint");
  }
}

/// Temporaries that a killed process left. One process writes a folder, so none of them is in use.
void remove_leftovers(const fs::path& directory) {
  std::vector<fs::path> leftovers;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(kTemporaryPrefix) && name.find(".lsc.tmp-") != std::string::npos)
      leftovers.push_back(entry->path());
  }
  for (const fs::path& leftover : leftovers) fs::remove(leftover, error);
}

}  // namespace

std::string encode_checkpoint(const Checkpoint& checkpoint) {
  const std::string body = to_bytes(Body{checkpoint.step, checkpoint.parts});
  Head head;
  head.file_bytes = kHeadBytes + body.size() + kCrcBytes;
  std::string bytes = to_bytes(head) + body;
  return bytes += to_bytes(checksum::crc32c(bytes.data(), bytes.size()));
}

Checkpoint decode_checkpoint(const fs::path& file, const std::string& bytes) {
  check_frame(file, bytes);
  const auto all = std::as_bytes(std::span(bytes));
  try {
    auto body = from_bytes<Body>(all.subspan(kHeadBytes, all.size() - kHeadBytes - kCrcBytes));
    return Checkpoint{body.step, std::move(body.parts)};
  } catch (const Error& error) {
    fail_damaged(file, "content", "a step and parts", error.what());
  }
}

const std::string& Checkpoint::part(const std::string& name) const {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const auto& part) { return part.first == name; });
  if (found != parts.end()) return found->second;
  std::string names;
  for (const auto& part : parts) names += (names.empty() ? "" : ", ") + part.first;
  fail(ErrorCode::not_found, {"checkpoint of step " + std::to_string(step), "part", name,
                              names.empty() ? "no parts" : names, "Was it written by another program?"});
}

void write_checkpoint(const fs::path& directory, const Checkpoint& checkpoint, int keep) {
  if (checkpoint.step < 0 || checkpoint.step > 999'999'999'999'999'999) {
    fail(ErrorCode::invalid_argument,
         {"write_checkpoint", "step", "0 to 10^18 - 1", std::to_string(checkpoint.step), {}});
  }
  if (keep < 1) {
    fail(ErrorCode::invalid_argument, {"write_checkpoint", "keep", "1 or more", std::to_string(keep), {}});
  }
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail_errno(error.value(), directory.string(), "cannot make the checkpoint folder");
  remove_leftovers(directory);
  write_file_durably(directory / file_name(checkpoint.step), encode_checkpoint(checkpoint));
  remove_older(directory, checkpoint.step, keep);
}

Checkpoint read_checkpoint(const fs::path& file) {
  return decode_checkpoint(file, read_file(file, std::numeric_limits<std::uint64_t>::max()));
}

CheckpointSearch find_checkpoint(const fs::path& directory) {
  CheckpointSearch search;
  if (!fs::exists(directory)) return search;
  for (const std::int64_t step : steps_in(directory)) {
    const fs::path file = directory / file_name(step);
    try {
      Checkpoint checkpoint = read_checkpoint(file);
      if (checkpoint.step != step)
        fail_damaged(file, "step", std::to_string(step), std::to_string(checkpoint.step));
      search.checkpoint = std::move(checkpoint);
      search.file = file;
      return search;
    } catch (const Error& error) {
      search.damaged.emplace_back(error.what());
    }
  }
  return search;
}

}  // namespace lockstep::state
