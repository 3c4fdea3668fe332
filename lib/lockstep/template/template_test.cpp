#include "lockstep/template/template.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device.h"
#include "lockstep/base/device_values_test.h"
#include "lockstep/base/error.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/template/template_ref.h"
#include "lockstep/template/template_vectors.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

ConstView matrix(const void* data, std::int64_t rows, std::int64_t features, Device device = Device::cpu) {
  return {data, DType::float32, Shape{rows, features}, device};
}

// ---- The twins under one name
// -----------------------------------------------------------------------------------------

struct Ref {
  static Values run(const Values& x, std::int64_t rows, std::int64_t features) {
    Values y(static_cast<std::size_t>(rows), -1.0f);
    template_op_ref(x.data(), y.data(), static_cast<std::size_t>(rows), static_cast<std::size_t>(features));
    return y;
  }
};

struct Cpu {
  static Values run(const Values& x, std::int64_t rows, std::int64_t features) {
    Values y(static_cast<std::size_t>(rows), -1.0f);
    template_op(matrix(x.data(), rows, features), View{y.data(), DType::float32, Shape{rows}, Device::cpu});
    return y;
  }
};

struct Cuda {
  static Values run(const Values& x, std::int64_t rows, std::int64_t features) {
    Values y(static_cast<std::size_t>(rows), -1.0f);
    DeviceBuffer source(x.size() * sizeof(float) + 4);  // one spare element, so that no buffer is empty
    DeviceBuffer target(y.size() * sizeof(float) + 4);
    Values padded = x;
    padded.push_back(0.0f);
    source.copy_from_host(padded.data());
    template_op(matrix(source.data(), rows, features, Device::cuda),
                View{target.data(), DType::float32, Shape{rows}, Device::cuda});
    y.push_back(0.0f);
    target.copy_to_host(y.data());
    y.pop_back();
    return y;
  }
};

Values row(std::uint32_t features, std::uint32_t first = 0) {
  Values values(features);
  for (std::uint32_t i = 0; i < features; ++i) values[i] = template_op_element(first + i);
  return values;
}

// ---- One suite for every twin
// -----------------------------------------------------------------------------------------

template <class Twin>
class TemplateOp : public testing::Test {
 protected:
  void SetUp() override {
    if (std::is_same_v<Twin, Cuda> && cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  }
};

TYPED_TEST_SUITE_P(TemplateOp);

TYPED_TEST_P(TemplateOp, GivesTheExpectedBits) {
  for (const TemplateOpVector& vector : kTemplateOpVectors) {
    const Values y = TypeParam::run(row(vector.features), 1, vector.features);
    EXPECT_EQ(bits(y[0]), vector.bits) << vector.features << " features";
  }
}

TYPED_TEST_P(TemplateOp, RowsDoNotKnowEachOther) {
  for (const std::int64_t features : {5, 200, 9000}) {
    const std::int64_t rows = 33;
    const Values x = row(static_cast<std::uint32_t>(rows * features));
    const Values together = TypeParam::run(x, rows, features);
    for (std::int64_t r = 0; r < rows; ++r) {
      const Values alone =
          TypeParam::run(Values(x.begin() + r * features, x.begin() + (r + 1) * features), 1, features);
      EXPECT_EQ(bits(together[static_cast<std::size_t>(r)]), bits(alone[0]))
          << "row " << r << " of " << features;
    }
  }
}

TYPED_TEST_P(TemplateOp, EmptyExtents) {
  EXPECT_TRUE(TypeParam::run({}, 0, 7).empty());
  const Values sums = TypeParam::run({}, 3, 0);
  for (const float sum : sums) EXPECT_EQ(bits(sum), 0u);
}

TYPED_TEST_P(TemplateOp, SpecialValues) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kSubnormal = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(bits(TypeParam::run({-0.0f, -0.0f}, 1, 2)[0]), 0u) << "lanes start at +0";
  EXPECT_EQ(TypeParam::run({kInfinity, 1.0f}, 1, 2)[0], kInfinity);
  EXPECT_TRUE(std::isnan(TypeParam::run({kInfinity, -kInfinity}, 1, 2)[0]));
  EXPECT_TRUE(std::isnan(TypeParam::run({1.0f, std::numeric_limits<float>::quiet_NaN()}, 1, 2)[0]));
  EXPECT_EQ(bits(TypeParam::run({kSubnormal, kSubnormal}, 1, 2)[0]), 2u) << "subnormals are kept";
}

