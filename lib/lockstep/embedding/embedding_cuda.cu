// Forward: a warp, or a part of one, copies a row. Backward: the rows are sorted by token, keeping their
// order; a run is the rows of one token in one chunk. Long runs are summed first, all side by side, so that a
// token that fills the batch is no chain of all its rows; then a warp a token adds its runs, ascending.

#include <algorithm>
#include <cstdint>
#include <cub/device/device_radix_sort.cuh>
#include <cuda_runtime_api.h>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/base/scratch_parts_internal.h"
#include "lockstep/embedding/embedding_internal.h"

namespace lockstep::embedding_rows {
namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 256;
constexpr int kWarpsABlock = kThreads / kWarp;
constexpr unsigned kAll = 0xffffffffu;
constexpr std::int64_t kMostBlocks = 1 << 20, kMostTiles = 65535;

unsigned blocks_for(std::int64_t items, std::int64_t a_block) {
  return static_cast<unsigned>(std::min((items + a_block - 1) / a_block, kMostBlocks));
}

// ---- Forward

/// `lanes` lanes a row, a power of two; an index outside the table gives a row of NaN. Piece is float4 or
/// float.
template <class Piece>
__global__ void __launch_bounds__(kThreads)
    copy_rows(const Piece* __restrict__ table,         // [vocabulary, pieces]
              const std::int64_t* __restrict__ index,  // [rows]
              Piece* __restrict__ y,                   // [rows, pieces]
              std::int64_t vocabulary, std::int64_t rows, std::int64_t pieces, int lanes) {
  const int lane = static_cast<int>(threadIdx.x) % lanes, rows_a_block = kThreads / lanes;
  Piece nan;
  for (unsigned i = 0; i < sizeof(Piece) / sizeof(float); ++i)
    reinterpret_cast<unsigned*>(&nan)[i] = 0x7fc00000u;
  for (std::int64_t r = blockIdx.x * std::int64_t{rows_a_block} + threadIdx.x / lanes; r < rows;
       r += gridDim.x * std::int64_t{rows_a_block}) {
    const std::int64_t from = index[r];
    const bool inside = from >= 0 && from < vocabulary;
#pragma unroll 4
    for (std::int64_t i = lane; i < pieces; i += lanes)
      y[r * pieces + i] = inside ? table[from * pieces + i] : nan;
  }
}

template <class Piece>
void copy_rows_as(const Embedding& call, cudaStream_t on) {
  const std::int64_t pieces = call.dim / static_cast<std::int64_t>(sizeof(Piece) / sizeof(float));
  int lanes = 1;
  while (lanes < kWarp && lanes < pieces) lanes *= 2;
  copy_rows<Piece><<<blocks_for(call.rows, kThreads / lanes), kThreads, 0, on>>>(
      reinterpret_cast<const Piece*>(call.table), call.index, reinterpret_cast<Piece*>(call.y),
      call.vocabulary, call.rows, pieces, lanes);
  check_launch("embedding: copy_rows");
}

bool in_whole_vectors(const void* a, const void* b, std::int64_t dim) {
  const auto aligned = [](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % sizeof(float4) == 0;
  };
  return dim % 4 == 0 && aligned(a) && aligned(b);
}

// ---- Backward

/// Rows of a run that make it a long one. A run's slot is the first multiple of this in its places, which no
/// other long run has.
constexpr int kLongRun = 16;

/// An entry is a row, or a partial that lies open from before: its token, then its number. Entries of
/// partials come first, so that they begin their chains: +0 + partial is the partial, which is never -0.
__device__ std::uint32_t token_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry >> 32); }
__device__ std::uint32_t number_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }

constexpr std::uint32_t kNoChunk = 0xffffffffu;

struct Work {
  EmbeddingBackward call;
  std::int64_t entries = 0;
  std::uint32_t carried =
      0;  ///< slots of `open` that the first chunk continues: that many entries, used or not
  std::uint32_t first_row = 0;          ///< of the span, in its chunk
  std::uint32_t open_chunk = kNoChunk;  ///< counted from the span's first: the one that stays open
  // In scratch:
  std::uint64_t* entry[2] = {};       ///< [entries]
  float* partial_before = nullptr;    ///< [carried, dim]
  float* long_partial = nullptr;      ///< [slots, dim]
  std::uint32_t* long_end = nullptr;  ///< [slots]: the place behind the run
  std::int32_t* open_slot = nullptr;  ///< [kRowsPerChunk]: 1 where a run stays open, then its slot of `open`
  void* sort = nullptr;
  std::size_t sort_bytes = 0;

