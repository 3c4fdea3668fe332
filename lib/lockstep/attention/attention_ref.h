#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. float or
// double, one sample and head at a time.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "lockstep/math/math_inl.h"
#include "lockstep/order/lanes_ref.h"

namespace lockstep::attention_ref {

inline float exponential(float x) { return math::exp(x); }
inline double exponential(double x) { return std::exp(x); }
inline float logarithm(float x) { return math::log(x); }
inline double logarithm(double x) { return std::log(x); }

/// [rows, cols], contiguous.
template <class T>
struct Rows {
  std::int64_t rows = 0, cols = 0;
  std::vector<T> data;

  Rows() = default;
  Rows(std::int64_t r, std::int64_t c) : rows(r), cols(c), data(static_cast<std::size_t>(r * c), T(0)) {}
  T& at(std::int64_t r, std::int64_t c) { return data[static_cast<std::size_t>(r * cols + c)]; }
  T at(std::int64_t r, std::int64_t c) const { return data[static_cast<std::size_t>(r * cols + c)]; }
};

template <class T>
struct Sequence {
  Rows<T> q, k, v;  // [queries, head_size], [keys, head_size], [keys, value_size]
  T scale = T(1);
  /// What a mask makes of the product s of query i and key j: -inf where it is not seen.
  std::function<T(T s, std::int64_t i, std::int64_t j)> mask = [](T s, std::int64_t, std::int64_t) {
    return s;
  };
};

template <class T>
struct Result {
  Rows<T> o;  // [queries, value_size]
  std::vector<T> lse;
};

template <class T>
struct Gradients {
  Rows<T> q, k, v;
};

constexpr std::int64_t kTile = 64, kChain = 1024;

template <class T>
constexpr T kNothing = -std::numeric_limits<T>::infinity();

/// The scaled products of query i with the keys of the tile from `first` on, -inf behind the last key.
template <class T>
std::vector<T> products(const Sequence<T>& x, std::int64_t i, std::int64_t first) {
  std::vector<T> s(kTile, kNothing<T>);
  for (std::int64_t j = first; j < std::min(first + kTile, x.k.rows); ++j) {
    T chain = T(0);
    for (std::int64_t d = 0; d < x.q.cols; ++d) chain = std::fma(x.q.at(i, d), x.k.at(j, d), chain);
    s[static_cast<std::size_t>(j - first)] = x.mask(chain * x.scale, i, j);
  }
  return s;
}

/// Whether a query sees a key of the tile. A NaN is seen.
template <class T>
bool is_seen(const std::vector<T>& s) {
  return std::any_of(s.begin(), s.end(), [](T value) { return value != kNothing<T>; });
}

/// +0 behind the last row.
template <class T>
T row_or_zero(const Rows<T>& rows, std::int64_t r, std::int64_t c) {
  return r < rows.rows ? rows.at(r, c) : T(0);
}

template <class T>
T lane_tree(std::vector<T> lane) {
  for (std::size_t s = lane.size() / 2; s >= 1; s /= 2)
    for (std::size_t i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
  return lane[0];
}

/// The lane sum of a[i] b[i] (contracts, section 5).
template <class T>
T lane_dot(const Rows<T>& a, const Rows<T>& b, std::int64_t i) {
  return order::lane_chains_ref<T>(static_cast<std::size_t>(a.cols), [&](T lane, std::size_t d) {
    return std::fma(a.at(i, static_cast<std::int64_t>(d)), b.at(i, static_cast<std::int64_t>(d)), lane);
  });
}

/// What a query has gathered from the tiles before.
template <class T>
struct Online {
  T m = kNothing<T>, l = T(0);
  std::vector<T> total, chain;  // of o

  /// The chains of 1,024 keys end.
  void close() {
    for (std::size_t d = 0; d < chain.size(); ++d) {
      total[d] = total[d] + chain[d];
      chain[d] = T(0);
    }
  }
};

/// One tile's step. s holds a product that is seen.
template <class T>
void add_tile(const Rows<T>& v, std::int64_t first, const std::vector<T>& s, Online<T>& to) {
  T largest = to.m;
  for (const T value : s) largest = value > largest ? value : largest;  // a NaN reaches the result through l
  const T r = exponential(to.m - largest);
  std::vector<T> p;
  p.reserve(s.size());
  for (const T value : s) p.push_back(exponential(value - largest));
  to.m = largest;
  to.l = std::fma(to.l, r, lane_tree(p));
  for (std::size_t d = 0; d < to.chain.size(); ++d) {
    to.total[d] = to.total[d] * r;
    to.chain[d] = to.chain[d] * r;
    for (std::size_t j = 0; j < p.size(); ++j)
      to.chain[d] =
          std::fma(p[j], row_or_zero(v, first + static_cast<std::int64_t>(j), static_cast<std::int64_t>(d)),
                   to.chain[d]);
  }
}

template <class T>
Result<T> forward(const Sequence<T>& x) {
  Result<T> to{Rows<T>(x.q.rows, x.v.cols), std::vector<T>(static_cast<std::size_t>(x.q.rows), kNothing<T>)};
  const auto values = static_cast<std::size_t>(x.v.cols);
  for (std::int64_t i = 0; i < x.q.rows; ++i) {
    Online<T> online{kNothing<T>, T(0), std::vector<T>(values), std::vector<T>(values)};
    bool sees = false;
    for (std::int64_t first = 0; first < x.k.rows; first += kTile) {
      if (first > 0 && first % kChain == 0) online.close();
      const std::vector<T> s = products(x, i, first);
      if (!is_seen(s)) continue;
      sees = true;
      add_tile(x.v, first, s, online);
    }
    if (!sees) continue;
    online.close();
    for (std::int64_t d = 0; d < x.v.cols; ++d)
      to.o.at(i, d) = online.total[static_cast<std::size_t>(d)] / online.l;
    to.lse[static_cast<std::size_t>(i)] = online.m + logarithm(online.l);
  }
  return to;
}

/// One element of a gradient: a chain that is closed after 1,024 places, whether or not it had a term there.
template <class T>
class Sum {
 public:
  /// Terms at `place` or behind it follow.
  void reach(std::int64_t place) {
    for (; begin_ + kChain <= place; begin_ += kChain) close();
  }
  void add(T a, T b) { chain_ = std::fma(a, b, chain_); }
  T value() {
    close();
    return sum_;
  }

 private:
  void close() {
    sum_ = sum_ + chain_;
    chain_ = T(0);
  }
  T sum_ = T(0), chain_ = T(0);
  std::int64_t begin_ = 0;
};

/// p and ds of query i in the tile from `first` on; empty where it sees no key there.
template <class T>
struct TileOfRow {
  std::vector<T> p, ds;
};
template <class T>
TileOfRow<T> tile_of_row(const Sequence<T>& x, const Rows<T>& d_o, const Result<T>& of, T delta,
                         std::int64_t i, std::int64_t first) {
  const std::vector<T> s = products(x, i, first);
  TileOfRow<T> to;
  if (!is_seen(s)) return to;
  for (std::int64_t j = 0; j < kTile; ++j) {
    const T value = s[static_cast<std::size_t>(j)];
    T dp = T(0);
    for (std::int64_t d = 0; d < x.v.cols; ++d)
      dp = std::fma(d_o.at(i, d), row_or_zero(x.v, first + j, d), dp);
    const T p = exponential(value - of.lse[static_cast<std::size_t>(i)]);
    to.p.push_back(p);
    to.ds.push_back(p == T(0) ? T(0) : p * (dp - delta));
  }
  return to;
}

template <class T>
Gradients<T> backward(const Sequence<T>& x, const Rows<T>& d_o, const Result<T>& of) {
  std::vector<T> delta;
  for (std::int64_t i = 0; i < x.q.rows; ++i) delta.push_back(lane_dot(d_o, of.o, i));
  const auto tile = [&](std::int64_t i, std::int64_t first) {
    return tile_of_row(x, d_o, of, delta[static_cast<std::size_t>(i)], i, first);
  };
  Gradients<T> to{Rows<T>(x.q.rows, x.q.cols), Rows<T>(x.k.rows, x.k.cols), Rows<T>(x.v.rows, x.v.cols)};

  for (std::int64_t i = 0; i < x.q.rows; ++i) {
    std::vector<Sum<T>> sums(static_cast<std::size_t>(x.q.cols));
    for (std::int64_t first = 0; first < x.k.rows; first += kTile) {
      const TileOfRow<T> row = tile(i, first);
      for (std::size_t d = 0; d < sums.size(); ++d) {
        sums[d].reach(first);
        for (std::size_t j = 0; j < row.ds.size(); ++j)
          sums[d].add(row.ds[j],
                      row_or_zero(x.k, first + static_cast<std::int64_t>(j), static_cast<std::int64_t>(d)));
      }
    }
    for (std::size_t d = 0; d < sums.size(); ++d)
      to.q.at(i, static_cast<std::int64_t>(d)) = x.scale * sums[d].value();
  }

  for (std::int64_t first = 0; first < x.k.rows; first += kTile) {
    std::vector<std::vector<Sum<T>>> dk(kTile, std::vector<Sum<T>>(static_cast<std::size_t>(x.k.cols)));
    std::vector<std::vector<Sum<T>>> dv(kTile, std::vector<Sum<T>>(static_cast<std::size_t>(x.v.cols)));
    for (std::int64_t i = 0; i < x.q.rows; ++i) {
      const TileOfRow<T> row = tile(i, first);
      for (std::size_t j = 0; j < kTile; ++j) {
        for (std::size_t d = 0; d < dk[j].size(); ++d) {
          dk[j][d].reach(i);
          if (!row.ds.empty()) dk[j][d].add(row.ds[j], x.q.at(i, static_cast<std::int64_t>(d)));
        }
        for (std::size_t d = 0; d < dv[j].size(); ++d) {
          dv[j][d].reach(i);
          if (!row.p.empty()) dv[j][d].add(row.p[j], d_o.at(i, static_cast<std::int64_t>(d)));
        }
      }
    }
    for (std::int64_t j = first; j < std::min(first + kTile, x.k.rows); ++j) {
      const auto lane = static_cast<std::size_t>(j - first);
      for (std::int64_t d = 0; d < x.k.cols; ++d)
        to.k.at(j, d) = x.scale * dk[lane][static_cast<std::size_t>(d)].value();
      for (std::int64_t d = 0; d < x.v.cols; ++d)
        to.v.at(j, d) = dv[lane][static_cast<std::size_t>(d)].value();
    }
  }
  return to;
}

}  // namespace lockstep::attention_ref
