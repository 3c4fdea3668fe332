#include "lockstep/parallel/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/expect_error_test.h"

namespace lockstep::parallel {
namespace {

using Ranges = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// The calling thread's number of threads, for a scope.
class Threads {
 public:
  explicit Threads(int threads) : before_(set_thread_count(threads)) {}
  ~Threads() { set_thread_count(before_); }

 private:
  int before_;
};

Ranges ranges_of(std::int64_t count, std::int64_t grain) {
  std::mutex mutex;
  Ranges ranges;
  for_each_range(count, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::lock_guard lock(mutex);
    ranges.emplace_back(begin, end);
  });
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

TEST(Parallel, RangesCoverEveryItemOnceAndBeginAtGrains) {
  for (const int threads : {1, 2, 3, 4, 7}) {
    const Threads scope(threads);
    for (const std::int64_t grain : {1, 2, 5, 64, 1000}) {
      for (const std::int64_t count : {1, 2, 3, 63, 64, 65, 1000, 4097}) {
        const Ranges ranges = ranges_of(count, grain);
        ASSERT_FALSE(ranges.empty());
        EXPECT_LE(ranges.size(), static_cast<std::size_t>(threads));
        std::int64_t next = 0;
        for (const auto& [begin, end] : ranges) {
          EXPECT_EQ(begin, next);
          EXPECT_LT(begin, end);
          EXPECT_EQ(begin % grain, 0);
          next = end;
        }
        EXPECT_EQ(next, count) << threads << " threads, grain " << grain;
      }
    }
  }
}

TEST(Parallel, UsesTheThreadsThatItIsAllowed) {
  const Threads scope(3);
  EXPECT_EQ(thread_count(), 3);
  EXPECT_EQ(ranges_of(3000, 1).size(), 3u);
  EXPECT_EQ(ranges_of(3000, 1500).size(), 2u) << "no more threads than grains";
  EXPECT_EQ(ranges_of(3000, 3000).size(), 1u);
}

TEST(Parallel, RangesRunAtTheSameTime) {
  const Threads scope(2);
  std::atomic<int> arrived{0};
  for_each_range(2, 1, [&](std::int64_t, std::int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();  // would stand still if one waited for the other
  });
  EXPECT_EQ(arrived, 2);
}

TEST(Parallel, WithoutItemsNothingIsCalled) {
  EXPECT_TRUE(ranges_of(0, 1).empty());
  EXPECT_TRUE(ranges_of(-5, 1).empty());
}

TEST(Parallel, OneRangeRunsInTheCallingThread) {
  const Threads scope(4);
  const auto caller = std::this_thread::get_id();
  for_each_range(10, 10, [&](std::int64_t, std::int64_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
}

TEST(Parallel, NestedRegionsAreOneRangeInTheirThread) {
  const Threads scope(3);
  std::atomic<int> outer{0}, inner{0};
  for_each_range(3, 1, [&](std::int64_t, std::int64_t) {
    ++outer;
    EXPECT_EQ(thread_count(), 1);
    const auto self = std::this_thread::get_id();
    for_each_range(1000, 1, [&](std::int64_t begin, std::int64_t end) {
      ++inner;
      EXPECT_EQ(std::this_thread::get_id(), self);
      EXPECT_EQ(begin, 0);
      EXPECT_EQ(end, 1000);
    });
  });
  EXPECT_EQ(outer, 3);
  EXPECT_EQ(inner, 3);
  EXPECT_EQ(thread_count(), 3);
}

TEST(Parallel, TheCountIsAThreadsOwn) {
  const Threads scope(5);
  std::thread([] {
    EXPECT_NE(thread_count(), 5) << "another thread starts with OpenMP's number";
    EXPECT_EQ(set_thread_count(2), 0);
    EXPECT_EQ(thread_count(), 2);
  }).join();
  EXPECT_EQ(thread_count(), 5);
  EXPECT_EQ(set_thread_count(0), 5) << "0 gives the number back to OpenMP";
  EXPECT_GE(thread_count(), 1);
  EXPECT_EQ(set_thread_count(5), 0);
}

TEST(Parallel, TwoThreadsMayCallAtOnce) {
  std::atomic<std::int64_t> sum{0};
  const auto work = [&] {
    const Threads scope(2);
    for (int i = 0; i < 50; ++i)
      for_each_range(100, 10, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
  };
  std::thread first(work), second(work);
  first.join();
  second.join();
  EXPECT_EQ(sum, 2 * 50 * 100);
}

// ---- Exceptions

/// The words of what for_each_range throws.
template <class Work>
std::string thrown_by(std::int64_t count, Work work) {
  try {
    for_each_range(count, 1, work);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing";
}

TEST(Parallel, AnExceptionReachesTheCallerAfterAllRangesEnded) {
  for (const int threads : {1, 2, 3}) {
    const Threads scope(threads);
    std::atomic<int> ended{0};
    const std::string words = thrown_by(threads, [&](std::int64_t begin, std::int64_t end) {
      if (begin == 0) throw std::runtime_error("range 0");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ended += static_cast<int>(end - begin);
    });
    EXPECT_EQ(words, "range 0");
    EXPECT_EQ(ended, threads - 1);
  }
}

TEST(Parallel, OfSeveralExceptionsTheLowestRangesCounts) {
  const Threads scope(3);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(thrown_by(3,
                        [](std::int64_t begin, std::int64_t) {
                          if (begin > 0) throw std::runtime_error("range " + std::to_string(begin));
                          std::this_thread::sleep_for(std::chrono::milliseconds(1));
                        }),
              "range 1");
  }
}

TEST(Parallel, AnErrorKeepsItsCodeAndTheNextCallWorks) {
  const Threads scope(2);
  try {
    for_each_range(2, 1, [](std::int64_t begin, std::int64_t) {
      if (begin == 1) fail(ErrorCode::corruption, {"somewhere", "something", {}, {}, {}});
    });
    FAIL() << "the exception was lost";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corruption);
  }
  EXPECT_EQ(ranges_of(2, 1).size(), 2u);
}

TEST(Parallel, AnExceptionOfANestedRegionReachesTheOuterCaller) {
  const Threads scope(2);
  EXPECT_EQ(thrown_by(2,
                      [](std::int64_t begin, std::int64_t) {
                        for_each_range(10, 1, [&](std::int64_t, std::int64_t) {
                          if (begin == 1) throw std::runtime_error("inner");
                        });
                      }),
            "inner");
}

// ---- The floating-point mode

#if defined(__x86_64__)
constexpr unsigned kFlushAndDenormalsAreZero = 0x8040;

TEST(Parallel, EveryRangeRunsInTheContractsMode) {
  const unsigned before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | kFlushAndDenormalsAreZero);
  for (const int threads : {1, 3}) {
    const Threads scope(threads);
    for_each_range(3, 1, [](std::int64_t, std::int64_t) {
      EXPECT_EQ(__builtin_ia32_stmxcsr() & kFlushAndDenormalsAreZero, 0u);
    });
    EXPECT_EQ(__builtin_ia32_stmxcsr() & kFlushAndDenormalsAreZero, kFlushAndDenormalsAreZero)
        << "the caller's mode comes back";
    EXPECT_EQ(thrown_by(1, [](std::int64_t, std::int64_t) { throw std::runtime_error("x"); }), "x");
    EXPECT_EQ(__builtin_ia32_stmxcsr() & kFlushAndDenormalsAreZero, kFlushAndDenormalsAreZero)
        << "also after an exception";
  }
  __builtin_ia32_ldmxcsr(before);
}
#endif

// ---- Errors

TEST(ParallelErrors, SayWhatIsWrong) {
  const auto nothing = [](std::int64_t, std::int64_t) {};
  expect_refusal([] { set_thread_count(-1); }, "set_thread_count: threads: expected 0 or more, got -1");
  expect_refusal([&] { for_each_range(5, 0, nothing); }, "grain: expected above 0, got 0");
  expect_refusal([&] { for_each_range(0, -3, nothing); }, "grain: expected above 0, got -3");
}

}  // namespace
}  // namespace lockstep::parallel
