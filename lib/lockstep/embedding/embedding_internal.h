#pragma once
// What embedding.cpp chooses from, one function a device; and the plan that the CPU's vector form works off.

#include <cstdint>
#include <cstring>
#include <vector>

#include "lockstep/base/host_device.h"
#include "lockstep/embedding/embedding.h"

namespace lockstep::embedding_rows {

void forward_cpu(const Embedding& call);
void backward_cpu(const EmbeddingBackward& call);

void forward_cuda(const Embedding& call, void* stream);
void backward_cuda(const EmbeddingBackward& call, void* stream);
std::int64_t backward_scratch_bytes(const EmbeddingBackward& call);  ///< pointers are not read

// embedding_fp64.cpp
void forward_cpu(const Embedding64& call);
void backward_cpu(const EmbeddingBackward64& call);

/// A table row that a segment of the span hits, or that lies open from before.
struct Group {
  std::int64_t table_row;
  std::int64_t first = -1;  ///< the first of its rows in the span; -1: none, it only lies open
  int open_from = -1;       ///< the slot of `open` that its chain continues; -1: it starts at +0
};

/// What the rows of one segment add to, in the order of their first rows.
struct SegmentPlan {
  std::vector<Group> groups;
  bool closes = true;  ///< partials go to the total; else group g's goes to slot g of `open`
};

struct Plan {
  std::vector<SegmentPlan> segments;
  std::vector<std::int64_t>
      next;  ///< of each row of the span: the next one of its group in its segment, or -1
};

/// A slot of `open`: two elements for the table row, then the partial.
constexpr std::int64_t kSlotHead = 2;
LOCKSTEP_HOST_DEVICE inline std::int64_t slot_elements(std::int64_t dim) { return kSlotHead + dim; }
/// The partial of slot `slot`; before the slots lie two elements with their number.
template <class T>
LOCKSTEP_HOST_DEVICE T* slot_partial(T* open, std::int64_t slot, std::int64_t dim) {
  return open + kSlotHead + slot * slot_elements(dim) + kSlotHead;
}

/// The number of slots in use, before all of them, and the table row of each.
LOCKSTEP_HOST_DEVICE inline std::int64_t read_number(const void* place) {
  std::int64_t number = 0;
  std::memcpy(&number, place, sizeof number);
  return number;
}
LOCKSTEP_HOST_DEVICE inline void write_number(std::int64_t number, void* place) {
  std::memcpy(place, &number, sizeof number);
}

}  // namespace lockstep::embedding_rows
