// A block owns a tile of a result, and a thread some elements of it, each a chain in a register. Slices of
// both operands pass through shared memory, a few ahead of their use. Where the tiles are few, blocks take
// one chain of a tile each, and add it when those before it are added. No bit depends on it, since each
// element of the result stays one sequence of operations.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime_api.h>
#include <type_traits>
#include <utility>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/copy_async_internal.h"
#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/base/outer_product_internal.h"
#include "lockstep/matmul/matmul_internal.h"

namespace lockstep::matmul_internal {
namespace {

using internal::ceil_div;
using internal::copy_async;

constexpr int kWarp = 32;
constexpr int kVector = 4;  // floats of the widest load
// Of an operand whose depths are neighbours a warp reads 8 depths of 4 places: whole sectors of global
// memory, and each bank of shared memory once.
constexpr int kPatchDepths = 8;
constexpr std::int64_t kTilesAGroup = 8;  // rows of tiles that are near in time, and share what is cached
constexpr std::int64_t kMostBlocks = 1 << 30;

/// `rows` x `cols` of a result a block, `thread_rows` x `thread_cols` a thread; `depth` of both operands a
/// slice, and `stages` slices in shared memory; `blocks` on a multiprocessor.
template <int rows, int cols, int thread_rows, int thread_cols, int depth, int stages, int blocks>
struct Tile {
  static constexpr int kRows = rows, kCols = cols, kDepth = depth, kStages = stages, kBlocks = blocks;
  static constexpr int kThreadRows = thread_rows, kThreadCols = thread_cols;
  static constexpr int kThreadsDown = rows / thread_rows, kThreadsAcross = cols / thread_cols;
  static constexpr int kThreads = kThreadsDown * kThreadsAcross;
  static constexpr int kLeftStep = rows + kVector, kRightStep = cols + kVector;  // floats from depth to depth
  static constexpr int kStageFloats = depth * (kLeftStep + kRightStep);
  static constexpr int kResultStep = cols + kVector;  // floats from row to row, where a tile passes through
  static constexpr int kSharedFloats = std::max(stages * kStageFloats, rows* kResultStep);
};

/// For a result of few rows: a thread has a column, all rows of the left operand lie in shared memory, and
/// slices of the right one, which is read once, pass through.
template <int rows, int cols, int depth, int stages, int blocks>
struct FewRows {
  static constexpr int kRows = rows, kCols = cols, kDepth = depth, kStages = stages, kBlocks = blocks;
  static constexpr int kThreadRows = rows, kThreadCols = 1, kThreadsDown = 1, kThreadsAcross = cols;
  static constexpr int kThreads = cols;
  static constexpr int kResultStep = cols + kVector;
  static constexpr int kLeftFloats = rows * static_cast<int>(order::kRowsPerChunk);
  // A slice is kept as it lies in memory: [depth, cols] or [cols, depth], the rows a vector apart.
  static constexpr int kSliceFloats = std::max(depth * (cols + kVector), cols*(depth + kVector));
  static constexpr int kSharedFloats = kLeftFloats + stages * kSliceFloats;
};

/// How an operand is read: its places are neighbours on a boundary of 16 bytes; any strides; its depths are
/// neighbours.
enum class Reading : std::uint8_t { vectors, places, depths };

template <class T>
constexpr bool kHasFewRows = false;
template <int rows, int cols, int depth, int stages, int blocks>
constexpr bool kHasFewRows<FewRows<rows, cols, depth, stages, blocks>> = true;

/// How a problem is cut, beside the tile.
struct Cut {
  Reading left = Reading::places, right = Reading::places;
  bool right_depths_are_vectors = false;          ///< each place's depths begin on a boundary of 16 bytes
  std::int64_t tiles_down = 0, tiles_across = 0;  ///< of one result
  std::int64_t tiles = 0;                         ///< of all results
  std::int64_t segments = 0;                      ///< chains of an element, at least 1
  /// Null: a block takes all chains of a tile. Else unsigned [1 + tiles], zeros before and after: how many
  /// items were taken, and how many chains of each tile are done.
  unsigned* progress = nullptr;
  bool sums_lie_apart = false;  ///< the result's old value is still needed after the first chain
  bool writes_vectors = false;  ///< its columns are neighbours on a boundary of 16 bytes
};

// ---- Copies to shared memory

/// A thread's share of the copies of an operand's slices, [kDepth, kPlaces], to shared memory, with kPlaces +
/// 4 floats from depth to depth.
template <class T, int kPlaces>
class Copies {
 public:
  /// data: first place of the tile, at the first depth.
  __device__ __forceinline__ Copies(const Operand& operand, Reading reading, const float* data)
      : reading_(reading), operand_(operand) {
    source_ = data + place() * operand.place_stride + depth() * operand.depth_stride;
  }

