// Folders of images: listing, decoding, fitting, and bad files.

#include "lockstep_loader/format/image_folder.h"

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/format/files_test.h"
#include "lockstep_loader/format/image_internal.h"
#include "lockstep_loader/format/images_test.h"

namespace lockstep::loader {
namespace {

constexpr int kHeight = 6;
constexpr int kWidth = 9;

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

/// What libjpeg-turbo alone gives.
std::vector<std::uint8_t> decode_bare(const std::string& jpeg, int height, int width, int format,
                                      int channels) {
  tjhandle decoder = tjInitDecompress();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width * channels));
  EXPECT_EQ(tjDecompress2(decoder, reinterpret_cast<const unsigned char*>(jpeg.data()), jpeg.size(),
                          pixels.data(), width, 0, height, format, TJFLAG_ACCURATEDCT),
            0);
  tjDestroy(decoder);
  return pixels;
}

class Images : public testing::Test {
 protected:
  ImageFolder open(ImageFolderOptions options = {.height = kHeight, .width = kWidth}) const {
    return ImageFolder(folder_.path(), options);
  }
  void expect_bad(const std::string& bytes, std::initializer_list<std::string> words,
                  ErrorCode code = ErrorCode::corruption) const {
    const std::string path = folder_.write("a/bad.png", bytes).string();
    const ImageFolder folder = open();
    expect_error(code, words, [&] { fetch(folder, 0); });
    expect_error(code, {path}, [&] { fetch(folder, 0); });
  }

  const std::string pixels_ = picture(kHeight, kWidth);
  const std::string png_ = encode_png(pixels_, kHeight, kWidth);
  const std::string jpeg_ = encode_jpeg(pixels_, kHeight, kWidth);
  TempFolder folder_;
};

TEST_F(Images, ListsClassesAndFilesInByteOrder) {
  for (const char* name : {"b/2.png", "b/10.png", "a/sub/deep/x.PNG", "a/z.png", "B/1.png", "a/notes.txt",
                           "a/.hidden.png", ".git/x.png"}) {
    folder_.write(name, png_);
  }
  folder_.write("readme.txt", "not a class");
  const ImageFolder folder = open();
  EXPECT_EQ(folder.classes(), (std::vector<std::string>{"B", "a", "b"}));
  ASSERT_EQ(folder.size(), 5);
  std::vector<std::int64_t> labels;
  for (std::int64_t at = 0; at < 5; ++at) labels.push_back(fetch_as<std::int64_t>(folder, at, 1)[0]);
  EXPECT_EQ(labels, (std::vector<std::int64_t>{0, 1, 1, 2, 2}));
  EXPECT_EQ(folder.fields(),
            (std::vector<Field>{{"image", DType::uint8, {kHeight, kWidth, 3}}, {"label", DType::int64, {}}}));
  folder_.write("b/2.png", "bad");
  expect_error(ErrorCode::corruption, {"b/2.png"}, [&] { fetch(folder, 4); });  // after b/10.png
}

TEST_F(Images, DecodesPngExactly) {
  folder_.write("a/x.png", png_);
  EXPECT_EQ(fetch_as<std::uint8_t>(open(), 0), bytes_of(pixels_));
  folder_.write("a/x.png", encode_png(pixels_, kHeight, kWidth, SPNG_COLOR_TYPE_TRUECOLOR, 8, true));
  EXPECT_EQ(fetch_as<std::uint8_t>(open(), 0), bytes_of(pixels_));
}

TEST_F(Images, DecodesEveryKindOfPng) {
  const std::string gray = picture(kHeight, kWidth, 1);
  folder_.write("a/x.png", encode_png(gray, kHeight, kWidth, SPNG_COLOR_TYPE_GRAYSCALE));
  std::vector<std::uint8_t> tripled;
  for (std::uint8_t value : bytes_of(gray)) tripled.insert(tripled.end(), 3, value);
  EXPECT_EQ(fetch_as<std::uint8_t>(open(), 0), tripled);
  EXPECT_EQ(fetch_as<std::uint8_t>(open({.height = kHeight, .width = kWidth, .grayscale = true}), 0),
            bytes_of(gray));

  std::string alpha;
  std::string deep;
  for (std::size_t at = 0; at < pixels_.size(); ++at) {
    alpha.push_back(pixels_[at]);
    if (at % 3 == 2) alpha.push_back('\x10');
    deep += {'\x7f', pixels_[at]};  // SPNG_FMT_PNG takes 16 bits in the machine's order
  }
  folder_.write("a/x.png", encode_png(alpha, kHeight, kWidth, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA));
  EXPECT_EQ(fetch_as<std::uint8_t>(open(), 0), bytes_of(pixels_));
  folder_.write("a/x.png", encode_png(deep, kHeight, kWidth, SPNG_COLOR_TYPE_TRUECOLOR, 16));
  EXPECT_EQ(fetch_as<std::uint8_t>(open(), 0), bytes_of(pixels_));
}