REGISTER_TYPED_TEST_SUITE_P(TemplateOp, GivesTheExpectedBits, RowsDoNotKnowEachOther, EmptyExtents,
                            SpecialValues);
INSTANTIATE_TYPED_TEST_SUITE_P(Ref, TemplateOp, Ref);
INSTANTIATE_TYPED_TEST_SUITE_P(Cpu, TemplateOp, Cpu);
INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, TemplateOp, Cuda);

// ---- The suite can fail: sums in another order are other bits
// ---------------------------------------------------------

TEST(TemplateOpTwin, APlainSumGoesRed) {
  int different = 0;
  for (const TemplateOpVector& vector : kTemplateOpVectors) {
    const Values x = row(vector.features);
    different += bits(std::accumulate(x.begin(), x.end(), 0.0f)) != vector.bits ? 1 : 0;
  }
  EXPECT_GE(different, 8) << "the vectors do not tell a plain sum from the lane sum";
}

TEST(TemplateOpTwin, AnotherLaneCountGoesRed) {
  const Values x = row(8193);
  Values lane(128, 0.0f);
  for (std::size_t j = 0; j < x.size(); ++j) lane[j % 128] += x[j];
  for (std::size_t s = 64; s > 0; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) lane[i] += lane[i + s];
  }
  EXPECT_NE(bits(lane[0]), bits(Ref::run(x, 1, 8193)[0]));
}

TEST(TemplateOpRef, DoubleFollowsTheSameOrder) {
  const std::vector<double> x{1e16, 1.0, -1e16};
  EXPECT_EQ(template_op_ref_row(x.data(), x.size()), (1e16 + -1e16) + 1.0)
      << "lane 0 meets lane 2 before lane 1";
}

#if defined(__x86_64__)
TEST(TemplateOpCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  FlushingCaller caller;
  const float least = std::bit_cast<float>(1u);
  const float sum = Cpu::run({least, least}, 1, 2)[0];
  const bool kept = caller.end();
  EXPECT_EQ(bits(sum), 2u);
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- Errors, by code and by words
// -------------------------------------------------------------------------------------

void expect_refusal(const ConstView& x, const View& y, const std::string& words, ErrorCode code) {
  try {
    template_op(x, y);
    FAIL() << "accepted; expected: " << words;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

TEST(TemplateOpErrors, SayWhatIsWrong) {
  float memory[6] = {};
  const ConstView x = matrix(memory, 2, 3);
  const View y{memory, DType::float32, Shape{2}, Device::cpu};
  const auto refuses = [](const ConstView& bad_x, const View& bad_y, const char* words) {
    expect_refusal(bad_x, bad_y, words, ErrorCode::invalid_argument);
  };
  refuses({memory, DType::float64, Shape{2, 3}, Device::cpu}, y, "x: expected float32, got float64");
  refuses(x, {memory, DType::float16, Shape{2}, Device::cpu}, "y: expected float32, got float16");
  refuses({memory, DType::float32, Shape{6}, Device::cpu}, y, "expected shape [rows, features], got [6]");
  refuses(x, {memory, DType::float32, Shape{3}, Device::cpu},
          "expected shape [2], one element for each row of x, got [3]");
  refuses(x, {memory, DType::float32, Shape{2}, Device::cuda}, "expected the device of x");
  refuses(matrix(nullptr, 2, 3), y, "got a null pointer");
  refuses(x, {nullptr, DType::float32, Shape{2}, Device::cpu}, "got a null pointer");
}

TEST(TemplateOpErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float memory[6] = {};
  expect_refusal(matrix(memory, 2, 3, Device::cuda), View{memory, DType::float32, Shape{2}, Device::cuda},
                 "Device::cpu", ErrorCode::unsupported);
  EXPECT_NE(cuda_trouble(), "");
  EXPECT_THROW(DeviceBuffer(4), Error);
}

class TemplateOpGpuErrors : public GpuSuite<> {};

TEST_F(TemplateOpGpuErrors, MemoryThatIsNotThere) {
  constexpr std::size_t kNobodyHas = std::size_t{1} << 50;
  expect_error(ErrorCode::out_of_memory, "memory of the device", [] { DeviceBuffer{kNobodyHas}; });
  EXPECT_NO_THROW(DeviceBuffer(4));
}

}  // namespace
}  // namespace lockstep
