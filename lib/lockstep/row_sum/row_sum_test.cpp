#include "lockstep/row_sum/row_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/row_sum/row_sum_ref.h"
#include "lockstep/row_sum/row_sum_vectors.h"
#include "lockstep/simd/targets.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
using Totals = std::vector<double>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kMost = std::numeric_limits<float>::max();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

std::uint64_t bits64(double value) {
  return std::isnan(value) ? 0x7ff8000000000000u : std::bit_cast<std::uint64_t>(value);
}

std::uint32_t digest(const Totals& values, std::uint32_t state = 2166136261u) {
  for (const double value : values) {
    state = (state ^ static_cast<std::uint32_t>(bits64(value))) * 16777619u;
    state = (state ^ static_cast<std::uint32_t>(bits64(value) >> 32)) * 16777619u;
  }
  return state;
}

std::size_t differences(const Totals& got, const Totals& expected) {
  if (got.size() != expected.size()) return std::max(got.size(), expected.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i) count += bits64(got[i]) != bits64(expected[i]) ? 1 : 0;
  return count;
}

template <class T = float>
std::vector<T> elements(std::int64_t count, std::uint32_t first) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = row_sum_element(first++);
  return values;
}

// ---- The twins: the reference, the CPU in each instruction set with 1, 2 and 3 threads, and CUDA

struct Twin {
  std::string instruction_set;  ///< empty: the reference
  int threads = 1;
  bool cuda = false;
};

void PrintTo(const Twin& twin, std::ostream* out) {
  if (twin.cuda)
    *out << "CUDA";
  else
    *out << (twin.instruction_set.empty() ? "reference" : twin.instruction_set) << " with " << twin.threads
         << " threads";
}

std::vector<Twin> twins() {
  std::vector<Twin> all{Twin{}};
  for (const std::string& name : simd::instruction_sets())
    for (const int threads : {1, 2, 3}) all.push_back({name, threads});
  return all;
}

std::string twin_name(const testing::TestParamInfo<Twin>& info) {
  if (info.param.cuda) return "Cuda";
  return info.param.instruction_set.empty()
             ? "Ref"
             : "Cpu_" + info.param.instruction_set + "_" + std::to_string(info.param.threads);
}

/// Rows of x and y, and where they are folded to.
struct Fold {
  Fold(std::int64_t columns, order::FoldSpan where, std::int64_t gap = 0)
      : cols(columns),
        stride(columns + gap),
        span(where),
        x(elements(where.rows * stride, 0)),
        y(elements(where.rows * stride, 100000)),
        total(elements<double>(columns, 200000)),
        open(elements<double>(columns, 300000)) {}

  double* open_or_null() { return order::needs_open_partial(span) ? open.data() : nullptr; }
  bool stays_open() const { return !span.last && (span.first_row + span.rows) % 1024 != 0; }
  std::uint32_t result() const { return stays_open() ? digest(open, digest(total)) : digest(total); }

  std::int64_t cols, stride;
  order::FoldSpan span;
  Values x, y;
  Totals total, open;
};

/// Of the first row in x and y: with a stride below 0 it lies behind the others.
std::int64_t first_row(const Fold& f) { return f.stride < 0 ? -f.stride * (f.span.rows - 1) : 0; }

void run_ref(Fold& f, bool product) {
  const float *const x = f.x.data() + first_row(f), *const y = f.y.data() + first_row(f);
  if (product)
    row_product_sum_fold_ref(x, f.stride, y, f.stride, f.cols, f.span, f.total.data(), f.open_or_null());
  else
    row_sum_fold_ref(x, f.stride, f.cols, f.span, f.total.data(), f.open_or_null());
}

void run_room(Fold& f, bool product) {
  const float *const x = f.x.data() + first_row(f), *const y = f.y.data() + first_row(f);
  if (product)
    row_product_sum_fold(x, f.stride, y, f.stride, f.cols, f.span, f.total.data(), f.open_or_null());
  else
    row_sum_fold(x, f.stride, f.cols, f.span, f.total.data(), f.open_or_null());
}

