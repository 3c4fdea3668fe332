#include "lockstep/fingerprint/digest.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/fingerprint/digest_keys_internal.h"
#include "lockstep/fingerprint/digest_vectors.h"
#include "lockstep/fingerprint/kernel_internal.h"

namespace lockstep::fingerprint {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes pattern(std::size_t size) {
  std::uint32_t state = 1;
  Bytes bytes(size);
  for (std::uint8_t& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

ConstView view_of(const Bytes& bytes, DType dtype, const Shape& shape) {
  const ConstView view{bytes.data(), dtype, shape, Device::cpu};
  EXPECT_LE(view.bytes(), bytes.size());
  return view;
}

template <class T>
ConstView view_of(const std::vector<T>& values, DType dtype, const Shape& shape) {
  return {values.data(), dtype, shape, Device::cpu};
}

std::string unordered_hex(const ConstView& view) {
  return finish(digest_samples_unordered(view), view.dtype, view.shape).hex();
}

/// The suite runs once for each instruction set of this machine.
class Digests : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { internal::force_kernel(internal::kernel_named(GetParam().c_str())); }
  void TearDown() override { internal::force_kernel(internal::kernel_named(internal::kernel_names()[0])); }
};

std::vector<std::string> all_kernels() {
  std::vector<std::string> names;
  for (const char* const* name = internal::kernel_names(); *name != nullptr; ++name)
    names.emplace_back(*name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Isa, Digests, testing::ValuesIn(all_kernels()),
                         [](const auto& kernel) { return kernel.param; });

TEST_P(Digests, GiveTheVectors) {
  for (const DigestVector& vector : kDigestVectors) {
    const auto size = static_cast<std::size_t>(vector.shape.elements()) * dtype_bytes(vector.dtype);
    const Bytes bytes = pattern(size);
    const ConstView view = view_of(bytes, vector.dtype, vector.shape);
    EXPECT_EQ(digest(view).hex(), vector.ordered) << dtype_name(vector.dtype) << vector.shape.text();
    EXPECT_EQ(unordered_hex(view), vector.unordered) << dtype_name(vector.dtype) << vector.shape.text();
  }
}

TEST_P(Digests, MergeOverEveryCut) {
  // 75 bytes a sample: words do not end where samples do, and blocks of 1,024 words lie across samples.
  constexpr std::int64_t kSamples = 123;
  const Bytes bytes = pattern(kSamples * 75);
  const DigestSum whole = digest_samples(view_of(bytes, DType::uint8, {kSamples, 75}), 5);
  for (const std::int64_t cut : {1, 7, 53, 54, 122, 123}) {
    DigestSum merged;
    for (std::int64_t first = 0; first < kSamples; first += cut) {
      const std::int64_t count = std::min(cut, kSamples - first);
      merged.merge(digest_samples({bytes.data() + first * 75, DType::uint8, Shape{count, 75}, Device::cpu},
                                  5 + first));
    }
    EXPECT_EQ(merged, whole) << cut;
  }
  DigestSum without_index;
  for (std::int64_t s = 0; s < kSamples; ++s) {
    without_index.merge(digest_samples({bytes.data() + s * 75, DType::uint8, Shape{1, 75}, Device::cpu}, 0));
  }
  EXPECT_NE(without_index, whole) << "a twin that forgets the global index must show";
}

TEST_P(Digests, DoNotDependOnAlignment) {
  const Bytes bytes = pattern(64 + 3000);
  for (const DType dtype : {DType::uint8, DType::float16, DType::float32, DType::float64}) {
    const Shape shape{3, static_cast<std::int64_t>(960 / dtype_bytes(dtype))};
    std::set<std::string> seen;
    for (std::size_t offset = 0; offset < 64; ++offset) {
      Bytes moved(64 + 3000);
      std::memcpy(moved.data() + offset, bytes.data(), 2880);
      seen.insert(digest({moved.data() + offset, dtype, shape, Device::cpu}).hex());
    }
    EXPECT_EQ(seen.size(), 1u) << dtype_name(dtype);
  }
}

TEST_P(Digests, ShowEveryFlippedBit) {
  for (const DType dtype : {DType::uint8, DType::int64, DType::float32}) {
    // Zeros as well as values: a NaN apart, no single change may vanish.
    for (Bytes bytes : {Bytes(96, 0), pattern(96)}) {
      const Shape shape{4, static_cast<std::int64_t>(24 / dtype_bytes(dtype))};
      if (dtype == DType::float32) {
        for (std::size_t i = 3; i < bytes.size(); i += 4) bytes[i] &= 0x3f;
      }
      const Digest before = digest(view_of(bytes, dtype, shape));
      for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
        const Digest after = digest(view_of(bytes, dtype, shape));
        EXPECT_NE(after.lane0, before.lane0) << bit;
        EXPECT_NE(after.lane1, before.lane1) << bit;
        bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      }
    }
  }
}

TEST_P(Digests, ShowPairsOfFlippedSigns) {
  // Signs are the top bits of words: a sum of 32-bit products modulo 2^32 would lose every such pair.
  constexpr std::int64_t kCount = 3000;
  std::vector<float> values(kCount, 1.5f);
  const ConstView view = view_of(values, DType::float32, {kCount});
  const Digest before = digest(view);
  for (const std::int64_t other : {1, 2, 1023, 1024, 1025, 2048, 2999}) {
    values[0] = -1.5f, values[static_cast<std::size_t>(other)] = -1.5f;
    EXPECT_NE(digest(view).lane0, before.lane0) << other;
    EXPECT_NE(digest(view).lane1, before.lane1) << other;
    values[0] = 1.5f, values[static_cast<std::size_t>(other)] = 1.5f;
  }
}

TEST_P(Digests, ShowAnExchange) {
  Bytes bytes = pattern(64 * 784);
  const ConstView view = view_of(bytes, DType::uint8, {64, 784});
  const Digest before = digest(view);
  const std::string unordered_before = unordered_hex(view);
  std::swap_ranges(bytes.begin(), bytes.begin() + 784, bytes.begin() + 5 * 784);
  EXPECT_NE(digest(view), before) << "two samples exchanged";
  EXPECT_EQ(unordered_hex(view), unordered_before) << "the same samples in another order";
  std::swap_ranges(bytes.begin(), bytes.begin() + 10, bytes.begin() + 784);
  EXPECT_NE(unordered_hex(view), unordered_before) << "parts exchanged between samples";
}

TEST_P(Digests, ShowTheSameSampleTwiceInsteadOfTwo) {
  Bytes a = pattern(30), b = a;
  std::copy_n(a.begin(), 10, b.begin() + 10);
  EXPECT_NE(unordered_hex(view_of(a, DType::uint8, {3, 10})),
            unordered_hex(view_of(b, DType::uint8, {3, 10})));
}

template <class Word>
void expect_nans_alike(DType dtype, std::initializer_list<Word> nans, Word canonical, Word infinity,
                       Word sign) {
  for (const std::size_t length : {1, 2, 3, 64, 65}) {
    const Shape shape{1, static_cast<std::int64_t>(length)};
    for (std::size_t place = 0; place < length; ++place) {
      std::vector<Word> values(length, 7);
      values[place] = canonical;
      const Digest expected = digest(view_of(values, dtype, shape));
      for (const Word nan : nans) {
        values[place] = nan;
        EXPECT_EQ(digest(view_of(values, dtype, shape)), expected) << dtype_name(dtype) << " " << nan;
      }
      std::set<std::string> others{expected.hex()};
      for (const Word value : {infinity, static_cast<Word>(infinity | sign), Word{0}, sign}) {
        values[place] = value;
        others.insert(digest(view_of(values, dtype, shape)).hex());
      }
      EXPECT_EQ(others.size(), 5u) << "infinities and zeros keep their signs";
    }
  }
}

TEST_P(Digests, TakeEveryNanAsOne) {
  expect_nans_alike<std::uint32_t>(DType::float32,
                                   {0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0xffc00000}, 0x7fc00000,
                                   0x7f800000, 0x80000000);
  expect_nans_alike<std::uint16_t>(DType::float16, {0x7c01, 0xfc01, 0x7fff, 0xffff, 0xfe00}, 0x7e00, 0x7c00,
                                   0x8000);
  expect_nans_alike<std::uint16_t>(DType::bfloat16, {0x7f81, 0xff81, 0x7fff, 0xffff, 0xffc0}, 0x7fc0, 0x7f80,
                                   0x8000);
  expect_nans_alike<std::uint64_t>(
      DType::float64, {0x7ff0000000000001, 0xfff0000000000001, 0x7fffffffffffffff, 0xfff8000000000000},
      0x7ff8000000000000, 0x7ff0000000000000, 0x8000000000000000);
}

TEST_P(Digests, KeepIntegersThatLookLikeNans) {
  std::vector<std::uint32_t> a{0x7fc00000, 1}, b{0xffc00001, 1};
  EXPECT_NE(digest(view_of(a, DType::int32, {2})), digest(view_of(b, DType::int32, {2})));
  EXPECT_EQ(digest(view_of(a, DType::float32, {2})), digest(view_of(b, DType::float32, {2})));
}

TEST_P(Digests, CopyAsTheyGo) {
  for (const std::size_t bytes : {0, 1, 3, 4, 10, 63, 64, 75, 784, 3072, 4097, 9001}) {
    const Bytes source = pattern(3 * bytes + 1);
    const std::vector<const void*> records{source.data() + 2 * bytes, source.data(), source.data() + bytes};
    Bytes gathered;
    for (const void* record : records) {
      const auto* first = static_cast<const std::uint8_t*>(record);
      gathered.insert(gathered.end(), first, first + bytes);
    }
    gathered.push_back(0x5a);
    Bytes target(3 * bytes + 1, 0x5a);
    const Shape shape{3, static_cast<std::int64_t>(bytes)};
    const DigestSum expected = digest_samples(view_of(gathered, DType::uint8, shape), 1000);
    EXPECT_EQ(copy_and_digest_samples(target.data(), records, bytes, 1000), expected) << bytes;
    EXPECT_EQ(target, gathered) << bytes;

    std::fill(target.begin(), target.end(), 0x5a);
    DigestSum one_by_one;
    for (std::size_t s = 0; s < 3; ++s) {
      one_by_one.merge(copy_and_digest_sample(target.data() + s * bytes, records[s], bytes,
                                              1000 + static_cast<std::int64_t>(s)));
    }
    EXPECT_EQ(one_by_one, expected) << bytes;
    EXPECT_EQ(target, gathered) << bytes;
  }
}

TEST_P(Digests, ReachTheLastSampleNumbers) {
  const Bytes bytes = pattern(24);
  const ConstView view = view_of(bytes, DType::uint8, {2, 12});
  const std::int64_t far = std::int64_t{1} << 60;
  const auto word_index = static_cast<std::uint64_t>(far) * 3;
  std::uint32_t word = 0;
  std::uint64_t lane0 = 0;
  for (std::uint64_t k = 0; k < 6; ++k) {
    std::memcpy(&word, bytes.data() + 4 * k, 4);
    lane0 += internal::block_key(0, (word_index + k) / 1024) *
             (std::uint64_t{word} * internal::kWordKeys[0][(word_index + k) % 1024]);
  }
  EXPECT_EQ(digest_samples(view, far).lane0, lane0);
}

TEST(Digest, BindsDtypeAndShape) {
  const Bytes zeros(64, 0);
  std::set<std::string> seen;
  int made = 0;
  for (const DType dtype :
       {DType::uint8, DType::int8, DType::boolean, DType::uint32, DType::float32, DType::int64}) {
    for (const Shape& shape :
         {Shape{}, Shape{0}, Shape{1}, Shape{2}, Shape{1, 2}, Shape{2, 1}, Shape{0, 2}, Shape{2, 0}}) {
      seen.insert(digest({zeros.data(), dtype, shape, Device::cpu}).hex());
      ++made;
    }
  }
  EXPECT_EQ(static_cast<int>(seen.size()), made);
}

TEST(Digest, OfBytesIsOneSample) {
  const Bytes bytes = pattern(1001);
  const DigestSum sum = digest_samples(view_of(bytes, DType::uint8, {1, 1001}), 0);
  EXPECT_EQ(digest_bytes(bytes.data(), 1001), finish(sum, DType::uint8, {1001}));
  EXPECT_NE(digest_bytes(bytes.data(), 1001), digest(view_of(bytes, DType::uint8, {1001})));
  EXPECT_NO_THROW(digest_bytes(nullptr, 0));
}

TEST(Digest, FinishLosesNothing) {
  // For one dtype and shape, finish is a bijection: it could not map these near neighbours to fewer results.
  std::set<std::string> seen;
  for (std::uint64_t a = 0; a < 100; ++a) {
    for (std::uint64_t b = 0; b < 100; ++b) seen.insert(finish({a, b << 57}, DType::uint8, {7}).hex());
  }
  EXPECT_EQ(seen.size(), 10000u);
}

TEST(Digest, WordsOfASample) {
  EXPECT_EQ(words_per_sample(DType::uint8, {28, 28}), 196);
  EXPECT_EQ(words_per_sample(DType::uint8, {75}), 19);
  EXPECT_EQ(words_per_sample(DType::boolean, {}), 1);
  EXPECT_EQ(words_per_sample(DType::int64, {}), 2);
  EXPECT_EQ(words_per_sample(DType::float32, {3, 0}), 0);
}

TEST(Digest, RefusesWhatItCannotRead) {
  const Bytes bytes(4);
  expect_error(ErrorCode::unsupported, "Copy the tensor to the CPU", [&] {
    digest({bytes.data(), DType::uint8, Shape{4}, Device::cuda});
  });
  expect_error(ErrorCode::invalid_argument, "first sample: expected 0 or more, got -1",
               [&] { digest_samples(view_of(bytes, DType::uint8, {4}), -1); });
  expect_error(ErrorCode::invalid_argument, "LOCKSTEP_ISA", [] { internal::kernel_named("MMX"); });
  expect_error(ErrorCode::invalid_argument, "SCALAR", [] { internal::kernel_named("avx2"); });
}

TEST(Digest, TellsItsInstructionSet) {
  const std::vector<std::string> names = all_kernels();
  EXPECT_NE(std::find(names.begin(), names.end(), digest_instruction_set()), names.end());
  EXPECT_EQ(names.back(), "SCALAR");
}

}  // namespace
}  // namespace lockstep::fingerprint
