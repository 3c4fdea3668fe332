// The vector forms, compiled once for each instruction set by Highway, and the choice among them.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/fingerprint/digest_simd.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h, which the order of these includes must keep.
#include <hwy/highway.h>

#include "lockstep/fingerprint/digest_kernel_internal.h"
#include "lockstep/fingerprint/digest_keys_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::fingerprint::internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

AccumulateFunction vector_form() { return accumulate_scalar; }

#else

using D32 = hn::ScalableTag<std::uint32_t>;
using D64 = hn::RepartitionToWide<D32>;
using D16 = hn::RepartitionToNarrow<D32>;
using V32 = hn::Vec<D32>;
using V64 = hn::Vec<D64>;

/// The elements above `infinity` in magnitude become `nan`. Compared as signed numbers, whose sign bit was cleared.
template <class T, class D>
HWY_INLINE V32 replace_nans(D lanes, V32 words, T infinity, T nan) {
  const hn::RebindToSigned<D> as_signed;
  const auto values = hn::BitCast(lanes, words);
  const auto magnitude = hn::And(values, hn::Set(lanes, static_cast<T>(hwy::LimitsMax<std::make_signed_t<T>>())));
  const auto is_nan = hn::Gt(hn::BitCast(as_signed, magnitude),
                             hn::BitCast(as_signed, hn::Set(lanes, infinity)));
  return hn::BitCast(D32(), hn::IfThenElse(hn::RebindMask(lanes, is_nan), hn::Set(lanes, nan), values));
}

template <Canon canon>
HWY_INLINE V32 canonical(V32 words) {
  if constexpr (canon == Canon::float16) return replace_nans<std::uint16_t>(D16(), words, 0x7c00, 0x7e00);
  if constexpr (canon == Canon::bfloat16) return replace_nans<std::uint16_t>(D16(), words, 0x7f80, 0x7fc0);
  if constexpr (canon == Canon::float32) return replace_nans<std::uint32_t>(D32(), words, 0x7f800000, 0x7fc00000);
  if constexpr (canon == Canon::float64) {
    return replace_nans<std::uint64_t>(D64(), words, 0x7ff0000000000000, 0x7ff8000000000000);
  }
  return words;
}

/// acc + even words times even keys + odd words times odd keys, as 64-bit products.
HWY_INLINE void multiply_add(V32 words, V32 odd_words, const std::uint32_t* keys, V64& even, V64& odd) {
  const V32 key = hn::LoadU(D32(), keys);
  const V32 odd_key = hn::BitCast(D32(), hn::ShiftRight<32>(hn::BitCast(D64(), key)));
  even = hn::Add(even, hn::MulEven(words, key));
  odd = hn::Add(odd, hn::MulEven(odd_words, odd_key));
}

template <Canon canon, bool copying>
void accumulate(const std::uint8_t* source, std::uint8_t* copy_to, std::size_t words, std::size_t j,
                std::uint64_t sums[2]) {
  const D32 d32;
  const D64 d64;
  const std::size_t step = hn::Lanes(d32);
  V64 even0 = hn::Zero(d64), odd0 = hn::Zero(d64), even1 = hn::Zero(d64), odd1 = hn::Zero(d64);
  const std::uint32_t* const keys0 = kWordKeys[0].data() + j;
  const std::uint32_t* const keys1 = kWordKeys[1].data() + j;
  std::size_t k = 0;
  for (; k + step <= words; k += step) {
    const V32 loaded = hn::BitCast(d32, hn::LoadU(hn::Repartition<std::uint8_t, D32>(), source + 4 * k));
    if constexpr (copying) {
      hn::StoreU(hn::BitCast(hn::Repartition<std::uint8_t, D32>(), loaded), hn::Repartition<std::uint8_t, D32>(),
                 copy_to + 4 * k);
    }
    const V32 word = canonical<canon>(loaded);
    const V32 odd_word = hn::BitCast(d32, hn::ShiftRight<32>(hn::BitCast(d64, word)));
    multiply_add(word, odd_word, keys0 + k, even0, odd0);
    multiply_add(word, odd_word, keys1 + k, even1, odd1);
  }
  sums[0] += hn::GetLane(hn::SumOfLanes(d64, hn::Add(even0, odd0)));
  sums[1] += hn::GetLane(hn::SumOfLanes(d64, hn::Add(even1, odd1)));
  if (k < words) {
    accumulate_scalar(source + 4 * k, copying ? copy_to + 4 * k : nullptr, words - k, j + k, canon, sums);
  }
}