/// Rows on the device, in memory that begins `misaligned` bytes behind a boundary of 256.
class DeviceRows {
 public:
  explicit DeviceRows(const Values& rows, std::size_t misaligned = 0)
      : buffer_(misaligned + (rows.size() + 1) * sizeof(float)), misaligned_(misaligned) {
    std::vector<float> padded(misaligned / sizeof(float), 0.0f);
    padded.insert(padded.end(), rows.begin(), rows.end());
    padded.push_back(0.0f);
    buffer_.copy_from_host(padded.data());
  }
  const float* data() const {
    return reinterpret_cast<const float*>(static_cast<const char*>(buffer_.data()) + misaligned_);
  }

 private:
  DeviceBuffer buffer_;
  std::size_t misaligned_;
};

class DeviceTotals {
 public:
  explicit DeviceTotals(Totals& host) : host_(host), buffer_((host.size() + 1) * sizeof(double)) {
    Totals padded = host;
    padded.push_back(0.0);
    buffer_.copy_from_host(padded.data());
  }
  double* data() const { return static_cast<double*>(buffer_.data()); }
  void read() {
    Totals padded(host_.size() + 1);
    buffer_.copy_to_host(padded.data());
    host_.assign(padded.begin(), padded.end() - 1);
  }

 private:
  Totals& host_;
  DeviceBuffer buffer_;
};

void run_cuda(Fold& f, bool product, std::size_t misaligned = 0) {
  const DeviceRows x(f.x, misaligned), y(f.y);
  const std::int64_t first = first_row(f);
  DeviceTotals total(f.total), open(f.open);
  const DeviceBuffer scratch(static_cast<std::size_t>(row_sum_scratch_elements(f.cols, f.span) + 1) *
                             sizeof(double));
  double* const open_or_null = order::needs_open_partial(f.span) ? open.data() : nullptr;
  auto* const at = static_cast<double*>(scratch.data());
  if (product)
    row_product_sum_fold(x.data() + first, f.stride, y.data() + first, f.stride, f.cols, f.span, total.data(),
                         open_or_null, Device::cuda, nullptr, at);
  else
    row_sum_fold(x.data() + first, f.stride, f.cols, f.span, total.data(), open_or_null, Device::cuda,
                 nullptr, at);
  total.read();
  open.read();
}

class RowSum : public testing::TestWithParam<Twin> {
 protected:
  void SetUp() override {
    if (GetParam().cuda && cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
    before_ = simd::active_instruction_set();
    if (!is_ref() && !GetParam().cuda) simd::force_instruction_set(GetParam().instruction_set);
    parallel::set_thread_count(GetParam().threads);
  }
  void TearDown() override {
    if (!before_.empty()) simd::force_instruction_set(before_);
    parallel::set_thread_count(0);
  }
  static bool is_ref() { return GetParam().instruction_set.empty() && !GetParam().cuda; }
  static void run(Fold& f, bool product) {
    if (GetParam().cuda) return run_cuda(f, product);
    is_ref() ? run_ref(f, product) : run_room(f, product);
  }

 private:
  std::string before_;
};

INSTANTIATE_TEST_SUITE_P(Twins, RowSum, testing::ValuesIn(twins()), twin_name);
INSTANTIATE_TEST_SUITE_P(Gpu, RowSum, testing::Values(Twin{"", 1, true}), twin_name);

TEST_P(RowSum, GivesTheExpectedBits) {
  for (const RowSumVector& v : kRowSumVectors) {
    for (const bool product : {false, true}) {
      Fold f(v.cols, {v.first_row, v.rows, v.last});
      run(f, product);
      EXPECT_EQ(f.result(), product ? v.products : v.sums)
          << v.cols << " columns, rows " << v.first_row << " + " << v.rows << (product ? ", products" : "");
    }
  }
}

TEST_P(RowSum, EveryShapeAsTheReference) {
  struct Case {
    std::int64_t cols, rows;
  };
  std::vector<Case> cases;
  for (const std::int64_t cols : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 129, 300})
    for (const std::int64_t rows : {1, 7, 8, 9, 200}) cases.push_back({cols, rows});
  for (const std::int64_t cols : {1, 3}) cases.push_back({cols, 40000});
  for (const std::int64_t cols : {20, 70}) cases.push_back({cols, 5000});
  for (const Case& c : cases)
    for (const std::int64_t first_row : {0, 1000})
      for (const bool product : {false, true})
        for (const std::int64_t gap : {0, 3}) {
          Fold f(c.cols, {first_row, c.rows, false}, gap), expected = f;
          run(f, product);
          run_ref(expected, product);
          EXPECT_EQ(f.result(), expected.result())
              << c.cols << " columns, rows " << first_row << " + " << c.rows << ", gap " << gap;
        }
}

