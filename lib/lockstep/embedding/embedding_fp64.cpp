// The double forms of the embedding: the reference, one row after the other.

#include <algorithm>
#include <map>
#include <vector>

#include "lockstep/base/float_mode.h"
#include "lockstep/embedding/embedding_internal.h"
#include "lockstep/embedding/embedding_ref.h"

namespace lockstep::embedding_rows {
namespace {

using Partials = std::map<std::int64_t, std::vector<double>>;  // by table row

Partials read_open(double* open, std::int64_t dim) {
  Partials partials;
  const std::int64_t count = read_number(open);
  for (std::int64_t slot = 0; slot < count; ++slot) {
    const double* const partial = slot_partial(open, slot, dim);
    partials[read_number(partial - kSlotHead)].assign(partial, partial + dim);
  }
  return partials;
}

void write_open(const Partials& partials, double* open, std::int64_t dim) {
  write_number(static_cast<std::int64_t>(partials.size()), open);
  std::int64_t slot = 0;
  for (const auto& [table_row, values] : partials) {
    double* const partial = slot_partial(open, slot++, dim);
    write_number(table_row, partial - kSlotHead);
    std::copy(values.begin(), values.end(), partial);
  }
}

}  // namespace

void forward_cpu(const Embedding64& call) {
  for (std::int64_t r = 0; r < call.rows; ++r)
    std::copy_n(call.table + call.index[r] * call.dim, call.dim, call.y + r * call.dim);
}

void backward_cpu(const EmbeddingBackward64& call) {
  const FloatMode mode;
  Partials partials;
  const bool continues = order::fold_segments(call.span) > 0 && !order::fold_segment(call.span, 0).opens;
  if (continues) partials = read_open(call.open, call.dim);
  embedding_backward_ref(call.dy, call.index, call.span, call.dim, call.padding, call.total, partials);
  if (order::needs_open_partial(call.span)) write_open(partials, call.open, call.dim);
}

}  // namespace lockstep::embedding_rows
