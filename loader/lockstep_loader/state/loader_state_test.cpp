#include "lockstep_loader/state/loader_state.h"

#include <gtest/gtest.h>

#include "lockstep/base/error.h"

namespace lockstep::loader {
namespace {

LoaderState example() {
  LoaderState state;
  state.epoch = 3;
  state.batches = 17;
  state.samples = 17 * 64;
  state.samples_total = 3 * 60'000 + 17 * 64;
  state.seed = 0xfedcba9876543210;
  state.batch_size = 64;
  state.last = 1;
  state.bad_sample = 2;
  state.persistent_workers = true;
  state.sampler = "native random, 60000 records, seed 7";
  state.sampler_state = std::string(5056, '\x07');
  state.dataset = "idx train-images (60000 records)";
  state.dataset_fingerprint = {1, 2};
  state.rank = 1;
  state.world_size = 4;
  state.digest_first_batch = 5;
  state.ids_digest = {3, 4};
  state.bytes_digest = {5, 6};
  return state;
}

ErrorCode code_of(const std::string& bytes) {
  try {
    loader_state_from_bytes(bytes);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

TEST(LoaderState, ComesBackAsItWas) {
  const std::string bytes = to_bytes(example());
  const LoaderState back = loader_state_from_bytes(bytes);
  EXPECT_EQ(to_bytes(back), bytes);
  EXPECT_EQ(back.samples_total, example().samples_total);
  EXPECT_EQ(back.sampler_state, example().sampler_state);
  EXPECT_EQ(back.dataset_fingerprint, example().dataset_fingerprint);
  EXPECT_EQ(back.bytes_digest, example().bytes_digest);
}

TEST(LoaderState, TheLayoutIsTheDocumentedOne) {
  LoaderState state = example();
  state.sampler_state.clear();
  const std::string bytes = to_bytes(state);
  EXPECT_EQ(bytes.substr(0, 4), std::string("\x01\0\0\0", 4));          // version
  EXPECT_EQ(bytes.substr(4, 8), std::string("\x03\0\0\0\0\0\0\0", 8));  // epoch
  EXPECT_EQ(bytes.substr(12, 8), std::string("\x11\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(bytes.size(), 4 + 4 * 8 + 8 + 8 + 3 + (8 + 36) + 8 + (8 + 32) + 16 + 4 + 4 + 8 + 16 + 16u);
}

TEST(LoaderState, EveryTruncationIsCorruption) {
  const std::string bytes = to_bytes(example());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(code_of(bytes.substr(0, size)), ErrorCode::corruption) << size;
  }
  EXPECT_EQ(code_of(bytes + '\0'), ErrorCode::corruption);
}

TEST(LoaderState, NoFlippedByteCrashes) {
  LoaderState state = example();
  state.sampler_state.resize(20);
  const std::string bytes = to_bytes(state);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x80);
    try {
      loader_state_from_bytes(damaged);  // a value that is possible is found out by the checkpoint's checksum
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::corruption || (at < 4 && error.code() == ErrorCode::unsupported))
          << at << ": " << error.what();
    }
  }
}

TEST(LoaderState, ANewerVersionIsUnsupported) {
  LoaderState state = example();
  state.version = 2;
  EXPECT_EQ(code_of(to_bytes(state)), ErrorCode::unsupported);
}

TEST(LoaderState, ImpossibleValuesAreCorruption) {
  for (void (*change)(LoaderState&) :
       {+[](LoaderState& s) { s.epoch = -1; }, +[](LoaderState& s) { s.batches = -1; },
        +[](LoaderState& s) { s.batch_size = 0; }, +[](LoaderState& s) { s.last = 3; },
        +[](LoaderState& s) { s.bad_sample = 3; }, +[](LoaderState& s) { s.rank = 4; },
        +[](LoaderState& s) { s.digest_first_batch = 18; }}) {
    LoaderState state = example();
    change(state);
    EXPECT_EQ(code_of(to_bytes(state)), ErrorCode::corruption);
  }
}

}  // namespace
}  // namespace lockstep::loader