  __host__ __device__ std::int64_t slots() const { return (entries + kLongRun - 1) / kLongRun; }
  __device__ std::uint32_t no_token() const { return static_cast<std::uint32_t>(call.vocabulary); }
  __device__ std::uint32_t chunk_of(std::uint32_t number) const {
    return number < carried ? 0 : (first_row + (number - carried)) / std::uint32_t{order::kRowsPerChunk};
  }
  __device__ bool same_run(std::uint64_t a, std::uint64_t b) const {
    return token_of(a) == token_of(b) && chunk_of(number_of(a)) == chunk_of(number_of(b));
  }
  __device__ const float* values(std::uint32_t number) const {
    return number < carried ? partial_before + number * call.dim : call.dy + (number - carried) * call.dim;
  }
  /// Where the open chunk keeps a run that begins with this entry, before the slots are counted: in the order
  /// of the slots from before, then of the rows.
  __device__ std::uint32_t open_place(std::uint32_t number) const {
    return number < carried ? number : (first_row + (number - carried)) % std::uint32_t{order::kRowsPerChunk};
  }
};

/// Entries, unsorted; a copy of the partials that lie open, since their memory takes those that stay so.
__global__ void __launch_bounds__(kThreads) list_entries(Work w) {
  const std::int64_t step = gridDim.x * std::int64_t{kThreads};
  const std::int64_t begin = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  const std::int64_t before = w.carried == 0 ? 0 : read_number(w.call.open), dim = w.call.dim;
  for (std::int64_t i = begin; i < w.entries; i += step) {
    std::int64_t token = -1;
    if (i >= w.carried)
      token = w.call.index[i - w.carried] == w.call.padding ? -1 : w.call.index[i - w.carried];
    else if (i < before)
      token = read_number(slot_partial(w.call.open, i, dim) - kSlotHead);
    if (token < 0 || token >= w.call.vocabulary) token = w.no_token();
    w.entry[0][i] = static_cast<std::uint64_t>(token) << 32 | static_cast<std::uint64_t>(i);
  }
  for (std::int64_t i = begin; i < w.carried * dim; i += step)
    if (i / dim < before) w.partial_before[i] = slot_partial(w.call.open, i / dim, dim)[i % dim];
  for (std::int64_t i = begin; i < order::kRowsPerChunk; i += step) w.open_slot[i] = 0;
}

__global__ void __launch_bounds__(kThreads) mark_open_runs(Work w, const std::uint64_t* entry) {
  for (std::int64_t at = blockIdx.x * std::int64_t{kThreads} + threadIdx.x; at < w.entries;
       at += gridDim.x * std::int64_t{kThreads}) {
    const std::uint64_t e = entry[at];
    if (token_of(e) == w.no_token() || w.chunk_of(number_of(e)) != w.open_chunk) continue;
    if (at == 0 || !w.same_run(entry[at - 1], e)) w.open_slot[w.open_place(number_of(e))] = 1;
  }
}

/// Counts the marks: each gets the number of those before it. One block.
__global__ void __launch_bounds__(order::kRowsPerChunk) count_open_slots(Work w) {
  __shared__ int marks[kWarp];
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp;
  const bool marked = w.open_slot[t] != 0;
  const unsigned in_warp = __ballot_sync(kAll, marked);
  if (lane == 0) marks[t / kWarp] = __popc(in_warp);
  __syncthreads();
  int slot = __popc(in_warp & ((1u << lane) - 1));
  for (int warp = 0; warp < t / kWarp; ++warp) slot += marks[warp];
  w.open_slot[t] = slot;
  if (t == order::kRowsPerChunk - 1) write_number(slot + (marked ? 1 : 0), w.call.open);
}

/// Of so many columns each; one where there are none, for what a run needs besides.
__host__ __device__ std::int64_t tiles_of(std::int64_t cols, std::int64_t tile_cols) {
  return cols == 0 ? 1 : (cols + tile_cols - 1) / tile_cols;
}

/// Of the lanes from 0 on, how many are set without a gap.
__device__ int leading(unsigned lanes) { return lanes == kAll ? kWarp : __ffs(~lanes) - 1; }

