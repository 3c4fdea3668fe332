// IDX, gzip and the folder of Fashion-MNIST.

#include "lockstep_loader/format/idx.h"

#include <cstdint>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/format/fashion_mnist.h"
#include "lockstep_loader/format/files_test.h"

namespace lockstep::loader {
namespace {

std::string header(unsigned type, std::initializer_list<std::uint32_t> extents) {
  std::string text = std::string(2, '\0') + static_cast<char>(type) + static_cast<char>(extents.size());
  for (std::uint32_t extent : extents) text += big(extent, 4);
  return text;
}

/// Three images of 2 × 2 and their labels.
const std::string kImages = header(8, {3, 2, 2}) + "abcdefghijkl";
const std::string kLabels = header(8, {3}) + std::string("\x07\x00\x02", 3);

class Idx : public testing::Test {
 protected:
  DatasetPtr open(const std::string& images, const std::string& labels) const {
    return std::make_shared<IdxDataset>(folder_.write("images", images), folder_.write("labels", labels));
  }
  void expect_refused(const std::string& images, std::initializer_list<std::string> words) const {
    expect_error(ErrorCode::corruption, words, [&] { open(images, kLabels); });
    expect_error(ErrorCode::corruption, {(folder_ / "images").string()}, [&] { open(images, kLabels); });
  }

