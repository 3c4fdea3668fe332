#include "lockstep/embedding/embedding.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/embedding/embedding_ref.h"
#include "lockstep/embedding/embedding_vectors.h"
#include "lockstep/order/cuts_test.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
using Indices = std::vector<std::int64_t>;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

Values elements(std::int64_t count, std::uint32_t first = 0) {
  Values values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = embedding_element(first + static_cast<std::uint32_t>(i));
  return values;
}

Indices tokens(std::int64_t rows, std::int64_t vocabulary) {
  Indices index(static_cast<std::size_t>(rows));
  for (std::size_t r = 0; r < index.size(); ++r)
    index[r] = embedding_token(static_cast<std::uint32_t>(r), vocabulary);
  return index;
}

void expect_same(const Values& got, const Values& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {  // payloads are outside the promise
      ASSERT_TRUE(std::isnan(got[i])) << "element " << i;
    } else {
      ASSERT_EQ(bits(got[i]), bits(expected[i])) << "element " << i << " of " << got.size();
    }
  }
}

struct Problem {
  Problem(std::int64_t rows, std::int64_t vocabulary_, std::int64_t dim_, std::int64_t padding_ = -1)
      : vocabulary(vocabulary_),
        dim(dim_),
        padding(padding_),
        index(tokens(rows, vocabulary_)),
        dy(elements(rows * dim_)) {}
  std::int64_t rows() const { return static_cast<std::int64_t>(index.size()); }
  Values empty() const { return Values(static_cast<std::size_t>(vocabulary * dim), 0.0f); }

  std::int64_t vocabulary, dim, padding;
  Indices index;
  Values dy;
};

Values run_ref(const Problem& p) {
  Values total = p.empty();
  embedding_backward_ref(p.dy.data(), p.index.data(), p.rows(), p.dim, p.padding, total.data());
  return total;
}

/// The global batch cut into calls that end after `ends` rows.
Values run_cpu(const Problem& p, const Indices& ends) {
  Values total = p.empty();
  Values open(static_cast<std::size_t>(embedding_open_elements(p.vocabulary, p.dim)), std::nanf(""));
  std::int64_t first = 0;
  for (std::size_t cut = 0; cut < ends.size(); first = ends[cut], ++cut) {
    const order::FoldSpan span{first, ends[cut] - first, cut + 1 == ends.size()};
    embedding_backward({p.dy.data() + first * p.dim, p.index.data() + first, p.vocabulary, p.dim, p.padding,
                        span, total.data(), order::needs_open_partial(span) ? open.data() : nullptr});
  }
  return total;
}

Values run_cpu(const Problem& p) { return run_cpu(p, {p.rows()}); }

// ---- Forward

TEST(EmbeddingForward, CopiesRows) {
  for (const std::int64_t dim : {0, 1, 3, 16, 100}) {
    const Indices index = tokens(3000, 50);
    Values table = elements(50 * dim);
    if (dim > 0) table[0] = std::bit_cast<float>(0xffc12345u), table[1] = -0.0f;
    simd::in_every_form([&] {
      Values y(static_cast<std::size_t>(3000 * dim), -1.0f);
      embedding({table.data(), index.data(), y.data(), 50, dim, 3000});
      for (std::size_t r = 0; r < index.size(); ++r) {
        for (std::int64_t j = 0; j < dim; ++j) {
          const auto from = static_cast<std::size_t>(index[r] * dim + j);
          ASSERT_EQ(bits(y[r * static_cast<std::size_t>(dim) + static_cast<std::size_t>(j)]),
                    bits(table[from]));
        }
      }
    });
  }
  EXPECT_NO_THROW(embedding(Embedding{nullptr, nullptr, nullptr, 0, 4, 0}));
}

// ---- Backward

TEST(EmbeddingBackward, GivesTheExpectedBits) {
  for (const EmbeddingVector& vector : kEmbeddingVectors) {
    const Problem p(vector.rows, vector.vocabulary, vector.dim, vector.padding);
    Values expected;
    for (const std::uint32_t word : vector.total) expected.push_back(std::bit_cast<float>(word));
    expect_same(run_ref(p), expected);
    simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
  }
}