  /// Starts the copies of the next slice. Of it `places` and `depths` are there; what is not is not read, and
  /// zero.
  __device__ __forceinline__ void start(int places, int depths, float* slice) {
    if (places >= kPlaces && depths >= T::kDepth)
      copy<true>(places, depths, slice);
    else
      copy<false>(places, depths, slice);
    source_ += T::kDepth * operand_.depth_stride;
  }

 private:
  static_assert(T::kThreads >= kPlaces && T::kDepth % kPatchDepths == 0);

  // Of a thread's first piece.
  __device__ __forceinline__ int place() const {
    const int thread = static_cast<int>(threadIdx.x);
    if (reading_ == Reading::depths) return thread / kPatchDepths;
    return reading_ == Reading::places ? thread % kPlaces : thread % (kPlaces / kVector) * kVector;
  }
  __device__ __forceinline__ int depth() const {
    const int thread = static_cast<int>(threadIdx.x);
    if (reading_ == Reading::depths) return thread % kPatchDepths;
    return reading_ == Reading::places ? thread / kPlaces : thread / (kPlaces / kVector);
  }

  template <bool kWhole>
  __device__ __forceinline__ void copy(int places, int depths, float* slice) const {
    if (reading_ == Reading::vectors)
      copy_down<kVector, kWhole>(places, depths, slice);
    else if (reading_ == Reading::places)
      copy_down<1, kWhole>(places, depths, slice);
    else
      copy_along<kWhole>(places, depths, slice);
  }

  /// Pieces of a thread lie one below the other, each kWidth places wide.
  template <int kWidth, bool kWhole>
  __device__ __forceinline__ void copy_down(int places, int depths, float* slice) const {
    constexpr int kAcross = kPlaces / kWidth, kStep = T::kThreads / kAcross;
    constexpr int kPieces = (T::kDepth + kStep - 1) / kStep;
    constexpr bool kEven = T::kThreads % kAcross == 0 && T::kDepth % kStep == 0;
    const float* source = source_;
#pragma unroll
    for (int i = 0; i < kPieces; ++i, source += kStep * operand_.depth_stride) {
      const int at = depth() + i * kStep;
      if (!kEven && at >= T::kDepth) break;
      copy_piece<kWidth, kWhole>(source, place(), at, places, depths, slice);
    }
  }

  /// Pieces of a thread lie one behind the other, each of several depths kPatchDepths apart.
  template <bool kWhole>
  __device__ __forceinline__ void copy_along(int places, int depths, float* slice) const {
    constexpr int kStep = T::kThreads / kPatchDepths;
    constexpr int kPieces = (kPlaces + kStep - 1) / kStep;
    const float* source = source_;
#pragma unroll
    for (int i = 0; i < kPieces; ++i, source += kStep * operand_.place_stride) {
      const int at = place() + i * kStep;
      if (kPlaces % kStep != 0 && at >= kPlaces) break;
#pragma unroll
      for (int k = 0; k < T::kDepth; k += kPatchDepths)
        copy_piece<1, kWhole>(source + k, at, depth() + k, places, depths, slice);
    }
  }

  template <int kWidth, bool kWhole>
  __device__ __forceinline__ void copy_piece(const float* source, int place, int depth, int places,
                                             int depths, float* slice) const {
    const int held = kWhole ? kWidth : depth < depths ? max(0, min(places - place, kWidth)) : 0;
    copy_async<kWidth>(slice + depth * (kPlaces + kVector) + place, held > 0 ? source : operand_.data, held);
  }

  const Reading reading_;
  const Operand& operand_;
  const float* source_;  ///< of the first piece of the next slice
};

// ---- A thread's part of a tile

/// Which of `kCount` elements a thread has: runs of 4, 2 or 1 neighbours, kThreads runs apart.
template <int kCount, int kThreads>
struct Runs {
  static constexpr int kRun = kCount % 4 == 0 ? 4 : kCount % 2 == 0 ? 2 : 1;
  using Vector = std::conditional_t<kRun == 4, float4, std::conditional_t<kRun == 2, float2, float>>;

  __device__ static int offset(int index, int thread) {
    return (index / kRun * kThreads + thread) * kRun + index % kRun;
  }
  __device__ static void read(const float* from, int thread, float (&to)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; i += kRun)
      *reinterpret_cast<Vector*>(&to[i]) = *reinterpret_cast<const Vector*>(from + offset(i, thread));
  }
  __device__ static void write(const float (&from)[kCount], int thread, float* to) {
#pragma unroll
    for (int i = 0; i < kCount; i += kRun)
      *reinterpret_cast<Vector*>(to + offset(i, thread)) = *reinterpret_cast<const Vector*>(&from[i]);
  }
};

template <class T>
struct Chains {
  using Down = Runs<T::kThreadRows, T::kThreadsDown>;
  using Across = Runs<T::kThreadCols, T::kThreadsAcross>;

