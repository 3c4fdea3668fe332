// .npy, plain or gzip.

#include "fuzz_dataset.h"
#include "lockstep_loader/format/npy_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  fuzz::expect_no_bug([&] {
    const loader::Content raw{"fuzz", fuzz::bytes_of(data, size), nullptr};
    std::vector<loader::StoredArray> arrays{loader::parse_npy(loader::ContentReader(raw), "data")};
    fuzz::use(loader::ColumnDataset(loader::join_arrays("npy", std::move(arrays))));
  });
  return 0;
}
