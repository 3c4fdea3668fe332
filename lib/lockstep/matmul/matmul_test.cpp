#include "lockstep/matmul/matmul.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/matmul/matmul_internal.h"
#include "lockstep/matmul/matmul_ref.h"
#include "lockstep/matmul/matmul_vectors.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/targets.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

std::uint32_t digest(const Values& values, std::uint32_t state = 2166136261u) {
  for (const float value : values) state = (state ^ bits(value)) * 16777619u;
  return state;
}

std::size_t differences(const Values& got, const Values& expected) {
  if (got.size() != expected.size()) return std::max(got.size(), expected.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i) count += bits(got[i]) != bits(expected[i]) ? 1 : 0;
  return count;
}

Values elements(std::int64_t count, std::uint32_t first) {
  Values values(static_cast<std::size_t>(count));
  for (float& value : values) value = matmul_element(first++);
  return values;
}

// ---- Matrices with any strides

enum class Layout { rows, columns, spaced_rows, both_spaced };
constexpr Layout kLayouts[] = {Layout::rows, Layout::columns, Layout::spaced_rows, Layout::both_spaced};

/// Memory of a matrix, with a canary in the gaps between its elements.
struct Stored {
  static constexpr float kCanary = -12345.5f;

  Stored(std::int64_t matrix_rows, std::int64_t matrix_cols, Layout layout, std::uint32_t first)
      : rows(matrix_rows), cols(matrix_cols) {
    switch (layout) {
      case Layout::rows:
        row_stride = cols, col_stride = 1;
        break;
      case Layout::columns:
        row_stride = 1, col_stride = rows;
        break;
      case Layout::spaced_rows:
        row_stride = cols + 3, col_stride = 1;
        break;
      case Layout::both_spaced:
        row_stride = 2, col_stride = 2 * rows + 1;
        break;
    }
    memory.assign(static_cast<std::size_t>(std::max<std::int64_t>(0, (rows - 1) * row_stride) +
                                           std::max<std::int64_t>(0, (cols - 1) * col_stride) + 1),
                  kCanary);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j) at(i, j) = matmul_element(first++);
  }

  float& at(std::int64_t i, std::int64_t j) {
    return memory[static_cast<std::size_t>(i * row_stride + j * col_stride)];
  }
  ConstMatrix read() const { return {memory.data(), rows, cols, row_stride, col_stride}; }
  Matrix write() { return {memory.data(), rows, cols, row_stride, col_stride}; }

  std::int64_t rows, cols, row_stride = 0, col_stride = 0;
  Values memory;
};

RefMatrix<const float> ref(const ConstMatrix& m) {
  return {m.data, m.rows, m.cols, m.row_stride, m.col_stride};
}
RefMatrix<float> ref(const Matrix& m) { return {m.data, m.rows, m.cols, m.row_stride, m.col_stride}; }

ConstMatrix row_major(const Values& values, std::int64_t rows, std::int64_t cols) {
  return {values.data(), rows, cols, cols, 1};
}
Matrix row_major(Values& values, std::int64_t rows, std::int64_t cols) {
  return {values.data(), rows, cols, cols, 1};
}

// ---- On a device

struct Axis {
  std::int64_t extent, stride;
};

/// A copy of the memory that a strided array spans, in turn at every distance from a boundary of 16 bytes.
class DeviceCopy {
 public:
  DeviceCopy(const float* data, std::initializer_list<Axis> axes) {
    std::int64_t low = 0, high = 0;
    for (const Axis& axis : axes) {
      const std::int64_t reach = (axis.extent - 1) * axis.stride;
      (reach < 0 ? low : high) += reach;
      if (axis.extent == 0 || data == nullptr) return;
    }
    low_ = low;
    static std::size_t turn = 0;
    copy_.emplace(Values(data + low, data + high + 1), turn++ % 4);
  }
  explicit DeviceCopy(const ConstMatrix& m, std::int64_t batch = 1, std::int64_t step = 0)
      : DeviceCopy(m.data, {{m.rows, m.row_stride}, {m.cols, m.col_stride}, {batch, step}}) {}
  explicit DeviceCopy(const Matrix& m, std::int64_t batch = 1, std::int64_t step = 0)
      : DeviceCopy(m.data, {{m.rows, m.row_stride}, {m.cols, m.col_stride}, {batch, step}}) {}

  float* data() const { return copy_ ? copy_->data() - low_ : nullptr; }
  void read_to(float* data) const {
    if (!copy_) return;
    const Values values = copy_->values();
    std::copy(values.begin(), values.end(), data + low_);
  }

 private:
  std::int64_t low_ = 0;
  std::optional<DeviceValues<float>> copy_;
};

ConstMatrix moved(ConstMatrix m, const float* data) {
  m.data = data;
  return m;
}
Matrix moved(Matrix m, float* data) {
  m.data = data;
  return m;
}

unsigned* device_scratch() {
  static const DeviceValues<unsigned> zeros(std::vector<unsigned>(kMatmulScratchBytes / sizeof(unsigned)));
  return zeros.data();
}

void multiply_on_device(std::int64_t batch, const ConstMatrix& a, std::int64_t a_step, const ConstMatrix& b,
                        std::int64_t b_step, const Matrix& c, std::int64_t c_step, MatmulEpilogue e,
                        void* scratch) {
  const DeviceCopy da(a, batch, a_step), db(b, batch, b_step), dc(c, batch, c_step),
      bias(e.bias, {{c.cols, 1}});
  e.bias = bias.data();
  matmul_batched(batch, moved(a, da.data()), a_step, moved(b, db.data()), b_step, moved(c, dc.data()), c_step,
                 e, Device::cuda, nullptr, scratch);
  dc.read_to(c.data);
}

