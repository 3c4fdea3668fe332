// The vector forms, compiled once for each instruction set by Highway.

#include "lockstep/base/vector_targets_internal.h"

#define HWY_DISABLED_TARGETS LOCKSTEP_SIZELESS_TARGETS

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/fingerprint/kernel_simd.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lockstep/fingerprint/digest_keys_internal.h"
#include "lockstep/fingerprint/kernel_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::fingerprint::internal {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

Kernel forms() { return {}; }

#else

namespace hn = hwy::HWY_NAMESPACE;

// At most 64 bytes, so that every form's sums fit a BlockSum.
using D32 = hn::CappedTag<std::uint32_t, 2 * BlockSum::kColumns>;
using D64 = hn::RepartitionToWide<D32>;
using D16 = hn::RepartitionToNarrow<D32>;
using D8 = hn::Repartition<std::uint8_t, D32>;
using DF = hn::CappedTag<double, BlockSum::kColumns>;
using V32 = hn::Vec<D32>;
using V64 = hn::Vec<D64>;

// From AVX2 on, loads and stores under a mask are single instructions that do not touch what is masked.
constexpr bool kMaskedTails = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2;

// How far ahead of the sums memory is asked for, beyond what the processor's own prefetcher does.
constexpr std::size_t kPrefetchBytes = 1024;

/// Elements above `infinity` in magnitude become `nan`. Compared as signed numbers, whose sign bit was
/// cleared.
template <class T, class D>
HWY_INLINE V32 replace_nans(D lanes, V32 words, T infinity, T nan) {
  const hn::RebindToSigned<D> as_signed;
  const auto values = hn::BitCast(lanes, words);
  const auto all_but_sign = static_cast<T>(hwy::LimitsMax<hn::TFromD<decltype(as_signed)> >());
  const auto magnitude = hn::And(values, hn::Set(lanes, all_but_sign));
  const auto is_nan =
      hn::Gt(hn::BitCast(as_signed, magnitude), hn::BitCast(as_signed, hn::Set(lanes, infinity)));
  return hn::BitCast(D32(), hn::IfThenElse(hn::RebindMask(lanes, is_nan), hn::Set(lanes, nan), values));
}

template <Canon canon>
HWY_INLINE V32 canonical(V32 words) {
  if constexpr (canon == Canon::float16) return replace_nans<std::uint16_t>(D16(), words, 0x7c00, 0x7e00);
  if constexpr (canon == Canon::bfloat16) return replace_nans<std::uint16_t>(D16(), words, 0x7f80, 0x7fc0);
  if constexpr (canon == Canon::float32)
    return replace_nans<std::uint32_t>(D32(), words, 0x7f800000, 0x7fc00000);
  if constexpr (canon == Canon::float64) {
    return replace_nans<std::uint64_t>(D64(), words, 0x7ff0000000000000, 0x7ff8000000000000);
  }
  return words;
}

/// Both lanes' sums, even and odd words apart: four chains for the processor to overlap.
struct Sums {
  V64 even0, odd0, even1, odd1;
};

/// MulEven reads the even places of both: for the odd ones, words and keys are moved there.
HWY_INLINE V32 odd_to_even(V32 words) {
  return hn::BitCast(D32(), hn::ShiftRight<32>(hn::BitCast(D64(), words)));
}

template <Canon canon>
HWY_INLINE void multiply_add(V32 loaded, std::size_t j, Sums& sums) {
  const D32 d32;
  const V32 word = canonical<canon>(loaded);
  const V32 odd_word = odd_to_even(word);
  sums.even0 = hn::Add(sums.even0, hn::MulEven(word, hn::LoadU(d32, kWordKeys[0].data() + j)));
  sums.odd0 = hn::Add(sums.odd0, hn::MulEven(odd_word, hn::LoadU(d32, kNextKeys[0].data() + j)));
  sums.even1 = hn::Add(sums.even1, hn::MulEven(word, hn::LoadU(d32, kWordKeys[1].data() + j)));
  sums.odd1 = hn::Add(sums.odd1, hn::MulEven(odd_word, hn::LoadU(d32, kNextKeys[1].data() + j)));
}

HWY_INLINE Sums open_sums(const BlockSum& sum) {
  const D64 d64;
  return {hn::Load(d64, sum.lane[0]), hn::Zero(d64), hn::Load(d64, sum.lane[1]), hn::Zero(d64)};
}

HWY_INLINE void close_sums(const Sums& sums, BlockSum& sum) {
  const D64 d64;
  hn::Store(hn::Add(sums.even0, sums.odd0), d64, sum.lane[0]);
  hn::Store(hn::Add(sums.even1, sums.odd1), d64, sum.lane[1]);
}