TEST_P(RowSum, DoesNotKnowTheCuts) {
  const std::int64_t cols = 19, rows = 9000;
  for (const bool product : {false, true}) {
    Fold whole(cols, {0, rows, true});
    run(whole, product);
    for (const std::int64_t step :
         {std::int64_t{7}, std::int64_t{1000}, std::int64_t{1024}, std::int64_t{3000}}) {
      Totals total = elements<double>(cols, 200000), open(static_cast<std::size_t>(cols), kNaN);
      for (std::int64_t row = 0; row < rows; row += step) {
        const std::int64_t count = std::min(step, rows - row);
        Fold part(cols, {row, count, row + count == rows});
        part.x.assign(whole.x.begin() + row * cols, whole.x.begin() + (row + count) * cols);
        part.y.assign(whole.y.begin() + row * cols, whole.y.begin() + (row + count) * cols);
        part.total = total;
        part.open = open;
        run(part, product);
        total = part.total;
        open = part.open;
      }
      EXPECT_EQ(differences(total, whole.total), 0u) << "micro-batches of " << step;
    }
  }
}

TEST_P(RowSum, BroadcastAndReversedRows) {
  for (const std::int64_t stride : {0, -4}) {
    Fold f(4, {0, 10, true}), expected = f;
    f.stride = stride;
    run(f, false);
    row_sum_fold_ref(expected.x.data() + first_row(f), stride, 4, f.span, expected.total.data(), nullptr);
    EXPECT_EQ(f.result(), expected.result()) << "stride " << stride;
  }
}

TEST_P(RowSum, ASpanWithoutRowsClosesAtMost) {
  for (const bool product : {false, true}) {
    for (const order::FoldSpan& span : {order::FoldSpan{77, 0, false}, order::FoldSpan{2048, 0, true}}) {
      Fold f(5, span);
      const Totals total = f.total, open = f.open;
      run(f, product);
      EXPECT_EQ(differences(f.total, total) + differences(f.open, open), 0u);
    }
    Fold f(40, {77, 0, true});
    Totals closed = f.total;
    for (std::size_t j = 0; j < closed.size(); ++j) closed[j] = closed[j] + f.open[j];
    run(f, product);
    EXPECT_EQ(differences(f.total, closed), 0u);
    Fold none(0, {0, 10, false});
    run(none, product);
  }
}

TEST_P(RowSum, SpecialValues) {
  const auto sum = [](const Values& column, bool product = false) {
    Fold f(1, {0, static_cast<std::int64_t>(column.size()), true});
    f.x = column;
    f.y.assign(column.size(), 1.0f);
    f.total = {0.0};
    run(f, product);
    return f.total[0];
  };
  for (const bool product : {false, true}) {
    EXPECT_EQ(bits64(sum({-0.0f, -0.0f}, product)), 0u) << "chains start at +0";
    EXPECT_EQ(sum({kInfinity, 1.0f}, product), kInfinity);
    EXPECT_TRUE(std::isnan(sum({kInfinity, -kInfinity}, product)));
    EXPECT_TRUE(std::isnan(sum({1.0f, kNaN, 2.0f}, product)));
    EXPECT_EQ(bits(static_cast<float>(sum({kLeast, kLeast}, product))), 2u) << "subnormals are kept";
    EXPECT_EQ(sum({kMost, kMost, -kMost}, product), kMost) << "more than float32 holds, on the way";
  }
}

