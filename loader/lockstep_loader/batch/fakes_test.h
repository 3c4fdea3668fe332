#pragma once
// A dataset whose records are a formula, for the tests of the batch, prefetch and torch rooms: any size, bad
// records at will, and a field that shows which random key it was given.

#include <chrono>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/sampler/sampler.h"

namespace lockstep::loader::testing {

/// The words of the Error that `call` throws; a failure when there is none or its code is another.
template <class F>
std::string message_of(F&& call, ErrorCode code) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

inline void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& word : words)
    EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
}

struct FakeDataset final : Dataset {
  std::int64_t records = 0;
  std::set<std::int64_t> bad;        // throw Error(corruption)
  std::set<std::int64_t> exploding;  // throw std::runtime_error: no bad sample, but a bug
  std::chrono::microseconds delay{0};
  std::uint8_t salt = 0;  // another content

  explicit FakeDataset(std::int64_t n) : records(n) {}

  static const std::vector<Field>& field_list() {
    static const std::vector<Field> list{
        {"value", DType::int64, {}}, {"bytes", DType::uint8, {3, 7}}, {"draw", DType::uint32, {}}};
    return list;
  }

  std::int64_t size() const override { return records; }
  const std::vector<Field>& fields() const override { return field_list(); }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override {
    if (delay.count() > 0) std::this_thread::sleep_for(delay);
    if (exploding.count(index) > 0) throw std::runtime_error("exploded");
    if (bad.count(index) > 0) {
      fail(ErrorCode::corruption, {"fake", "record " + std::to_string(index), "good bytes", "bad ones", ""});
    }
    std::memcpy(out[0], &index, sizeof index);
    for (std::size_t i = 0; i < 21; ++i)
      out[1][i] = static_cast<std::byte>(index * 31 + static_cast<long>(i) + salt);
    const std::uint32_t draw = random::Generator(key, 0).next_u32();
    std::memcpy(out[2], &draw, sizeof draw);
  }
  fingerprint::Digest fingerprint() const override {
    const std::string text = std::to_string(records) + "/" + std::to_string(salt);
    return fingerprint::digest_bytes(text.data(), text.size());
  }
  std::string describe() const override { return "fake (" + std::to_string(records) + " records)"; }
};

/// Positions to ids by a given list, the same in every epoch.
class ListSampler final : public Sampler {
 public:
  explicit ListSampler(std::vector<std::int64_t> ids, bool replacement = false)
      : order_(std::make_shared<Order>(std::move(ids))), replacement_(replacement) {}
  std::int64_t size() const override { return order_->size(); }
  std::shared_ptr<const EpochOrder> begin_epoch(std::int64_t, const FetchPlan&) override { return order_; }
  void end_epoch(std::int64_t batches, bool exhausted) override { ended.push_back({batches, exhausted}); }
  bool with_replacement() const override { return replacement_; }
  std::string describe() const override { return "list of " + std::to_string(size()); }

  std::vector<std::pair<std::int64_t, bool>> ended;  // what end_epoch was told

 private:
  struct Order final : EpochOrder {
    explicit Order(std::vector<std::int64_t> list) : ids_(std::move(list)) {}
    std::int64_t size() const override { return static_cast<std::int64_t>(ids_.size()); }
    void ids(std::int64_t first, std::span<std::int64_t> out) const override {
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = ids_.at(static_cast<std::size_t>(first) + i);
    }
    std::vector<std::int64_t> ids_;
  };

  std::shared_ptr<Order> order_;
  bool replacement_;
};

}  // namespace lockstep::loader::testing
