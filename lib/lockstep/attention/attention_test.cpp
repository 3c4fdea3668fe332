#include "lockstep/attention/attention.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/attention/attention_ref.h"
#include "lockstep/attention/attention_vectors.h"
#include "lockstep/base/device.h"
#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// 24 random bits scaled by 2^-3 … 2^0.
Values random_values(std::int64_t count, std::uint32_t seed) {
  std::uint32_t state = seed;
  Values values(static_cast<std::size_t>(count));
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = std::ldexp(static_cast<float>(static_cast<std::int32_t>(state >> 8) - (1 << 23)),
                       static_cast<int>(state >> 5 & 3) - 26);
  }
  return values;
}

enum class Layout { heads_first, tokens_first, packed };
enum class Masks { none, keep, add, both };

struct Case {
  AttentionExtents x;
  Causal causal = Causal::none;
  Masks masks = Masks::none;
  std::vector<std::int64_t> query_lengths = {}, key_lengths = {};
  Layout layout = Layout::heads_first;
  float scale = 0.125f;

  std::string text() const {
    std::string to = std::to_string(x.samples) + " samples, " + std::to_string(x.heads) + "/" +
                     std::to_string(x.kv_heads) + " heads, " + std::to_string(x.queries) + " x " +
                     std::to_string(x.keys) + ", " + std::to_string(x.head_size) + "/" +
                     std::to_string(x.value_size);
    return to + ", causal " + std::to_string(static_cast<int>(causal)) + ", masks " +
           std::to_string(static_cast<int>(masks)) + ", layout " + std::to_string(static_cast<int>(layout));
  }
  std::int64_t queries_of(std::int64_t b) const {
    return query_lengths.empty() ? x.queries : query_lengths[static_cast<std::size_t>(b)];
  }
  std::int64_t keys_of(std::int64_t b) const {
    return key_lengths.empty() ? x.keys : key_lengths[static_cast<std::size_t>(b)];
  }
};

/// Where the elements of a tensor lie: [samples, heads, tokens, features] in some order of axes.
struct Place {
  std::int64_t sample_stride, head_stride, token_stride;

  Place(Layout layout, std::int64_t heads, std::int64_t tokens, std::int64_t features)
      : sample_stride(layout == Layout::packed ? 0 : heads * tokens * features),
        head_stride(layout == Layout::heads_first ? tokens * features : features),
        token_stride(layout == Layout::heads_first ? features : heads * features) {}
  std::int64_t at(std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t d) const {
    return b * sample_stride + h * head_stride + t * token_stride + d;
  }
};

/// The operands of a call, and the call itself. Packed samples have their lengths' tokens and no more.
struct Problem {
  Case of;
  Values q, k, v, d_o;
  std::vector<std::int64_t> query_starts, key_starts;
  std::unique_ptr<bool[]> keep;
  Values add;

  explicit Problem(const Case& given, std::uint32_t seed = 1) : of(given) {
    const AttentionExtents& x = of.x;
    std::int64_t queries = 0, keys = 0;
    for (std::int64_t b = 0; b < x.samples; ++b) {
      if (of.layout == Layout::packed) {
        query_starts.push_back(queries);
        key_starts.push_back(keys);
      }
      queries += of.layout == Layout::packed ? of.queries_of(b) : x.queries;
      keys += of.layout == Layout::packed ? of.keys_of(b) : x.keys;
    }
    q = random_values(queries * x.heads * x.head_size, seed);
    k = random_values(keys * x.kv_heads * x.head_size, seed + 1);
    v = random_values(keys * x.kv_heads * x.value_size, seed + 2);
    d_o = random_values(queries * x.heads * x.value_size, seed + 3);
    set_masks(seed);
  }

  std::int64_t mask_elements() const { return of.x.samples * of.x.heads * of.x.queries * of.x.keys; }

  /// [samples, heads, queries, keys]; a mask that is added has some -inf.
  void set_masks(std::uint32_t seed) {
    const std::int64_t elements = mask_elements();
    const Values random = random_values(elements, seed + 4);
    if (of.masks == Masks::keep || of.masks == Masks::both) {
      keep.reset(new bool[static_cast<std::size_t>(elements)]);
      for (std::size_t i = 0; i < random.size(); ++i) keep[i] = (i * 2654435761u >> 7 & 3) != 0;
    }
    if (of.masks == Masks::add || of.masks == Masks::both) {
      add = random;
      for (std::size_t i = 0; i < add.size(); i += 5) add[i] = -kInfinity;
    }
  }

  std::int64_t query_start(std::int64_t b) const {
    return query_starts.empty() ? 0 : query_starts[static_cast<std::size_t>(b)];
  }
  std::int64_t key_start(std::int64_t b) const {
    return key_starts.empty() ? 0 : key_starts[static_cast<std::size_t>(b)];
  }
  Place place(std::int64_t heads, std::int64_t tokens, std::int64_t features) const {
    return Place(of.layout, heads, tokens, features);
  }
  Place q_place() const { return place(of.x.heads, of.x.queries, of.x.head_size); }
  Place o_place() const { return place(of.x.heads, of.x.queries, of.x.value_size); }
  Place k_place() const { return place(of.x.kv_heads, of.x.keys, of.x.head_size); }
  Place v_place() const { return place(of.x.kv_heads, of.x.keys, of.x.value_size); }
  std::int64_t lse_sample_stride() const {
    return of.layout == Layout::packed ? 0 : of.x.heads * of.x.queries;
  }
  std::int64_t lse_head_stride() const {
    return of.layout == Layout::packed ? static_cast<std::int64_t>(lse_size()) / of.x.heads : of.x.queries;
  }
  std::size_t lse_size() const {
    return of.x.value_size == 0 ? static_cast<std::size_t>(of.x.samples * of.x.heads * of.x.queries)
                                : d_o.size() / static_cast<std::size_t>(of.x.value_size);
  }

  AttentionOptions options() const {
    AttentionOptions options;
    options.scale = of.scale;
    options.causal = of.causal;
    options.mask.keep = keep.get();
    options.mask.add = add.empty() ? nullptr : add.data();
    options.mask.key_stride = 1;
    options.mask.query_stride = of.x.keys;
    options.mask.head_stride = of.x.queries * of.x.keys;
    options.mask.sample_stride = of.x.heads * of.x.queries * of.x.keys;
    if (!of.query_lengths.empty()) options.sequences.query_lengths = of.query_lengths.data();
    if (!of.key_lengths.empty()) options.sequences.key_lengths = of.key_lengths.data();
    if (!query_starts.empty()) options.sequences.query_starts = query_starts.data();
    if (!key_starts.empty()) options.sequences.key_starts = key_starts.data();
    return options;
  }
};

struct Results {
  Values o, lse, d_q, d_k, d_v;
};

ConstHeads operand(const Values& data, const Place& place) {
  return {data.data(), place.sample_stride, place.head_stride, place.token_stride};
}
Heads result(Values& data, const Place& place) {
  return {data.data(), place.sample_stride, place.head_stride, place.token_stride};
}

// ---- The twins under one name

