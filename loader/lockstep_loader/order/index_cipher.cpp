#include "lockstep_loader/order/index_cipher.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "lockstep/base/error.h"
#include "lockstep/random/philox.h"

#define LOCKSTEP_INLINE inline __attribute__((always_inline))

namespace lockstep::loader {
namespace {

constexpr std::uint32_t kMultiplier1 = 0x7feb352d;
constexpr std::uint32_t kMultiplier2 = 0x846ca68b;
constexpr std::size_t kLanes = 64;
constexpr std::size_t kFewIds = 16;  // as many cost about as much one by one as all lanes together

/// a + b modulo `modulus`, for a, b < modulus ≤ 2^31: where the sum stays below, the difference wraps to
/// something larger.
LOCKSTEP_INLINE std::uint32_t add_modulo(std::uint32_t a, std::uint32_t b, std::uint32_t modulus) {
  const std::uint32_t sum = a + b;
  return std::min(sum, sum - modulus);
}

std::uint32_t subtract_modulo(std::uint32_t a, std::uint32_t b, std::uint32_t modulus) {
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
    : size_(static_cast<std::uint64_t>(size)) {
  if (size < 0 || size > kMaxSize) {
    fail(ErrorCode::invalid_argument, {"index cipher", "size", "0 to 2^62", std::to_string(size), {}});
  }
  const std::uint32_t epoch_word = checked_epoch(epoch);
  const std::uint64_t root = ceil_square_root(size_);
  // An even number of columns: a round can then be an odd permutation, so that every order can come up.
  columns_ = static_cast<std::uint32_t>(std::max<std::uint64_t>(2, root + root % 2));
  rows_ = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, (size_ + columns_ - 1) / columns_));
  // A small grid has few round functions to choose from and needs more of them to reach every order equally
  // often.
  rounds_ = size < kSmallSize ? kSmallRounds : kRounds;
  for (std::uint32_t i = 0; i < rounds_ / 2; ++i) {
    const random::Block block = random::philox4x32(seed, {stream, epoch_word, repeat, i});
    keys_[2 * i] = {block[0], block[1]};
    keys_[2 * i + 1] = {block[2], block[3]};
  }
}

IndexCipher::Cell IndexCipher::cell(std::uint64_t value) const {
  return {static_cast<std::uint32_t>(value % columns_), static_cast<std::uint32_t>(value / columns_)};
}

LOCKSTEP_INLINE std::uint32_t IndexCipher::draw_below(std::uint32_t half, RoundKey key, std::uint32_t bound) {
  std::uint32_t word = (half ^ key.before) * kMultiplier1;
  word ^= word >> 15;
  word = (word + key.between) * kMultiplier2;
  return static_cast<std::uint32_t>(std::uint64_t{word} * bound >> 32);
}

LOCKSTEP_INLINE IndexCipher::Cell IndexCipher::forward(Cell cell) const {
  for (std::uint32_t i = 0; i < rounds_; i += 2) {
    cell.column = add_modulo(cell.column, draw_below(cell.row, keys_[i], columns_), columns_);
    cell.row = add_modulo(cell.row, draw_below(cell.column, keys_[i + 1], rows_), rows_);
  }
  return cell;
}

IndexCipher::Cell IndexCipher::backward(Cell cell) const {
  for (std::uint32_t i = rounds_; i > 0; i -= 2) {
    cell.row = subtract_modulo(cell.row, draw_below(cell.column, keys_[i - 1], rows_), rows_);
    cell.column = subtract_modulo(cell.column, draw_below(cell.row, keys_[i - 2], columns_), columns_);
  }
  return cell;
}

// The grid may hold a few more cells than there are ids: a result among those goes through again. The cycle
// of the grid's permutation leads back below size_, at the latest to where it started.
std::int64_t IndexCipher::id(std::int64_t position) const {
  Cell at = cell(static_cast<std::uint64_t>(position));
  do at = forward(at);
  while (value(at) >= size_);
  return static_cast<std::int64_t>(value(at));
}

std::int64_t IndexCipher::position(std::int64_t id) const {
  Cell at = cell(static_cast<std::uint64_t>(id));
  do at = backward(at);
  while (value(at) >= size_);
  return static_cast<std::int64_t>(value(at));
}

// Many positions side by side, in loops that the compiler turns into vector instructions; no division but the
// first.
LOCKSTEP_INLINE void IndexCipher::ids_body(std::int64_t first, std::span<std::int64_t> out) const {
  Cell next = cell(static_cast<std::uint64_t>(first));
  for (std::size_t done = 0; done < out.size(); done += kLanes) {
    std::array<std::uint32_t, kLanes> columns;
    std::array<std::uint32_t, kLanes> rows;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      columns[lane] = next.column;
      rows[lane] = next.row;
      const bool row_ends = ++next.column == columns_;
      next.column = row_ends ? 0 : next.column;
      next.row += row_ends;
    }
    for (std::uint32_t i = 0; i < rounds_; i += 2) {
      const RoundKey column_key = keys_[i];
      const RoundKey row_key = keys_[i + 1];
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        columns[lane] = add_modulo(columns[lane], draw_below(rows[lane], column_key, columns_), columns_);
        rows[lane] = add_modulo(rows[lane], draw_below(columns[lane], row_key, rows_), rows_);
      }
    }
    const std::size_t lanes = std::min(kLanes, out.size() - done);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      Cell at{columns[lane], rows[lane]};
      while (value(at) >= size_) at = forward(at);
      out[done + lane] = static_cast<std::int64_t>(value(at));
    }
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void IndexCipher::ids_avx2(std::int64_t first,
                                                           std::span<std::int64_t> out) const {
  ids_body(first, out);
}
#endif

void IndexCipher::ids(std::int64_t first, std::span<std::int64_t> out) const {
  if (out.size() < kFewIds) {
    for (std::int64_t& id : out) id = this->id(first++);
    return;
  }
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx2) return ids_avx2(first, out);
#endif
  ids_body(first, out);
}

}  // namespace lockstep::loader
