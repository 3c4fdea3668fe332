#include "lockstep/fingerprint/digest.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "lockstep/base/error.h"
#include "lockstep/fingerprint/digest_kernel_internal.h"
#include "lockstep/fingerprint/digest_keys_internal.h"

namespace lockstep::fingerprint {
namespace {

using internal::Canon;
using internal::kBlockWords;

Canon canon_of(DType dtype) {
  switch (dtype) {
    case DType::float16:
      return Canon::float16;
    case DType::bfloat16:
      return Canon::bfloat16;
    case DType::float32:
      return Canon::float32;
    case DType::float64:
      return Canon::float64;
    default:
      return Canon::none;
  }
}

/// A run of words that lie one after the other in the digest's index, added block by block.
class Summer {
 public:
  Summer(Canon canon, std::uint64_t first_word)
      : accumulate_(internal::kernel().accumulate), canon_(canon), word_(first_word) {}

  void add(const std::uint8_t* source, std::uint8_t* copy_to, std::uint64_t words) {
    while (words > 0) {
      const std::uint64_t j = word_ % kBlockWords;
      const std::uint64_t count = std::min(words, kBlockWords - j);
      accumulate_(source, copy_to, count, j, canon_, block_);
      if (j + count == kBlockWords) close_block();
      word_ += count, words -= count, source += 4 * count;
      if (copy_to != nullptr) copy_to += 4 * count;
    }
  }

  DigestSum sum() {
    close_block(word_ / kBlockWords);
    return sum_;
  }

 private:
  void close_block() { close_block(word_ / kBlockWords); }
  void close_block(std::uint64_t block) {
    if ((block_[0] | block_[1]) == 0) return;
    sum_.lane0 += internal::block_key(0, block) * block_[0];
    sum_.lane1 += internal::block_key(1, block) * block_[1];
    block_[0] = block_[1] = 0;
  }

  internal::AccumulateFunction accumulate_;
  Canon canon_;
  std::uint64_t word_;
  std::uint64_t block_[2] = {0, 0};
  DigestSum sum_;
};

/// The samples of a view: a scalar is one sample of one element.
struct Samples {
  explicit Samples(const ConstView& view)
      : data(static_cast<const std::uint8_t*>(view.data)),
        count(view.shape.rank() == 0 ? 1 : view.shape[0]),
        bytes(count == 0 ? 0 : static_cast<std::uint64_t>(view.bytes()) / static_cast<std::uint64_t>(count)),
        words((bytes + 3) / 4),
        canon(canon_of(view.dtype)) {
    if (view.device != Device::cpu) {
      fail(ErrorCode::unsupported, {"digest", "device", "cpu", "cuda", "Copy the tensor to the CPU first"});
    }
  }
  const std::uint8_t* data;
  std::int64_t count;
  std::uint64_t bytes, words;
  Canon canon;
};

constexpr std::uint64_t kPackedBytes = 64;  // shorter samples are cheaper packed than one by one

/// One sample whose bytes end inside a word.
void add_ragged(Summer& summer, const std::uint8_t* source, std::uint8_t* copy_to, std::uint64_t bytes) {
  const std::uint64_t whole = bytes / 4 * 4;
  summer.add(source, copy_to, whole / 4);
  if (whole == bytes) return;
  std::array<std::uint8_t, 4> last{};
  std::memcpy(last.data(), source + whole, bytes - whole);
  summer.add(last.data(), nullptr, 1);
  if (copy_to != nullptr) std::memcpy(copy_to + whole, source + whole, bytes - whole);
}

/// Short ragged samples: laid out as padded words in a buffer first.
void add_packed(Summer& summer, const Samples& samples) {
  std::array<std::uint8_t, 4096> buffer;
  const std::uint64_t padded = 4 * samples.words;
  const auto group = static_cast<std::int64_t>(buffer.size() / padded);
  for (std::int64_t done = 0; done < samples.count; done += group) {
    const auto count = static_cast<std::uint64_t>(std::min(group, samples.count - done));
    std::memset(buffer.data(), 0, count * padded);
    const std::uint8_t* source = samples.data + static_cast<std::uint64_t>(done) * samples.bytes;
    for (std::uint64_t s = 0; s < count; ++s) {
      std::memcpy(buffer.data() + s * padded, source + s * samples.bytes, samples.bytes);
    }
    summer.add(buffer.data(), nullptr, count * samples.words);
  }
}

void check_first(std::int64_t first_sample) {
  if (first_sample < 0) {
    fail(ErrorCode::invalid_argument, {"digest", "first sample", "0 or more", std::to_string(first_sample), {}});
  }
}

}  // namespace

std::string Digest::hex() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint64_t lane : {lane0, lane1}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[lane >> shift & 15];
  }
  return text;
}

