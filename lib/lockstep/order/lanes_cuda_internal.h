#pragma once
// The lane contract (contracts, section 5) on a CUDA device, for .cu files: a team of threads reduces a
// slice, the elements of one axis. A slice's lanes are dealt out to the team's threads like cards: of T
// threads, thread t has the lanes t, t + T, … and so the elements t, t + T, …; the tree's levels are those
// inside a thread, then those between threads.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/order/lanes.h"

namespace lockstep::order {

// ---- Teams. Each has
//   kThreads          its size, a power of two
//   kSlices           teams, and so slices, of a thread block
//   kIsRow            whether a slice's elements lie side by side; else neighbouring slices do
//   rank(), place()   of a thread: its number in its team, its team's in the block
//   tree(v, combine)  v of thread i takes that of thread i + s, for s = kThreads / 2 … 1; every thread gets
//                     the result. combine must not care which operand comes first. All threads of a block
//                     call it together.

template <class T>
__device__ T from_thread(T value, int distance) {
  return __shfl_xor_sync(0xffffffffu, value, distance);
}

/// Neighbouring threads of a warp.
template <int threads>
class WarpTeam {
 public:
  static constexpr int kThreads = threads, kSlices = 256 / threads;
  static constexpr bool kIsRow = true;
  template <class T>
  struct Memory {};

  template <class T>
  __device__ explicit WarpTeam(Memory<T>&) {}
  __device__ int rank() const { return static_cast<int>(threadIdx.x) % kThreads; }
  __device__ int place() const { return static_cast<int>(threadIdx.x) / kThreads; }
  template <class T, class Combine>
  __device__ T tree(T value, Combine combine) const {
#pragma unroll
    for (int s = kThreads / 2; s > 0; s /= 2) value = combine(value, from_thread(value, s));
    return value;
  }
};

/// All threads of a block.
template <int threads>
class BlockTeam {
 public:
  static constexpr int kThreads = threads, kSlices = 1, kWarps = threads / 32;
  static constexpr bool kIsRow = true;
  template <class T>
  struct Memory {
    T first[kWarps][33];  // by warp and thread of it; one column more, so that no bank is met too often
    T second[32];
  };

  template <class T>
  __device__ explicit BlockTeam(Memory<T>& memory) : memory_(&memory) {}
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ int place() const { return 0; }
  /// The levels between warps: warp w takes the places 32 / kWarps * w … of all warps. Then every warp alone
  /// those inside a warp. That a call follows another needs no third barrier: who writes `first` again has
  /// passed the second, and who writes `second` again the next call's first.
  template <class T, class Combine>
  __device__ T tree(T value, Combine combine) const {
    auto& memory = *static_cast<Memory<T>*>(memory_);
    const int warp = rank() / 32, thread = rank() % 32;
    memory.first[warp][thread] = value;
    __syncthreads();
    const int of_warp = thread % kWarps, place = 32 / kWarps * warp + thread / kWarps;
    value = memory.first[of_warp][place];
#pragma unroll
    for (int s = kWarps / 2; s > 0; s /= 2) value = combine(value, from_thread(value, s));
    if (of_warp == 0) memory.second[place] = value;
    __syncthreads();
    value = memory.second[thread];
#pragma unroll
    for (int s = 16; s > 0; s /= 2) value = combine(value, from_thread(value, s));
    return value;
  }

 private:
  void* memory_;
};

/// One thread in each row of a block whose columns are slices that lie side by side.
template <int threads, int columns>
class ColumnTeam {
 public:
  static constexpr int kThreads = threads, kSlices = columns;
  static constexpr bool kIsRow = false;
  template <class T>
  struct Memory {
    T value[kThreads][kSlices];
  };