template <Canon canon>
void accumulate_as(const std::uint8_t* source, std::uint8_t* copy_to, std::size_t words, std::size_t j,
                   std::uint64_t sums[2]) {
  if (copy_to == nullptr) {
    accumulate<canon, false>(source, nullptr, words, j, sums);
  } else {
    accumulate<canon, true>(source, copy_to, words, j, sums);
  }
}

void accumulate_vector(const std::uint8_t* source, std::uint8_t* copy_to, std::size_t words, std::size_t j, Canon canon,
                       std::uint64_t sums[2]) {
  switch (canon) {
    case Canon::none:
      return accumulate_as<Canon::none>(source, copy_to, words, j, sums);
    case Canon::float16:
      return accumulate_as<Canon::float16>(source, copy_to, words, j, sums);
    case Canon::bfloat16:
      return accumulate_as<Canon::bfloat16>(source, copy_to, words, j, sums);
    case Canon::float32:
      return accumulate_as<Canon::float32>(source, copy_to, words, j, sums);
    case Canon::float64:
      return accumulate_as<Canon::float64>(source, copy_to, words, j, sums);
  }
}

AccumulateFunction vector_form() { return accumulate_vector; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::fingerprint::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/base/error.h"

namespace lockstep::fingerprint::internal {
namespace {

HWY_EXPORT(vector_form);

// The targets both compiled here and offered by the machine; the lowest bit is the best.
std::int64_t usable_targets() { return hwy::SupportedTargets() & HWY_TARGETS & ~(HWY_SCALAR | HWY_EMU128); }

Kernel kernel_of(std::int64_t target) {
  hwy::ChosenTarget chosen;
  chosen.Update(target);
  return {HWY_DISPATCH_TABLE(vector_form)[chosen.GetIndex()](), hwy::TargetName(target)};
}

std::vector<const char*> make_names() {
  std::vector<const char*> names;
  for (std::int64_t rest = usable_targets(); rest != 0; rest &= rest - 1) names.push_back(hwy::TargetName(rest & -rest));
  names.push_back("SCALAR");
  names.push_back(nullptr);
  return names;
}

Kernel choose() {
  const char* const wanted = std::getenv("LOCKSTEP_ISA");
  return kernel_named(wanted != nullptr && *wanted != '\0' ? wanted : kernel_names()[0]);
}

Kernel& chosen_kernel() {
  static Kernel chosen = choose();
  return chosen;
}

}  // namespace

const char* const* kernel_names() {
  static const std::vector<const char*> names = make_names();
  return names.data();
}

Kernel kernel_named(const char* name) {
  const std::string_view wanted(name);
  if (wanted == "SCALAR") return {};
  for (std::int64_t rest = usable_targets(); rest != 0; rest &= rest - 1) {
    const std::int64_t target = rest & -rest;
    if (wanted == hwy::TargetName(target)) return kernel_of(target);
  }
  std::string offered;
  for (const char* const* known = kernel_names(); *known != nullptr; ++known) {
    offered += (offered.empty() ? "" : ", ") + std::string(*known);
  }
  fail(ErrorCode::invalid_argument,
       {"digest", "instruction set (LOCKSTEP_ISA)", "one of " + offered, std::string(wanted), {}});
}

const Kernel& kernel() { return chosen_kernel(); }

void force_kernel(const Kernel& forced) { chosen_kernel() = forced; }

}  // namespace lockstep::fingerprint::internal

#endif  // HWY_ONCE
