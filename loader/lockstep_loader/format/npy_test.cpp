// .npy: headers, types, orders and sizes.

#include "lockstep_loader/format/npy.h"

#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/format/files_test.h"
#include "lockstep_loader/format/npy_internal.h"

namespace lockstep::loader {
namespace {

std::string npy(const std::string& dictionary, const std::string& elements, int version = 1) {
  const std::string text = dictionary + "\n";
  return std::string("\x93NUMPY") + static_cast<char>(version) + '\0' +
         little(text.size(), version == 1 ? 2 : 4) + text + elements;
}

std::string dictionary(const std::string& descr, const std::string& shape, bool fortran = false) {
  return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}", descr,
                     fortran ? "True" : "False", shape);
}

class Npy : public testing::Test {
 protected:
  NpyDataset open(const std::string& bytes) const {
    return NpyDataset({{folder_.write("array.npy", bytes), "x"}});
  }
  void expect_refused(ErrorCode code, const std::string& bytes,
                      std::initializer_list<std::string> words) const {
    expect_error(code, words, [&] { open(bytes); });
    expect_error(code, {(folder_ / "array.npy").string()}, [&] { open(bytes); });
  }

  TempFolder folder_;
};

TEST_F(Npy, ReadsAllVersionsPlainAndGzip) {
  const std::string floats = little(0x3f800000, 4) + little(0xbf800000, 4);
  fingerprint::Digest digest;
  for (int version : {1, 2, 3}) {
    const std::string bytes = npy(dictionary("<f4", "(2, 1)"), floats, version);
    const NpyDataset dataset = open(bytes);
    EXPECT_EQ(dataset.size(), 2);
    EXPECT_EQ(dataset.fields(), (std::vector<Field>{{"x", DType::float32, {1}}}));
    EXPECT_EQ(fetch_as<float>(dataset, 1), std::vector<float>{-1.f});
    if (version > 1) {
      EXPECT_EQ(dataset.fingerprint(), digest);
    }
    digest = dataset.fingerprint();
    EXPECT_EQ(open(gzip(bytes)).fingerprint(), digest);
  }
}

TEST_F(Npy, ReadsWhatNumpyWrote) {
  // numpy.save("a.npy", numpy.array([[1, 2, 3], [4, 5, -6]], dtype="<i2")), NumPy 2.3
  const std::string bytes = std::string("\x93NUMPY\x01\x00\x76\x00", 10) +
                            "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }" +
                            std::string(58, ' ') + "\n" +
                            std::string("\x01\0\x02\0\x03\0\x04\0\x05\0\xfa\xff", 12);
  EXPECT_EQ(fetch_as<std::int16_t>(open(bytes), 1), (std::vector<std::int16_t>{4, 5, -6}));
}

TEST_F(Npy, ReadsEveryTypeInBothByteOrders) {
  struct Case {
    const char* code;
    DType dtype;
    int bytes;
  };
  const std::vector<Case> cases{
      {"b1", DType::boolean, 1}, {"u1", DType::uint8, 1},   {"i1", DType::int8, 1},
      {"u2", DType::uint16, 2},  {"i2", DType::int16, 2},   {"u4", DType::uint32, 4},
      {"i4", DType::int32, 4},   {"u8", DType::uint64, 8},  {"i8", DType::int64, 8},
      {"f2", DType::float16, 2}, {"f4", DType::float32, 4}, {"f8", DType::float64, 8}};
  for (const Case& c : cases) {
    const std::uint64_t value = 0x0102030405060701;
    for (const bool is_big : {false, true}) {
      const std::string order = c.bytes == 1 ? "|" : is_big ? ">" : "<";
      const NpyDataset dataset = open(
          npy(dictionary(order + c.code, "(1,)"), is_big ? big(value, c.bytes) : little(value, c.bytes)));
      EXPECT_EQ(dataset.fields()[0].dtype, c.dtype) << c.code;
      const std::string expected = little(value, c.bytes);
      const std::vector<char> got = fetch_as<char>(dataset, 0);
      EXPECT_EQ(std::string(got.begin(), got.end()), expected) << order << c.code;
    }
  }
}

