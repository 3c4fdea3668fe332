// PNG and JPEG to a fixed size; the first byte chooses how. A decoder that is used again must give the same
// pixels.

#include "fuzz.h"
#include "lockstep_loader/format/image_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  if (size == 0) return 0;
  loader::ImageFolderOptions options{.height = 8, .width = 12};
  options.fit = static_cast<loader::ImageFit>(data[0] % 3);
  options.grayscale = (data[0] & 4) != 0;
  options.max_pixels = 1 << 16;
  const std::span<const std::byte> file = fuzz::bytes_of(data + 1, size - 1);
  static loader::ImageDecoder used;
  std::vector<std::byte> pixels(8 * 12 * 3);
  std::vector<std::byte> again(pixels.size());
  bool good = false;
  fuzz::expect_no_bug([&] {
    used.decode(file, "fuzz", options, pixels.data());
    good = true;
  });
  fuzz::expect_no_bug([&] { loader::ImageDecoder().decode(file, "fuzz", options, again.data()); });
  if (good && pixels != again) std::abort();
  return 0;
}
