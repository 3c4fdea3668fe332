#include "lockstep/state/archive.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include <boost/serialization/access.hpp>
#include <boost/serialization/split_free.hpp>
#include <gtest/gtest.h>

#include "lockstep/base/error.h"

namespace lockstep::state {
namespace {

enum class Colour : std::uint8_t { red = 1, blue = 2 };

struct Point {
  std::int32_t x = 0;
  double y = 0;

  bool operator==(const Point&) const = default;
  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& x& y;
  }
};

struct Everything {
  bool flag = false;
  std::int8_t i8 = 0;
  std::uint16_t u16 = 0;
  std::int64_t i64 = 0;
  float f = 0;
  Colour colour = Colour::red;
  std::string text;
  std::array<std::int16_t, 3> triple{};
  std::vector<std::int64_t> numbers;
  std::vector<bool> flags;
  std::vector<Point> points;
  std::map<std::string, std::optional<Point>> named;
  std::pair<std::uint8_t, std::string> pair;
  std::optional<std::vector<std::string>> maybe;

  bool operator==(const Everything&) const = default;
  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& flag& i8& u16& i64& f& colour& text& triple& numbers& flags& points& named& pair& maybe;
  }
};

Everything sample() {
  Everything e;
  e.flag = true, e.i8 = -5, e.u16 = 65535, e.i64 = std::numeric_limits<std::int64_t>::min(), e.f = -0.0f;
  e.colour = Colour::blue;
  e.text = std::string("a\0b", 3);
  e.triple = {-1, 0, 1};
  e.numbers = {1, -2, 3};
  e.flags = {true, false, true};
  e.points = {{1, 2.5}, {-3, 0.1}};
  e.named = {{"", std::nullopt}, {"p", Point{7, 8}}};
  e.pair = {9, "nine"};
  e.maybe = std::vector<std::string>{"x", "", "z"};
  return e;
}

template <class Function>
void expect_corruption(const std::string& words, Function function) {
  try {
    function();
    FAIL() << "no error; expected " << words;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corruption);
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[c & 15];
  }
  return text;
}

TEST(Archive, ReturnsWhatWasStored) {
  EXPECT_EQ(from_bytes<Everything>(to_bytes(sample())), sample());
  EXPECT_EQ(from_bytes<Everything>(to_bytes(Everything{})), Everything{});
}

// docs/formats/archive.md as bytes: a change here is a change of every file that was ever written.
TEST(Archive, HasGoldenBytes) {
  EXPECT_EQ(hex(to_bytes(std::int32_t{-2})), "feffffff");
  EXPECT_EQ(hex(to_bytes(1.0)), "000000000000f03f");
  EXPECT_EQ(hex(to_bytes(true)), "01");
  EXPECT_EQ(hex(to_bytes(Colour::blue)), "02");
  EXPECT_EQ(hex(to_bytes(std::string("ab"))), "02000000000000006162");
  EXPECT_EQ(hex(to_bytes(std::vector<std::uint16_t>{1, 0x203})), "020000000000000001000302");
  EXPECT_EQ(hex(to_bytes(std::optional<std::uint8_t>())), "00");
  EXPECT_EQ(hex(to_bytes(std::optional<std::uint8_t>(7))), "0107");
  EXPECT_EQ(hex(to_bytes(std::map<std::uint8_t, bool>{{1, true}})), "01000000000000000101");
  EXPECT_EQ(hex(to_bytes(std::pair<std::uint8_t, std::uint8_t>{1, 2})), "0102");
  EXPECT_EQ(hex(to_bytes(std::array<std::uint8_t, 2>{1, 2})), "0102");
  EXPECT_EQ(hex(to_bytes(Point{1, 1.0})), "01000000000000000000f03f");
}

TEST(Archive, KeepsFloatsAsBits) {
  const auto again = [](auto x) { return from_bytes<decltype(x)>(to_bytes(x)); };
  EXPECT_TRUE(std::signbit(again(-0.0)));
  EXPECT_EQ(again(std::numeric_limits<float>::denorm_min()), std::numeric_limits<float>::denorm_min());
  const double odd_nan = std::bit_cast<double>(std::uint64_t{0x7ff0000000000abc});
  EXPECT_EQ(std::bit_cast<std::uint64_t>(again(odd_nan)), 0x7ff0000000000abcu);
}

TEST(Archive, FindsEveryTruncation) {
  const std::string bytes = to_bytes(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    expect_corruption("archive: ", [&] { from_bytes<Everything>(bytes.substr(0, size)); });
  }
  expect_corruption("bytes after the value: expected none, got 1",
                    [&] { from_bytes<Everything>(bytes + '\0'); });
}