  static constexpr int kSwap = internal::kBankSwap<T::kThreadCols>;

  int down, across;                                         ///< this thread among those of its column and row
  alignas(16) float value[T::kThreadRows][T::kThreadCols];  ///< column j lies at j ^ kSwap

  /// A warp is a rectangle of threads, so that few different elements of each operand serve it. Its lanes lie
  /// in it so that lanes i and i ^ 1 share their element of one operand, and i and i ^ 2 that of the other:
  /// then a vector of shared memory goes to half a warp at once.
  __device__ __forceinline__ Chains() {
    constexpr int kLanesDown = T::kThreadsDown < 4 ? T::kThreadsDown : 4, kLanesAcross = kWarp / kLanesDown;
    static_assert(T::kThreadsAcross % kLanesAcross == 0 && T::kThreadsDown % kLanesDown == 0);
    constexpr int kWarpsAcross = T::kThreadsAcross / kLanesAcross;
    const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
    const int lane_down = kLanesDown == 4 ? lane % 2 + lane / 16 * 2 : lane / kLanesAcross;
    const int lane_across = kLanesDown == 4 ? lane / 2 % 8 : lane % kLanesAcross;
    down = warp / kWarpsAcross * kLanesDown + lane_down;
    across = warp % kWarpsAcross * kLanesAcross + lane_across;
  }

  // The elements of an operand at one depth that a thread needs.
  using Left = float[T::kThreadRows];
  using Right = float[T::kThreadCols];
  __device__ __forceinline__ void read_left(const float* slice, int depth, Left& to) const {
    Down::read(slice + depth * T::kLeftStep, down, to);
  }
  __device__ __forceinline__ void read_right(const float* slice, int depth, Right& to) const {
    Across::read(slice + T::kDepth * T::kLeftStep + depth * T::kRightStep, across, to);
  }

  __device__ __forceinline__ void add(const Left& left, const Right& right) {
    internal::add_outer_product(left, right, value);
  }

  __device__ void set_zero() {
#pragma unroll
    for (int i = 0; i < T::kThreadRows; ++i)
#pragma unroll
      for (int j = 0; j < T::kThreadCols; ++j) value[i][j] = 0;
  }

