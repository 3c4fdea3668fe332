// Token files; the first three bytes choose types, context and stride.

#include "fuzz_dataset.h"
#include "lockstep_loader/format/token_bin.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  if (size < 3) return 0;
  loader::TokenOptions options;
  options.stored = (data[0] & 1) == 0 ? DType::uint16 : DType::uint32;
  options.delivered = (data[0] & 2) == 0 ? DType::int64 : (data[0] & 4) == 0 ? DType::int32 : options.stored;
  options.vocabulary = (data[0] & 8) == 0 ? 0 : 40000;
  options.context = data[1];
  options.stride = data[2];
  fuzz::expect_no_bug([&] {
    fuzz::use(loader::TokenBinDataset(fuzz::bytes_of(data + 3, size - 3), "fuzz", nullptr, options));
  });
  return 0;
}