  template <class T>
  __device__ explicit ColumnTeam(Memory<T>& memory) : memory_(&memory) {}
  __device__ int rank() const { return static_cast<int>(threadIdx.x) / kSlices; }
  __device__ int place() const { return static_cast<int>(threadIdx.x) % kSlices; }
  template <class T, class Combine>
  __device__ T tree(T value, Combine combine) const {
    if constexpr (kThreads > 1) {
      auto& memory = *static_cast<Memory<T>*>(memory_);
      memory.value[rank()][place()] = value;
      __syncthreads();
      T values[kThreads];
#pragma unroll
      for (int i = 0; i < kThreads; ++i) values[i] = memory.value[i][place()];
#pragma unroll
      for (int s = kThreads / 2; s > 0; s /= 2) {
#pragma unroll
        for (int i = 0; i < s; ++i) values[i] = combine(values[i], values[i + s]);
      }
      __syncthreads();
      value = values[0];
    }
    return value;
  }

 private:
  void* memory_;
};

constexpr int kInShared = -1;

/// How a slice is worked on: by which team, with how many lanes and elements in each of its threads. Where
/// kHeld is 0 elements are read again whenever they are needed, where it is kInShared they lie in shared
/// memory.
template <class Team_, int lanes, int held>
struct LaneForm {
  using Team = Team_;
  static constexpr int kLanes = lanes, kHeld = held;
  static constexpr int kBlockThreads = Team::kThreads * Team::kSlices;
  int shared_bytes = 0;  ///< of a block, for elements
};

// ---- Slices

/// The slices of a contiguous tensor [outer, axis, inner], each the `axis` elements of one place (outer,
/// inner).
struct Slices {
  std::int64_t outer, axis, inner;

  LOCKSTEP_HOST_DEVICE std::int64_t count() const { return outer * inner; }
};

/// A slice's elements in memory.
template <class Team>
struct Slice {
  std::int64_t index, first, stride;
  bool counts;  ///< false where a team is left without a slice: it works on the last one, and must not write

  __device__ std::int64_t operator()(std::int64_t j) const {
    return Team::kIsRow ? first + j : first + j * stride;
  }
};

/// Calls visit(slice) for every slice that a thread's team has. All threads of a block make as many calls.
template <class Team, class Visit>
__device__ void for_each_slice(const Team& team, const Slices& of, Visit visit) {
  const std::int64_t count = of.count(), step = std::int64_t{gridDim.x} * Team::kSlices;
  for (std::int64_t base = std::int64_t{blockIdx.x} * Team::kSlices; base < count; base += step) {
    const std::int64_t own = base + team.place();
    const std::int64_t index = own < count ? own : count - 1;
    if constexpr (Team::kIsRow)
      visit(Slice<Team>{index, index * of.axis, 1, own < count});
    else
      visit(Slice<Team>{index, index / of.inner * of.axis * of.inner + index % of.inner, of.inner,
                        own < count});
  }
}

// ---- The elements of a slice that a thread has, and the lanes over them

/// The levels of the tree inside a thread, then those of its team. Lanes that the contract has beyond those
/// of the form hold the identity.
template <class Form, class Lane, class Combine>
__device__ Lane lane_tree(const typename Form::Team& team, Lane (&lane)[Form::kLanes], Lane identity,
                          Combine combine) {
#pragma unroll
  for (int s = Form::kLanes / 2; s > 0; s /= 2) {
#pragma unroll
    for (int i = 0; i < s; ++i) lane[i] = combine(lane[i], lane[i + s]);
  }
  const Lane result = team.tree(lane[0], combine);
  return Form::Team::kThreads * Form::kLanes < kFewLanes ? combine(result, identity) : result;
}

/// Elements that a thread works on at a time: their loads are under way together, and they are asked together
/// whether they exist, which all do but at a row's end.
constexpr int kGroup = 8;

/// Elements in registers.
template <class Form, class Value>
class HeldElements {
 public:
  using Team = typename Form::Team;

  template <class Load>
  __device__ HeldElements(const Team& team, std::int64_t n, Load load)
      : team_(team), rest_(static_cast<int>(n) - team.rank()) {
    for_held([&](int k) { value_[k] = load(element(k)); });
  }

  /// visit(j, value), ascending.
  template <class Visit>
  __device__ void for_each(Visit visit) const {
    for_held([&](int k) { visit(element(k), value_[k]); });
  }

  /// visit(j, value, load(j)), ascending, a group's loads before its visits.
  template <class Load, class Visit>
  __device__ void for_each(Load load, Visit visit) const {
    decltype(load(std::int64_t{})) loaded[kHeldGroup];
    for_held([&](int k) { loaded[k % kHeldGroup] = load(element(k)); },
             [&](int k) { visit(element(k), value_[k], loaded[k % kHeldGroup]); });
  }