struct Cpu {
  static Results run(const Problem& p) {
    Results to{Values(p.d_o.size(), -7.0f), Values(p.lse_size(), -7.0f), Values(p.q.size(), -7.0f),
               Values(p.k.size(), -7.0f), Values(p.v.size(), -7.0f)};
    const ConstHeads q = operand(p.q, p.q_place()), k = operand(p.k, p.k_place()),
                     v = operand(p.v, p.v_place());
    attention(q, k, v, result(to.o, p.o_place()), {to.lse.data(), p.lse_sample_stride(), p.lse_head_stride()},
              p.of.x, p.options());
    attention_backward(operand(p.d_o, p.o_place()), q, k, v, operand(to.o, p.o_place()),
                       {to.lse.data(), p.lse_sample_stride(), p.lse_head_stride()},
                       result(to.d_q, p.q_place()), result(to.d_k, p.k_place()), result(to.d_v, p.v_place()),
                       p.of.x, p.options());
    return to;
  }
};

/// The problem's memory on a device, behind `offset` elements, so that a test chooses how far from 16 bytes
/// it lies.
class OnDevice {
 public:
  explicit OnDevice(const Problem& p, std::size_t offset = 0)
      : p_(p),
        q_(p.q, offset),
        k_(p.k, offset),
        v_(p.v, offset),
        d_o_(p.d_o, offset),
        add_(p.add),
        o_(Values(p.d_o.size(), -7.0f), offset),
        lse_(Values(p.lse_size(), -7.0f), offset),
        d_q_(Values(p.q.size(), -7.0f), offset),
        d_k_(Values(p.k.size(), -7.0f), offset),
        d_v_(Values(p.v.size(), -7.0f), offset),
        keep_(p.keep == nullptr ? 1 : static_cast<std::size_t>(p.mask_elements())),
        query_lengths_(p.of.query_lengths),
        key_lengths_(p.of.key_lengths),
        query_starts_(p.query_starts),
        key_starts_(p.key_starts),
        scratch_(static_cast<std::size_t>(attention_backward_scratch_bytes(p.of.x))) {
    if (p.keep != nullptr) keep_.copy_from_host(p.keep.get());
  }

  void forward() const {
    attention(at(q_, p_.q_place()), at(k_, p_.k_place()), at(v_, p_.v_place()), to(o_, p_.o_place()),
              {lse_.data(), p_.lse_sample_stride(), p_.lse_head_stride()}, p_.of.x, options(), Device::cuda);
  }
  /// The gradients whose bits 1, 2, 4 are set: q's, k's, v's.
  void backward(int wanted = 7) const {
    const auto result_of = [&](const DeviceValues<float>& values, const Place& place, int bit) {
      return (wanted & bit) != 0 ? to(values, place) : Heads{};
    };
    attention_backward(
        at(d_o_, p_.o_place()), at(q_, p_.q_place()), at(k_, p_.k_place()), at(v_, p_.v_place()),
        at(o_, p_.o_place()), {lse_.data(), p_.lse_sample_stride(), p_.lse_head_stride()},
        result_of(d_q_, p_.q_place(), 1), result_of(d_k_, p_.k_place(), 2), result_of(d_v_, p_.v_place(), 4),
        p_.of.x, options(), Device::cuda, nullptr, scratch_.data());
  }
  Results results() const {
    return {o_.values(), lse_.values(), d_q_.values(), d_k_.values(), d_v_.values()};
  }

 private:
  static ConstHeads at(const DeviceValues<float>& data, const Place& place) {
    return {data.data(), place.sample_stride, place.head_stride, place.token_stride};
  }
  static Heads to(const DeviceValues<float>& data, const Place& place) {
    return {data.data(), place.sample_stride, place.head_stride, place.token_stride};
  }
  AttentionOptions options() const {
    AttentionOptions options = p_.options();
    if (options.mask.keep != nullptr) options.mask.keep = static_cast<const bool*>(keep_.data());
    if (options.mask.add != nullptr) options.mask.add = add_.data();
    AttentionSequences& of = options.sequences;
    if (of.query_lengths != nullptr) of.query_lengths = query_lengths_.data();
    if (of.key_lengths != nullptr) of.key_lengths = key_lengths_.data();
    if (of.query_starts != nullptr) of.query_starts = query_starts_.data();
    if (of.key_starts != nullptr) of.key_starts = key_starts_.data();
    return options;
  }

  const Problem& p_;
  DeviceValues<float> q_, k_, v_, d_o_, add_, o_, lse_, d_q_, d_k_, d_v_;
  DeviceBuffer keep_;
  DeviceValues<std::int64_t> query_lengths_, key_lengths_, query_starts_, key_starts_;
  DeviceBuffer scratch_;
};

struct Gpu {
  static Results run(const Problem& p, std::size_t offset = 0) {
    const OnDevice device(p, offset);
    device.forward();
    device.backward();
    return device.results();
  }
};

template <class T>
attention_ref::Rows<T> gather(const Values& from, const Place& place, std::int64_t b, std::int64_t h,
                              std::int64_t start, std::int64_t tokens, std::int64_t features) {
  attention_ref::Rows<T> to(tokens, features);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t d = 0; d < features; ++d)
      to.at(t, d) = static_cast<T>(from[static_cast<std::size_t>(place.at(b, h, start + t, d))]);
  return to;
}

template <class T>
attention_ref::Sequence<T> sequence(const Problem& p, std::int64_t b, std::int64_t h) {
  const AttentionExtents& x = p.of.x;
  const std::int64_t kv = h / (x.heads / x.kv_heads), queries = p.of.queries_of(b), keys = p.of.keys_of(b);
  attention_ref::Sequence<T> to;
  to.q = gather<T>(p.q, p.q_place(), b, h, p.query_start(b), queries, x.head_size);
  to.k = gather<T>(p.k, p.k_place(), b, kv, p.key_start(b), keys, x.head_size);
  to.v = gather<T>(p.v, p.v_place(), b, kv, p.key_start(b), keys, x.value_size);
  to.scale = static_cast<T>(p.of.scale);
  const std::int64_t last_seen = p.of.causal == Causal::lower_right ? keys - queries : 0;
  to.mask = [&p, b, h, last_seen](T s, std::int64_t i, std::int64_t j) {
    const AttentionExtents& e = p.of.x;
    const auto at = static_cast<std::size_t>(((b * e.heads + h) * e.queries + i) * e.keys + j);
    if (p.of.causal != Causal::none && j > i + last_seen) return attention_ref::kNothing<T>;
    if (p.keep != nullptr && !p.keep[at]) return attention_ref::kNothing<T>;
    if (p.add.empty()) return s;
    return p.add[at] == -kInfinity ? attention_ref::kNothing<T> : s + static_cast<T>(p.add[at]);
  };
  return to;
}

template <class T>
void scatter(const attention_ref::Rows<T>& from, std::vector<T>& to, const Place& place, std::int64_t b,
             std::int64_t h, std::int64_t start, bool adds = false) {
  for (std::int64_t t = 0; t < from.rows; ++t) {
    for (std::int64_t d = 0; d < from.cols; ++d) {
      T& element = to[static_cast<std::size_t>(place.at(b, h, start + t, d))];
      element = adds ? element + from.at(t, d) : from.at(t, d);
    }
  }
}

