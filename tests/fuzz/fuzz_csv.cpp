// CSV, plain or gzip; the first byte chooses the options.

#include "fuzz_dataset.h"
#include "lockstep_loader/format/csv_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  if (size == 0) return 0;
  loader::CsvOptions options;
  options.header = (data[0] & 1) == 0;
  options.delimiter = (data[0] & 2) == 0 ? ',' : ';';
  options.allow_non_finite = (data[0] & 4) != 0;
  options.max_inflated_bytes = std::uint64_t{1} << 20;
  if ((data[0] & 8) != 0)
    options.fields = {{"x", {"0", "1"}, DType::float64}, {"y", {"2"}, DType::int64, true}};
  const loader::Content raw{"fuzz", fuzz::bytes_of(data + 1, size - 1), nullptr};
  fuzz::expect_no_bug([&] { fuzz::use(loader::ColumnDataset(loader::parse_csv(raw, options))); });
  return 0;
}