  /// The same elements with the values map(value).
  template <class Map>
  __device__ HeldElements mapped(Map map) const {
    HeldElements result = *this;
    for_held([&](int k) { result.value_[k] = map(value_[k]); });
    return result;
  }

  /// The same elements with the values map(value, load(j)).
  template <class Load, class Map>
  __device__ HeldElements mapped(Load load, Map map) const {
    HeldElements result = *this;
    decltype(load(std::int64_t{})) loaded[kHeldGroup];
    for_held([&](int k) { loaded[k % kHeldGroup] = load(element(k)); },
             [&](int k) { result.value_[k] = map(value_[k], loaded[k % kHeldGroup]); });
    return result;
  }

  /// Order: lane = step(lane, j, value), ascending in j, from `identity`; then the tree with `combine`. The
  /// whole team gets the result.
  template <class Lane, class Step, class Combine>
  __device__ Lane reduce(Lane identity, Step step, Combine combine) const {
    Lane lane[Form::kLanes];
#pragma unroll
    for (int i = 0; i < Form::kLanes; ++i) lane[i] = identity;
    for_held([&](int k) { lane[k % Form::kLanes] = step(lane[k % Form::kLanes], element(k), value_[k]); });
    return lane_tree<Form>(team_, lane, identity, combine);
  }

 private:
  static constexpr int kHeldGroup = Form::kHeld < kGroup ? Form::kHeld : kGroup;

  __device__ std::int64_t element(int k) const { return std::int64_t{team_.rank()} + k * Team::kThreads; }
  __device__ bool exists(int k) const { return k * Team::kThreads < rest_; }

  /// Each step(k) for the elements that exist, ascending; a group at a time, step after step.
  template <class... Step>
  __device__ void for_held(Step... step) const {
#pragma unroll
    for (int first = 0; first < Form::kHeld; first += kHeldGroup) {
      if (exists(first + kHeldGroup - 1))
        (for_group<true>(first, step), ...);
      else if (exists(first))
        (for_group<false>(first, step), ...);
    }
  }
  template <bool all_exist, class Step>
  __device__ void for_group(int first, Step step) const {
#pragma unroll
    for (int k = first; k < first + kHeldGroup; ++k)
      if (all_exist || exists(k)) step(k);
  }

  Team team_;
  int rest_;  // of the slice, from the thread's first element on
  Value value_[Form::kHeld];
};

extern __shared__ __align__(16) unsigned char g_shared_elements[];

/// Of a form in shared memory: asks for the row that the block takes after `slice` of `of`, so that the
/// device's memory works while the block computes.
template <class Form>
__device__ void prefetch_next(const typename Form::Team& team, const Slice<typename Form::Team>& slice,
                              const Slices& of, const float* elements) {
  if constexpr (Form::kHeld == kInShared) {
    constexpr int kLine = 128 / sizeof(float);
    const std::int64_t next = slice.index + gridDim.x;
    if (next >= of.count()) return;
    for (std::int64_t j = team.rank() * kLine; j < of.axis; j += Form::Team::kThreads * kLine)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(elements + next * of.axis + j));
  }
}

/// Elements in shared memory, where each thread has a place for its own: registers of which it has more.
template <class Form, class Value>
class SharedElements {
 public:
  using Team = typename Form::Team;
  static_assert(Team::kSlices == 1);

  template <class Load>
  __device__ SharedElements(const Team& team, std::int64_t n, Load load)
      : team_(team), rest_(static_cast<int>(n) - team.rank()) {
    constexpr int kLoads = sizeof(Value) > sizeof(float) ? kGroup : 2 * kGroup;  // at a time
    Value loaded[kLoads];
    in_groups<kLoads>([&](int k, int i) { loaded[i] = load(element(k)); },
                      [&](int k, int i) { value(k) = loaded[i]; });
  }

  template <class Visit>
  __device__ void for_each(Visit visit) const {
    in_groups<kGroup>([&](int k, int) { visit(element(k), value(k)); });
  }