template <class T>
struct WideResults {
  std::vector<T> o, lse, d_q, d_k, d_v;
};

/// Places behind a sample's length: +0, and -inf for lse.
template <class T>
WideResults<T> run_reference(const Problem& p) {
  const AttentionExtents& x = p.of.x;
  WideResults<T> to{std::vector<T>(p.d_o.size()), std::vector<T>(p.lse_size(), attention_ref::kNothing<T>),
                    std::vector<T>(p.q.size()), std::vector<T>(p.k.size()), std::vector<T>(p.v.size())};
  for (std::int64_t b = 0; b < x.samples; ++b) {
    for (std::int64_t h = 0; h < x.heads; ++h) {
      const attention_ref::Sequence<T> of = sequence<T>(p, b, h);
      const attention_ref::Result<T> forward = attention_ref::forward(of);
      const attention_ref::Gradients<T> backward = attention_ref::backward(
          of, gather<T>(p.d_o, p.o_place(), b, h, p.query_start(b), of.q.rows, x.value_size), forward);
      const std::int64_t group = x.heads / x.kv_heads, kv = h / group;
      scatter(forward.o, to.o, p.o_place(), b, h, p.query_start(b));
      for (std::int64_t t = 0; t < of.q.rows; ++t)
        to.lse[static_cast<std::size_t>(b * p.lse_sample_stride() + h * p.lse_head_stride() +
                                        p.query_start(b) + t)] = forward.lse[static_cast<std::size_t>(t)];
      scatter(backward.q, to.d_q, p.q_place(), b, h, p.query_start(b));
      scatter(backward.k, to.d_k, p.k_place(), b, kv, p.key_start(b), h % group != 0);
      scatter(backward.v, to.d_v, p.v_place(), b, kv, p.key_start(b), h % group != 0);
    }
  }
  return to;
}

struct Ref {
  static Results run(const Problem& p) {
    const WideResults<float> to = run_reference<float>(p);
    return {to.o, to.lse, to.d_q, to.d_k, to.d_v};
  }
};

void expect_same(const Results& got, const Results& expected, const std::string& what) {
  EXPECT_EQ(bits(got.o), bits(expected.o)) << "o: " << what;
  EXPECT_EQ(bits(got.lse), bits(expected.lse)) << "lse: " << what;
  EXPECT_EQ(bits(got.d_q), bits(expected.d_q)) << "d_q: " << what;
  EXPECT_EQ(bits(got.d_k), bits(expected.d_k)) << "d_k: " << what;
  EXPECT_EQ(bits(got.d_v), bits(expected.d_v)) << "d_v: " << what;
}

void expect_reference(const Case& of) {
  const Problem p(of);
  const Results expected = Ref::run(p);
  simd::in_every_form([&] { expect_same(Cpu::run(p), expected, of.text()); });
}

TEST(Attention, HasTheReferencesBitsInEveryForm) {
  const Case cases[] = {
      {{1, 1, 1, 1, 1, 1, 1}},      {{2, 3, 3, 5, 7, 4, 4}},        {{1, 2, 2, 64, 64, 64, 64}},
      {{2, 1, 1, 65, 129, 16, 16}}, {{1, 1, 1, 1, 300, 64, 64}},    {{1, 1, 1, 200, 1, 8, 8}},
      {{1, 1, 1, 17, 70, 40, 24}},  {{1, 1, 1, 70, 130, 128, 128}}, {{1, 1, 1, 33, 66, 80, 100}},
      {{1, 1, 1, 20, 40, 300, 3}},
  };
  for (Case of : cases) {
    for (const Causal causal : {Causal::none, Causal::upper_left, Causal::lower_right}) {
      of.causal = causal;
      expect_reference(of);
    }
  }
}

TEST(Attention, LongSumsGoInChainsOf1024) {
  expect_reference({{1, 1, 1, 1100, 70, 4, 4}});
  expect_reference({{1, 1, 1, 10, 2100, 4, 4}});
  expect_reference({{1, 1, 1, 1100, 130, 4, 4}, Causal::upper_left});
  expect_reference({{1, 1, 1, 200, 1100, 4, 4}, Causal::lower_right, Masks::keep});
}

Problem problem_of(const AttentionVector& vector) {
  Problem p(Case{{1, 1, 1, vector.queries, vector.keys, vector.head_size, vector.value_size},
                 static_cast<Causal>(vector.causal)});
  p.of.scale = 0x1p-6f;
  std::uint32_t index = 0;
  for (Values* operand_of : {&p.q, &p.k, &p.v, &p.d_o})
    for (float& value : *operand_of) value = attention_element(index++);
  return p;
}

void expect_checksums(const Results& got, const AttentionVector& vector, const std::string& what) {
  const auto checksum = [](const Values& values) {
    const auto words = bits(values);
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j < words.size(); ++j) sum += words[j] * std::uint64_t{2 * j + 1};
    return sum;
  };
  EXPECT_EQ(checksum(got.o), vector.o) << what;
  EXPECT_EQ(checksum(got.lse), vector.lse) << what;
  EXPECT_EQ(checksum(got.d_q), vector.d_q) << what;
  EXPECT_EQ(checksum(got.d_k), vector.d_k) << what;
  EXPECT_EQ(checksum(got.d_v), vector.d_v) << what;
}

/// A causal query past 1,024 keys, of more keys, whose total and last chain both underflow to -0; the ends of
/// chains behind the last key that it sees make it +0.
Problem underflowing_problem() {
  Problem p(Case{{1, 1, 1, 1100, 2100, 1, 1}, Causal::upper_left});
  p.of.scale = 1;
  for (float& q : p.q) q = 1;
  for (std::size_t j = 0; j < p.k.size(); ++j) p.k[j] = j < 1024 ? 0.0f : j == 1024 ? 30.0f : 28.8f;
  for (std::size_t j = 0; j < p.v.size(); ++j) p.v[j] = j == 1024 ? -0.0f : -0x1p-149f;
  return p;
}

TEST(Attention, ChainsEndBehindTheLastKeyThatIsSeen) {
  const Problem p = underflowing_problem();
  const Results expected = Ref::run(p);
  EXPECT_EQ(bits(expected.o)[1090], 0u);
  simd::in_every_form([&] { expect_same(Cpu::run(p), expected, p.of.text()); });
}

TEST(Attention, GivesTheExpectedBitsInEveryForm) {
  for (const AttentionVector& vector : kAttentionVectors) {
    const Problem p = problem_of(vector);
    simd::in_every_form([&] { expect_checksums(Cpu::run(p), vector, p.of.text()); });
  }
}

TEST(Attention, MasksChooseTheKeys) {
  for (const Masks masks : {Masks::keep, Masks::add, Masks::both}) {
    expect_reference({{2, 2, 2, 30, 150, 16, 16}, Causal::none, masks});
    expect_reference({{1, 2, 1, 70, 70, 64, 64}, Causal::upper_left, masks});
    expect_reference({{1, 1, 1, 100, 150, 20, 20}, Causal::lower_right, masks});
  }
}

