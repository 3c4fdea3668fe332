// CSV: cells, numbers, and messages with a line and a column.

#include "lockstep_loader/format/csv.h"

#include <bit>
#include <clocale>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/format/csv_internal.h"
#include "lockstep_loader/format/files_test.h"

namespace lockstep::loader {
namespace {

class Csv : public testing::Test {
 protected:
  CsvDataset open(const std::string& text, const CsvOptions& options = {}) const {
    return CsvDataset(folder_.write("t.csv", text), options);
  }
  std::vector<float> first(const std::string& text, const CsvOptions& options = {}) const {
    return fetch_as<float>(open(text, options), 0);
  }
  void expect_refused(const std::string& text, std::initializer_list<std::string> words,
                      const CsvOptions& options = {}) const {
    expect_error(ErrorCode::corruption, words, [&] { open(text, options); });
    expect_error(ErrorCode::corruption, {(folder_ / "t.csv").string()}, [&] { open(text, options); });
  }

  TempFolder folder_;
};

TEST_F(Csv, MapsColumnsToFields) {
  const CsvOptions options{
      .fields = {{"x", {"c", "a"}}, {"y", {"b"}, DType::float64}, {"id", {"a"}, DType::int64, true}}};
  const CsvDataset dataset =
      open("a,b,c,name\n1,2.5,-3,first\n4,5e-1,6,\"second, with \"\"quotes\"\"\"\n", options);
  EXPECT_EQ(dataset.size(), 2);
  EXPECT_EQ(
      dataset.fields(),
      (std::vector<Field>{{"x", DType::float32, {2}}, {"y", DType::float64, {}}, {"id", DType::int64, {1}}}));
  EXPECT_EQ(fetch_as<float>(dataset, 0), (std::vector<float>{-3, 1}));
  EXPECT_EQ(fetch_as<double>(dataset, 1, 1), std::vector<double>{0.5});
  EXPECT_EQ(fetch_as<std::int64_t>(dataset, 1, 2), std::vector<std::int64_t>{4});
}

TEST_F(Csv, MakesAFieldOfEveryColumnByDefault) {
  const CsvDataset dataset = open("a,\"b c\"\n1,2\n");
  EXPECT_EQ(dataset.fields(), (std::vector<Field>{{"a", DType::float32, {}}, {"b c", DType::float32, {}}}));
}

TEST_F(Csv, ReadsTablesWithoutAHeader) {
  const CsvDataset dataset = open("1;2\n3;4", {.fields = {{"y", {"1"}}}, .header = false, .delimiter = ';'});
  EXPECT_EQ(dataset.size(), 2);
  EXPECT_EQ(fetch_as<float>(dataset, 1), std::vector<float>{4});
}

TEST_F(Csv, TakesEveryLineEndQuoteAndBlank) {
  for (const std::string text : {"a,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\r1,2\r", "a,b\n1,2",
                                 "\xef\xbb\xbf"
                                 "a,b\n1,2\n\n\r\n",
                                 "\"a\",\"b\"\n\"1\",\"2\"\n", "a , b\n +1 ,\t2 \n"}) {
    const CsvDataset dataset = open(text);
    EXPECT_EQ(dataset.size(), 1) << text;
    EXPECT_EQ(fetch_as<float>(dataset, 0, 0), std::vector<float>{1}) << text;
    EXPECT_EQ(fetch_as<float>(dataset, 0, 1), std::vector<float>{2}) << text;
  }
  const CsvDataset dataset = open("a,b\n1,\"two\nlines \"\" of text\"\n2,x\n", {.fields = {{"a", {"a"}}}});
  EXPECT_EQ(dataset.size(), 2);
}

TEST_F(Csv, RoundsCorrectly) {
  // Halfway between two floats: rounding to double first would give 0x3f800000 for the first.
  EXPECT_EQ(std::bit_cast<std::uint32_t>(first("a\n1.00000005960464477539062500001\n")[0]), 0x3f800001u);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(first("a\n1.000000059604644775390625\n")[0]), 0x3f800000u);
  EXPECT_EQ(first("a\n16777217\n")[0], 16777216.f);
  EXPECT_TRUE(std::signbit(first("a\n-0\n")[0]));
  const CsvOptions wide{.fields = {{"a", {"a"}, DType::float64}}};
  EXPECT_EQ(fetch_as<double>(open("a\n0.1\n", wide), 0)[0], 0.1);
  const CsvOptions whole{.fields = {{"a", {"a"}, DType::int64}}};
  EXPECT_EQ(fetch_as<std::int64_t>(open("a\n-9223372036854775808\n", whole), 0)[0],
            std::numeric_limits<std::int64_t>::min());
}

TEST_F(Csv, RefusesMissingAndUnreadableValues) {
  expect_refused("a,b\n1,2\n3,\n",
                 {"t.csv:3", "column 'b'", "float32", "a missing value", "Correct or remove"});
  expect_refused("a\n1\n\n2\n", {"t.csv:3", "a missing value"});
  expect_refused("a\nNA\n", {"column 'a'", "got 'NA'"});
  for (const std::string cell : {"1x", "0x10", "1,5", "--1", "+-1", "1e", ".", "1 2", "1_000", "\"\""}) {
    EXPECT_THROW(open("a\n" + cell + "\n"), Error) << cell;
  }
  expect_refused("a\n1e39\n", {"within float32"});
  const CsvOptions whole{.fields = {{"a", {"a"}, DType::int64}}};
  expect_refused("a\n3.0\n", {"int64", "'3.0'"}, whole);
  expect_refused("a\n9223372036854775808\n", {"within int64"}, whole);
}

TEST_F(Csv, TakesNonFiniteNumbersOnlyWhenAllowed) {
  expect_refused("a\nnan\n", {"a finite float32", "'nan'"});
  expect_refused("a\n-inf\n", {"a finite float32"});
  EXPECT_TRUE(std::isnan(first("a\nnan\n", {.allow_non_finite = true})[0]));
  EXPECT_EQ(first("a\n-inf\n", {.allow_non_finite = true})[0], -std::numeric_limits<float>::infinity());
}

TEST_F(Csv, RefusesRaggedAndBrokenRows) {
  expect_refused("a,b\n1,2\n3\n", {"t.csv:3", "2 columns", "got 1"});
  expect_refused("a,b\n1,2,3\n", {"t.csv:2", "2 columns", "got 3"});
  expect_refused("a,b\n\"1\n2\",\"open\n", {"line 2", "a closing quote"});
  expect_refused("a,b\n\"x\n\",\"1\"2\n", {"line 3", "a delimiter after a closing quote", "'2'"});
  expect_refused("", {"a header row", "an empty file"});
  expect_refused("\n\n", {"a header row"});
  EXPECT_EQ(open("a,b\n").size(), 0);
}

TEST_F(Csv, CountsLinesThroughQuotedLineEnds) {
  expect_refused("a,b\n\"1\n\n\",2\n", {"t.csv:2", "column 'a'"});
  expect_refused("a,b\n1,\"2\"\n\"5\",bad\n", {"t.csv:3", "'bad'"});
}

TEST_F(Csv, RefusesOptionsThatCannotWork) {
  expect_error(ErrorCode::not_found, {"column", "one of a, b", "'c'"}, [&] {
    open("a,b\n1,2\n", {.fields = {{"x", {"c"}}}});
  });
  expect_error(ErrorCode::invalid_argument, {"one column 'a'", "several"}, [&] {
    open("a,a\n1,2\n", {.fields = {{"x", {"a"}}}});
  });
  expect_error(ErrorCode::invalid_argument, {"dtype of field 'x'", "uint8"}, [&] {
    open("a\n1\n", {.fields = {{"x", {"a"}, DType::uint8}}});
  });
  expect_error(ErrorCode::invalid_argument, {"columns of field 'x'"}, [&] {
    open("a\n1\n", {.fields = {{"x", {}}}});
  });
  expect_error(ErrorCode::invalid_argument, {"'x'", "once"}, [&] {
    open("a\n1\n", {.fields = {{"x", {"a"}}, {"x", {"a"}}}});
  });
  expect_error(ErrorCode::invalid_argument, {"delimiter"}, [&] { open("a\n1\n", {.delimiter = '"'}); });
  expect_error(ErrorCode::not_found, {"none.csv"}, [&] { CsvDataset dataset(folder_ / "none.csv"); });
}

TEST_F(Csv, ReadsGzipWithTheSameFingerprint) {
  const std::string text = "a,b\n1,2\n3,4\n";
  const fingerprint::Digest digest = open(text).fingerprint();
  EXPECT_EQ(open(gzip(text)).fingerprint(), digest);
  EXPECT_EQ(open("a,b\r\n\"1\", 2.0\r\n3e0,+4").fingerprint(), digest);
  EXPECT_NE(open("a,b\n1,2\n3,5\n").fingerprint(), digest);
  expect_error(ErrorCode::unsupported, {"at most 11 bytes"},
               [&] { open(gzip(text), {.max_inflated_bytes = 11}); });
  expect_refused(gzip(text).substr(0, 20), {"breaks off"});
}

TEST_F(Csv, DoesNotDependOnTheLocale) {
  const char* before = std::setlocale(LC_ALL, nullptr);
  const std::string keep = before != nullptr ? before : "C";
  for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "C"}) {
    if (std::setlocale(LC_ALL, name) == nullptr) continue;
    EXPECT_EQ(first("a\n1.5\n")[0], 1.5f) << name;
  }
  std::setlocale(LC_ALL, keep.c_str());
}

TEST(CsvDiabetes, ReadsTheTableThatComesWithTheSources) {
  const CsvDataset dataset(
      LOCKSTEP_DATA_DIR "/diabetes/diabetes.csv",
      {.fields = {{"features", {"age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"}},
                  {"target", {"progression"}}}});
  ASSERT_EQ(dataset.size(), 442);
  EXPECT_EQ(fetch_as<float>(dataset, 0, 1), std::vector<float>{151});
  EXPECT_EQ(fetch_as<float>(dataset, 441, 1), std::vector<float>{57});
  EXPECT_EQ(fetch_as<float>(dataset, 0)[0], 59.f);
}

}  // namespace
}  // namespace lockstep::loader