TEST_P(RowSum, ANaNStaysInItsColumn) {
  Fold f(40, {0, 100, true}), clean = f;
  f.x[50 * 40 + 39] = kNaN;
  run(f, false);
  run(clean, false);
  EXPECT_TRUE(std::isnan(f.total[39]));
  f.total.pop_back();
  clean.total.pop_back();
  EXPECT_EQ(differences(f.total, clean.total), 0u);
}

/// Where the CUDA form shares its work in another way: columns that fill a GPU, several waves of chunks.
TEST(RowSumGpu, WideAndLongAsTheReference) {
  if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  struct Case {
    std::int64_t cols, rows;
  };
  for (const Case& c :
       {Case{65'600, 30}, {65'601, 30}, {3072, 2500}, {32, 50'000}, {5, 300'000}, {1, 9'000'000}})
    for (const bool product : {false, true}) {
      Fold f(c.cols, {1000, c.rows, false}), expected = f;
      run_cuda(f, product);
      run_ref(expected, product);
      EXPECT_EQ(f.result(), expected.result()) << c.rows << " rows of " << c.cols << " columns";
    }
}

TEST(RowSumGpu, RowsOffEveryBoundaryAsTheReference) {
  if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  for (const std::int64_t cols : {1, 3, 4, 32, 64, 100})
    for (const std::size_t misaligned : {4, 8, 16})
      for (const std::int64_t gap : {0, 4}) {
        Fold f(cols, {1000, 3000, true}, gap), expected = f;
        run_cuda(f, true, misaligned);
        run_ref(expected, true);
        EXPECT_EQ(f.result(), expected.result())
            << cols << " columns, " << misaligned << " bytes, gap " << gap;
      }
}

TEST(RowSumScratch, StaysBounded) {
  EXPECT_EQ(row_sum_scratch_elements(3072, {0, 1024, true}), 0);
  EXPECT_EQ(row_sum_scratch_elements(0, {0, 5000, true}), 0);
  EXPECT_EQ(row_sum_scratch_elements(384, {0, 2048, true}), 2 * 384);
  EXPECT_EQ(row_sum_scratch_elements(384, {1000, 2048, true}), 3 * 384);
  for (const std::int64_t cols : {1, 33, 3072, 65'000, 1'000'000'000})
    EXPECT_LE(row_sum_scratch_elements(cols, {0, std::int64_t{1} << 40, true}), 1 << 18) << cols;
  expect_refusal([] { row_sum_scratch_elements(-1, {}); }, "row_sum_scratch_elements: cols");
}

// ---- The suite can fail: other orders are other bits

TEST(RowSumTwin, OneChainAndChunksOfAnotherGridGoRed) {
  Fold f(1, {0, 5000, true});
  f.total = {0.0};
  run_ref(f, false);
  double chain = 0;
  for (const float x : f.x) chain = chain + x;
  EXPECT_NE(bits64(f.total[0]), bits64(chain));
  double shifted = 0;
  row_sum_fold_ref(f.x.data(), 1, 1, {0, 700, true}, &shifted, nullptr);
  row_sum_fold_ref(f.x.data() + 700, 1, 1, {0, 4300, true}, &shifted, nullptr);
  EXPECT_NE(bits64(f.total[0]), bits64(shifted)) << "chunks that begin at the micro-batch";
}