TEST(Attention, HeadsShareKeys) {
  expect_reference({{2, 6, 2, 40, 70, 16, 16}, Causal::upper_left});
  expect_reference({{1, 4, 1, 10, 70, 16, 8}, Causal::none, Masks::keep});
}

TEST(Attention, LayoutsDifferInStridesAlone) {
  for (const Layout layout : {Layout::tokens_first, Layout::packed}) {
    for (const Causal causal : {Causal::none, Causal::lower_right}) {
      Case of{{3, 4, 2, 70, 90, 16, 24}, causal, Masks::none, {70, 1, 33}, {90, 65, 2}, layout};
      expect_reference(of);
      of.masks = Masks::keep;
      expect_reference(of);
    }
  }
}

TEST(Attention, LengthsHideWhatLiesBehind) {
  Case of{{3, 2, 2, 70, 130, 16, 16}, Causal::upper_left, Masks::none, {70, 0, 9}, {130, 64, 0}};
  expect_reference(of);
  Problem clean(of), dirty(of);
  const Place q = clean.q_place(), k = clean.k_place();
  for (std::int64_t h = 0; h < 2; ++h) {
    for (std::int64_t d = 0; d < 16; ++d) {
      for (std::int64_t t = 9; t < 70; ++t) {
        dirty.q[static_cast<std::size_t>(q.at(2, h, t, d))] = kNan;
        dirty.d_o[static_cast<std::size_t>(q.at(2, h, t, d))] = kNan;
      }
      for (std::int64_t t = 64; t < 130; ++t) {
        dirty.k[static_cast<std::size_t>(k.at(1, h, t, d))] = kNan;
        dirty.v[static_cast<std::size_t>(k.at(1, h, t, d))] = kNan;
      }
    }
  }
  const Results expected = Cpu::run(clean);
  simd::in_every_form([&] { expect_same(Cpu::run(dirty), expected, "NaN behind the lengths"); });
}

// ---- What a sample's results do not depend on

/// The part of a [samples, heads, tokens, features] tensor that belongs to one sample's first tokens.
Values part(const Values& of, std::int64_t heads, std::int64_t tokens, std::int64_t features, std::int64_t b,
            std::int64_t kept) {
  Values to;
  for (std::int64_t h = 0; h < heads; ++h)
    for (std::int64_t t = 0; t < kept; ++t)
      for (std::int64_t d = 0; d < features; ++d)
        to.push_back(of[static_cast<std::size_t>(((b * heads + h) * tokens + t) * features + d)]);
  return to;
}

TEST(Attention, SamplesDoNotKnowEachOtherNorTheLongest) {
  const Case all{{3, 2, 1, 150, 170, 16, 16}, Causal::lower_right, Masks::none, {150, 37, 90}, {170, 64, 91}};
  const Problem together(all);
  const Results expected = Cpu::run(together);
  for (std::int64_t b = 0; b < 3; ++b) {
    const std::int64_t queries = all.queries_of(b), keys = all.keys_of(b);
    Problem alone(Case{{1, 2, 1, queries, keys, 16, 16}, Causal::lower_right});
    alone.q = part(together.q, 2, 150, 16, b, queries);
    alone.k = part(together.k, 1, 170, 16, b, keys);
    alone.v = part(together.v, 1, 170, 16, b, keys);
    alone.d_o = part(together.d_o, 2, 150, 16, b, queries);
    const Results own{part(expected.o, 2, 150, 16, b, queries), part(expected.lse, 2, 150, 1, b, queries),
                      part(expected.d_q, 2, 150, 16, b, queries), part(expected.d_k, 1, 170, 16, b, keys),
                      part(expected.d_v, 1, 170, 16, b, keys)};
    simd::in_every_form([&] { expect_same(Cpu::run(alone), own, "sample " + std::to_string(b)); });
  }
}

TEST(Attention, AQuerysRowDoesNotKnowTheOthers) {
  const Problem together(Case{{1, 2, 2, 70, 150, 24, 24}});
  const Results expected = Cpu::run(together);
  for (std::int64_t t = 0; t < 70; ++t) {
    Problem alone(Case{{1, 2, 2, 1, 150, 24, 24}});
    alone.k = together.k;
    alone.v = together.v;
    const auto row = [&](const Values& of, std::int64_t features) {
      Values to;
      for (std::int64_t h = 0; h < 2; ++h)
        to.insert(to.end(), of.begin() + (h * 70 + t) * features, of.begin() + (h * 70 + t + 1) * features);
      return to;
    };
    alone.q = row(together.q, 24);
    alone.d_o = row(together.d_o, 24);
    const Results got = Cpu::run(alone);
    EXPECT_EQ(bits(got.o), bits(row(expected.o, 24))) << t;
    EXPECT_EQ(bits(got.lse), bits(row(expected.lse, 1))) << t;
    EXPECT_EQ(bits(got.d_q), bits(row(expected.d_q, 24))) << t;
  }
}

TEST(Attention, ACausalPrefixHasTheBitsOfTheWhole) {
  const Problem whole(Case{{1, 1, 1, 200, 200, 16, 16}, Causal::upper_left});
  const Results expected = Cpu::run(whole);
  for (const std::int64_t length : {1, 63, 64, 65, 130}) {
    Problem prefix(Case{{1, 1, 1, length, length, 16, 16}, Causal::upper_left});
    prefix.q = part(whole.q, 1, 200, 16, 0, length);
    prefix.k = part(whole.k, 1, 200, 16, 0, length);
    prefix.v = part(whole.v, 1, 200, 16, 0, length);
    EXPECT_EQ(bits(Cpu::run(prefix).o), bits(part(expected.o, 1, 200, 16, 0, length))) << length;
  }
}

// ---- Special values

/// Calls visit(problem, what) with special values in each operand in turn.
template <class Visit>
void for_each_special_problem(const AttentionExtents& x, Visit visit) {
  for (const float value :
       {0.0f, -0.0f, 1e-42f, -1e-42f, 1e30f, -1e30f, 3e38f, kInfinity, -kInfinity, kNan}) {
    for (const Masks masks : {Masks::none, Masks::keep}) {
      for (Values Problem::*operand_of : {&Problem::q, &Problem::k, &Problem::v, &Problem::d_o}) {
        Problem p(Case{x, Causal::upper_left, masks});
        Values& values = p.*operand_of;
        for (std::size_t i = 3; i < values.size(); i += 211) values[i] = value;
        visit(p, std::to_string(value) + (operand_of == &Problem::q   ? " in q"
                                          : operand_of == &Problem::k ? " in k"
                                          : operand_of == &Problem::v ? " in v"
                                                                      : " in d_o"));
      }
    }
  }
}

TEST(Attention, SpecialValuesGoAsTheReferenceSays) {
  for_each_special_problem({1, 1, 1, 40, 150, 16, 16}, [](const Problem& p, const std::string& what) {
    const Results expected = Ref::run(p);
    simd::in_every_form([&] { expect_same(Cpu::run(p), expected, what); });
  });
}

