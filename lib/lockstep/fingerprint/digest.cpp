#include "lockstep/fingerprint/digest.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "lockstep/base/error.h"
#include "lockstep/fingerprint/digest_keys_internal.h"
#include "lockstep/fingerprint/kernel_internal.h"

namespace lockstep::fingerprint {
namespace {

using internal::Canon;
using internal::kBlockWords;

/// A run of words that lie one after the other in the digest's index, added block by block.
class Summer {
 public:
  Summer(Canon canon, std::uint64_t first_word) : word_(first_word), canon_(canon) {}

  void add(const std::uint8_t* source, std::uint64_t words) {
    // Up to a block's edge, then blocks by twos, then the rest.
    const std::uint64_t head = std::min(words, (kBlockWords - word_ % kBlockWords) % kBlockWords);
    add_part(source, head);
    source += 4 * head, words -= head;
    for (; words >= 2 * kBlockWords; words -= 2 * kBlockWords, source += 8 * kBlockWords)
      add_two_blocks(source);
    add_part(source, words);
  }
  void add_copying(const std::uint8_t* source, std::uint8_t* target, const std::uint8_t* ahead,
                   std::uint64_t words) {
    each_block(words, [&](std::uint64_t done, std::uint64_t count, std::uint64_t j) {
      kernel_.copy(source + 4 * done, target + 4 * done, ahead + 4 * done, count, j, block_);
    });
  }
  /// The last `bytes` bytes of a sample, fewer than a word has.
  void add_padded(const std::uint8_t* source, std::uint64_t bytes) {
    std::array<std::uint8_t, 8> word{};
    std::memcpy(word.data(), source, bytes);
    add(word.data(), 1);
  }

  DigestSum sum() {
    if (word_ % kBlockWords != 0) close_block();
    return sum_;
  }

 private:
  template <class Visit>
  void each_block(std::uint64_t words, Visit visit) {
    for (std::uint64_t done = 0; done < words;) {
      const std::uint64_t j = word_ % kBlockWords;
      const std::uint64_t count = std::min(words - done, kBlockWords - j);
      visit(done, count, j);
      if (j + count == kBlockWords) close_block();
      word_ += count, done += count;
    }
  }
  void add_part(const std::uint8_t* source, std::uint64_t words) {
    each_block(words, [&](std::uint64_t done, std::uint64_t count, std::uint64_t j) {
      kernel_.digest(source + 4 * done, count, j, canon_, block_);
    });
  }
  void add_two_blocks(const std::uint8_t* source) {
    internal::BlockSum sums[2];
    kernel_.digest_two(source, canon_, sums);
    const std::uint64_t block = word_ / kBlockWords;
    weigh(block, sums[0]);
    weigh(block + 1, sums[1]);
    word_ += 2 * kBlockWords;
  }
  void weigh(std::uint64_t block, const internal::BlockSum& sum) {
    sum_.lane0 += internal::block_key(0, block) * sum.total(0);
    sum_.lane1 += internal::block_key(1, block) * sum.total(1);
  }
  void close_block() {
    weigh(word_ / kBlockWords, block_);
    block_ = {};
  }

