#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "lockstep/base/divisor_internal.h"
#include "lockstep/base/dtype.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/shape.h"
#include "lockstep/base/version.h"
#include "lockstep/base/view.h"

namespace lockstep {
namespace {

std::string message_of(const ErrorParts& parts) { return Error(ErrorCode::io, parts).what(); }

TEST(Divisor, GivesWholeQuotients) {
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
  for (const std::int32_t d :
       {1, 2, 3, 5, 7, 9, 28, 196, 641, 784, 1 << 20, (1 << 20) + 1, (1 << 30) + 1, kMost - 1, kMost}) {
    const internal::Divisor<std::int32_t> by(d);
    const internal::Divisor<std::int64_t> wide(d);
    for (std::int64_t near = 0; near <= kMost; near += std::max<std::int64_t>(d, kMost / 5000 / d * d)) {
      for (const std::int64_t n : {near - 1, near, near + 1}) {
        if (n < 0 || n > kMost) continue;
        ASSERT_EQ(by.quotient(static_cast<std::int32_t>(n)), n / d) << n << " / " << d;
        ASSERT_EQ(wide.quotient(n), n / d);
      }
    }
    ASSERT_EQ(by.quotient(kMost), kMost / d);
  }
}

TEST(Error, ComposesItsParts) {
  EXPECT_EQ(message_of({"idx", "magic number", "2051", "7", "Is it an IDX file?"}),
            "idx: magic number: expected 2051, got 7. Is it an IDX file?");
  EXPECT_EQ(message_of({"idx", "magic number", "2051", {}, {}}), "idx: magic number: expected 2051");
  EXPECT_EQ(message_of({"a.gz", "cannot open", {}, "No such file", {}}), "a.gz: cannot open: No such file");
  EXPECT_EQ(message_of({"a", "b", {}, {}, {}}), "a: b");
  EXPECT_STREQ(Error(ErrorCode::internal, "as it is").what(), "as it is");
}

TEST(Error, HasACode) {
  const std::pair<ErrorCode, const char*> names[] = {{ErrorCode::invalid_argument, "invalid_argument"},
                                                     {ErrorCode::not_found, "not_found"},
                                                     {ErrorCode::corruption, "corruption"},
                                                     {ErrorCode::io, "io"},
                                                     {ErrorCode::unsupported, "unsupported"},
                                                     {ErrorCode::out_of_memory, "out_of_memory"},
                                                     {ErrorCode::internal, "internal"}};
  for (const auto& [code, name] : names) {
    EXPECT_EQ(error_code_name(code), name);
    expect_error(code, "x: y", [code = code] { fail(code, {"x", "y", {}, {}, {}}); });
  }
}

TEST(Error, SpeaksTheSystemsWords) {
  expect_error(ErrorCode::not_found, "f: cannot open: No such file or directory. Look",
               [] { fail_errno(ENOENT, "f", "cannot open", "Look"); });
  expect_error(ErrorCode::io, "No space left on device", [] { fail_errno(ENOSPC, "f", "cannot write"); });
}

TEST(DTypeTest, NamesAndSizesAreTorchs) {
  const std::tuple<DType, int, const char*, std::size_t> rows[] = {
      {DType::boolean, 1, "bool", 1},       {DType::uint8, 2, "uint8", 1},
      {DType::int8, 3, "int8", 1},          {DType::uint16, 4, "uint16", 2},
      {DType::int16, 5, "int16", 2},        {DType::uint32, 6, "uint32", 4},
      {DType::int32, 7, "int32", 4},        {DType::uint64, 8, "uint64", 8},
      {DType::int64, 9, "int64", 8},        {DType::float16, 10, "float16", 2},
      {DType::bfloat16, 11, "bfloat16", 2}, {DType::float32, 12, "float32", 4},
      {DType::float64, 13, "float64", 8}};
  for (const auto& [dtype, number, name, bytes] : rows) {
    EXPECT_EQ(static_cast<int>(dtype), number) << "persisted: do not change";
    EXPECT_EQ(dtype_name(dtype), name);
    EXPECT_EQ(parse_dtype(name), dtype);
    EXPECT_EQ(dtype_bytes(dtype), bytes);
    EXPECT_EQ(is_floating_point(dtype), number >= 10);
    EXPECT_TRUE(is_dtype(static_cast<std::uint8_t>(number)));
  }
  EXPECT_EQ(dtype_of<float>(), DType::float32);
  EXPECT_EQ(dtype_of<std::int64_t>(), DType::int64);
}

TEST(DTypeTest, NumbersFromFilesAreChecked) {
  for (const int number : {0, 14, 255}) {
    EXPECT_FALSE(is_dtype(static_cast<std::uint8_t>(number)));
    expect_error(ErrorCode::corruption, "expected 1 to 13, got " + std::to_string(number),
                 [&] { dtype_bytes(static_cast<DType>(number)); });
    expect_error(ErrorCode::corruption, "dtype", [&] { dtype_name(static_cast<DType>(number)); });
  }
  expect_error(ErrorCode::invalid_argument, "such as float32, got float", [] { parse_dtype("float"); });
  expect_error(ErrorCode::invalid_argument, "dtype", [] { parse_dtype(""); });
}

TEST(ShapeTest, CountsElements) {
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ(Shape{}.rank(), 0);
  EXPECT_EQ((Shape{2, 3, 4}.elements()), 24);
  EXPECT_EQ((Shape{2, 0, 4}.elements()), 0);
  EXPECT_EQ((Shape{2, 3}[1]), 3);
  EXPECT_EQ((Shape{64, 28, 28}.text()), "[64, 28, 28]");
  EXPECT_EQ(Shape{}.text(), "[]");
}

TEST(ShapeTest, ComparesExtentsAndRank) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
  EXPECT_FALSE((Shape{2}) == (Shape{2, 1}));
  EXPECT_FALSE(Shape{} == (Shape{1}));
}

TEST(ShapeTest, GainsAndLosesItsFirstAxis) {
  EXPECT_EQ((Shape{28, 28}.prepended(64)), (Shape{64, 28, 28}));
  EXPECT_EQ(Shape{}.prepended(64), (Shape{64}));
  EXPECT_EQ((Shape{64, 28}.without_first()), (Shape{28}));
  expect_error(ErrorCode::invalid_argument, "got a scalar", [] { (void)Shape{}.without_first(); });
  expect_error(ErrorCode::invalid_argument, "at most 8 axes, got 9",
               [] { (void)Shape{1, 1, 1, 1, 1, 1, 1, 1}.prepended(1); });
}

TEST(ShapeTest, RefusesWhatCannotBe) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 61;
  expect_error(ErrorCode::invalid_argument, "none negative", [] { Shape{2, -1}; });
  expect_error(ErrorCode::invalid_argument, "below 2^62", [] { Shape{kHuge, 2}; });
  expect_error(ErrorCode::invalid_argument, "below 2^62", [] {
    Shape{std::numeric_limits<std::int64_t>::max(), 4};
  });
  // Empty, but its other extents would overflow wherever a loop multiplies them.
  expect_error(ErrorCode::invalid_argument, "below 2^62", [] { Shape{0, kHuge, kHuge}; });
  EXPECT_EQ(Shape{kHuge}.elements(), kHuge);
}