TEST(Attention, AQueryThatSeesNothingIsZero) {
  Problem p(Case{{1, 1, 1, 3, 70, 4, 4}, Causal::none, Masks::keep});
  for (std::int64_t j = 0; j < 70; ++j) p.keep[70 + static_cast<std::size_t>(j)] = false;
  simd::in_every_form([&] {
    const Results got = Cpu::run(p);
    EXPECT_EQ(bits(Values(got.o.begin() + 4, got.o.begin() + 8)), bits(Values(4, 0.0f)));
    EXPECT_EQ(got.lse[1], -kInfinity);
    EXPECT_EQ(bits(Values(got.d_q.begin() + 4, got.d_q.begin() + 8)), bits(Values(4, 0.0f)));
  });
}

TEST(Attention, AMaskedKeysNanStaysOut) {
  Problem clean(Case{{1, 1, 1, 5, 200, 16, 16}, Causal::none, Masks::keep}), dirty(clean.of);
  for (std::int64_t i = 0; i < 5; ++i) {
    for (Problem* p : {&clean, &dirty}) {
      p->keep[static_cast<std::size_t>(i * 200 + 70)] = false;
      for (std::int64_t j = 128; j < 200; ++j) p->keep[static_cast<std::size_t>(i * 200 + j)] = false;
    }
  }
  dirty.k[70 * 16] = kNan;
  dirty.k[150 * 16] = kNan;
  dirty.v[150 * 16] = kNan;
  const Results expected = Cpu::run(clean);
  simd::in_every_form([&] {
    const Results got = Cpu::run(dirty);
    EXPECT_EQ(bits(got.o), bits(expected.o));
    EXPECT_EQ(bits(got.d_v), bits(expected.d_v));
  });
}

TEST(Attention, SubnormalsAreKeptForACallerThatFlushes) {
  Problem p(Case{{1, 1, 1, 20, 70, 16, 16}});
  for (float& value : p.v) value *= 0x1p-127f;
  for (float& value : p.d_o) value *= 0x1p-127f;
  const Results expected = Ref::run(p);
  FlushingCaller caller;
  const Results got = Cpu::run(p);
  EXPECT_TRUE(caller.end());
  expect_same(got, expected, "subnormals");
}

TEST(Attention, EmptyExtentsWriteNothingOrZeros) {
  for (const AttentionExtents& x : {AttentionExtents{0, 2, 2, 5, 5, 4, 4},
                                    {2, 0, 0, 5, 5, 4, 4},
                                    {2, 0, 2, 5, 5, 4, 4},
                                    {2, 2, 2, 0, 5, 4, 4},
                                    {2, 2, 2, 5, 0, 4, 4},
                                    {2, 2, 2, 5, 5, 0, 4},
                                    {2, 2, 2, 5, 5, 4, 0}}) {
    const Problem p{Case{x}};
    if (x.kv_heads == 0) {
      attention(operand(p.q, p.q_place()), operand(p.k, p.k_place()), operand(p.v, p.v_place()), {}, {}, x);
      continue;
    }
    expect_same(Cpu::run(p), Ref::run(p), p.of.text());
  }
}

TEST(Attention, GradientsThatNobodyWantsAreNotWritten) {
  const Problem p(Case{{1, 2, 1, 70, 80, 16, 16}, Causal::upper_left});
  const Results all = Cpu::run(p);
  for (int wanted = 1; wanted < 8; ++wanted) {
    Values d_q(p.q.size(), -7.0f), d_k(p.k.size(), -7.0f), d_v(p.v.size(), -7.0f);
    const auto of = [&](Values& values, const Place& place, int bit) {
      return (wanted & bit) != 0 ? result(values, place) : Heads{};
    };
    attention_backward(operand(p.d_o, p.o_place()), operand(p.q, p.q_place()), operand(p.k, p.k_place()),
                       operand(p.v, p.v_place()), operand(all.o, p.o_place()),
                       {all.lse.data(), p.lse_sample_stride(), p.lse_head_stride()}, of(d_q, p.q_place(), 1),
                       of(d_k, p.k_place(), 2), of(d_v, p.v_place(), 4), p.of.x, p.options());
    EXPECT_EQ(bits(d_q), bits((wanted & 1) != 0 ? all.d_q : Values(p.q.size(), -7.0f)));
    EXPECT_EQ(bits(d_k), bits((wanted & 2) != 0 ? all.d_k : Values(p.k.size(), -7.0f)));
    EXPECT_EQ(bits(d_v), bits((wanted & 4) != 0 ? all.d_v : Values(p.v.size(), -7.0f)));
  }
}

TEST(Attention, IsCloseToItsDoubleForm) {
  const Problem p(Case{{1, 2, 1, 130, 200, 64, 32}, Causal::lower_right, Masks::both});
  const Results got = Cpu::run(p);
  const WideResults<double> wide = run_reference<double>(p);
  const auto close = [](const Values& a, const std::vector<double>& b, const char* what) {
    double error = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      error += (a[i] - b[i]) * (a[i] - b[i]);
      size += b[i] * b[i];
    }
    EXPECT_LT(std::sqrt(error / size), 1e-6) << what << ": chains of 200 rounded terms";
  };
  close(got.o, wide.o, "o");
  close(got.lse, wide.lse, "lse");
  close(got.d_q, wide.d_q, "d_q");
  close(got.d_k, wide.d_k, "d_k");
  close(got.d_v, wide.d_v, "d_v");
}

TEST(Attention, BackwardIsTheDerivativeOfForward) {
  Problem p(Case{{1, 2, 1, 5, 9, 4, 3}, Causal::lower_right});
  p.of.scale = 0.7f;
  const auto loss = [&](const Problem& at) {
    const WideResults<double> to = run_reference<double>(at);
    double sum = 0;
    for (std::size_t i = 0; i < to.o.size(); ++i) sum += to.o[i] * p.d_o[i];
    return sum;
  };
  const Results got = Cpu::run(p);
  const auto check = [&](Values Problem::*operand_of, const Values& gradient) {
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      Problem above(p.of), below(p.of);
      constexpr float kStep = 0x1p-10f;
      (above.*operand_of)[i] += kStep;
      (below.*operand_of)[i] -= kStep;
      EXPECT_NEAR((loss(above) - loss(below)) / (2 * kStep), gradient[i], 1e-5)
          << "a difference quotient's error";
    }
  };
  check(&Problem::q, got.d_q);
  check(&Problem::k, got.d_k);
  check(&Problem::v, got.d_v);
}

// ---- On a device

class AttentionGpu : public GpuSuite<> {
 protected:
  static void expect_the_cpus_bits(const Problem& p, const std::string& what = {}) {
    const Results expected = Cpu::run(p);
    for (const std::size_t offset : {0, 1}) expect_same(Gpu::run(p, offset), expected, p.of.text() + what);
  }
  static void expect_the_cpus_bits(const Case& of) { expect_the_cpus_bits(Problem(of)); }
};