TEST(RowSumTwin, ChainsOfFloat32GoRed) {
  Fold f(20, {0, 1000, true});
  std::fill(f.total.begin(), f.total.end(), 0.0);
  run_ref(f, true);
  Values narrow(f.total.size(), 0.0f);
  for (std::size_t i = 0; i < f.x.size(); ++i) narrow[i % 20] = std::fma(f.x[i], f.y[i], narrow[i % 20]);
  EXPECT_GE(differences(f.total, Totals(narrow.begin(), narrow.end())), 1u);
}

TEST(RowSumDouble, SumsRowsOfDoublesInTheSameOrder) {
  std::vector<double> x(1025, 0.0);
  x[0] = 1e16, x[1] = 1.0, x[1024] = -1e16;
  double total = 0, product = 0;
  row_sum_fold(x.data(), 1, 1, {0, 1025, true}, &total, nullptr);
  EXPECT_EQ(total, (1e16 + 1.0) - 1e16);
  const std::vector<double> ones(1025, 1.0);
  row_product_sum_fold(x.data(), 1, ones.data(), 1, 1, {0, 1025, true}, &product, nullptr);
  EXPECT_EQ(product, total);
}

#if defined(__x86_64__)
TEST(RowSumCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  FlushingCaller caller;
  const Values x(40000, std::bit_cast<float>(1u));
  double total = 0;
  row_sum_fold(x.data(), 1, 1, {0, 40000, true}, &total, nullptr);
  const bool kept = caller.end();
  EXPECT_EQ(bits(static_cast<float>(total)), 40000u);
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- Errors, by code and by words

TEST(RowSumErrors, SayWhatIsWrong) {
  const float x[6] = {};
  double total[3] = {};
  const auto refuses = [&](const float* rows, std::int64_t cols, order::FoldSpan span, double* into,
                           const char* words) {
    expect_refusal([&] { row_sum_fold(rows, 3, cols, span, into, nullptr); },
                   std::string("row_sum_fold: ") + words);
    expect_refusal([&] { row_product_sum_fold(rows, 3, x, 3, cols, span, into, nullptr); },
                   std::string("row_product_sum_fold: ") + words);
  };
  refuses(x, -1, {0, 2, true}, total, "cols: expected 0 or more, got -1");
  refuses(x, 3, {0, -2, true}, total, "span.rows: expected 0 or more, got -2");
  refuses(x, 3, {-5, 2, true}, total, "span.first_row: expected 0 or more, got -5");
  refuses(nullptr, 3, {0, 2, true}, total, "x: expected memory for 3 columns, got a null pointer");
  refuses(x, 3, {0, 2, true}, nullptr, "total: expected memory for 3 columns, got a null pointer");
  refuses(x, 3, {0, 2, false}, total, "open: expected memory for the open partial");
  expect_refusal(
      [&] {
        row_product_sum_fold(x, 3, nullptr, 3, 3, {0, 2, true}, total, nullptr);
      },
      "y: expected memory for 3 columns, got a null pointer");
  expect_refusal(
      [&] {
        row_sum_fold(x, 3, 3, {0, 2000, true}, total, nullptr, Device::cuda);
      },
      "scratch: expected memory of 6 elements on the device, got a null pointer");
  const double wide[3] = {};
  expect_refusal(
      [&] {
        row_sum_fold(wide, 3, 3, {0, 1, true}, total, nullptr, Device::cuda);
      },
      "Pass rows in the host's memory", ErrorCode::unsupported);
}

TEST(RowSumErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  const float x[3] = {};
  double total[3] = {};
  const auto refuses = [](auto call) { expect_error(ErrorCode::unsupported, "", call); };
  refuses([&] { row_sum_fold(x, 3, 3, {0, 1, true}, total, nullptr, Device::cuda); });
  refuses([&] { row_product_sum_fold(x, 3, x, 3, 3, {0, 1, true}, total, nullptr, Device::cuda); });
}

}  // namespace
}  // namespace lockstep