  template <class Load, class Visit>
  __device__ void for_each(Load load, Visit visit) const {
    decltype(load(std::int64_t{})) loaded[kGroup];
    in_groups<kGroup>([&](int k, int i) { loaded[i] = load(element(k)); },
                      [&](int k, int i) { visit(element(k), value(k), loaded[i]); });
  }

  /// In the place of these elements, which are no more.
  template <class Map>
  __device__ SharedElements mapped(Map map) const {
    in_groups<kGroup>([&](int k, int) { value(k) = map(value(k)); });
    return *this;
  }
  template <class Load, class Map>
  __device__ SharedElements mapped(Load load, Map map) const {
    decltype(load(std::int64_t{})) loaded[kGroup];
    in_groups<kGroup>([&](int k, int i) { loaded[i] = load(element(k)); },
                      [&](int k, int i) { value(k) = map(value(k), loaded[i]); });
    return *this;
  }

  template <class Lane, class Step, class Combine>
  __device__ Lane reduce(Lane identity, Step step, Combine combine) const {
    Lane lane[Form::kLanes];
#pragma unroll
    for (int i = 0; i < Form::kLanes; ++i) lane[i] = identity;
    static_assert(kGroup % Form::kLanes == 0);
    in_groups<kGroup>(
        [&](int k, int i) { lane[i % Form::kLanes] = step(lane[i % Form::kLanes], element(k), value(k)); });
    return lane_tree<Form>(team_, lane, identity, combine);
  }

 private:
  __device__ std::int64_t element(int k) const { return std::int64_t{team_.rank()} + k * Team::kThreads; }
  __device__ bool exists(int k) const { return k * Team::kThreads < rest_; }
  __device__ Value& value(int k) const {
    return reinterpret_cast<Value*>(g_shared_elements)[k * Team::kThreads + team_.rank()];
  }

  /// Each step(k, k modulo group) for the elements that exist, ascending; a group at a time, step after step.
  template <int group, class... Step>
  __device__ void in_groups(Step... step) const {
    for (int first = 0; exists(first); first += group) {
      if (exists(first + group - 1))
        (one_group<group, true>(first, step), ...);
      else
        (one_group<group, false>(first, step), ...);
    }
  }
  template <int group, bool all_exist, class Step>
  __device__ void one_group(int first, Step step) const {
#pragma unroll
    for (int i = 0; i < group; ++i)
      if (all_exist || exists(first + i)) step(first + i, i);
  }

  Team team_;
  int rest_;  // of the slice, from the thread's first element on
};

/// Elements that are read, by load(j), whenever they are needed.
template <class Form, class Load>
class ReadElements {
 public:
  using Team = typename Form::Team;

  __device__ ReadElements(const Team& team, std::int64_t n, Load load) : team_(team), n_(n), load_(load) {}

  template <class Visit>
  __device__ void for_each(Visit visit) const {
    in_groups<kGroup>(load_, 0, n_, [&](int, std::int64_t j, auto value) { visit(j, value); });
  }

  template <class Also, class Visit>
  __device__ void for_each(Also also, Visit visit) const {
    const Load load = load_;
    struct Both {
      decltype(load(std::int64_t{})) value;
      decltype(also(std::int64_t{})) loaded;
    };
    in_groups<kGroup>(
        [=](std::int64_t j) {
          return Both{load(j), also(j)};
        },
        0, n_, [&](int, std::int64_t j, const Both& both) { visit(j, both.value, both.loaded); });
  }

  template <class Map>
  __device__ auto mapped(Map map) const {
    const Load load = load_;
    const auto both = [load, map](std::int64_t j) { return map(load(j)); };
    return ReadElements<Form, decltype(both)>(team_, n_, both);
  }

  template <class Also, class Map>
  __device__ auto mapped(Also also, Map map) const {
    const Load load = load_;
    const auto all = [load, also, map](std::int64_t j) { return map(load(j), also(j)); };
    return ReadElements<Form, decltype(all)>(team_, n_, all);
  }

  template <class Lane, class Step, class Combine>
  __device__ Lane reduce(Lane identity, Step step, Combine combine) const {
    if (n_ <= kElementsPerBlock) return reduce_block(0, n_, identity, step, combine);
    return reduce_blocks(identity, step, combine);
  }