  /// From and to shared memory, [kRows, kCols] with kResultStep floats from row to row, where column j lies
  /// at j ^ kSwap too.
  __device__ void read(const float* tile) {
#pragma unroll
    for (int i = 0; i < T::kThreadRows; ++i)
      Across::read(tile + Down::offset(i, down) * T::kResultStep, across, value[i]);
  }
  __device__ void write(float* tile) const {
#pragma unroll
    for (int i = 0; i < T::kThreadRows; ++i)
      Across::write(value[i], across, tile + Down::offset(i, down) * T::kResultStep);
  }
};

/// A tile of one result. The last ones of a row and a column begin before their turn, so that they are whole
/// too where the result is as large as a tile: what lies before `first` is another tile's.
struct Place {
  const float *left, *right;  ///< first places, at depth 0
  float* result;              ///< first element
  std::int64_t row, col;      ///< in the result
  int rows, cols;             ///< that are there
  int first_row, first_col;   ///< of the tile's own
};

template <class T>
__device__ Place place_of(const Problem& p, const Cut& cut, std::int64_t tile) {
  const std::int64_t batch = tile / (cut.tiles_down * cut.tiles_across);
  const std::int64_t in_result = tile % (cut.tiles_down * cut.tiles_across);
  const std::int64_t group = in_result / (kTilesAGroup * cut.tiles_across);
  const std::int64_t high = min(kTilesAGroup, cut.tiles_down - group * kTilesAGroup);
  const std::int64_t in_group = in_result % (kTilesAGroup * cut.tiles_across);
  const std::int64_t own_row = (group * kTilesAGroup + in_group % high) * T::kRows;
  const std::int64_t own_col = in_group / high * T::kCols;
  const std::int64_t row = max(std::int64_t{0}, min(own_row, p.rows - T::kRows));
  const std::int64_t col = max(std::int64_t{0}, min(own_col, p.cols - T::kCols));
  return {p.left.data + batch * p.left_batch_stride + row * p.left.place_stride,
          p.right.data + batch * p.right_batch_stride + col * p.right.place_stride,
          p.result + batch * p.result_batch_stride + row * p.row_stride + col * p.col_stride,
          row,
          col,
          static_cast<int>(min(std::int64_t{T::kRows}, p.rows - row)),
          static_cast<int>(min(std::int64_t{T::kCols}, p.cols - col)),
          static_cast<int>(own_row - row),
          static_cast<int>(own_col - col)};
}

/// Order: each chain goes on with depths ascending, one fma each. The operands of a depth are read while the
/// depth before is added.
template <class T>
__device__ __forceinline__ void add_segment(const Problem& p, const Cut& cut, const Place& place,
                                            const order::FoldSegment& segment, float* shared,
                                            Chains<T>& chains) {
  const auto depth = static_cast<int>(segment.rows);
  Copies<T, T::kRows> left(p.left, cut.left, place.left + segment.offset * p.left.depth_stride);
  Copies<T, T::kCols> right(p.right, cut.right, place.right + segment.offset * p.right.depth_stride);
  const auto copy_stage = [&](int from, int stage) {
    if (from < depth) {
      float* const slice = shared + stage * T::kStageFloats;
      left.start(place.rows, depth - from, slice);
      right.start(place.cols, depth - from, slice + T::kDepth * T::kLeftStep);
    }
    __pipeline_commit();
  };
  const auto wait_for_stage = [] {
    __pipeline_wait_prior(T::kStages - 2);
    __syncthreads();  // all threads' copies of the slice are there, and the slice before is free
  };
  const auto next = [](int stage) { return stage + 1 == T::kStages ? 0 : stage + 1; };

#pragma unroll 1
  for (int stage = 0; stage < T::kStages - 1; ++stage) copy_stage(stage * T::kDepth, stage);
  wait_for_stage();
  alignas(16) typename Chains<T>::Left a[2];
  alignas(16) typename Chains<T>::Right b[2];
  const auto read_ahead = [&](const float* slice, int k) {
    chains.read_left(slice, k, a[k % 2]);
    chains.read_right(slice, k, b[k % 2]);
  };
  int stage = 0, from = 0;
  read_ahead(shared, 0);
#pragma unroll 1
  for (; depth - from >= T::kDepth; from += T::kDepth) {
    const float* slice = shared + stage * T::kStageFloats;
    copy_stage(from + (T::kStages - 1) * T::kDepth, stage == 0 ? T::kStages - 1 : stage - 1);
#pragma unroll
    for (int k = 0; k < T::kDepth; ++k) {
      if (k + 1 == T::kDepth) {
        wait_for_stage();
        stage = next(stage);
        slice = shared + stage * T::kStageFloats;
      }
      read_ahead(slice, (k + 1) % T::kDepth);
      chains.add(a[k % 2], b[k % 2]);
    }
  }
#pragma unroll 1
  for (int k = 0; k < depth - from; ++k) {
    const float* const slice = shared + stage * T::kStageFloats;
    chains.read_left(slice, k, a[0]);
    chains.read_right(slice, k, b[0]);
    chains.add(a[0], b[0]);
  }
}

/// A thread's share of the copies of the right operand's slices for FewRows, [kRuns, kRun] elements with kRun
/// + 4 floats from run to run, in pieces of kWidth neighbours.
template <class T, int kRuns, int kRun, int kWidth>
class RunCopies {
 public:
  __device__ __forceinline__ RunCopies(const float* data, std::int64_t run_stride, std::int64_t stride)
      : data_(data), run_stride_(run_stride), stride_(stride) {
    source_ = data + run() * run_stride + at() * stride;
  }

  /// Starts the copies of the next slice, of which [runs, run] elements are there; what is not is not read,
  /// and zero. `slices` elements lie from slice to slice.
  __device__ __forceinline__ void start(int runs, int length, std::int64_t slices, float* slice) {
    runs >= kRuns&& length >= kRun ? copy_whole(slice) : copy_part(runs, length, slice);
    data_ += slices;
    source_ += slices;
  }

 private:
  static constexpr int kAcross = kRun / kWidth, kStep = T::kThreads / kAcross;
  static_assert(T::kThreads % kAcross == 0 && kRuns % kStep == 0);

  // Of a thread's first piece.
  __device__ static int run() { return static_cast<int>(threadIdx.x) / kAcross; }
  __device__ static int at() { return static_cast<int>(threadIdx.x) % kAcross * kWidth; }

  __device__ __forceinline__ void copy_whole(float* slice) const {
    const float* source = source_;
    float* const to = slice + run() * (kRun + kVector) + at();
#pragma unroll
    for (int i = 0; i < kRuns; i += kStep, source += kStep * run_stride_)
      copy_async<kWidth>(to + i * (kRun + kVector), source, kWidth);
  }
  __device__ __forceinline__ void copy_part(int runs, int length, float* slice) const {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < kRuns * kRun; i += T::kThreads) {
      const int run = i / kRun, at = i % kRun;
      const bool there = run < runs && at < length;
      copy_async<1>(slice + run * (kRun + kVector) + at,
                    there ? data_ + run * run_stride_ + at * stride_ : data_, there ? 1 : 0);
    }
  }

  const float* data_;    ///< the next slice
  const float* source_;  ///< the first piece of it
  std::int64_t run_stride_, stride_;
};

