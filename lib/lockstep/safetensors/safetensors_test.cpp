#include "lockstep/safetensors/safetensors.h"

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdlib.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/safetensors/header_internal.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  fs::path file() const { return folder_ / "model.safetensors"; }
  fs::path write(const std::string& bytes) const {
    std::ofstream(file(), std::ios::binary) << bytes;
    return file();
  }
  /// A file with this header, its length in front, and `data`.
  fs::path write(const std::string& header, const std::string& data) const {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
    return write(bytes + header + data);
  }
  std::string bytes() const {
    std::ostringstream text;
    text << std::ifstream(file(), std::ios::binary).rdbuf();
    return text.str();
  }
  void expect_corruption(const std::string& header, const std::string& data, const std::string& words,
                         ErrorCode code = ErrorCode::corruption) const {
    const fs::path path = write(header, data);
    expect_error(code, words, [&] { SafetensorsFile{path}; });
    expect_error(code, path.string(), [&] { SafetensorsFile{path}; });
  }

 private:
  TemporaryFolder folder_;
};

const std::string kEightBytes(8, 'x');

// By hand from the format's description: what any reader must take, and what our writer must write.
const std::string kHeader =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
    R"("a":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]},)"
    R"("c":{"dtype":"U8","shape":[0],"data_offsets":[11,11]}})";

TEST_F(Safetensors, WritesTheFormatByteForByte) {
  const std::array<float, 2> b{1.0F, -2.0F};
  const std::array<std::uint8_t, 3> a{7, 8, 9};
  write_safetensors(file(),
                    {{"a", {a.data(), DType::uint8, {1, 3}}},
                     {"c", {nullptr, DType::uint8, {0}}},
                     {"b", {b.data(), DType::float32, {2}}}},
                    {{"format", "pt"}});
  std::string header = kHeader;
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string expected;
  for (int i = 0; i < 8; ++i) expected += static_cast<char>(header.size() >> (8 * i));
  expected += header;
  expected += std::string("\0\0\x80\x3f\0\0\0\xc0\7\10\11", 11);
  EXPECT_EQ(bytes(), expected);
}

TEST_F(Safetensors, ReadsWhatTheHeaderSays) {
  write(kHeader, std::string("\0\0\x80\x3f\0\0\0\xc0\7\10\11", 11));
  const SafetensorsFile weights(file());
  ASSERT_EQ(weights.tensors().size(), 3U);
  EXPECT_EQ(weights.tensors()[0].name, "a");
  EXPECT_EQ(weights.metadata().at("format"), "pt");
  EXPECT_EQ(weights.find("d"), nullptr);
  const SafetensorsEntry& entry = *weights.find("b");
  std::array<float, 2> b{};
  weights.read(entry, {b.data(), DType::float32, {2}});
  EXPECT_EQ(b[0], 1.0F);
  EXPECT_EQ(b[1], -2.0F);
  weights.read(*weights.find("c"), {nullptr, DType::uint8, {0}});
  expect_error(ErrorCode::invalid_argument, "float32 [2]", [&] {
    weights.read(entry, {b.data(), DType::float32, {1, 2}});
  });
  expect_error(ErrorCode::invalid_argument, "int32", [&] {
    weights.read(entry, {b.data(), DType::int32, {2}});
  });
  fs::resize_file(file(), fs::file_size(file()) - 8);
  expect_error(ErrorCode::corruption, "the file's end", [&] {
    weights.read(entry, {b.data(), DType::float32, {2}});
  });
}

TEST_F(Safetensors, EveryTypeGoesThereAndBack) {
  for (int number = 0; number < 256; ++number) {
    if (!is_dtype(static_cast<std::uint8_t>(number))) continue;
    const auto dtype = static_cast<DType>(number);
    std::array<unsigned char, 32> in{}, out{};
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<unsigned char>(i);
    write_safetensors(file(), {{"x", {in.data(), dtype, {2, 2}}}});
    const SafetensorsFile weights(file());
    EXPECT_EQ(weights.find("x")->dtype, dtype);
    weights.read(*weights.find("x"), {out.data(), dtype, {2, 2}});
    EXPECT_EQ(std::memcmp(in.data(), out.data(), 4 * dtype_bytes(dtype)), 0) << dtype_name(dtype);
  }
}

TEST_F(Safetensors, AnEmptyFileOfTensorsIsOne) {
  write_safetensors(file(), {});
  EXPECT_TRUE(SafetensorsFile(file()).tensors().empty());
  EXPECT_EQ(bytes(), std::string("\10\0\0\0\0\0\0\0{}      ", 16));
}

using SafetensorsErrors = Safetensors;