TEST_F(Images, ConvertsPngToGrayByTheDocumentedFormula) {
  folder_.write("a/x.png", png_);
  const auto gray = fetch_as<std::uint8_t>(open({.height = kHeight, .width = kWidth, .grayscale = true}), 0);
  const auto rgb = bytes_of(pixels_);
  ASSERT_EQ(gray.size(), rgb.size() / 3);
  for (std::size_t at = 0; at < gray.size(); ++at) {
    EXPECT_EQ(gray[at], (299 * rgb[3 * at] + 587 * rgb[3 * at + 1] + 114 * rgb[3 * at + 2] + 500) / 1000);
  }
}

TEST_F(Images, DecodesJpegAsTheDecoderDoes) {
  for (const std::string& jpeg : {jpeg_, encode_jpeg(pixels_, kHeight, kWidth, TJPF_RGB, TJFLAG_PROGRESSIVE),
                                  encode_jpeg(pixels_, kHeight, kWidth, TJPF_RGB, 0, TJSAMP_GRAY)}) {
    folder_.write("a/x.jpg", jpeg);
    EXPECT_EQ(fetch_as<std::uint8_t>(open(), 0), decode_bare(jpeg, kHeight, kWidth, TJPF_RGB, 3));
    EXPECT_EQ(fetch_as<std::uint8_t>(open({.height = kHeight, .width = kWidth, .grayscale = true}), 0),
              decode_bare(jpeg, kHeight, kWidth, TJPF_GRAY, 1));
  }
}

TEST_F(Images, TellsKindsByContentNotByName) {
  folder_.write("a/x.png", jpeg_);
  folder_.write("a/y.jpeg", png_);
  EXPECT_EQ(fetch_as<std::uint8_t>(open(), 1), bytes_of(pixels_));
  EXPECT_EQ(fetch_as<std::uint8_t>(open(), 0), decode_bare(jpeg_, kHeight, kWidth, TJPF_RGB, 3));
}

TEST_F(Images, CropsTheCentre) {
  folder_.write("a/x.png", png_);
  const auto rgb = bytes_of(pixels_);
  std::vector<std::uint8_t> expected;
  for (int y = 1; y < 4; ++y) {    // (6 - 3) / 2 = 1
    for (int x = 2; x < 6; ++x) {  // (9 - 4) / 2 = 2
      expected.insert(expected.end(), &rgb[static_cast<std::size_t>(3 * (y * kWidth + x))],
                      &rgb[static_cast<std::size_t>(3 * (y * kWidth + x))] + 3);
    }
  }
  EXPECT_EQ(fetch_as<std::uint8_t>(open({.height = 3, .width = 4, .fit = ImageFit::center_crop}), 0),
            expected);
  expect_error(ErrorCode::corruption, {"x.png", "at least 7 x 4", "6 x 9"},
               [&] { fetch(open({.height = 7, .width = 4, .fit = ImageFit::center_crop}), 0); });
}

TEST_F(Images, ResizesByTheDocumentedFormula) {
  const std::string small("\x00\x64\xc8\xff", 4);  // 0 100; 200 255
  const auto resize = [](const std::string& in, int height, int width, int to_height, int to_width) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(to_height * to_width));
    resize_bilinear({reinterpret_cast<const std::byte*>(in.data()), height, width, 1}, to_height, to_width,
                    reinterpret_cast<std::byte*>(out.data()));
    return out;
  };
  EXPECT_EQ(resize(small, 2, 2, 2, 2), bytes_of(small));
  EXPECT_EQ(resize(small, 2, 2, 1, 1), std::vector<std::uint8_t>{139});  // 138.75
  EXPECT_EQ(resize(small, 2, 2, 1, 4), (std::vector<std::uint8_t>{100, 119, 158, 178}));
  EXPECT_EQ(resize(small, 2, 2, 4, 1), (std::vector<std::uint8_t>{50, 94, 183, 228}));
  EXPECT_EQ(resize(std::string(1, '\x2a'), 1, 1, 3, 2), std::vector<std::uint8_t>(6, 42));
}

TEST_F(Images, ResizesFiles) {
  folder_.write("a/x.png", png_);
  folder_.write("a/y.jpg", jpeg_);
  const ImageFolder folder = open({.height = 4, .width = 5, .fit = ImageFit::resize});
  std::vector<std::uint8_t> expected(4 * 5 * 3);
  resize_bilinear({reinterpret_cast<const std::byte*>(pixels_.data()), kHeight, kWidth, 3}, 4, 5,
                  reinterpret_cast<std::byte*>(expected.data()));
  EXPECT_EQ(fetch_as<std::uint8_t>(folder, 0), expected);
  EXPECT_EQ(fetch(folder, 1), fetch(folder, 1));
}

