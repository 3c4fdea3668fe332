#include "lockstep_loader/order/index_cipher.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "lockstep/base/error.h"
#include "lockstep/random/philox.h"
namespace lockstep::loader {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t kMultiplier1 = 0xbf58476d1ce4e5b9;
constexpr std::uint64_t kMultiplier2 = 0x94d049bb133111eb;
constexpr std::size_t kLanes = 8;

/// A keyed draw below `bound` for `half`: 64 mixed bits, scaled by taking the high half of a product.
inline std::uint64_t mix_below(std::uint64_t half, std::uint64_t key, std::uint64_t bound) {
  std::uint64_t word = (half ^ key) * kMultiplier1;
  word ^= word >> 32;
  word *= kMultiplier2;
  return static_cast<std::uint64_t>(Wide{word} * bound >> 64);
}

inline std::uint64_t add_modulo(std::uint64_t a, std::uint64_t b, std::uint64_t modulus) {
  const std::uint64_t sum = a + b;
  return sum >= modulus ? sum - modulus : sum;
}

inline std::uint64_t subtract_modulo(std::uint64_t a, std::uint64_t b, std::uint64_t modulus) {
  return a >= b ? a - b : a + modulus - b;
}

std::uint64_t ceil_square_root(std::uint64_t value) {
  auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(value)));
  while (root * root < value) ++root;
  while (root > 0 && (root - 1) * (root - 1) >= value) --root;
  return root;
}

}  // namespace

IndexCipher::IndexCipher(std::int64_t size, std::uint64_t seed, std::int64_t epoch, std::uint32_t repeat,
                         std::uint32_t stream)
    : size_(size) {
  if (size < 0 || size > kMaxSize) {
    fail(ErrorCode::invalid_argument, {"index cipher", "size", "0 to 2^62", std::to_string(size), {}});
  }
  const std::uint32_t epoch_word = checked_epoch(epoch);
  const std::uint64_t root = ceil_square_root(static_cast<std::uint64_t>(size));
  // An even number of columns: a round can then be an odd permutation, so that every order can come up.
  columns_ = std::max<std::uint64_t>(2, root + root % 2);
  rows_ = std::max<std::uint64_t>(1, (static_cast<std::uint64_t>(size) + columns_ - 1) / columns_);
  for (std::uint32_t i = 0; i < kRounds / 2; ++i) {
    const random::Block block = random::philox4x32(seed, {stream, epoch_word, repeat, i});
    keys_[2 * i] = std::uint64_t{block[0]} << 32 | block[1];
    keys_[2 * i + 1] = std::uint64_t{block[2]} << 32 | block[3];
  }
}

IndexCipher::Point IndexCipher::forward(Point point) const {
  for (std::size_t i = 0; i < kRounds; i += 2) {
    point.left = add_modulo(point.left, mix_below(point.right, keys_[i], columns_), columns_);
    point.right = add_modulo(point.right, mix_below(point.left, keys_[i + 1], rows_), rows_);
  }
  return point;
}

IndexCipher::Point IndexCipher::backward(Point point) const {
  for (std::size_t i = kRounds; i > 0; i -= 2) {
    point.right = subtract_modulo(point.right, mix_below(point.left, keys_[i - 1], rows_), rows_);
    point.left = subtract_modulo(point.left, mix_below(point.right, keys_[i - 2], columns_), columns_);
  }
  return point;
}

// The grid holds up to columns_ - 1 points more than there are ids: a result among those goes through again.
// The cycle of the grid's permutation leads back into [0, size), at the latest to where it started.
std::int64_t IndexCipher::walk(Point point) const {
  while (value(point) >= size_) point = forward(point);
  return value(point);
}

std::int64_t IndexCipher::id(std::int64_t position) const {
  const auto start = static_cast<std::uint64_t>(position);
  return walk(forward({start % columns_, start / columns_}));
}

std::int64_t IndexCipher::position(std::int64_t id) const {
  const auto start = static_cast<std::uint64_t>(id);
  Point point = backward({start % columns_, start / columns_});
  while (value(point) >= size_) point = backward(point);
  return value(point);
}

// Several positions side by side: their rounds do not wait for each other, and the next position needs no
// division.
void IndexCipher::ids(std::int64_t first, std::span<std::int64_t> out) const {
  std::uint64_t left = static_cast<std::uint64_t>(first) % columns_;
  std::uint64_t right = static_cast<std::uint64_t>(first) / columns_;
  for (std::size_t done = 0; done < out.size(); done += kLanes) {
    std::array<std::uint64_t, kLanes> lefts;
    std::array<std::uint64_t, kLanes> rights;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      lefts[lane] = left;
      rights[lane] = right;
      const bool row_ends = ++left == columns_;
      left = row_ends ? 0 : left;
      right += row_ends;
    }
    for (std::size_t i = 0; i < kRounds; i += 2) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        lefts[lane] = add_modulo(lefts[lane], mix_below(rights[lane], keys_[i], columns_), columns_);
      }
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        rights[lane] = add_modulo(rights[lane], mix_below(lefts[lane], keys_[i + 1], rows_), rows_);
      }
    }
    const std::size_t lanes = std::min(kLanes, out.size() - done);
    for (std::size_t lane = 0; lane < lanes; ++lane) out[done + lane] = walk({lefts[lane], rights[lane]});
  }
}

}  // namespace lockstep::loader
