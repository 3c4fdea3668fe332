#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/embedding/embedding_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/embedding/embedding_internal.h"
#include "lockstep/order/fold.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::embedding_rows {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vec = simd::HWY_NAMESPACE;
using D = vec::LaneTag;
using V = vec::LaneVector;

/// The chains of one group over some columns.
struct Chain {
  const float* dy;
  const std::int64_t* next;
  std::int64_t first, dim;
  const float* from;  ///< the open partial that it continues, or null
  const float* add;   ///< what the finished chain is added to, or null
  float* to;

  template <class Place>
  HWY_INLINE V start(Place place) const {
    return from != nullptr ? place.load(from) : hn::Zero(D());
  }
  template <class Place>
  HWY_INLINE void finish(V sum, Place place) const {
    place.store(add != nullptr ? hn::Add(place.load(add), sum) : sum, to);
  }

  /// Ascending rows, a rounded add each.
  template <class Place>
  HWY_INLINE void run(Place place) const {
    V sum = start(place);
    for (std::int64_t r = first; r >= 0; r = next[r]) sum = hn::Add(sum, place.load(dy + r * dim));
    finish(sum, place);
  }

  /// The same for four vectors side by side.
  HWY_INLINE void run_four(std::int64_t j) const {
    const auto width = static_cast<std::int64_t>(hn::Lanes(D()));
    const vec::WholeVector p0{j}, p1{j + width}, p2{j + 2 * width}, p3{j + 3 * width};
    V s0 = start(p0), s1 = start(p1), s2 = start(p2), s3 = start(p3);
    for (std::int64_t r = first; r >= 0; r = next[r]) {
      const float* const row = dy + r * dim;
      s0 = hn::Add(s0, p0.load(row));
      s1 = hn::Add(s1, p1.load(row));
      s2 = hn::Add(s2, p2.load(row));
      s3 = hn::Add(s3, p3.load(row));
    }
    finish(s0, p0);
    finish(s1, p1);
    finish(s2, p2);
    finish(s3, p3);
  }
};

/// The columns begin … end - 1 of all segments, ascending.
void columns_form(const EmbeddingBackward& call, const Plan& plan, std::int64_t begin, std::int64_t end) {
  const auto four = 4 * static_cast<std::int64_t>(hn::Lanes(D()));
  for (const SegmentPlan& segment : plan.segments) {
    for (std::size_t g = 0; g < segment.groups.size(); ++g) {
      const Group& group = segment.groups[g];
      float* const total = call.total + group.table_row * call.dim;
      const float* const from =
          group.open_from < 0 ? nullptr : slot_partial(call.open, group.open_from, call.dim);
      float* const to =
          segment.closes ? total : slot_partial(call.open, static_cast<std::int64_t>(g), call.dim);
      assert(to != nullptr || begin == end);
      const Chain chain{
          call.dy, plan.next.data(), group.first, call.dim, from, segment.closes ? total : nullptr, to};
      std::int64_t j = begin;
      for (; j + four <= end; j += four) chain.run_four(j);
      vec::for_each_vector(j, end, [&](auto place) HWY_ATTR { chain.run(place); });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::embedding_rows
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::embedding_rows {
namespace {

HWY_EXPORT(columns_form);

constexpr std::int64_t kElements = 16384;  // that are worth a thread's while

std::int64_t grain(std::int64_t elements_an_item) {
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, elements_an_item));
}

/// Finds the group of a table row among those of one segment: open addressing, at most 1,024 of 4,096 places
/// in use.
class GroupFinder {
 public:
  explicit GroupFinder(std::vector<Group>& groups) : groups_(groups) {}

  Group& find_or_add(std::int64_t table_row) {
    std::uint64_t place = static_cast<std::uint64_t>(table_row) * 0x9e3779b97f4a7c15u >> 52;
    for (; places_[place] != 0; place = (place + 1) % places_.size()) {
      Group& group = groups_[places_[place] - 1];
      if (group.table_row == table_row) return group;
    }
    groups_.push_back({table_row});
    places_[place] = static_cast<std::uint16_t>(groups_.size());
    return groups_.back();
  }

 private:
  std::vector<Group>& groups_;
  std::array<std::uint16_t, 4096> places_{};  // 1 + the group's index; 0: free
};

/// What the chunk that lies open has hit, in the order of its slots, which all keep theirs.
void plan_open(const EmbeddingBackward& call, GroupFinder& finder) {
  const std::int64_t count = read_number(call.open);
  for (int slot = 0; slot < count; ++slot)
    finder.find_or_add(read_number(slot_partial(call.open, slot, call.dim) - kSlotHead)).open_from = slot;
}

void plan_segment(const EmbeddingBackward& call, const order::FoldSegment& segment, SegmentPlan& plan,
                  std::vector<std::int64_t>& next) {
  plan.closes = segment.closes;
  GroupFinder finder(plan.groups);
  if (!segment.opens) plan_open(call, finder);
  std::array<std::int64_t, order::kRowsPerChunk> last{};  // of each group
  for (std::int64_t r = segment.offset; r < segment.offset + segment.rows; ++r) {
    if (call.index[r] == call.padding) continue;
    Group& group = finder.find_or_add(call.index[r]);
    std::int64_t& last_row = last[static_cast<std::size_t>(&group - plan.groups.data())];
    if (group.first < 0)
      group.first = r;
    else
      next[static_cast<std::size_t>(last_row)] = r;
    last_row = r;
  }
}

Plan make_plan(const EmbeddingBackward& call) {
  const std::int64_t segments = order::fold_segments(call.span);
  Plan plan{std::vector<SegmentPlan>(static_cast<std::size_t>(segments)),
            std::vector<std::int64_t>(static_cast<std::size_t>(call.span.rows), -1)};
  parallel::for_each_range(segments, 2, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      plan_segment(call, order::fold_segment(call.span, i), plan.segments[static_cast<std::size_t>(i)],
                   plan.next);
  });
  return plan;
}

/// Which table rows lie open after the call: those of the last segment, in the order of its groups.
void write_open_rows(const EmbeddingBackward& call, const Plan& plan) {
  const SegmentPlan& last = plan.segments.back();
  const auto count = static_cast<std::int64_t>(last.closes ? 0 : last.groups.size());
  write_number(count, call.open);
  for (std::int64_t slot = 0; slot < count; ++slot)
    write_number(last.groups[static_cast<std::size_t>(slot)].table_row,
                 slot_partial(call.open, slot, call.dim) - kSlotHead);
}

}  // namespace

void forward_cpu(const Embedding& call) {
  const auto row_bytes = static_cast<std::size_t>(call.dim) * sizeof(float);
  if (row_bytes == 0) return;
  parallel::for_each_range(call.rows, grain(call.dim), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      std::memcpy(call.y + r * call.dim, call.table + call.index[r] * call.dim, row_bytes);
  });
}

// Threads share the columns, so that each table row's chunks are added in order by one thread, however often
// a token is repeated.
void backward_cpu(const EmbeddingBackward& call) {
  const Plan plan = make_plan(call);
  if (plan.segments.empty()) return;
  const auto form = LOCKSTEP_SIMD_CALL(columns_form);
  constexpr std::int64_t kLine = 16;  // columns of a cache line
  parallel::for_each_range(call.dim, (grain(call.span.rows) + kLine - 1) / kLine * kLine,
                           [&](std::int64_t begin, std::int64_t end) { form(call, plan, begin, end); });
  if (order::needs_open_partial(call.span)) write_open_rows(call, plan);
}

}  // namespace lockstep::embedding_rows

#endif  // HWY_ONCE