constexpr Causal kCausals[] = {Causal::none, Causal::upper_left, Causal::lower_right};

TEST_F(AttentionGpu, GivesTheExpectedBits) {
  for (const AttentionVector& vector : kAttentionVectors) {
    const Problem p = problem_of(vector);
    expect_checksums(Gpu::run(p), vector, p.of.text());
  }
}

TEST_F(AttentionGpu, HasTheCpusBitsForEveryHeadSize) {
  for (const std::int64_t size : {1, 2, 3, 31, 32, 33, 63, 64, 65, 80, 96, 100, 127, 128, 129, 200})
    for (const Causal causal : kCausals) {
      expect_the_cpus_bits(Case{{1, 2, 2, 70, 130, size, size}, causal});
      expect_the_cpus_bits(Case{{1, 1, 1, 66, 65, size, 200 - size / 2}, causal});
    }
  expect_the_cpus_bits(Case{{1, 1, 1, 5, 70, 1024, 300}});
  expect_the_cpus_bits(Case{{1, 1, 1, 70, 5, 17, 700}});
}

TEST_F(AttentionGpu, HasTheCpusBitsAtTheEdgesOfTiles) {
  for (const std::int64_t queries : {1, 63, 64, 65, 127, 128, 129, 200})
    for (const std::int64_t keys : {1, 63, 64, 65, 128, 190})
      for (const Causal causal : kCausals)
        expect_the_cpus_bits(Case{{2, 2, 1, queries, keys, 64, 64}, causal});
}

TEST_F(AttentionGpu, LongSumsGoInChainsOf1024) {
  for (const Causal causal : kCausals) {
    expect_the_cpus_bits(Case{{1, 2, 1, 1100, 70, 16, 16}, causal});
    expect_the_cpus_bits(Case{{1, 1, 1, 10, 2100, 16, 16}, causal});
    expect_the_cpus_bits(Case{{1, 2, 1, 2100, 1100, 16, 24}, causal, Masks::keep});
    expect_the_cpus_bits(Case{{1, 1, 1, 1100, 2100, 130, 8}, causal});
  }
}

// Maxima that grow from tile to tile, so that totals of ended chains are rescaled.
TEST_F(AttentionGpu, TotalsAreRescaled) {
  Problem p(Case{{1, 1, 1, 70, 2100, 32, 32}});
  for (std::size_t i = 0; i < p.k.size(); ++i) p.k[i] *= 1 + 0.001f * static_cast<float>(i / 32);
  p.of.scale = 1.5f;
  expect_the_cpus_bits(p);
}

TEST_F(AttentionGpu, ChainsEndBehindTheLastKeyThatIsSeen) { expect_the_cpus_bits(underflowing_problem()); }

TEST_F(AttentionGpu, MasksChooseTheKeys) {
  for (const Masks masks : {Masks::keep, Masks::add, Masks::both})
    for (const Causal causal : kCausals) {
      expect_the_cpus_bits(Case{{2, 4, 2, 30, 150, 16, 16}, causal, masks});
      expect_the_cpus_bits(Case{{1, 2, 1, 140, 130, 64, 64}, causal, masks});
    }
}

TEST_F(AttentionGpu, LayoutsAndLengths) {
  for (const Layout layout : {Layout::heads_first, Layout::tokens_first, Layout::packed})
    for (const Causal causal : kCausals)
      for (const Masks masks : {Masks::none, Masks::keep}) {
        expect_the_cpus_bits(
            Case{{4, 4, 2, 150, 170, 16, 24}, causal, masks, {150, 1, 0, 65}, {170, 65, 2, 0}, layout});
        expect_the_cpus_bits(Case{{2, 2, 2, 200, 70, 128, 96}, causal, masks, {150, 200}, {9, 70}, layout});
      }
}

TEST_F(AttentionGpu, ALengthThatIsImpossibleGivesNan) {
  Problem p(Case{{3, 2, 1, 70, 80, 16, 16}, Causal::none, Masks::none, {70, 71, 9}, {80, 3, 4}});
  const Results got = Gpu::run(p);
  p.of.query_lengths[1] = 0;
  const Results expected = Cpu::run(p);
  const auto expect_nan_in_the_second = [](const Values& values, const Values& others) {
    const std::size_t sample = values.size() / 3;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (i / sample == 1)
        EXPECT_TRUE(std::isnan(values[i])) << i;
      else
        EXPECT_EQ(bits(values[i]), bits(others[i])) << i;
  };
  expect_nan_in_the_second(got.o, expected.o);
  expect_nan_in_the_second(got.lse, expected.lse);
  expect_nan_in_the_second(got.d_q, expected.d_q);
  expect_nan_in_the_second(got.d_k, expected.d_k);
  expect_nan_in_the_second(got.d_v, expected.d_v);
}

TEST_F(AttentionGpu, SpecialValuesGoAsOnTheCpu) {
  for (const AttentionExtents& x : {AttentionExtents{1, 1, 1, 40, 150, 16, 16}, {1, 1, 1, 130, 70, 64, 70}})
    for_each_special_problem(
        x, [](const Problem& p, const std::string& what) { expect_the_cpus_bits(p, ", " + what); });
}

TEST_F(AttentionGpu, SubnormalsAreKept) {
  Problem p(Case{{1, 1, 1, 20, 70, 16, 16}});
  for (float& value : p.v) value *= 0x1p-127f;
  for (float& value : p.d_o) value *= 0x1p-127f;
  expect_the_cpus_bits(p);
}

TEST_F(AttentionGpu, EmptyExtentsWriteNothingOrZeros) {
  for (const AttentionExtents& x : {AttentionExtents{0, 2, 2, 5, 5, 4, 4},
                                    {2, 0, 2, 5, 5, 4, 4},
                                    {2, 2, 2, 0, 5, 4, 4},
                                    {2, 2, 2, 5, 0, 4, 4},
                                    {2, 2, 2, 5, 5, 0, 4},
                                    {2, 2, 2, 5, 5, 4, 0}})
    expect_the_cpus_bits(Case{x});
}

TEST_F(AttentionGpu, GradientsThatNobodyWantsAreNotWritten) {
  for (const std::int64_t size : {16, 130}) {
    const Problem p(Case{{1, 2, 1, 70, 80, size, 16}, Causal::upper_left});
    const Results all = Cpu::run(p);
    for (int wanted = 1; wanted < 8; ++wanted) {
      const OnDevice device(p);
      device.forward();
      device.backward(wanted);
      const Results got = device.results();
      EXPECT_EQ(bits(got.d_q), bits((wanted & 1) != 0 ? all.d_q : Values(p.q.size(), -7.0f)));
      EXPECT_EQ(bits(got.d_k), bits((wanted & 2) != 0 ? all.d_k : Values(p.k.size(), -7.0f)));
      EXPECT_EQ(bits(got.d_v), bits((wanted & 4) != 0 ? all.d_v : Values(p.v.size(), -7.0f)));
    }
  }
}

