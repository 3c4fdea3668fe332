// Checkpoints: the bytes as they are, and the bytes as the content of a file whose size and CRC are right,
// which is how far damage never gets but forgery does.

#include <string>

#include "fuzz.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/state/archive.h"
#include "lockstep/state/checkpoint_internal.h"

namespace {

void load_and_store(const std::string& bytes) {
  using namespace lockstep;
  fuzz::expect_no_bug([&] {
    if (state::encode_checkpoint(state::decode_checkpoint("fuzz", bytes)) != bytes) std::abort();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using lockstep::state::to_bytes;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  load_and_store(bytes);
  std::string framed = "LSCKPT\r\n" + to_bytes(std::uint32_t{1}) + to_bytes(std::uint64_t{24 + size}) + bytes;
  framed += to_bytes(lockstep::checksum::crc32c(framed.data(), framed.size()));
  load_and_store(framed);
  return 0;
}