template <Canon canon>
void digest_as(const std::uint8_t* source, std::size_t words, std::size_t j, BlockSum& sum) {
  const D32 d32;
  const std::size_t step = hn::Lanes(d32);
  Sums sums = open_sums(sum);
  std::size_t k = 0;
  for (; k + step <= words; k += step) {
    hwy::Prefetch(source + 4 * k + kPrefetchBytes);
    multiply_add<canon>(hn::BitCast(d32, hn::LoadU(D8(), source + 4 * k)), j + k, sums);
  }
  if constexpr (kMaskedTails) {
    if (k < words) {
      const auto* const rest = reinterpret_cast<const std::uint32_t*>(source + 4 * k);
      multiply_add<canon>(hn::MaskedLoad(hn::FirstN(d32, words - k), d32, rest), j + k, sums);
      k = words;
    }
  }
  close_sums(sums, sum);
  if (k < words) digest_scalar(source + 4 * k, words - k, j + k, canon, sum);
}

/// Two whole blocks side by side: they share the keys, and memory is read in two streams.
template <Canon canon>
void digest_two_as(const std::uint8_t* source, BlockSum* sums) {
  const D32 d32;
  const std::size_t step = hn::Lanes(d32);
  constexpr std::size_t kBlockBytes = 4 * kBlockWords;
  Sums a = open_sums(sums[0]), b = open_sums(sums[1]);
  for (std::size_t k = 0; k < kBlockWords; k += step) {
    const std::uint8_t* const place = source + 4 * k;
    hwy::Prefetch(place + 2 * kBlockBytes);
    hwy::Prefetch(place + 3 * kBlockBytes);
    multiply_add<canon>(hn::BitCast(d32, hn::LoadU(D8(), place)), k, a);
    multiply_add<canon>(hn::BitCast(d32, hn::LoadU(D8(), place + kBlockBytes)), k, b);
  }
  close_sums(a, sums[0]);
  close_sums(b, sums[1]);
}

void digest(const std::uint8_t* source, std::size_t words, std::size_t j, Canon canon, BlockSum& sum) {
  switch (canon) {
    case Canon::none:
      return digest_as<Canon::none>(source, words, j, sum);
    case Canon::float16:
      return digest_as<Canon::float16>(source, words, j, sum);
    case Canon::bfloat16:
      return digest_as<Canon::bfloat16>(source, words, j, sum);
    case Canon::float32:
      return digest_as<Canon::float32>(source, words, j, sum);
    case Canon::float64:
      return digest_as<Canon::float64>(source, words, j, sum);
  }
}

void digest_two(const std::uint8_t* source, Canon canon, BlockSum* sums) {
  switch (canon) {
    case Canon::none:
      return digest_two_as<Canon::none>(source, sums);
    case Canon::float16:
      return digest_two_as<Canon::float16>(source, sums);
    case Canon::bfloat16:
      return digest_two_as<Canon::bfloat16>(source, sums);
    case Canon::float32:
      return digest_two_as<Canon::float32>(source, sums);
    case Canon::float64:
      return digest_two_as<Canon::float64>(source, sums);
  }
}

void copy(const std::uint8_t* source, std::uint8_t* target, const std::uint8_t* ahead, std::size_t words,
          std::size_t j, BlockSum& sum) {
  const D8 d8;
  const std::size_t step = hn::Lanes(D32());
  Sums sums = open_sums(sum);
  std::size_t k = 0;
  for (; k + step <= words; k += step) {
    hwy::Prefetch(ahead + 4 * k);
    const auto bytes = hn::LoadU(d8, source + 4 * k);
    hn::StoreU(bytes, d8, target + 4 * k);
    multiply_add<Canon::none>(hn::BitCast(D32(), bytes), j + k, sums);
  }
  if constexpr (kMaskedTails) {
    if (k < words) {
      hwy::Prefetch(ahead + 4 * words - 1);
      const D32 d32;
      const auto rest = hn::FirstN(d32, words - k);
      const V32 loaded = hn::MaskedLoad(rest, d32, reinterpret_cast<const std::uint32_t*>(source + 4 * k));
      hn::BlendedStore(loaded, rest, d32, reinterpret_cast<std::uint32_t*>(target + 4 * k));
      multiply_add<Canon::none>(loaded, j + k, sums);
      k = words;
    }
  }
  close_sums(sums, sum);
  if (k < words) {
    hwy::Prefetch(ahead + 4 * words - 1);
    copy_scalar(source + 4 * k, target + 4 * k, nullptr, words - k, j + k, sum);
  }
}

#if HWY_HAVE_FLOAT64

using VF = hn::Vec<DF>;

template <class T>
HWY_INLINE VF load(const void* x, std::size_t i) {
  const hn::Rebind<T, DF> d;
  const hn::Repartition<std::uint8_t, decltype(d)> as_bytes;
  const auto values =
      hn::BitCast(d, hn::LoadU(as_bytes, static_cast<const std::uint8_t*>(x) + i * sizeof(T)));
  if constexpr (sizeof(T) == sizeof(double))
    return values;
  else
    return hn::PromoteTo(DF(), values);
}