void fold_on_device(const ConstMatrix& a, const ConstMatrix& b, const order::FoldSpan& span,
                    const Matrix& total, float* open, void* scratch) {
  const DeviceCopy da(a), db(b), dt(total), dopen(open, {{total.rows * total.cols, 1}});
  matmul_fold(moved(a, da.data()), moved(b, db.data()), span, moved(total, dt.data()), dopen.data(),
              Device::cuda, nullptr, scratch);
  dt.read_to(total.data);
  dopen.read_to(open);
}

// ---- The twins: the reference, the CPU in each instruction set with 1, 2 and 3 threads, and CUDA

enum class Kind { reference, cpu, cuda, cuda_with_scratch };

struct Twin {
  Kind kind = Kind::reference;
  std::string instruction_set;
  int threads = 1;
};

std::string twin_text(const Twin& twin) {
  switch (twin.kind) {
    case Kind::reference:
      return "Ref";
    case Kind::cuda:
      return "Cuda";
    case Kind::cuda_with_scratch:
      return "CudaWithScratch";
    case Kind::cpu:
      break;
  }
  return "Cpu_" + twin.instruction_set + "_" + std::to_string(twin.threads);
}

void PrintTo(const Twin& twin, std::ostream* out) { *out << twin_text(twin); }

std::vector<Twin> twins() {
  std::vector<Twin> all{Twin{}};
  for (const std::string& name : simd::instruction_sets())
    for (const int threads : {1, 2, 3}) all.push_back({Kind::cpu, name, threads});
  return all;
}

std::string twin_name(const testing::TestParamInfo<Twin>& info) { return twin_text(info.param); }