/// Order: as in add_segment. kAlong: the right operand's depths are neighbours, else its places; kWidth: the
/// floats that are copied at once.
template <class T, bool kAlong, int kWidth>
__device__ __forceinline__ void add_segment_of_few(const Problem& p, const Place& place,
                                                   const order::FoldSegment& segment, float* shared,
                                                   Chains<T>& chains) {
  const auto depth = static_cast<int>(segment.rows);
  const int thread = static_cast<int>(threadIdx.x);
  const float* const left = place.left + segment.offset * p.left.depth_stride;
  const float* const right = place.right + segment.offset * p.right.depth_stride;
  using Copied = std::conditional_t<kAlong, RunCopies<T, T::kCols, T::kDepth, kWidth>,
                                    RunCopies<T, T::kDepth, T::kCols, kWidth>>;
  Copied copies(right, kAlong ? p.right.place_stride : p.right.depth_stride,
                kAlong ? 1 : p.right.place_stride);
  float* const slices = shared + T::kLeftFloats;
  const auto copy_stage = [&](int from, int stage) {
    if (from < depth) {
      float* const slice = slices + stage * T::kSliceFloats;
      const std::int64_t step = T::kDepth * p.right.depth_stride;
      kAlong ? copies.start(place.cols, depth - from, step, slice)
             : copies.start(depth - from, place.cols, step, slice);
    }
    __pipeline_commit();
  };
#pragma unroll 1
  for (int i = 0; i < place.rows; ++i)
    for (int k = thread; k < depth; k += T::kThreads)
      copy_async<1>(shared + i * order::kRowsPerChunk + k,
                    left + i * p.left.place_stride + k * p.left.depth_stride, 1);
#pragma unroll 1
  for (int stage = 0; stage < T::kStages - 1; ++stage) copy_stage(stage * T::kDepth, stage);
  int stage = 0;
#pragma unroll 1
  for (int from = 0; from < depth; from += T::kDepth) {
    __pipeline_wait_prior(T::kStages - 2);
    __syncthreads();  // all threads' copies of the slice are there, and the slice before is free
    copy_stage(from + (T::kStages - 1) * T::kDepth, stage == 0 ? T::kStages - 1 : stage - 1);
    const float* const slice = slices + stage * T::kSliceFloats;
    const auto right_at = [&](int k) {
      return kAlong ? slice + thread * (T::kDepth + kVector) + k : slice + k * (T::kCols + kVector) + thread;
    };
    const auto add = [&](int k, auto count) {
      constexpr int kCount = decltype(count)::value;
      alignas(16) float b[kCount], a[kCount];
      using Depths = Runs<kCount, 1>;
      if constexpr (kAlong)
        Depths::read(right_at(k), 0, b);
      else
        for (int d = 0; d < kCount; ++d) b[d] = *right_at(k + d);
#pragma unroll
      for (int i = 0; i < T::kRows; ++i) {
        Depths::read(shared + i * order::kRowsPerChunk + from + k, 0, a);
#pragma unroll
        for (int d = 0; d < kCount; ++d) chains.value[i][0] = std::fma(a[d], b[d], chains.value[i][0]);
      }
    };
    if (depth - from >= T::kDepth) {
#pragma unroll
      for (int k = 0; k < T::kDepth; k += kVector) add(k, std::integral_constant<int, kVector>());
    } else {
#pragma unroll 1
      for (int k = 0; k < depth - from; ++k) add(k, std::integral_constant<int, 1>());
    }
    stage = stage + 1 == T::kStages ? 0 : stage + 1;
  }
}

template <class T>
__device__ __forceinline__ void add_segment_of_few(const Problem& p, const Cut& cut, const Place& place,
                                                   const order::FoldSegment& segment, float* shared,
                                                   Chains<T>& chains) {
  if (cut.right == Reading::vectors)
    add_segment_of_few<T, false, kVector>(p, place, segment, shared, chains);
  else if (cut.right == Reading::depths && cut.right_depths_are_vectors && segment.offset % kVector == 0)
    add_segment_of_few<T, true, kVector>(p, place, segment, shared, chains);
  else if (cut.right == Reading::depths)
    add_segment_of_few<T, true, 1>(p, place, segment, shared, chains);
  else
    add_segment_of_few<T, false, 1>(p, place, segment, shared, chains);
}

// ---- Beginnings and ends of chains

/// Calls use(row, column) for the elements of a tile that are there, every kWidth-th of a row. Neighbours in
/// a row are side by side.
template <class T, int kWidth, class Use>
__device__ __forceinline__ void for_each_element(const Place& place, Use use) {
  constexpr int kAcross = T::kCols / kWidth;
#pragma unroll 4
  for (int at = static_cast<int>(threadIdx.x); at < T::kRows * kAcross; at += T::kThreads) {
    const int row = at / kAcross, col = at % kAcross * kWidth;
    if (row >= place.first_row && row < place.rows && col >= place.first_col && col < place.cols)
      use(row, col);
  }
}

/// Chain number `index` of each element of a tile.
struct Item {
  std::int64_t tile, index;
};