template <class T>
const void* at(const void* x, std::size_t i) {
  return static_cast<const std::uint8_t*>(x) + i * sizeof(T);
}

/// The open minimum and maximum of a tally, one in each lane.
struct Range {
  VF min, max;
};

/// The open sums of a vector of lanes.
struct LaneSums {
  VF sum, squares;
  Range range;
};

template <bool all_finite>
HWY_INLINE void add(VF value, LaneSums& lanes, Tally& tally) {
  const DF df;
  VF counted = value;
  if constexpr (!all_finite) {
    const auto finite = hn::Le(hn::Abs(value), hn::Set(df, hwy::HighestValue<double>()));
    counted = hn::IfThenElseZero(finite, value);
    tally.finite += static_cast<std::int64_t>(hn::CountTrue(df, finite)) - std::int64_t(hn::Lanes(df));
    tally.nans += static_cast<std::int64_t>(hn::CountTrue(df, hn::IsNaN(value)));
    lanes.range.min = hn::IfThenElse(finite, hn::Min(lanes.range.min, value), lanes.range.min);
    lanes.range.max = hn::IfThenElse(finite, hn::Max(lanes.range.max, value), lanes.range.max);
  } else {
    lanes.range = {hn::Min(lanes.range.min, value), hn::Max(lanes.range.max, value)};
  }
  lanes.sum = hn::Add(lanes.sum, counted);
  lanes.squares = hn::Add(lanes.squares, hn::Mul(counted, counted));
}

/// Two vectors of lanes over `blocks` blocks: their sums stay in registers.
template <class T>
HWY_INLINE void add_column(const void* x, std::size_t blocks, std::size_t stride, double* sum,
                           double* squares, Range& range, Tally& tally) {
  const DF df;
  const std::size_t step = hn::Lanes(df);
  const VF largest = hn::Set(df, hwy::HighestValue<double>());
  LaneSums a{hn::LoadU(df, sum), hn::LoadU(df, squares), range};
  LaneSums b{hn::LoadU(df, sum + step), hn::LoadU(df, squares + step), range};
  for (std::size_t block = 0; block < blocks; ++block) {
    const VF first = load<T>(x, block * stride), second = load<T>(x, block * stride + step);
    if (HWY_LIKELY(
            hn::AllTrue(df, hn::And(hn::Le(hn::Abs(first), largest), hn::Le(hn::Abs(second), largest))))) {
      add<true>(first, a, tally);
      add<true>(second, b, tally);
    } else {
      add<false>(first, a, tally);
      add<false>(second, b, tally);
    }
  }
  tally.finite += static_cast<std::int64_t>(2 * step * blocks);
  hn::StoreU(a.sum, df, sum), hn::StoreU(a.squares, df, squares);
  hn::StoreU(b.sum, df, sum + step), hn::StoreU(b.squares, df, squares + step);
  range = {hn::Min(a.range.min, b.range.min), hn::Max(a.range.max, b.range.max)};
}

using DS = hn::Repartition<float, DF>;

/// The same for fp32 when all its elements are finite, else false and nothing was added. Minimum, maximum and
/// the question are cheaper asked of a vector of fp32 than of two of fp64.
HWY_INLINE bool add_finite_column(const void* x, std::size_t blocks, std::size_t stride, double* sum,
                                  double* squares, Range& range, Tally& tally) {
  const DF df;
  const DS ds;
  const hn::RebindToUnsigned<DS> du;
  const std::size_t step = hn::Lanes(df);
  const auto singles = [&](std::size_t block) HWY_ATTR {
    return hn::BitCast(ds, hn::LoadU(hn::Repartition<std::uint8_t, DF>(),
                                     static_cast<const std::uint8_t*>(at<float>(x, block * stride))));
  };
  VF sum_a = hn::LoadU(df, sum), sum_b = hn::LoadU(df, sum + step);
  VF squares_a = hn::LoadU(df, squares), squares_b = hn::LoadU(df, squares + step);
  auto least = singles(0), most = least;
  auto magnitude = hn::BitCast(du, hn::Abs(least));
  for (std::size_t block = 0; block < blocks; ++block) {
    const auto both = singles(block);
    least = hn::Min(least, both), most = hn::Max(most, both);
    magnitude = hn::Max(magnitude, hn::BitCast(du, hn::Abs(both)));
    const VF first = load<float>(x, block * stride), second = load<float>(x, block * stride + step);
    sum_a = hn::Add(sum_a, first), sum_b = hn::Add(sum_b, second);
    squares_a = hn::Add(squares_a, hn::Mul(first, first));
    squares_b = hn::Add(squares_b, hn::Mul(second, second));
  }
  constexpr std::uint32_t kInfinity = 0x7f800000;
  if (HWY_UNLIKELY(!hn::AllTrue(du, hn::Lt(magnitude, hn::Set(du, kInfinity))))) return false;
  hn::StoreU(sum_a, df, sum), hn::StoreU(sum_b, df, sum + step);
  hn::StoreU(squares_a, df, squares), hn::StoreU(squares_b, df, squares + step);
  tally.finite += static_cast<std::int64_t>(2 * step * blocks);
  const hn::Half<DS> half;
  const auto lower = [&](auto v) HWY_ATTR { return hn::PromoteTo(df, hn::LowerHalf(half, v)); };
  const auto upper = [&](auto v) HWY_ATTR { return hn::PromoteTo(df, hn::UpperHalf(half, v)); };
  range.min = hn::Min(range.min, hn::Min(lower(least), upper(least)));
  range.max = hn::Max(range.max, hn::Max(lower(most), upper(most)));
  return true;
}

