#include "lockstep/embedding/embedding.h"

#include <algorithm>
#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/embedding/embedding_internal.h"
#include "lockstep/order/lanes.h"

namespace lockstep {
namespace {

using internal::check_device;
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

template <class T>
void forward(const BasicEmbedding<T>& call, Device device) {
  const char* const operation = "embedding";
  check_extent(operation, "vocabulary", call.vocabulary);
  check_extent(operation, "dim", call.dim);
  check_extent(operation, "rows", call.rows);
  check_memory(operation, "table", call.table, call.vocabulary * call.dim);
  check_memory(operation, "index", call.index, call.rows);
  check_memory(operation, "y", call.y, call.rows * call.dim);
  check_device(operation, device);
  check_indices(operation, call.index, call.rows, call.vocabulary);
  embedding_rows::forward_cpu(call);
}

template <class T>
void backward(const BasicEmbeddingBackward<T>& call, Device device) {
  const char* const operation = "embedding_backward";
  check_extent(operation, "vocabulary", call.vocabulary);
  check_extent(operation, "dim", call.dim);
  check_extent(operation, "span.first_row", call.span.first_row);
  check_extent(operation, "span.rows", call.span.rows);
  check_memory(operation, "dy", call.dy, call.span.rows * call.dim);
  check_memory(operation, "index", call.index, call.span.rows);
  check_memory(operation, "total", call.total, call.vocabulary * call.dim);
  if (call.open == nullptr && order::needs_open_partial(call.span))
    refuse(operation, "open", "memory, since the span's cuts leave a chunk open", "a null pointer");
  check_device(operation, device);
  check_indices(operation, call.index, call.span.rows, call.vocabulary);
  embedding_rows::backward_cpu(call);
}

}  // namespace

std::int64_t embedding_open_elements(std::int64_t vocabulary, std::int64_t dim) {
  const std::int64_t slots = std::min<std::int64_t>(order::kRowsPerChunk - 1, vocabulary);
  return embedding_rows::kSlotHead + slots * embedding_rows::slot_elements(dim);
}

void embedding(const Embedding& call, Device device, void*) { forward(call, device); }
void embedding(const Embedding64& call, Device device, void*) { forward(call, device); }

void embedding_backward(const EmbeddingBackward& call, Device device, void*) { backward(call, device); }
void embedding_backward(const EmbeddingBackward64& call, Device device, void*) { backward(call, device); }

}  // namespace lockstep