// Scratch is overwritten, and one block's work does not reach another's.
TEST_F(AttentionGpu, GivesTheSameAgainInTheSameScratch) {
  const Problem p(Case{{4, 12, 4, 300, 300, 64, 64}, Causal::upper_left});
  const Results expected = Cpu::run(p);
  const OnDevice device(p);
  device.forward();
  for (int turn = 0; turn < 3; ++turn) {
    device.backward();
    expect_same(device.results(), expected, p.of.text());
  }
}

/// A shape, layout and masks that `seed` chooses.
Case random_case(std::uint32_t seed) {
  std::uint32_t state = seed * 2654435761u + 1;
  const auto below = [&](std::int64_t end) {
    state = state * 1664525 + 1013904223;
    return static_cast<std::int64_t>(state >> 8) % end;
  };
  Case of;
  of.x.samples = 1 + below(3);
  of.x.kv_heads = 1 + below(2);
  of.x.heads = of.x.kv_heads * (1 + below(3));
  const std::int64_t longest = below(16) == 0 ? 1200 : 200, widest = below(4) == 0 ? 200 : 70;
  of.x.queries = 1 + below(longest);
  of.x.keys = 1 + below(longest);
  of.x.head_size = 1 + below(widest);
  of.x.value_size = below(3) == 0 ? 1 + below(widest) : of.x.head_size;
  of.causal = kCausals[below(3)];
  of.masks = static_cast<Masks>(below(8) < 4 ? 0 : below(4));
  of.layout = static_cast<Layout>(below(3));
  for (std::int64_t b = 0; b < of.x.samples && (of.layout == Layout::packed || below(2) == 0); ++b) {
    of.query_lengths.resize(static_cast<std::size_t>(of.x.samples), of.x.queries);
    of.key_lengths.resize(static_cast<std::size_t>(of.x.samples), of.x.keys);
    if (b == 0) continue;  // one sample has as many tokens as the extents say
    of.query_lengths[static_cast<std::size_t>(b)] = below(of.x.queries + 1);
    of.key_lengths[static_cast<std::size_t>(b)] = below(of.x.keys + 1);
  }
  return of;
}

TEST_F(AttentionGpu, HasTheCpusBitsForRandomShapes) {
  for (std::uint32_t seed = 1; seed <= 250; ++seed) {
    const Problem p(random_case(seed), seed);
    expect_same(Gpu::run(p, seed % 4), Cpu::run(p), "seed " + std::to_string(seed) + ": " + p.of.text());
    if (HasFailure()) return;
  }
}

// More tiles than a device works on at once, which wait for each other.
TEST_F(AttentionGpu, HasTheCpusBitsOfManyTilesSlow) {
  for (const Causal causal : {Causal::none, Causal::upper_left}) {
    const Problem p(Case{{8, 12, 12, 1024, 1024, 64, 64}, causal});
    expect_same(Gpu::run(p), Cpu::run(p), p.of.text());
    const Problem wide(Case{{2, 8, 2, 1500, 1500, 128, 128}, causal});
    expect_same(Gpu::run(wide), Cpu::run(wide), wide.of.text());
  }
}

// ---- The suite can fail

TEST(AttentionTwin, TilesThatAreAnchoredElsewhereGoRed) {
  const Problem p(Case{{1, 1, 1, 20, 300, 16, 16}});
  const Results expected = Ref::run(p);
  const attention_ref::Sequence<float> x = sequence<float>(p, 0, 0);
  Values o;
  for (std::int64_t i = 0; i < 20; ++i) {  // one softmax over all keys, then one product
    Values s;
    for (std::int64_t first = 0; first < 300; first += 64)
      for (const float value : attention_ref::products(x, i, first)) s.push_back(value);
    float m = -kInfinity, l = 0;
    for (const float value : s) m = std::max(m, value);
    for (float& value : s) l += value = math::exp(value - m);
    for (std::int64_t d = 0; d < 16; ++d) {
      float chain = 0;
      for (std::int64_t j = 0; j < 300; ++j)
        chain = std::fma(s[static_cast<std::size_t>(j)], x.v.at(j, d), chain);
      o.push_back(chain / l);
    }
  }
  EXPECT_NE(bits(o), bits(expected.o));
}

TEST(AttentionTwin, PaddingOnTheLeftGoesRed) {
  const Problem p(Case{{1, 1, 1, 1, 100, 16, 16}});
  Problem shifted(Case{{1, 1, 1, 1, 110, 16, 16}, Causal::none, Masks::keep});
  shifted.q = p.q;
  for (std::size_t j = 0; j < 110; ++j) shifted.keep[j] = j >= 10;
  std::copy(p.k.begin(), p.k.end(), shifted.k.begin() + 160);
  std::copy(p.v.begin(), p.v.end(), shifted.v.begin() + 160);
  EXPECT_NE(bits(Cpu::run(shifted).o), bits(Cpu::run(p).o));
}

// ---- float64

/// The double forms of a problem, with the places and strides of the float ones.
WideResults<double> run_wide(const Problem& p) {
  using Wide = std::vector<double>;
  const auto widen = [](const Values& narrow) { return Wide(narrow.begin(), narrow.end()); };
  const Wide q = widen(p.q), k = widen(p.k), v = widen(p.v), d_o = widen(p.d_o), add = widen(p.add);
  WideResults<double> to{Wide(d_o.size(), -7.0), Wide(p.lse_size(), -7.0), Wide(q.size(), -7.0),
                         Wide(k.size(), -7.0), Wide(v.size(), -7.0)};
  const AttentionOptions narrow = p.options();
  AttentionOptions64 options{narrow.scale, narrow.causal, {}, narrow.sequences};
  options.mask = {narrow.mask.keep,        add.empty() ? nullptr : add.data(), narrow.mask.sample_stride,
                  narrow.mask.head_stride, narrow.mask.query_stride,           narrow.mask.key_stride};
  const auto operand_at = [](const Wide& data, const Place& place) {
    return ConstHeads64{data.data(), place.sample_stride, place.head_stride, place.token_stride};
  };
  const auto result_at = [](Wide& data, const Place& place) {
    return Heads64{data.data(), place.sample_stride, place.head_stride, place.token_stride};
  };
  const ConstHeads64 q_at = operand_at(q, p.q_place()), k_at = operand_at(k, p.k_place()),
                     v_at = operand_at(v, p.v_place());
  attention(q_at, k_at, v_at, result_at(to.o, p.o_place()),
            {to.lse.data(), p.lse_sample_stride(), p.lse_head_stride()}, p.of.x, options);
  attention_backward(operand_at(d_o, p.o_place()), q_at, k_at, v_at, operand_at(to.o, p.o_place()),
                     {to.lse.data(), p.lse_sample_stride(), p.lse_head_stride()},
                     result_at(to.d_q, p.q_place()), result_at(to.d_k, p.k_place()),
                     result_at(to.d_v, p.v_place()), p.of.x, options);
  return to;
}