 private:
  /// visit(k, j, read(j)) for the thread's elements of begin … begin + n - 1, ascending; k counts them modulo
  /// kTerms.
  template <int kTerms, class Read, class Visit>
  __device__ void in_groups(Read read, std::int64_t begin, std::int64_t n, Visit visit) const {
    constexpr std::int64_t kRound = std::int64_t{kTerms} * Team::kThreads;
    for (std::int64_t base = team_.rank(); base < n; base += kRound) {
      const int rest = static_cast<int>(n - base < kRound ? n - base : kRound);
#pragma unroll
      for (int first = 0; first < kTerms; first += kGroup) {
        if ((first + kGroup - 1) * Team::kThreads < rest)
          one_group<true>(read, begin + base, first, rest, visit);
        else if (first * Team::kThreads < rest)
          one_group<false>(read, begin + base, first, rest, visit);
      }
    }
  }
  template <bool all_exist, class Read, class Visit>
  __device__ void one_group(Read read, std::int64_t base, int first, int rest, Visit visit) const {
    decltype(read(base)) value[kGroup];
#pragma unroll
    for (int k = first; k < first + kGroup; ++k)
      if (all_exist || k * Team::kThreads < rest) value[k - first] = read(base + k * Team::kThreads);
#pragma unroll
    for (int k = first; k < first + kGroup; ++k)
      if (all_exist || k * Team::kThreads < rest) visit(k, base + k * Team::kThreads, value[k - first]);
  }

  template <class Lane, class Step, class Combine>
  __device__ Lane reduce_block(std::int64_t begin, std::int64_t n, Lane identity, Step step,
                               Combine combine) const {
    Lane lane[Form::kLanes];
#pragma unroll
    for (int i = 0; i < Form::kLanes; ++i) lane[i] = identity;
    in_groups<(Form::kLanes > kGroup ? Form::kLanes : kGroup)>(
        load_, begin, n, [&](int k, std::int64_t j, auto value) {
          lane[k % Form::kLanes] = step(lane[k % Form::kLanes], j, value);
        });
    return lane_tree<Form>(team_, lane, identity, combine);
  }

  /// Of a form with kManyLanes lanes: a last block of few elements has few lanes, the first of those here.
  template <class Lane, class Step, class Combine>
  __device__ Lane reduce_last_block(std::int64_t begin, std::int64_t n, Lane identity, Step step,
                                    Combine combine) const {
    Lane lane[Form::kLanes];
#pragma unroll
    for (int i = 0; i < Form::kLanes; ++i) {
      lane[i] = identity;
      const int index = team_.rank() + i * Team::kThreads;
      if (index < kFewLanes) {
        for (std::int64_t j = begin + index; j < begin + n; j += kFewLanes)
          lane[i] = step(lane[i], j, load_(j));
      }
    }
    return lane_tree<Form>(team_, lane, identity, combine);
  }

  /// The blocks of a longer slice, each of which adds to its lane of a row of blocks.
  template <class Lane, class Step, class Combine>
  __device__ Lane reduce_blocks(Lane identity, Step step, Combine combine) const {
    const std::int64_t blocks = lane_blocks(n_);
    const int lanes = lane_count(blocks);
    Lane of_blocks[Form::kLanes];
#pragma unroll
    for (int i = 0; i < Form::kLanes; ++i) of_blocks[i] = identity;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t begin = b * kElementsPerBlock, rest = n_ - begin;
      const Lane result = rest > kShortRow
                              ? reduce_block(begin, rest < kElementsPerBlock ? rest : kElementsPerBlock,
                                             identity, step, combine)
                              : reduce_last_block(begin, rest, identity, step, combine);
      const int index = static_cast<int>(b % lanes);
#pragma unroll
      for (int i = 0; i < Form::kLanes; ++i) {
        if (index == team_.rank() + i * Team::kThreads) of_blocks[i] = combine(of_blocks[i], result);
      }
    }
    return lane_tree<Form>(team_, of_blocks, identity, combine);
  }

  Team team_;
  std::int64_t n_;
  Load load_;
};

