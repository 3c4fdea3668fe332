#include <algorithm>
#include <chrono>
#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

#include "lockstep_loader/prefetch/sequencer_internal.h"

namespace lockstep::loader {
namespace {

Fetched numbered(std::int64_t index) {
  Fetched fetched;
  fetched.batch.index = index;
  return fetched;
}

/// Jobs of very different length, so that they finish out of order.
Sequencer::Job uneven_jobs(unsigned seed) {
  return [seed](std::int64_t index, const std::atomic<bool>&) {
    const unsigned length = std::minstd_rand(seed + static_cast<unsigned>(index))() % 400;
    if (length > 100) std::this_thread::sleep_for(std::chrono::microseconds(length));
    return numbered(index);
  };
}

std::vector<std::int64_t> taken_from(Sequencer& sequencer) {
  std::vector<std::int64_t> indices;
  while (const auto fetched = sequencer.take()) indices.push_back(fetched->batch.index);
  return indices;
}

std::vector<std::int64_t> numbers(std::int64_t first, std::int64_t end) {
  std::vector<std::int64_t> list;
  for (; first < end; ++first) list.push_back(first);
  return list;
}

TEST(Sequencer, DeliversInOrderWhateverFinishesFirst) {
  for (const int workers : {0, 1, 2, 5}) {
    for (const int depth : {1, 2, 7, 40}) {
      Sequencer sequencer(workers, depth);
      sequencer.start(uneven_jobs(1), 3, 120);
      EXPECT_EQ(taken_from(sequencer), numbers(3, 120)) << workers << " workers, depth " << depth;
      EXPECT_FALSE(sequencer.take().has_value());
    }
  }
}

TEST(Sequencer, ArrivalDeliversAllButNotInOrder) {
  Sequencer sequencer(4, 8, Delivery::arrival);
  sequencer.start(
      [](std::int64_t index, const std::atomic<bool>&) {
        if (index == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return numbered(index);
      },
      0, 200);
  auto taken = taken_from(sequencer);
  EXPECT_NE(taken, numbers(0, 200));
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(taken, numbers(0, 200));
}

TEST(Sequencer, NeverRunsFurtherAheadThanItsDepth) {
  std::atomic<std::int64_t> furthest{-1};
  Sequencer sequencer(3, 5);
  sequencer.start(
      [&](std::int64_t index, const std::atomic<bool>&) {
        for (std::int64_t seen = furthest; seen < index && !furthest.compare_exchange_weak(seen, index);) {
        }
        return numbered(index);
      },
      0, 100);
  for (std::int64_t taken = 0; taken < 100; ++taken) {
    EXPECT_LT(furthest.load(), taken + 5);
    ASSERT_EQ(sequencer.take()->batch.index, taken);
  }
}

TEST(Sequencer, AnExceptionComesAtItsPlaceOnly) {
  for (const int workers : {0, 3}) {
    Sequencer sequencer(workers, 6);
    sequencer.start(
        [](std::int64_t index, const std::atomic<bool>&) {
          if (index % 5 == 2) throw std::runtime_error(std::to_string(index));
          return numbered(index);
        },
        0, 50);
    for (std::int64_t index = 0; index < 50; ++index) {
      if (index % 5 != 2) {
        EXPECT_EQ(sequencer.take()->batch.index, index);
        continue;
      }
      try {
        sequencer.take();
        FAIL() << "nothing was thrown at " << index;
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), std::to_string(index));
      }
    }
    EXPECT_FALSE(sequencer.take().has_value());
  }
}

TEST(Sequencer, StartingAnewDropsWhatRuns) {
  Sequencer sequencer(3, 4);
  for (std::int64_t round = 0; round < 100; ++round) {
    sequencer.start(uneven_jobs(static_cast<unsigned>(round)), round, round + 50);
    for (std::int64_t k = 0; k < round % 7; ++k) ASSERT_EQ(sequencer.take()->batch.index, round + k);
    if (round % 3 == 0) {
      sequencer.stop();
      EXPECT_FALSE(sequencer.take().has_value());
    }
  }
}

TEST(Sequencer, StoppingDoesNotWaitForAJobThatIsUnderWay) {
  std::atomic<bool> release{false};
  Sequencer sequencer(1, 2);
  sequencer.start(
      [&](std::int64_t index, const std::atomic<bool>& cancelled) {
        while (!release && !cancelled) std::this_thread::yield();
        return numbered(index);
      },
      0, 10);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  sequencer.start(uneven_jobs(1), 0, 3);
  EXPECT_EQ(taken_from(sequencer), numbers(0, 3));
}

}  // namespace
}  // namespace lockstep::loader
