// What a reader may take: memory of the largest frame that really exists, time linear in the file.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "lockstep/record/record_test.h"

namespace {

std::atomic<std::size_t> largest_request_bytes{0};

void* allocate(std::size_t bytes) noexcept {
  std::size_t largest = largest_request_bytes.load();
  while (bytes > largest && !largest_request_bytes.compare_exchange_weak(largest, bytes)) {
  }
  return std::malloc(bytes > 0 ? bytes : 1);
}

void* allocate_or_throw(std::size_t bytes) {
  if (void* memory = allocate(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate_or_throw(bytes); }
void* operator new[](std::size_t bytes) { return allocate_or_throw(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace lockstep::record::testing {
namespace {

constexpr std::size_t kMiB = 1 << 20;

struct Cost {
  std::size_t largest_bytes;
  Check check;
};

Cost cost_of_reading(const std::filesystem::path& file) {
  largest_request_bytes = 0;
  const Check result = check(file);
  return {largest_request_bytes.load(), result};
}

/// The head of a frame that verifies and promises `bytes` of payload.
std::string head_of_frame(std::uint64_t sequence, std::uint64_t bytes) {
  std::string frame;
  append_frame(frame, identity_of(small_info()).salt(), FrameType::loss, sequence, loss_of(1));
  frame.resize(kFrameHeaderBytes);
  std::memcpy(frame.data() + 16, &bytes, sizeof bytes);
  const std::uint32_t crc =
      checksum::crc32c(frame.data(), kFrameHeaderCoveredBytes, identity_of(small_info()).salt());
  std::memcpy(frame.data() + 24, &crc, sizeof crc);
  return frame;
}

TEST(ReaderMemory, PromisedLengthsTakeNoMemory) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "promise.lsr";
  const Built built = small_builder().torn();
  for (const std::uint64_t promise : {std::uint64_t{200} * kMiB, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    write_file(file, built.bytes + head_of_frame(built.begins.size(), promise));
    std::filesystem::resize_file(file, built.bytes.size() + 256 * kMiB);  // a hole: zeros without a disk
    const Cost cost = cost_of_reading(file);
    EXPECT_LT(cost.largest_bytes, kMiB) << promise;
    EXPECT_EQ(cost.check.verdict, Verdict::torn_tail);
    EXPECT_EQ(cost.check.good_frames, static_cast<std::int64_t>(built.begins.size()));
  }
}

TEST(ReaderMemory, LengthOfADamagedFrameDoesNotSwallowTheRest) {
  const Built built = small_builder().torn();
  std::string bytes = built.bytes + head_of_frame(built.begins.size(), 600);
  for (std::uint64_t i = 1; i < 40; ++i) {
    append_frame(bytes, identity_of(small_info()).salt(), FrameType::loss, built.begins.size() + i,
                 loss_of(2));
  }
  const ReadBack read = read_back(bytes);
  EXPECT_EQ(read.check.verdict, Verdict::damaged_middle);
  EXPECT_EQ(read.check.good_frames, static_cast<std::int64_t>(built.begins.size()) + 39);
}

TEST(ReaderMemory, ALargeFrameCostsASmallMultipleOfItself) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "large.lsr";
  TensorRecord record{1, Phase::parameter, summary_of("embedding")};
  record.tensor.shape = {8, static_cast<std::int64_t>(kMiB)};
  record.tensor.values.emplace(8 * kMiB, 'v');
  Builder builder = small_builder();
  write_file(file, builder.add(FrameType::tensor, record).end().bytes);
  const Cost cost = cost_of_reading(file);
  EXPECT_EQ(cost.check.verdict, Verdict::complete);
  EXPECT_GT(cost.largest_bytes, 8 * kMiB) << "the hook sees nothing";
  EXPECT_LT(cost.largest_bytes, 9 * kMiB);
}

TEST(ReaderMemory, ManyFramesNeedNoMoreThanAFew) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "many.lsr";
  Builder builder;
  for (int step = 0; step < 100'000; ++step) builder.add(FrameType::loss, loss_of(step));
  write_file(file, builder.end().bytes);
  const Cost cost = cost_of_reading(file);
  EXPECT_EQ(cost.check.good_frames, 100'002);
  EXPECT_LE(cost.largest_bytes, Window::kWindowBytes);
}

// Frame heads that verify, one after the other, each promising all the rest: the worst that a forger can do.
TEST(ReaderMemory, ForgedNestingStaysLinear) {
  const auto seconds_of = [](std::size_t heads) {
    std::string bytes = small_builder().torn().bytes;
    for (std::size_t i = 0; i < heads; ++i)
      bytes += head_of_frame(100 + i, (heads - i - 1) * kFrameHeaderBytes);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(check_memory(bytes).verdict, Verdict::torn_tail);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  EXPECT_LT(seconds_of(400'000), 60.0);  // 13 MB: below a second; quadratic: minutes
}

}  // namespace
}  // namespace lockstep::record::testing
