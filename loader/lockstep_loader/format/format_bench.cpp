// What a format costs over what it cannot do without: image folders against the decoder alone, on bytes that
// already lie in memory. Each line prints a ratio of rates from interleaved pairs (1: as fast as the rival).

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include <benchmark/benchmark.h>
#include <turbojpeg.h>

#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/random/philox.h"
#include "lockstep_loader/format/image_folder.h"
#include "lockstep_loader/format/images_test.h"

namespace {

using namespace lockstep::loader;
namespace internal = lockstep::internal;

/// JPEG files of one size, as bytes and in a folder. Gradients with noise, so that they compress about as
/// photographs do.
class JpegFiles {
 public:
  explicit JpegFiles(int side) {
    std::filesystem::create_directory(root_ / "class");
    lockstep::random::Generator random(7);
    for (int number = 0; number < 16; ++number) {
      std::string pixels = picture(side, side);
      for (char& pixel : pixels) pixel = static_cast<char>(pixel + static_cast<char>(random.next_u32() % 24));
      files_.push_back(encode_jpeg(pixels, side, side));
      std::ofstream(root_ / "class" / (std::to_string(100 + number) + ".jpg"), std::ios::binary)
          << files_.back();
    }
  }

  const std::filesystem::path& root() const { return root_.path(); }
  const std::vector<std::string>& files() const { return files_; }

 private:
  lockstep::TemporaryFolder root_;
  std::vector<std::string> files_;
};

class BareDecoder {
 public:
  BareDecoder() : handle_(tjInitDecompress()) {}
  ~BareDecoder() { tjDestroy(handle_); }
  BareDecoder(const BareDecoder&) = delete;
  BareDecoder& operator=(const BareDecoder&) = delete;

  void decode(const std::string& file, int side, std::byte* out) const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
    auto* pixels = reinterpret_cast<unsigned char*>(out);
    if (tjDecompress2(handle_, bytes, file.size(), pixels, side, 0, side, TJPF_RGB, TJFLAG_ACCURATEDCT) !=
        0) {
      throw std::runtime_error(tjGetErrorStr2(handle_));
    }
  }

 private:
  tjhandle handle_;
};

void jpeg_folder(benchmark::State& state) {
  const int side = static_cast<int>(state.range(0));
  const JpegFiles jpegs(side);
  const ImageFolder folder(jpegs.root(), {.height = side, .width = side});
  const BareDecoder bare;
  std::vector<std::byte> pixels(static_cast<std::size_t>(side * side * 3));
  std::vector<std::byte> bare_pixels(pixels.size());
  std::int64_t label = 0;
  const std::vector<std::byte*> out{pixels.data(), reinterpret_cast<std::byte*>(&label)};

  const auto ours = [&] {
    for (std::int64_t at = 0; at < folder.size(); ++at) folder.get(at, {}, out);
  };
  const auto rival = [&] {
    for (const std::string& file : jpegs.files()) bare.decode(file, side, bare_pixels.data());
  };
  for (auto _ : state) {
    const internal::PairedRatio ratio = internal::time_pairs(ours, rival, internal::Clock::thread, 21, 0.02);
    if (pixels != bare_pixels) state.SkipWithError("the pixels differ from the decoder's");
    state.SetIterationTime(ratio.operation_seconds);
    state.counters["images/s"] = static_cast<double>(folder.size()) / ratio.operation_seconds;
    state.counters["ratio"] = ratio.median;
    state.counters["ratio_low"] = ratio.low;
    state.counters["ratio_high"] = ratio.high;
  }
  state.SetLabel("against libjpeg-turbo alone; the bar is 0.9");
}
BENCHMARK(jpeg_folder)
    ->Arg(32)
    ->Arg(224)
    ->Arg(512)
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