TEST_F(Npy, ReadsHeadersInOtherSpellings) {
  const std::string data = little(7, 8);
  for (const std::string& text :
       {std::string(R"({"shape":(1L,),"descr":"<i8","fortran_order":False})"),
        std::string("  { 'fortran_order' : True , 'shape' : ( 1 , ) , 'descr' : '=i8' }   "),
        std::string("{'descr': 'i8', 'fortran_order': False, 'shape': (1,)}")}) {
    EXPECT_EQ(fetch_as<std::int64_t>(open(npy(text, data)), 0), std::vector<std::int64_t>{7}) << text;
  }
}

TEST_F(Npy, RefusesDamagedHeaders) {
  const std::vector<std::string> bad{
      "",
      "{",
      "{}",
      "{'descr': '<f4', 'fortran_order': False}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
      "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (x,)}",
      "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
      "{'descr': [('a', '<f4', 'fortran_order': False}"};
  for (const std::string& text : bad) {
    SCOPED_TRACE(text);
    expect_refused(ErrorCode::corruption, npy(text, "abcd"),
                   {".npy header", "descr, fortran_order and shape"});
  }
}

TEST_F(Npy, RefusesWrongMagicVersionAndSizes) {
  const std::string good = npy(dictionary("<f4", "(2,)"), "12345678");
  expect_refused(ErrorCode::corruption, "not an array", {"magic", "\\x93NUMPY", "numpy.save"});
  expect_refused(ErrorCode::corruption, "", {"an empty file"});
  expect_refused(ErrorCode::unsupported, npy(dictionary("<f4", "(2,)"), "12345678", 4),
                 {"version", "got 4.0"});
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    expect_refused(ErrorCode::corruption, good.substr(0, bytes), {});
  }
  expect_refused(ErrorCode::corruption, good + "x", {"float32 [2] and its header", "something appended"});
  expect_refused(ErrorCode::corruption, gzip(good + "x"), {"inflated size"});
  expect_refused(ErrorCode::corruption, npy(dictionary("<f4", "(4611686018427387904, 4)"), ""),
                 {"extents in the header"});
  expect_refused(ErrorCode::corruption, npy(dictionary("<f4", "(-1,)"), ""), {"extents in the header", "-1"});
  expect_refused(ErrorCode::corruption, npy(dictionary("<f4", "(1, 1, 1, 1, 1, 1, 1, 1, 1)"), "1234"),
                 {"at most 8"});
  expect_refused(ErrorCode::corruption, std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12),
                 {"at most 1 MiB"});
}

TEST_F(Npy, RefusesWhatIsNoTableOfNumbers) {
  expect_refused(ErrorCode::unsupported, npy(dictionary("<f4", "(2, 2)", true), std::string(16, 'x')),
                 {"Fortran order", "ascontiguousarray"});
  for (const std::string descr : {"<c8", "<U3", "|S4", "|O", "<M8[ns]", "<f16", "<V2", ""}) {
    expect_refused(ErrorCode::unsupported, npy(dictionary(descr, "(1,)"), "x"), {"element type", "astype"});
  }
  expect_refused(ErrorCode::unsupported,
                 npy("{'descr': [('a', '<i4'), ('b', '<f8')], 'fortran_order': False, 'shape': (1,)}", "x"),
                 {"a structured type"});
  expect_refused(ErrorCode::invalid_argument, npy(dictionary("<f4", "()"), "1234"), {"a scalar array"});
}

TEST_F(Npy, JoinsFilesOfEqualCounts) {
  const auto x = folder_.write("x.npy", npy(dictionary("|u1", "(2, 2)"), "abcd"));
  const auto y = folder_.write("y.npy", npy(dictionary("|u1", "(2,)"), "ef"));
  const auto z = folder_.write("z.npy", npy(dictionary("|u1", "(3,)"), "efg"));
  const NpyDataset both({{x, "x"}, {y, "y"}});
  EXPECT_EQ(fetch_as<char>(both, 1, 1), std::vector<char>{'f'});
  expect_error(ErrorCode::invalid_argument,
               {"ys that do not match xs", "2 as in " + x.string(), "got 3", z.string()}, [&] {
                 NpyDataset bad({{x, "x"}, {z, "y"}});
               });
}

}  // namespace
}  // namespace lockstep::loader