// What happens before and behind the slices is called, so that it takes no registers from what happens there.

/// The chains of a tile that a cut left open, to shared memory.
template <class T>
__device__ __noinline__ void read_open(const Problem& p, const Cut& cut, const Item& item, float* tile) {
  const Place place = place_of<T>(p, cut, item.tile);
  for_each_element<T, 1>(place, [&](int i, int j) {
    tile[i * T::kResultStep + (j ^ Chains<T>::kSwap)] =
        p.open[(place.row + i) * p.open_row_stride + (place.col + j) * p.open_col_stride];
  });
}

template <class T>
__device__ __forceinline__ void write_open(const Problem& p, const Place& place, const float* tile) {
  for_each_element<T, 1>(place, [&](int i, int j) {
    p.open[(place.row + i) * p.open_row_stride + (place.col + j) * p.open_col_stride] =
        tile[i * T::kResultStep + (j ^ Chains<T>::kSwap)];
  });
}

__device__ __forceinline__ float apply_epilogue(const Problem& p, float x, const float* result,
                                                std::int64_t row, std::int64_t col) {
  if (p.alpha != 1) x = p.alpha * x;
  if (p.beta != 0) x = std::fma(p.beta, *result, x);
  if (p.bias != nullptr) x = x + p.bias[row * p.bias_row_stride + col * p.bias_col_stride];
  return x;
}

/// Order: sum + chain, the first of a dot to +0; behind a dot's last chain its epilogue. What other blocks
/// wrote is read past the first cache, which does not know of it.
template <class T, int kWidth>
__device__ __forceinline__ void add_chains(const Problem& p, const Cut& cut, const Place& place,
                                           std::int64_t index, const float* tile, float* sums) {
  using Vector = std::conditional_t<kWidth == kVector, float4, float>;
  constexpr int kSwap = Chains<T>::kSwap;
  const bool is_first = index == 0 && !p.accumulates, is_last = index + 1 == cut.segments;
  for_each_element<T, kWidth>(place, [&](int i, int j) {
    float* const result = place.result + i * p.row_stride + j * p.col_stride;
    float* const sum = sums == nullptr ? result : sums + i * T::kCols + j;
    alignas(16) float x[kWidth] = {}, chain[kWidth];
    if (!is_first)
      *reinterpret_cast<Vector*>(x) = sums == nullptr ? __ldcg(reinterpret_cast<const Vector*>(sum))
                                                      : *reinterpret_cast<const Vector*>(sum);
    const int at = kWidth == 1 ? j ^ kSwap : j;
    *reinterpret_cast<Vector*>(chain) = *reinterpret_cast<const Vector*>(tile + i * T::kResultStep + at);
#pragma unroll
    for (int r = 0; r < kWidth; ++r) {
      x[r] = x[r] + chain[kWidth == 1 ? r : r ^ kSwap];
      if (is_last && !p.accumulates)
        x[r] = apply_epilogue(p, x[r], result + r, place.row + i, place.col + j + r);
    }
    *reinterpret_cast<Vector*>(is_last ? result : sum) = *reinterpret_cast<const Vector*>(x);
  });
}

/// Until `count` chains of a tile are done, and what they left can be seen.
__device__ __forceinline__ void wait_for(const unsigned* done, unsigned count) {
  if (threadIdx.x == 0) {
    unsigned seen;
    do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(done) : "memory");
    while (seen < count);
  }
  __syncthreads();
}

/// After the last chain as before the first.
__device__ __forceinline__ void announce(unsigned* done, unsigned count) {
  __syncthreads();
  if (threadIdx.x == 0)
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(done), "r"(count) : "memory");
}

/// What becomes of a tile of chains, in shared memory.
template <class T>
__device__ __noinline__ void end_chains(const Problem& p, const Cut& cut, const Item& item, float* tile) {
  const Place place = place_of<T>(p, cut, item.tile);
  float* const sums = cut.sums_lie_apart ? tile + T::kSharedFloats : nullptr;
  unsigned* const done = cut.progress == nullptr ? nullptr : cut.progress + 1 + item.tile;
  const auto count = static_cast<unsigned>(item.index);
  if (done != nullptr && count > 0) wait_for(done, count);
  if (!order::fold_segment(p.span, item.index).closes)
    write_open<T>(p, place, tile);
  else if (cut.writes_vectors)
    add_chains<T, kVector>(p, cut, place, item.index, tile, sums);
  else
    add_chains<T, 1>(p, cut, place, item.index, tile, sums);
  if (done != nullptr) announce(done, count + 1 == cut.segments ? 0 : count + 1);
}

// ---- Blocks