class Matmul : public testing::TestWithParam<Twin> {
 protected:
  void SetUp() override {
    if (is_cuda() && cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
    before_ = simd::active_instruction_set();
    if (GetParam().kind == Kind::cpu) simd::force_instruction_set(GetParam().instruction_set);
    parallel::set_thread_count(GetParam().threads);
  }
  void TearDown() override {
    if (!before_.empty()) simd::force_instruction_set(before_);
    parallel::set_thread_count(0);
  }

  static bool is_ref() { return GetParam().kind == Kind::reference; }
  static bool is_cuda() {
    return GetParam().kind == Kind::cuda || GetParam().kind == Kind::cuda_with_scratch;
  }
  /// The one-lane form calls a function for every fma: its cases are smaller.
  static bool is_slow() { return is_ref() || GetParam().instruction_set == "SCALAR"; }
  static void* scratch() { return GetParam().kind == Kind::cuda_with_scratch ? device_scratch() : nullptr; }

  static void multiply(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c,
                       const MatmulEpilogue& e = {}) {
    if (is_cuda()) return multiply_on_device(1, a, 0, b, 0, c, 0, e, scratch());
    if (is_ref()) return matmul_ref(ref(a), ref(b), ref(c), e.alpha, e.beta, e.bias);
    matmul(a, b, c, e);
  }
  static void multiply_batched(std::int64_t batch, ConstMatrix a, std::int64_t a_step, ConstMatrix b,
                               std::int64_t b_step, Matrix c, std::int64_t c_step, const MatmulEpilogue& e) {
    if (is_cuda()) return multiply_on_device(batch, a, a_step, b, b_step, c, c_step, e, scratch());
    if (!is_ref()) return matmul_batched(batch, a, a_step, b, b_step, c, c_step, e);
    for (; batch > 0; --batch, a.data += a_step, b.data += b_step, c.data += c_step) multiply(a, b, c, e);
  }
  static void fold(const ConstMatrix& a, const ConstMatrix& b, const order::FoldSpan& span,
                   const Matrix& total, float* open) {
    if (is_cuda()) return fold_on_device(a, b, span, total, open, scratch());
    if (is_ref()) return matmul_fold_ref(ref(a), ref(b), span, ref(total), open);
    matmul_fold(a, b, span, total, open);
  }
  static Values product(const Values& a, const Values& b, std::int64_t m, std::int64_t k, std::int64_t n) {
    Values c(static_cast<std::size_t>(m * n), -1.0f);
    multiply(row_major(a, m, k), row_major(b, k, n), row_major(c, m, n));
    return c;
  }

 private:
  std::string before_;
};

INSTANTIATE_TEST_SUITE_P(Twins, Matmul, testing::ValuesIn(twins()), twin_name);
INSTANTIATE_TEST_SUITE_P(Gpu, Matmul,
                         testing::Values(Twin{Kind::cuda, {}, 1}, Twin{Kind::cuda_with_scratch, {}, 1}),
                         twin_name);

TEST_P(Matmul, GivesTheExpectedBits) {
  for (const MatmulVector& v : kMatmulVectors) {
    const Values a = elements(v.m * v.k, 0), b = elements(v.k * v.n, 100000), bias = elements(v.n, 300000);
    Values c = elements(v.m * v.n, 200000);
    multiply(row_major(a, v.m, v.k), row_major(b, v.k, v.n), row_major(c, v.m, v.n),
             {v.alpha, v.beta, v.has_bias ? bias.data() : nullptr});
    EXPECT_EQ(digest(c), v.digest) << v.m << " x " << v.n << " x " << v.k;
  }
}

TEST_P(Matmul, FoldGivesTheExpectedBits) {
  for (const MatmulFoldVector& v : kMatmulFoldVectors) {
    const Values a = elements(v.rows * v.m, 0), b = elements(v.rows * v.n, 100000);
    Values total = elements(v.m * v.n, 200000), open = elements(v.m * v.n, 300000);
    const order::FoldSpan span{v.first_row, v.rows, v.last};
    fold(row_major(a, v.rows, v.m), row_major(b, v.rows, v.n), span, row_major(total, v.m, v.n),
         order::needs_open_partial(span) ? open.data() : nullptr);
    const bool stays_open = !v.last && (v.first_row + v.rows) % 1024 != 0;
    const std::uint32_t of_total = digest(total);
    EXPECT_EQ(stays_open ? digest(open, of_total) : of_total, v.digest)
        << v.first_row << " + " << v.rows << (v.last ? ", last" : "");
  }
}

// ---- Shapes: the tails of rows, columns and depth, of every way to cut

struct Extents {
  std::int64_t m, n, k;
};

std::vector<Extents> shapes(bool slow) {
  std::vector<Extents> all;
  for (const std::int64_t m : {1, 2, 3, 5, 6, 7, 11, 13, 14, 15, 17, 29, 33})
    for (const std::int64_t n : {1, 3, 8, 15, 16, 17, 31, 33, 64, 127, 130}) all.push_back({m, n, 7});
  for (const std::int64_t k : {1, 2, 3, 4, 15, 16, 17, 255, 256, 257, 1023, 1024, 1025, 2049})
    all.push_back({3, 18, k}), all.push_back({17, 5, k});
  if (slow) return all;
  for (const std::int64_t m : {64, 167, 168, 169, 340}) all.push_back({m, 70, 300});
  all.push_back({5, 2200, 9});
  all.push_back({20, 2047, 40});
  all.push_back({170, 2100, 33});
  all.push_back({300, 40, 1100});
  return all;
}

TEST_P(Matmul, EveryShapeAsTheReference) {
  for (const Extents& e : shapes(is_slow())) {
    Stored a(e.m, e.k, Layout::rows, 1), b(e.k, e.n, Layout::rows, 50000),
        c(e.m, e.n, Layout::spaced_rows, 90000);
    Stored expected = c;
    multiply(a.read(), b.read(), c.write());
    matmul_ref(ref(a.read()), ref(b.read()), ref(expected.write()));
    EXPECT_EQ(differences(c.memory, expected.memory), 0u) << e.m << " x " << e.n << " x " << e.k;
  }
}

TEST_P(Matmul, EveryLayoutAsTheReference) {
  std::vector<Extents> extents{{5, 9, 20}, {18, 3, 5}, {1, 40, 37}, {3, 33, 19}};
  if (!is_slow()) extents.insert(extents.end(), {{1, 100, 50}, {50, 1, 37}, {18, 40, 1030}, {200, 33, 65}});
  const Values bias = elements(200, 7);
  const MatmulEpilogue epilogues[] = {{}, {1, 1, bias.data()}, {0.3f, -0.7f, bias.data()}};
  std::size_t turn = 0;
  for (const Extents& e : extents)
    for (const Layout left : kLayouts)
      for (const Layout right : kLayouts)
        for (const Layout result : kLayouts) {
          const MatmulEpilogue& epilogue = epilogues[turn++ % 3];
          Stored a(e.m, e.k, left, 1), b(e.k, e.n, right, 50000), c(e.m, e.n, result, 90000);
          Stored expected = c;
          multiply(a.read(), b.read(), c.write(), epilogue);
          matmul_ref(ref(a.read()), ref(b.read()), ref(expected.write()), epilogue.alpha, epilogue.beta,
                     epilogue.bias);
          EXPECT_EQ(differences(c.memory, expected.memory), 0u)
              << e.m << " x " << e.n << " x " << e.k << ", layouts " << static_cast<int>(left)
              << static_cast<int>(right) << static_cast<int>(result);
        }
}

TEST_P(Matmul, AResultThatNoCacheHoldsAsTheReference) {
  if (is_slow()) GTEST_SKIP() << "results of this size have no form of their own here";
  const std::int64_t m = 1024, n = 2064, k = 5, floats_per_line = 16;
  const Values a = elements(m * k, 1), b = elements(k * n, 50000), bias = elements(n, 9);
  Values memory(static_cast<std::size_t>(m * n + floats_per_line)), expected(static_cast<std::size_t>(m * n));
  const std::size_t line = reinterpret_cast<std::uintptr_t>(memory.data()) / sizeof(float) % floats_per_line;
  for (const std::size_t begin :
       {(floats_per_line - line) % floats_per_line, (floats_per_line - line) % floats_per_line + 1}) {
    for (const float* const some_bias : {static_cast<const float*>(nullptr), bias.data()}) {
      if (begin + expected.size() > memory.size()) continue;
      multiply(row_major(a, m, k), row_major(b, k, n), {memory.data() + begin, m, n, n, 1},
               {1, 0, some_bias});
      matmul_ref<float>(ref(row_major(a, m, k)), ref(row_major(b, k, n)), ref(row_major(expected, m, n)), 1,
                        0, some_bias);
      const auto got = memory.begin() + static_cast<std::ptrdiff_t>(begin);
      EXPECT_EQ(differences(Values(got, got + m * n), expected), 0u)
          << "from float " << begin << " of a line on";
    }
  }
}

TEST_P(Matmul, ARowDoesNotKnowTheOthers) {
  const std::int64_t n = 40, k = 1100;
  for (const std::int64_t m : {2, 9, 20, 200}) {
    if (is_slow() && m > 9) continue;
    const Values a = elements(m * k, 3), b = elements(k * n, 70000);
    const Values together = product(a, b, m, k, n);
    for (const std::int64_t i : {std::int64_t{0}, m / 2, m - 1}) {
      const Values alone = product(Values(a.begin() + i * k, a.begin() + (i + 1) * k), b, 1, k, n);
      EXPECT_EQ(differences(alone, Values(together.begin() + i * n, together.begin() + (i + 1) * n)), 0u)
          << "row " << i << " of " << m;
    }
  }
}

TEST_P(Matmul, BroadcastAndReversedOperands) {
  const Values a = elements(9, 5), b = elements(300, 11);
  const ConstMatrix same_rows{a.data(), 4, 9, 0, 1}, backwards{b.data() + 9 * 33 - 1, 9, 33, -33, -1};
  Values got(4 * 33), expected(4 * 33);
  multiply(same_rows, backwards, row_major(got, 4, 33));
  matmul_ref(ref(same_rows), ref(backwards), ref(row_major(expected, 4, 33)));
  EXPECT_EQ(differences(got, expected), 0u);
}

// ---- The fold

TEST_P(Matmul, AFoldDoesNotKnowItsCuts) {
  const std::int64_t m = 3, n = 5, rows = is_slow() ? 2500 : 5000;
  const Values a = elements(rows * m, 1), b = elements(rows * n, 50000);
  Values whole(static_cast<std::size_t>(m * n), 0.0f);
  fold(row_major(a, rows, m), row_major(b, rows, n), {0, rows, true}, row_major(whole, m, n), nullptr);
  for (const std::int64_t step :
       {std::int64_t{7}, std::int64_t{1000}, std::int64_t{1024}, std::int64_t{1025}, rows - 1}) {
    if (is_slow() && step < 100) continue;
    Values total(whole.size(), 0.0f), open(whole.size(), kNaN);
    for (std::int64_t row = 0; row < rows; row += step) {
      const std::int64_t count = std::min(step, rows - row);
      fold({a.data() + row * m, count, m, m, 1}, {b.data() + row * n, count, n, n, 1},
           {row, count, row + count == rows}, row_major(total, m, n), open.data());
    }
    EXPECT_EQ(differences(total, whole), 0u) << "micro-batches of " << step;
  }
}

TEST_P(Matmul, AFoldInEveryLayoutAsTheReference) {
  const std::vector<Extents> extents =
      is_slow() ? std::vector<Extents>{{3, 5, 40}}
                : std::vector<Extents>{{3, 5, 40}, {18, 40, 1300}, {200, 33, 65}, {3, 5, 5000}};
  for (const Extents& e : extents)
    for (const Layout left : kLayouts)
      for (const Layout right : kLayouts)
        for (const Layout result : kLayouts)
          for (const std::int64_t first_row : {0, 1000}) {
            Stored a(e.k, e.m, left, 1), b(e.k, e.n, right, 50000), total(e.m, e.n, result, 90000);
            Stored expected = total;
            Values open = elements(e.m * e.n, 5), expected_open = open;
            const order::FoldSpan span{first_row, e.k, false};
            fold(a.read(), b.read(), span, total.write(), open.data());
            matmul_fold_ref(ref(a.read()), ref(b.read()), span, ref(expected.write()), expected_open.data());
            const bool stays_open = (first_row + e.k) % 1024 != 0;
            EXPECT_EQ(differences(total.memory, expected.memory), 0u);
            EXPECT_EQ(stays_open ? differences(open, expected_open) : 0u, 0u);
          }
}

TEST_P(Matmul, AFoldFromRowZeroIsTheDot) {
  const std::int64_t m = 4, n = 6, rows = 2100;
  const Values a = elements(rows * m, 1), b = elements(rows * n, 50000);
  Values total(m * n, 0.0f), dot(m * n);
  fold(row_major(a, rows, m), row_major(b, rows, n), {0, rows, true}, row_major(total, m, n), nullptr);
  multiply({a.data(), m, rows, 1, m}, row_major(b, rows, n), row_major(dot, m, n));
  EXPECT_EQ(differences(total, dot), 0u);
}

TEST_P(Matmul, ASpanWithoutRowsClosesAtMost) {
  const Values before = elements(6, 1), partial = elements(6, 9);
  const auto after = [&](const order::FoldSpan& span) {
    Values total = before, open = partial;
    fold({nullptr, 0, 2, 2, 1}, {nullptr, 0, 3, 3, 1}, span, row_major(total, 2, 3), open.data());
    EXPECT_EQ(differences(open, partial), 0u);
    return total;
  };
  Values closed = before;
  for (std::size_t i = 0; i < closed.size(); ++i) closed[i] = closed[i] + partial[i];
  EXPECT_EQ(differences(after({77, 0, false}), before), 0u);
  EXPECT_EQ(differences(after({1024, 0, true}), before), 0u) << "no chunk is open on the grid";
  EXPECT_EQ(differences(after({77, 0, true}), closed), 0u);
}

// ---- Special values

TEST_P(Matmul, EmptyExtents) {
  EXPECT_TRUE(product({}, elements(12, 1), 0, 3, 4).empty());
  EXPECT_TRUE(product(elements(12, 1), {}, 4, 3, 0).empty());
  for (const float value : product({}, {}, 3, 0, 70)) EXPECT_EQ(bits(value), 0u);
}

TEST_P(Matmul, SpecialValues) {
  EXPECT_EQ(bits(product({-0.0f}, {1.0f}, 1, 1, 1)[0]), 0u) << "chains start at +0";
  EXPECT_EQ(bits(product({-kLeast}, {0.5f}, 1, 1, 1)[0]), 0u) << "a chain that ends at -0 is added to +0";
  EXPECT_EQ(product({kInfinity, 1.0f}, {1.0f, 1.0f}, 1, 2, 1)[0], kInfinity);
  EXPECT_TRUE(std::isnan(product({kInfinity, kInfinity}, {1.0f, -1.0f}, 1, 2, 1)[0]));
  EXPECT_TRUE(std::isnan(product({0.0f}, {kInfinity}, 1, 1, 1)[0]));
  EXPECT_EQ(bits(product({kLeast, kLeast}, {1.0f, 1.0f}, 1, 2, 1)[0]), 2u) << "subnormals are kept";
  EXPECT_EQ(product({0x1p100f, -0x1p100f}, {0x1p100f, 0x1p100f}, 1, 2, 1)[0], kInfinity)
      << "the first product overflows the chain";
  EXPECT_EQ(product({1 + 0x1p-23f, -1.0f}, {1 + 0x1p-23f, 1 + 0x1p-22f}, 1, 2, 1)[0], 0.0f)
      << "(1 + e)^2 was rounded to 1 + 2e before 1 + 2e was taken away";
}

TEST_P(Matmul, ANaNStaysInItsRowAndColumn) {
  const std::int64_t m = 20, n = 37, k = 30;
  Values a = elements(m * k, 1), b = elements(k * n, 5000);
  const Values clean = product(a, b, m, k, n);
  a[5 * k + 7] = kNaN;
  b[3 * n + 36] = kInfinity;
  const Values c = product(a, b, m, k, n);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(i * n + j);
      if (i == 5)
        EXPECT_TRUE(std::isnan(c[at]));
      else if (j == 36)
        EXPECT_FALSE(std::isfinite(c[at]));
      else
        EXPECT_EQ(bits(c[at]), bits(clean[at]));
    }
}

