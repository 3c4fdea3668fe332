#include "lockstep/random/philox.h"

#include <cmath>
#include <string>

#include <Random123/philox.h>

#include "lockstep/base/error.h"

#undef philox4x32  // Random123's C interface claims the name with a macro

namespace lockstep::random {

Block philox4x32(std::uint64_t key, const Block& counter) {
  const r123::Philox4x32 engine;
  r123::Philox4x32::ctr_type in{};
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = counter[i];
  r123::Philox4x32::ukey_type words{};
  words[0] = static_cast<std::uint32_t>(key);
  words[1] = static_cast<std::uint32_t>(key >> 32);
  const auto out = engine(in, words);
  return {out[0], out[1], out[2], out[3]};
}

Generator::Generator(const RecordKey& key, std::uint32_t stream) {
  if (key.record < 0) {
    fail(ErrorCode::invalid_argument, {"random", "record id", "0 or more", std::to_string(key.record), {}});
  }
  const auto record = static_cast<std::uint64_t>(key.record);
  const Block derived = philox4x32(key.seed, {stream, key.epoch, static_cast<std::uint32_t>(record),
                                              static_cast<std::uint32_t>(record >> 32)});
  key_ = std::uint64_t{derived[0]} << 32 | derived[1];
  counter_ = {0, key.occurrence, derived[2], derived[3]};
}

std::uint32_t Generator::next_u32() {
  const std::uint64_t word = index_ % 4;
  if (word == 0) {
    if (index_ >> 34 != 0) {
      fail(ErrorCode::unsupported, {"random", "words drawn from one generator", "at most 2^34", "more",
                                    "Use another stream number for the rest"});
    }
    counter_[0] = static_cast<std::uint32_t>(index_ / 4);
    block_ = philox4x32(key_, counter_);
  }
  ++index_;
  return block_[word];
}

std::uint64_t Generator::next_u64() {
  const std::uint64_t high = next_u32();
  return high << 32 | next_u32();
}

std::uint64_t Generator::below(std::uint64_t bound) {
  if (bound == 0) fail(ErrorCode::invalid_argument, {"random", "bound of below()", "1 or more", "0", {}});
  __extension__ using Wide = unsigned __int128;
  Wide product = Wide{next_u64()} * bound;
  // Of the 2^64 draws, 2^64 mod bound too many would make some results likelier; they are those with a low
  // half below it.
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t rejected = (0 - bound) % bound;
    while (static_cast<std::uint64_t>(product) < rejected) product = Wide{next_u64()} * bound;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

float Generator::uniform() { return static_cast<float>(next_u32() >> 8) * 0x1p-24f; }

double Generator::uniform_double() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }

bool Generator::bernoulli(double p) {
  if (!(p >= 0 && p <= 1)) {
    fail(ErrorCode::invalid_argument, {"random", "probability", "0 to 1", std::to_string(p), {}});
  }
  return next_u32() < static_cast<std::uint64_t>(std::floor(p * 0x1p32));
}

}  // namespace lockstep::random