TEST(ViewTest, CountsBytes) {
  const std::int64_t values[6] = {};
  const ConstView view{values, DType::int64, Shape{2, 3}, Device::cpu};
  EXPECT_EQ(view.bytes(), 48u);
  EXPECT_EQ((ConstView{nullptr, DType::float32, Shape{0, 5}, Device::cpu}.bytes()), 0u);
  float target[2];
  const View writable{target, DType::float32, Shape{2}, Device::cpu};
  EXPECT_EQ(ConstView(writable).data, target);
}

TEST(VersionTest, TellsWhatABugReportNeeds) {
  const std::string text = version_text("some_tool");
  EXPECT_EQ(text.rfind("some_tool (lockstep) ", 0), 0u);
  for (const char* word :
       {"commit", "compiler", "numeric flags", "-ffp-contract=off", "cuda", "instruction set"}) {
    EXPECT_NE(text.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(text.back(), '\n');
  EXPECT_NE(text.find(build_info().version), std::string::npos);
  EXPECT_FALSE(build_info().commit.empty());
  EXPECT_FALSE(cpu_model().empty());
  EXPECT_NE(text.find("instruction set  " + cpu_instruction_set() + "\n"), std::string::npos);
  EXPECT_NE(version_text("some_tool", "AVX99").find("instruction set  AVX99\n"), std::string::npos);
}

}  // namespace
}  // namespace lockstep