TEST_P(Matmul, BetaZeroDoesNotReadTheResult) {
  Values c(2, kNaN);
  const Values a{2.0f}, b{3.0f, 5.0f}, bias{1.0f, -1.0f};
  multiply(row_major(a, 1, 1), row_major(b, 1, 2), row_major(c, 1, 2), {1, 0, bias.data()});
  EXPECT_EQ(c, (Values{7.0f, 9.0f}));
}

TEST_P(Matmul, AnOpenPartialKeepsMinusZero) {
  const Values a{-kLeast}, b{0.5f};
  Values total{0.0f}, open{0.0f};
  fold(row_major(a, 1, 1), row_major(b, 1, 1), {1024, 1, false}, row_major(total, 1, 1), open.data());
  EXPECT_EQ(bits(open[0]), 0x80000000u);
  EXPECT_EQ(bits(total[0]), 0u);
}

// ---- Batches

TEST_P(Matmul, ABatchIsItsProducts) {
  for (const std::int64_t batch : {1, 2, 5, 7}) {
    const std::int64_t m = 9, n = 20, k = 33;
    const Values a = elements(batch * m * k, 1), b = elements(k * n, 40000);
    Values c = elements(batch * m * n, 80000), expected = c;
    const MatmulEpilogue epilogue{0.5f, 1, nullptr};
    multiply_batched(batch, row_major(a, m, k), m * k, row_major(b, k, n), 0, row_major(c, m, n), m * n,
                     epilogue);
    for (std::int64_t p = 0; p < batch; ++p)
      matmul_ref<float>({a.data() + p * m * k, m, k, k, 1}, ref(row_major(b, k, n)),
                        {expected.data() + p * m * n, m, n, n, 1}, 0.5f, 1.0f);
    EXPECT_EQ(differences(c, expected), 0u) << batch;
  }
}