  internal::BlockSum block_;
  DigestSum sum_;
  const internal::Kernel& kernel_ = internal::kernel();
  std::uint64_t word_;
  Canon canon_;
};

/// The samples of a view: a scalar is one sample of one element.
struct Samples {
  explicit Samples(const ConstView& view)
      : data(static_cast<const std::uint8_t*>(view.data)),
        count(view.shape.rank() == 0 ? 1 : view.shape[0]),
        bytes(count == 0 ? 0 : static_cast<std::uint64_t>(view.bytes()) / static_cast<std::uint64_t>(count)),
        words((bytes + 3) / 4),
        canon(internal::canon_of(view.dtype)) {
    if (view.device != Device::cpu) {
      fail(ErrorCode::unsupported, {"digest", "device", "cpu", "cuda", "Copy the tensor to the CPU first"});
    }
  }
  const std::uint8_t* data;
  std::int64_t count;
  std::uint64_t bytes, words;
  Canon canon;
};

constexpr std::uint64_t kPackedBytes = 512;  // shorter samples are cheaper packed than one by one

/// One sample whose bytes may end inside a word.
void add_sample(Summer& summer, const std::uint8_t* source, std::uint64_t bytes) {
  summer.add(source, bytes / 4);
  if (bytes % 4 != 0) summer.add_padded(source + bytes / 4 * 4, bytes % 4);
}

void copy_sample(Summer& summer, const std::uint8_t* source, std::uint8_t* target, const std::uint8_t* ahead,
                 std::uint64_t bytes) {
  const std::uint64_t whole = bytes / 4 * 4;
  summer.add_copying(source, target, ahead, whole / 4);
  if (whole == bytes) return;
  std::memcpy(target + whole, source + whole, bytes - whole);
  summer.add_padded(source + whole, bytes - whole);
}

/// `count` samples of `bytes` bytes each to zero-padded words.
void pack(const std::uint8_t* source, std::uint64_t count, std::uint64_t bytes, std::uint32_t* words) {
  if (bytes == 1) {
    for (std::uint64_t s = 0; s < count; ++s) words[s] = source[s];
  } else if (bytes == 2) {
    for (std::uint64_t s = 0; s < count; ++s) {
      std::uint16_t half = 0;
      std::memcpy(&half, source + 2 * s, 2);
      words[s] = half;
    }
  } else {
    const std::uint64_t padded = (bytes + 3) / 4;
    for (std::uint64_t s = 0; s < count; ++s) {
      words[(s + 1) * padded - 1] = 0;
      std::memcpy(words + s * padded, source + s * bytes, bytes);
    }
  }
}

/// Short ragged samples: laid out as padded words in a buffer first.
void add_packed(Summer& summer, const Samples& samples) {
  std::array<std::uint32_t, kBlockWords> buffer;
  const auto group = static_cast<std::int64_t>(buffer.size() / samples.words);
  for (std::int64_t done = 0; done < samples.count; done += group) {
    const auto count = static_cast<std::uint64_t>(std::min(group, samples.count - done));
    pack(samples.data + static_cast<std::uint64_t>(done) * samples.bytes, count, samples.bytes,
         buffer.data());
    summer.add(reinterpret_cast<const std::uint8_t*>(buffer.data()), count * samples.words);
  }
}

void check_first(std::int64_t first_sample) {
  if (first_sample < 0) {
    fail(ErrorCode::invalid_argument,
         {"digest", "first sample", "0 or more", std::to_string(first_sample), {}});
  }
}

constexpr std::uint64_t kFewWords = 8;  // below, a vector form costs more to enter than it saves

/// One sample's sum as if it were sample 0.
DigestSum digest_alone(const Samples& samples, const std::uint8_t* source) {
  if (samples.words > kFewWords) {
    Summer summer(samples.canon, 0);
    add_sample(summer, source, samples.bytes);
    return summer.sum();
  }
  constexpr std::uint64_t kKeys[2] = {internal::block_key(0, 0), internal::block_key(1, 0)};
  if (samples.bytes == 8 && samples.canon == Canon::none) {  // ids: every step of a recording has them
    std::uint32_t words[2];
    std::memcpy(words, source, sizeof words);
    const auto lane = [&](int i) {
      const internal::WordKeys& keys = internal::kWordKeys[i];
      return kKeys[i] * (std::uint64_t{words[0]} * keys[0] + std::uint64_t{words[1]} * keys[1]);
    };
    return {lane(0), lane(1)};
  }
  std::array<std::uint8_t, 4 * kFewWords> padded{};
  if (samples.bytes > 0) std::memcpy(padded.data(), source, samples.bytes);
  internal::BlockSum block;
  internal::digest_scalar(padded.data(), samples.words, 0, samples.canon, block);
  return {kKeys[0] * block.lane[0][0], kKeys[1] * block.lane[1][0]};
}

// Records of a shuffled gather lie anywhere in memory: each is asked for while the one so many places before
// it is copied.
constexpr std::size_t kAhead = 2;

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
    summer.add(samples.data, count * samples.words);
  } else if (samples.bytes < kPackedBytes) {
    add_packed(summer, samples);
  } else {
    for (std::uint64_t s = 0; s < count; ++s)
      add_sample(summer, samples.data + s * samples.bytes, samples.bytes);
  }
  return summer.sum();
}

DigestSum digest_samples_unordered(const ConstView& view) {
  const Samples samples(view);
  DigestSum total;
  for (std::int64_t s = 0; s < samples.count; ++s) {
    const DigestSum own = digest_alone(samples, samples.data + static_cast<std::uint64_t>(s) * samples.bytes);
    const internal::Lanes mixed = internal::finalise({own.lane0, own.lane1}, internal::kSampleSeed);
    total.merge({mixed.lane0, mixed.lane1});
  }
  return total;
}

DigestSum copy_and_digest_sample(void* destination, const void* source, std::size_t bytes,
                                 std::int64_t global_sample) {
  return copy_and_digest_samples(destination, {&source, 1}, bytes, global_sample);
}

DigestSum copy_and_digest_samples(void* destination, std::span<const void* const> sources, std::size_t bytes,
                                  std::int64_t first_sample) {
  check_first(first_sample);
  Summer summer(Canon::none, static_cast<std::uint64_t>(first_sample) * ((bytes + 3) / 4));
  auto* target = static_cast<std::uint8_t*>(destination);
  for (std::size_t s = 0; s < sources.size(); ++s, target += bytes) {
    const void* const ahead = sources[std::min(s + kAhead, sources.size() - 1)];
    copy_sample(summer, static_cast<const std::uint8_t*>(sources[s]), target,
                static_cast<const std::uint8_t*>(ahead), bytes);
  }
  return summer.sum();
}

Digest finish(const DigestSum& sum, DType dtype, const Shape& global_shape) {
  std::uint64_t binding = internal::kShapeSeed;
  const auto bind = [&binding](std::uint64_t value) {
    binding = internal::mix(binding + internal::kGolden + value);
  };
  bind(static_cast<std::uint64_t>(dtype));
  bind(static_cast<std::uint64_t>(global_shape.rank()));
  for (const std::int64_t extent : global_shape) bind(static_cast<std::uint64_t>(extent));
  const internal::Lanes lanes = internal::finalise({sum.lane0, sum.lane1}, binding);
  return {lanes.lane0, lanes.lane1};
}

Digest digest(const ConstView& tensor) {
  return finish(digest_samples(tensor, 0), tensor.dtype, tensor.shape);
}

Digest digest_bytes(const void* data, std::size_t size) {
  const Shape shape{static_cast<std::int64_t>(size)};
  return finish(digest_samples({data, DType::uint8, shape.prepended(1), Device::cpu}, 0), DType::uint8,
                shape);
}

std::string digest_instruction_set() { return internal::kernel().name; }

}  // namespace lockstep::fingerprint