/// The elements of a slice of n, with the values load(j).
template <class Form, class Load>
__device__ auto elements_of(const typename Form::Team& team, std::int64_t n, Load load) {
  if constexpr (Form::kHeld > 0)
    return HeldElements<Form, decltype(load(n))>(team, n, load);
  else if constexpr (Form::kHeld == kInShared)
    return SharedElements<Form, decltype(load(n))>(team, n, load);
  else
    return ReadElements<Form, Load>(team, n, load);
}

struct AddLanes {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// ---- Launching

/// What a block may have beside a BlockTeam's own for lanes of 8 bytes.
inline std::int64_t most_shared_bytes() {
  return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, "rows") -
         static_cast<std::int64_t>(sizeof(BlockTeam<1024>::Memory<double>));
}

/// Calls call(form) with the LaneForm for rows of n elements. Kept: what a kernel that needs elements more
/// than once keeps of each; void: it needs them once, or reads them again.
template <class Kept = void, class Call>
void with_row_form(std::int64_t n, Call call) {
  if (n <= 16) return call(LaneForm<WarpTeam<4>, 4, 4>());
  if (n <= 32) return call(LaneForm<WarpTeam<8>, 4, 4>());
  if (n <= 128) return call(LaneForm<WarpTeam<32>, 4, 4>());
  if (n <= 256) return call(LaneForm<WarpTeam<32>, 4, 8>());
  if (n <= 512) return call(LaneForm<WarpTeam<32>, 4, 16>());
  if (n <= 1024) return call(LaneForm<WarpTeam<32>, 4, 32>());
  if (n <= 2048) return call(LaneForm<BlockTeam<128>, 1, 16>());
  if (n <= 4096) return call(LaneForm<BlockTeam<128>, 1, 32>());
  if (n <= kShortRow) return call(LaneForm<BlockTeam<128>, 1, 64>());
  if (n <= 16384) return call(LaneForm<BlockTeam<512>, 2, 32>());
  if constexpr (!std::is_void_v<Kept>) {
    if (n <= kElementsPerBlock && n * static_cast<std::int64_t>(sizeof(Kept)) <= most_shared_bytes())
      return call(LaneForm<BlockTeam<1024>, 1, kInShared>{static_cast<int>(n * sizeof(Kept))});
  }
  call(LaneForm<BlockTeam<512>, 2, 0>());
}

/// Calls call(form) with the LaneForm for these slices. Kept: as above, of slices that are rows.
template <class Kept = void, class Call>
void with_lane_form(const Slices& of, Call call) {
  const std::int64_t n = of.axis;
  if (of.inner == 1) return with_row_form<Kept>(n, call);
  if (n <= 8) return call(LaneForm<ColumnTeam<1, 128>, 8, 8>());
  if (n <= 32) return call(LaneForm<ColumnTeam<4, 64>, 8, 8>());
  if (n <= 64) return call(LaneForm<ColumnTeam<8, 32>, 8, 8>());
  if (n <= 256) return call(LaneForm<ColumnTeam<8, 32>, 16, 32>());
  if (n <= kShortRow) return call(LaneForm<ColumnTeam<8, 32>, 16, 0>());
  call(LaneForm<ColumnTeam<32, 32>, 32, 0>());
}

/// Starts a kernel that goes through slices with for_each_slice. Of a form in shared memory a multiprocessor
/// has one block, whose threads fetch their elements of the next slice as soon as they have written those of
/// the last.
template <class Form, class... Parameters, class... Arguments>
void launch_slices(Form form, const char* name, void (*kernel)(Parameters...), const Slices& of, void* stream,
                   Arguments... arguments) {
  std::int64_t most_blocks = 1 << 20;
  if constexpr (Form::kHeld == kInShared) {
    most_blocks = device_attribute(cudaDevAttrMultiProcessorCount, name);
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, form.shared_bytes),
               name);
  }
  const std::int64_t blocks = internal::ceil_div(of.count(), Form::Team::kSlices);
  kernel<<<static_cast<unsigned>(std::min(blocks, most_blocks)), Form::kBlockThreads, form.shared_bytes,
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  check_launch(name);
}

}  // namespace lockstep::order
