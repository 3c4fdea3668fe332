#pragma once
// Rows of a table by their number, and the gradient of the table: a fold over the rows of the global batch
// (contracts, section 4). README.md holds the specification.

#include <cstdint>

#include "lockstep/base/view.h"
#include "lockstep/order/fold.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kEmbeddingSpecVersion = 1;

// All memory is contiguous and lies on `device`; values are float32, indices int64; nothing overlaps.
// `stream` is the cudaStream_t to work on (null: the default stream), unused on the CPU; on a CUDA device a
// call returns before the work is done. Throw Error(invalid_argument) for a negative extent, an index outside
// the table (named with its place), or null memory that holds elements; Error(unsupported) for Device::cuda
// in a build without CUDA. Nothing is written then. On a CUDA device the indices cannot be read before the
// call returns: one outside the table gives a row of NaN in the forward, and no gradient in the backward.

/// y[r] = table[index[r]]: copies, so -0 and NaN payloads stay.
template <class T>
struct BasicEmbedding {
  const T* table = nullptr;             ///< [vocabulary, dim]
  const std::int64_t* index = nullptr;  ///< [rows], each 0 … vocabulary - 1
  T* y = nullptr;                       ///< [rows, dim]
  std::int64_t vocabulary = 0, dim = 0, rows = 0;
};
using Embedding = BasicEmbedding<float>;
using Embedding64 = BasicEmbedding<double>;

/// Guarantees: run_to_run, batch, threads, cpu_to_gpu.
void embedding(const Embedding& call, Device device = Device::cpu, void* stream = nullptr);

/// Adds the gradients of span.rows rows to the fold of each table row:
///
///   for each chunk of 1,024 global rows, ascending:
///     for each table row v that a row of the chunk hits:
///       partial = chain of rounded adds over dy of the chunk's rows with index v, ascending, from +0
///       total[v] = total[v] + partial
///
/// A table row that a chunk does not hit is not touched by it: its partial is +0, which changes nothing,
/// since a total that started at +0 is never -0. Rows whose index is `padding` are left out.
template <class T>
struct BasicEmbeddingBackward {
  const T* dy = nullptr;                ///< [span.rows, dim]
  const std::int64_t* index = nullptr;  ///< [span.rows]
  std::int64_t vocabulary = 0, dim = 0;
  std::int64_t padding = -1;  ///< the index whose rows give no gradient; -1: none
  order::FoldSpan span;       ///< where these rows lie in the global batch
  T* total = nullptr;         ///< [vocabulary, dim], read and written, +0 before the first row
  /// Memory of embedding_open_elements(vocabulary, dim) elements for the partials of the chunk that a
  /// cut leaves open: which table rows it has hit, and their chains. It needs no value before its first use
  /// and is not for reading. May be null where order::needs_open_partial(span) is false, and is not touched
  /// then.
  T* open = nullptr;
  /// On a CUDA device: embedding_backward_scratch_bytes(…) bytes of memory on a boundary of 256, overwritten.
  /// The next call on the same stream may have the same. Unused on the CPU.
  void* scratch = nullptr;
};
using EmbeddingBackward = BasicEmbeddingBackward<float>;
using EmbeddingBackward64 = BasicEmbeddingBackward<double>;

/// A chunk that is open has hit at most 1,023 table rows, so its partials are few, whatever the vocabulary.
std::int64_t embedding_open_elements(std::int64_t vocabulary, std::int64_t dim);

/// The bytes of scratch that a backward of this span needs on the current CUDA device: 16 a row for the sort
/// and a sixteenth of dy, and a copy of `open` where the span continues a chunk. Throws
/// Error(invalid_argument) as embedding_backward does, Error(unsupported) without CUDA.
std::int64_t embedding_backward_scratch_bytes(std::int64_t vocabulary, std::int64_t dim,
                                              const order::FoldSpan& span);

/// On a CUDA device the vocabulary and the rows of a span are below 2^32 - 2^11. Guarantees: run_to_run,
/// micro_batch, threads, cpu_to_gpu (NaN payloads excepted).
void embedding_backward(const EmbeddingBackward& call, Device device = Device::cpu, void* stream = nullptr);

// The same in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow, and on the CPU alone. Guarantees: run_to_run, batch, micro_batch,
// threads. Errors as above.

void embedding(const Embedding64& call, Device device = Device::cpu, void* stream = nullptr);
void embedding_backward(const EmbeddingBackward64& call, Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
