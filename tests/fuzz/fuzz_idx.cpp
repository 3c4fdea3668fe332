// IDX, plain or gzip: one array, and the same array as images and labels.

#include "fuzz_dataset.h"
#include "lockstep_loader/format/idx_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  const loader::Content raw{"fuzz", fuzz::bytes_of(data, size), nullptr};
  fuzz::expect_no_bug([&] { fuzz::use(loader::ColumnDataset(loader::parse_idx({{raw, "image"}}))); });
  fuzz::expect_no_bug([&] {
    fuzz::use(loader::ColumnDataset(loader::parse_idx({{raw, "image"}, {raw, "label"}})));
  });
  return 0;
}