/// A block's first item. Those that blocks share are taken in their order, so that one that is waited for was
/// taken by a block that runs. After the last item `progress` is as before the first.
__device__ Item first_item(const Cut& cut) {
  if (cut.progress == nullptr) return {blockIdx.x, 0};
  const unsigned taken = atomicAdd(cut.progress, 1u);
  if (taken + 1 == gridDim.x) *cut.progress = 0;
  return {taken % cut.tiles, taken / cut.tiles};
}

/// A block that shares tiles has one item, and another one all chains of its tiles. Tiles end with cut.tiles.
__device__ Item next_item(const Cut& cut, const Item& item) {
  if (cut.progress != nullptr) return {cut.tiles, 0};
  return item.index + 1 < cut.segments ? Item{item.tile, item.index + 1} : Item{item.tile + gridDim.x, 0};
}

template <class T>
__device__ __forceinline__ void sum_item(const Problem& p, const Cut& cut, const Item& item) {
  extern __shared__ float4 shared_vectors[];
  auto* const shared = reinterpret_cast<float*>(shared_vectors);
  const order::FoldSegment segment = order::fold_segment(p.span, item.index);
  Chains<T> chains;
  if (segment.opens) {
    chains.set_zero();
  } else {
    read_open<T>(p, cut, item, shared);
    __syncthreads();
    chains.read(shared);
  }
  __syncthreads();  // all threads have left what shared memory held
  if constexpr (kHasFewRows<T>)
    add_segment_of_few<T>(p, cut, place_of<T>(p, cut, item.tile), segment, shared, chains);
  else
    add_segment<T>(p, cut, place_of<T>(p, cut, item.tile), segment, shared, chains);
  __syncthreads();  // all threads have left the slices
  chains.write(shared);
  __syncthreads();
  end_chains<T>(p, cut, item, shared);
}

/// What a block works on lies in shared memory, to leave the registers to the chains.
template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    sum_items(const __grid_constant__ Problem p, const __grid_constant__ Cut cut) {
  __shared__ Item item;
  if (threadIdx.x == 0) item = first_item(cut);
  __syncthreads();
  while (item.tile < cut.tiles) {
    sum_item<T>(p, cut, item);
    __syncthreads();  // all threads have left the tile
    if (threadIdx.x == 0) item = next_item(cut, item);
    __syncthreads();
  }
}

// ---- The choice

bool lies_on_vectors(const Operand& operand, std::int64_t stride, std::int64_t batch_stride) {
  return reinterpret_cast<std::uintptr_t>(operand.data) % (kVector * sizeof(float)) == 0 &&
         stride % kVector == 0 && batch_stride % kVector == 0;
}

Reading reading_of(const Operand& operand, std::int64_t batch_stride, std::int64_t places) {
  if (operand.place_stride == 1 && places % kVector == 0 &&
      lies_on_vectors(operand, operand.depth_stride, batch_stride))
    return Reading::vectors;
  return operand.depth_stride == 1 ? Reading::depths : Reading::places;
}

std::int64_t segments_of(const Problem& p) { return std::max<std::int64_t>(1, order::fold_segments(p.span)); }

std::int64_t tiles_of(const Problem& p, std::int64_t tile_rows, std::int64_t tile_cols) {
  return p.batch * ceil_div(p.rows, tile_rows) * ceil_div(p.cols, tile_cols);
}

template <class T>
Cut cut_of(const Problem& p) {
  Cut cut;
  cut.left = reading_of(p.left, p.left_batch_stride, p.rows);
  cut.right = reading_of(p.right, p.right_batch_stride, p.cols);
  cut.right_depths_are_vectors = lies_on_vectors(p.right, p.right.place_stride, p.right_batch_stride);
  cut.tiles_down = ceil_div(p.rows, T::kRows);
  cut.tiles_across = ceil_div(p.cols, T::kCols);
  cut.tiles = tiles_of(p, T::kRows, T::kCols);
  cut.segments = segments_of(p);
  cut.sums_lie_apart = p.beta != 0 && cut.segments > 1;
  cut.writes_vectors = p.col_stride == 1 && p.cols % kVector == 0 && p.row_stride % kVector == 0 &&
                       p.result_batch_stride % kVector == 0 &&
                       reinterpret_cast<std::uintptr_t>(p.result) % (kVector * sizeof(float)) == 0;
  return cut;
}

template <class T>
void launch(const Problem& p, unsigned* progress, cudaStream_t on) {
  Cut cut = cut_of<T>(p);
  cut.progress = progress;
  const std::int64_t blocks =
      progress == nullptr ? std::min(cut.tiles, kMostBlocks) : cut.tiles * cut.segments;
  const auto kernel = sum_items<T>;
  const int shared =
      (T::kSharedFloats + (cut.sums_lie_apart ? T::kRows * T::kCols : 0)) * static_cast<int>(sizeof(float));
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
             "matmul: shared memory");
  kernel<<<static_cast<unsigned>(blocks), T::kThreads, shared, on>>>(p, cut);
  check_launch("matmul");
}

