// Transforms: fields, draws by record, and golden pixels.

#include "lockstep_loader/transform/transform.h"

#include <bit>
#include <cstdint>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/transform/image_transforms.h"

namespace lockstep::loader {
namespace {

constexpr std::int64_t kRecords = 64;

/// Images uint8 [2, 3, 4] that count through, labels int64 [].
DatasetPtr images() {
  std::vector<std::uint8_t> pixels(kRecords * 24);
  std::iota(pixels.begin(), pixels.end(), std::uint8_t{1});
  std::vector<std::int64_t> labels(kRecords);
  std::iota(labels.begin(), labels.end(), 100);
  return InMemoryDataset::copy_of({{"image", {pixels.data(), DType::uint8, {kRecords, 2, 3, 4}}},
                                   {"label", {labels.data(), DType::int64, {kRecords}}}});
}

random::RecordKey key_of(std::int64_t record, std::uint32_t epoch = 0) {
  return {.seed = 5, .epoch = epoch, .record = record};
}

TEST(Transform, PutsOutputsWhereTheFirstInputWas) {
  const DatasetPtr base = images();
  Transform sum{"sum",
                {"label", "image"},
                {{"sum", DType::int64, {}}, {"copy", DType::int64, {}}},
                [](std::span<const ConstView> in, random::Generator&, std::span<const View> out) {
                  std::int64_t total = *static_cast<const std::int64_t*>(in[0].data);
                  *static_cast<std::int64_t*>(out[1].data) = total;
                  for (std::int64_t at = 0; at < in[1].shape.elements(); ++at)
                    total += static_cast<const std::uint8_t*>(in[1].data)[at];
                  *static_cast<std::int64_t*>(out[0].data) = total;
                }};
  const TransformDataset both(base, sum);
  EXPECT_EQ(both.fields(), (std::vector<Field>{{"sum", DType::int64, {}}, {"copy", DType::int64, {}}}));
  EXPECT_EQ(fetch_as<std::int64_t>(both, 0), std::vector<std::int64_t>{100 + 24 * 25 / 2});
  EXPECT_EQ(fetch_as<std::int64_t>(both, 3, 1), std::vector<std::int64_t>{103});

  const TransformDataset floats(base, to_float(*base, "image"));
  EXPECT_EQ(floats.fields(),
            (std::vector<Field>{{"image", DType::float32, {2, 3, 4}}, {"label", DType::int64, {}}}));
  EXPECT_EQ(fetch(floats, 9)[1], fetch(*base, 9)[1]);
}

TEST(Transform, MayMakeFieldsOfNothing) {
  Transform noise{"noise",
                  {},
                  {{"noise", DType::uint64, {}}},
                  [](std::span<const ConstView>, random::Generator& random, std::span<const View> out) {
                    *static_cast<std::uint64_t*>(out[0].data) = random.next_u64();
                  },
                  7};
  const TransformDataset dataset(images(), noise);
  EXPECT_EQ(dataset.fields()[0].name, "noise");
  EXPECT_EQ(dataset.fields().size(), 3u);
  EXPECT_EQ(fetch_as<std::uint64_t>(dataset, 2, 0, key_of(2))[0], random::Generator(key_of(2), 7).next_u64());
}

TEST(Transform, DependsOnTheKeyAlone) {
  const DatasetPtr base = images();
  const auto dataset = std::make_shared<TransformDataset>(base, random_crop(*base, "image", 3, 4, 2, 1));
  std::vector<std::vector<std::vector<std::byte>>> expected;
  for (std::int64_t at = 0; at < kRecords; ++at) expected.push_back(fetch(*dataset, at, key_of(at)));
  std::vector<int> same(3, 0);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < same.size(); ++thread) {
    threads.emplace_back([&, thread] {
      for (std::int64_t at = kRecords; at-- > 0;)
        same[thread] += fetch(*dataset, at, key_of(at)) == expected[static_cast<std::size_t>(at)];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<int>(3, kRecords));

  int other_epoch = 0;
  for (std::int64_t at = 0; at < kRecords; ++at)
    other_epoch += fetch(*dataset, at, key_of(at, 1)) == expected[static_cast<std::size_t>(at)];
  EXPECT_LT(other_epoch, kRecords / 2);
}

TEST(Transform, ATwinThatKeepsStateIsSeen) {
  // What a worker's own generator does: the draw depends on what was asked before.
  auto counter = std::make_shared<std::uint64_t>(0);
  Transform stateful{"stateful",
                     {},
                     {{"draw", DType::uint64, {}}},
                     [counter](std::span<const ConstView>, random::Generator&, std::span<const View> out) {
                       *static_cast<std::uint64_t*>(out[0].data) = ++*counter;
                     }};
  const TransformDataset dataset(images(), stateful);
  EXPECT_NE(fetch(dataset, 1, key_of(1)), fetch(dataset, 1, key_of(1)));
}

TEST(Transform, StreamsDrawApart) {
  const DatasetPtr base = images();
  const TransformDataset one(base, random_crop(*base, "image", 3, 4, 2, 1));
  const TransformDataset two(base, random_crop(*base, "image", 3, 4, 2, 2));
  int same = 0;
  for (std::int64_t at = 0; at < kRecords; ++at)
    same += fetch(one, at, key_of(at)) == fetch(two, at, key_of(at));
  EXPECT_LT(same, kRecords / 2);
  EXPECT_NE(one.fingerprint(), two.fingerprint());
}

TEST(Transform, FingerprintSeesParameters) {
  const DatasetPtr base = images();
  const auto of = [&](Transform transform) {
    return TransformDataset(base, std::move(transform)).fingerprint();
  };
  EXPECT_EQ(of(to_float(*base, "image", 0.5f, 2.f)), of(to_float(*base, "image", 0.5f, 2.f)));
  EXPECT_NE(of(to_float(*base, "image", 0.5f, 2.f)), of(to_float(*base, "image", 0.25f, 2.f)));
  EXPECT_NE(of(random_horizontal_flip(*base, "image", 0.5, 1)),
            of(random_horizontal_flip(*base, "image", 0.25, 1)));
  EXPECT_NE(of(to_float(*base, "image")), base->fingerprint());
  EXPECT_EQ(TransformDataset(base, to_float(*base, "image")).describe(),
            "to_float(0x0p+0, 0x1p+0) of in memory (64 records)");
}

TEST(Transform, RefusesWhatCannotWork) {
  const DatasetPtr base = images();
  const auto nothing = [](std::span<const ConstView>, random::Generator&, std::span<const View>) {};
  expect_error(ErrorCode::not_found, {"one of image, label", "got x"}, [&] {
    TransformDataset dataset(base, {"t", {"x"}, {{"y", DType::uint8, {}}}, nothing});
  });
  expect_error(ErrorCode::invalid_argument, {"transform t", "'label'", "once"}, [&] {
    TransformDataset dataset(base, {"t", {"image"}, {{"label", DType::uint8, {}}}, nothing});
  });
  expect_error(ErrorCode::invalid_argument, {"outputs"}, [&] {
    TransformDataset dataset(base, {"t", {"image"}, {}, nothing});
  });
  expect_error(ErrorCode::invalid_argument, {"function"}, [&] {
    TransformDataset dataset(base, {"t", {"image"}, {{"y", DType::uint8, {}}}, nullptr});
  });
  expect_error(ErrorCode::invalid_argument, {"name"}, [&] {
    TransformDataset dataset(base, {"", {"image"}, {{"y", DType::uint8, {}}}, nothing});
  });
  expect_error(ErrorCode::invalid_argument, {"a null pointer"},
               [&] { TransformDataset dataset(nullptr, to_float(*base, "image")); });
}

TEST(ToFloat, RoundsEachStep) {
  std::vector<std::uint8_t> all(256);
  std::iota(all.begin(), all.end(), std::uint8_t{0});
  const auto base = InMemoryDataset::copy_of({{"image", {all.data(), DType::uint8, {1, 16, 16}}}});
  const auto plain = fetch_as<float>(TransformDataset(base, to_float(*base, "image")), 0);
  const auto scaled = fetch_as<float>(TransformDataset(base, to_float(*base, "image", 0.2860f, 0.3530f)), 0);
  int fused_differs = 0;
  for (int x = 0; x < 256; ++x) {
    const volatile float unit = static_cast<float>(x) / 255.f;
    const volatile float centred = unit - 0.2860f;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(plain[static_cast<std::size_t>(x)]),
              std::bit_cast<std::uint32_t>(static_cast<float>(unit)));
    EXPECT_EQ(scaled[static_cast<std::size_t>(x)], centred / 0.3530f);
    fused_differs += scaled[static_cast<std::size_t>(x)] !=
                     static_cast<float>(x) * (1.f / (255.f * 0.3530f)) - 0.2860f / 0.3530f;
  }
  EXPECT_GT(fused_differs, 0);  // the usual shortcut gives other bits
  EXPECT_EQ(std::bit_cast<std::uint32_t>(scaled[0]), 0xbf4f6929u);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(scaled[255]),
            0x4001734fu);  // both as NumPy computes them in float32
}

TEST(Normalize, TakesOnePairAChannel) {
  const std::vector<std::uint8_t> pixels{0, 255, 51, 102, 0, 255};
  const auto planar = InMemoryDataset::copy_of({{"image", {pixels.data(), DType::uint8, {1, 3, 1, 2}}}});
  const auto interleaved = InMemoryDataset::copy_of({{"image", {pixels.data(), DType::uint8, {1, 1, 2, 3}}}});
  const std::vector<float> mean{0.f, 0.5f, 1.f};
  const std::vector<float> std{1.f, 0.5f, 2.f};
  EXPECT_EQ(
      fetch_as<float>(TransformDataset(planar, normalize(*planar, "image", mean, std, ImageLayout::planar)),
                      0),
      (std::vector<float>{0.f, 1.f, (51 / 255.f - 0.5f) / 0.5f, (102 / 255.f - 0.5f) / 0.5f, -0.5f, 0.f}));
  EXPECT_EQ(fetch_as<float>(TransformDataset(interleaved, normalize(*interleaved, "image", mean, std,
                                                                    ImageLayout::interleaved)),
                            0),
            (std::vector<float>{0.f, 1.f, (51 / 255.f - 1.f) / 2.f, 102 / 255.f, -1.f, 0.f}));
}

TEST(Normalize, RefusesWhatCannotWork) {
  const DatasetPtr base = images();
  expect_error(ErrorCode::invalid_argument, {"2 of each", "3 and 3"}, [&] {
    normalize(*base, "image", {0, 0, 0}, {1, 1, 1}, ImageLayout::planar);
  });
  expect_error(ErrorCode::invalid_argument, {"2 and 1"}, [&] {
    normalize(*base, "image", {0, 0}, {1}, ImageLayout::planar);
  });
  expect_error(ErrorCode::invalid_argument, {"std", "positive", "got 0"}, [&] {
    normalize(*base, "image", {0, 0}, {1, 0}, ImageLayout::planar);
  });
  expect_error(ErrorCode::invalid_argument, {"mean", "finite"}, [&] { to_float(*base, "image", 1.f / 0.f); });
  expect_error(ErrorCode::invalid_argument, {"dtype of 'label'", "uint8", "int64"},
               [&] { to_float(*base, "label"); });
}

TEST(Flip, MirrorsRowsInBothLayouts) {
  const std::vector<std::uint16_t> pixels{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const auto planar = InMemoryDataset::copy_of({{"image", {pixels.data(), DType::uint16, {1, 2, 2, 3}}}});
  EXPECT_EQ(
      fetch_as<std::uint16_t>(TransformDataset(planar, random_horizontal_flip(*planar, "image", 1, 0)), 0),
      (std::vector<std::uint16_t>{3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10}));
  const auto flat = InMemoryDataset::copy_of({{"image", {pixels.data(), DType::uint16, {1, 2, 6}}}});
  EXPECT_EQ(fetch_as<std::uint16_t>(TransformDataset(flat, random_horizontal_flip(*flat, "image", 1, 0)), 0),
            (std::vector<std::uint16_t>{6, 5, 4, 3, 2, 1, 12, 11, 10, 9, 8, 7}));
  const auto colours = InMemoryDataset::copy_of({{"image", {pixels.data(), DType::uint16, {1, 2, 2, 3}}}});
  EXPECT_EQ(
      fetch_as<std::uint16_t>(TransformDataset(colours, random_horizontal_flip(*colours, "image", 1, 0,
                                                                               ImageLayout::interleaved)),
                              0),
      (std::vector<std::uint16_t>{4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9}));
}

TEST(Flip, FlipsWithItsProbability) {
  const DatasetPtr base = images();
  const auto flipped = [&](double p) {
    const TransformDataset dataset(base, random_horizontal_flip(*base, "image", p, 3));
    int count = 0;
    for (std::int64_t epoch = 0; epoch < 40; ++epoch) {
      for (std::int64_t at = 0; at < kRecords; ++at)
        count += fetch(dataset, at, key_of(at, static_cast<std::uint32_t>(epoch))) != fetch(*base, at);
    }
    return count;
  };
  EXPECT_EQ(flipped(0), 0);
  EXPECT_EQ(flipped(1), 40 * kRecords);
  EXPECT_NEAR(flipped(0.25), 640, 90);  // four standard deviations of a binomial count
  expect_error(ErrorCode::invalid_argument, {"p: expected 0 to 1"},
               [&] { random_horizontal_flip(*base, "image", 1.5, 3); });
  expect_error(ErrorCode::invalid_argument, {"[H, W] or [C, H, W]"},
               [&] { random_horizontal_flip(*base, "label", 0.5, 3); });
}

TEST(Crop, TakesTheDrawnWindow) {
  const DatasetPtr base = images();
  const TransformDataset dataset(base, random_crop(*base, "image", 2, 3, 1, 4));
  EXPECT_EQ(dataset.fields()[0].shape, (Shape{2, 2, 3}));
  for (std::int64_t at = 0; at < kRecords; ++at) {
    random::Generator random(key_of(at), 4);
    const auto top = static_cast<std::int64_t>(random.below(3 + 2 - 2 + 1)) - 1;
    const auto left = static_cast<std::int64_t>(random.below(4 + 2 - 3 + 1)) - 1;
    const auto in = fetch_as<std::uint8_t>(*base, at);
    std::vector<std::uint8_t> expected;
    for (std::int64_t c = 0; c < 2; ++c) {
      for (std::int64_t y = top; y < top + 2; ++y) {
        for (std::int64_t x = left; x < left + 3; ++x) {
          const bool inside = y >= 0 && y < 3 && x >= 0 && x < 4;
          expected.push_back(inside ? in[static_cast<std::size_t>((c * 3 + y) * 4 + x)] : std::uint8_t{0});
        }
      }
    }
    EXPECT_EQ(fetch_as<std::uint8_t>(dataset, at, 0, key_of(at)), expected) << at;
  }
}

TEST(Crop, TakesWindowsThatMissTheImage) {
  const std::vector<std::uint8_t> one{9};
  const auto base = InMemoryDataset::copy_of({{"image", {one.data(), DType::uint8, {1, 1, 1}}}});
  const TransformDataset dataset(base, random_crop(*base, "image", 1, 1, 5, 0));
  int hits = 0;
  for (std::int64_t at = 0; at < 1210; ++at)
    hits += fetch_as<std::uint8_t>(dataset, 0, 0, key_of(at))[0] == 9;
  EXPECT_NEAR(hits, 10, 10);  // one of 121 places
  EXPECT_GT(hits, 0);
}

TEST(Crop, KeepsInterleavedPixelsTogether) {
  const std::vector<std::uint8_t> pixels{1, 2, 3, 4, 5, 6};
  const auto base = InMemoryDataset::copy_of({{"image", {pixels.data(), DType::uint8, {1, 1, 2, 3}}}});
  const TransformDataset dataset(base, random_crop(*base, "image", 1, 1, 0, 0, ImageLayout::interleaved));
  bool seen[2] = {false, false};
  for (std::int64_t at = 0; at < 40; ++at) {
    const auto pixel = fetch_as<std::uint8_t>(dataset, 0, 0, key_of(at));
    ASSERT_TRUE(pixel == (std::vector<std::uint8_t>{1, 2, 3}) ||
                pixel == (std::vector<std::uint8_t>{4, 5, 6}));
    seen[pixel[0] == 4] = true;
  }
  EXPECT_TRUE(seen[0] && seen[1]);
}

TEST(Crop, RefusesWindowsThatDoNotFit) {
  const DatasetPtr base = images();
  expect_error(ErrorCode::invalid_argument, {"1 x 1 to 5 x 6", "6 x 4"},
               [&] { random_crop(*base, "image", 6, 4, 1, 0); });
  expect_error(ErrorCode::invalid_argument, {"window", "0 x 4"},
               [&] { random_crop(*base, "image", 0, 4, 1, 0); });
  expect_error(ErrorCode::invalid_argument, {"padding", "-1"},
               [&] { random_crop(*base, "image", 2, 2, -1, 0); });
}

}  // namespace
}  // namespace lockstep::loader