std::int64_t words_per_sample(DType dtype, const Shape& sample_shape) {
  const auto bytes = static_cast<std::uint64_t>(sample_shape.elements()) * dtype_bytes(dtype);
  return static_cast<std::int64_t>((bytes + 3) / 4);
}

DigestSum digest_samples(const ConstView& view, std::int64_t first_sample) {
  check_first(first_sample);
  const Samples samples(view);
  if (samples.count == 0 || samples.words == 0) return {};
  Summer summer(samples.canon, static_cast<std::uint64_t>(first_sample) * samples.words);
  const auto count = static_cast<std::uint64_t>(samples.count);
  if (samples.bytes % 4 == 0) {
    summer.add(samples.data, nullptr, count * samples.words);
  } else if (samples.bytes < kPackedBytes) {
    add_packed(summer, samples);
  } else {
    for (std::uint64_t s = 0; s < count; ++s) add_ragged(summer, samples.data + s * samples.bytes, nullptr, samples.bytes);
  }
  return summer.sum();
}

DigestSum digest_samples_unordered(const ConstView& view) {
  const Samples samples(view);
  DigestSum total;
  for (std::int64_t s = 0; s < samples.count; ++s) {
    Summer summer(samples.canon, 0);
    add_ragged(summer, samples.data + static_cast<std::uint64_t>(s) * samples.bytes, nullptr, samples.bytes);
    const DigestSum own = summer.sum();
    const internal::Lanes mixed = internal::finalise({own.lane0, own.lane1}, internal::kSampleSeed);
    total.merge({mixed.lane0, mixed.lane1});
  }
  return total;
}

DigestSum copy_and_digest_sample(void* destination, const void* source, std::size_t bytes, std::int64_t global_sample) {
  check_first(global_sample);
  Summer summer(Canon::none, static_cast<std::uint64_t>(global_sample) * ((bytes + 3) / 4));
  add_ragged(summer, static_cast<const std::uint8_t*>(source), static_cast<std::uint8_t*>(destination), bytes);
  return summer.sum();
}

Digest finish(const DigestSum& sum, DType dtype, const Shape& global_shape) {
  std::uint64_t binding = internal::kShapeSeed;
  const auto bind = [&binding](std::uint64_t value) { binding = internal::mix(binding + internal::kGolden + value); };
  bind(static_cast<std::uint64_t>(dtype));
  bind(static_cast<std::uint64_t>(global_shape.rank()));
  for (const std::int64_t extent : global_shape) bind(static_cast<std::uint64_t>(extent));
  const internal::Lanes lanes = internal::finalise({sum.lane0, sum.lane1}, binding);
  return {lanes.lane0, lanes.lane1};
}

Digest digest(const ConstView& tensor) { return finish(digest_samples(tensor, 0), tensor.dtype, tensor.shape); }

Digest digest_bytes(const void* data, std::size_t size) {
  return digest({data, DType::uint8, Shape{static_cast<std::int64_t>(size)}.prepended(1), Device::cpu});
}

std::string digest_instruction_set() { return internal::kernel().name; }

}  // namespace lockstep::fingerprint