constexpr std::int64_t kFewCols = 64;  // up to which a result of many rows is computed as one of few

/// What is known of a tile: microseconds of a chain of 1,024 on a multiprocessor of an H200, one of as many
/// as it holds at a time, and alone.
struct Form {
  std::int64_t rows, cols, blocks;
  double among_others, alone;
  void (*launch)(const Problem&, unsigned*, cudaStream_t);

  /// Of so many chains on one multiprocessor. The last ones may not fill it.
  double time(std::int64_t chains) const {
    const double full = static_cast<double>(blocks) * among_others;
    const std::int64_t rest = chains % blocks;
    const double part =
        alone + (full - alone) * static_cast<double>(rest - 1) / static_cast<double>(blocks - 1);
    return static_cast<double>(chains / blocks) * full + (rest == 0 ? 0 : part);
  }
};

template <class T>
constexpr Form form_of(double among_others, double alone) {
  static_assert(T::kBlocks > 1);
  return {T::kRows, T::kCols, T::kBlocks, among_others, alone, launch<T>};
}

constexpr Form kForms[] = {
    form_of<Tile<128, 128, 8, 8, 32, 2, 2>>(95, 118), form_of<Tile<64, 128, 8, 8, 16, 4, 3>>(52, 78),
    form_of<Tile<64, 64, 8, 4, 16, 4, 4>>(29, 50),    form_of<Tile<48, 64, 6, 4, 16, 6, 4>>(25, 46),
    form_of<Tile<32, 32, 4, 4, 16, 6, 8>>(10.5, 32),  form_of<Tile<16, 128, 4, 4, 16, 6, 4>>(22, 40),
    form_of<FewRows<8, 64, 32, 6, 2>>(12, 22),        form_of<FewRows<2, 64, 32, 6, 4>>(8.5, 18),
    form_of<FewRows<1, 128, 32, 6, 2>>(16, 21),
};

/// Whether blocks may take a chain each.
bool can_share(const Form& form, const Problem& p) {
  return segments_of(p) > 1 && p.beta == 0 &&
         tiles_of(p, form.rows, form.cols) < kMatmulScratchBytes / std::int64_t{sizeof(unsigned)};
}

double time_of(const Form& form, bool shares, const Problem& p, int multiprocessors) {
  const std::int64_t chains = segments_of(p), tiles = tiles_of(p, form.rows, form.cols);
  const std::int64_t items = shares ? tiles * chains : tiles;
  const double length = static_cast<double>(p.span.rows) / static_cast<double>(chains * order::kRowsPerChunk);
  return static_cast<double>(shares ? 1 : chains) * length * form.time(ceil_div(items, multiprocessors));
}

/// A result of few columns is one of few rows, and columns should be neighbours in memory.
Problem as_computed(const Problem& p) {
  const bool has_few = std::min(p.rows, p.cols) <= kFewCols;
  const bool turns = has_few ? p.cols < p.rows : p.col_stride != 1 && p.row_stride == 1;
  return turns ? transposed(p) : p;
}

const Form& form_like(const CudaForm& wanted) {
  return *std::find_if(std::begin(kForms), std::end(kForms), [&](const Form& form) {
    return form.rows == wanted.tile_rows && form.cols == wanted.tile_cols;
  });
}

bool is_nothing(const Problem& p) {
  return p.batch == 0 || p.rows == 0 || p.cols == 0 || (p.accumulates && order::fold_segments(p.span) == 0);
}

}  // namespace

std::vector<CudaForm> cuda_forms(const Problem& problem) {
  const Problem p = as_computed(problem);
  std::vector<CudaForm> all;
  for (const Form& form : kForms) {
    all.push_back({form.rows, form.cols, false});
    if (can_share(form, p)) all.push_back({form.rows, form.cols, true});
  }
  return all;
}

void sum_cuda_as(const CudaForm& form, const Problem& problem, void* stream, unsigned* progress) {
  if (is_nothing(problem)) return;
  form_like(form).launch(as_computed(problem), form.shares_tiles ? progress : nullptr,
                         static_cast<cudaStream_t>(stream));
}

void sum_cuda(const Problem& problem, void* stream, unsigned* progress) {
  if (is_nothing(problem)) return;
  const int multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount, "matmul");
  const Problem p = as_computed(problem);
  const Form* best = nullptr;
  bool best_shares = false;
  double least = 0;
  for (const Form& form : kForms)
    for (const bool shares : {false, true}) {
      if (shares && (progress == nullptr || !can_share(form, p))) continue;
      const double time = time_of(form, shares, p, multiprocessors);
      if (best != nullptr && (shares ? time > least : time >= least)) continue;  // shared tiles end together
      best = &form;
      best_shares = shares;
      least = time;
    }
  best->launch(p, best_shares ? progress : nullptr, static_cast<cudaStream_t>(stream));
}

}  // namespace lockstep::matmul_internal