/// Long runs: a warp has one run and 32 columns. Order: the run's rows, ascending, from +0.
__global__ void __launch_bounds__(kThreads) sum_long_runs(Work w, const std::uint64_t* entry) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t dim = w.call.dim, tiles = tiles_of(dim, kWarp);
  for (std::int64_t slot = blockIdx.x * std::int64_t{kWarpsABlock} + threadIdx.x / kWarp; slot < w.slots();
       slot += gridDim.x * std::int64_t{kWarpsABlock}) {
    const std::int64_t place = slot * kLongRun;
    const std::uint64_t e = entry[place];
    if (token_of(e) == w.no_token()) break;                             // and so are all behind it
    if (place > 0 && w.same_run(entry[place - kLongRun], e)) continue;  // an earlier slot's
    const std::int64_t near =
        place - (kLongRun - 1) + lane;  // all places that decide whether the run is long
    const bool same = lane < 2 * kLongRun - 1 && near >= 0 && near < w.entries && w.same_run(entry[near], e);
    const unsigned around = __ballot_sync(kAll, same);
    if (__popc(around) < kLongRun) continue;
    const std::int64_t begin = place - (kLongRun - 1) + __ffs(around) - 1;
    std::int64_t end = begin;
    for (std::int64_t tile = blockIdx.y; tile < tiles; tile += gridDim.y) {
      const std::int64_t j = tile * kWarp + lane;
      float sum = 0.0f;
      end = begin;
      for (int rows = kWarp; rows == kWarp; end += rows) {
        const std::uint64_t next = end + lane < w.entries ? entry[end + lane] : ~std::uint64_t{0};
        rows = leading(__ballot_sync(kAll, w.same_run(next, e)));
        float row[kWarp];
#pragma unroll
        for (int k = 0; k < kWarp; ++k) {
          const float* const values = w.values(__shfl_sync(kAll, number_of(next), k));
          row[k] = k < rows && j < dim ? values[j] : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < kWarp; ++k)
          if (k < rows) sum = sum + row[k];
      }
      if (j < dim) w.long_partial[slot * dim + j] = sum;
    }
    if (lane == 0 && blockIdx.y == 0) w.long_end[slot] = static_cast<std::uint32_t>(end);
  }
}

/// kCols columns of one lane.
template <int kCols>
struct Cols {
  float v[kCols] = {};

  __device__ void load(const float* from) {
    if constexpr (kCols == 4) {
      const float4 four = *reinterpret_cast<const float4*>(from);
      v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    } else {
      for (int i = 0; i < kCols; ++i) v[i] = from[i];
    }
  }
  __device__ void store(float* to) const {
    if constexpr (kCols == 4)
      *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
    else
      store_apart(to);
  }
  __device__ void store_apart(float* to) const {
    for (int i = 0; i < kCols; ++i) to[i] = v[i];
  }
  __device__ void add(const Cols& other) {
    for (int i = 0; i < kCols; ++i) v[i] = v[i] + other.v[i];
  }
};

/// One token's fold over some columns, by a warp. Order: total + partial for each run, ascending; a run's
/// partial is the chain of its rows from +0, or what sum_long_runs left.
template <int kCols>
class TokenFold {
 public:
  __device__ TokenFold(const Work& w, const std::uint64_t* entry, std::uint32_t token, std::int64_t j)
      : w_(w), entry_(entry), token_(token), j_(j), has_cols_(j < w.call.dim) {
    if (has_cols_) total_.load(total());
  }

  /// From the token's first place on.
  __device__ void run(std::int64_t place) {
    while (add_window(place)) {
    }
    if (touched_ && has_cols_) total_.store(total());
  }

 private:
  static constexpr int kRowsAhead = 8;
  static constexpr int kLastStart = kWarp - kLongRun;  // of a run that the window shows to be short or long

  __device__ float* total() const { return w_.call.total + token_ * w_.call.dim + j_; }

