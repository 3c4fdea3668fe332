#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/dropout/dropout_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/dropout/dropout_internal.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/lanes_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::dropout_draws {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vec = simd::HWY_NAMESPACE;
using D = vec::LaneTag;
using V = vec::LaneVector;
using DU = hn::RebindToUnsigned<D>;
using VU = hn::Vec<DU>;

// ---- Philox4x32-10 (Salmon et al., SC 2011), a counter in each place of four vectors

/// The halves of a · b.
struct Product {
  VU high, low;
};

#if HWY_TARGET == HWY_SCALAR

HWY_INLINE Product multiply(VU a, VU b) {
  const std::uint64_t product = std::uint64_t{hn::GetLane(a)} * hn::GetLane(b);
  return {hn::Set(DU(), static_cast<std::uint32_t>(product >> 32)),
          hn::Set(DU(), static_cast<std::uint32_t>(product))};
}

#else

HWY_INLINE Product multiply(VU a, VU b) {
  const hn::RepartitionToWide<DU> wide;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(DU(), hn::ShiftRight<32>(hn::BitCast(wide, a))), b);
  return {hn::OddEven(hn::BitCast(DU(), odd), hn::BitCast(DU(), hn::ShiftRight<32>(even))),
          hn::OddEven(hn::BitCast(DU(), hn::ShiftLeft<32>(odd)), hn::BitCast(DU(), even))};
}

#endif

struct Words {
  VU w0, w1, w2, w3;
};

HWY_INLINE Words philox(std::uint64_t seed, Words c) {
  const DU d;
  const VU m0 = hn::Set(d, 0xd2511f53u), m1 = hn::Set(d, 0xcd9e8d57u);
  auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(c.w0, m0), p1 = multiply(c.w2, m1);
    c = {hn::Xor(hn::Xor(p1.high, c.w1), hn::Set(d, k0)), p1.low,
         hn::Xor(hn::Xor(p0.high, c.w3), hn::Set(d, k1)), p0.low};
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c;
}

// ---- Elements

/// The words of the elements from 4 · block on, as many as four vectors hold, in the elements' order.
HWY_INLINE void draw_words(const Call& call, std::int64_t sample, std::int64_t block, std::uint32_t* words) {
  const DU d;
  const Words counters{hn::Set(d, call.stream), hn::Set(d, call.step),
                       hn::Set(d, call.first_sample + static_cast<std::uint32_t>(sample)),
                       hn::Iota(d, static_cast<std::uint32_t>(block))};
  const Words drawn = philox(call.seed, counters);
  hn::StoreInterleaved4(drawn.w0, drawn.w1, drawn.w2, drawn.w3, d, words);
}

/// Elements begin … end - 1 of a sample, begin a multiple of 4.
void run_sample(const Call& call, std::int64_t sample, std::int64_t begin, std::int64_t end) {
  const D d;
  const auto many = 4 * static_cast<std::int64_t>(hn::Lanes(d));
  const V scale = hn::Set(d, call.scale);
  const VU threshold = hn::Set(DU(), static_cast<std::uint32_t>(call.threshold));
  HWY_ALIGN std::uint32_t words[4 * HWY_MAX_BYTES / sizeof(std::uint32_t)];
  for (std::int64_t first = begin; first < end; first += many) {
    draw_words(call, sample, first / 4, words);
    const std::int64_t count = std::min(many, end - first), offset = sample * call.elements + first;
    if (call.keeps != nullptr) {
      for (std::int64_t i = 0; i < count; ++i) call.keeps[offset + i] = words[i] >= call.threshold ? 1 : 0;
      continue;
    }
    const float* const x = call.x + offset;
    float* const y = call.y + offset;
    vec::for_each_vector(0, count, [&](auto place) HWY_ATTR {
      const auto drops = hn::Gt(threshold, hn::Load(DU(), words + place.j));
      place.store(hn::IfThenZeroElse(hn::RebindMask(d, drops), hn::Mul(place.load(x), scale)), y);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::dropout_draws
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::dropout_draws {
namespace {

HWY_EXPORT(run_sample);

constexpr std::int64_t kUnit = 1024;  // elements that a thread takes at least, whole blocks of draws
constexpr std::int64_t kGrain = 8;    // units that are worth a thread's while

void drop_all(const Call& call) {
  const std::int64_t count = call.samples * call.elements;
  if (call.keeps != nullptr) std::fill(call.keeps, call.keeps + count, std::uint8_t{0});
  if (call.y != nullptr) std::fill(call.y, call.y + count, 0.0f);
}

}  // namespace

void run_cpu(const Call& call) {
  if (call.threshold >> 32 != 0) return drop_all(call);
  const auto form = LOCKSTEP_SIMD_CALL(run_sample);
  const std::int64_t units = (call.elements + kUnit - 1) / kUnit;
  parallel::for_each_range(call.samples * units, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i % units * kUnit;
      form(call, i / units, first, std::min(call.elements, first + kUnit));
    }
  });
}

}  // namespace lockstep::dropout_draws

#endif  // HWY_ONCE