TEST(Archive, SurvivesEveryChangedByte) {
  const std::string bytes = to_bytes(sample());
  int loaded = 0, refused = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(value);
      try {
        // What loads is a value of its own: it stores to the same bytes.
        EXPECT_EQ(to_bytes(from_bytes<Everything>(changed)), changed);
        ++loaded;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::corruption) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(loaded, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(Archive, RefusesImpossibleCounts) {
  const std::string huge = to_bytes(std::uint64_t{1} << 60);
  expect_corruption(
      "impossible count: expected what fits in the 0 bytes that remain, got 1152921504606846976",
      [&] { from_bytes<std::string>(huge); });
  expect_corruption("impossible count", [&] { from_bytes<std::vector<Point>>(huge); });
  expect_corruption("impossible count", [&] { from_bytes<std::vector<bool>>(huge); });
  expect_corruption("impossible count", [&] { from_bytes<std::map<int, int>>(huge); });
  // A count whose product with the element's size would wrap round.
  const std::string wrapping = to_bytes((std::uint64_t{1} << 61) + 1) + std::string(8, 'x');
  expect_corruption("impossible count", [&] { from_bytes<std::vector<std::uint64_t>>(wrapping); });
}

TEST(Archive, RefusesFlagsBesideZeroAndOne) {
  expect_corruption("bool flag: expected 0 or 1, got 2", [] { from_bytes<bool>(std::string("\2")); });
  expect_corruption("optional flag", [] { from_bytes<std::optional<int>>(std::string("\xff")); });
  expect_corruption("bool flag", [] { from_bytes<std::vector<bool>>(to_bytes(std::string("\3"))); });
}

TEST(Archive, RefusesKeysOutOfOrder) {
  using Pairs = std::vector<std::pair<std::uint8_t, std::uint8_t>>;
  using Map = std::map<std::uint8_t, std::uint8_t>;
  EXPECT_EQ(from_bytes<Map>(to_bytes(Pairs{{1, 5}, {2, 6}})), (Map{{1, 5}, {2, 6}}));
  expect_corruption("strictly ascending", [] { from_bytes<Map>(to_bytes(Pairs{{2, 5}, {1, 6}})); });
  expect_corruption("strictly ascending", [] { from_bytes<Map>(to_bytes(Pairs{{2, 5}, {2, 6}})); });
}

struct Nothing {
  template <class Archive>
  void serialize(Archive&, unsigned) {}
};

TEST(Archive, RefusesElementsWithoutBytes) {
  expect_corruption("at least 1 byte", [] { to_bytes(std::vector<Nothing>(3)); });
  expect_corruption("at least 1 byte",
                    [] { from_bytes<std::vector<Nothing>>(to_bytes(std::uint64_t{1}) + "x"); });
}

struct Tree {
  std::vector<Tree> children;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& children;
  }
};

TEST(Archive, BoundsTheDepth) {
  std::string bytes;
  for (int level = 0; level < 100000; ++level) bytes += to_bytes(std::uint64_t{1});
  bytes += to_bytes(std::uint64_t{0});
  expect_corruption("at most 64 levels", [&] { from_bytes<Tree>(bytes); });
  Tree tree;
  for (int level = 0; level < 60; ++level) {
    Tree parent;
    parent.children.push_back(std::move(tree));
    tree = std::move(parent);
  }
  EXPECT_NO_THROW(from_bytes<Tree>(to_bytes(tree)));
}

// The other forms that Boost.Serialization's users write.
class Private {
 public:
  int value = 0;

 private:
  friend class boost::serialization::access;
  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& boost::serialization::make_nvp("value", value);
  }
};

struct Outside {
  int value = 0;
};
template <class Archive>
void serialize(Archive& archive, Outside& outside, unsigned) {
  archive& outside.value;
}

struct Split {
  int value = 0;
};
template <class Archive>
void save(Archive& archive, const Split& split, unsigned) {
  archive << split.value;
}
template <class Archive>
void load(Archive& archive, Split& split, unsigned) {
  archive >> split.value;
  split.value += 1000;
}
template <class Archive>
void serialize(Archive& archive, Split& split, unsigned version) {
  boost::serialization::split_free(archive, split, version);
}

TEST(Archive, TakesBoostsOtherForms) {
  Private hidden;
  hidden.value = 5;
  EXPECT_EQ(from_bytes<Private>(to_bytes(hidden)).value, 5);
  EXPECT_EQ(from_bytes<Outside>(to_bytes(Outside{6})).value, 6);
  EXPECT_EQ(from_bytes<Split>(to_bytes(Split{7})).value, 1007);
}

}  // namespace
}  // namespace lockstep::state