// ---- The suite can fail: other orders are other bits

TEST(MatmulTwin, OneChainWithoutBlocksGoesRed) {
  int different = 0, long_ones = 0;
  for (const MatmulVector& v : kMatmulVectors) {
    if (v.k <= 1024) continue;
    const Values a = elements(v.m * v.k, 0), b = elements(v.k * v.n, 100000), bias = elements(v.n, 300000);
    Values c = elements(v.m * v.n, 200000);
    for (int i = 0; i < v.m; ++i)
      for (int j = 0; j < v.n; ++j) {
        float x = 0;
        for (int k = 0; k < v.k; ++k)
          x = std::fma(a[static_cast<std::size_t>(i * v.k + k)], b[static_cast<std::size_t>(k * v.n + j)], x);
        float& out = c[static_cast<std::size_t>(i * v.n + j)];
        x = std::fma(v.beta, out, v.alpha * x);
        out = v.has_bias ? x + bias[static_cast<std::size_t>(j)] : x;
      }
    different += digest(c) != v.digest ? 1 : 0;
    ++long_ones;
  }
  EXPECT_GE(long_ones, 4);
  EXPECT_GE(different, 3) << "the vectors do not tell one chain from blocks of 1,024";
}

TEST(MatmulTwin, SplitDepthAndSeparateRoundingGoRed) {
  const std::int64_t n = 20, k = 1000;
  const Values a = elements(k, 1), b = elements(k * n, 5000);
  Values c(n), whole(n), halves(n), rounded_twice(n);
  for (std::size_t j = 0; j < c.size(); ++j) {
    float half[2] = {};
    for (std::size_t i = 0; i < a.size(); ++i) {
      const float x = a[i], y = b[i * c.size() + j];
      whole[j] = std::fma(x, y, whole[j]);
      half[i % 2] = std::fma(x, y, half[i % 2]);
      rounded_twice[j] = rounded_twice[j] + x * y;
    }
    halves[j] = half[0] + half[1];
  }
  matmul(row_major(a, 1, k), row_major(b, k, n), row_major(c, 1, n));
  EXPECT_EQ(differences(c, whole), 0u);
  EXPECT_GE(differences(c, halves), 10u);
  EXPECT_GE(differences(c, rounded_twice), 10u);
}