  /// The runs that begin at the next places, a lane each, as far as the window shows their length; `place`
  /// moves behind them. False after the token's last one.
  __device__ bool add_window(std::int64_t& place) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const std::uint64_t e = place + lane < w_.entries ? entry_[place + lane] : ~std::uint64_t{0};
    const int count = leading(__ballot_sync(kAll, token_of(e) == token_));
    if (count == 0) return false;
    number_ = number_of(e);
    chunk_ = w_.chunk_of(number_);
    const std::uint32_t before = __shfl_up_sync(kAll, chunk_, 1);
    const std::uint32_t ahead = __shfl_down_sync(kAll, chunk_, kLongRun - 1);
    const bool starts = lane < count && (lane == 0 || chunk_ != before);
    const bool is_long = starts && lane <= kLastStart && lane + kLongRun - 1 < count && chunk_ == ahead;
    const unsigned start_lanes = __ballot_sync(kAll, starts), long_lanes = __ballot_sync(kAll, is_long);
    const unsigned stop_lanes = long_lanes | (start_lanes & ~((2u << kLastStart) - 1));
    const int stop = stop_lanes == 0 ? count : __ffs(stop_lanes) - 1;
    add_short_runs(start_lanes, stop);
    if (stop_lanes == 0 || (long_lanes >> stop & 1u) == 0) {
      place += stop;
      return count == kWarp || stop < count;
    }
    const std::int64_t slot = (place + stop + kLongRun - 1) / kLongRun;
    if (has_cols_) partial_.load(w_.long_partial + slot * w_.call.dim + j_);
    end_run(stop);
    place = w_.long_end[slot];
    return true;
  }

  /// Of the lanes 0 … stop - 1, which begin with a run.
  __device__ void add_short_runs(unsigned start_lanes, int stop) {
    int first = 0;  // the lane at which the run began
    for (int base = 0; base < stop; base += kRowsAhead) {
      Cols<kCols> row[kRowsAhead];
#pragma unroll
      for (int k = 0; k < kRowsAhead; ++k) {
        const float* const values = w_.values(__shfl_sync(kAll, number_, (base + k) % kWarp));
        if (base + k < stop && has_cols_) row[k].load(values + j_);
      }
#pragma unroll
      for (int k = 0; k < kRowsAhead; ++k) {
        if (base + k >= stop) break;
        if (start_lanes >> (base + k) & 1u) {
          if (base + k > 0) end_run(first);
          first = base + k;
          partial_ = Cols<kCols>();
        }
        partial_.add(row[k]);
      }
    }
    if (stop > 0) end_run(first);
  }

  /// Adds the partial of the run that began at lane `first` to the total, or leaves it open.
  __device__ void end_run(int first) {
    if (__shfl_sync(kAll, chunk_, first) != w_.open_chunk) {
      total_.add(partial_);
      touched_ = true;
      return;
    }
    const std::int64_t slot = w_.open_slot[w_.open_place(__shfl_sync(kAll, number_, first))];
    float* const to = slot_partial(w_.call.open, slot, w_.call.dim);
    if (has_cols_) partial_.store_apart(to + j_);
    if (j_ == 0) write_number(token_, to - kSlotHead);
  }

  const Work& w_;
  const std::uint64_t* entry_;
  std::uint32_t token_;
  std::int64_t j_;
  bool has_cols_, touched_ = false;
  std::uint32_t number_ = 0, chunk_ = 0;  // of the window's entry in this lane
  Cols<kCols> total_, partial_;
};

template <int kCols>
__global__ void __launch_bounds__(kThreads)
    fold_tokens(const __grid_constant__ Work w, const std::uint64_t* entry) {
  const std::int64_t tile_cols = kWarp * kCols, tiles = tiles_of(w.call.dim, tile_cols);
  for (std::int64_t place = blockIdx.x * std::int64_t{kWarpsABlock} + threadIdx.x / kWarp; place < w.entries;
       place += gridDim.x * std::int64_t{kWarpsABlock}) {
    const std::uint32_t token = token_of(entry[place]);
    if (token == w.no_token()) break;  // and so are all behind it
    if (place > 0 && token_of(entry[place - 1]) == token) continue;
    for (std::int64_t tile = blockIdx.y; tile < tiles; tile += gridDim.y)
      TokenFold<kCols>(w, entry, token, tile * tile_cols + threadIdx.x % kWarp * kCols).run(place);
  }
}

dim3 grid_of(std::int64_t items, std::int64_t cols, std::int64_t tile_cols) {
  return {blocks_for(items, kWarpsABlock),
          static_cast<unsigned>(std::min(tiles_of(cols, tile_cols), kMostTiles)), 1};
}

