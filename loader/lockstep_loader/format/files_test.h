#pragma once
// Files that the tests of formats make.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <unistd.h>

#include <gtest/gtest.h>
#include <zlib.h>

#include "lockstep/base/temporary_folder_test.h"

namespace lockstep::loader {

/// A folder of the test's own, removed at its end.
class TempFolder : public TemporaryFolder {
 public:
  /// Writes a file, making its folders, and returns its path.
  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    const std::filesystem::path path = *this / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(file.good()) << path;
    return path;
  }
};

/// `bytes` as one gzip member.
inline std::string gzip(std::string_view bytes, int level = 6) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, level, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// A number's bytes, least significant first or last.
inline std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int at = 0; at < bytes; ++at) text.push_back(static_cast<char>(value >> (8 * at)));
  return text;
}
inline std::string big(std::uint64_t value, int bytes) {
  std::string text = little(value, bytes);
  return {text.rbegin(), text.rend()};
}

}  // namespace lockstep::loader