TEST_F(SafetensorsErrors, FilesThatAreNone) {
  expect_error(ErrorCode::not_found, file().string(), [&] { SafetensorsFile{file()}; });
  for (const std::string& text :
       {std::string(), std::string("short"), std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10),
        std::string("\3\0\0\0\0\0\0\0{}", 10)})
    expect_error(ErrorCode::corruption, "length of the header", [&] { SafetensorsFile{write(text)}; });
  expect_error(ErrorCode::invalid_argument, "something else", [&] { SafetensorsFile{file().parent_path()}; });
}

TEST_F(SafetensorsErrors, HeadersThatLie) {
  const auto one = [](const std::string& members) { return R"({"a":{)" + members + "}}"; };
  expect_corruption("[1, 2]", "", "a JSON object");
  expect_corruption("{\"a\"", "", "expected JSON");
  expect_corruption(
      R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
      kEightBytes, "'a' twice");
  expect_corruption(one(R"("dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8])"), kEightBytes,
                    "'dtype' twice");
  expect_corruption(one(R"("dtype":"U8","shape":[[8]],"data_offsets":[0,8])"), kEightBytes, "deeper nesting");
  expect_corruption(std::string(100'000, '['), "", "a JSON object");
  expect_corruption(R"({"__metadata__":{"a":1}})", "", "__metadata__ 'a'");
  expect_corruption(R"({"__metadata__":[]})", "", "an object");
  expect_corruption(R"({"a":[]})", "", "tensor a");
  expect_corruption(one(R"("shape":[8],"data_offsets":[0,8])"), kEightBytes, "a member dtype");
  expect_corruption(one(R"("dtype":"U8","data_offsets":[0,8])"), kEightBytes, "a member shape");
  expect_corruption(one(R"("dtype":"U8","shape":[8])"), kEightBytes, "a member data_offsets");
  expect_corruption(one(R"("dtype":"U8","shape":[8],"data_offsets":[0,8],"more":1)"), kEightBytes,
                    "dtype, shape and data_offsets");
  expect_corruption(one(R"("dtype":8,"shape":[8],"data_offsets":[0,8])"), kEightBytes, "a dtype's name");
  expect_corruption(one(R"("dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8])"), kEightBytes, "F8_E4M3",
                    ErrorCode::unsupported);
  expect_corruption(one(R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8])"), kEightBytes,
                    "at most 8 axes", ErrorCode::unsupported);
}

TEST_F(SafetensorsErrors, NumbersThatLie) {
  const auto one = [](const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":"U16","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  expect_corruption(one("[-4]", "[0,8]"), kEightBytes, "0 or more");
  expect_corruption(one("[4.0]", "[0,8]"), kEightBytes, "a whole number");
  expect_corruption(one("{}", "[0,8]"), kEightBytes, "a list");
  expect_corruption(one("[18446744073709551615]", "[0,8]"), kEightBytes, "below 2^63");
  expect_corruption(one("[4611686018427387904, 4]", "[0,8]"), kEightBytes, "2^62");
  expect_corruption(one("[4]", "[0]"), kEightBytes, "two numbers");
  expect_corruption(one("[4]", "8"), kEightBytes, "two numbers");
  expect_corruption(one("[4]", "[8,0]"), kEightBytes, "a range");
  expect_corruption(one("[4]", "[0,16]"), kEightBytes, "a range of the 8 bytes");
  expect_corruption(one("[4]", "[0,18446744073709551616]"), kEightBytes, "a whole number");
  expect_corruption(one("[3]", "[0,8]"), kEightBytes, "3 elements of uint16");
  expect_corruption(one("[3]", "[0,7]"), kEightBytes, "7 bytes");
  expect_corruption(one("[3]", "[2,8]"), kEightBytes, "from byte");
  expect_corruption(one("[3]", "[0,6]"), kEightBytes, "as the header says");
  expect_corruption(
      R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
      kEightBytes, "without a gap or an overlap");
}

TEST_F(SafetensorsErrors, WhatCannotBeWritten) {
  const std::uint8_t byte = 1;
  const ConstView view{&byte, DType::uint8, {1}};
  const auto refuses = [&](const std::vector<SafetensorsTensor>& tensors, const std::string& words) {
    expect_error(ErrorCode::invalid_argument, words, [&] { write_safetensors(file(), tensors); });
    EXPECT_FALSE(fs::exists(file()));
  };
  refuses({{"a", view}, {"a", view}}, "a twice");
  refuses({{"", view}}, "not empty");
  refuses({{"__metadata__", view}}, "__metadata__");
  refuses({{"\xff", view}}, "UTF-8");
  refuses({{"a", {&byte, DType::uint8, {1}, Device::cuda}}}, "of the CPU");
  expect_error(ErrorCode::not_found, "no-folder", [&] {
    write_safetensors(file().parent_path() / "no-folder" / "x", {{"a", view}});
  });
}

}  // namespace
}  // namespace lockstep