TEST(MatmulTwin, ChunksThatBeginAtTheMicroBatchGoRed) {
  const std::int64_t rows = 3000, cut = 700;
  const Values a = elements(rows, 1), b = elements(rows, 5000);
  float right = 0, wrong = 0;
  matmul_fold(row_major(a, rows, 1), row_major(b, rows, 1), {0, rows, true}, {&right, 1, 1, 1, 1}, nullptr);
  matmul_fold({a.data(), cut, 1, 1, 1}, {b.data(), cut, 1, 1, 1}, {0, cut, true}, {&wrong, 1, 1, 1, 1},
              nullptr);
  matmul_fold({a.data() + cut, rows - cut, 1, 1, 1}, {b.data() + cut, rows - cut, 1, 1, 1},
              {0, rows - cut, true}, {&wrong, 1, 1, 1, 1}, nullptr);
  EXPECT_NE(bits(right), bits(wrong));
}

TEST(MatmulRef, DoubleFollowsTheSameOrder) {
  std::vector<double> a(1025, 0.0);
  a[0] = 1e16, a[1] = 1.0, a[1024] = -1e16;
  const std::vector<double> b(1025, 1.0);
  double c = 0;
  matmul_ref<double>({a.data(), 1, 1025, 1025, 1}, {b.data(), 1025, 1, 1, 1}, {&c, 1, 1, 1, 1});
  EXPECT_EQ(c, (1e16 + 1.0) - 1e16);
  double total = 0.5, open = 2;
  matmul_fold_ref<double>({b.data(), 2, 1, 1, 1}, {b.data(), 2, 1, 1, 1}, {1023, 2, false},
                          {&total, 1, 1, 1, 1}, &open);
  EXPECT_EQ(total, 3.5);
  EXPECT_EQ(open, 1.0);
}

#if defined(__x86_64__)
TEST(MatmulCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  FlushingCaller caller;
  const float least = std::bit_cast<float>(1u), one = 1;
  float c = 0;
  matmul({&least, 1, 1, 1, 1}, {&one, 1, 1, 1, 1}, {&c, 1, 1, 1, 1});
  const bool kept = caller.end();
  EXPECT_EQ(bits(c), 1u);
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- float64

std::vector<double> wide_elements(std::int64_t count, std::uint32_t first) {
  const Values narrow = elements(count, first);
  return {narrow.begin(), narrow.end()};
}

TEST(MatmulFp64, IsTheProductOfStridedMatrices) {
  constexpr std::int64_t kBatch = 2, kRows = 3, kDepth = 1030, kCols = 4;
  const std::vector<double> a = wide_elements(kBatch * kRows * kDepth, 0),
                            b = wide_elements(kDepth * kCols, 777), bias = wide_elements(kCols, 99);
  std::vector<double> c(kBatch * kRows * kCols, 2.0);
  // a as its transpose lies in memory, b one for all
  matmul_batched(kBatch, {a.data(), kRows, kDepth, 1, kRows}, kRows * kDepth,
                 {b.data(), kDepth, kCols, kCols, 1}, 0, {c.data(), kRows, kCols, kCols, 1}, kRows * kCols,
                 {0.5, 3.0, bias.data()});
  for (std::int64_t p = 0; p < kBatch; ++p)
    for (std::int64_t i = 0; i < kRows; ++i)
      for (std::int64_t j = 0; j < kCols; ++j) {
        long double sum = 0, size = 0;
        for (std::int64_t k = 0; k < kDepth; ++k) {
          const long double term =
              static_cast<long double>(a[static_cast<std::size_t>((p * kDepth + k) * kRows + i)]) *
              b[static_cast<std::size_t>(k * kCols + j)];
          sum += term, size += std::fabs(term);
        }
        const long double expected = 0.5L * sum + 3.0L * 2.0L + bias[static_cast<std::size_t>(j)];
        EXPECT_NEAR(c[static_cast<std::size_t>((p * kRows + i) * kCols + j)], static_cast<double>(expected),
                    1e-13 * static_cast<double>(size + 10));
      }
}

TEST(MatmulFp64, AFoldDoesNotKnowItsCuts) {
  constexpr std::int64_t kRows = 2100, kLeft = 2, kRight = 3;
  const std::vector<double> a = wide_elements(kRows * kLeft, 0), b = wide_elements(kRows * kRight, 777);
  const auto run = [&](const std::vector<std::int64_t>& ends) {
    std::vector<double> total(kLeft * kRight, 0.0), open(total.size(), -7.0);
    std::int64_t first = 0;
    for (const std::int64_t end : ends) {
      matmul_fold({a.data() + first * kLeft, end - first, kLeft, kLeft, 1},
                  {b.data() + first * kRight, end - first, kRight, kRight, 1},
                  {first, end - first, end == kRows}, {total.data(), kLeft, kRight, kRight, 1}, open.data());
      first = end;
    }
    return total;
  };
  const std::vector<double> whole = run({kRows});
  EXPECT_EQ(run({1, 1000, 1024, 1500, 1500, kRows}), whole);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    long double sum = 0, size = 0;
    for (std::size_t r = 0; r < kRows; ++r) {
      const long double term =
          static_cast<long double>(a[r * kLeft + at / kRight]) * b[r * kRight + at % kRight];
      sum += term, size += std::fabs(term);
    }
    EXPECT_NEAR(whole[at], static_cast<double>(sum), 1e-13 * static_cast<double>(size));
  }
}