template <class T>
void moments(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes, double* sum,
             double* squares, Tally& tally) {
  const DF df;
  const std::size_t step = 2 * hn::Lanes(df);
  Range range{hn::Set(df, tally.min), hn::Set(df, tally.max)};
  std::size_t i = 0;
  for (; i + step <= lanes; i += step) {
    if constexpr (sizeof(T) == sizeof(float))
      if (add_finite_column(at<T>(x, i), blocks, stride, sum + i, squares + i, range, tally)) continue;
    add_column<T>(at<T>(x, i), blocks, stride, sum + i, squares + i, range, tally);
  }
  tally.min = hn::GetLane(hn::MinOfLanes(df, range.min));
  tally.max = hn::GetLane(hn::MaxOfLanes(df, range.max));
  moments_scalar<T>(at<T>(x, i), blocks, stride, lanes - i, sum + i, squares + i, tally);
}

template <class T, bool all_finite>
void deviations_of(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes, double mean,
                   double* squares) {
  const DF df;
  const std::size_t step = hn::Lanes(df);
  const VF middle = hn::Set(df, mean), largest = hn::Set(df, hwy::HighestValue<double>());
  const auto term = [&](std::size_t place) HWY_ATTR {
    const VF value = load<T>(x, place);
    VF deviation = hn::Sub(value, middle);
    if constexpr (!all_finite) deviation = hn::IfThenElseZero(hn::Le(hn::Abs(value), largest), deviation);
    return hn::Mul(deviation, deviation);
  };
  std::size_t i = 0;
  for (; i + 2 * step <= lanes; i += 2 * step) {
    VF a = hn::LoadU(df, squares + i), b = hn::LoadU(df, squares + i + step);
    for (std::size_t block = 0; block < blocks; ++block) {
      a = hn::Add(a, term(block * stride + i));
      b = hn::Add(b, term(block * stride + i + step));
    }
    hn::StoreU(a, df, squares + i), hn::StoreU(b, df, squares + i + step);
  }
  deviations_scalar<T>(at<T>(x, i), blocks, stride, lanes - i, mean, all_finite, squares + i);
}

template <class T>
void deviations(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes, double mean,
                bool all_finite, double* squares) {
  (all_finite ? deviations_of<T, true> : deviations_of<T, false>)(x, blocks, stride, lanes, mean, squares);
}

HWY_INLINE void add_in_place(VF terms, double* sums) {
  const DF df;
  hn::StoreU(hn::Add(hn::LoadU(df, sums), terms), df, sums);
}

double total(double* lane, int lanes, int filled) {
  const DF df;
  const int step = static_cast<int>(hn::Lanes(df));
  if (filled < lanes) return total_scalar(lane, lanes, filled);
  int s = lanes / 2;
  for (; s >= step; s /= 2)
    for (int i = 0; i < s; i += step) add_in_place(hn::LoadU(df, lane + i + s), lane + i);
  return total_scalar(lane, 2 * s, 2 * s);
}

Kernel forms() {
  return {
      "",   digest, digest_two, copy, moments<float>, moments<double>, deviations<float>, deviations<double>,
      total};
}

#else

Kernel forms() {
  Kernel kernel;
  kernel.digest = digest, kernel.digest_two = digest_two, kernel.copy = copy;
  return kernel;
}

#endif
#endif

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::fingerprint::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::fingerprint::internal {

HWY_EXPORT(forms);

std::int64_t compiled_targets() { return HWY_TARGETS; }

Kernel kernel_of_target(std::int64_t target) {
  hwy::ChosenTarget chosen;
  chosen.Update(target);
  Kernel kernel = HWY_DISPATCH_TABLE(forms)[chosen.GetIndex()]();
  kernel.name = hwy::TargetName(target);
  return kernel;
}

}  // namespace lockstep::fingerprint::internal

#endif  // HWY_ONCE
