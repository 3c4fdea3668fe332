// Delivers batches, checkpoints now and then, and expects to be killed at any moment.
//   resume_worker <folder> <native|torch> <workers> <epochs> <batches per checkpoint> <pause in microseconds>
//   [seed]
// Appends to <folder>/delivered-<life>.log, one line a batch; resumes from <folder>/checkpoints when there is
// one.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/checksum/sha256.h"
#include "lockstep/state/durable_file.h"
#include "lockstep_loader/format/fashion_mnist.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/sampler/torch_order.h"

namespace {

using namespace lockstep;
namespace fs = std::filesystem;

struct Options {
  fs::path folder;
  bool torch_order = false;
  int workers = 0;
  std::int64_t epochs = 1;
  std::int64_t every = 1;
  std::chrono::microseconds pause{0};
  std::uint64_t seed = 11;
};

Options parse(int argc, char** argv) {
  if (argc < 7)
    fail(ErrorCode::invalid_argument, {"resume_worker", "arguments", "6 or 7", std::to_string(argc - 1), ""});
  Options options{argv[1],
                  std::string(argv[2]) == "torch",
                  std::stoi(argv[3]),
                  std::stoll(argv[4]),
                  std::stoll(argv[5]),
                  std::chrono::microseconds(std::stoll(argv[6])),
                  11};
  if (argc > 7) options.seed = std::stoull(argv[7]);
  return options;
}

loader::SamplerPtr make_sampler(const Options& options, std::int64_t records) {
  if (!options.torch_order) return loader::native_random({records, options.seed, false, {}});
  const auto generator = std::make_shared<loader::TorchGenerator>(options.seed);
  return loader::torch_random({records, false, {}}, {generator, generator, nullptr});
}

loader::Loader open_loader(const Options& options) {
  const auto data =
      loader::open_fashion_mnist(fs::path(LOCKSTEP_DATA_DIR) / "fashion-mnist", loader::Split::train);
  loader::LoaderOptions chosen;
  chosen.batch_size = 48;  // 2,000 records: a short last batch of 32
  chosen.workers = options.workers;
  chosen.prefetch_factor = 1 + options.workers % 3;
  chosen.seed = options.seed;
  return {data, make_sampler(options, data->size()), chosen};
}

/// One write a line, so that a kill leaves whole lines but perhaps the last.
class Log {
 public:
  explicit Log(const fs::path& folder) {
    int life = 0;
    while (fs::exists(path(folder, life))) ++life;
    file_ = ::open(path(folder, life).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file_ < 0) fail_errno(errno, path(folder, life).string(), "log");
  }
  ~Log() { ::close(file_); }
  void line(const std::string& text) {
    if (::write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      fail_errno(errno, "log", "write");
  }

 private:
  static fs::path path(const fs::path& folder, int life) {
    return folder / fmt::format("delivered-{:04}.log", life);
  }
  int file_ = -1;
};

std::string content_hash(const loader::Batch& batch) {
  checksum::Sha256 hash;
  hash.update(batch.ids.data(), batch.ids.size() * sizeof(std::int64_t));
  for (const ConstView& field : batch.fields) hash.update(field.data, field.bytes());
  return hash.hex();
}

void save(const fs::path& folder, std::int64_t delivered, const loader::LoaderState& state) {
  state::write_checkpoint(folder / "checkpoints", {delivered, {{"loader", loader::to_bytes(state)}}});
}

void run(const Options& options) {
  loader::Loader batches = open_loader(options);
  std::int64_t delivered = 0;
  if (const auto found = state::find_checkpoint(options.folder / "checkpoints"); found.checkpoint) {
    batches.restore(loader::loader_state_from_bytes(found.checkpoint->part("loader")));
    delivered = found.checkpoint->step;
  }
  Log log(options.folder);
  for (std::int64_t epoch = batches.state().epoch; epoch < options.epochs; ++epoch) {
    batches.begin(epoch);
    while (const auto batch = batches.next()) {
      log.line(fmt::format("{} {} {} {}\n", delivered++, batch->epoch, batch->index, content_hash(*batch)));
      if (delivered % options.every == 0) save(options.folder, delivered, batches.state());
      std::this_thread::sleep_for(options.pause);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "resume_worker: %s\n", error.what());
    return 2;
  }
}