TEST(MatmulFp64, RefusesAsTheFloatFormDoes) {
  double memory[12] = {};
  const ConstMatrix64 a{memory, 2, 3, 3, 1}, b{memory, 3, 4, 4, 1};
  expect_refusal(
      [&] {
        matmul(a, b, {nullptr, 2, 4, 4, 1});
      },
      "c: expected [2, 4] elements of memory, got a null pointer");
  expect_refusal(
      [&] {
        matmul({memory, -1, 3, 3, 1}, b, Matrix64{memory, 2, 4, 4, 1});
      },
      "a: expected extents of 0 or more, got [-1, 3]");
  expect_refusal(
      [&] {
        matmul_fold(a, a, {0, 2, false}, {memory, 3, 3, 3, 1}, nullptr);
      },
      "open: expected memory for the open partial");
  expect_refusal(
      [&] {
        matmul(a, b, {memory, 2, 4, 4, 1}, {}, Device::cuda);
      },
      "Copy the memory to the CPU", ErrorCode::unsupported);
}

// ---- Errors, by code and by words

TEST(MatmulErrors, SayWhatIsWrong) {
  float memory[12] = {}, result[12] = {};
  const ConstMatrix a{memory, 2, 3, 3, 1}, b{memory, 3, 4, 4, 1};
  const Matrix c{result, 2, 4, 4, 1};
  const auto refuses = [](const ConstMatrix& x, const ConstMatrix& y, const Matrix& z, const char* words) {
    expect_refusal([&] { matmul(x, y, z); }, words);
  };
  refuses(a, {memory, 2, 4, 4, 1}, c, "b: expected shape [3, 4], as many rows as a has columns, got [2, 4]");
  refuses(a, b, {result, 2, 3, 3, 1},
          "c: expected shape [2, 4], the rows of a and the columns of b, got [2, 3]");
  refuses({memory, -1, 3, 3, 1}, b, c, "a: expected extents of 0 or more, got [-1, 3]");
  refuses({nullptr, 2, 3, 3, 1}, b, c, "a: expected [2, 3] elements of memory, got a null pointer");
  refuses(a, b, {nullptr, 2, 4, 4, 1}, "c: expected [2, 4] elements of memory, got a null pointer");
  refuses(a, b, {result, 2, 4, 0, 1}, "got row_stride 0, col_stride 1");
  refuses(a, b, {result, 2, 4, 3, 1}, "memory of its own");
  expect_refusal([&] { matmul_batched(-1, a, 0, b, 0, c, 0); }, "batch: expected 0 or more, got -1");
  expect_refusal([&] { matmul_batched(2, a, 0, b, 0, c, 0); },
                 "c_batch_stride: expected memory for each result");
}

TEST(MatmulErrors, OfTheFold) {
  float memory[12] = {}, total[12] = {};
  const ConstMatrix a{memory, 4, 2, 2, 1}, b{memory, 4, 3, 3, 1};
  const Matrix out{total, 2, 3, 3, 1};
  const auto refuses = [](const ConstMatrix& x, const ConstMatrix& y, order::FoldSpan span, const Matrix& z,
                          const char* words) {
    expect_refusal([&] { matmul_fold(x, y, span, z, nullptr); }, words);
  };
  refuses(a, b, {0, 5, true}, out, "a: expected shape [5, 2], the rows of the span, got [4, 2]");
  refuses(a, {memory, 3, 3, 3, 1}, {0, 4, true}, out,
          "b: expected shape [4, 3], the rows of the span, got [3, 3]");
  refuses(a, b, {-1, 4, true}, out, "span.first_row: expected 0 or more, got -1");
  refuses(a, b, {0, 4, false}, out, "open: expected memory for the open partial");
  refuses(a, b, {1000, 4, true}, out, "open: expected memory for the open partial");
  refuses(a, b, {0, 4, true}, {total, 3, 2, 2, 1}, "total: expected shape [2, 3], the columns of a and of b");
  matmul_fold(a, b, {0, 4, true}, out, nullptr);
}

TEST(MatmulErrors, OfADeviceThatIsNotThere) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "it is there";
  float memory[1] = {}, result[1] = {};
  const auto multiply = [&](Device device) {
    matmul({memory, 1, 1, 1, 1}, {memory, 1, 1, 1, 1}, {result, 1, 1, 1, 1}, {}, device);
  };
  expect_refusal([&] { multiply(Device::cuda); }, "matmul", ErrorCode::unsupported);
  expect_refusal([&] { multiply(static_cast<Device>(7)); }, "device");
}

// ---- What the CUDA form has of its own

using matmul_internal::CudaForm;
using matmul_internal::Problem;

/// A product or a fold of random extents, layouts and cuts.
struct RandomCase {
  explicit RandomCase(std::mt19937& random) {
    const auto pick = [&](std::int64_t low, std::int64_t high) {
      return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    };
    const auto extent = [&] {
      const std::int64_t most[] = {9, 70, 300};
      return pick(1, most[pick(0, 2)]);
    };
    const auto layout = [&] { return kLayouts[pick(0, 3)]; };
    is_fold = pick(0, 1) == 1;
    const std::int64_t m = extent(), n = extent(), k = pick(0, 3) == 0 ? pick(1000, 3100) : pick(0, 200);
    span = {pick(0, 2) == 0 ? 0 : pick(0, 3000), k, pick(0, 1) == 1};
    left.emplace(is_fold ? k : m, is_fold ? m : k, layout(), 1);
    right.emplace(k, n, layout(), 50000);
    result.emplace(m, n, layout(), 90000);
    open = elements(m * n, 5);
    bias = elements(n, 7);
    const MatmulEpilogue epilogues[] = {{}, {1, 1, bias.data()}, {0.3f, -0.7f, nullptr}, {1, 0, bias.data()}};
    epilogue = epilogues[pick(0, 3)];
  }

