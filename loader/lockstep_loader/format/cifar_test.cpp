// CIFAR-10 and CIFAR-100.

#include "lockstep_loader/format/cifar.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/format/files_test.h"

namespace lockstep::loader {
namespace {

std::string record(const std::string& labels, char pixel) {
  std::string image(3072, pixel);
  image[0] = 'R';
  image[1024] = 'G';
  image[3071] = 'B';
  return labels + image;
}

const std::string kTen = record("\x03", 'a') + record(std::string(1, '\0'), 'b') + record("\x09", 'c');

class Cifar : public testing::Test {
 protected:
  CifarDataset open(const std::string& bytes, CifarKind kind = CifarKind::cifar10) const {
    return CifarDataset({folder_.write("batch.bin", bytes)}, kind);
  }

  TempFolder folder_;
};

TEST_F(Cifar, ReadsTenClasses) {
  const CifarDataset dataset = open(kTen);
  EXPECT_EQ(dataset.size(), 3);
  EXPECT_EQ(dataset.fields(),
            (std::vector<Field>{{"image", DType::uint8, {3, 32, 32}}, {"label", DType::uint8, {}}}));
  const std::vector<char> image = fetch_as<char>(dataset, 2);
  EXPECT_EQ(image[0], 'R');
  EXPECT_EQ(image[1], 'c');
  EXPECT_EQ(image[1024], 'G');
  EXPECT_EQ(image[3071], 'B');
  EXPECT_EQ(fetch_as<std::uint8_t>(dataset, 0, 1), std::vector<std::uint8_t>{3});
  EXPECT_EQ(fetch_as<std::uint8_t>(dataset, 2, 1), std::vector<std::uint8_t>{9});
}

TEST_F(Cifar, ReadsAHundredClasses) {
  const CifarDataset dataset = open(record("\x13\x63", 'a') + record("\x01\x02", 'b'), CifarKind::cifar100);
  ASSERT_EQ(dataset.fields().size(), 3u);
  EXPECT_EQ(dataset.fields()[2].name, "coarse_label");
  EXPECT_EQ(fetch_as<std::uint8_t>(dataset, 0, 1), std::vector<std::uint8_t>{99});
  EXPECT_EQ(fetch_as<std::uint8_t>(dataset, 0, 2), std::vector<std::uint8_t>{19});
  EXPECT_EQ(fetch_as<char>(dataset, 1)[5], 'b');
}

TEST_F(Cifar, JoinsFilesPlainAndGzip) {
  const auto plain = folder_.write("a.bin", kTen);
  const auto packed = folder_.write("b.bin", gzip(record("\x05", 'z')));
  const CifarDataset dataset({plain, packed}, CifarKind::cifar10);
  ASSERT_EQ(dataset.size(), 4);
  EXPECT_EQ(fetch_as<std::uint8_t>(dataset, 3, 1), std::vector<std::uint8_t>{5});
  EXPECT_NE(dataset.fingerprint(), CifarDataset({packed, plain}, CifarKind::cifar10).fingerprint());
  EXPECT_EQ(CifarDataset({plain}, CifarKind::cifar10).fingerprint(), open(gzip(kTen)).fingerprint());
}

TEST_F(Cifar, RefusesWhatIsNoCifar) {
  const std::string path = (folder_ / "batch.bin").string();
  expect_error(ErrorCode::corruption, {path, "a multiple of 3073 bytes", "9218 bytes"},
               [&] { open(kTen.substr(1)); });
  expect_error(ErrorCode::corruption, {path, "a multiple of 3073"}, [&] { open(kTen + "x"); });
  expect_error(ErrorCode::corruption, {path, "a multiple of 3074 bytes (cifar100 records)"},
               [&] { open(kTen, CifarKind::cifar100); });
  expect_error(ErrorCode::corruption, {path, "label of record 1", "0 to 9", "got 10", "exchanged"},
               [&] { open(record("\x01", 'a') + record("\x0a", 'b')); });
  expect_error(ErrorCode::corruption, {"coarse_label of record 0", "0 to 19", "got 20"},
               [&] { open(record("\x14\x01", 'a'), CifarKind::cifar100); });
  expect_error(ErrorCode::corruption, {path, "breaks off"}, [&] { open(gzip(kTen).substr(0, 40)); });
  expect_error(ErrorCode::invalid_argument, {"at least one"},
               [] { CifarDataset dataset({}, CifarKind::cifar10); });
  expect_error(ErrorCode::not_found, {"none.bin"},
               [&] { CifarDataset dataset({folder_ / "none.bin"}, CifarKind::cifar10); });
}

TEST_F(Cifar, StopsAGzipBombAtItsLimit) {
  const auto bomb = folder_.write("bomb", gzip(std::string(3073 * 1000, '\0')));
  EXPECT_EQ(CifarDataset({bomb}, CifarKind::cifar10, 3073 * 1000).size(), 1000);
  expect_error(ErrorCode::unsupported, {"inflated size", "at most 3072999 bytes", "max_inflated_bytes"},
               [&] { CifarDataset dataset({bomb}, CifarKind::cifar10, 3073 * 1000 - 1); });
}

}  // namespace
}  // namespace lockstep::loader
