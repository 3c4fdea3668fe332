// Archives: as a structure with every kind of field, and as the records that files hold. What loads must
// store to the same bytes, so that no two inputs mean one value.

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fuzz.h"
#include "lockstep/record/model.h"
#include "lockstep/state/archive.h"

namespace {

struct Everything {
  bool flag = false;
  std::uint16_t number = 0;
  std::string text;
  std::array<std::int16_t, 2> array{};
  std::vector<std::int64_t> numbers;
  std::vector<bool> flags;
  std::vector<std::pair<std::string, float>> pairs;
  std::map<std::string, std::optional<double>> map;
  std::vector<std::vector<std::string>> nested;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& flag& number& text& array& numbers& flags& pairs& map& nested;
  }
};

struct Tree {
  std::vector<Tree> children;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& children;
  }
};

template <class T>
void load_and_store(std::span<const std::byte> bytes) {
  lockstep::fuzz::expect_no_bug([&] {
    const std::string stored = lockstep::state::to_bytes(lockstep::state::from_bytes<T>(bytes));
    const auto again = std::as_bytes(std::span(stored));
    if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = lockstep::fuzz::bytes_of(data, size);
  load_and_store<Everything>(bytes);
  load_and_store<Tree>(bytes);
  load_and_store<lockstep::record::RunInfo>(bytes);
  load_and_store<lockstep::record::BatchRecord>(bytes);
  load_and_store<lockstep::record::TensorRecord>(bytes);
  load_and_store<lockstep::record::EndRecord>(bytes);
  return 0;
}