  void run_ref() {
    if (is_fold)
      matmul_fold_ref(ref(left->read()), ref(right->read()), span, ref(result->write()), open.data());
    else
      matmul_ref(ref(left->read()), ref(right->read()), ref(result->write()), epilogue.alpha, epilogue.beta,
                 epilogue.bias);
  }
  void run_on_device(void* scratch) {
    if (is_fold)
      fold_on_device(left->read(), right->read(), span, result->write(), open.data(), scratch);
    else
      multiply_on_device(1, left->read(), 0, right->read(), 0, result->write(), 0, epilogue, scratch);
  }

  bool is_fold;
  order::FoldSpan span;
  std::optional<Stored> left, right, result;
  Values open, bias;
  MatmulEpilogue epilogue;
};

void expect_random_cases(int count) {
  for (int i = 0; i < count; ++i) {
    const auto seed = static_cast<std::uint32_t>(1000 + i);
    std::mt19937 first(seed), second(seed), third(seed);
    RandomCase expected(first), alone(second), shared(third);
    expected.run_ref();
    alone.run_on_device(nullptr);
    shared.run_on_device(device_scratch());
    ASSERT_EQ(differences(alone.result->memory, expected.result->memory), 0u) << "seed " << seed;
    ASSERT_EQ(differences(alone.open, expected.open), 0u) << "open, seed " << seed;
    ASSERT_EQ(differences(shared.result->memory, expected.result->memory), 0u) << "shared, seed " << seed;
    ASSERT_EQ(differences(shared.open, expected.open), 0u) << "shared, open, seed " << seed;
  }
}

class MatmulGpu : public GpuSuite<> {};

TEST_F(MatmulGpu, RandomCasesAsTheReference) { expect_random_cases(200); }

TEST_F(MatmulGpu, ManyRandomCasesAsTheReferenceSlow) { expect_random_cases(2000); }

/// Each way to cut a result, whichever of them a call of its extents would choose.
TEST_F(MatmulGpu, EveryFormAsTheReference) {
  struct Case {
    std::int64_t m, n, k, first_row;
    bool transposes_left, transposes_right, accumulates;
  };
  const Case cases[] = {{130, 261, 2100, 0, false, false, false},  {256, 128, 1024, 0, false, true, false},
                        {129, 65, 1500, 0, true, false, false},    {7, 200, 3000, 0, true, true, false},
                        {132, 256, 2500, 1000, true, false, true}, {30, 77, 1100, 1023, false, false, true},
                        {1, 64, 5000, 5, true, true, true}};
  for (const Case& c : cases) {
    const Values a = elements(c.m * c.k, 1), b = elements(c.k * c.n, 50000), before = elements(c.m * c.n, 3),
                 open_before = elements(c.m * c.n, 4);
    const order::FoldSpan span{c.first_row, c.k, !c.accumulates};
    Values expected = before, expected_open = open_before;
    const ConstMatrix left = c.transposes_left ? ConstMatrix{a.data(), c.m, c.k, 1, c.m}
                                               : ConstMatrix{a.data(), c.m, c.k, c.k, 1},
                      right = c.transposes_right ? ConstMatrix{b.data(), c.k, c.n, 1, c.k}
                                                 : ConstMatrix{b.data(), c.k, c.n, c.n, 1};
    if (c.accumulates)
      matmul_fold_ref({left.data, c.k, c.m, left.col_stride, left.row_stride}, ref(right), span,
                      ref(row_major(expected, c.m, c.n)), expected_open.data());
    else
      matmul_ref(ref(left), ref(right), ref(row_major(expected, c.m, c.n)));
    const DeviceValues<float> da(a), db(b);
    Problem p;
    p.rows = c.m, p.cols = c.n, p.span = span;
    p.left = {da.data(), left.row_stride, left.col_stride};
    p.right = {db.data(), right.col_stride, right.row_stride};
    p.row_stride = p.open_row_stride = c.n, p.col_stride = 1;
    p.accumulates = c.accumulates;
    int shared = 0;
    for (const CudaForm& form : matmul_internal::cuda_forms(p)) {
      const DeviceValues<float> result(before), open(open_before);
      p.result = result.data(), p.open = open.data();
      matmul_internal::sum_cuda_as(form, p, nullptr, device_scratch());
      EXPECT_EQ(differences(result.values(), expected), 0u)
          << c.m << " x " << c.n << " x " << c.k << " in tiles of " << form.tile_rows << " x "
          << form.tile_cols << (form.shares_tiles ? ", shared" : "");
      EXPECT_EQ(differences(open.values(), expected_open), 0u);
      shared += form.shares_tiles ? 1 : 0;
    }
    EXPECT_EQ(shared > 0, order::fold_segments(span) > 1);
  }
}

TEST_F(MatmulGpu, MoreThan2To31ElementsAsTheReferenceSlow) {
  const std::int64_t m = 66'000, n = 33'000, k = 3;
  const Values a = elements(m * k, 1), b = elements(k * n, 50000);
  const DeviceValues<float> da(a), db(b);
  const DeviceBuffer result(static_cast<std::size_t>(m * n) * sizeof(float));
  matmul({da.data(), m, k, k, 1}, {db.data(), k, n, n, 1}, {static_cast<float*>(result.data()), m, n, n, 1},
         {}, Device::cuda);
  Values c(static_cast<std::size_t>(m * n)), expected(static_cast<std::size_t>(n));
  result.copy_to_host(c.data());
  for (std::int64_t i = 0; i < m; i += 997) {
    matmul_ref<float>({a.data() + i * k, 1, k, k, 1}, {b.data(), k, n, n, 1}, {expected.data(), 1, n, n, 1});
    const auto row = c.begin() + i * n;
    ASSERT_EQ(differences(Values(row, row + n), expected), 0u) << "row " << i;
  }
}

}  // namespace
}  // namespace lockstep