TEST_F(Images, NamesBadFilesAndTheReason) {
  expect_bad("", {"PNG or JPEG", "an empty file"});
  expect_bad("GIF89a", {"PNG or JPEG", "another beginning"});
  expect_bad(encode_png(picture(5, kWidth), 5, kWidth), {"image size", "6 x 9", "got 5 x 9"});
  std::string damaged = png_;
  damaged[damaged.size() - 20] ^= 1;
  expect_bad(damaged, {"PNG"});
  expect_bad("\xff\xd8\xff\xe0 no picture", {"JPEG"});
}

TEST_F(Images, RefusesEveryTruncatedImage) {
  for (const std::string& whole : {png_, jpeg_}) {
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      SCOPED_TRACE(bytes);
      expect_bad(whole.substr(0, bytes), {});
    }
  }
}

TEST_F(Images, RefusesColoursThatItCannotConvert) {
  const std::string cmyk =
      encode_jpeg(picture(kHeight, kWidth, 4), kHeight, kWidth, TJPF_CMYK, 0, TJSAMP_444);
  expect_bad(cmyk, {"CMYK", "Convert"}, ErrorCode::unsupported);
}

TEST_F(Images, RefusesImagesAboveThePixelLimit) {
  folder_.write("a/x.png", png_);
  EXPECT_EQ(fetch(open({.height = 2, .width = 2, .fit = ImageFit::resize, .max_pixels = kHeight * kWidth}), 0)
                .size(),
            2u);
  expect_error(ErrorCode::corruption, {"1 to 53 pixels", "6 x 9"}, [&] {
    fetch(open({.height = 2, .width = 2, .fit = ImageFit::resize, .max_pixels = kHeight * kWidth - 1}), 0);
  });
}

TEST_F(Images, RefusesFoldersThatCannotWork) {
  expect_error(ErrorCode::not_found, {"nowhere"},
               [] { ImageFolder folder("nowhere", {.height = 1, .width = 1}); });
  expect_error(ErrorCode::invalid_argument, {"one folder a class"}, [&] { open(); });
  folder_.write("a/x.png", png_);
  expect_error(ErrorCode::invalid_argument, {"height and width"}, [&] { open({.height = 0, .width = 3}); });
  folder_.write("b/readme.txt", "nothing");
  expect_error(ErrorCode::invalid_argument, {(folder_ / "b").string(), "at least one .png"}, [&] { open(); });
  folder_.write("b/y.webp", "RIFF");
  expect_error(ErrorCode::unsupported, {"y.webp", "PNG or JPEG"}, [&] { open(); });
  expect_error(ErrorCode::io, {"x.png", "Not a directory"},
               [&] { ImageFolder folder(folder_ / "a/x.png", {.height = 1, .width = 1}); });
}

TEST_F(Images, SurvivesAFileThatVanishes) {
  folder_.write("a/x.png", png_);
  folder_.write("a/y.png", png_);
  const ImageFolder folder = open();
  std::filesystem::remove(folder_ / "a/x.png");
  expect_error(ErrorCode::not_found, {"a/x.png"}, [&] { fetch(folder, 0); });
  EXPECT_EQ(fetch_as<std::uint8_t>(folder, 1), bytes_of(pixels_));
}

TEST_F(Images, FingerprintSeesNamesContentAndOptions) {
  folder_.write("a/x.png", png_);
  folder_.write("b/y.jpg", jpeg_);
  const fingerprint::Digest digest = open().fingerprint();
  EXPECT_EQ(open().fingerprint(), digest);
  EXPECT_NE(open({.height = kHeight, .width = kWidth, .fit = ImageFit::resize}).fingerprint(), digest);
  std::string changed = png_;
  changed.back() ^= 1;
  folder_.write("a/x.png", changed);
  EXPECT_NE(open().fingerprint(), digest);
  folder_.write("a/x.png", png_);
  std::filesystem::rename(folder_ / "a/x.png", folder_ / "a/z.png");
  EXPECT_NE(open().fingerprint(), digest);
}

TEST_F(Images, AreTheSameFromManyThreads) {
  folder_.write("a/bad.png", "bad");
  for (int at = 0; at < 12; ++at) folder_.write("a/i" + std::to_string(100 + at), "");
  for (int at = 0; at < 12; ++at)
    folder_.write("b/" + std::to_string(100 + at) + (at % 2 != 0 ? ".png" : ".jpg"),
                  at % 2 != 0 ? png_ : jpeg_);
  const ImageFolder folder = open();
  std::vector<std::vector<std::vector<std::byte>>> expected;
  for (std::int64_t at = 1; at < folder.size(); ++at) expected.push_back(fetch(folder, at));
  std::vector<std::size_t> same(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < same.size(); ++thread) {
    threads.emplace_back([&, thread] {
      for (int round = 0; round < 5; ++round) {
        EXPECT_THROW(fetch(folder, 0), Error);
        for (std::size_t at = 0; at < expected.size(); ++at)
          same[thread] += fetch(folder, static_cast<std::int64_t>(at) + 1) == expected[at];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<std::size_t>(4, 5 * expected.size()));
}

}  // namespace
}  // namespace lockstep::loader
