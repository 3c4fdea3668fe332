// CIFAR-10 and CIFAR-100, plain or gzip; the first byte chooses.

#include "fuzz_dataset.h"
#include "lockstep_loader/format/cifar_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  constexpr std::uint64_t kLimitBytes = std::uint64_t{1} << 22;
  if (size == 0) return 0;
  const loader::Content raw{"fuzz", fuzz::bytes_of(data + 1, size - 1), nullptr};
  const auto kind = data[0] % 2 == 0 ? loader::CifarKind::cifar10 : loader::CifarKind::cifar100;
  fuzz::expect_no_bug([&] { fuzz::use(loader::ColumnDataset(loader::parse_cifar(raw, kind, kLimitBytes))); });
  return 0;
}