template <int kCols>
void fold_tokens_as(const Work& w, const std::uint64_t* entry, cudaStream_t on) {
  fold_tokens<kCols><<<grid_of(w.entries, w.call.dim, kWarp * kCols), kThreads, 0, on>>>(w, entry);
  check_launch("embedding_backward: fold_tokens");
}

// ---- Scratch

int token_bits(std::int64_t vocabulary) {
  int bits = 1;
  while (vocabulary >> bits != 0) ++bits;
  return bits;
}

/// Stable by token, since numbers, which lie below the tokens, ascend. `w.sort` null: only sets w.sort_bytes.
std::uint64_t* sort_entries(Work& w, cudaStream_t on) {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "embedding_backward");  // CUB has another error where there is none
  cub::DoubleBuffer<std::uint64_t> entries(w.entry[0], w.entry[1]);
  check_cuda(cub::DeviceRadixSort::SortKeys(w.sort, w.sort_bytes, entries, w.entries, 32,
                                            32 + token_bits(w.call.vocabulary), on),
             "embedding_backward: the sort");
  return entries.Current();
}

/// Fills in what the kernels know of the call; returns the bytes of scratch.
std::int64_t lay_out(Work& w) {
  const order::FoldSpan& span = w.call.span;
  const std::int64_t segments = order::fold_segments(span);
  w.first_row = static_cast<std::uint32_t>(span.first_row % order::kRowsPerChunk);
  if (segments > 0) {
    if (!order::fold_segment(span, 0).opens)
      w.carried = static_cast<std::uint32_t>(std::min(order::kRowsPerChunk - 1, w.call.vocabulary));
    if (!order::fold_segment(span, segments - 1).closes)
      w.open_chunk = static_cast<std::uint32_t>(segments - 1);
  }
  w.entries = w.carried + span.rows;
  internal::ScratchParts parts(w.call.scratch);
  parts.take(w.entry[0], w.entries);
  parts.take(w.entry[1], w.entries);
  parts.take(w.partial_before, w.carried * w.call.dim);
  parts.take(w.long_partial, w.slots() * w.call.dim);
  parts.take(w.long_end, w.slots());
  parts.take(w.open_slot, order::kRowsPerChunk);
  if (w.entries > 0) sort_entries(w, nullptr);  // asks for its bytes
  char* sort = nullptr;
  parts.take(sort, static_cast<std::int64_t>(w.sort_bytes));
  w.sort = sort;
  return parts.bytes();
}

}  // namespace

void forward_cuda(const Embedding& call, void* stream) {
  if (call.rows == 0 || call.dim == 0) return;
  auto* const on = static_cast<cudaStream_t>(stream);
  in_whole_vectors(call.table, call.y, call.dim) ? copy_rows_as<float4>(call, on)
                                                 : copy_rows_as<float>(call, on);
}

std::int64_t backward_scratch_bytes(const EmbeddingBackward& call) {
  Work w;
  w.call = call;
  w.call.scratch = nullptr;
  return lay_out(w);
}

void backward_cuda(const EmbeddingBackward& call, void* stream) {
  if (order::fold_segments(call.span) == 0) return;
  auto* const on = static_cast<cudaStream_t>(stream);
  Work w;
  w.call = call;
  lay_out(w);
  const std::int64_t items = std::max(w.entries, order::kRowsPerChunk);
  list_entries<<<blocks_for(items, kThreads), kThreads, 0, on>>>(w);
  check_launch("embedding_backward: list_entries");
  const std::uint64_t* const entry = w.entries > 0 ? sort_entries(w, on) : nullptr;
  if (w.open_chunk != kNoChunk) {
    mark_open_runs<<<blocks_for(w.entries, kThreads), kThreads, 0, on>>>(w, entry);
    check_launch("embedding_backward: mark_open_runs");
  }
  if (order::needs_open_partial(call.span)) {
    count_open_slots<<<1, order::kRowsPerChunk, 0, on>>>(w);
    check_launch("embedding_backward: count_open_slots");
  }
  if (w.entries == 0) return;
  sum_long_runs<<<grid_of(w.slots(), call.dim, kWarp), kThreads, 0, on>>>(w, entry);
  check_launch("embedding_backward: sum_long_runs");
  in_whole_vectors(call.dy, call.total, call.dim) ? fold_tokens_as<4>(w, entry, on)
                                                  : fold_tokens_as<1>(w, entry, on);
}

}  // namespace lockstep::embedding_rows