  TempFolder folder_;
};

TEST_F(Idx, ReadsImagesAndLabels) {
  const DatasetPtr dataset = open(kImages, kLabels);
  EXPECT_EQ(dataset->size(), 3);
  EXPECT_EQ(dataset->fields(),
            (std::vector<Field>{{"image", DType::uint8, {2, 2}}, {"label", DType::uint8, {}}}));
  EXPECT_EQ(fetch_as<char>(*dataset, 1), (std::vector<char>{'e', 'f', 'g', 'h'}));
  EXPECT_EQ(fetch_as<std::uint8_t>(*dataset, 0, 1), std::vector<std::uint8_t>{7});
  EXPECT_EQ(fetch_as<std::uint8_t>(*dataset, 2, 1), std::vector<std::uint8_t>{2});
  EXPECT_NE(dataset->describe().find("images (3 records)"), std::string::npos);
}

TEST_F(Idx, GivesTheSameFromGzip) {
  const DatasetPtr plain = open(kImages, kLabels);
  const fingerprint::Digest digest = plain->fingerprint();
  const auto record = fetch(*plain, 2);
  const std::string two_members = gzip(kImages.substr(0, 9)) + gzip(kImages.substr(9));
  for (const std::string& images : {gzip(kImages), gzip(kImages, 0), two_members}) {
    const DatasetPtr dataset = open(images, gzip(kLabels));
    EXPECT_EQ(dataset->fingerprint(), digest);
    EXPECT_EQ(fetch(*dataset, 2), record);
  }
  std::string other = kImages;
  other.back() ^= 1;
  EXPECT_NE(open(other, kLabels)->fingerprint(), digest);
}

TEST_F(Idx, ConvertsEveryTypeFromBigEndian) {
  const auto one = [&](unsigned type, const std::string& elements) {
    return IdxDataset({{folder_.write("one", header(type, {1, 2}) + elements), "v"}});
  };
  EXPECT_EQ(fetch_as<std::int8_t>(one(9, "\xff\x01"), 0), (std::vector<std::int8_t>{-1, 1}));
  EXPECT_EQ(fetch_as<std::int16_t>(one(0xb, big(0xfffe, 2) + big(258, 2)), 0),
            (std::vector<std::int16_t>{-2, 258}));
  EXPECT_EQ(fetch_as<std::int32_t>(one(0xc, big(0xfffffffd, 4) + big(1 << 24, 4)), 0),
            (std::vector<std::int32_t>{-3, 1 << 24}));
  EXPECT_EQ(fetch_as<float>(one(0xd, big(0x3fc00000, 4) + big(0xc0000000, 4)), 0),
            (std::vector<float>{1.5f, -2.f}));
  const IdxDataset doubles = one(0xe, big(0x3ff8000000000000, 8) + big(0xc000000000000000, 8));
  EXPECT_EQ(fetch_as<double>(doubles, 0), (std::vector<double>{1.5, -2.}));
  EXPECT_EQ(doubles.fields(), (std::vector<Field>{{"v", DType::float64, {2}}}));
}

TEST_F(Idx, TakesEmptySets) { EXPECT_EQ(open(header(8, {0, 2, 2}), header(8, {0}))->size(), 0); }

TEST_F(Idx, RefusesWrongMagic) {
  expect_refused("", {"magic number", "an empty file"});
  expect_refused("PNG!....", {"magic number", "50 4e 47 21", "no IDX file"});
  expect_refused(header(7, {3}) + "abc", {"00 00 07 01"});
  expect_refused(std::string("\0\0\x08\0", 4), {"a rank of 1 to 8"});
  expect_refused(header(8, {1, 1, 1, 1, 1, 1, 1, 1, 1}) + "a", {"a rank of 1 to 8"});
  expect_refused(kImages.substr(0, 3), {"bytes 00 00 08"});
}

TEST_F(Idx, RefusesEveryTruncation) {
  for (std::size_t bytes = 0; bytes < kImages.size(); ++bytes) {
    expect_error(ErrorCode::corruption, {"images"}, [&] { open(kImages.substr(0, bytes), kLabels); });
    expect_error(ErrorCode::corruption, {"images"}, [&] { open(gzip(kImages.substr(0, bytes)), kLabels); });
  }
  expect_refused(kImages.substr(0, 27),
                 {"size", "28 bytes (uint8 [3, 2, 2] and its header)", "got 27 bytes", "truncated"});
  const std::string packed = gzip(kImages);
  for (std::size_t bytes = 2; bytes < packed.size(); ++bytes) {
    expect_error(ErrorCode::corruption, {"images"}, [&] { open(packed.substr(0, bytes), kLabels); });
  }
  expect_refused(packed.substr(0, packed.size() - 3), {"breaks off before its end"});
}

TEST_F(Idx, RefusesOversizedFiles) {
  expect_refused(kImages + "x", {"28 bytes", "got 29 bytes", "something appended"});
  expect_refused(gzip(kImages + "x"), {"inflated size", "28 bytes", "more than that"});
  expect_refused(gzip(kImages) + "x", {"1 more bytes after its end"});
  expect_refused(gzip(kImages) + std::string(512, '\0'), {"512 more bytes"});
  expect_refused(gzip(kImages) + gzip("x"), {"more than that"});
}

TEST_F(Idx, RefusesHeadersThatLie) {
  expect_refused(header(8, {0xffffffff, 0xffffffff, 0xffffffff}), {"extents in the header", "4294967295"});
  expect_refused(gzip(header(8, {0xffffffff}) + "x"),
                 {"inflated size", "4294967303 bytes", "compressed ones"});
  // 2^32 * 2^32 would overflow to 0 elements, which is what follows.
  expect_refused(header(8, {1u << 31, 1u << 31, 4}), {"extents in the header"});
}

TEST_F(Idx, RefusesDamagedGzip) {
  std::string packed = gzip(kImages);
  packed[packed.size() - 6] ^= 1;
  expect_refused(packed, {"compressed data", "incorrect data check"});
  packed = gzip(kImages);
  packed[12] ^= 0x55;
  EXPECT_THROW(open(packed, kLabels), Error);
}

TEST_F(Idx, StopsAGzipBombAtTheStatedSize) {
  const std::string bomb = gzip(kImages + std::string(50'000'000, '\0'), 9);
  ASSERT_LT(bomb.size(), 100'000u);
  expect_refused(bomb, {"28 bytes", "more than that"});
}

TEST_F(Idx, RefusesLabelsThatDoNotMatchImages) {
  expect_error(ErrorCode::invalid_argument,
               {"labels that do not match images", "expected 3 as in " + (folder_ / "images").string(),
                "got 2", (folder_ / "labels").string(), "same set"},
               [&] { open(kImages, header(8, {2}) + "ab"); });
}

TEST_F(Idx, NamesFilesThatCannotBeRead) {
  expect_error(ErrorCode::not_found, {(folder_ / "none").string(), "No such file"}, [&] {
    IdxDataset dataset({{folder_ / "none", "x"}});
  });
  expect_error(ErrorCode::io, {folder_.path().string(), "a regular file", "a folder"}, [&] {
    IdxDataset dataset({{folder_.path(), "x"}});
  });
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::io, {"a pipe or device"}, [&] { IdxDataset dataset({{folder_ / "pipe", "x"}}); });
}

TEST_F(Idx, OutlivesTheFilesName) {
  const DatasetPtr dataset = open(kImages, kLabels);
  std::filesystem::remove(folder_ / "images");
  EXPECT_EQ(fetch_as<char>(*dataset, 0), (std::vector<char>{'a', 'b', 'c', 'd'}));
}

TEST(FashionMnist, ReadsTheSetThatComesWithTheSources) {
  const auto train = open_fashion_mnist(LOCKSTEP_DATA_DIR "/fashion-mnist", Split::train);
  const auto test = open_fashion_mnist(LOCKSTEP_DATA_DIR "/fashion-mnist", Split::test);
  ASSERT_EQ(train->size(), 2000);
  ASSERT_EQ(test->size(), 500);
  EXPECT_EQ(train->fields(),
            (std::vector<Field>{{"image", DType::uint8, {28, 28}}, {"label", DType::uint8, {}}}));
  std::vector<std::uint8_t> labels;
  for (std::int64_t at = 0; at < 10; ++at) labels.push_back(fetch_as<std::uint8_t>(*train, at, 1)[0]);
  EXPECT_EQ(labels, (std::vector<std::uint8_t>{9, 0, 0, 3, 0, 2, 7, 2, 5, 5}));
  int sum = 0;
  for (std::uint8_t pixel : fetch_as<std::uint8_t>(*train, 0)) sum += pixel;
  EXPECT_EQ(sum, 76247);  // of the first ankle boot, as NumPy adds it
  EXPECT_NE(train->fingerprint(), test->fingerprint());
}

TEST(FashionMnist, IsTheSameFromManyThreads) {
  const auto set = open_fashion_mnist(LOCKSTEP_DATA_DIR "/fashion-mnist", Split::test);
  std::vector<std::vector<std::vector<std::byte>>> expected;
  for (std::int64_t at = 0; at < set->size(); ++at) expected.push_back(fetch(*set, at));
  std::vector<std::int64_t> same(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < same.size(); ++thread) {
    threads.emplace_back([&, thread] {
      for (std::int64_t at = 0; at < set->size(); ++at)
        same[thread] += fetch(*set, at) == expected[static_cast<std::size_t>(at)];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<std::int64_t>(4, set->size()));
}

TEST(FashionMnist, FindsPlainFilesAndNamesWhatIsMissing) {
  const TempFolder folder;
  expect_error(ErrorCode::not_found,
               {folder.path().string(), "t10k-images-idx3-ubyte or", "dataset-fashion-mnist"},
               [&] { open_fashion_mnist(folder.path(), Split::test); });
  folder.write("t10k-images-idx3-ubyte", kImages);
  folder.write("t10k-labels-idx1-ubyte.gz", gzip(kLabels));
  EXPECT_EQ(open_fashion_mnist(folder.path(), Split::test)->size(), 3);
  folder.write("train-images-idx3-ubyte", kLabels);
  folder.write("train-labels-idx1-ubyte", kImages);
  expect_error(ErrorCode::invalid_argument, {"images of rank 2", "exchanged"},
               [&] { open_fashion_mnist(folder.path(), Split::train); });
}

TEST(FashionMnist, PrefersTheInstalledSet) {
  const std::filesystem::path full = "/usr/share/datasets/fashion-mnist";
  const std::filesystem::path found = fashion_mnist_folder("elsewhere");
  EXPECT_EQ(found, std::filesystem::exists(full / "train-images-idx3-ubyte.gz") ? full : "elsewhere");
}

}  // namespace
}  // namespace lockstep::loader