std::vector<Problem> problems() {
  std::vector<Problem> all;
  for (std::int64_t dim = 1; dim < 36; ++dim) all.emplace_back(70, 7, dim);
  for (const std::int64_t dim : {64, 100, 768}) all.emplace_back(300, 40, dim);
  all.emplace_back(2500, 3, 5);        // tokens repeat in every chunk
  all.emplace_back(2500, 100'000, 3);  // hardly any does
  all.emplace_back(2500, 20, 17, 4);   // a padding row
  all.emplace_back(5000, 700, 40);
  Problem one_token(3000, 9, 33);
  std::fill(one_token.index.begin(), one_token.index.end(), 4);
  all.push_back(one_token);
  return all;
}

TEST(EmbeddingBackward, IsTheReference) {
  for (const Problem& p : problems()) {
    SCOPED_TRACE(std::to_string(p.rows()) + " rows, " + std::to_string(p.vocabulary) + " × " +
                 std::to_string(p.dim));
    const Values expected = run_ref(p);
    simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
  }
}

TEST(EmbeddingBackward, EveryCutOfTheBatchGivesTheSameBits) {
  for (const Problem& p :
       {Problem(1030, 5, 3), Problem(2100, 300, 7, 2), Problem(2100, 100'000, 2), Problem(20, 3, 40)}) {
    const Values expected = run_ref(p);
    for (std::int64_t cut = 0; cut <= p.rows(); cut += p.rows() > 100 ? 13 : 1) {
      SCOPED_TRACE(cut);
      expect_same(run_cpu(p, {cut, p.rows()}), expected);
      expect_same(run_cpu(p, {cut / 2, cut, p.rows(), p.rows()}), expected);
    }
    simd::in_every_form([&] {
      for (const std::int64_t size : {1, 7, 16, 333, 1024}) {
        expect_same(run_cpu(p, ends_of_pieces(p.rows(), size)), expected);
      }
    });
  }
}

TEST(EmbeddingBackward, ContinuesATotalThatHoldsRows) {
  const Problem p(2048, 11, 5);
  Values total = p.empty();
  for (const std::int64_t first : {0, 1024})
    embedding_backward({p.dy.data() + first * 5,
                        p.index.data() + first,
                        11,
                        5,
                        -1,
                        {first, 1024, first > 0},
                        total.data(),
                        nullptr});
  expect_same(total, run_ref(p));
}

TEST(EmbeddingBackward, TouchesOnlyTheRowsThatAreHit) {
  Problem p(100, 50, 4);
  for (std::int64_t& token : p.index) token = 10 + token % 3;
  Values total(200, -0.0f);  // an add of +0 would show
  embedding_backward({p.dy.data(), p.index.data(), 50, 4, -1, {0, 100, true}, total.data(), nullptr});
  for (std::size_t i = 0; i < total.size(); ++i) {
    EXPECT_EQ(bits(total[i]) == 0x80000000u, i / 4 < 10 || i / 4 > 12) << i;
  }
}

TEST(EmbeddingBackward, EmptyExtents) {
  simd::in_every_form([] {
    expect_same(run_cpu(Problem(0, 3, 2)), Values(6, 0.0f));
    EXPECT_TRUE(run_cpu(Problem(1500, 3, 0), {700, 1500}).empty());
    Problem all_padding(40, 1, 3, 0);
    expect_same(run_cpu(all_padding, {10, 40}), Values(3, 0.0f));
  });
}

TEST(EmbeddingBackward, SpecialValues) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float least = std::bit_cast<float>(1u);
  Problem p(8, 5, 1);
  p.index = {0, 0, 1, 1, 2, 3, 3, 4};
  p.dy = {-0.0f, -0.0f, kInfinity, -kInfinity, kInfinity, least, least, -0.0f};
  simd::in_every_form([&] {
    for (const Indices& ends : {Indices{8}, Indices{1, 3, 6, 8}}) {
      const Values total = run_cpu(p, ends);
      EXPECT_EQ(bits(total[0]), 0u) << "chains start at +0";
      EXPECT_TRUE(std::isnan(total[1]));
      EXPECT_EQ(total[2], kInfinity);
      EXPECT_EQ(bits(total[3]), 2u) << "subnormals are kept";
      EXPECT_EQ(bits(total[4]), 0u);
    }
  });
}

TEST(EmbeddingBackward, OpenMemoryDoesNotGrowWithTheVocabulary) {
  EXPECT_EQ(embedding_open_elements(50'000, 768), embedding_open_elements(100'000'000, 768));
  EXPECT_LT(embedding_open_elements(10, 768), 10'000);
  EXPECT_GE(embedding_open_elements(1'000'000, 3), 1023 * 3);
}

// ---- CUDA against the CPU

/// Host memory on the device, `misaligned` elements behind a boundary; one element more, so that none is
/// empty.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& host, std::size_t misaligned = 0)
      : count_(host.size()), misaligned_(misaligned), buffer_((misaligned + count_ + 1) * sizeof(T)) {
    std::vector<T> padded(misaligned + count_ + 1);
    std::copy(host.begin(), host.end(), padded.begin() + static_cast<std::ptrdiff_t>(misaligned));
    buffer_.copy_from_host(padded.data());
  }
  T* data() const { return static_cast<T*>(buffer_.data()) + misaligned_; }
  std::vector<T> read() const {
    std::vector<T> padded(misaligned_ + count_ + 1);
    buffer_.copy_to_host(padded.data());
    return {padded.begin() + static_cast<std::ptrdiff_t>(misaligned_), padded.end() - 1};
  }

 private:
  std::size_t count_, misaligned_;
  DeviceBuffer buffer_;
};

Values run_cuda(const Problem& p, const Indices& ends, std::size_t misaligned = 0) {
  const OnDevice dy(p.dy, misaligned), total(p.empty());
  const OnDevice index(p.index);
  const OnDevice open(
      Values(static_cast<std::size_t>(embedding_open_elements(p.vocabulary, p.dim)), std::nanf("")));
  std::int64_t first = 0;
  for (std::size_t cut = 0; cut < ends.size(); first = ends[cut], ++cut) {
    const order::FoldSpan span{first, ends[cut] - first, cut + 1 == ends.size()};
    const DeviceBuffer scratch(
        static_cast<std::size_t>(embedding_backward_scratch_bytes(p.vocabulary, p.dim, span)) + 1);
    embedding_backward(
        {dy.data() + first * p.dim, index.data() + first, p.vocabulary, p.dim, p.padding, span, total.data(),
         order::needs_open_partial(span) ? open.data() : nullptr, scratch.data()},
        Device::cuda);
  }
  return total.read();
}

class EmbeddingGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  }
};

TEST_F(EmbeddingGpu, CopiesRows) {
  for (const std::int64_t dim : {0, 1, 3, 4, 16, 100, 130, 768})
    for (const std::size_t misaligned : {0, 1}) {
      const std::int64_t rows = 3000, vocabulary = 50;
      Values table = elements(vocabulary * dim);
      if (dim > 1) table[0] = std::bit_cast<float>(0xffc12345u), table[1] = -0.0f;
      Indices index = tokens(rows, vocabulary);
      index[7] = -1, index[8] = vocabulary;
      const OnDevice device_table(table, misaligned), y(Values(static_cast<std::size_t>(rows * dim), -1.0f));
      const OnDevice device_index(index);
      embedding({device_table.data(), device_index.data(), y.data(), vocabulary, dim, rows}, Device::cuda);
      const Values got = y.read();
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::size_t r = i / static_cast<std::size_t>(dim), j = i % static_cast<std::size_t>(dim);
        if (r == 7 || r == 8) {
          ASSERT_TRUE(std::isnan(got[i])) << "an index outside the table";
          continue;
        }
        ASSERT_EQ(bits(got[i]), bits(table[static_cast<std::size_t>(index[r] * dim) + j]));
      }
    }
}

TEST_F(EmbeddingGpu, IsTheReference) {
  for (const Problem& p : problems()) {
    SCOPED_TRACE(std::to_string(p.rows()) + " rows, " + std::to_string(p.vocabulary) + " × " +
                 std::to_string(p.dim));
    const Values expected = run_ref(p);
    expect_same(run_cuda(p, {p.rows()}), expected);
    expect_same(run_cuda(p, {p.rows()}, 1), expected);
    expect_same(run_cuda(p, {p.rows() / 3, p.rows()}), expected);
  }
}

TEST_F(EmbeddingGpu, EveryCutOfTheBatchGivesTheSameBits) {
  for (const Problem& p : {Problem(2100, 5, 3), Problem(2100, 300, 8, 2), Problem(2100, 100'000, 2)}) {
    const Values expected = run_ref(p);
    for (const std::int64_t size : {7, 333, 1024, 1500}) {
      Indices ends = ends_of_pieces(p.rows(), size);
      ends.push_back(p.rows());
      expect_same(run_cuda(p, ends), expected);
    }
  }
}

/// A run of 16 rows and more is summed apart.
TEST_F(EmbeddingGpu, RunsOfEveryLength) {
  for (const std::size_t length : {1, 14, 15, 16, 17, 31, 32, 33, 47, 100, 1000}) {
    Problem p(9000, 100, 5);
    for (std::size_t r = 0; r < p.index.size(); ++r)
      p.index[r] = r % 1024 < length ? 3 : 4 + static_cast<std::int64_t>(r % 7 * (r % 13));
    const Values expected = run_ref(p);
    expect_same(run_cuda(p, {p.rows()}), expected);
    expect_same(run_cuda(p, {20, 1010, 1040, p.rows()}), expected);
  }
}

/// What one device left open, the other one continues.
TEST_F(EmbeddingGpu, LeavesOpenWhatTheCpuDoes) {
  const Problem p(1500, 300, 6, 2);
  for (const Indices& ends : {Indices{1, 5, 900}, Indices{700, 1300, 1500}}) {
    Values total = p.empty(), open(static_cast<std::size_t>(embedding_open_elements(300, 6)), 0.0f);
    const OnDevice device_total(total), device_open(open), dy(p.dy);
    const OnDevice index(p.index);
    std::int64_t first = 0;
    for (const std::int64_t end : ends) {
      const order::FoldSpan span{first, end - first, false};
      const DeviceBuffer scratch(static_cast<std::size_t>(embedding_backward_scratch_bytes(300, 6, span)));
      embedding_backward(
          {p.dy.data() + first * 6, p.index.data() + first, 300, 6, 2, span, total.data(), open.data()});
      embedding_backward({dy.data() + first * 6, index.data() + first, 300, 6, 2, span, device_total.data(),
                          device_open.data(), scratch.data()},
                         Device::cuda);
      std::int64_t slots = 0;
      std::memcpy(&slots, open.data(), sizeof slots);
      Values device = device_open.read(), host = open;
      device.resize(static_cast<std::size_t>(2 + slots * 8)), host.resize(device.size());
      for (std::size_t i = 0; i < host.size(); ++i) ASSERT_EQ(bits(device[i]), bits(host[i])) << i;
      first = end;
    }
    expect_same(device_total.read(), total);
  }
}

TEST_F(EmbeddingGpu, SpecialValuesAndIndicesOutside) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float least = std::bit_cast<float>(1u);
  Problem p(10, 5, 1);
  p.index = {0, 0, 1, 1, 2, 3, 3, 4, 5, -7};
  p.dy = {-0.0f, -0.0f, kInfinity, -kInfinity, kInfinity, least, least, -0.0f, 1.0f, 1.0f};
  for (const Indices& ends : {Indices{10}, Indices{1, 3, 6, 10}}) {
    const Values total = run_cuda(p, ends);
    EXPECT_EQ(bits(total[0]), 0u) << "chains start at +0";
    EXPECT_TRUE(std::isnan(total[1]));
    EXPECT_EQ(total[2], kInfinity);
    EXPECT_EQ(bits(total[3]), 2u) << "subnormals are kept";
    EXPECT_EQ(bits(total[4]), 0u);
  }
}

TEST_F(EmbeddingGpu, EmptyExtents) {
  expect_same(run_cuda(Problem(0, 3, 2), {0}), Values(6, 0.0f));
  EXPECT_TRUE(run_cuda(Problem(1500, 3, 0), {700, 1500}).empty());
  expect_same(run_cuda(Problem(40, 1, 3, 0), {10, 40}), Values(3, 0.0f));
}

TEST_F(EmbeddingGpu, ABatchOfOneTokenAndOfMany) {
  Problem p(200'000, 20'000, 8);
  expect_same(run_cuda(p, {p.rows()}), run_ref(p));
  std::fill(p.index.begin(), p.index.end(), 4);
  expect_same(run_cuda(p, {p.rows()}), run_ref(p));
  for (std::size_t r = 0; r < p.index.size(); r += 3) p.index[r] = static_cast<std::int64_t>(r % 20'000);
  expect_same(run_cuda(p, {p.rows()}), run_ref(p));
}

// ---- The suite can fail

TEST(EmbeddingTwin, OneChainATokenGoesRed) {
  const Problem p(3000, 2, 3);
  Values chain = p.empty();
  for (std::size_t r = 0; r < p.index.size(); ++r)
    for (std::size_t j = 0; j < 3; ++j)
      chain[static_cast<std::size_t>(p.index[r]) * 3 + j] += p.dy[r * 3 + j];
  const Values expected = run_ref(p);
  int different = 0;
  for (std::size_t i = 0; i < chain.size(); ++i) different += bits(chain[i]) != bits(expected[i]);
  EXPECT_GE(different, 3);
}

TEST(EmbeddingTwin, ADescendingChainGoesRed) {
  Problem p(1000, 1, 1);
  const Values expected = run_ref(p);
  std::reverse(p.dy.begin(), p.dy.end());
  EXPECT_NE(bits(run_ref(p)[0]), bits(expected[0]));
}

#if defined(__x86_64__)
TEST(EmbeddingBackward, KeepsSubnormalsForACallerThatFlushesThem) {
  Problem p(3, 1, 1);
  std::fill(p.dy.begin(), p.dy.end(), std::bit_cast<float>(1u));
  FlushingCaller caller;
  const Values total = run_cpu(p);
  const bool kept = caller.end();
  EXPECT_EQ(bits(total[0]), 3u);
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- float64

TEST(EmbeddingFp64, CopiesRowsAndAddsTheirGradients) {
  const Problem p(2500, 20, 3, 4);
  const std::vector<double> dy(p.dy.begin(), p.dy.end());
  std::vector<double> y(dy.size(), -1.0);
  embedding({dy.data(), p.index.data(), y.data(), p.vocabulary, p.dim, p.rows()});
  for (std::size_t i = 0; i < y.size(); ++i)
    ASSERT_EQ(y[i], dy[static_cast<std::size_t>(p.index[i / 3]) * 3 + i % 3]);

  const auto run = [&](const Indices& ends) {
    std::vector<double> total(p.empty().size(), 0.0);
    std::vector<double> open(static_cast<std::size_t>(embedding_open_elements(p.vocabulary, p.dim)),
                             std::nan(""));
    std::int64_t first = 0;
    for (const std::int64_t end : ends) {
      embedding_backward({dy.data() + first * p.dim,
                          p.index.data() + first,
                          p.vocabulary,
                          p.dim,
                          p.padding,
                          {first, end - first, end == p.rows()},
                          total.data(),
                          open.data()});
      first = end;
    }
    return total;
  };
  const std::vector<double> whole = run({p.rows()});
  EXPECT_EQ(run({1, 1000, 1024, 1100, 2047, p.rows()}), whole);
  std::vector<long double> expected(whole.size(), 0.0L);
  for (std::size_t i = 0; i < dy.size(); ++i)
    if (p.index[i / 3] != p.padding) expected[static_cast<std::size_t>(p.index[i / 3]) * 3 + i % 3] += dy[i];
  for (std::size_t i = 0; i < whole.size(); ++i)
    EXPECT_NEAR(whole[i], static_cast<double>(expected[i]), 1e-12) << i;
}

TEST(EmbeddingFp64, RefusesAsTheFloatFormDoes) {
  double m[12] = {};
  const std::int64_t index[2] = {0, 4};
  expect_refusal([&] { embedding({m, index, m, 4, 3, 2}); }, "embedding: index[1]: expected 0 to 3, got 4");
  expect_refusal([&] { embedding({nullptr, index, m, 4, 3, 1}); }, "embedding: table: expected 12 elements");
  expect_refusal([&] { embedding_backward({m, index, 4, 3, -1, {0, -1, true}, m, nullptr}); }, "span.rows: ");
  expect_refusal(
      [&] {
        embedding_backward({m, index, 4, 3, -1, {0, 1, false}, m, nullptr});
      },
      "open: expected memory, since the span's cuts leave a chunk open");
  expect_refusal([] { embedding(Embedding64{}, Device::cuda); }, "expected Device::cpu",
                 ErrorCode::unsupported);
}

// ---- Errors, by code and by words

TEST(EmbeddingErrors, SayWhatIsWrong) {
  float m[12] = {};
  const std::int64_t index[3] = {0, 2, 4};
  expect_refusal([&] { embedding({m, index, m, 4, 3, 3}); }, "embedding: index[2]: expected 0 to 3, got 4");
  const std::int64_t negative[1] = {-1};
  expect_refusal(
      [&] {
        embedding({m, negative, m, 4, 3, 1});
      },
      "embedding: index[0]: expected 0 to 3, got -1");
  expect_refusal(
      [&] {
        embedding({m, index, m, 0, 3, 1});
      },
      "expected no row, since the table is empty, got 0");
  expect_refusal(
      [&] {
        embedding({nullptr, index, m, 4, 3, 2});
      },
      "embedding: table: expected 12 elements of memory");
  expect_refusal([&] { embedding({m, nullptr, m, 4, 3, 2}); }, "embedding: index: ");
  expect_refusal(
      [&] {
        embedding({m, index, m, -4, 3, 2});
      },
      "embedding: vocabulary: expected 0 or more, got -4");
  const EmbeddingBackward good{m, index, 4, 3, -1, {0, 2, true}, m, nullptr};
  const auto refuses = [&](auto change, const char* words) {
    EmbeddingBackward call = good;
    change(call);
    expect_refusal([&] { embedding_backward(call); }, words);
  };
  refuses([](EmbeddingBackward& c) { c.dy = nullptr; }, "embedding_backward: dy: expected 6 elements");
  refuses([](EmbeddingBackward& c) { c.total = nullptr; }, "embedding_backward: total: ");
  refuses([](EmbeddingBackward& c) { c.vocabulary = 2; },
          "embedding_backward: index[1]: expected 0 to 1, got 2");
  refuses([](EmbeddingBackward& c) { c.span.last = false; },
          "open: expected memory, since the span's cuts leave a chunk open");
  refuses([](EmbeddingBackward& c) { c.span.first_row = -1; }, "span.first_row: ");
}

TEST(EmbeddingErrors, WhatCudaAsksFor) {
  float m[12] = {};
  const std::int64_t index[2] = {};
  expect_refusal(
      [&] {
        embedding_backward({m, index, 4, 3, -1, {0, 2, true}, m, nullptr}, Device::cuda);
      },
      "scratch: expected memory of embedding_backward_scratch_bytes on the device, got a null pointer");
  expect_refusal([] { embedding_backward_scratch_bytes(std::int64_t{1} << 32, 1, {}); },
                 "vocabulary: expected at most");
  expect_refusal([] { embedding_backward_scratch_bytes(4, -1, {}); }, "dim: expected 0 or more, got -1");
}

TEST(EmbeddingErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float m[12] = {};
  const std::int64_t index[2] = {};
  const auto refuses = [](auto call) { expect_error(ErrorCode::unsupported, "", call); };
  refuses([&] { embedding({m, index, m, 4, 3, 2}, Device::cuda); });
  refuses([&] { embedding_backward({m, index, 4, 3, -1, {0, 2, true}, m, nullptr, m}, Device::cuda); });
}

}  // namespace
}  // namespace lockstep
