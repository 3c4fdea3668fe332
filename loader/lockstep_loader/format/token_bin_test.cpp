// Token files and their windows.

#include "lockstep_loader/format/token_bin.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/format/files_test.h"

namespace lockstep::loader {
namespace {

std::string tokens(std::initializer_list<std::uint32_t> values, int bytes = 2) {
  std::string text;
  for (std::uint32_t value : values) text += little(value, bytes);
  return text;
}

class TokenBin : public testing::Test {
 protected:
  TokenBinDataset open(const std::string& bytes, const TokenOptions& options) const {
    return TokenBinDataset(folder_.write("t.bin", bytes), options);
  }

  TempFolder folder_;
};

TEST_F(TokenBin, CutsWindowsAndMovesTargetsByOne) {
  const TokenBinDataset dataset = open(tokens({10, 11, 12, 13, 14, 15, 16, 17}), {.context = 3});
  ASSERT_EQ(dataset.size(), 2);  // 17 stands alone at the end, and as a target of nothing is not delivered
  EXPECT_EQ(dataset.fields(),
            (std::vector<Field>{{"tokens", DType::int64, {3}}, {"targets", DType::int64, {3}}}));
  EXPECT_EQ(fetch_as<std::int64_t>(dataset, 1, 0), (std::vector<std::int64_t>{13, 14, 15}));
  EXPECT_EQ(fetch_as<std::int64_t>(dataset, 1, 1), (std::vector<std::int64_t>{14, 15, 16}));
}

TEST_F(TokenBin, TakesEveryStride) {
  const std::string eight = tokens({0, 1, 2, 3, 4, 5, 6, 7});
  const TokenBinDataset overlapping = open(eight, {.context = 3, .stride = 1});
  ASSERT_EQ(overlapping.size(), 5);
  EXPECT_EQ(fetch_as<std::int64_t>(overlapping, 4, 1), (std::vector<std::int64_t>{5, 6, 7}));
  EXPECT_EQ(open(eight, {.context = 3, .stride = 4}).size(), 2);
  EXPECT_EQ(open(eight, {.context = 3, .stride = 5}).size(), 1);
  EXPECT_EQ(open(eight, {.context = 7}).size(), 1);
}

TEST_F(TokenBin, DeliversTheChosenType) {
  const std::string narrow = tokens({65535, 1, 40000});
  const std::string wide = tokens({4000000000, 1, 70000}, 4);
  EXPECT_EQ(fetch_as<std::uint16_t>(open(narrow, {.context = 2, .delivered = DType::uint16}), 0),
            (std::vector<std::uint16_t>{65535, 1}));
  EXPECT_EQ(fetch_as<std::int32_t>(open(narrow, {.context = 2, .delivered = DType::int32}), 0, 1),
            (std::vector<std::int32_t>{1, 40000}));
  EXPECT_EQ(fetch_as<std::int64_t>(open(wide, {.context = 2, .stored = DType::uint32}), 0),
            (std::vector<std::int64_t>{4000000000, 1}));
  EXPECT_EQ(fetch_as<std::uint32_t>(
                open(wide, {.context = 2, .stored = DType::uint32, .delivered = DType::uint32}), 0),
            (std::vector<std::uint32_t>{4000000000, 1}));
  expect_error(ErrorCode::corruption, {"token 0 (record 0)", "below 2147483648"}, [&] {
    fetch(open(wide, {.context = 2, .stored = DType::uint32, .delivered = DType::int32}), 0);
  });
}

TEST_F(TokenBin, ChecksTheVocabularyRecordByRecord) {
  const TokenBinDataset dataset = open(tokens({1, 2, 3, 4, 50, 6, 7}), {.context = 2, .vocabulary = 50});
  EXPECT_EQ(fetch_as<std::int64_t>(dataset, 0), (std::vector<std::int64_t>{1, 2}));
  expect_error(ErrorCode::corruption, {"t.bin", "token 4 (record 1)", "below 50"},
               [&] { fetch(dataset, 1); });
}

TEST_F(TokenBin, DoesNotTakeTokensForGzip) {
  // 0x8b1f is a token like any other, though its bytes are gzip's magic.
  EXPECT_EQ(fetch_as<std::int64_t>(open(tokens({0x8b1f, 8}), {.context = 1}), 0),
            (std::vector<std::int64_t>{0x8b1f}));
}

TEST_F(TokenBin, FingerprintSeesTokensAndOptions) {
  const std::string text = tokens({1, 2, 3, 4, 5});
  const fingerprint::Digest digest = open(text, {.context = 2}).fingerprint();
  EXPECT_EQ(open(text, {.context = 2, .stride = 2}).fingerprint(), digest);
  EXPECT_NE(open(text, {.context = 2, .stride = 1}).fingerprint(), digest);
  EXPECT_NE(open(text, {.context = 2, .delivered = DType::int32}).fingerprint(), digest);
  EXPECT_NE(open(tokens({1, 2, 3, 4, 6}), {.context = 2}).fingerprint(), digest);
}

TEST_F(TokenBin, RefusesWhatCannotWork) {
  const std::string five = tokens({1, 2, 3, 4, 5});
  expect_error(ErrorCode::corruption, {"t.bin", "a multiple of 2 bytes", "9 bytes"},
               [&] { open(five.substr(1), {.context = 2}); });
  expect_error(ErrorCode::corruption, {"a multiple of 4 bytes"},
               [&] { open(five, {.context = 2, .stored = DType::uint32}); });
  expect_error(ErrorCode::invalid_argument, {"at least 6", "got 5", "shorter context"},
               [&] { open(five, {.context = 5}); });
  expect_error(ErrorCode::invalid_argument, {"context", "1 or more", "got 0"}, [&] { open(five, {}); });
  expect_error(ErrorCode::invalid_argument, {"stride"}, [&] { open(five, {.context = 2, .stride = -1}); });
  expect_error(ErrorCode::invalid_argument, {"stored dtype"},
               [&] { open(five, {.context = 2, .stored = DType::int16}); });
  expect_error(ErrorCode::invalid_argument, {"delivered dtype"},
               [&] { open(five, {.context = 2, .delivered = DType::float32}); });
  expect_error(ErrorCode::invalid_argument, {"0 to 1", "got 2"},
               [&] { fetch(open(five, {.context = 2}), 2); });
  expect_error(ErrorCode::invalid_argument, {"at least 2", "got 0"}, [&] { open("", {.context = 1}); });
}

}  // namespace
}  // namespace lockstep::loader
