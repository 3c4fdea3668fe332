// .npz: the archive and the arrays in it.

#include "fuzz_dataset.h"
#include "lockstep_loader/format/npz_internal.h"
#include "lockstep_loader/format/zip_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  const loader::Content raw{"fuzz", fuzz::bytes_of(data, size), nullptr};
  fuzz::expect_no_bug([&] { fuzz::use(loader::ColumnDataset(loader::parse_npz(raw, {}))); });
  fuzz::expect_no_bug([&] {
    for (const loader::ZipEntry& entry : loader::read_zip_directory(raw)) {
      fuzz::expect_no_bug([&] { loader::read_zip_entry(raw, entry); });
    }
  });
  return 0;
}
