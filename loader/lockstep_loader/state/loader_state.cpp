#include "lockstep_loader/state/loader_state.h"

#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/state/archive.h"

namespace lockstep::loader {
namespace {

constexpr std::uint32_t kVersion = 1;

struct Difference {
  std::string what, saved, now;
};

class Differences {
 public:
  template <class T>
  void compare(const char* what, const T& saved, const T& now) {
    if (!(saved == now)) list_.push_back({what, fmt::format("{}", saved), fmt::format("{}", now)});
  }
  void add(Difference difference) { list_.push_back(std::move(difference)); }
  bool empty() const { return list_.empty(); }
  std::string whats() const {
    return join([](const Difference& d) { return d.what; });
  }
  std::string saved() const {
    return join([this](const Difference& d) { return labelled(d, d.saved); });
  }
  std::string now() const {
    return join([this](const Difference& d) { return labelled(d, d.now); });
  }

 private:
  template <class Pick>
  std::string join(Pick pick) const {
    std::string text;
    for (const Difference& difference : list_) text += (text.empty() ? "" : ", ") + pick(difference);
    return text;
  }
  std::string labelled(const Difference& difference, const std::string& value) const {
    return list_.size() == 1 ? value : fmt::format("{} {}", difference.what, value);
  }

  std::vector<Difference> list_;
};

const char* last_batch_name(std::uint8_t value) {
  constexpr const char* kNames[] = {"keep", "drop", "wrap"};
  return value < 3 ? kNames[value] : "unknown";
}

const char* bad_sample_name(std::uint8_t value) {
  constexpr const char* kNames[] = {"fail", "skip", "substitute"};
  return value < 3 ? kNames[value] : "unknown";
}

Differences differences_of_stream(const LoaderState& saved, const LoaderState& now) {
  Differences found;
  if (!(saved.dataset_fingerprint == now.dataset_fingerprint)) {
    found.add({"dataset", fmt::format("{} (fingerprint {})", saved.dataset, saved.dataset_fingerprint.hex()),
               fmt::format("{} (fingerprint {})", now.dataset, now.dataset_fingerprint.hex())});
  }
  found.compare("sampler", saved.sampler, now.sampler);
  found.compare("seed", saved.seed, now.seed);
  found.compare("batch_size", saved.batch_size, now.batch_size);
  found.compare<std::string>("last-batch policy", last_batch_name(saved.last), last_batch_name(now.last));
  found.compare<std::string>("bad-sample policy", bad_sample_name(saved.bad_sample),
                             bad_sample_name(now.bad_sample));
  // Only torch order, the one with a state, draws its base seeds by it.
  if (!saved.sampler_state.empty()) {
    found.compare("persistent_workers", saved.persistent_workers, now.persistent_workers);
  }
  return found;
}

void check_values(const LoaderState& state) {
  const bool sound = state.epoch >= 0 && state.batches >= 0 && state.samples >= 0 &&
                     state.samples_total >= 0 && state.batch_size > 0 && state.last < 3 &&
                     state.bad_sample < 3 && state.world_size > 0 && state.rank >= 0 &&
                     state.rank < state.world_size && state.digest_first_batch >= 0 &&
                     state.digest_first_batch <= state.batches;
  if (sound) return;
  fail(ErrorCode::corruption, {"loader state", "a count", "possible values", "a value out of its range",
                               "Resume from the checkpoint before this one."});
}

}  // namespace

std::string to_bytes(const LoaderState& state) { return state::to_bytes(state); }

LoaderState loader_state_from_bytes(const std::string& bytes) {
  // The version leads, so that a later layout is told from damage.
  if (bytes.size() >= sizeof(std::uint32_t)) {
    const auto version = state::from_bytes<std::uint32_t>(bytes.substr(0, sizeof(std::uint32_t)));
    if (version != kVersion) {
      fail(ErrorCode::unsupported,
           {"loader state", "version", std::to_string(kVersion), std::to_string(version),
            "Resume with the lockstep that wrote it, or a newer one."});
    }
  }
  auto state = state::from_bytes<LoaderState>(bytes);
  check_values(state);
  return state;
}

void check_resume(const LoaderState& saved, const LoaderState& now) {
  const Differences found = differences_of_stream(saved, now);
  if (found.empty()) return;
  fail(ErrorCode::invalid_argument,
       {"resume", found.whats(), found.saved() + " as saved", found.now(),
        "Resume with the saved values, or start a new run without the checkpoint."});
}

LoaderState merge_ranks(std::span<const LoaderState> ranks) {
  const auto refuse = [](std::string what, std::string expected, std::string got) {
    fail(ErrorCode::invalid_argument,
         {"merge_ranks", std::move(what), std::move(expected), std::move(got),
          "Pass the states that all ranks of one run saved after the same batch."});
  };
  if (ranks.empty()) refuse("states", "one a rank", "none");
  LoaderState merged = ranks.front();
  merged.rank = 0, merged.world_size = 1;
  merged.ids_digest = {}, merged.bytes_digest = {};
  std::vector<bool> seen(ranks.size());
  for (const LoaderState& part : ranks) {
    if (part.world_size != static_cast<std::int64_t>(ranks.size())) {
      refuse("states", fmt::format("{} (the world size)", part.world_size), std::to_string(ranks.size()));
    }
    check_resume(ranks.front(), part);
    if (part.epoch != merged.epoch || part.batches != merged.batches ||
        part.digest_first_batch != merged.digest_first_batch) {
      refuse(fmt::format("rank {}", part.rank),
             fmt::format("epoch {} batch {}", merged.epoch, merged.batches),
             fmt::format("epoch {} batch {}", part.epoch, part.batches));
    }
    if (seen[static_cast<std::size_t>(part.rank)])
      refuse("ranks", "each once", fmt::format("rank {} twice", part.rank));
    seen[static_cast<std::size_t>(part.rank)] = true;
    merged.ids_digest.merge(part.ids_digest);
    merged.bytes_digest.merge(part.bytes_digest);
  }
  return merged;
}

}  // namespace lockstep::loader
