#include "lockstep/embedding/embedding.h"

#include <algorithm>
#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/embedding/embedding_internal.h"
#include "lockstep/order/lanes.h"

namespace lockstep {
namespace {

using internal::check_device_of;
using internal::check_extent;
using internal::check_memory;
using internal::refuse;

void check_indices(const char* operation, const std::int64_t* index, std::int64_t rows,
                   std::int64_t vocabulary) {
  for (std::int64_t r = 0; r < rows; ++r) {
    if (index[r] >= 0 && index[r] < vocabulary) continue;
    refuse(operation, "index[" + std::to_string(r) + "]",
           vocabulary == 0 ? "no row, since the table is empty" : "0 to " + std::to_string(vocabulary - 1),
           std::to_string(index[r]));
  }
}

/// The CUDA form counts rows and tokens in 32 bits.
void check_counts(const char* operation, std::int64_t vocabulary, const order::FoldSpan& span) {
  constexpr std::int64_t kMost = (std::int64_t{1} << 32) - 2 * order::kRowsPerChunk - 1;
  if (vocabulary > kMost)
    refuse(operation, "vocabulary", "at most " + std::to_string(kMost) + " on a CUDA device",
           std::to_string(vocabulary));
  if (span.rows > kMost)
    refuse(operation, "span.rows", "at most " + std::to_string(kMost) + " on a CUDA device",
           std::to_string(span.rows));
}

void backward_on_cuda(const EmbeddingBackward& call, void* stream) {
  const char* const operation = "embedding_backward";
  check_counts(operation, call.vocabulary, call.span);
  if (call.scratch == nullptr && order::fold_segments(call.span) > 0)
    refuse(operation, "scratch", "memory of embedding_backward_scratch_bytes on the device",
           "a null pointer");
  embedding_rows::backward_cuda(call, stream);
}

template <class T>
void forward(const BasicEmbedding<T>& call, Device device, void* stream) {
  const char* const operation = "embedding";
  check_extent(operation, "vocabulary", call.vocabulary);
  check_extent(operation, "dim", call.dim);
  check_extent(operation, "rows", call.rows);
  check_memory(operation, "table", call.table, call.vocabulary * call.dim);
  check_memory(operation, "index", call.index, call.rows);
  check_memory(operation, "y", call.y, call.rows * call.dim);
  check_device_of<T>(operation, device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return embedding_rows::forward_cuda(call, stream);
  }
  check_indices(operation, call.index, call.rows, call.vocabulary);
  embedding_rows::forward_cpu(call);
}

void check_extents(const char* operation, std::int64_t vocabulary, std::int64_t dim,
                   const order::FoldSpan& span) {
  check_extent(operation, "vocabulary", vocabulary);
  check_extent(operation, "dim", dim);
  check_extent(operation, "span.first_row", span.first_row);
  check_extent(operation, "span.rows", span.rows);
}

template <class T>
void backward(const BasicEmbeddingBackward<T>& call, Device device, void* stream) {
  const char* const operation = "embedding_backward";
  check_extents(operation, call.vocabulary, call.dim, call.span);
  check_memory(operation, "dy", call.dy, call.span.rows * call.dim);
  check_memory(operation, "index", call.index, call.span.rows);
  check_memory(operation, "total", call.total, call.vocabulary * call.dim);
  if (call.open == nullptr && order::needs_open_partial(call.span))
    refuse(operation, "open", "memory, since the span's cuts leave a chunk open", "a null pointer");
  check_device_of<T>(operation, device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return backward_on_cuda(call, stream);
  }
  check_indices(operation, call.index, call.span.rows, call.vocabulary);
  embedding_rows::backward_cpu(call);
}

}  // namespace

std::int64_t embedding_open_elements(std::int64_t vocabulary, std::int64_t dim) {
  const std::int64_t slots = std::min<std::int64_t>(order::kRowsPerChunk - 1, vocabulary);
  return embedding_rows::kSlotHead + slots * embedding_rows::slot_elements(dim);
}

std::int64_t embedding_backward_scratch_bytes(std::int64_t vocabulary, std::int64_t dim,
                                              const order::FoldSpan& span) {
  const char* const operation = "embedding_backward_scratch_bytes";
  check_extents(operation, vocabulary, dim, span);
  check_counts(operation, vocabulary, span);
  EmbeddingBackward call;
  call.vocabulary = vocabulary;
  call.dim = dim;
  call.span = span;
  return embedding_rows::backward_scratch_bytes(call);
}

void embedding(const Embedding& call, Device device, void* stream) { forward(call, device, stream); }
void embedding(const Embedding64& call, Device device, void* stream) { forward(call, device, stream); }

void embedding_backward(const EmbeddingBackward& call, Device device, void* stream) {
  backward(call, device, stream);
}
void embedding_backward(const EmbeddingBackward64& call, Device device, void* stream) {
  backward(call, device, stream);
}

}  // namespace lockstep
