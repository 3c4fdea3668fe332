#include "lockstep/fingerprint/fingerprints.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/fingerprint/digest_vectors.h"
#include "lockstep/fingerprint/statistics.h"

namespace lockstep::fingerprint {
namespace {

using Bytes = std::vector<std::uint8_t>;

const std::vector<DType> kAllTypes{DType::boolean, DType::uint8,   DType::int8,     DType::uint16,
                                   DType::int16,   DType::uint32,  DType::int32,    DType::uint64,
                                   DType::int64,   DType::float16, DType::bfloat16, DType::float32,
                                   DType::float64};

/// Random bits, among which stand those that are special to some type: zeros of both signs, NaN, infinities.
Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; i += 8) {
    constexpr std::uint64_t kSpecial[] = {0,
                                          0x8000000000000000,
                                          0x7ff0000000000000,
                                          0xfff8000000000001,
                                          0x800000007f800000,
                                          0xff8000007fc00001,
                                          0x00008000fc007e01,
                                          0x80007fc1ff807f80,
                                          0x0000000180000001};
    const std::uint64_t drawn = random();
    const std::uint64_t bits = drawn % 7 == 0 ? kSpecial[drawn / 7 % std::size(kSpecial)] : drawn;
    std::memcpy(bytes.data() + i, &bits, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

/// Numbers of about one size, as gradients are: random bits have exponents from everywhere.
Bytes gradients(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> draw(0.01f, 1.0f);
  std::vector<float> values(count);
  for (float& value : values) value = draw(random);
  Bytes bytes(count * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

struct Tensor {
  Bytes bytes;
  DType dtype;
  Shape shape;
  std::int64_t first_sample = 0;
};

Tensor random_tensor(DType dtype, const Shape& shape, std::int64_t first_sample = 0) {
  const std::size_t size = static_cast<std::size_t>(shape.elements()) * dtype_bytes(dtype);
  return {random_bytes(size, size + static_cast<std::size_t>(dtype)), dtype, shape, first_sample};
}

FingerprintRequest request_of(const Tensor& tensor, const void* data, Device device) {
  return {{data, tensor.dtype, tensor.shape, device}, tensor.first_sample, true, true};
}

std::vector<Fingerprint> on_cpu(const std::vector<Tensor>& tensors) {
  std::vector<FingerprintRequest> requests;
  for (const Tensor& tensor : tensors)
    requests.push_back(request_of(tensor, tensor.bytes.data(), Device::cpu));
  std::vector<Fingerprint> results(requests.size());
  fingerprints(requests, results.data(), nullptr, Device::cpu);
  return results;
}

/// Device memory that holds something else than zeros.
std::unique_ptr<DeviceBuffer> used_memory(std::size_t bytes) {
  auto memory = std::make_unique<DeviceBuffer>(std::max<std::size_t>(bytes, 1));
  memory->copy_from_host(Bytes(memory->bytes(), 0xa5).data());
  return memory;
}

std::vector<Fingerprint> on_cuda(std::span<const FingerprintRequest> requests) {
  const auto results = used_memory(requests.size() * sizeof(Fingerprint));
  const auto scratch = used_memory(static_cast<std::size_t>(fingerprints_scratch_bytes(requests)));
  fingerprints(requests, static_cast<Fingerprint*>(results->data()), scratch->data(), Device::cuda);
  std::vector<Fingerprint> host(requests.size());
  if (!host.empty()) results->copy_to_host(host.data());
  return host;
}

/// With the tensors' memory `offset` bytes behind a multiple of 256.
std::vector<Fingerprint> on_cuda(const std::vector<Tensor>& tensors, std::size_t offset = 0) {
  std::vector<std::unique_ptr<DeviceValues<std::uint8_t>>> memory;
  std::vector<FingerprintRequest> requests;
  for (const Tensor& tensor : tensors) {
    memory.push_back(std::make_unique<DeviceValues<std::uint8_t>>(tensor.bytes, offset));
    requests.push_back(request_of(tensor, memory.back()->data(), Device::cuda));
  }
  return on_cuda(requests);
}

/// Every field as bits: NaN equals NaN, -0 differs from +0.
std::array<std::uint64_t, 13> bits(const Fingerprint& f) {
  const Moments& m = f.moments;
  const auto of = [](double x) { return std::isnan(x) ? 1 : std::bit_cast<std::uint64_t>(x); };
  return {f.digest.lane0,
          f.digest.lane1,
          f.unordered.lane0,
          f.unordered.lane1,
          static_cast<std::uint64_t>(m.count),
          static_cast<std::uint64_t>(m.nans),
          static_cast<std::uint64_t>(m.finite),
          of(m.sum),
          of(m.mean),
          of(m.m2),
          of(m.squares),
          of(m.min),
          of(m.max)};
}

void expect_same(const std::vector<Fingerprint>& got, const std::vector<Fingerprint>& expected,
                 const std::vector<Tensor>& tensors) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(bits(got[i]), bits(expected[i]))
        << dtype_name(tensors[i].dtype) << ' ' << tensors[i].shape.text() << " from sample "
        << tensors[i].first_sample;
}

// ---- On the CPU

TEST(Fingerprints, AreTheDigestAndTheStatistics) {
  for (const DType dtype : kAllTypes) {
    const Tensor tensor = random_tensor(dtype, {5, 33}, 7);
    const ConstView view{tensor.bytes.data(), dtype, tensor.shape, Device::cpu};
    const Fingerprint got = on_cpu({tensor})[0];
    EXPECT_EQ(got.digest, digest_samples(view, 7));
    EXPECT_EQ(got.unordered, digest_samples_unordered(view));
    EXPECT_EQ(std::bit_cast<std::uint64_t>(finish(got.moments).norm),
              std::bit_cast<std::uint64_t>(statistics(view).norm));
    EXPECT_EQ(finish(got.moments).count, 165);
  }
}

TEST(Fingerprints, RefuseWhatTheyCannotRead) {
  const Bytes bytes(64);
  Fingerprint result;
  const auto run = [&](const FingerprintRequest& request, Device device) {
    fingerprints({&request, 1}, &result, nullptr, device);
  };
  const ConstView view{bytes.data(), DType::float32, Shape{4}, Device::cpu};
  expect_error(ErrorCode::invalid_argument, "requests[0].first_sample: expected 0 or more, got -1", [&] {
    run({view, -1}, Device::cpu);
  });
  expect_error(ErrorCode::invalid_argument,
               "requests[0].tensor.device: expected Device::cuda, got Device::cpu",
               [&] { run({view}, Device::cuda); });
  expect_error(ErrorCode::invalid_argument, "requests[0].tensor.data", [&] {
    run({{nullptr, DType::float32, Shape{4}, Device::cpu}}, Device::cpu);
  });
  expect_error(ErrorCode::invalid_argument, "multiple of 4 bytes", [&] {
    run({{bytes.data() + 1, DType::float32, Shape{4}, Device::cuda}}, Device::cuda);
  });
  expect_error(ErrorCode::invalid_argument, "scratch", [&] {
    run({{bytes.data(), DType::float32, Shape{2, 2}, Device::cuda}}, Device::cuda);
  });
  EXPECT_NO_THROW(fingerprints({}, nullptr, nullptr, Device::cuda));
}

TEST(Fingerprints, NeedScratchForSamplesOfManyElements) {
  const auto bytes = [](const Shape& shape, bool statistics) {
    const FingerprintRequest request{{nullptr, DType::float32, shape, Device::cuda}, 0, false, statistics};
    return fingerprints_scratch_bytes({&request, 1});
  };
  EXPECT_EQ(bytes({1000, 3}, true), 64000);
  EXPECT_EQ(bytes({1000, 1}, true), 0);
  EXPECT_EQ(bytes({1000, 3}, false), 0);
  EXPECT_EQ(bytes({1000, 0}, true), 0);
}

// ---- On a CUDA device, against the CPU

using FingerprintsGpu = GpuSuite<>;

TEST_F(FingerprintsGpu, MeetTheVectors) {
  std::uint32_t state = 1;
  Bytes pattern(1 << 17);
  for (std::uint8_t& byte : pattern) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  for (const DigestVector& vector : kDigestVectors) {
    Tensor tensor{pattern, vector.dtype, vector.shape};
    tensor.bytes.resize(ConstView{nullptr, vector.dtype, vector.shape}.bytes());
    const Fingerprint got = on_cuda({tensor})[0];
    EXPECT_EQ(finish(got.digest, vector.dtype, vector.shape).hex(), vector.ordered) << vector.shape.text();
    EXPECT_EQ(finish(got.unordered, vector.dtype, vector.shape).hex(), vector.unordered)
        << vector.shape.text();
  }
}

TEST_F(FingerprintsGpu, EqualTheCpuForEveryTypeAndShape) {
  std::vector<Tensor> tensors;
  for (const DType dtype : kAllTypes) {
    for (const Shape& shape :
         {Shape{},        Shape{0},       Shape{3, 0},   Shape{0, 3},   Shape{1},       Shape{2},
          Shape{7},       Shape{1000},    Shape{5, 1},   Shape{3, 2},   Shape{5, 3, 1}, Shape{9, 5},
          Shape{17, 31},  Shape{4, 127},  Shape{4, 128}, Shape{4, 129}, Shape{33, 65},  Shape{2, 3, 341},
          Shape{3, 1024}, Shape{2, 1025}, Shape{300, 20}}) {
      for (const std::int64_t first : {0, 1, 1000003}) tensors.push_back(random_tensor(dtype, shape, first));
    }
  }
  expect_same(on_cuda(tensors), on_cpu(tensors), tensors);
}

TEST_F(FingerprintsGpu, EqualTheCpuAroundTheLaneCounts) {
  std::vector<Tensor> tensors;
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8, DType::float64}) {
    for (const std::int64_t n : {255, 256, 257, 4095, 8191, 8192, 8193, 9217, 16384, 65537})
      tensors.push_back(random_tensor(dtype, {2, n}));
  }
  expect_same(on_cuda(tensors), on_cpu(tensors), tensors);
}

TEST_F(FingerprintsGpu, EqualTheCpuOnGradients) {
  std::vector<Tensor> tensors;
  for (const Shape& shape : {Shape{768}, Shape{2304, 3}, Shape{1025, 64}, Shape{16, 3072}, Shape{3, 10000}})
    tensors.push_back({gradients(static_cast<std::size_t>(shape.elements()), 1), DType::float32, shape});
  const std::vector<Fingerprint> got = on_cuda(tensors);
  expect_same(got, on_cpu(tensors), tensors);
  // The naive twin: one sum over all elements. It sees the order.
  std::vector<float> values(tensors[2].bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensors[2].bytes.data(), tensors[2].bytes.size());
  double squares = 0;
  for (const double value : values) squares += value * value;
  EXPECT_NE(std::bit_cast<std::uint64_t>(got[2].moments.squares), std::bit_cast<std::uint64_t>(squares));
}

TEST_F(FingerprintsGpu, EqualTheCpuWhereverMemoryBegins) {
  std::vector<Tensor> bytes, halves, floats;
  for (const Shape& shape : {Shape{33, 64}, Shape{33, 75}, Shape{5000}, Shape{3, 1028}}) {
    bytes.push_back(random_tensor(DType::uint8, shape, 3));
    halves.push_back(random_tensor(DType::float16, shape, 3));
    floats.push_back(random_tensor(DType::float32, shape, 3));
  }
  for (const std::size_t offset : {1, 2, 3, 4, 8, 15})
    expect_same(on_cuda(bytes, offset), on_cpu(bytes), bytes);
  for (const std::size_t offset : {2, 4, 6, 8}) expect_same(on_cuda(halves, offset), on_cpu(halves), halves);
  for (const std::size_t offset : {4, 8, 12}) expect_same(on_cuda(floats, offset), on_cpu(floats), floats);
}

TEST_F(FingerprintsGpu, EqualTheCpuWhereNothingIsFinite) {
  std::vector<Tensor> tensors;
  for (const std::int64_t n : {1, 3, 200, 9000}) {
    // Samples 0, 300 and some between have no number, whole tiles of samples among them.
    const std::int64_t samples = n > 100 ? 4 : 1100;
    std::vector<float> values(static_cast<std::size_t>(samples * n), NAN);
    for (std::int64_t i = 0; i < samples * n; ++i) {
      const std::int64_t s = i / n;
      if (s % 300 != 0 && s % 3 != 0 && (s < 256 || s >= 768))
        values[static_cast<std::size_t>(i)] = i % 5 == 0 ? INFINITY : static_cast<float>(i % 7) - 3.25f;
    }
    Bytes bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    tensors.push_back({bytes, DType::float32, {samples, n}});
    std::fill(bytes.begin(), bytes.end(), std::uint8_t{0xff});
    tensors.push_back({bytes, DType::float32, {samples, n}});
  }
  expect_same(on_cuda(tensors), on_cpu(tensors), tensors);
}

TEST_F(FingerprintsGpu, LetTheFirstOfEqualZerosStand) {
  std::vector<Tensor> tensors;
  for (const std::int64_t n : {1, 2, 3, 200, 9000}) {
    for (const float first : {0.0f, -0.0f}) {
      std::vector<float> values(static_cast<std::size_t>(3 * n), -first);
      values[0] = first;
      Bytes bytes(values.size() * sizeof(float));
      std::memcpy(bytes.data(), values.data(), bytes.size());
      tensors.push_back({bytes, DType::float32, {3, n}});
      tensors.push_back({bytes, DType::float32, {1, 3 * n}});
    }
  }
  const std::vector<Fingerprint> got = on_cuda(tensors);
  expect_same(got, on_cpu(tensors), tensors);
  EXPECT_FALSE(std::signbit(got[0].moments.min));
  EXPECT_TRUE(std::signbit(got[2].moments.min));
}

TEST_F(FingerprintsGpu, TakeHundredsOfTensors) {
  std::vector<Tensor> tensors;
  for (std::int64_t i = 0; i < 300; ++i)
    tensors.push_back(random_tensor(i % 3 == 0 ? DType::float16 : DType::float32, {i % 11, i % 40}, i));
  expect_same(on_cuda(tensors), on_cpu(tensors), tensors);
}

TEST_F(FingerprintsGpu, GiveOnlyWhatIsAskedFor) {
  const Tensor tensor = random_tensor(DType::float32, {50, 20});
  const DeviceValues<std::uint8_t> memory(tensor.bytes);
  FingerprintRequest request = request_of(tensor, memory.data(), Device::cuda);
  request.unordered = request.statistics = false;
  const Fingerprint got = on_cuda({&request, 1})[0];
  const Fingerprint expected = on_cpu({tensor})[0];
  EXPECT_EQ(got.digest, expected.digest);
  EXPECT_EQ(got.unordered, DigestSum());
  EXPECT_EQ(got.moments.count, 0);
}

TEST_F(FingerprintsGpu, SeeOneFlippedBit) {
  Tensor tensor{gradients(40000, 3), DType::float32, {100, 400}};
  const Fingerprint before = on_cuda({tensor})[0];
  tensor.bytes[123456] ^= 1;
  const Fingerprint after = on_cuda({tensor})[0];
  EXPECT_NE(before.digest.lane0, after.digest.lane0);
  EXPECT_NE(before.digest.lane1, after.digest.lane1);
  EXPECT_NE(before.unordered.lane0, after.unordered.lane0);
}

TEST_F(FingerprintsGpu, ReachTheLastSampleNumbers) {
  const std::vector<Tensor> tensors{random_tensor(DType::uint8, {2, 12}, std::int64_t{1} << 60),
                                    random_tensor(DType::int64, {3}, (std::int64_t{1} << 60) + 5)};
  expect_same(on_cuda(tensors), on_cpu(tensors), tensors);
}

/// Of tensors that take minutes on the CPU.
class FingerprintsGpuSlow : public GpuSuite<> {
 protected:
  static void expect_same_of(DType dtype, const Shape& shape) {
    Tensor tensor = random_tensor(dtype, shape);
    DeviceBuffer memory(tensor.bytes.size());
    memory.copy_from_host(tensor.bytes.data());
    const FingerprintRequest request = request_of(tensor, memory.data(), Device::cuda);
    const std::vector<Fingerprint> got = on_cuda({&request, 1});
    expect_same(got, on_cpu({tensor}), {tensor});
  }
};

TEST_F(FingerprintsGpuSlow, EqualTheCpuBeyondTwoGigabytes) {
  const std::int64_t many = (std::int64_t{1} << 31) + 1000;
  expect_same_of(DType::uint8, {many / 1024, 1024});
  expect_same_of(DType::uint8, {1, many + 1});
  expect_same_of(DType::float32, {many / 4 / 768, 768});
}

}  // namespace
}  // namespace lockstep::fingerprint