TEST(AttentionFp64, IsCloseToTheFloatForm) {
  const auto expect_close = [](const std::vector<double>& got, const Values& expected,
                               const std::string& what) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isinf(expected[i]))
        ASSERT_EQ(got[i], static_cast<double>(expected[i])) << what << ", " << i;
      else
        ASSERT_NEAR(got[i], expected[i], 1e-5 * (1 + std::fabs(got[i]))) << what << ", " << i;
    }
  };
  const Case cases[] = {
      {{2, 2, 2, 5, 70, 4, 3}},
      {{2, 4, 2, 7, 9, 4, 3}, Causal::lower_right, Masks::both, {}, {}, Layout::tokens_first},
      {{3, 2, 1, 6, 8, 4, 4}, Causal::upper_left, Masks::none, {6, 2, 0}, {8, 3, 1}},
      {{3, 2, 2, 6, 8, 4, 4}, Causal::none, Masks::keep, {6, 2, 1}, {8, 3, 4}, Layout::packed},
  };
  for (const Case& of : cases) {
    const Problem p(of);
    const Results narrow = Cpu::run(p);
    const WideResults<double> wide = run_wide(p);
    expect_close(wide.o, narrow.o, "o: " + of.text());
    expect_close(wide.lse, narrow.lse, "lse: " + of.text());
    expect_close(wide.d_q, narrow.d_q, "d_q: " + of.text());
    expect_close(wide.d_k, narrow.d_k, "d_k: " + of.text());
    expect_close(wide.d_v, narrow.d_v, "d_v: " + of.text());
  }
}

TEST(AttentionFp64, IsASoftmaxOfProducts) {
  const double q[2] = {0.5, -1.0}, k[4] = {0.25, 1.5, -0.75, 0.5}, v[2] = {2.0, -3.0};
  double o = 0, lse = 0;
  attention({q}, {k, 0, 0, 2}, {v, 0, 0, 1}, {&o}, {&lse}, {1, 1, 1, 1, 2, 2, 1}, {0.7});
  const double first = std::exp(0.7 * (0.125 - 1.5)), second = std::exp(0.7 * (-0.375 - 0.5));
  EXPECT_NEAR(o, (2 * first - 3 * second) / (first + second), 1e-15);
  EXPECT_NEAR(lse, std::log(first + second), 1e-15);
}

TEST(AttentionFp64, RefusesAsTheFloatFormDoes) {
  double m[4] = {};
  const auto refuses = [&](const AttentionExtents& x, const ConstHeads64& q, const char* words, Device device,
                           ErrorCode code) {
    expect_refusal([&] { attention(q, {m}, {m}, {m}, {m}, x, {}, device); }, words, code);
  };
  refuses({-1, 1, 1, 1, 1, 2, 2}, {m}, "attention: samples: expected 0 or more, got -1", Device::cpu,
          ErrorCode::invalid_argument);
  refuses({1, 1, 1, 1, 1, 2, 2}, {}, "attention: q: expected 2 elements of memory", Device::cpu,
          ErrorCode::invalid_argument);
  refuses({1, 1, 1, 1, 1, 2, 2}, {m}, "Device::cuda", Device::cuda, ErrorCode::unsupported);
}

// ---- Errors, by code and by words

TEST(AttentionErrors, SayWhatIsWrong) {
  const Problem p(Case{{2, 2, 1, 5, 6, 4, 4}});
  Values o(p.d_o.size()), lse(p.lse_size());
  const auto call = [&](auto change) {
    AttentionExtents x = p.of.x;
    AttentionOptions options = p.options();
    ConstHeads q = operand(p.q, p.q_place());
    Heads out = result(o, p.o_place());
    Device device = Device::cpu;
    change(x, options, q, out, device);
    attention(q, operand(p.k, p.k_place()), operand(p.v, p.v_place()), out,
              {lse.data(), p.lse_sample_stride(), p.lse_head_stride()}, x, options, device);
  };
  using X = AttentionExtents;
  using Options = AttentionOptions;
  expect_refusal([&] { call([](X& x, Options&, ConstHeads&, Heads&, Device&) { x.samples = -1; }); },
                 "attention: samples: expected 0 or more, got -1");
  expect_refusal(
      [&] { call([](X& x, Options&, ConstHeads&, Heads&, Device&) { x.heads = 3, x.kv_heads = 2; }); },
      "kv_heads: expected a divisor of the 3 heads, got 2");
  expect_refusal([&] { call([](X& x, Options&, ConstHeads&, Heads&, Device&) { x.head_size = 1025; }); },
                 "head_size: expected at most 1024", ErrorCode::unsupported);
  const std::int64_t lengths[] = {5, 7}, starts[] = {0, -3};
  expect_refusal(
      [&] {
        call([&](X&, Options& options, ConstHeads&, Heads&, Device&) {
          options.sequences.query_lengths = lengths;
        });
      },
      "query_lengths[1]: expected 0 … 5, got 7");
  expect_refusal(
      [&] {
        call([&](X&, Options& options, ConstHeads&, Heads&, Device&) {
          options.sequences.key_starts = starts;
        });
      },
      "key_starts[1]: expected 0 or more, got -3");
  expect_refusal([&] { call([](X&, Options&, ConstHeads& q, Heads&, Device&) { q.data = nullptr; }); },
                 "q: expected 80 elements of memory, got a null pointer");
  expect_refusal([&] { call([](X&, Options&, ConstHeads&, Heads& out, Device&) { out.token_stride = 3; }); },
                 "o: expected strides that give every element memory of its own");
  expect_refusal(
      [&] {
        call([](X&, Options&, ConstHeads&, Heads&, Device& device) { device = static_cast<Device>(7); });
      },
      "device: expected Device::cpu or Device::cuda");
  expect_refusal(
      [&] {
        Heads d_q = result(o, p.q_place());
        const ConstHeads q = operand(p.q, p.q_place()), k = operand(p.k, p.k_place());
        attention_backward(q, q, k, k, q, {lse.data(), 10, 5}, d_q, {}, {}, p.of.x, {}, Device::cuda);
      },
      "scratch: expected memory of attention_backward_scratch_bytes on the device, got a null pointer");
  expect_refusal(
      [] {
        attention_backward_scratch_bytes({-1, 1, 1, 1, 1, 1, 1});
      },
      "attention_backward_scratch_bytes: samples: expected 0 or more, got -1");
  expect_refusal(
      [&] {
        attention_backward({}, operand(p.q, p.q_place()), operand(p.k, p.k_place()),
                           operand(p.v, p.v_place()), operand(o, p.o_place()), {lse.data(), 10, 5}, {}, {},
                           {}, p.of.x);
      },
      "attention_backward: d_o");
}

TEST(AttentionErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float m[4] = {};
  const AttentionExtents x{1, 1, 1, 1, 1, 2, 2};
  const auto refuses = [](auto call) { expect_error(ErrorCode::unsupported, "", call); };
  refuses([&] { attention({m}, {m}, {m}, {m}, {m}, x, {}, Device::cuda); });
  refuses([&] {
    attention_backward({m}, {m}, {m}, {m}, {m}, {m}, {m}, {}, {}, x, {}, Device::cuda, nullptr, m);
  });
}

}  // namespace
}  // namespace lockstep
